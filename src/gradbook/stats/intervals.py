"""Intervals of shares, means and draws, and the exact test of two prompts."""

import math
from collections.abc import Sequence

import scipy


def wilson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, 0 to 1 (Wilson 1927); (nan, nan) where the total is 0."""
    if not total:
        return math.nan, math.nan
    z, share = float(scipy.special.ndtri((1 + level) / 2)), count / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_of_shares(shares: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The interval of the mean of independent shares, each given as (share, lower, upper), at the level of theirs.

    The method of variance estimates recovery: Newcombe 1998 for two shares, Zou and Donner 2008 for a sum of any number.
    """
    if not shares:
        return math.nan, math.nan
    n, mean = len(shares), sum(share for share, _, _ in shares) / len(shares)
    below = math.sqrt(sum((share - low) ** 2 for share, low, _ in shares)) / n
    above = math.sqrt(sum((high - share) ** 2 for share, _, high in shares)) / n
    return max(0.0, mean - below), min(1.0, mean + above)


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's interval of a mean; (nan, nan) with fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    mean, half = sum(values) / n, float(scipy.special.stdtrit(n - 1, (1 + level) / 2)) * _deviation(values) / math.sqrt(n)
    return mean - half, mean + half


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def paired_p(fixed: int, broken: int) -> float:
    """Exact McNemar test on paired examples: the two-sided p that as many of the changed answers go one way by chance.

    Args:
        fixed: examples wrong before and right after.
        broken: examples right before and wrong after.
    """
    return min(1.0, 2 * float(scipy.special.bdtr(min(fixed, broken), fixed + broken, 0.5)))
