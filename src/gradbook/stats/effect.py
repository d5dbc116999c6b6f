"""The effect of an edit on a score, from replicates of both arms on the same examples, with a verdict.

A rewrite is a random draw, so draws are the unit. For *these examples* the variance of the difference is s²(before)/r + s²(after)/r of
the draws' means, neither arm below what answering alone makes (the rest of the draw × example layout); for *examples like these* it is
that plus what the variance of the examples' differences has beyond answering: the two-way layout with both ways random, by the method of
moments, with Satterthwaite's degrees of freedom.

Why not the obvious ways: where there is no effect, with 30 examples and 5 replicates of rewrites that differ by 0, 5, 10, 15 points, they
see one in 7–11 % of worlds (Welch on draws, which takes the examples for all there are), 10–32 % (Welch on all answers), 4–33 % (by
example: paired t, permutation, bootstrap, evalsig 0.1.2 and evalstats 0.3.3, which take replicates for repeated answers of one prompt) or
3–27 % (McNemar on one rewrite each, which is what `evalsig.compare` makes of replicates); this one in 2–5 %. Over all cells of
`tests/benchmarks/test_worlds.py` intervals miss in 0–6 %, *equivalent* is wrong in 0–2 %.

Limits: with three replicates intervals are wide (± 21 points with 30 examples even where rewrites do not differ). No way was found that
holds at every spread and is shorter there by more than a tenth; a half-Cauchy prior of 10 points for the spread makes it 15–30 %, and
lets 10 % of alarms through where rewrites differ by 25. Where the rewrites of one arm alone differ, by 15 points, three replicates see an
effect that is not there in 7 %. A rare disaster among the draws is not seen in a few. Where 95 % right becomes 100 % because a few hard
examples turn, *equivalent* is wrong in up to one of seven worlds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from gradbook.errors import StatsError
from gradbook.stats.looks import level_of_look

Array = NDArray[np.float64]
Verdict = Literal["undecided", "harms", "helps", "equivalent"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MOST_REPLICATES, MOST_EXAMPLES = 100, 2000
"""The most that is ever recommended."""
POWER = 0.8
"""How probably that is to show what it is recommended for."""


class Arm(NamedTuple):
    """What the draws of one arm say; every field but the last an array over worlds.

    `profile` is the mean of each example; `draw` the variance of one draw's mean over the examples, not below answering alone, which is
    `rest` / examples; `rest` the mean square of what neither the draw nor the example explains.
    """

    profile: Array
    draw: Array
    rest: Array
    replicates: int


@dataclass(frozen=True)
class Difference:
    """A difference with the variance of its estimate and the degrees of freedom of that variance (Satterthwaite 1946).

    `rare` is what one further example that changed would add to the variance: a change in few examples may not have been seen yet.
    """

    value: Array
    variance: Array
    df: Array
    rare: float = 0.0

    def half(self, level: float) -> Array:
        """Half of the interval that errs with probability `level`."""
        return np.asarray(scipy.special.stdtrit(self.df, 1 - level / 2) * np.sqrt(self.variance))

    @property
    def p(self) -> Array:
        """The two-sided p of no difference."""
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * scipy.special.stdtr(self.df, -np.abs(self.value) / np.sqrt(self.variance))
        return np.where(self.variance > 0, p, np.where(self.value == 0, 1.0, 0.0))

    def verdicts(self, margin: float, alpha: float, look: int | None = None) -> NDArray[np.int64]:
        """Indices into `VERDICTS`: equivalent by two one-sided tests at `alpha`, else helps or harms by a two-sided one.

        A difference that is surely there and surely below the margin is equivalent: the margin says what matters. With `look`, as after
        the look at that many replicates, in a series in which all looks share `alpha`.
        """
        shown = np.abs(self.value) > self.half(level(alpha, look))
        reach = scipy.special.stdtrit(self.df, 1 - level(2 * alpha, look) / 2) * np.sqrt(self.variance + self.rare)
        inside = np.abs(self.value) + reach < margin
        return np.select([inside, shown & (self.value > 0), shown], [3, 2, 1], 0)


def level(alpha: float, look: int | None) -> float:
    """The level of one test: `alpha`, or the share of it that the look at so many replicates may use."""
    return alpha if look is None else level_of_look(look, alpha)


def arm(scores: Array) -> Arm:
    """Take one arm apart, an array (…, replicates, examples)."""
    r, n = scores.shape[-2:]
    draws, profile = scores.mean(-1), scores.mean(-2)
    left = scores - draws[..., None] - (profile - draws.mean(-1, keepdims=True))[..., None, :]
    # Nothing seen to vary is not nothing that varies: at least one score in all came out the other way.
    rest = np.maximum((left**2).sum((-2, -1)), _are_shares(scores)) / ((r - 1) * (n - 1))
    return Arm(profile, np.maximum(draws.var(-1, ddof=1), rest / n), rest, r)


def _are_shares(scores: Array) -> bool:
    return bool((scores >= 0).all() and (scores <= 1).all())


def differences(before: Array, after: Array) -> tuple[Difference, Difference]:
    """The difference for these examples and for examples like these; arrays (…, replicates, examples), the same examples in both."""
    return contrasts((before, after), (-1.0, 1.0))


def contrasts(scores: Sequence[Array], weights: Sequence[float]) -> tuple[Difference, Difference]:
    """The sum of arms, each by its weight, for these examples and for examples like these; arrays as in `differences`."""
    arms, n = [arm(one) for one in scores], scores[0].shape[-1]
    apart = sum((w * a.profile for w, a in zip(weights, arms, strict=True)), start=np.zeros(()))
    value, one = apart.mean(-1), max(w * w for w in weights) * all(map(_are_shares, scores))
    draws = [w * w * a.draw / a.replicates for w, a in zip(weights, arms, strict=True)]
    answering = sum(w * w * a.rest / a.replicates for w, a in zip(weights, arms, strict=True)) / n
    examples = np.maximum(((apart - value[..., None]) ** 2).sum(-1), one) / (n * (n - 1))
    these = sum(draws, start=np.zeros(()))
    uncertain = sum((d**2 / (a.replicates - 1) for d, a in zip(draws, arms, strict=True)), start=np.zeros(()))
    like = these + np.maximum(examples - answering, 0)
    return (
        Difference(value, these, satterthwaite(these, uncertain)),
        Difference(value, like, satterthwaite(like, uncertain + examples**2 / (n - 1)), one / (n * (n - 1))),
    )


def satterthwaite(variance: Array, uncertain: Array) -> Array:
    """The degrees of freedom of a variance, from the sum of its parts' squares over theirs; 1 where nothing varies."""
    return np.divide(variance**2, uncertain, out=np.ones_like(variance), where=uncertain > 0)


@dataclass(frozen=True)
class Estimate:
    """A difference, after minus before, with its interval at 1 - `Effect.level`, its p, and what it comes to; None with one draw an arm."""

    difference: float
    low: float
    high: float
    p: float
    verdict: Verdict | None

    def __str__(self) -> str:
        return f"{points(self.difference)} points ({points(self.low)} to {points(self.high)}, p = {self.p:.2g})"


def points(share: float) -> str:
    """A difference of shares in points: no minus stands before nothing, and what a float falls short of a half counts as one."""
    return f"{round(round(100 * share, 9), 1) + 0.0:+.1f}".replace("-", "−")


@dataclass(frozen=True)
class Effect:
    """What an edit did to a score, all in the units of the score (0 to 1 for a share).

    `these` is for these examples (draws random), `like_these` for examples like these (draws and examples random). `spread` is the
    standard deviation between draws beyond answering, before and after; `answering` the variance of one score within a draw;
    `differing` the variance between examples of their true differences. `size` is the difference that a price is named for.
    `watched` says that `alpha` is shared by a look after every replicate; `level` is what of it this look may use. `rare` is as in
    `Difference`.
    """

    these: Estimate
    like_these: Estimate
    margin: float
    alpha: float
    level: float
    replicates: tuple[int, int]
    examples: int
    spread: tuple[float, float] = (0.0, 0.0)
    answering: tuple[float, float] = (0.0, 0.0)
    differing: float = 0.0
    size: float = 0.1
    watched: bool = False
    rare: float = 0.0

    @property
    def verdict(self) -> Verdict | None:
        """The verdict for examples like these."""
        return self.like_these.verdict

    def __str__(self) -> str:
        if self.verdict is None:
            return self.measured
        return f"{self.word}: {' '.join(filter(None, [self.measured, self.outlook]))}"

    @property
    def word(self) -> str:
        """The verdict, with the margin where it stands on that; empty where there is none."""
        return f"equivalent within ±{100 * self.margin:g} points" if self.verdict == "equivalent" else self.verdict or ""

    @property
    def measured(self) -> str:
        """Both estimates in words, and from how many draws and examples."""
        if self.verdict is None:
            return f"{points(self.these.difference)} points, with one draw in an arm: only replicates say whether that is more than noise."
        drawn = f"{self.replicates[0]} and {self.replicates[1]} draws on {self.examples} examples"
        return f"{self.like_these} for examples like these, {self.these} for these; {drawn}."

    @property
    def outlook(self) -> str:
        """Why it is not decided, and what would decide it, in words; empty where nothing is to be decided."""
        if self.verdict != "undecided":
            return ""
        n, needs, said = self.examples, self.needed(), []
        size, margin = f"an effect of {100 * self.size:g} points", f"that there is none beyond ±{100 * self.margin:g} points"
        if (needs is None or needs[1] > n) and self.differing + _alone(self.answering, self.replicates) <= self.rare * n * (1 + 1e-9):
            said.append(f"However many draws there are, {n} examples are few: the next may be one that changes.")
        if not self.target:
            said.append(f"{size.capitalize()} would have shown in four cases of five.")
        if needs is None:
            said.append(
                f"Neither {MOST_REPLICATES} draws an arm nor {MOST_EXAMPLES:,} examples would show {size if self.target else margin}."
            )
        elif needs[1] == n and needs[0] <= min(self.replicates):
            said.append("What was seen lies near the margin, where it takes the most to decide.")
        else:
            on = "" if needs[1] == n else f" on {needs[1]:,} examples"
            alone = "; more draws alone would not" if on else ""
            said.append(f"{needs[0]} draws an arm{on} would show {size if self.target else margin} in four cases of five{alone}.")
        return " ".join(said)

    @property
    def target(self) -> float:
        """What is to be shown: a difference of `size`; or, where one would probably have been shown already, 0, that there is none."""
        return 0.0 if self.power() >= POWER else self.size

    def needed(self, size: float | None = None, power: float = POWER) -> tuple[int, int] | None:
        """The replicates an arm and the examples that show a difference of `size`, by default `target`, with that power.

        The fewest replicates on the examples there are; where a hundred do not, the pair whose product is least, the examples in steps
        of a quarter; None where no pair does.
        """
        size, pairs, r, n = self.target if size is None else size, list[tuple[int, int]](), MOST_REPLICATES, self.examples
        if alone := next((few for few in range(2, r + 1) if self.power(size, few) >= power), None):
            return alone, n
        while (n := 5 * math.ceil(n / 4)) <= MOST_EXAMPLES:  # the more examples, the fewer replicates
            while r > 1 and self.power(size, r, n) >= power:
                pairs.append((r, n))
                r -= 1
        return min(pairs, key=math.prod, default=None)

    def power(self, size: float | None = None, replicates: int | None = None, examples: int | None = None) -> float:
        """How probably a difference of `size` would be shown in examples like these, with so many replicates an arm and examples.

        For a size of 0, how probably it would be shown that there is none beyond the margin.
        """
        r, n, size = replicates or min(self.replicates), examples or self.examples, self.size if size is None else size
        draws = [(s**2 + a / n) / r for s, a in zip(self.spread, self.answering, strict=True)]
        alone, rare = _alone(self.answering, (r, r)) / n, self.rare * self.examples * (self.examples - 1) / (n * (n - 1))
        profile = max(self.differing / n + alone, rare)
        variance = sum(draws) + profile - alone
        if variance <= 0:
            return 1.0
        df = variance**2 / (sum(v**2 for v in draws) / (r - 1) + profile**2 / (n - 1))
        look, error = r if self.watched else None, variance**0.5
        if size:
            return float(1 - scipy.special.nctdtr(df, abs(size) / error, scipy.special.stdtrit(df, 1 - level(self.alpha, look) / 2)))
        room = self.margin - scipy.special.stdtrit(df, 1 - level(2 * self.alpha, look) / 2) * (variance + rare) ** 0.5
        return max(0.0, float(2 * scipy.special.stdtr(df, room / error) - 1))


def _alone(answering: Sequence[float], replicates: Sequence[int]) -> float:
    """The variance of an example's difference that answering alone makes."""
    return sum(a / r for a, r in zip(answering, replicates, strict=True))


def effect(
    before: ArrayLike,
    after: ArrayLike,
    margin: float = 0.05,
    alpha: float = 0.05,
    *,
    size: float | None = None,
    until: Literal["decided"] | None = None,
) -> Effect:
    """Judge an edit by replicates of both arms.

    Args:
        before, after: scores, replicate × example; the same examples in the same order, replicates may differ in number.
        margin: the difference below which two arms count as equivalent, chosen before looking.
        alpha: how often a verdict may be wrong: helps or harms where there is nothing, equivalent where there is `margin` or more.
        size: the difference that a price is named for; twice the margin unless said otherwise.
        until: "decided" where one looks after every replicate and stops at a verdict; `alpha` is then kept over all looks together.

    Raises:
        StatsError: the arms have other examples, fewer than two of them, or a score that is no finite number.
    """
    a, b = _scores(before, "before the edit"), _scores(after, "after the edit")
    if a.shape[1] != b.shape[1] or a.shape[1] < 2:
        raise StatsError(f"Both arms need the same two or more examples, but before has {a.shape[1]} and after {b.shape[1]}.")
    if not (margin > 0 and 0 < alpha < 0.5):
        raise StatsError(f"A margin is above 0 and alpha between 0 and 0.5, not {margin:g} and {alpha:g}.")
    drawn, n = (len(a), len(b)), a.shape[1]
    look = min(drawn) if until else None
    at, size = level(alpha, look), 2 * margin if size is None else size
    if min(drawn) < 2:
        single = Estimate(float(b.mean() - a.mean()), -np.inf, np.inf, np.nan, None)
        return Effect(single, single, margin, alpha, at, drawn, n, (np.nan, np.nan), (np.nan, np.nan), np.nan, size, bool(until))
    arms, found = (arm(a), arm(b)), differences(a, b)
    spread, answering = [max(float(x.draw - x.rest / n), 0.0) ** 0.5 for x in arms], [float(x.rest) for x in arms]
    differing = max(float((arms[1].profile - arms[0].profile).var(ddof=1)) - _alone(answering, drawn), 0.0)
    these, like = (estimate(one, margin, alpha, look) for one in found)
    pairs = (spread[0], spread[1]), (answering[0], answering[1])
    return Effect(these, like, margin, alpha, at, drawn, n, *pairs, differing, size, bool(until), found[1].rare)


def contrast(arms: Sequence[ArrayLike], weights: Sequence[float], margin: float = 0.05, alpha: float = 0.05) -> tuple[Estimate, Estimate]:
    """Judge a sum of arms, each by its weight, as `effect` judges the difference of two: for these examples, for examples like these.

    Args:
        arms: scores of each, replicate × example, two replicates or more; the same examples in the same order.
        weights: one an arm, which add up to nothing: (1, -1, -1, 1) sets two arms together against each alone.
        margin, alpha: as in `effect`.

    Raises:
        StatsError: the arms have other examples, fewer than two of them or of replicates, or a score that is no finite number.
    """
    scores = [_scores(given, f"of arm {number}") for number, given in enumerate(arms, start=1)]
    if len({each.shape[1] for each in scores}) != 1 or min(min(each.shape) for each in scores) < 2:
        raise StatsError(f"All arms need two or more draws of the same two or more examples, but they have {[s.shape for s in scores]}.")
    these, like = (estimate(one, margin, alpha) for one in contrasts(scores, weights))
    return these, like


def estimate(found: Difference, margin: float, alpha: float, look: int | None = None) -> Estimate:
    """A difference with its interval and verdict; `look` as in `Difference.verdicts`."""
    value, half = float(found.value), float(found.half(level(alpha, look)))
    return Estimate(value, value - half, value + half, float(found.p), VERDICTS[int(found.verdicts(margin, alpha, look))])


def _scores(given: ArrayLike, name: str) -> Array:
    try:
        scores = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        scores = np.empty(0)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise StatsError(f"The scores {name} must be a table of numbers, a row a replicate and a column an example, with no gaps.")
    return scores
