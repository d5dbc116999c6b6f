"""Whether a value rises with a dose: Kendall's τ over draws, with a permutation p."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from gradbook.errors import StatsError
from gradbook.stats.effect import Array, Difference, Estimate, estimate

_ORDERS = 1999


@dataclass(frozen=True)
class Trend:
    """Kendall's τ over the pairs of draws at different doses: the share in which the higher dose has the higher value, minus the share in
    which it has the lower one, -1 to 1. (With pairs at one dose counted too it could not reach 1; this is also called Somers' d.)

    `low` and `high` are its interval at 1 - `alpha`; `rising` is the p of a τ as high as this where the dose does nothing, `falling` of
    one as low.
    """

    tau: float
    low: float
    high: float
    rising: float
    falling: float

    @property
    def p(self) -> float:
        """The two-sided p that the dose does nothing."""
        return min(1.0, 2 * min(self.rising, self.falling))

    def __str__(self) -> str:
        return f"τ = {self.tau:+.2f} ({self.low:+.2f} to {self.high:+.2f}, p = {self.p:.2g})".replace("-", "−")


def trend(doses: Sequence[ArrayLike], alpha: float = 0.05, seed: int = 0) -> Trend:
    """Judge whether values rise with the dose.

    Where the dose does nothing, every order of the draws is as likely as the one there is, whatever ties there are; of the orders
    1,999 are drawn. The interval has the variance of a τ from what the draws of one dose contribute each (DeLong 1988), with
    Satterthwaite's degrees of freedom, and supposes of draws that are all in order that one was nearly not.

    Args:
        doses: the values of the draws at each dose, the lowest dose first; two draws or more each.
        alpha: how often the interval may miss.
        seed: of the orders that are drawn.

    Raises:
        StatsError: fewer than two doses or than two draws at one, or a value that is no finite number.
    """
    try:
        groups = [np.asarray(dose, dtype=float).ravel() for dose in doses]
    except (TypeError, ValueError):
        groups = []
    counts = tuple(len(group) for group in groups)
    if len(counts) < 2 or min(counts) < 2 or not np.isfinite(np.concatenate(groups)).all():
        raise StatsError("A trend takes two doses or more, with two draws or more at each, all of them numbers.")
    labels, values = np.repeat(np.arange(len(counts)), counts), np.concatenate(groups)
    order = np.argsort(values)
    lower = np.searchsorted(values[order], values[order])
    observed, drawn = _concordant(labels[None, order], lower)[0], _concordant(_orders(counts, seed), lower)
    tau, half = 2 * observed / _compared(counts), _half(values, labels, counts, alpha)
    rising, falling = ((1 + int(np.sum(side * (drawn - observed) >= 0))) / (1 + len(drawn)) for side in (1, -1))
    return Trend(float(tau), max(tau - half, -1.0), min(tau + half, 1.0), rising, falling)


def rise(doses: Sequence[ArrayLike], margin: float = 0.05, alpha: float = 0.05) -> Estimate:
    """How far the line through values of draws rises from the lowest dose to the highest; doses, margin and alpha as elsewhere here.

    Least squares on the means of the doses, whose variances may differ (Welch).
    """
    groups, weights = [np.asarray(dose, dtype=float) for dose in doses], slopes(len(doses))
    parts = np.array([w**2 * group.var(ddof=1) / len(group) for w, group in zip(weights, groups, strict=True)])
    uncertain = (parts**2 / [len(group) - 1 for group in groups]).sum()
    value = np.array(sum(w * group.mean() for w, group in zip(weights, groups, strict=True)))
    return estimate(Difference(value, parts.sum(), np.array(parts.sum() ** 2 / uncertain if uncertain else 1.0)), margin, alpha)


def slopes(doses: int) -> list[float]:
    """The weights with which the means at so many doses add up to the rise of the line through them, from first to last."""
    steps = np.arange(doses) - (doses - 1) / 2
    return [float(weight) for weight in steps * (doses - 1) / (steps**2).sum()]


def _concordant(labels: NDArray[np.integer[Any]], lower: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """For each row of doses, of the draws by their values: how many pairs at different doses are in the same order, minus those that are
    not. `lower` is how many draws have a lower value than each."""
    found = np.zeros(len(labels), dtype=np.int64)
    for dose in range(int(labels.max()) + 1):
        seen = np.cumsum(labels == dose, axis=1)
        before = np.where(lower > 0, seen[:, lower - 1], 0)
        found += (np.sign(labels - dose) * before).sum(1)
    return found


def _compared(counts: tuple[int, ...]) -> int:
    """Twice the number of pairs of draws at different doses."""
    return sum(counts) ** 2 - sum(count**2 for count in counts)


@lru_cache(maxsize=8)
def _orders(counts: tuple[int, ...], seed: int) -> NDArray[np.integer[Any]]:
    labels = np.repeat(np.arange(len(counts), dtype=np.int16), counts)
    return np.random.default_rng(seed).permuted(np.tile(labels, (_ORDERS, 1)), axis=1)


def _half(values: Array, labels: NDArray[np.integer[Any]], counts: tuple[int, ...], alpha: float) -> float:
    """Half of the interval of τ; with doses of as many draws each, τ is the mean over pairs of doses, and else a mean weighed by draws."""
    sizes = np.array(counts)
    # what each draw contributes: how many draws of other doses it is in order with, minus those that it is not
    each = (np.sign(labels[None, :] - labels[:, None]) * np.sign(values[None, :] - values[:, None])).sum(1)
    squares = np.array([each[labels == k].var() for k in range(len(counts))]) * sizes
    squares += max(sizes.min() ** 2 - squares.sum(), 0) / len(counts)  # one draw that a dose next to it is level with
    parts = squares * sizes / (sizes - 1) * (2 / _compared(counts)) ** 2
    df = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum()
    return float(scipy.special.stdtrit(df, 1 - alpha / 2) * np.sqrt(parts.sum()))
