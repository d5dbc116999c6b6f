"""Worlds of known truth: how often a verdict is wrong and an interval covers, beside the obvious ways and what others install.

An example is right with a probability that depends on it, on the arm and on the rewrite drawn; `spread` is the standard deviation between
rewrites, in points. Arrays only. The packages evalsig and evalstats are asked where they are installed (the extra `bench`).
"""

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.special import bdtr, expit, logit, stdtr
from scipy.stats import binomtest, ttest_ind_from_stats

from gradbook.stats import effect
from gradbook.stats.effect import VERDICTS, Difference, differences

SPREADS, EXAMPLES, REPLICATES = (0, 5, 10, 15), (15, 30, 60, 120), (3, 5, 10)
WORLDS, MARGIN, ALPHA = 500, 0.05, 0.05
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
UNDECIDED, HARMS, HELPS, EQUIVALENT = range(len(VERDICTS))


@dataclass(frozen=True)
class Cell:
    """One kind of world. `alike` correlates what an example is in one arm with what it is in the other; `lift` is the true effect."""

    spread: tuple[float, float]
    examples: int
    replicates: int
    lift: float = 0.0
    alike: float = 1.0
    base: float = 0.6

    def worlds(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores before and after, worlds × replicates × examples, and the true difference for the examples of each world."""
        rng = np.random.default_rng([int(1000 * x) for x in (*self.spread, self.lift + 1, self.alike, self.base)] + [self.examples])
        centre, sizes = logit(self.base) * np.sqrt(1 + 1.5**2 / 2.9), (number, self.examples)
        own = rng.standard_normal(sizes, dtype=np.float32)
        other = self.alike * own + np.sqrt(1 - self.alike**2) * rng.standard_normal(sizes, dtype=np.float32)
        people = expit(centre + 1.5 * rng.standard_normal(4000))
        slope, scores, truth, means = (people * (1 - people)).mean(), [], [], []
        for easy, points in zip((own, other), self.spread, strict=True):
            at, wide = (centre + 1.5 * easy).astype(np.float32), np.float32(points / 100 / slope)
            means.append((expit(centre + 1.5 * NODES[:, None] + wide * NODES) @ WEIGHTS) @ WEIGHTS)
            share = 0.0 if len(means) == 1 else (means[0] + self.lift - means[1]) / (1 - means[1])  # of wrong answers, put right
            draws = wide * rng.standard_normal((number, self.replicates, 1), dtype=np.float32)
            chance = expit(at[:, None] + draws)
            scores.append((rng.random(chance.shape, dtype=np.float32) < chance + share * (1 - chance)).astype(float))
            right = expit(at[..., None] + wide * NODES.astype(np.float32)) @ WEIGHTS
            truth.append(right + share * (1 - right))
        return scores[0], scores[1], (truth[1] - truth[0]).mean(1)


def grid(**more: float) -> Iterator[Cell]:
    for spread, examples, replicates, alike in itertools.product(SPREADS, EXAMPLES, REPLICATES, (1.0, 0.7)):
        yield Cell((spread, spread), examples, replicates, alike=alike, **more)


def seldom(count: int, total: int, rate: float = ALPHA) -> bool:
    """Whether `count` in `total` is at most `rate`, but for binomial error."""
    return binomtest(int(count), total, rate, alternative="greater").pvalue > 1e-3


def percent(values: object) -> str:
    return " ".join(f"{100 * float(value):5.1f}" for value in np.ravel(values))


def called(found: Difference, *verdicts: int, look: int | None = None) -> np.ndarray:
    return np.isin(found.verdicts(MARGIN, ALPHA, look), verdicts)


def table(report: Callable[[str, str], None], name: str, figures: dict[tuple[int, int, int], list[float]], head: str) -> None:
    """A row for each number of examples and of replicates, a column a spread."""
    report(f"{name}, in %", f"{head}, at spreads of {', '.join(map(str, SPREADS))} points")
    for n, r in itertools.product(EXAMPLES, REPLICATES):
        report(f"  {n} examples, {r} replicates", " | ".join(percent(np.mean(figures[spread, n, r], 0)) for spread in SPREADS))


def test_false_alarms_cover_and_equivalence(report):
    """Effects the same for every example and effects that differ by example; each figure is for these examples, for examples like these."""
    alarms, covers, wrong, half = {}, {}, {}, {}
    for null, at_margin in zip(grid(), grid(lift=MARGIN), strict=True):
        key = (null.spread[0], null.examples, null.replicates)
        before, after, truth = null.worlds(WORLDS)
        these, like = differences(before, after)
        false = [np.abs(these.value - truth) > these.half(ALPHA), called(like, HARMS, HELPS)]
        before, after, truth = at_margin.worlds(WORLDS)
        these, like = differences(before, after)
        missed = [np.abs(these.value - truth) > these.half(ALPHA), np.abs(like.value - MARGIN) > like.half(ALPHA)]
        taken = [called(these, EQUIVALENT) & (np.abs(truth) >= MARGIN), called(like, EQUIVALENT)]
        for kind, found, rate in ((alarms, false, ALPHA), (covers, missed, 0.07), (wrong, taken, ALPHA)):
            kind.setdefault(key, []).append([np.mean(one) for one in found])
            assert all(seldom(one.sum(), WORLDS, rate) for one in found), (null, found)
        half.setdefault(key, []).append([these.half(ALPHA).mean(), like.half(ALPHA).mean()])
    table(report, "false alarms", alarms, "for these, like these")
    table(report, "intervals that miss", covers, "for these, like these")
    table(report, "equivalent, wrongly", wrong, "true effect of a margin, 5 points")
    table(report, "half an interval, points", half, "for these, like these")
    for kind, rate in ((alarms, ALPHA), (covers, ALPHA), (wrong, ALPHA)):
        assert np.mean(list(kind.values())) <= rate


@pytest.mark.parametrize(
    ("name", "spread", "base", "bound"),
    [
        ("near the ceiling, 90 %", (5, 5), 0.9, 0.07),
        ("rewrites of one arm alone differ", (0, 15), 0.6, 0.06),
        ("rewrites differ by 25 points", (25, 25), 0.6, 0.06),
    ],
)
def test_where_it_is_hardest(name, spread, base, bound, report):
    for n, r in ((15, 3), (30, 10), (120, 3), (120, 10)):
        null, margin = (Cell(spread, n, r, lift, 0.7, base) for lift in (0.0, MARGIN))
        alarms = called(differences(*null.worlds(2 * WORLDS)[:2])[1], HARMS, HELPS)
        like = differences(*margin.worlds(2 * WORLDS)[:2])[1]
        missed, wrong = np.abs(like.value - MARGIN) > like.half(ALPHA), called(like, EQUIVALENT)
        report(
            f"{name}: {n} examples, {r} replicates",
            f"alarms, misses, equivalent wrongly {percent([x.mean() for x in (alarms, missed, wrong)])} %",
        )
        assert all(seldom(count.sum(), 2 * WORLDS, bound) for count in (alarms, missed, wrong))


def test_looking_after_every_replicate(report):
    """Verdicts at any look from 3 to 12 replicates, under looking and at the level of one look; and what it takes to find 15 points."""
    looks = range(3, 13)
    for spread, n in itertools.product(SPREADS, (15, 60, 120)):
        alarms, naive, wrong, found, taken = (np.zeros(WORLDS, bool) for _ in range(5))
        many = np.full(WORLDS, looks[-1])
        null, margin, helpful = (Cell((spread, spread), n, looks[-1], lift, 0.7).worlds(WORLDS) for lift in (0, MARGIN, 0.15))
        for look in looks:
            like = differences(null[0][:, :look], null[1][:, :look])[1]
            alarms |= called(like, HARMS, HELPS, look=look)
            naive |= called(like, HARMS, HELPS)
            wrong |= called(differences(margin[0][:, :look], margin[1][:, :look])[1], EQUIVALENT, look=look)
            taken = called(differences(helpful[0][:, :look], helpful[1][:, :look])[1], HELPS, look=look)
            many[taken & ~found] = look
            found |= taken
        figures = percent([alarms.mean(), wrong.mean(), naive.mean(), found.mean()])
        report(
            f"looking: spread {spread}, {n} examples", f"alarms, equivalent wrongly, naive alarms, found {figures} % by {many.mean():.1f}"
        )
        assert seldom(alarms.sum(), WORLDS) and seldom(wrong.sum(), WORLDS)
        if n == 60 and find_spec("evalsig"):
            from evalsig import confidence_sequence

            apart = null[1].mean(2) - null[0].mean(2)
            stopped = [any(confidence_sequence(world[:look]).stopped for look in looks) for world in apart]
            report(
                f"looking: spread {spread}, {n} examples, evalsig",
                f"alarms of its confidence sequence over draws {percent(np.mean(stopped))} %",
            )


def test_a_verdict_is_that_of_the_public_function():
    before, after, _ = Cell((10, 10), 30, 5, 0.1, 0.7).worlds(40)
    for until in (None, "decided"):
        one_by_one = [effect(b, a, MARGIN, ALPHA, until=until).verdict for b, a in zip(before, after, strict=True)]
        assert one_by_one == [VERDICTS[k] for k in differences(before, after)[1].verdicts(MARGIN, ALPHA, 5 if until else None)]


def obvious(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """The p of the ways that suggest themselves."""
    rng, (_, r, n) = np.random.default_rng(0), before.shape
    apart = after.mean(1) - before.mean(1)
    value, spread = apart.mean(1), np.maximum(apart.std(1, ddof=1), 1e-12)
    signs = rng.choice((-1.0, 1.0), (n, 600))
    resampled = rng.multinomial(n, np.full(n, 1 / n), 600).T / n
    low, high = np.quantile(apart @ resampled, (0.025, 0.975), axis=1)
    fixed, broken = ((before[:, 0] < after[:, 0]).sum(1), (before[:, 0] > after[:, 0]).sum(1))

    def welch(scores: tuple[np.ndarray, np.ndarray], number: int) -> np.ndarray:
        moments = [moment for one in scores for moment in (one.mean(1), np.maximum(one.std(1, ddof=1), 1e-12), number)]
        return ttest_ind_from_stats(*moments, equal_var=False).pvalue

    return {
        "gradbook": differences(before, after)[1].p,
        "Welch, draws": welch((before.mean(2), after.mean(2)), r),
        "Welch, answers": welch((before.reshape(len(before), -1), after.reshape(len(after), -1)), r * n),
        "paired t, examples": 2 * stdtr(n - 1, -np.abs(value) / spread * np.sqrt(n)),
        "permutation, examples": (np.abs(apart @ signs) >= n * np.abs(value)[:, None] - 1e-9).mean(1),
        "bootstrap, examples": np.where((low > 0) | (high < 0), 0.0, 1.0),
        "McNemar, one rewrite": np.minimum(1, 2 * bdtr(np.minimum(fixed, broken), fixed + broken, 0.5)),
    }


def installed(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """The p of packages that are made for this, where they are installed, each given all replicates as its documentation has it."""
    found = {}
    if find_spec("evalsig"):
        from evalsig.inference.paired import paired_permutation_test

        means = zip(before.mean(1), after.mean(1), strict=True)
        found["evalsig"] = np.array([paired_permutation_test(b, a, n_resamples=300).p_value for b, a in means])
    if find_spec("evalstats"):
        from evalstats import pairwise_differences

        arms, rng = np.stack([before, after], 1).swapaxes(2, 3), np.random.default_rng(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found["evalstats"] = np.array([pairwise_differences(world, 0, 1, n_bootstrap=200, rng=rng).p_value for world in arms])
    return found


def test_the_obvious_ways(report):
    """False alarms on the same worlds: 30 examples, effects that differ by example, 5 replicates."""
    rows: dict[str, list[float]] = {}
    for spread in SPREADS:
        before, after, _ = Cell((spread, spread), 30, 5, alike=0.7).worlds(WORLDS)
        some = installed(before[:400], after[:400])
        for name, p in {**obvious(before, after), "evalsig": [np.nan], "evalstats": [np.nan], **some}.items():
            rows.setdefault(name, []).append(np.nan if np.isnan(p).all() else float((np.asarray(p) <= ALPHA).mean()))
    report("false alarms beside others, in %", f"30 examples, 5 replicates, at spreads of {', '.join(map(str, SPREADS))} points")
    for name, figures in rows.items():
        report(f"  {name}", "not installed" if np.isnan(figures).all() else percent(figures))
    assert max(rows["gradbook"]) <= 0.07 < rows["McNemar, one rewrite"][-1] < rows["paired t, examples"][-1]
