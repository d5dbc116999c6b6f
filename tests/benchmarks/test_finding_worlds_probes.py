"""Probes in worlds of known truth: how often each word comes up where the property holds, where it does not, and at the margin.

What a record would hold is simulated and its own verdict read. An answer is right with a probability that depends on the example, on the
arm, and on the rewrite drawn; the prompt before is not rewritten. A word that is wrong may come up in at most 5 %, and so may either word
at the margin between them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest

from gradbook.findings.probes import Probe, Sign
from gradbook.findings.probes_size import StepSize
from gradbook.findings.probes_sum import Additivity

WORLDS, MARGIN, ALPHA, BASE = 400, 0.05, 0.05, 0.5
SPREADS, FEW, MANY = ((0, 1.0), (10, 0.7)), (30, 3), {"sign": (240, 10), "step_size": (240, 10), "additivity": (1000, 10)}
"""The spread of rewrites in points with how alike an example is to two arms; examples and draws an arm, few and as many as it takes."""
WORDS = ("holds", "does not hold", "cannot tell")
PEOPLE = expit(1.5 * np.random.default_rng(0).standard_normal(4000))
SLOPE = (PEOPLE * (1 - PEOPLE)).mean()
"""Points of score for a unit of logit, on average."""


def arms(rng: np.random.Generator, lifts: Sequence[float], spread: float, alike: float, n: int, r: int) -> list[np.ndarray]:
    """Draw × example for the prompt before, and then for an arm a lift, which is its true effect for examples like these.

    With `alike` below 1, what an example is to one arm is less like what it is to another, so that effects differ by example.
    """
    own, drawn = rng.standard_normal(n), []
    for place, lift in enumerate((0.0, *lifts)):
        easy = alike * own + np.sqrt(1 - alike**2) * rng.standard_normal(n)
        wide = 0.0 if place == 0 else spread / 100 / SLOPE
        chance = expit(logit(BASE) + 1.5 * easy + wide * rng.standard_normal((r, 1)))
        # a share of wrong answers put right, or of right ones made wrong, so that the mean moves by just the lift
        chance = chance + lift / BASE * ((1 - chance) if lift > 0 else chance)
        drawn.append(rng.random((r, n)) < chance)
    return drawn


def sign(*world: Any) -> Probe:
    before, critiques, negated = arms(*world)
    return Sign.model_construct(margin=MARGIN, before=before, critiques=critiques, negated=negated)


def step_size(*world: Any) -> Probe:
    before, *strengths = arms(*world)
    return StepSize.model_construct(margin=MARGIN, before=before, strengths=strengths)


def additivity(*world: Any) -> Probe:
    before, joint, turned, *alone = arms(*world)
    return Additivity.model_construct(margin=MARGIN, before=before, alone=alone, together=joint, backwards=turned)


BETWEEN = (
    "apart by the margin",
    "opposite by the margin",
    "rises by the margin",
    "less than the sum by the margin",
    "order matters by the margin",
    "only negated they help",
    "both harm, negated less",
)
"""Worlds on the edge between two words, which no number of examples tells."""


def rising(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(lift) for lift in np.linspace(low, high, 5))


# the probe, the world, the true effects of its arms, and the words that would be wrong
Probed = Callable[..., Probe]
CASES: list[tuple[Probed, str, tuple[float, ...], tuple[str, ...]]] = [
    (sign, "negated, the opposite", (0.2, -0.2), ("does not hold",)),
    (sign, "negated, nothing", (0.2, 0.0), ("does not hold",)),
    (sign, "they harm, negated they help", (-0.15, 0.15), ("does not hold",)),
    (sign, "apart by the margin", (0.1, 0.05), WORDS[:2]),
    (sign, "opposite by the margin", (-0.025, 0.025), WORDS[:2]),
    (sign, "negated, the same", (0.1, 0.1), ("holds",)),
    (sign, "neither does anything", (0.0, 0.0), ("holds",)),
    (sign, "only negated they help", (0.0, 0.2), ("holds",)),
    (sign, "both harm, negated less", (-0.25, 0.0), ("holds",)),
    (step_size, "the stronger the better", rising(0.05, 0.3), ("does not hold",)),
    (step_size, "the stronger the worse, which they make it", rising(-0.05, -0.3), ("does not hold",)),
    (step_size, "rises by the margin", rising(0.15, 0.2), ("does not hold",)),
    (step_size, "strength does nothing", rising(0.15, 0.15), ("holds",)),
    (step_size, "neither does anything", rising(0.0, 0.0), ("holds",)),
    (step_size, "the stronger the less they help", rising(0.3, 0.05), ("holds",)),
    (additivity, "two add up, in any order", (0.2, 0.2, 0.1, 0.1), ("does not hold",)),
    (additivity, "neither does anything", (0.0, 0.0, 0.0, 0.0), ("does not hold",)),
    (additivity, "less than the sum by the margin", (0.15, 0.15, 0.1, 0.1), WORDS[:2]),
    (additivity, "order matters by the margin", (0.2, 0.25, 0.1, 0.1), WORDS[:2]),
    (additivity, "each does what all do", (0.25, 0.25, 0.25, 0.25), ("holds",)),
    (additivity, "only together", (0.3, 0.3, 0.0, 0.0), ("holds",)),
    (additivity, "order matters", (0.3, 0.0, 0.15, 0.15), ("holds",)),
]


@pytest.mark.parametrize(("probe", "world", "lifts", "wrong"), CASES, ids=[f"{probe.__name__}: {world}" for probe, world, *_ in CASES])
def test_a_word_is_wrong_in_five_percent_at_most(probe, world, lifts, wrong, report):
    for n, r in (FEW, MANY[probe.__name__]):
        figures = []
        for spread, alike in SPREADS:
            rng = np.random.default_rng([spread, n, r, len(world)])
            words = Counter(probe(rng, lifts, spread, alike, n, r).verdict for _ in range(WORLDS))
            figures.append(" ".join(f"{100 * words[word] / WORLDS:3.0f}" for word in WORDS))
            for word in wrong:
                assert binomtest(words[word], WORLDS, ALPHA, alternative="greater").pvalue > 1e-3, (world, n, r, spread, words)
            if n > FEW[0] and not spread and world not in BETWEEN:
                assert sum(words[word] for word in WORDS[:2] if word not in wrong) >= 0.8 * WORLDS, words
        report(f"{probe.__name__}: {world}, {n} examples, {r} draws: holds / not / cannot tell, rewrites alike | not", " | ".join(figures))


@pytest.mark.parametrize(
    ("world", "rise", "wrong"),
    [
        ("the stronger the further", 0.3, ("does not hold",)),
        ("further by the margin", MARGIN, ("does not hold",)),
        ("strength does nothing", 0.0, ("holds",)),
        ("the stronger the nearer", -0.3, ("holds",)),
    ],
)
def test_a_word_by_the_distance_is_wrong_in_five_percent_at_most(world, rise, wrong, report):
    for r, spread in ((3, 0.1), (10, 0.1), (10, 0.02)):
        rng = np.random.default_rng([r, len(world)])
        drawn = 0.4 + np.linspace(0, rise, 5)[:, None] + spread * rng.standard_normal((WORLDS, 5, r))
        words = Counter(StepSize.model_construct(margin=MARGIN, distances=one, by="distance").verdict for one in drawn)
        report(f"step_size by distance: {world}, {r} draws that differ by {spread}", " ".join(f"{words[w] / WORLDS:4.0%}" for w in WORDS))
        for word in wrong:
            assert binomtest(words[word], WORLDS, ALPHA, alternative="greater").pvalue > 1e-3, (world, r, words)
        if abs(rise) > MARGIN:
            assert words["cannot tell"] < 0.1 * WORLDS


LOOKS = (3, 4, 5, 6, 8, 10, 13, 16, 20)
"""Draws an arm at each look: a person asks for more while nothing can be told."""


def looked_at(probe: Probe, draws: int, look: int) -> Probe:
    """What the probe had on record with so many draws, at a look of that number."""
    kept = vars(probe)
    rows = {name: kept[name][:draws] for name in ("before", "critiques", "negated", "together", "backwards") if name in kept}
    arms = {name: [arm[:draws] for arm in kept[name]] for name in ("alone", "strengths", "distances") if name in kept}
    return probe.model_construct(**kept | rows | arms | {"look": look})


@pytest.mark.parametrize(
    ("probe", "world", "lifts", "wrong", "n"),
    [
        (sign, "apart by the margin", (0.1, 0.05), WORDS[:2], 200),
        (step_size, "strength does nothing", rising(0.3, 0.3), ("holds",), 60),
        (additivity, "less than the sum by the margin", (0.15, 0.15, 0.1, 0.1), WORDS[:2], 400),
    ],
    ids=["sign", "step_size", "additivity"],
)
def test_looks_with_more_draws_share_the_error(probe, world, lifts, wrong, n, report, monkeypatch):
    """Up to nine looks until a word comes up: as it is, and as if each look might err in 5 %."""
    worlds, figures = WORLDS, {}
    for way in ("shared", "not shared"):
        if way == "not shared":
            monkeypatch.setattr("gradbook.findings.base.share_of_look", lambda number, alpha: alpha)
        rng = np.random.default_rng([n, len(world)])
        count = 0
        for _ in range(worlds):
            whole = probe(rng, lifts, 10, 1.0, n, LOOKS[-1])
            said = (looked_at(whole, draws, look).verdict for look, draws in enumerate(LOOKS, start=1))
            count += next((word for word in said if word != "cannot tell"), "cannot tell") in wrong
        figures[way] = count
    report(
        f"looks: {probe.__name__}, {world}, {n} examples",
        f"wrong in {figures['shared'] / worlds:.1%}, not shared {figures['not shared'] / worlds:.1%}",
    )
    assert binomtest(figures["shared"], worlds, ALPHA, alternative="greater").pvalue > 1e-3
    assert figures["shared"] < figures["not shared"]


def test_looks_at_the_distance_share_the_error(report, monkeypatch):
    """The further by just the margin: it is wrong to say that it is not so."""
    worlds, figures = WORLDS, {}
    for way in ("shared", "not shared"):
        if way == "not shared":
            monkeypatch.setattr("gradbook.findings.base.share_of_look", lambda number, alpha: alpha)
        drawn = 0.4 + np.linspace(0, MARGIN, 5)[:, None] + 0.1 * np.random.default_rng(1).standard_normal((worlds, 5, LOOKS[-1]))
        probes = [StepSize.model_construct(margin=MARGIN, distances=one, by="distance") for one in drawn]
        said = [[looked_at(one, draws, look).verdict for look, draws in enumerate(LOOKS, start=1)] for one in probes]
        first = [next((word for word in words if word != "cannot tell"), "") for words in said]
        figures[way] = first.count("does not hold")
    report("looks: step_size by distance, further by the margin", " and not shared ".join(f"{c / worlds:.1%}" for c in figures.values()))
    assert binomtest(figures["shared"], worlds, ALPHA, alternative="greater").pvalue > 1e-3
    assert figures["shared"] < figures["not shared"]
