"""By how much the split that a selection looked at flatters what it chose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradbook.errors import StatsError
from gradbook.stats.effect import Array, arm, points


@dataclass(frozen=True)
class Optimism:
    """The score on the split that chose minus that on the untouched split, in the units of the score, with its interval and two-sided p.

    `gain` says that the seed prompt's own difference between the splits was taken off.
    """

    value: float
    low: float
    high: float
    p: float
    trials: int
    gain: bool

    def __str__(self) -> str:
        shown = [points(share) for share in (self.value, self.low, self.high)]
        return f"the split that chose flatters by {shown[0]} points ({shown[1]} to {shown[2]}, {self.trials} trials)"


def optimism(chosen: ArrayLike, untouched: ArrayLike, seed: Sequence[ArrayLike] | None = None, alpha: float = 0.05) -> Optimism:
    """Estimate the optimism of a selection from the end prompts of trials.

    Args:
        chosen, untouched: the end prompts on the split that chose them and on the untouched one, a score a trial or trial × example; the
            examples differ, in number too. By example the interval is for examples like these, else for these two splits as they are.
        seed: the seed prompt on both splits, likewise (a trial, or a row of examples, or several rows): what it differs by is no optimism,
            but one split being harder.
        alpha: how often the interval may miss.

    Raises:
        StatsError: not the same trials in both, fewer than two, or a seed prompt scored on other examples.
    """
    ends = [_table(scores) for scores in (chosen, untouched)]
    seeds = [np.atleast_2d(np.asarray(scores, dtype=float)) for scores in seed] if seed is not None else [np.zeros((1, 1))] * 2
    if len(ends[0]) != len(ends[1]) or len(ends[0]) < 2:
        raise StatsError(f"Both splits need the same two or more trials, not {len(ends[0])} and {len(ends[1])}.")
    if len(seeds) != 2 or any(s.shape[1] not in (1, e.shape[1]) or not np.isfinite(s).all() for s, e in zip(seeds, ends, strict=True)):
        raise StatsError("The seed prompt needs a score, or one for each example, on the split that chose and on the untouched one.")
    gaps = (ends[0].mean(1) - seeds[0].mean()) - (ends[1].mean(1) - seeds[1].mean())
    trials = len(gaps)
    parts = [(float(gaps.var(ddof=1)) / trials, float(gaps.var(ddof=1)) / trials, trials - 1)]
    for end, start in zip(ends, seeds, strict=True):
        if (n := end.shape[1]) > 1:
            seen = float((end.mean(0) - start.mean(0)).var(ddof=1)) / n
            parts.append((max(seen - float(arm(end).rest) / trials / n, 0.0), seen, n - 1))  # answering is in the trials' part already
    variance, uncertain = sum(part for part, _, _ in parts), sum(seen**2 / df for _, seen, df in parts)
    value, error = float(gaps.mean()), variance**0.5
    df = variance**2 / uncertain if uncertain else 1.0
    half = float(scipy.special.stdtrit(df, 1 - alpha / 2)) * error
    p = float(2 * scipy.special.stdtr(df, -abs(value) / error)) if error else float(value == 0)
    return Optimism(value, value - half, value + half, p, trials, seed is not None)


def _table(scores: ArrayLike) -> Array:
    try:
        table = np.asarray(scores, dtype=float)
    except (TypeError, ValueError):
        table = np.full((1, 1), np.nan)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not np.isfinite(table).all():
        raise StatsError("The scores of end prompts must be numbers, one a trial or a row of all examples a trial, with no gaps.")
    return table
