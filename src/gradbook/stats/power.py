"""What a number of trials can show: the power of the t-test, the least effect it finds, and effect sizes.

On the noncentral t, as statsmodels' `TTestIndPower`, which gives the same numbers where it gives any (two-sided at d = 1.875 with 16 and
60 trials: nan) and takes two seconds to import; with trends over doses, and with this: the permutation test of few trials has no p small
enough for a strict level.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradbook.errors import StatsError

MOST_TRIALS, MOST_LOOKS = 1000, 100
"""The most trials an arm that are ever recommended, at once and where one looks after each."""
POWER = 0.8
Trials = int | Sequence[int]
_SURE = 30.0  # a t so far out is shown at any level that so few trials can reach


class Design(NamedTuple):
    """What a test makes of an effect: `scale` × the effect in standard deviations of a trial is its t, and `least` its smallest p."""

    scale: float
    df: int
    least: float


def design(trials: Trials, doses: Sequence[float] = (1.0, 0.0), paired: bool = False) -> Design:
    """The design of so many trials an arm, of two arms or a trend, as `permutation_test` compares them.

    Args:
        trials: how many an arm, or for each arm.
        doses: as for `permutation_test`; the effect is then the gain from the least to the greatest.
        paired: trials belong together; the standard deviation is then that of the pairs' differences.

    Raises:
        StatsError: an arm of fewer than two trials, or not as many numbers as doses.
    """
    counts = [trials] * len(doses) if isinstance(trials, int) else list(trials)
    if len(counts) != len(doses) or min(counts) < 2 or (paired and len(set(counts)) > 1):
        raise StatsError(f"{len(doses)} arms need two trials or more each, and pairs as many in both, not {', '.join(map(str, counts))}.")
    if paired:
        return Design(math.sqrt(counts[0]), counts[0] - 1, 0.5 ** counts[0])
    n = sum(counts)
    mean = sum(count * dose for count, dose in zip(counts, doses, strict=True)) / n
    squares = sum(count * (dose - mean) ** 2 for count, dose in zip(counts, doses, strict=True))
    ways = math.lgamma(n + 1) - sum(math.lgamma(count + 1) for count in counts)
    return Design(math.sqrt(squares) / (max(doses) - min(doses)), n - 2, math.exp(-ways))


def power(
    d: float, trials: Trials, alpha: float = 0.05, sided: int = 2, *, doses: Sequence[float] = (1.0, 0.0), paired: bool = False
) -> float:
    """How probably an effect of `d` standard deviations of a trial is shown at `alpha`, in its direction where `sided` is 1.

    0 where there are so few arrangements that no p is below `alpha`. Other arguments and errors as for `design`.
    """
    scale, df, least = design(trials, doses, paired)
    if sided * least > alpha * (1 + 1e-9):
        return 0.0
    away, reach = min(abs(d) * scale, _SURE), float(scipy.special.stdtrit(df, 1 - alpha / sided))
    other = np.nan_to_num(scipy.special.nctdtr(df, away, -reach)) if sided == 2 else 0.0  # SciPy has nan where it has no digits left
    return float(1 - scipy.special.nctdtr(df, away, reach) + other)


def detectable(
    trials: Trials, alpha: float = 0.05, sided: int = 2, *, doses: Sequence[float] = (1.0, 0.0), paired: bool = False, at: float = POWER
) -> float:
    """The least effect, in standard deviations of a trial, that is shown with probability `at`; inf where nothing can be. As `power`."""
    scale, df, least = design(trials, doses, paired)
    if sided * least > alpha * (1 + 1e-9):
        return math.inf
    reach = scipy.special.stdtrit(df, 1 - alpha / sided)
    return float(scipy.special.nctdtrinc(df, 1 - at, reach)) / scale  # the other tail adds nothing that is seen here


def trials_for(
    d: float,
    alpha: float | Callable[[int], float] = 0.05,
    sided: int = 2,
    *,
    doses: Sequence[float] = (1.0, 0.0),
    paired: bool = False,
    equivalent: bool = False,
    at: float = POWER,
) -> int | None:
    """The fewest trials an arm that show an effect of `d` standard deviations with probability `at`; None where `MOST_TRIALS` do not.

    Args:
        d: the effect, or with `equivalent` the margin.
        alpha: the level, or what gives it for a number of trials, where one looks after each (`MOST_LOOKS` then).
        equivalent: show by two one-sided tests that the effect is below `d`, where there is none.
        sided, doses, paired: as for `power`.
    """

    def enough(trials: int) -> bool:
        found = power(d, trials, alpha(trials) if callable(alpha) else alpha, 1 if equivalent else sided, doses=doses, paired=paired)
        return (2 * found - 1 if equivalent else found) >= at

    most = MOST_LOOKS if callable(alpha) else MOST_TRIALS
    low = high = 2
    while high < most and not enough(high):  # by doubling, since the levels of late looks are dear
        low, high = high + 1, 2 * high
    trials = range(low, min(high, most) + 1)
    index = bisect_left(trials, True, key=enough)
    return trials[index] if index < len(trials) else None


class Size(NamedTuple):
    """Hedges' g, a difference in standard deviations of a trial without the bias of few, with its interval."""

    value: float
    low: float
    high: float


def hedges(first: ArrayLike, second: ArrayLike, paired: bool = False, level: float = 0.05) -> Size:
    """Hedges' g of two arms; for pairs in standard deviations of their differences.

    The interval errs with probability `level` and is that of the noncentral t (Steiger and Fouladi 1997). nan where nothing varies, or
    in two pairs.

    Raises:
        StatsError: an arm of fewer than two trials, or pairs that are no pairs.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    scale, df, _ = design([len(a), len(b)], paired=paired)
    squares = (len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)
    sd = float((a - b).std(ddof=1)) if paired else math.sqrt(squares / df)
    if sd <= 1e-12 * max(1.0, np.abs(a).max()) or df < 2:
        return Size(math.nan, math.nan, math.nan)
    fewer = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
    t = float(a.mean() - b.mean()) / sd * scale
    bounds = scipy.special.nctdtrinc(df, np.array([1 - level / 2, level / 2]), t) / scale
    return Size(fewer * t / scale, *(fewer * bounds).tolist())
