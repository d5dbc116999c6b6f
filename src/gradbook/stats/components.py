"""How much of a score's variance each stage makes: nested replicates taken apart by the method of moments.

For a balanced layout that is what restricted maximum likelihood gives wherever no component is below zero, without a fit that may not
converge; and it is unbiased, since a component that comes out below zero is left so (its share counts as none).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gradbook.errors import StatsError


@dataclass(frozen=True)
class Components:
    """The variance of one score (a mean over `examples` examples), as a sum over its sources, outermost first, examples last.

    What a source does differently with each example counts to that source: drawing it again draws that again.
    """

    variances: Mapping[str, float]
    counts: Mapping[str, int]

    @property
    def shares(self) -> dict[str, float]:
        """The share of each source in all of the variance; nan where nothing varies."""
        kept = {name: max(value, 0.0) for name, value in self.variances.items()}
        total = sum(kept.values())
        return {name: value / total if total else math.nan for name, value in kept.items()}

    def variance(self, **more: int) -> float:
        """The variance of the mean of all scores, with the counts there are but for those named in `more`.

        More examples make less of the innermost source too, which is drawn anew for each of them.
        """
        counts, units, total = {**self.counts, **more}, 1, 0.0
        *_, innermost, examples = self.variances
        for name, value in self.variances.items():
            units = units * counts[name] if name != examples else 1
            fewer = self.counts[examples] / counts[examples] if name in (innermost, examples) else 1.0
            total += max(value, 0.0) * fewer / units
        return total

    def narrowing(self) -> dict[str, float]:
        """By what factor one more unit of each source alone would multiply the half-width of the next interval: the least helps most."""
        now = self.variance()
        return {name: math.sqrt(self.variance(**{name: count + 1}) / now) if now else 1.0 for name, count in self.counts.items()}


def components(scores: ArrayLike, sources: Sequence[str] = ("critiques", "rewrite", "selection", "answering", "examples")) -> Components:
    """Take the variance of a score apart.

    Args:
        scores: an array with an axis a source; each source drawn anew within the one before it, the same examples on the last axis.
        sources: the names of the axes, outermost first, examples last; leave out a source that was not drawn more than once.

    Raises:
        StatsError: an axis too many or too few, with one unit only, or a score that is no finite number.
    """
    try:
        table = np.asarray(scores, dtype=float)
    except (TypeError, ValueError):
        table = np.empty(0)
    if table.ndim != len(sources) or table.ndim < 2 or not np.isfinite(table).all():
        raise StatsError(f"The scores must be a full table of numbers with an axis for each of {', '.join(sources)}.")
    if once := [name for name, count in zip(sources, table.shape, strict=True) if count < 2]:
        raise StatsError(f"What varies cannot be told from one draw: draw twice or more, or leave out, {', '.join(once)}.")
    *units, n = table.shape
    squares = _mean_squares(table.mean(-1))
    below = [*squares[1:], 0.0]
    inside = [math.prod(units[k + 1 :]) for k in range(len(units))]
    found = {name: (squares[k] - below[k]) / inside[k] for k, name in enumerate(sources[:-1])}
    found[sources[-1]] = _of_examples(table) / n
    return Components(found, dict(zip(sources, table.shape, strict=True)))


def _mean_squares(means: np.ndarray) -> list[float]:
    """The mean square of each level of a nested layout, outermost first, in units of single entries."""
    squares = []
    for k in range(means.ndim):
        inner = means.mean(tuple(range(k + 1, means.ndim)))
        apart = inner - inner.mean(-1, keepdims=True)
        degrees = apart.size - apart.size // apart.shape[-1]
        squares.append(float((apart**2).sum() / degrees * means[(0,) * (k + 1)].size))
    return squares


def _of_examples(table: np.ndarray) -> float:
    """The variance between examples of their true means: of what is seen, less what the outermost draws do differently with each."""
    by_draw = table.mean(tuple(range(1, table.ndim - 1)))
    profile = by_draw.mean(0)
    left = by_draw - profile - by_draw.mean(1, keepdims=True) + by_draw.mean()
    draws, n = by_draw.shape
    return float(profile.var(ddof=1) - (left**2).sum() / ((draws - 1) * (n - 1)) / draws)
