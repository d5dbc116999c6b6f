"""Do things that are near in one way lie near in another? Two matrices of distances between the same things.

Pairs share things and are not independent, so the things are shuffled and not the pairs (Mantel 1967), by Kendall's τ (Dietz 1983). τ
says nothing of size, and noise pulls it to 0; the rise from the nearest pair to the farthest is not pulled, where noise adds the same to
the distance of every pair. Its bounds are a jackknife over things. In `tests/benchmarks/test_finding_worlds_probes_locality.py` a Pearson
test that takes pairs for independent sees a trend that is not there in 20 % of worlds; this does in 3–6 %, and its bounds err in 0–4 %.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from gradbook.errors import StatsError

Array = NDArray[np.float64]
_ALL, _ORDERS, _AT_ONCE = 6, 999, 4_000_000


@dataclass(frozen=True)
class Mantel:
    """How distances of one kind go with those of another.

    `tau` is Kendall's τ-b over pairs of pairs, `p` how often things in random order reach it (one-sided). `rise` is how much farther the
    farthest pair is than the nearest, on the least-squares line; `low` and `high` are one-sided bounds of it, each of which errs with
    probability `alpha`. `span` holds the least and the greatest distance of the first kind.
    """

    tau: float
    p: float
    rise: float
    low: float
    high: float
    span: tuple[float, float]


def mantel(first: ArrayLike, second: ArrayLike, alpha: float = 0.05, seed: int = 0) -> Mantel:
    """Set distances of one kind against those of another.

    Args:
        first, second: symmetric matrices of distances between the same four things or more, in the same order. `second` may be nan for
            a pair whose distance is not known.
        alpha: how often each bound may err.
        seed: of the orders that are drawn, where there are more than six things.

    Raises:
        StatsError: no such matrices.
    """
    x, y = _matrix(first), _matrix(second)
    if x.shape != y.shape or len(x) < 4 or not np.isfinite(x).all():
        raise StatsError("Distances are needed of the same four things or more in both matrices, those of the first all known.")
    pairs = np.triu_indices(len(x), 1)
    known = np.isfinite(y[pairs])
    far, apart = x[pairs], y[pairs][known]
    span = (float(far.min()), float(far.max()))
    # pairs of pairs, each once: which of the two is farther, by the one kind of distance and by the other
    two = np.triu_indices(len(apart), 1)
    signs, ranks = np.sign(far - far[:, None]).astype(np.float32), np.sign(apart[two[1]] - apart[two[0]]).astype(np.float32)
    here = np.flatnonzero(known)
    ahead = signs[here[two[0]], here[two[1]]]
    scale = math.sqrt(float(ahead @ ahead) * float(ranks @ ranks))
    if not scale:
        return Mantel(0.0, 1.0, 0.0, -math.inf, math.inf, span)
    number = np.zeros(x.shape, dtype=np.int32)
    number[pairs] = number.T[pairs] = range(len(far))
    observed, reached, drawn = float(ahead @ ranks), 0, 0
    for orders in _orders(len(x), len(ranks), seed):
        moved = number[orders[:, pairs[0][known]], orders[:, pairs[1][known]]]
        sums = signs.ravel().take(moved.take(two[0], 1) * np.int32(len(far)) + moved.take(two[1], 1)) @ ranks
        reached, drawn = reached + int((sums >= observed - 0.5).sum()), drawn + len(orders)
    rise = _slope(x, y) * (span[1] - span[0])
    half = _half(x, y, alpha) * (span[1] - span[0])
    return Mantel(observed / scale, reached / drawn, rise, rise - half, rise + half, span)


def _orders(things: int, compared: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Orders of the things, the one that there is among them: all, or as many as are drawn; so many at once as memory has room for."""
    if things <= _ALL:
        orders = np.array(list(permutations(range(things))))
    else:
        drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(things), (_ORDERS, 1)), axis=1)
        orders = np.concatenate([np.arange(things)[None], drawn])
    step = max(1, _AT_ONCE // compared)
    return (orders[at : at + step] for at in range(0, len(orders), step))


def _slope(x: Array, y: Array) -> float:
    """The least-squares slope over the pairs that are known; nan where it has none."""
    pairs = np.triu_indices(len(x), 1)
    known = np.isfinite(y[pairs])
    far, apart = x[pairs][known], y[pairs][known]
    if len(far) < 3 or not np.ptp(far) > 0:
        return math.nan
    far = far - far.mean()
    return float(far @ apart / (far @ far))


def _half(x: Array, y: Array, alpha: float) -> float:
    """How far a bound of the slope is from it, by leaving out each thing; infinite where too little is known."""
    count = len(x)
    kept = [np.delete(np.arange(count), n) for n in range(count)]
    without = np.array([_slope(x[np.ix_(some, some)], y[np.ix_(some, some)]) for some in kept])
    half = scipy.special.stdtrit(count - 1, 1 - alpha) * (count - 1) * without.std(ddof=1) / math.sqrt(count)
    return float(half) if np.isfinite(half) else math.inf


def _matrix(given: ArrayLike) -> Array:
    try:
        matrix = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T, equal_nan=True):
        raise StatsError("Distances between things are a symmetric matrix of numbers.")
    return matrix
