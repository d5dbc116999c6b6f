"""Effects of edits on arrays: against SciPy, against the layout written out, and against simulation."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm, ttest_ind

from gradbook.errors import StatsError
from gradbook.stats import contrast, effect
from gradbook.stats.effect import differences, points
from gradbook.stats.looks import FIRST, level_of_look

seeds = st.integers(0, 10**6)


def right(seed, r, n, p=0.5, spread=0.0):
    """Scores 0 and 1, replicates × examples, whose draws differ by `spread`."""
    rng = np.random.default_rng(seed)
    return (rng.random((r, n)) < p + spread * rng.standard_normal((r, 1))) * 1.0


@given(seeds, st.integers(2, 8), st.integers(2, 8), st.integers(60, 90))
def test_for_these_examples_it_is_welch_on_the_draws_where_draws_differ(seed, few, many, n):
    before, after = right(seed, few, n, spread=0.3), right(seed + 1, many, n, spread=0.3)
    found = effect(before, after)
    if min(found.spread) == 0:
        return  # draws happened to be alike: the floor holds, and another test sees to that
    expected = ttest_ind(after.mean(1), before.mean(1), equal_var=False)
    low, high = expected.confidence_interval()
    assert (found.these.low, found.these.high) == pytest.approx((low, high))
    assert found.these.p == pytest.approx(expected.pvalue)


def by_hand(before, after):
    """Variance of the difference for examples like these, by loops over the layout: draws, and examples beyond answering."""
    n = len(before[0])
    draws = answering = 0.0
    means = []
    for arm in (before, after):
        r = len(arm)
        draw = [sum(row) / n for row in arm]
        each = [sum(row[i] for row in arm) / r for i in range(n)]
        grand = sum(draw) / r
        rest = sum((arm[k][i] - draw[k] - each[i] + grand) ** 2 for k in range(r) for i in range(n)) / ((r - 1) * (n - 1))
        draws += max(sum((x - grand) ** 2 for x in draw) / (r - 1), rest / n) / r
        answering += rest / r / n
        means.append(each)
    apart = [b - a for a, b in zip(*means, strict=True)]
    mean = sum(apart) / n
    return draws + max(sum((x - mean) ** 2 for x in apart) / (n - 1) / n - answering, 0)


@given(seeds, st.integers(2, 6), st.integers(2, 6), st.integers(10, 40))
def test_for_examples_like_these_the_variance_is_that_of_the_layout(seed, few, many, n):
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(few, n)), rng.normal(size=(many, n)) + rng.normal(size=n)
    assert differences(before, after)[1].variance == pytest.approx(by_hand(before, after))


@given(seeds, st.integers(2, 6), st.integers(2, 6), st.integers(2, 30), st.sampled_from([None, "decided"]))
def test_the_other_way_round_is_the_other_sign_and_order_says_nothing(seed, few, many, n, until):
    rng = np.random.default_rng(seed)
    before, after = right(seed, few, n, 0.4, 0.1), right(seed + 1, many, n, 0.6, 0.1)
    found, back = effect(before, after, until=until), effect(after, before, until=until)
    opposite = {"helps": "harms", "harms": "helps"}
    for one, other in ((found.these, back.these), (found.like_these, back.like_these)):
        assert (one.difference, one.low, one.high, one.p) == pytest.approx((-other.difference, -other.high, -other.low, other.p))
        assert opposite.get(one.verdict, one.verdict) == other.verdict
        assert one.low <= one.difference <= one.high and 0 <= one.p <= 1
    order = rng.permutation(n)
    mixed = effect(before[:, order][rng.permutation(few)], after[:, order], until=until)
    assert (mixed.these.p, mixed.like_these.p) == pytest.approx((found.these.p, found.like_these.p))


def test_each_verdict():
    assert effect(right(0, 5, 60, 0.3), right(1, 5, 60, 0.7)).verdict == "helps"
    assert effect(right(0, 5, 60, 0.7), right(1, 5, 60, 0.3)).verdict == "harms"
    assert effect(right(0, 3, 60), right(1, 3, 60)).verdict == "undecided"
    assert effect(right(0, 40, 120), right(1, 40, 120)).verdict == "equivalent"
    assert effect(right(0, 40, 120), right(1, 40, 120), margin=0.01).verdict == "undecided"


@given(seeds, st.sampled_from([0.01, 0.05, 0.1]))
def test_equivalent_is_an_interval_of_twice_alpha_inside_the_margin(seed, alpha):
    before, after = np.random.default_rng(seed).normal(size=(2, 5, 40))
    wider = effect(before, after, alpha=2 * alpha).like_these
    edge = max(-wider.low, wider.high)
    assert effect(before, after, 1.01 * edge, alpha).verdict == "equivalent" != effect(before, after, 0.99 * edge, alpha).verdict


@pytest.mark.parametrize("draws", [(1, 1), (1, 6), (6, 1)])
def test_one_draw_an_arm_gets_no_verdict(draws):
    found = effect(right(0, draws[0], 40, 0.2), right(1, draws[1], 40, 0.9))
    assert found.verdict is None and (found.these.low, found.these.high) == (-math.inf, math.inf)


def test_fifteen_examples_that_never_changed_are_not_equivalence_for_others_like_them():
    found = effect(np.ones((10, 15)), np.ones((10, 15)))
    assert found.these.verdict == "equivalent" and found.like_these.verdict == "undecided"
    assert found.like_these.low < -0.01 < 0.01 < found.like_these.high


def test_examples_that_never_changed_are_equivalence_where_there_are_enough_of_them():
    """A change of one example in twenty goes unseen in forty with a probability of an eighth, in a hundred and twenty of 0.002."""
    assert effect(np.ones((20, 40)), np.ones((20, 40))).verdict == "undecided"
    assert effect(np.ones((20, 120)), np.ones((20, 120))).verdict == "equivalent"


def test_scores_of_any_scale_and_without_any_spread():
    found = effect(np.full((3, 4), 7.0), np.full((3, 4), 9.0), margin=0.5)
    assert (found.these.difference, found.these.p, found.verdict) == (2.0, 0.0, "helps")
    assert effect(np.full((3, 4), 7.0), np.full((3, 4), 7.0)).verdict == "equivalent"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (np.ones((3, 4)), np.ones((3, 5)), "before has 4 and after 5"),
        (np.ones((3, 1)), np.ones((3, 1)), "two or more examples"),
        ([[1.0, math.nan]], [[1.0, 0.0]], "scores before"),
        ([[1.0, 0.0]], [[1.0, math.inf]], "scores after"),
        ([1.0, 0.0], [[1.0, 0.0]], "a row a replicate"),
        ([[1.0], [1.0, 0.0]], [[1.0, 0.0]], "no gaps"),
        ([["right", "wrong"]], [[1.0, 0.0]], "table of numbers"),
        ([], [], "table of numbers"),
    ],
)
def test_what_does_not_fit_is_named(before, after, said):
    with pytest.raises(StatsError, match=said):
        effect(before, after)


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"alpha": 0.0}, {"alpha": 0.7}])
def test_a_margin_and_an_alpha_make_sense(wrong):
    with pytest.raises(StatsError, match="margin"):
        effect(np.ones((2, 4)), np.ones((2, 4)), **wrong)


def test_the_replicates_that_are_asked_for_have_the_power():
    seen = effect(right(0, 8, 80, spread=0.05), right(1, 8, 80, spread=0.05))
    spread, (needed, examples) = math.hypot(*seen.spread) / math.sqrt(2), seen.needed(0.15)
    assert examples == 80
    shown = 0
    for world in range(400):
        found = effect(right(world, needed, 80, 0.4, spread), right(10**6 + world, needed, 80, 0.55, spread))
        shown += found.verdict == "helps"
    assert 0.7 < shown / 400 < 0.93
    assert seen.power(0.15, needed - 1) < 0.8 <= seen.power(0.15, needed)


def test_where_examples_differ_more_replicates_do_not_decide_but_more_examples_do():
    rng = np.random.default_rng(0)
    easy = rng.random(20) < 0.5
    seen = effect(np.tile(easy * 1.0, (6, 1)), np.tile(rng.permutation(easy) * 1.0, (6, 1)))
    replicates, examples = seen.needed(0.1)
    assert replicates == 2 and examples > 200 and seen.power(0.1, 100) < 0.8 <= seen.power(0.1, replicates, examples)


def test_where_neither_alone_shows_it_the_cheapest_pair_is_named_and_shows_it():
    """12 draws of 15 examples whose effects differ and rewrites too: neither a hundred draws nor two thousand examples, but both."""
    worlds = np.random.default_rng(0)

    def arms(r, n, lift=0.1):
        chance = (
            0.2 * worlds.standard_normal((2, 1, n))
            + 0.12 * worlds.standard_normal((2, r, 1))
            + np.array([0.45, 0.45 + lift])[:, None, None]
        )
        return (worlds.random((2, r, n)) < np.clip(chance, 0, 1)) * 1.0

    seen = effect(*arms(4, 40, 0))
    seen = dataclasses.replace(seen, spread=(0.12, 0.12), differing=0.08, answering=(0.2, 0.2), replicates=(4, 4), examples=15)
    replicates, examples = seen.needed()
    assert 2 < replicates < 100 and 15 < examples < 2000
    assert seen.power(0.1, 100) < 0.8 and seen.power(examples=2000) < 0.8 <= seen.power(0.1, replicates, examples)
    assert min(seen.power(0.1, r, n) for r, n in ((replicates - 1, examples), (replicates, examples * 3 // 4))) < 0.8
    every = [
        (r, n) for r in range(2, 101) for n in range(15, 2001, 5) if r * n < replicates * examples / 1.25 and seen.power(0.1, r, n) >= 0.8
    ]
    assert not every, "no pair of a finer grid is cheaper by more than a step"
    assert f"{replicates} draws an arm on {examples} examples would show an effect of 10 points in four cases of five" in seen.outlook
    shown = sum(effect(*arms(replicates, examples)).verdict == "helps" for _ in range(300))
    assert 0.7 < shown / 300 < 0.93


@pytest.mark.parametrize("until", [None, "decided"])
def test_twenty_draws_that_agree_wholly_say_why_few_examples_decide_nothing_and_how_many_would(until):
    found = effect(np.ones((20, 6)), np.ones((20, 6)), until=until)
    assert found.verdict == "undecided" and found.power(0.1) < 0.5, "an effect of 10 points would hardly have been shown"
    assert "However many draws there are, 6 examples are few: the next may be one that changes." in str(found)
    replicates, examples = found.needed()
    assert examples > 20 and f"{replicates} draws an arm on {examples} examples would show an effect of 10 points" in str(found)
    replicates, examples = found.needed(0)
    agreed = np.ones((replicates, examples))
    assert effect(agreed, agreed, until=until).verdict == "equivalent"
    once = agreed.copy()
    once[0, 0] = 0
    assert effect(agreed, once, until=until).verdict == "equivalent"


def test_where_an_effect_would_have_shown_it_is_said_what_shows_that_there_is_none():
    rng = np.random.default_rng(2)
    seen = effect(right(0, 12, 80, spread=0.02), right(1, 12, 80, spread=0.02))
    assert seen.verdict == "undecided" and seen.power() >= 0.8 and seen.target == 0
    replicates, examples = seen.needed()
    assert "An effect of 10 points would have shown in four cases of five." in str(seen)
    assert f"{replicates} draws an arm" in str(seen) and "would show that there is none beyond ±5 points" in str(seen)
    spread = math.hypot(*seen.spread) / math.sqrt(2)
    worlds = [[right(rng.integers(10**9), replicates, examples, 0.5, spread) for _ in range(2)] for _ in range(300)]
    assert 0.7 < np.mean([effect(*world).verdict == "equivalent" for world in worlds]) < 0.95


def test_the_levels_of_three_looks_spend_what_they_say():
    looks = np.arange(FIRST, FIRST + 3)
    corr = np.sqrt(np.minimum.outer(looks, looks) / np.maximum.outer(looks, looks))
    edge = norm.isf([level_of_look(int(look)) / 2 for look in looks])
    inside = multivariate_normal(cov=corr, seed=0).cdf(edge, lower_limit=-edge)
    assert 1 - inside == pytest.approx(0.05 * 3 / 13, abs=2e-5)


def test_no_look_before_the_third_and_never_more_than_alpha():
    assert level_of_look(2) == 0 and 0 < level_of_look(3) < level_of_look(8) < 0.05
    assert level_of_look(7, 0.1) > level_of_look(7, 0.05)
    assert level_of_look(90) < level_of_look(60)


def test_a_look_is_stricter_than_one_test_and_says_so():
    before, after = right(0, 4, 60, 0.4), right(1, 4, 60, 0.6)
    once, watched = effect(before, after), effect(before, after, until="decided")
    assert watched.level < once.level == 0.05
    assert watched.like_these.high - watched.like_these.low > once.like_these.high - once.like_these.low


def test_the_sentence_says_the_verdict_and_what_would_decide_it():
    assert str(effect(right(0, 5, 60, 0.3), right(1, 5, 60, 0.7))).startswith("helps: +")
    assert str(effect(right(0, 40, 120), right(1, 40, 120))).startswith("equivalent within ±5 points: ")
    undecided = effect(right(0, 3, 60), right(1, 3, 60))
    assert f"{undecided.needed()[0]} draws an arm would show an effect of 10 points" in str(undecided)
    assert "only replicates say" in str(effect(right(0, 1, 40), right(1, 1, 40)))
    few = effect(right(0, 3, 15, spread=0.2), right(1, 3, 15, spread=0.2), size=0.01)
    assert str(few).endswith("Neither 100 draws an arm nor 2,000 examples would show an effect of 1 points.")


@given(seeds, st.integers(2, 6), st.integers(2, 6), st.integers(10, 40))
def test_two_arms_against_each_other_are_a_contrast(seed, few, many, n):
    before, after = right(seed, few, n), right(seed + 1, many, n, 0.7)
    found = effect(before, after)
    assert contrast([before, after], [-1, 1]) == (found.these, found.like_these)


def test_a_sum_of_arms_errs_as_it_says():
    """Two arms together against each alone, where they add up for examples like these, though not for each of them."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(400):
        alone, both = 0.1 + 0.1 * rng.random((2, 60)), np.clip(rng.normal(0.3, 0.15, 60), 0, 0.5)
        chance = [0.3 + lift for lift in (both, *alone, np.zeros(60))]
        arms = [(rng.random((r, 60)) < p + 0.05 * rng.standard_normal((r, 1))) * 1.0 for p, r in zip(chance, (4, 5, 6, 5), strict=True)]
        like = contrast(arms, [1, -1, -1, 1])[1]
        missed += not like.low <= 0 <= like.high
    assert missed <= 30


@pytest.mark.parametrize("arms", [[[[1, 0]], [[1, 0], [1, 1]]], [[[1, 0], [1, 1]], [[1, 0, 1], [1, 1, 1]]], [[[1], [0]], [[1], [1]]]])
def test_a_sum_takes_draws_of_the_same_examples(arms):
    with pytest.raises(StatsError, match="two or more draws of the same two or more examples"):
        contrast(arms, [1, -1])


@given(st.floats(-1, 1))
def test_points_have_no_minus_before_nothing_and_round_as_a_person_would(share):
    said = points(share)
    assert said[0] in "+−" and (said[0] == "+" or said != "−0.0")
    assert abs(float(said.replace("−", "-")) - 100 * share) < 0.0500001
    assert points(-0.1875 + 1e-17) == points(-0.1875) == points(-0.18750000000000003) and points(-1e-17) == "+0.0"
