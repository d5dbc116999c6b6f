"""What each section of a prompt is worth: screened by removing random subsets, then confirmed one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from gradbook.errors import StatsError
from gradbook.stats.effect import Effect, effect, satterthwaite

Design = NDArray[np.bool_]
_TRIES = 200
_UNTOLD = "{runs} runs cannot tell the worth of {sections} sections apart: add runs that leave out other subsets."


def removals(sections: int, runs: int, share: float = 0.25, seed: int = 0) -> Design:
    """Which sections each run leaves out: an array runs × sections, every section left out equally often, as near orthogonal as found.

    A quarter is left out at a time, so that a section is judged in about the prompt that it stands in; a half would be the most precise
    where sections add up, which they do not.

    Raises:
        StatsError: fewer runs than one for each section and two more.
    """
    if sections < 1 or runs < sections + 2 or not 0 < share < 1:
        raise StatsError(
            f"To screen {sections} sections takes {sections + 2} runs or more and a share between 0 and 1, not {runs} and {share:g}."
        )
    rng, gone = np.random.default_rng(seed), min(max(round(share * runs), 1), runs - 1)
    tries = rng.permuted(np.tile(np.arange(runs) < gone, (_TRIES, sections, 1)), axis=2).swapaxes(1, 2)
    sizes = np.linalg.slogdet(_squares(tries))[1]
    if sizes.max() < -1:  # a determinant of whole numbers is 0 or at least 1
        raise StatsError(_UNTOLD.format(runs=runs, sections=sections))
    return np.asarray(tries[sizes.argmax()])


@dataclass(frozen=True)
class Worth:
    """What a section adds to the score where it stands: the estimate, its interval and two-sided p, for examples like these."""

    value: float
    low: float
    high: float
    p: float


def screen(removed: ArrayLike, scores: ArrayLike, alpha: float = 0.05) -> tuple[Worth, ...]:
    """Estimate the worth of each section from runs without random subsets of them.

    Least squares on the runs; the variance is that of the runs about the fit, not below answering alone, plus what the examples' own
    estimates vary beyond answering over their number, as in `effect`. That sections do not quite add up widens the intervals.

    Args:
        removed: runs × sections, true where a run left a section out.
        scores: runs × examples, the same examples in every run.
        alpha: how often an interval may miss.

    Raises:
        StatsError: arrays that do not fit each other, or a section whose worth these runs cannot tell from that of others.
    """
    design, table = np.asarray(removed, dtype=bool), np.asarray(scores, dtype=float)
    if design.ndim != 2 or table.ndim != 2 or len(design) != len(table) or table.shape[1] < 2 or not np.isfinite(table).all():
        raise StatsError("Scores must be a full table of numbers, a row for each row of the design and a column for two examples or more.")
    (runs, sections), n = design.shape, table.shape[1]
    squares, full = _squares(design), _with_constant(design)
    if runs < sections + 2 or np.linalg.matrix_rank(squares) <= sections:
        raise StatsError(_UNTOLD.format(runs=runs, sections=sections))
    inverse = np.linalg.inv(squares)
    fits = inverse @ full.T @ table
    left, df = table - full @ fits, runs - sections - 1
    of_runs = float((left.mean(1) ** 2).sum() / df)
    rest = float(((left - left.mean(1, keepdims=True)) ** 2).sum() / (df * (n - 1)))
    leverage = np.diag(inverse)[1:]
    by_runs, answering, by_examples = max(of_runs, rest / n) * leverage, rest / n * leverage, fits[1:].var(1, ddof=1) / n
    variance = by_runs + np.maximum(by_examples - answering, 0)
    rounding = 1e-12 * max(float(np.abs(table).max()), 1.0)
    worth, error = -fits[1:].mean(1), np.maximum(np.sqrt(variance), rounding)
    degrees = satterthwaite(variance, by_runs**2 / df + by_examples**2 / (n - 1))
    half, p = scipy.special.stdtrit(degrees, 1 - alpha / 2) * error, 2 * scipy.special.stdtr(degrees, -np.abs(worth) / error)
    return tuple(Worth(*map(float, found)) for found in zip(worth, worth - half, worth + half, p, strict=True))


def confirm(full: ArrayLike, without: Mapping[int, ArrayLike], margin: float = 0.05, alpha: float = 0.05) -> dict[int, Effect]:
    """Judge sections one at a time: what the prompt with a section has over the prompt without it, by replicates of both.

    Args:
        full: scores of the whole prompt, replicate × example.
        without: scores without each section, by its number; the same examples.
        margin, alpha: as for `effect`; `alpha` is shared by all sections (Bonferroni), so that no verdict at all is wrong more often.
    """
    return {section: effect(scores, full, margin, alpha / len(without)) for section, scores in without.items()}


def _with_constant(designs: Design) -> NDArray[np.float64]:
    return np.concatenate([np.ones((*designs.shape[:-1], 1)), designs], axis=-1)


def _squares(designs: Design) -> NDArray[np.float64]:
    """X′X, with a constant, of one design or of many."""
    full = _with_constant(designs)
    return full.swapaxes(-1, -2) @ full
