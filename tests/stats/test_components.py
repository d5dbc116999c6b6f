"""The noise budget on arrays: against the layout written out, and without bias in worlds of known truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook.errors import StatsError
from gradbook.stats import components

SOURCES = ("critiques", "rewrite", "selection", "answering", "examples")


def world(rng, shape, deviations):
    """Scores with a normal draw for each source, nested but for examples, and answering that is new for each example."""
    *outer, answering, examples = deviations
    scores = 0.5 + examples * rng.standard_normal(shape[-1]) + answering * rng.standard_normal(shape)
    for k, deviation in enumerate(outer):
        scores = scores + deviation * rng.standard_normal((*shape[: k + 1], *[1] * (len(shape) - k - 1)))
    return scores


def truth(shape, deviations):
    *outer, answering, examples = deviations
    return [*(d**2 for d in outer), answering**2 / shape[-1], examples**2 / shape[-1]]


@pytest.mark.parametrize("deviations", [(0.06, 0.08, 0.03, 0.4, 0.3), (0.0, 0.1, 0.0, 0.4, 0.0), (0.1, 0.0, 0.0, 0.0, 0.2)])
def test_components_are_unbiased(deviations):
    rng, shape = np.random.default_rng(0), (3, 3, 2, 2, 20)
    found = np.array([list(components(world(rng, shape, deviations)).variances.values()) for _ in range(700)])
    error = found.std(0) / math.sqrt(len(found))
    assert (np.abs(found.mean(0) - truth(shape, deviations)) <= 4 * error + 1e-12).all()


def test_shares_come_within_a_fifth_of_the_truth():
    rng, shape, deviations = np.random.default_rng(1), (60, 4, 3, 2, 60), (0.08, 0.08, 0.06, 0.45, 0.5)
    found = components(world(rng, shape, deviations)).shares
    true = np.array(truth(shape, deviations))
    assert list(found.values()) == pytest.approx(list(true / true.sum()), rel=0.2)
    assert list(found) == list(SOURCES) and sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("deviations", [(0.06, 0.08, 0.03, 0.4, 0.3), (0.0, 0.1, 0.0, 0.4, 0.0), (0.15, 0.02, 0.0, 0.2, 0.2)])
def test_the_intervals_of_the_shares_cover(deviations):
    rng, shape, inside = np.random.default_rng(4), (4, 3, 2, 2, 20), []
    true = np.array(truth(shape, deviations)) / sum(truth(shape, deviations))
    for _ in range(200):
        low, high = np.array(list(components(world(rng, shape, deviations)).share_intervals.values())).T
        inside.append((low <= true + 1e-9) & (true <= high))
    assert np.mean(inside) >= 0.93 and np.mean(inside, 0).min() >= 0.87


def test_what_a_draw_does_differently_with_each_example_counts_to_the_draw():
    rng, found = np.random.default_rng(2), []
    for _ in range(800):
        own = 0.3 * rng.standard_normal((4, 1, 30))
        found.append(list(components(own + 0.2 * rng.standard_normal((4, 3, 30)), ("rewrite", "answering", "examples")).variances.values()))
    error = np.std(found, 0) / math.sqrt(len(found))
    assert (np.abs(np.mean(found, 0) - np.array([0.09, 0.04, 0]) / 30) <= 4 * error).all()


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5), st.integers(2, 8))
def test_two_levels_are_the_analysis_of_variance_in_one_direction(seed, draws, answers, n):
    scores = np.random.default_rng(seed).normal(size=(draws, answers, n))
    found = components(scores, ("rewrite", "answering", "examples")).variances
    means = scores.mean(2)
    within = means.var(1, ddof=1).mean()
    assert found["answering"] == pytest.approx(within)
    assert found["rewrite"] == pytest.approx(means.mean(1).var(ddof=1) - within / answers)
    assert found["rewrite"] + found["answering"] / answers == pytest.approx(means.mean(1).var(ddof=1))


def test_what_narrows_most_is_where_the_noise_is():
    rng = np.random.default_rng(3)
    found = components(world(rng, (8, 3, 2, 2, 40), (0.2, 0.01, 0.0, 0.2, 0.1)))
    gain = found.narrowing()
    assert min(gain, key=gain.get) == "critiques" and all(0.5 < factor <= 1 for factor in gain.values())
    assert found.variance(critiques=16) < found.variance() and found.variance(examples=80) < found.variance()
    assert found.variance(critiques=1, rewrite=1, selection=1, answering=1) == pytest.approx(
        sum(max(v, 0) for v in found.variances.values())
    )


def test_where_nothing_varies_there_are_no_shares():
    found = components(np.ones((2, 2, 3)), ("rewrite", "answering", "examples"))
    assert all(map(math.isnan, found.shares.values())) and set(found.narrowing().values()) == {1.0}


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (np.ones((2, 3)), "an axis for each of rewrite, answering, examples"),
        (np.ones((2, 1, 3)), "leave out, answering"),
        (np.full((2, 2, 3), np.nan), "full table"),
        ([[[1], [2, 3]]], "full table"),
    ],
)
def test_what_cannot_be_taken_apart_is_named(scores, said):
    with pytest.raises(StatsError, match=said):
        components(scores, ("rewrite", "answering", "examples"))
