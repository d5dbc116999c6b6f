"""Permutation tests of arms: against every arrangement written out, against SciPy, and what no relabelling may change."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy
from scipy.stats import PermutationMethod, kendalltau, linregress, ttest_ind

from gradbook.errors import StatsError
from gradbook.stats import kendall, permutation_test

shares = st.integers(0, 12).map(lambda k: k / 12)  # as accuracies are: often the same


def arms(least=2, most=4):
    return st.lists(shares, min_size=least, max_size=most)


def by_hand(first, second, effect=0.0):
    """How many of all ways to fill the first arm have a difference as large as seen, once `effect` is taken off it."""
    moved = [score - effect for score in first]
    scores, seen = moved + second, sum(moved) / len(moved) - sum(second) / len(second)
    count = total = 0
    for chosen in itertools.combinations(range(len(scores)), len(first)):
        one = [scores[k] for k in chosen]
        other = [scores[k] for k in range(len(scores)) if k not in chosen]
        count += sum(one) / len(one) - sum(other) / len(other) >= seen - 1e-9
        total += 1
    return count / total


@given(arms(), arms(), st.sampled_from([0.0, 0.05, -0.2, 0.4]))
def test_p_is_that_of_all_arrangements_written_out(first, second, effect):
    found = permutation_test([first, second])
    assert found.above(effect) == pytest.approx(by_hand(first, second, effect))
    assert found.below(effect) == pytest.approx(by_hand(second, first, -effect))


@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=7), st.sampled_from([0.0, 0.1]))
def test_p_of_pairs_is_that_of_all_signs_written_out(pairs, effect):
    apart = [a - b - effect for a, b in pairs]
    signs = list(itertools.product((1, -1), repeat=len(apart)))
    sums = [sum(s * d for s, d in zip(row, apart, strict=True)) for row in signs]
    found = permutation_test(list(zip(*pairs, strict=True)), paired=True)
    assert found.above(effect) == pytest.approx(np.mean([s >= sum(apart) - 1e-9 for s in sums]))
    assert found.below(effect) == pytest.approx(np.mean([s <= sum(apart) + 1e-9 for s in sums]))


@pytest.mark.parametrize(("direction", "alternative"), [("more", "greater"), ("less", "less"), ("differs", "two-sided")])
def test_p_is_that_of_scipy(direction, alternative):
    rng = np.random.default_rng(0)

    def apart(x, y, axis=-1):
        return x.mean(axis) - y.mean(axis)

    for first, second in ((rng.normal(size=5) + 0.8, rng.normal(size=5)), (rng.normal(size=4), rng.normal(size=7))):
        expected = scipy.permutation_test((first, second), apart, alternative=alternative, vectorized=True).pvalue
        assert permutation_test([first, second]).p(direction) == pytest.approx(expected)
    first, second = rng.normal(size=(2, 6))
    expected = scipy.permutation_test((first, second), apart, alternative=alternative, permutation_type="samples", vectorized=True).pvalue
    assert permutation_test([first, second], paired=True).p(direction) == pytest.approx(expected)
    first, second = rng.normal(size=(2, 30))  # too many arrangements: drawn
    expected = ttest_ind(first, second, alternative=alternative, method=PermutationMethod(100_000, rng=1)).pvalue
    assert permutation_test([first, second]).p(direction) == pytest.approx(expected, abs=0.01)


def test_the_permutation_t_test_orders_arrangements_as_the_difference_does():
    first, second = np.random.default_rng(3).normal(size=(2, 5))
    expected = ttest_ind(first, second, alternative="greater", method=PermutationMethod(10**6)).pvalue
    assert permutation_test([first, second]).p("more") == pytest.approx(expected)


@given(arms(3, 4), arms(3, 4), st.sampled_from([0.05, 0.1, 0.3]))
def test_an_interval_is_what_the_test_leaves(first, second, level):
    found = permutation_test([first, second])
    low, high = found.bounds(level)
    if math.isinf(low):
        return
    assert low <= found.value + 1e-9 and found.value - 1e-9 <= high
    assert found.above(low - 1e-6) <= level + 1e-9 and found.below(high + 1e-6) <= level + 1e-9
    assert found.above(low + 1e-6) > level and found.below(high - 1e-6) > level
    for margin in (0.1, 0.3):
        if min(abs(margin - abs(edge)) for edge in (low, high)) > 1e-6:
            assert (found.p_equivalent(margin) <= level + 1e-9) == (-margin < low and high < margin)


def test_too_few_arrangements_bound_nothing():
    found = permutation_test([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    assert found.p("more") == pytest.approx(1 / 20) and found.bounds(0.04) == (-math.inf, math.inf)
    assert math.isfinite(found.bounds(0.05)[0])


@given(arms(), arms(), st.integers(0, 10**6), st.sampled_from([-7.0, 0.25, 1000.0]), st.booleans())
def test_shift_order_and_labels_say_nothing(first, second, seed, shift, paired):
    if paired:
        first, second = first[:2] * 2, second[:2] * 2
    found = permutation_test([first, second], paired=paired)
    rng = np.random.default_rng(seed)
    order, other = rng.permutation(len(first)), rng.permutation(len(second))
    mixed = permutation_test([np.array(first)[order] + shift, np.array(second)[order if paired else other] + shift], paired=paired)
    back = permutation_test([second, first], paired=paired)
    assert mixed.value == pytest.approx(found.value) and back.value == pytest.approx(-found.value)
    assert mixed.p() == pytest.approx(found.p()) == pytest.approx(back.p())
    assert back.p("less") == pytest.approx(found.p("more")) == pytest.approx(mixed.p("more"))
    assert back.p_equivalent(0.22) == pytest.approx(found.p_equivalent(0.22))
    assert back.bounds(0.2) == pytest.approx([-edge for edge in found.bounds(0.2)[::-1]])


@given(st.lists(shares, min_size=2, max_size=3), st.lists(shares, min_size=2, max_size=2), st.lists(shares, min_size=2, max_size=3))
def test_a_trend_is_that_of_all_orders_written_out(one, two, three):
    x, y = np.repeat([1, 2, 5], [len(one), len(two), len(three)]), np.array([*one, *two, *three])
    found, tau = permutation_test([two, one, three], [2, 1, 5]), kendall([two, one, three], [2, 1, 5])
    assert found.value == pytest.approx(linregress(x, y).slope * 4)
    orders = np.array(sorted(set(itertools.permutations(x.tolist()))))
    slopes = orders @ (y - y.mean())
    assert found.above() == pytest.approx(np.mean(slopes >= x @ (y - y.mean()) - 1e-9))
    counts = np.array([[np.sign(a[j] - a[i]) * np.sign(y[j] - y[i]) for i, j in itertools.combinations(range(len(y)), 2)] for a in orders])
    seen = sum(np.sign(x[j] - x[i]) * np.sign(y[j] - y[i]) for i, j in itertools.combinations(range(len(y)), 2))
    assert (tau.above, tau.below) == pytest.approx([np.mean(counts.sum(1) >= seen), np.mean(counts.sum(1) <= seen)])
    if np.ptp(y):
        assert tau.value == pytest.approx(kendalltau(x, y).statistic)
    else:
        assert math.isnan(tau.value) and tau.above == tau.below == 1


def test_kendalls_p_of_many_is_that_of_scipy_for_large_samples():
    rng = np.random.default_rng(0)
    scores = [rng.normal(0.15 * k, 1, 15) for k in range(6)]
    found = kendall(scores, range(6))
    expected = kendalltau(np.repeat(range(6), 15), np.concatenate(scores))
    assert found.value == pytest.approx(expected.statistic)
    assert 2 * found.above == pytest.approx(expected.pvalue, rel=0.15)


def test_drawn_arrangements_agree_with_all_of_them_and_the_seed_fixes_them():
    first, second = np.random.default_rng(0).normal([[0.5], [0]], size=(2, 8))
    full, drawn = permutation_test([first, second]), permutation_test([first, second], draws=10_000)
    assert full.arrangements == math.comb(16, 8) and drawn.arrangements == 10_001
    assert drawn.p("more") == pytest.approx(full.p("more"), abs=0.01)
    assert drawn.bounds(0.05) == pytest.approx(full.bounds(0.05), abs=0.05)
    assert permutation_test([first, second], draws=10_000).p() == drawn.p() != permutation_test([first, second], draws=10_000, seed=1).p()
    many = np.random.default_rng(0).normal(size=(2, 20))
    assert permutation_test(many, paired=True, draws=10_000).p() == pytest.approx(permutation_test(many, paired=True).p(), abs=0.02)


def test_arrangements_of_thousands_of_trials_are_fewer():
    many = np.random.default_rng(0).normal(size=(2, 1000))
    assert permutation_test(many).arrangements == 10_001
    assert permutation_test(many).p() == pytest.approx(ttest_ind(*many).pvalue, abs=0.02)


def test_a_p_is_never_nought():
    assert permutation_test([np.arange(30) + 100.0, np.arange(30)]).p("more") == 1 / 100_001


def test_one_score_for_all_is_no_difference_and_equivalent():
    found = permutation_test([[0.8] * 5, [0.8] * 5])
    assert (found.value, found.p(), found.bounds(0.05)) == (0.0, 1.0, (0.0, 0.0))
    assert found.p_equivalent(0.05) == pytest.approx(1 / 252)


@pytest.mark.parametrize(
    ("arms", "more", "said"),
    [
        ([[0.1], [0.2, 0.3]], {}, "two trials or more"),
        ([[0.1, math.nan], [0.2, 0.3]], {}, "no gaps"),
        ([["a", "b"], [0.2, 0.3]], {}, "row of numbers"),
        ([[0.1, 0.2]], {}, "1 arms"),
        ([[0.1, 0.2]] * 3, {}, "one an arm"),
        ([[0.1, 0.2]] * 3, {"doses": (1, 2, 2)}, "all different"),
        ([[0.1, 0.2]] * 2, {"doses": (1, math.inf)}, "doses of 1, inf"),
        ([[0.1, 0.2], [0.1, 0.2, 0.3]], {"paired": True}, "not 2 and 3"),
    ],
)
def test_what_does_not_fit_is_named(arms, more, said):
    with pytest.raises(StatsError, match=said):
        permutation_test(arms, **more)
