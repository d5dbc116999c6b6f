"""Trends of draws over doses: against SciPy, against every order there is, and against simulation."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, linregress, somersd

from gradbook.errors import StatsError
from gradbook.stats import rise, slopes, trend

values = st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=5), min_size=2, max_size=5)


@given(values)
def test_tau_is_that_of_scipy(doses):
    labels = np.repeat(range(len(doses)), [len(dose) for dose in doses])
    found = trend(doses)
    assert found.tau == pytest.approx(np.nan_to_num(somersd(labels, np.concatenate(doses)).statistic)), "none where all are alike"
    assert found.low <= found.tau <= found.high and 0 < min(found.rising, found.falling) <= 1


@given(values, st.floats(0.1, 10), st.floats(-5, 5))
def test_nothing_but_the_order_counts(doses, scale, shift):
    found = trend(doses)
    moved = trend([[round(scale * value + shift, 9) for value in dose] for dose in doses])
    assert (found.tau, found.rising) == (pytest.approx(moved.tau), moved.rising)
    turned = trend([[-value for value in dose] for dose in doses])
    assert turned.tau == pytest.approx(-found.tau)
    assert (turned.rising, turned.falling) == pytest.approx((found.falling, found.rising), abs=0.06), "of other orders drawn"


@pytest.mark.parametrize("doses", [[[1, 2], [3, 2], [4, 4]], [[5, 1], [2, 2], [0, 1]], [[1, 3, 2], [2, 4, 5]]])
def test_p_is_the_share_of_all_orders_in_which_tau_is_as_high(doses):
    labels, flat = np.repeat(range(len(doses)), len(doses[0])), np.concatenate(doses)
    seen = kendalltau(labels, flat).statistic
    others = [kendalltau(order, flat).statistic for order in permutations(labels)]
    found = trend(doses)
    assert found.rising == pytest.approx(np.mean([other >= seen - 1e-9 for other in others]), abs=0.04)
    assert found.falling == pytest.approx(np.mean([other <= seen + 1e-9 for other in others]), abs=0.04)


def test_the_interval_covers_and_the_p_errs_as_they_say():
    rng = np.random.default_rng(0)
    for lift in (0.0, 0.4):
        truth = trend(rng.standard_normal((5, 100)) + lift * np.arange(5)[:, None]).tau if lift else 0.0
        found = [trend(rng.standard_normal((5, 5)) + lift * np.arange(5)[:, None]) for _ in range(300)]
        assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.88
        assert lift or np.mean([one.p <= 0.05 for one in found]) <= 0.08
    assert trend([[k + j / 9 for j in range(5)] for k in range(5)]).low < 1, "draws in perfect order may have been so by chance"


def test_the_rise_is_that_of_the_line_of_least_squares():
    drawn = np.random.default_rng(1).normal(size=(5, 6)) + np.arange(5)[:, None]
    line = linregress(np.repeat(range(5), 6), drawn.ravel())
    assert rise(drawn).difference == pytest.approx(4 * line.slope)
    assert sum(slopes(5)) == pytest.approx(0) and slopes(2) == [-1, 1]
    alike = rise([[0.2, 0.2], [0.5, 0.5]])
    assert (alike.low, alike.high) == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize("doses", [[], [[1, 2]], [[1, 2], [3]], [[1, 2], [3, float("nan")]], [["a", "b"], [1, 2]]])
def test_what_is_no_trend_is_refused_in_a_sentence(doses):
    with pytest.raises(StatsError, match="two doses or more"):
        trend(doses)
