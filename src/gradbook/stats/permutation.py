"""Arms of a study compared by rearranging their trials: two arms, or several in the order of a dose.

To test whether the effect is e is to take e off the scores and rearrange what is left. An arrangement comes out as far as the trials did
from one e on, its turn, so all turns, sorted, give p, interval and equivalence at once, and these never contradict each other (for pairs
Hartigan's typical values, 1969). Of two arms the difference of means orders arrangements as the pooled t does, so p is that of the t-test.

Every arrangement is counted where there are no more than are to be drawn, else the trials as they were and that many at random: 100,000 up
to 200 trials in all, 10,000 at 2,000. What is
assumed is that arms differ by a shift. Arms of other spreads but as many trials do little harm (`tests/benchmarks/test_study_worlds.py`);
where an arm of few trials spreads three times as far as one of many, p is too small.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradbook.errors import StatsError

Array = NDArray[np.float64]
Levels = NDArray[np.int8]
Direction = Literal["more", "less", "differs"]
DRAWS = 100_000
_TIE = 1e-9
_CHUNK, _MOST = 500_000, 20_000_000  # how many trials are rearranged at a time, and at most


def p_of(direction: Direction, above: float, below: float) -> float:
    """The p for a direction; both ways it is twice the smaller, as in SciPy."""
    return above if direction == "more" else below if direction == "less" else min(1.0, 2 * min(above, below))


@dataclass(frozen=True, eq=False)
class Contrast:
    """An effect of arms on a score: first arm minus second, or what is gained from the least dose to the greatest.

    `turns` are the effects from which on each arrangement comes out as the trials did or further, ascending; `always` counts those that do
    at any effect, the trials as they were among them.
    """

    value: float
    turns: Array
    always: int
    tie: float

    @property
    def arrangements(self) -> int:
        return len(self.turns) + self.always

    def above(self, effect: float = 0.0) -> float:
        """The one-sided p of an effect above `effect`."""
        return (self.always + int(np.searchsorted(self.turns, effect + self.tie, "right"))) / self.arrangements

    def below(self, effect: float = 0.0) -> float:
        """The one-sided p of an effect below `effect`."""
        return (self.arrangements - int(np.searchsorted(self.turns, effect - self.tie, "left"))) / self.arrangements

    def p(self, direction: Direction = "differs") -> float:
        """The p of no effect."""
        return p_of(direction, self.above(), self.below())

    def p_equivalent(self, margin: float) -> float:
        """The p of an effect of `margin` or more, either way: two one-sided tests (Schuirmann 1987), by permutation.

        By permutation and not by t, so that equivalence is exactly an interval inside the margin and leans on no normal curve.
        """
        return max(self.above(-margin), self.below(margin))

    def bounds(self, level: float) -> tuple[float, float]:
        """The least and the greatest effect that a one-sided test at `level` leaves; infinite where there are too few arrangements.

        Both together miss in 2 · `level`.
        """
        spare = math.floor(level * self.arrangements + _TIE) - self.always
        if not 0 <= spare < len(self.turns):
            return -math.inf, math.inf
        return float(self.turns[spare]), float(self.turns[-1 - spare])


class Tau(NamedTuple):
    """Kendall's τ-b with the one-sided p of a rise and of a fall."""

    value: float
    above: float
    below: float


def permutation_test(
    arms: Sequence[ArrayLike], doses: Sequence[float] = (1.0, 0.0), *, paired: bool = False, draws: int = DRAWS, seed: int = 0
) -> Contrast:
    """Compare arms by their trials.

    Args:
        arms: the scores of each arm's trials; of two arms the first is compared with the second.
        doses: the dose of each arm, as of a trend over arms of 1 to 5 candidates: the effect is then the slope of the least squares times
            the range of the doses.
        paired: two arms whose trials belong together one by one, as with shared seeds: signs are flipped, arms not mixed.
        draws: the most arrangements that are counted in full, and how many are drawn where there are more (fewer beyond 200 trials in all).
        seed: of the drawing.

    Raises:
        StatsError: an arm of fewer than two trials or with a score that is no finite number, doses that are not one an arm and all
            different, pairs that are no pairs.
    """
    trials = [_trials(arm) for arm in arms]
    if paired:
        if len(trials) != 2 or len(trials[0]) != len(trials[1]):
            raise StatsError(f"Pairs need two arms of as many trials, not {' and '.join(str(len(arm)) for arm in trials)}.")
        return _flipped(trials[0] - trials[1], draws, seed)
    at, trials = _by_dose(trials, doses)
    scores, counts = np.concatenate(trials), tuple(len(arm) for arm in trials)
    y = scores - scores.mean()
    x = np.repeat(at, counts)
    own = x - x.mean()
    spread, found = float(own @ own), float(own @ y)
    moved = np.concatenate([at[rows] @ np.stack([own, y], 1) for rows in _rows(counts, draws, seed)])
    room = spread - moved[:, 0]
    turning = room > _TIE * spread  # else the arrangement is the trials as they were
    turns = (found - moved[turning, 1]) / room[turning]
    return Contrast(found / spread, np.sort(turns), int((~turning).sum()), _TIE * _reach(scores))


def kendall(arms: Sequence[ArrayLike], doses: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Tau:
    """Kendall's τ-b of dose and score over all trials, by the arrangements of `permutation_test`, with its arguments and errors.

    nan and p of 1 where all scores are the same.
    """
    _, trials = _by_dose([_trials(arm) for arm in arms], doses)
    scores, counts = np.concatenate(trials), tuple(len(arm) for arm in trials)
    order = np.argsort(scores)
    new = np.diff(scores[order], prepend=-np.inf) > _TIE * _reach(scores)
    below = np.maximum.accumulate(np.where(new, np.arange(len(scores)), 0)).astype(
        np.int32
    )  # how many scores are below each, in their order

    def rises(rows: Levels) -> NDArray[np.int64]:
        """Pairs of trials in which more dose has more score, less those in which it has less."""
        ordered = np.ascontiguousarray(rows.T[order])
        fewer, total = np.zeros(ordered.shape, dtype=np.int32), np.zeros(len(rows), dtype=np.int64)
        for k in range(len(counts)):  # `fewer` and `up_to`: of the scores below each, how many are of a dose below k, of at most k
            up_to = np.pad((ordered <= k).cumsum(0, dtype=np.int32), ((1, 0), (0, 0)))[below]
            total += ((ordered == k) * (fewer + up_to - below[:, None])).sum(0)
            fewer = up_to
        return total

    sums = np.concatenate([rises(rows) for rows in _rows(counts, draws, seed)])
    n, same = len(scores), np.unique(below, return_counts=True)[1]
    pairs = (n * n - sum(count * count for count in counts)) / 2 * float(n * n - (same * same).sum()) / 2
    value = float(sums[0]) / math.sqrt(pairs) if pairs else math.nan
    return Tau(value, float((sums >= sums[0]).mean()), float((sums <= sums[0]).mean()))


def _trials(arm: ArrayLike) -> Array:
    try:
        scores = np.asarray(arm, dtype=float)
    except (TypeError, ValueError):
        scores = np.empty(0)
    if scores.ndim != 1 or len(scores) < 2 or not np.isfinite(scores).all():
        raise StatsError("An arm is a row of numbers, the scores of two trials or more, with no gaps.")
    return scores


def _by_dose(trials: list[Array], doses: Sequence[float]) -> tuple[Array, list[Array]]:
    """Doses from 0 to 1, ascending, and the arms in their order."""
    if len(trials) < 2 or len(set(doses)) != len(trials) or len(doses) != len(trials) or not np.isfinite(doses).all():
        raise StatsError(
            f"{len(trials)} arms cannot be set in order by doses of {', '.join(map(str, doses))}: name one an arm, all different."
        )
    order = np.argsort(doses)
    at = np.asarray(doses, dtype=float)[order]
    return (at - at[0]) / (at[-1] - at[0]), [trials[k] for k in order]


def _reach(scores: Array) -> float:
    return float(np.ptp(scores)) or 1.0


def _rows(counts: tuple[int, ...], draws: int, seed: int) -> Iterator[Levels]:
    """The arrangements, some at a time, so that memory stays small."""
    levels = _arrangements(counts, min(draws, _MOST // sum(counts)), seed)
    rows = max(_CHUNK // sum(counts), 1)
    return (levels[k : k + rows] for k in range(0, len(levels), rows))


@lru_cache(maxsize=16)
def _arrangements(counts: tuple[int, ...], draws: int, seed: int) -> Levels:
    """Which arm each trial counts to, a row an arrangement; the first row is as it was."""
    ways = math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))
    if ways <= draws:
        return _every(counts)
    as_it_was = np.repeat(np.arange(len(counts), dtype=np.int8), counts)
    drawn = np.random.default_rng(seed).permuted(np.tile(as_it_was, (draws, 1)), axis=1)
    return np.vstack([as_it_was, drawn])


def _every(counts: tuple[int, ...]) -> Levels:
    first, *others = counts
    if not others:
        return np.zeros((1, first), dtype=np.int8)
    n, rest = sum(counts), _every(tuple(others)) + np.int8(1)
    chosen = np.array(list(itertools.combinations(range(n), first)))
    free = np.ones((len(chosen), n), dtype=bool)
    np.put_along_axis(free, chosen, False, 1)
    found = np.zeros((len(chosen), len(rest), n), dtype=np.int8)
    for k, row in enumerate(rest):
        found[:, k][free] = np.tile(row, len(chosen))
    return found.reshape(-1, n)


def _flipped(apart: Array, draws: int, seed: int) -> Contrast:
    n = len(apart)
    flips = _flips(n, min(draws, _MOST // n), seed)
    many = flips.sum(1)
    return Contrast(
        float(apart.mean()),
        np.sort((flips @ apart)[many > 0] / many[many > 0]),
        int((many == 0).sum()),
        _TIE * _reach(apart),
    )


@lru_cache(maxsize=4)
def _flips(n: int, draws: int, seed: int) -> NDArray[np.bool_]:
    if 2**n <= draws:
        return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(bool)
    drawn = np.random.default_rng(seed).integers(0, 2, (draws, n), dtype=np.int8).astype(bool)
    return np.vstack([np.zeros(n, dtype=bool), drawn])
