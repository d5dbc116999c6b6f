"""The optimism of a selection: Student's interval over trials, examples beyond that, and cover where the truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from gradbook.errors import StatsError
from gradbook.stats import optimism

CHOSEN, UNTOUCHED = [0.84, 0.8, 0.86, 0.82], [0.78, 0.77, 0.75, 0.79]


def test_of_one_score_a_trial_it_is_students_interval_of_the_gaps():
    found, expected = optimism(CHOSEN, UNTOUCHED), ttest_rel(CHOSEN, UNTOUCHED)
    interval = expected.confidence_interval()
    assert (found.value, found.low, found.high, found.p) == pytest.approx((0.0575, interval.low, interval.high, expected.pvalue))
    assert str(found).startswith("the split that chose flatters by +5.8 points (−0.3 to +11.8, 4 trials)") and not found.gain
    assert optimism(np.add(CHOSEN, 3), UNTOUCHED, [3.0, 0.0]).value == pytest.approx(found.value)


def test_an_easier_split_is_no_optimism_where_the_seed_prompt_says_so():
    found = optimism(CHOSEN, UNTOUCHED, (0.66, 0.6))
    assert found.value == pytest.approx(-0.0025) and found.low < 0 < found.high and found.gain


def world(rng, best_of, trials=5):
    """Prompts of one true accuracy, on splits of 50 and 120 examples that the seed prompt answered as well."""
    hard = [rng.beta(2, 2, n) for n in (50, 120)]
    ends = []
    for _ in range(trials):
        tries = rng.random((best_of, 50)) < hard[0]
        ends.append((tries[tries.mean(1).argmax()], rng.random(120) < hard[1]))
    chosen, untouched = (np.array(rows, dtype=float) for rows in zip(*ends, strict=True))
    return chosen, untouched, [(rng.random((3, len(p))) < p) * 1.0 for p in hard]


def test_it_covers_and_finds_what_choosing_adds():
    rng = np.random.default_rng(0)
    none = [optimism(*world(rng, 1)) for _ in range(400)]
    assert np.mean([found.low <= 0 <= found.high for found in none]) >= 0.93
    some = [optimism(*world(rng, 8)) for _ in range(400)]
    truth = np.mean([(rng.random((8, 50)) < rng.beta(2, 2, 50)).mean(1).max() - 0.5 for _ in range(4000)])
    assert np.mean([found.value for found in some]) == pytest.approx(truth, abs=0.01)
    assert np.mean([found.low <= truth <= found.high for found in some]) >= 0.93


def test_without_any_spread():
    found = optimism([0.5, 0.5], [0.5, 0.5])
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1) and optimism([0.6, 0.6], [0.5, 0.5]).p == 0


@pytest.mark.parametrize(
    ("chosen", "untouched", "seed", "said"),
    [
        ([0.5, 0.5], [0.5], None, "not 2 and 1"),
        ([0.5], [0.5], None, "not 1 and 1"),
        ([0.5, math.nan], [0.5, 0.5], None, "no gaps"),
        (["a", "b"], [0.5, 0.5], None, "must be numbers"),
        (np.ones((2, 5)), np.ones((2, 7)), [np.ones(4), np.ones(7)], "The seed prompt"),
        ([0.5, 0.5], [0.5, 0.5], [math.nan, 0.5], "The seed prompt"),
    ],
)
def test_what_does_not_fit_is_named(chosen, untouched, seed, said):
    with pytest.raises(StatsError, match=said):
        optimism(chosen, untouched, seed)
