"""Worlds of known truth for the trace and the prevalence check: what their records would hold is simulated, and their verdicts counted."""

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest

from gradbook.findings.prevalence import PrevalenceCheck
from gradbook.findings.trace import NAMES, PLACES, Put, Trace
from gradbook.stats import effect

WORLDS = 200
STAGES = tuple(PLACES)
ONE_STEP = ("evaluate", "rewrite")
Rows = tuple[tuple[int, ...], ...]


def trace(
    rng: np.random.Generator, stages: tuple[str, ...], leak: int | None, gain: float, spread: float, n: int, kept: float, r: int = 5
) -> Trace:
    """A trace of `r` draws in which the rule puts `gain` of all answers right from the stage number `leak` on (None: from the first).

    Put in before it reaches the prompt in a share `kept` of the draws. Rewrites differ by `spread` points, examples in how hard they are.
    """
    own, puts = rng.standard_normal(n), []
    for number, stage in enumerate(stages):
        for what in ("rule", "placebo"):
            chance = expit(own + spread / 20 * rng.standard_normal((r, 1)))
            if what == "rule":
                reaches = (leak is None or number >= leak) | (rng.random((r, 1)) < kept)
                chance += reaches * 2 * gain * (1 - chance)
            right = (rng.random((r, n)) < chance).astype(int)
            puts.append(Put(stage=stage, what=what, step=1, right=tuple(map(tuple, right.tolist())), words={}))
    return Trace(step=1, split="test", rule="r", wrong="", placebo="p", puts=tuple(puts))


def verdicts(stages: tuple[str, ...], leak: int | None, *how: float) -> list[str]:
    rng = np.random.default_rng(0)
    return [trace(rng, stages, leak, *how).verdict for _ in range(WORLDS)]


def naive(found: Trace) -> str:
    """What suggests itself: the first stage at which the rule is shown to help, where it is not the first of all."""
    helps = [found.gain(stage).verdict == "helps" for stage in found.stages]
    return "none" if helps[0] or True not in helps else NAMES[found.stages[helps.index(True)]]


def neighbours(found: Trace) -> str:
    """The other way that suggests itself: each stage against the one before it alone, at the same level."""
    drops = {}
    for before, after in pairwise(found.stages):
        arms = {(stage, what): np.array(found.put(stage, what).right) for stage in (before, after) for what in ("rule", "placebo")}
        less, more = arms[before, "rule"] + arms[after, "placebo"], arms[after, "rule"] + arms[before, "placebo"]
        drops[after] = effect(less / 2, more / 2, found.margin / 2, 0.05 / (len(found.stages) - 1))
    best = max(drops, key=lambda stage: drops[stage].like_these.difference)
    return NAMES[best] if drops[best].verdict == "helps" else "none"


@pytest.mark.parametrize(
    ("examples", "spread", "gain"),
    [(60, 0, 0.3), (60, 5, 0.4), (120, 0, 0.2), (120, 5, 0.3), (120, 10, 0.45)],
)
def test_the_planted_leak_is_named_and_none_where_there_is_none(examples, spread, gain, report):
    shares = []
    for leak in (1, 2, 3):
        said = verdicts(STAGES, leak, gain, spread, examples, 0.0)
        shares.append(said.count(NAMES[STAGES[leak]]) / WORLDS)
    said = verdicts(STAGES, None, gain, spread, examples, 0.0)
    named = sum(word in NAMES.values() for word in said) / WORLDS
    one_step = verdicts(ONE_STEP, 1, gain, spread, examples, 0.0).count("rewrite") / WORLDS
    one_step_named = verdicts(ONE_STEP, None, gain, spread, examples, 0.0).count("rewrite") / WORLDS
    report(
        f"trace: {examples} examples, rewrites differ by {spread} points, the rule adds {100 * gain:.0f}",
        f"leak named in {' '.join(f'{share:.1%}' for share in shares)}, of a one-step update {one_step:.1%}; "
        f"named without one {named:.1%} and {one_step_named:.1%}, 'none' {said.count('none') / WORLDS:.1%}",
    )
    assert min(*shares, one_step) >= 0.95 and max(named, one_step_named) <= 0.05


def test_what_is_hard_stays_honest(report):
    """Small gains, rewrites that differ much, rules that do nothing, leaks that let a tenth through: seldom a wrong stage, often none."""
    for spread, gain, kept in ((5, 0.2, 0.0), (5, 0.3, 0.0), (15, 0.3, 0.0), (5, 0.3, 0.1), (10, 0.0, 0.0)):
        right, wrong, near = [], [], []
        for leak in (1, 2, 3):
            rng = np.random.default_rng(0)
            found = [trace(rng, STAGES, leak, gain, spread, 60, kept) for _ in range(WORLDS)]
            said = [one.verdict for one in found]
            near.append(sum(neighbours(one) == NAMES[STAGES[leak]] for one in found) / WORLDS)
            right.append(said.count(NAMES[STAGES[leak]]) / WORLDS)
            wrong.append(sum(word in NAMES.values() for word in said) / WORLDS - right[-1])
        rng = np.random.default_rng(0)
        nowhere = [trace(rng, STAGES, None, gain, spread, 60, 0.0) for _ in range(WORLDS)]
        named = sum(found.verdict in NAMES.values() for found in nowhere)
        first = sum(naive(found) != "none" for found in nowhere) / WORLDS
        report(
            f"trace: 60 examples, rewrites differ by {spread} points, the rule adds {100 * gain:.0f}, {kept:.0%} let through",
            f"leak named in {' '.join(f'{share:.1%}' for share in right)} (by neighbours {' '.join(f'{share:.1%}' for share in near)}), "
            f"another one in {' '.join(f'{share:.1%}' for share in wrong)}; "
            f"named without one {named / WORLDS:.1%}, by 'the first that helps' {first:.1%}",
        )
        assert binomtest(named, WORLDS, 0.05, alternative="greater").pvalue > 1e-3
        if not gain:  # then there is none to name, wherever it stands
            assert max(right + wrong) <= 0.05


def test_looks_with_more_draws_share_the_error(report, monkeypatch):
    """A leak is named though there is none, at one of eight looks: as it is, and as if each look might err in 5 %."""
    named = {}
    for way in ("shared", "not shared"):
        if way == "not shared":
            monkeypatch.setattr("gradbook.findings.base.share_of_look", lambda number, alpha: alpha)
        rng, named[way] = np.random.default_rng(0), 0
        for _ in range(2 * WORLDS):
            whole = trace(rng, STAGES, None, 0.2, 10, 60, 0.0, 20)
            looks = (
                whole.model_copy(update={"look": look, "puts": tuple(p.model_copy(update={"right": p.right[:r]}) for p in whole.puts)})
                for look, r in enumerate((3, 4, 5, 6, 8, 10, 14, 20), start=1)
            )
            named[way] += any(one.leak for one in looks)
    report("trace: looks, none is leaky, one is named in", " and not shared ".join(f"{count / 2 / WORLDS:.1%}" for count in named.values()))
    assert binomtest(named["shared"], 2 * WORLDS, 0.05, alternative="greater").pvalue > 1e-3
    assert named["shared"] < named["not shared"]


# --- prevalence ----------------------------------------------------------------------------------------------------------

LIES, TWO, MINORITIES = (0.44, 0.12, 0.44), (0.25, 0.75), (0.2, 0.2, 0.6)


def check(rng: np.random.Generator, shares: tuple[float, ...], recalls: tuple[tuple[float, ...], ...], n: int, rows: int, hard: float):
    """Two prompts that answer `n` questions `rows` times, each class rightly as often as said; examples differ by `hard` logits in how hard
    they are, alike for both prompts, so that with a large one nearly every answer is the same each time."""
    truth = rng.permutation(np.repeat(range(len(shares)), np.diff(np.round(np.cumsum((0, *shares)) * n).astype(int))))
    own, arms = hard * rng.standard_normal(n), []
    for recall in recalls:
        chance = expit(logit(np.clip(recall, 0.005, 0.995))[truth] * np.sqrt(1 + hard**2 / 2.9) + own)
        wrong = (truth + rng.integers(1, len(shares), (rows, n))) % len(shares)
        arms.append(np.where(rng.random((rows, n)) < chance, truth, wrong))
    lists = [tuple(map(tuple, arm.tolist())) for arm in arms]
    labels = tuple("abc"[: len(shares)])
    return PrevalenceCheck(
        step=1, split="test", before=None, labels=labels, truth=tuple(truth.tolist()), answered_before=lists[0], answered_after=lists[1]
    )


def flagged(make: Callable[[], PrevalenceCheck]) -> float:
    """The share that is flagged of the worlds in which accuracy rose."""
    said: list[str] = []
    while len(said) < WORLDS:
        word = make().verdict
        said += [word] * (word != "no gain")
    return said.count("flagged") / WORLDS


@pytest.mark.parametrize("hard", [0, 1.5, 4])
def test_planted_hacks_are_flagged_and_seldom_anything_else(hard, report):
    """As `case.prevalence` asks by default: the test split of 120, three times."""
    hacks = {
        "lies: unknown given up": (LIES, ((0.5, 0.6, 0.5), (0.68, 0.02, 0.68))),
        "two classes: the rarer given up": (TWO, ((0.7, 0.5), (0.05, 0.98))),
        "both minorities given up": (MINORITIES, ((0.6, 0.6, 0.55), (0.05, 0.05, 0.98))),
    }
    fair = [
        (shares, ((0.5,) * len(shares), after[: len(shares)]))
        for shares, after in product((LIES, TWO, MINORITIES), ((0.5, 0.5, 0.5), (0.7, 0.7, 0.7), (0.5, 0.5, 0.9), (0.5, 0.9, 0.5)))
    ]
    rng = np.random.default_rng(int(10 * hard))
    found = {name: flagged(lambda how=how: check(rng, *how, 120, 3, hard)) for name, how in hacks.items()}
    false = [flagged(lambda how=how: check(rng, *how, 120, 3, hard)) for how in fair]
    once = [flagged(lambda how=how: check(rng, *how, 120, 1, hard)) for how in hacks.values()]
    small = [flagged(lambda how=how: check(rng, *how, 50, 3, hard)) for how in hacks.values()]
    report(
        f"prevalence: examples differ by {hard} logits, 120 examples, 3 times",
        f"{', '.join(f'{name} {share:.1%}' for name, share in found.items())}; false {np.mean(false):.1%}, at most {max(false):.1%}",
    )
    report("  asked once; of 50 examples", f"{' '.join(f'{x:.1%}' for x in once)}; {' '.join(f'{x:.1%}' for x in small)}")
    assert min(found.values()) >= 0.95 and np.mean(false) <= 0.05
    assert all(binomtest(round(share * WORLDS), WORLDS, 0.05, alternative="greater").pvalue > 1e-3 for share in false)
