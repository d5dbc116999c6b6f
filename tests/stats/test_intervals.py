"""Intervals and exact tests, against SciPy's own."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from gradbook.stats import mean_interval, mean_of_shares, paired_p, wilson


@given(st.integers(1, 300).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_is_that_of_scipy(share):
    expected = binomtest(*share).proportion_ci(method="wilson")
    assert wilson(*share) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_nothing_is_not_a_number():
    assert all(map(math.isnan, wilson(0, 0)))


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(fixed, broken):
    expected = binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert paired_p(fixed, broken) == pytest.approx(expected)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_of_a_mean_is_that_of_scipy(values, level):
    n, mean = len(values), math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    low, high = t.interval(level, n - 1, loc=mean, scale=spread) if spread else (mean, mean)
    assert mean_interval(values, level) == pytest.approx((low, high), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("values", [[], [3.0]])
def test_the_interval_of_fewer_than_two_values_is_not_a_number(values):
    assert all(map(math.isnan, mean_interval(values)))


def shares(counts):
    return [(count / total, *wilson(count, total)) for count, total in counts]


counts = st.integers(1, 60).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(st.lists(counts, min_size=1, max_size=6))
def test_the_mean_of_shares_lies_in_its_interval_and_that_between_0_and_1(found):
    low, high = mean_of_shares(shares(found))
    mean = sum(count / total for count, total in found) / len(found)
    assert 0 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1


@given(counts)
def test_the_mean_of_one_share_has_its_own_interval(found):
    assert mean_of_shares(shares([found])) == pytest.approx(wilson(*found))


def test_the_mean_of_no_shares_is_not_a_number():
    assert all(map(math.isnan, mean_of_shares([])))


def test_the_interval_of_a_mean_of_shares_misses_as_often_as_it_says_on_either_side():
    rng = random.Random(0)
    truth, sizes, missed = (0.7, 0.4, 0.55), (30, 40, 50), {"above": 0, "below": 0}
    for _ in range(4000):
        drawn = [(sum(rng.random() < p for _ in range(n)), n) for p, n in zip(truth, sizes, strict=True)]
        low, high = mean_of_shares(shares(drawn))
        missed["above"] += low > sum(truth) / 3
        missed["below"] += high < sum(truth) / 3
    assert all(0.01 < count / 4000 < 0.04 for count in missed.values()), missed


def test_nothing_changed_is_no_evidence():
    assert paired_p(0, 0) == 1.0 and paired_p(3, 3) == 1.0 and paired_p(8, 0) == pytest.approx(2 / 2**8)
