"""The section map on arrays: designs, least squares by SciPy's book, and worlds of planted worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from gradbook.errors import StatsError
from gradbook.stats import confirm, effect, removals, screen


@settings(deadline=None)
@given(st.integers(1, 14), st.integers(8, 30), st.sampled_from([0.2, 0.25, 0.5]), st.integers(0, 99))
def test_a_design_leaves_every_section_out_equally_often_and_can_tell_them_apart(sections, more, share, seed):
    runs = sections + more
    design = removals(sections, runs, share, seed)
    assert design.shape == (runs, sections) and len(set(design.sum(0))) == 1 and 0 < design.sum(0)[0] < runs
    assert (design == removals(sections, runs, share, seed)).all()
    scores = np.random.default_rng(seed).normal(size=(runs, 5))
    assert len(screen(design, scores)) == sections


def test_estimates_are_least_squares():
    rng, design = np.random.default_rng(0), removals(6, 24)
    scores = 0.8 - design @ np.linspace(0, 0.3, 6)[:, None] + 0.2 * rng.standard_normal((24, 1)) + 0.1 * rng.standard_normal((24, 40))
    full = np.column_stack([np.ones(24), design])
    fit, left, *_ = np.linalg.lstsq(full, scores.mean(1))
    error = np.sqrt(np.diag(np.linalg.inv(full.T @ full))[1:] * left[0] / 17)
    found = screen(design, scores)
    assert [worth.value for worth in found] == pytest.approx(list(-fit[1:]))
    assert np.array([worth.high - worth.low for worth in found]) / 2 == pytest.approx(2.11 * error, rel=0.06)


def world(rng, design, worth, n, spread=0.0, differing=0.0):
    """Right or wrong: easy and hard examples, sections that add their worth, which may differ by example."""
    own = worth + differing * rng.standard_normal((n, len(worth)))
    chance = rng.uniform(0.6, 0.9, n) - design @ own.T + spread * rng.standard_normal((len(design), 1))
    return (rng.random((len(design), n)) < chance) * 1.0


@pytest.mark.parametrize(("spread", "differing"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.1), (0.05, 0.1)])
def test_intervals_cover_and_a_section_without_worth_is_seldom_shown(spread, differing):
    rng, worth = np.random.default_rng(0), np.array([0, 0, 0.05, 0.1, 0.15, 0])
    covered, shown = [], []
    designs = [removals(6, 20, seed=seed) for seed in range(5)] * 50
    for design in designs:
        found = screen(design, world(rng, design, worth, 40, spread, differing))
        covered += [one.low <= true <= one.high for one, true in zip(found, worth, strict=True)]
        shown += [one.p <= 0.05 for one, true in zip(found, worth, strict=True) if not true]
    assert np.mean(covered) >= 0.93 and np.mean(shown) <= 0.065


def test_intervals_cover_where_examples_make_the_most_of_the_noise():
    rng, worth, covered, design = np.random.default_rng(1), np.array([0.0, 0.1, 0.2]), [], removals(3, 16)
    for _ in range(300):
        own = worth + rng.standard_normal((30, 3))
        found = screen(design, rng.standard_normal(30) - design @ own.T + 0.3 * rng.standard_normal((16, 30)))
        covered += [one.low <= true <= one.high for one, true in zip(found, worth, strict=True)]
    assert 0.93 <= np.mean(covered) <= 0.98


def test_planted_worth_is_ranked_at_half_the_calls_of_leaving_one_out():
    rng, k, n = np.random.default_rng(0), 10, 60
    worth = np.arange(k) * 0.03 - 0.06
    replicates, runs = 32, 16 * (k + 1)
    agree, ours, theirs = [], [], []
    for seed in range(40):
        design = removals(k, runs, seed=seed)
        values = [one.value for one in screen(design, world(rng, design, worth, n))]
        alone = np.repeat(np.vstack([np.zeros(k, bool), np.eye(k, dtype=bool)]), replicates, axis=0)
        means = world(rng, alone, worth, n).mean(1).reshape(k + 1, replicates).mean(1)
        agree.append(kendalltau(values, worth).statistic)
        ours.append(values - worth)
        theirs.append(means[0] - means[1:] - worth)
    assert 2 * runs == replicates * (k + 1)
    assert np.mean(agree) >= 0.9
    assert np.std(ours) <= np.std(theirs)


def test_confirmed_sections_share_alpha_and_are_judged_with_against_without():
    rng = np.random.default_rng(0)
    full, useful, idle = ((rng.random((6, 60)) < p) * 1.0 for p in (0.8, 0.4, 0.8))
    found = confirm(full, {3: useful, 5: idle})
    assert found[3].verdict == "helps" and found[5].verdict != "helps"
    assert found[3] == effect(useful, full, alpha=0.025)


@pytest.mark.parametrize(
    ("design", "scores", "said"),
    [
        (np.eye(6, 3), np.ones((5, 4)), "a row for each row"),
        (np.eye(6, 3), np.full((6, 4), np.nan), "full table"),
        (np.eye(4, 3), np.ones((4, 4)), "cannot tell the worth of 3 sections"),
        (np.ones((9, 2)), np.ones((9, 4)), "leave out other subsets"),
    ],
)
def test_what_cannot_be_screened_is_named(design, scores, said):
    with pytest.raises(StatsError, match=said):
        screen(design, scores)
    with pytest.raises(StatsError, match="takes 7 runs"):
        removals(5, 6)


def test_runs_that_all_answer_alike_are_no_warning_but_sections_worth_nothing():
    found = screen(removals(3, 16), np.ones((16, 6)))
    assert all((one.value, one.p) == (pytest.approx(0), pytest.approx(1, abs=0.01)) for one in found)
