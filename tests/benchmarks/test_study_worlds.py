"""Studies of known truth: how often a verdict on a property is right, wrong, or that it cannot be told. Arrays only.

The end prompt of a trial has a true accuracy, that of its arm but for a spread between trials, and is scored on the same examples as all
others, which differ in how hard they are. What an arm's mean is makes the world.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy.special import stdtr
from scipy.stats import binomtest

from gradbook.stats import Hypothesis, optimism, outlook, permutation_test, properties
from gradbook.stats.looks import FIRST

STUDIES, TRIALS, SPREAD, EXAMPLES, MARGIN, ALPHA, DRAWS = 100, 20, 0.02, 120, 0.05, 0.05, 1000
CANDIDATES, TOLD = tuple(range(1, 6)), 50
Table = Callable[[str, str], None]
World = Mapping[str, float]

GUARDED = tuple(f"validated, {k}" for k in CANDIDATES)
HYPOTHESES = [
    Hypothesis(name="the loss matters", arms=("three-stage", "wrong labels"), family="loss"),
    Hypothesis(name="the loss matters", arms=("three-stage", "no labels"), family="loss"),
    Hypothesis(name="the chain rule matters", arms=("three-stage", "one-step, same calls"), family="chain"),
    Hypothesis(name="more than its budget", arms=("three-stage", "random of n, same calls"), family="chain"),
    Hypothesis(name="the chain rule matters, calls not equal", arms=("three-stage", "one-step"), family="calls not equal"),
    Hypothesis(name="validation guards", arms=("validated, 1", "naive"), family="validation"),
    Hypothesis(name="validation discovers", arms=GUARDED, doses=CANDIDATES, family="validation"),
]
LEVEL = {name: 0.6 for h in HYPOTHESES for name in (*h.arms, "naive")}
USEFUL = LEVEL | {name: 0.72 for name in ("three-stage", "one-step", "one-step, same calls", "random of n, same calls")}
WORLDS: dict[str, World] = {
    "the loss matters": USEFUL,
    "the loss does not matter": dict.fromkeys(LEVEL, 0.72),
    "noise only": LEVEL,
    "validation is discovery": LEVEL | {name: 0.58 + 0.03 * k for k, name in enumerate(GUARDED)} | {"naive": 0.58},
    "validation is a guard": LEVEL | dict.fromkeys(GUARDED, 0.72),
    "the chain rule helps": LEVEL | {"three-stage": 0.72},
    "budgets alone explain it": dict.fromkeys(LEVEL, 0.72) | {"one-step": 0.6},
    "every effect is the margin": LEVEL
    | {name: 0.6 - MARGIN for h in HYPOTHESES[:5] for name in h.arms[1:]}
    | {"naive": 0.6 - MARGIN}
    | {name: 0.6 + MARGIN * k / 4 for k, name in enumerate(GUARDED)},
}


def truth(h: Hypothesis, world: World) -> float:
    """The true effect: of a trend its rise, which is even in these worlds."""
    return world[h.arms[-1]] - world[h.arms[0]] if h.doses else world[h.arms[0]] - world[h.arms[1]]


def study(rng: np.random.Generator, world: World, trials: int = TRIALS, spread: float = SPREAD) -> dict[str, np.ndarray]:
    """Scores of each arm, trial × example. How hard an example is is the same in all arms, and drawn anew for each study."""
    hard = rng.normal(0, 0.25, EXAMPLES)
    hard -= hard.mean()  # so that the truth is the arm's mean on these examples
    return {
        name: (rng.random((trials, EXAMPLES)) < mean + spread * rng.standard_normal((trials, 1)) + np.clip(hard, -0.25, 0.25)) * 1.0
        for name, mean in world.items()
    }


def means(arms: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: table.mean(1) for name, table in arms.items()}


def seldom(count: int, total: int, rate: float = ALPHA) -> bool:
    """Whether `count` in `total` is at most `rate`, but for binomial error."""
    return binomtest(int(count), total, rate, alternative="greater").pvalue > 1e-3


def percent(count: float, total: int) -> str:
    return f"{100 * count / total:5.1f}"


def wrong(verdict: str, effect: float) -> bool:
    """Between nothing and the margin either verdict is right."""
    return effect <= 1e-9 if verdict == "holds" else verdict == "does not hold" and effect >= MARGIN - 1e-9


@pytest.mark.parametrize("name", WORLDS)
def test_verdicts_are_right_at_the_stated_rates(name, report):
    world, rng = WORLDS[name], np.random.default_rng(list(WORLDS).index(name))
    counts, families = [Counter() for _ in HYPOTHESES], Counter()
    for _ in range(STUDIES):
        found = properties(means(study(rng, world)), HYPOTHESES, alpha=ALPHA, draws=DRAWS)
        for count, one in zip(counts, found, strict=True):
            count[one.verdict] += 1
        families.update({one.hypothesis.family for one in found if wrong(one.verdict, truth(one.hypothesis, world))})
    report(f"{name}: verdicts, in % of {STUDIES} studies", "holds | does not hold | cannot tell; true effect, points")
    for h, count in zip(HYPOTHESES, counts, strict=True):
        shares = " | ".join(percent(count[verdict], STUDIES) for verdict in ("holds", "does not hold", "cannot tell"))
        effect = truth(h, world)
        report(f"  {h.name} ({h.arms[0]}, {h.arms[-1]})", f"{shares}; {100 * effect:.0f}")
        assert seldom(sum(count[verdict] for verdict in count if wrong(verdict, effect)), STUDIES), h
        if effect >= 2 * MARGIN or effect == 0:  # and it is told, not only not wrong
            assert count["holds" if effect else "does not hold"] > 0.6 * STUDIES, (h, count)
    report("  any wrong verdict in a family", " ".join(f"{family} {percent(families[family], STUDIES)}" for family in families) or "none")
    assert all(seldom(count, STUDIES) for count in families.values())


def seen(first: np.ndarray, second: np.ndarray) -> bool:
    """The pooled one-sided t-test of two arms."""
    n, spread = len(first), np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / len(first))
    return bool(spread and stdtr(2 * n - 2, (second.mean() - first.mean()) / spread) <= ALPHA)


ARMS = ("three-stage", "wrong labels", "one-step, same calls", "improve")
WATCHED = [Hypothesis(name=f"better than {arm}", arms=(ARMS[0], arm)) for arm in ARMS[1:]]


@pytest.mark.parametrize("spread", [0.04, 0.0])
def test_looking_after_every_trial(spread, report):
    """Four hundred worlds without effect, and as many in which each effect is the margin: what is said at any look of ten."""
    worlds, last, counts, looks = 400, FIRST + 9, Counter(), []
    for number in range(worlds):
        rng = np.random.default_rng([number, int(100 * spread)])
        null = means(study(rng, dict.fromkeys(ARMS, 0.7), last, spread))
        at_margin = null | {ARMS[0]: null[ARMS[0]] + MARGIN}
        watch = {"alpha": ALPHA, "until": "decided", "draws": 4000}
        counts["alarms"] += any(found.verdict == "holds" for found in properties(null, WATCHED, **watch))
        counts["excluded wrongly"] += any(found.verdict == "does not hold" for found in properties(at_margin, WATCHED, **watch))
        if number < TOLD:
            told = properties(null | {ARMS[0]: null[ARMS[0]] + 0.15}, WATCHED[:1], **watch)[0]
            counts["found"] += told.verdict == "holds"
            looks.append(told.look)
        counts["naive"] += any(seen(null[ARMS[0]][:look], null[ARMS[1]][:look]) for look in range(FIRST, last + 1))
    report(
        f"looking at {len(WATCHED)} hypotheses, spread {100 * spread:g}",
        f"alarms {percent(counts['alarms'], worlds)}, excluded wrongly {percent(counts['excluded wrongly'], worlds)}, one by t at each "
        f"look {percent(counts['naive'], worlds)}; 15 points found in {percent(counts['found'], TOLD)} % by {np.mean(looks):.1f}",
    )
    assert seldom(counts["alarms"], worlds) and seldom(counts["excluded wrongly"], worlds) and counts["found"] > 0.8 * TOLD
    assert not seldom(counts["naive"], worlds)  # or the worlds were too easy


@pytest.mark.parametrize(
    ("trials", "spreads"), [((5, 5), (1, 1)), ((5, 5), (3, 1)), ((10, 10), (3, 1)), ((30, 5), (3, 1)), ((30, 5), (1, 3))]
)
def test_arms_of_other_spreads(trials, spreads, report):
    """One-sided alarms and intervals of 90 %: what permutation assumes, and where it breaks."""
    rng, worlds, alarms, missed = np.random.default_rng(0), 600, 0, 0
    for _ in range(worlds):
        found = permutation_test([rng.normal(0, spread, n) for n, spread in zip(trials, spreads, strict=True)], draws=DRAWS)
        low, high = found.bounds(ALPHA)
        alarms += found.p("more") <= ALPHA
        missed += not low <= 0 <= high
    report(
        f"{trials[0]} and {trials[1]} trials, spreads {spreads[0]} to {spreads[1]}",
        f"alarms {percent(alarms, worlds)}, intervals of 90 % that miss {percent(missed, worlds)} %",
    )
    if trials[0] == trials[1]:
        assert seldom(alarms, worlds, 0.07) and seldom(missed, worlds, 0.14)
    else:
        assert (missed > 0.2 * worlds) == (spreads[1] > spreads[0])  # as the module says


def test_what_was_foretold_comes(report):
    """The power of the permutation test is that of the t-test, from which trials are planned."""
    for n in (5, 8, 12):
        h = HYPOTHESES[2].model_copy(update={"size": 0.08})
        rng, ahead = np.random.default_rng(n), outlook(HYPOTHESES[2].model_copy(update={"size": 0.08}), n, 0.06)
        drawn = [{h.arms[0]: rng.normal(0.68, 0.06, n), h.arms[1]: rng.normal(0.6, 0.06, n)} for _ in range(400)]
        shown = sum(permutation_test([world[arm] for arm in h.arms], draws=DRAWS).p("more") <= ALPHA for world in drawn)
        report(f"power of {n} trials an arm for 8 points", f"foretold {100 * ahead.power:.1f}, seen {percent(shown, 400)} %")
        assert shown / 400 == pytest.approx(ahead.power, abs=0.08)


def test_optimism_of_a_selection(report):
    """Best of k rewrites of one true accuracy on 50 examples; the untouched 120 are harder by 5 points."""
    for best_of in (1, 3, 10):
        covers, values, worlds = 0, [], 250
        rng = np.random.default_rng(best_of)
        gained = np.mean([(rng.random((best_of, 50)) < 0.7).mean(1).max() - 0.7 for _ in range(5000)])
        for _ in range(worlds):
            tries = rng.random((8, best_of, 50)) < 0.7
            chosen = np.array([world[world.mean(1).argmax()] for world in tries], dtype=float)
            untouched = (rng.random((8, EXAMPLES)) < 0.65) * 1.0
            seeds = [(rng.random((3, n)) < p) * 1.0 for n, p in ((50, 0.6), (EXAMPLES, 0.55))]
            found = optimism(chosen, untouched, seeds)
            covers += found.low <= gained <= found.high
            values.append(found.value)
        report(
            f"optimism, best of {best_of}",
            f"true {100 * gained:.1f} points, found {100 * np.mean(values):.1f}, covered in {percent(covers, worlds)} %",
        )
        assert np.mean(values) == pytest.approx(gained, abs=0.01) and seldom(worlds - covers, worlds, 0.07)
