"""A verdict on each property of a gradient, from the trials of a study's arms.

Each hypothesis is tested for the difference that it states and against it: that arms are equivalent within the margin, or differ the other
way. *Holds* is wrong in at most alpha of families in which no stated difference is there, *does not hold* in at most alpha of those in
which each is the margin or more. A difference that is shown and is surely below the margin does not hold: the margin says what matters.

Corrected p are those of statsmodels' `multipletests`, which knows no looks. Where one looks after every trial, levels are those of
`looks`, and Holm's procedure goes on from look to look (Ye et al. 2013). All looks are gone through again each time, from the first, so
nothing needs to be remembered, and a verdict once given stays.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gradbook.errors import StatsError
from gradbook.stats.effect import effect, points
from gradbook.stats.hypotheses import Correction, Hypothesis
from gradbook.stats.looks import FIRST, level_of_look
from gradbook.stats.permutation import DRAWS, Array, Contrast, Tau, kendall, p_of, permutation_test
from gradbook.stats.power import MOST_LOOKS, Size, detectable, hedges, power, trials_for

PropertyVerdict = Literal["holds", "does not hold", "cannot tell"]
_NO_SIZE = Size(math.nan, math.nan, math.nan)
_OTHER: dict[str, Literal["more", "less"]] = {"more": "less", "less": "more"}


@dataclass(frozen=True)
class Outlook:
    """What so many trials an arm can show of a hypothesis, for trials that differ by `spread` (their standard deviation in an arm).

    `level` is that of its test, its share of the family's. `power` is that for the hypothesis' `size`, `detectable` the least difference
    shown at a power of 0.8, inf where none can be; `trials_to_show` what shows `size`, `trials_to_exclude` what shows equivalence where
    there is no difference, None where a thousand do not (a hundred, where one looks after every trial).
    """

    level: float
    spread: float
    power: float
    detectable: float
    trials_to_show: int | None
    trials_to_exclude: int | None


@dataclass(frozen=True)
class Property:
    """The verdict on one property, in the units of the score (0 to 1 for a share).

    `effect` is the first arm's mean minus the second's, or the slope of a trend times the range of its doses; `low` and `high` its bounds,
    each of which a one-sided test at `level` leaves (half of it where no direction is stated). `like_these` are the bounds for examples
    like these, where scores came by example; all else is for the examples as they are. `p` is that of the stated difference, `p_against`
    that of equivalence or of the other direction; both also corrected for their family and the looks, to be set against alpha. `g` is
    Hedges', `tau` Kendall's (nan where not asked for). `look` is the number of rounds at which it was decided, or last looked at.
    """

    hypothesis: Hypothesis
    trials: tuple[int, ...]
    means: tuple[float, ...]
    verdict: PropertyVerdict
    reason: str
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    like_these: tuple[float, float] | None = None
    g: Size = _NO_SIZE
    tau: float = math.nan
    p: float = math.nan
    corrected: float = math.nan
    p_against: float = math.nan
    corrected_against: float = math.nan
    outlook: Outlook | None = None
    look: int | None = None

    def __str__(self) -> str:
        return f"{self.hypothesis.name}: {self.verdict}. {self.reason}"

    def row(self) -> dict[str, Any]:
        """One flat row of a table, for `pandas.DataFrame([found.row() for found in ...])`."""
        h, both = self.hypothesis, self.like_these or (math.nan, math.nan)
        return {
            "property": h.name,
            "arms": " − ".join(h.arms) if not h.doses else " < ".join(h.arms),
            "direction": h.direction,
            "family": h.family,
            "margin": h.margin,
            "n": ", ".join(map(str, self.trials)),
            "effect": self.effect,
            "low": self.low,
            "high": self.high,
            "low_like_these": both[0],
            "high_like_these": both[1],
            "g": self.g.value,
            "g_low": self.g.low,
            "g_high": self.g.high,
            "tau": self.tau,
            "p": self.p,
            "corrected_p": self.corrected,
            "p_against": self.p_against,
            "corrected_p_against": self.corrected_against,
            **(asdict(self.outlook) if self.outlook else dict.fromkeys(Outlook.__dataclass_fields__)),
            "look": self.look,
            "verdict": self.verdict,
            "reason": self.reason,
        }


def properties(
    scores: Mapping[str, ArrayLike],
    hypotheses: Sequence[Hypothesis],
    *,
    alpha: float = 0.05,
    correction: Correction = "holm",
    until: Literal["decided"] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Property, ...]:
    """Judge each hypothesis by the trials there are.

    Args:
        scores: of each arm a score a trial, or trial × example with the same examples in all arms; nan (a whole row) where a trial failed
            or is yet to come. Row k of each arm is trial k, which matters to pairs and to looking.
        hypotheses: all that were registered, whether their arms have run or not: a family is corrected for all of its own.
        alpha: how often a verdict may be wrong in a family.
        correction: of p within a family; Holm's is never weaker than Bonferroni's.
        until: "decided" where one looks after every trial and stops at verdicts: alpha is kept over all looks. Only whole rounds count,
            trials that all arms of a hypothesis have.
        draws, seed: as for `permutation_test`.

    Raises:
        StatsError: scores that are no table of numbers or partly nan in a trial, arms of other examples, a hypothesis twice.
    """
    if not 0 < alpha < 0.5:
        raise StatsError(f"An alpha is between 0 and 0.5, not {alpha:g}.")
    twice = [key for key, count in Counter((h.name, h.arms) for h in hypotheses).items() if count > 1]
    if twice:
        raise StatsError(f"{twice[0][0]!r} on {', '.join(twice[0][1])} is there twice.")
    arms = {name: _arm(name, given) for name, given in scores.items() if any(name in h.arms for h in hypotheses)}
    tables = [_table(h, arms, until is not None) for h in hypotheses]
    families = _Families(alpha, correction, Counter(h.family for h in hypotheses))
    judged: dict[int, _Judged] = {}
    for look in range(FIRST, max([FIRST, *(len(table[0]) for table in tables)]) + 1) if until else [None]:
        due = [
            k
            for k, table in enumerate(tables)
            if (k not in judged or judged[k].verdict == "cannot tell") and (not look or look <= len(table[0])) and _enough(table)
        ]
        tests = {k: _test(hypotheses[k], tuple(tuple(arm[:look].mean(1).tolist()) for arm in tables[k]), draws, seed) for k in due}
        judged |= families.judge({k: (hypotheses[k], tests[k]) for k in due}, look)
    return tuple(_property(h, _finished(h, arms), tables[k], judged.get(k)) for k, h in enumerate(hypotheses))


def outlook(
    hypothesis: Hypothesis,
    trials: int | Sequence[int],
    spread: float,
    *,
    tests: int = 1,
    alpha: float = 0.05,
    until: Literal["decided"] | None = None,
) -> Outlook:
    """What so many trials an arm can show of a hypothesis, before they are run.

    Args:
        hypothesis: what is to be decided.
        trials: how many an arm, or for each of its arms.
        spread: the standard deviation between trials of an arm, as a few trials have it (for pairs that of their differences).
        tests: how many hypotheses its family has.
        alpha, until: as for `properties`; of looks, what the last one alone shows.
    """
    return _outlook(hypothesis, trials, spread, alpha / tests, until is not None)


class _Test(NamedTuple):
    """What the trials of one hypothesis say, before any correction."""

    contrast: Contrast
    tau: Tau | None
    p: float
    equivalent: float
    other: float

    @property
    def against(self) -> float:
        """One test, not two: where the stated difference is the margin or more, either p is small only if it is seen far below that."""
        return min(self.equivalent, self.other)


class _Judged(NamedTuple):
    """A test as it was decided: `share` of alpha was this test's, by the correction."""

    test: _Test
    share: float
    corrected: float
    against: float
    verdict: PropertyVerdict
    look: int | None


class _Families:
    """Corrects within families, and from look to look knows how many of each were shown already, for Holm's procedure."""

    def __init__(self, alpha: float, correction: Correction, sizes: Mapping[str, int]) -> None:
        self.alpha, self.correction, self.sizes = alpha, correction, sizes
        self.shown: Counter[tuple[str, str]] = Counter()

    def judge(self, due: Mapping[int, tuple[Hypothesis, _Test]], look: int | None) -> dict[int, _Judged]:
        judged: dict[int, _Judged] = {}
        for name in {h.family for h, _ in due.values()}:
            rows = {k: (h, test) for k, (h, test) in due.items() if h.family == name}
            stated = self._correct((name, "for"), {k: (test.p, h.sided) for k, (h, test) in rows.items()}, look)
            against = self._correct((name, "against"), {k: (test.against, 1) for k, (_, test) in rows.items()}, look)
            for k, (_, test) in rows.items():
                # where both are shown, the difference is there and too small to matter, so against goes first
                verdict: PropertyVerdict = "does not hold" if against[k].shown else "holds" if stated[k].shown else "cannot tell"
                judged[k] = _Judged(test, stated[k].share, stated[k].p, against[k].p, verdict, look)
        return judged

    def _correct(self, key: tuple[str, str], rows: Mapping[int, tuple[float, int]], look: int | None) -> dict[int, "_Corrected"]:
        """Step down from the smallest p; each row is a p and whether its test is one- or two-sided."""
        found: dict[int, _Corrected] = {}
        least, news = 0.0, 0
        for rank, (k, (p, sided)) in enumerate(sorted(rows.items(), key=lambda item: item[1][0])):
            share = self._share(key, rank)
            least = max(least, min(1.0, p * self.alpha / _level(share, sided, look)))
            shown = least <= self.alpha * (1 + 1e-9)
            news += shown
            found[k] = _Corrected(least, share if shown else self._share(key, news), shown)
        self.shown[key] += news
        return found

    def _share(self, key: tuple[str, str], more: int) -> float:
        """What of alpha the next test of a family may use, once `more` than are recorded have been shown."""
        done = self.shown[key] + more if self.correction == "holm" else 0
        return self.alpha / max(self.sizes[key[0]] - done, 1)


class _Corrected(NamedTuple):
    p: float
    share: float
    shown: bool


def _level(alpha: float, sided: int, look: int | None) -> float:
    """The level of a test that may err with probability `alpha` over all looks; a one-sided one is half of one at twice the level."""
    return alpha if look is None else level_of_look(look, alpha) if sided == 2 else level_of_look(look, 2 * alpha) / 2


def _arm(name: str, given: ArrayLike) -> Array:
    """Trial × example, with one example where there was a score a trial."""
    try:
        table = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        table = np.empty((0, 0, 0))
    table = table[:, None] if table.ndim == 1 else table
    gaps = np.isnan(table)
    if table.ndim != 2 or np.isinf(table).any() or (gaps.any(1) != gaps.all(1)).any():
        raise StatsError(f"The scores of {name!r} must be numbers, one a trial or a row of all examples a trial, nan where a trial failed.")
    return table


def _finished(h: Hypothesis, arms: Mapping[str, Array]) -> list[Array]:
    return [arm[~np.isnan(arm).any(1)] for arm in (arms.get(name, np.empty((0, 1))) for name in h.arms)]


def _table(h: Hypothesis, arms: Mapping[str, Array], rounds: bool) -> list[Array]:
    """The finished trials of a hypothesis' arms; where rounds are asked for, or pairs, only those that all have."""
    given = [arms.get(name, np.empty((0, 1))) for name in h.arms]
    if len({arm.shape[1] for arm in given if len(arm)}) > 1:
        raise StatsError(f"{h.name!r} compares {', '.join(h.arms)}, which were scored on other numbers of examples.")
    if not (rounds or h.paired):
        return _finished(h, arms)
    length = min(map(len, given))
    whole = ~np.any([np.isnan(arm[:length]).any(1) for arm in given], axis=0)
    return [arm[:length][whole] for arm in given]


def _enough(table: list[Array]) -> bool:
    return min(map(len, table)) >= 2


@lru_cache(maxsize=512)  # who looks after every trial goes through all earlier looks again
def _test(h: Hypothesis, means: tuple[tuple[float, ...], ...], draws: int, seed: int) -> _Test:
    found = permutation_test(means, h.doses or (1.0, 0.0), paired=h.paired, draws=draws, seed=seed)
    tau = kendall(means, h.doses, draws=draws, seed=seed) if h.doses else None
    above, below = (tau.above, tau.below) if tau else (found.above(), found.below())
    other = 1.0 if h.direction == "differs" else p_of(_OTHER[h.direction], above, below)
    return _Test(found, tau, p_of(h.direction, above, below), found.p_equivalent(h.margin), other)


def _outlook(h: Hypothesis, trials: int | Sequence[int], spread: float, share: float, looking: bool) -> Outlook:
    doses, spread = h.doses or (1.0, 0.0), max(spread, 1e-9)

    def level(n: int, sided: int = h.sided) -> float:
        return _level(share, sided, n if looking else None)

    at = level(trials if isinstance(trials, int) else min(trials))
    return Outlook(
        at,
        spread,
        power(h.shown / spread, trials, at, h.sided, doses=doses, paired=h.paired),
        spread * detectable(trials, at, h.sided, doses=doses, paired=h.paired),
        trials_for(h.shown / spread, level, h.sided, doses=doses, paired=h.paired),
        trials_for(h.margin / spread, lambda n: level(n, 1), doses=doses, paired=h.paired, equivalent=True),
    )


def _property(h: Hypothesis, given: list[Array], table: list[Array], judged: _Judged | None) -> Property:
    if judged is None:
        there = ", ".join(f"{len(arm)} of {name}" for name, arm in zip(h.arms, given, strict=True))
        why = f"To compare takes two trials an arm, {FIRST} where one looks after each: there are {there}."
        return Property(h, tuple(map(len, given)), tuple(float(arm.mean()) if len(arm) else math.nan for arm in given), "cannot tell", why)
    test, look = judged.test, judged.look
    table = [arm[:look] for arm in table]
    means, counts = [arm.mean(1) for arm in table], tuple(map(len, table))
    squares = sum(float(((arm - arm.mean()) ** 2).sum()) for arm in means)
    spread = float((means[0] - means[1]).std(ddof=1)) if h.paired else math.sqrt(squares / (sum(counts) - len(counts)))
    ahead = _outlook(h, counts, spread, judged.share, look is not None)
    each = ahead.level / h.sided
    low, high = test.contrast.bounds(each)
    like = None
    if not h.doses and table[0].shape[1] > 1:
        wide = effect(table[1], table[0], h.margin, 2 * each).like_these
        like = wide.low, wide.high
    return Property(
        h,
        counts,
        tuple(float(arm.mean()) for arm in means),
        judged.verdict,
        _reason(h, judged, (low, high), like, ahead) + _beware(h, means),
        test.contrast.value,
        low,
        high,
        like,
        hedges(means[0], means[1], h.paired, 2 * each) if not h.doses else _NO_SIZE,
        test.tau.value if test.tau else math.nan,
        test.p,
        judged.corrected,
        test.against,
        judged.against,
        ahead,
        look,
    )


def _reason(h: Hypothesis, judged: _Judged, bounds: tuple[float, float], like: tuple[float, float] | None, ahead: Outlook) -> str:
    test = judged.test
    first, last = (h.arms[0], h.arms[1]) if not h.doses else (h.arms[int(np.argmin(h.doses))], h.arms[int(np.argmax(h.doses))])
    pair = f"from {first} to {last}" if h.doses else f"{first} minus {last}"
    said = f"{pair}: {points(test.contrast.value)} points{_between(bounds)}" + (
        f", τ = {test.tau.value:.2f}" if test.tau and not math.isnan(test.tau.value) else ""
    )
    margin, p = f"±{100 * h.margin:g} points", f"corrected p = {judged.corrected:.2g}"
    against = f"corrected p = {judged.against:.2g}"
    if judged.verdict == "holds":
        open_ = like is not None and like[0] <= 0 <= like[1]
        return f"{said}, {p}." + (f" For other examples like these it is open{_between(like)}." if like and open_ else "")
    if judged.verdict == "does not hold" and test.equivalent <= test.other:
        there = " A difference is there, too small to matter." if test.p <= ahead.level else ""
        return f"{said}, within {margin} ({against}).{there}"
    if judged.verdict == "does not hold":
        return f"{said}, the other way round than stated ({against})."
    show = _trials(ahead.trials_to_show, f"show {100 * h.shown:g} points in four cases of five")
    exclude = _trials(ahead.trials_to_exclude, f"show equivalence within {margin} where nothing is there")
    none = "" if ahead.power != 0 else " With so few trials no p can be small enough."
    return f"{said}, {p}: neither shown nor excluded.{none} {show[0].upper()}{show[1:]}, {exclude}."


def _beware(h: Hypothesis, means: Sequence[Array]) -> str:
    """What permutation does not stand: an arm of fewer trials that spreads more."""
    few, many = sorted(means, key=len)[:: len(means) - 1]
    uneven = 2 * len(few) <= len(many) and few.std(ddof=1) > 1.5 * many.std(ddof=1)
    return " The arm of fewer trials spreads more, so p may be too small: run as many of it." if uneven else ""


def _trials(count: int | None, show: str) -> str:
    return f"{count} trials an arm would {show}" if count else f"more than {MOST_LOOKS} trials an arm would be needed to {show}"


def _between(bounds: tuple[float, float]) -> str:
    return "" if math.isinf(bounds[0]) else f" ({points(bounds[0])} to {points(bounds[1])})"
