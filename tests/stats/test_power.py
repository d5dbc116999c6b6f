"""Power, what it can find and sizes: against statsmodels, and against simulation where it has nothing to say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import nct
from statsmodels.stats.power import TTestIndPower, TTestPower

from gradbook.errors import StatsError
from gradbook.stats import detectable, hedges, permutation_test, power, trials_for
from gradbook.stats.power import design

levels = st.sampled_from([0.05, 0.025, 0.01])


def test_the_papers_own_design():
    """Five against five, an effect of 0.8 standard deviations, two-sided at 0.025."""
    assert power(0.8, 5, 0.025) == pytest.approx(0.123, abs=5e-4)


@given(st.floats(0, 3), st.integers(5, 60), st.integers(5, 60), levels, st.sampled_from([1, 2]))
def test_power_is_that_of_statsmodels(d, first, second, alpha, sided):
    expected = TTestIndPower().power(d, first, alpha, second / first, alternative="larger" if sided == 1 else "two-sided")
    assert math.isnan(expected) or power(d, [first, second], alpha, sided) == pytest.approx(expected, abs=1e-6)  # it has nan here and there


@given(st.floats(0, 3), st.integers(9, 60), levels, st.sampled_from([1, 2]))
def test_power_of_pairs_is_that_of_statsmodels(d, n, alpha, sided):
    expected = TTestPower().power(d, n, alpha, alternative="larger" if sided == 1 else "two-sided")
    assert math.isnan(expected) or power(d, n, alpha, sided, paired=True) == pytest.approx(expected, abs=1e-6)  # it has nan here and there


@given(st.integers(5, 200), levels, st.sampled_from([1, 2]))
def test_what_can_be_found_is_found_with_that_power_and_with_no_fewer_trials(n, alpha, sided):
    d = detectable(n, alpha, sided)
    assert power(d, n, alpha, sided) == pytest.approx(0.8, abs=1e-5)
    assert trials_for(d * 1.0001, alpha, sided) == n


@pytest.mark.parametrize("d", [0.2, 0.5, 0.8, 1.2])
def test_trials_needed_are_those_of_statsmodels(d):
    assert trials_for(d, 0.025) == math.ceil(TTestIndPower().solve_power(d, None, 0.025, 0.8))


def test_a_thousand_trials_are_the_most_and_an_hundred_where_one_looks():
    assert trials_for(0.05) is None and trials_for(0.05, equivalent=True) is None
    assert trials_for(0.3, lambda n: 0.05) is None and trials_for(0.5, lambda n: 0.05) == trials_for(0.5)


def test_where_no_arrangement_is_rare_enough_there_is_no_power():
    assert power(50, 3, 0.05) == 0 and detectable(3, 0.05) == math.inf  # 1 of 20 arrangements each way
    assert power(50, 3, 0.1) > 0.99 and power(50, 3, 0.05, sided=1) > 0.99
    assert power(50, 5, 0.05, paired=True) == 0 < power(50, 6, 0.05, paired=True)
    assert trials_for(50) == 4 and trials_for(50, paired=True) == 6


@pytest.mark.parametrize("n", [2, 5, 40, 500, 1000])
def test_power_is_a_share_however_large_the_effect(n):
    for d in (0, 1e-9, 0.5, 3, 30, 1e9):
        assert 0 <= power(d, n, 0.4) <= 1
    assert power(1e9, n, 0.4) == pytest.approx(1)


def test_power_of_a_trend_is_what_simulation_has():
    rng, doses = np.random.default_rng(0), (1, 2, 3, 5)
    claimed = power(1.2, 6, 0.05, 1, doses=doses)
    shown = 0
    for _ in range(400):
        scores = [rng.normal(1.2 * (dose - 1) / 4, 1, 6) for dose in doses]
        shown += permutation_test(scores, doses, draws=2000).p("more") <= 0.05
    assert shown / 400 == pytest.approx(claimed, abs=0.07)


def test_trials_that_exclude_do_so():
    rng, n = np.random.default_rng(0), trials_for(1.5, equivalent=True)
    shown = sum(permutation_test(rng.normal(size=(2, n)), draws=2000).p_equivalent(1.5) <= 0.05 for _ in range(400))
    assert 0.72 < shown / 400 < 0.88


@given(st.integers(0, 10**6), st.integers(3, 12), st.integers(3, 12))
def test_hedges_g_is_the_formula_and_its_interval_that_of_the_noncentral_t(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n) + 1, rng.normal(size=m)
    df = n + m - 2
    sd = math.sqrt(((n - 1) * a.var(ddof=1) + (m - 1) * b.var(ddof=1)) / df)
    fewer = math.gamma(df / 2) / (math.sqrt(df / 2) * math.gamma((df - 1) / 2))
    scale = math.sqrt(n * m / (n + m))
    d, found = (a.mean() - b.mean()) / sd, hedges(a, b)
    near = (min(0, 2 * d * scale) - 4, max(0, 2 * d * scale) + 4)
    low, high = (brentq(lambda nc, q=q: np.nan_to_num(nct.cdf(d * scale, df, nc)) - q, *near) for q in (0.975, 0.025))
    assert found == pytest.approx((fewer * d, fewer * low / scale, fewer * high / scale), rel=1e-4, abs=1e-4)
    back = hedges(b, a)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low), abs=1e-6)


def test_g_covers():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(1000):
        _, low, high = hedges(rng.normal(0.8, 1, 5), rng.normal(0, 1, 5))
        bias = math.gamma(4) / (2 * math.gamma(3.5))
        inside += low / bias <= 0.8 <= high / bias
    assert 0.935 < inside / 1000 < 0.965


def test_g_of_pairs_is_in_deviations_of_their_differences_and_of_no_spread_is_none():
    a, b = np.array([1.0, 2.0, 3.5, 4.0]), np.array([0.5, 1.0, 3.0, 2.0])
    t = (a - b).mean() / (a - b).std(ddof=1)
    assert hedges(a, b, paired=True).value == pytest.approx(t * math.gamma(1.5) / (math.sqrt(1.5) * math.gamma(1)))
    assert all(map(math.isnan, hedges([0.8] * 5, [0.7] * 5))) and math.isnan(hedges([0.1, 0.2], [0.5, 0.4], paired=True).value)


def test_what_does_not_fit_is_named():
    for wrong in (1, [5, 1], [5, 5, 5]):
        with pytest.raises(StatsError, match="two trials or more"):
            design(wrong)
    with pytest.raises(StatsError, match="pairs as many in both"):
        design([5, 6], paired=True)
