"""How variance goes with a size: against the likelihood maximised by SciPy, and where there is little to see."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import ndtri, stdtrit

from gradbook.errors import StatsError
from gradbook.stats import scaling

SIZES = (1, 2, 4, 8)


def drawn(spreads, batches=30, examples=400, seed=0, answers=2):
    rng = np.random.default_rng(seed)
    level = [np.clip(0.5 + spread * rng.standard_normal((batches, 1, 1)), 0, 1) for spread in spreads]
    return [(rng.random((batches, answers, examples)) < each).astype(float) for each in level]


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0])
def test_it_is_the_likelihood_of_chi_square_variances_over_a_floor(power):
    scores = drawn([0.15 * size ** (power / 2) for size in SIZES])
    found = scaling(SIZES, scores)
    seen = np.array([score.mean((1, 2)).var(ddof=1) for score in scores])
    floor = np.array([score.var(1, ddof=1).mean() / 800 for score in scores])

    def unlike(factor, exponent):
        model = np.exp(factor) * np.array(SIZES) ** exponent + floor
        return float((29 / 2 * (np.log(model) + seen / model)).sum())

    best = minimize(lambda at: unlike(*at), (-4, -0.5), method="Nelder-Mead")
    assert found.exponent == pytest.approx(best.x[1], abs=0.06)
    for edge in (found.low, found.high):  # at the edges the profile has fallen by what F says, where no tails temper it
        here = minimize(lambda at, edge=edge: unlike(at[0], edge), (-4,), method="Nelder-Mead").fun
        assert 1.0 <= 2 * (here - best.fun) / stdtrit(4 * 29 - 2, 0.95) ** 2 <= 1.5
    assert found.low < power < found.high
    assert found.spread == pytest.approx(np.sqrt(seen - floor)) and found.answering == pytest.approx(np.sqrt(floor))


def test_long_tails_make_it_less_sure():
    at, narrow = (np.arange(30) + 0.5) / 30, []
    for z in (ndtri(at), stdtrit(3, at)):
        found = scaling(SIZES, [np.tile((0.5 + 0.1 * z / z.std())[:, None, None], (1, 2, 5))] * 4)
        assert found.exponent == pytest.approx(0, abs=0.01)
        narrow.append(found.high - found.low)
    assert narrow[1] > 1.3 * narrow[0]


def test_where_nothing_varies_there_is_no_power_and_no_bound():
    for scores in ([np.ones((5, 2, 3))] * 2, drawn([0.0, 0.0], batches=6, examples=20)):
        found = scaling((1, 4), scores)
        assert (found.low, found.high) == (-math.inf, math.inf)
    assert math.isnan(scaling((1, 4), [np.ones((5, 2, 3))] * 2).exponent)
    assert "nothing is seen to vary" in str(scaling((1, 4), [np.ones((5, 2, 3))] * 2))


def test_draws_that_happen_to_be_alike_prove_no_fall():
    """Of four draws that a rare rewrite makes, none may be the rare one."""
    some, none = np.zeros((4, 2, 10)), np.zeros((4, 2, 10))
    some[0] = 1.0
    assert scaling((1, 2), [some, none]).high > -0.5


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [((1, 2), (1, 2, 3)), ((1, 2), (2, 1, 3)), ((1, 2), (2, 2, 0)), ((1, 2), (2, 2)), ((1, 1), (2, 2, 3)), ((0, 1), (2, 2, 3))],
)
def test_what_is_no_layout_is_refused_in_a_sentence(sizes, shape):
    with pytest.raises(StatsError, match=r"two draws and two answers|two different sizes"):
        scaling(sizes, [np.zeros(shape)] * 2)
    with pytest.raises(StatsError, match="shares"):
        scaling((1, 2), [np.full((2, 2, 3), 1.5)] * 2)
