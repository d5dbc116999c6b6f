"""Two matrices of distances: τ-b against SciPy, p against all orders, bounds against a jackknife by hand."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, linregress, t

from gradbook.errors import StatsError
from gradbook.stats import mantel


def drawn(count, seed, like=0.5):
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((count, 2))
    first = np.linalg.norm(places[:, None] - places, axis=-1)
    noise = rng.standard_normal((count, count))
    return first, like * first + noise + noise.T


@pytest.mark.parametrize("count", [4, 5, 6, 9])
def test_tau_p_and_bounds_are_those_by_hand(count):
    first, second = drawn(count, count)
    pairs, found = np.triu_indices(count, 1), mantel(first, second)
    assert found.tau == pytest.approx(kendalltau(first[pairs], second[pairs]).statistic)
    slope = linregress(first[pairs], second[pairs]).slope
    span = np.ptp(first[pairs])
    assert found.rise == pytest.approx(slope * span) and found.span == pytest.approx((first[pairs].min(), first[pairs].max()))
    pseudo = []
    for gone in range(count):
        left = [n for n in range(count) if n != gone]
        some = np.triu_indices(count - 1, 1)
        rest = linregress(first[np.ix_(left, left)][some], second[np.ix_(left, left)][some]).slope
        pseudo.append(count * slope - (count - 1) * rest)
    half = t.ppf(0.95, count - 1) * np.std(pseudo, ddof=1) / np.sqrt(count) * span
    assert (found.low, found.high) == pytest.approx((found.rise - half, found.rise + half))
    if count <= 6:
        orders = [kendalltau(first[np.ix_(o, o)][pairs], second[pairs]).statistic for o in permutations(range(count))]
        assert found.p == pytest.approx(np.mean(np.array(orders) >= found.tau - 1e-9))


def test_orders_that_are_drawn_say_what_all_orders_say():
    rng, p = np.random.default_rng(0), []
    for seed in range(3):
        first, second = drawn(7, seed, like=0.3)
        pairs = np.triu_indices(7, 1)
        observed = kendalltau(first[pairs], second[pairs]).statistic
        some = [rng.permutation(7) for _ in range(1500)]
        reached = [kendalltau(first[np.ix_(o, o)][pairs], second[pairs]).statistic >= observed - 1e-9 for o in some]
        p.append((mantel(first, second).p, np.mean(reached)))
    assert all(one == pytest.approx(other, abs=0.05) for one, other in p)


@given(st.integers(0, 1000), st.integers(4, 7))
def test_the_order_and_the_units_of_things_do_not_matter(seed, count):
    first, second = drawn(count, seed)
    order = np.random.default_rng(seed).permutation(count)
    one, other = mantel(first, second), mantel(first[np.ix_(order, order)], 3 * second[np.ix_(order, order)] + 1)
    assert other.tau == pytest.approx(one.tau) and other.rise == pytest.approx(3 * one.rise)
    assert other.high == pytest.approx(3 * one.high) and 0 < one.p <= 1


def test_a_distance_that_is_not_known_is_left_out():
    first, second = drawn(8, 1)
    second[2, 5] = second[5, 2] = np.nan
    pairs = np.triu_indices(8, 1)
    known = np.isfinite(second[pairs])
    found = mantel(first, second)
    assert found.tau == pytest.approx(kendalltau(first[pairs][known], second[pairs][known]).statistic)
    assert found.rise / np.ptp(first[pairs]) == pytest.approx(linregress(first[pairs][known], second[pairs][known]).slope)
    second[:6] = second[:, :6] = np.nan
    assert mantel(first, second).high == np.inf and mantel(first, second).p == 1


def test_where_all_is_alike_nothing_is_said():
    first, _ = drawn(5, 0)
    found = mantel(first, 1 - np.eye(5))
    assert (found.tau, found.p, found.low, found.high) == (0, 1, -np.inf, np.inf)


@pytest.mark.parametrize("first", [np.zeros((3, 3)), np.zeros((5, 5)), np.arange(16).reshape(4, 4), np.full((4, 4), np.nan), [["a"]]])
def test_what_are_no_distances_is_refused_in_a_sentence(first):
    with pytest.raises(StatsError, match=r"Distances"):
        mantel(first, np.zeros((4, 4)) if np.shape(first) != (3, 3) else np.zeros((3, 3)))
