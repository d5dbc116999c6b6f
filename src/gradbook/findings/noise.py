"""The noise budget of a step: how much of its score's variance the critiques, the rewrite, the selection, the answers, the examples make.

Draws are nested: fresh critiques, within each fresh rewrites, within each fresh selections, each prompt answering the split several times.
The first draw at each level is that of the level above it, so that none is wasted.
"""

import math
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gradbook import background, stats
from gradbook.errors import CaseError
from gradbook.findings.base import Calls, Finding, answers, run_again, times
from gradbook.findings.bench import Bench, recorded
from gradbook.loop.stages import together
from gradbook.records import SplitName, Stage, Step

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording

MOST = 9
"""Draws at a level: seeds are told apart by their digits."""
Counts = dict[str, int]


class Noise(Finding):
    """What one score of a step would differ by, were it all done again, taken apart.

    `counts` are the draws at each level, outermost first, `examples` last; `right` says of each whether the answer is right, in that
    order. `prices` are the calls that one more unit at a level takes.
    """

    kind: ClassVar[str] = "noise"
    title: ClassVar[str] = "Noise budget"
    hypothesis: ClassVar[str] = "How much of the score's variance does each stage make, and which further call would narrow it most?"

    counts: dict[str, int]
    right: tuple[int, ...]
    prices: dict[str, int]

    @cached_property
    def components(self) -> stats.Components:
        """The variance by source, with shares and their intervals."""
        table = np.reshape(self.right, tuple(self.counts.values())).astype(float)
        return stats.components(table, tuple(self.counts))

    @property
    def largest(self) -> str:
        """The source with the largest share; empty where nothing varies."""
        shares = self.components.shares
        return "" if math.isnan(next(iter(shares.values()))) else max(shares, key=lambda name: shares[name])

    @property
    def verdict(self) -> str:
        """The source that makes the most, where its share is surely larger than each other comes out; else "cannot tell"."""
        if not self.largest:
            return "nothing varies"
        others = [share for name, share in self.components.shares.items() if name != self.largest]
        return self.largest if self.components.share_intervals[self.largest][0] > max(others) else "cannot tell"

    @property
    def narrows(self) -> dict[str, float]:
        """By what share one more unit of each source narrows the next interval, for each call that it takes."""
        return {name: (1 - factor) / self.prices[name] for name, factor in self.components.narrowing().items()}

    @property
    def best(self) -> str:
        """Where a further call narrows the next comparison most."""
        return max(self.narrows, key=lambda name: self.narrows[name])

    def __str__(self) -> str:
        if not self.largest:
            return "every draw gave the same answers, so nothing varies."
        (low, high), share = self.components.share_intervals[self.largest], self.components.shares[self.largest]
        spread = 100 * math.sqrt(self.components.variance(**{name: 1 for name in self.counts if name != "examples"}))
        sure = "" if self.verdict == self.largest else ", though these draws do not tell it from the others"
        more = 1 - self.components.narrowing()[self.best]
        return (
            f"one run of the step differs by ±{spread:.1f} points (standard deviation); the {self.largest} make most of it, {share:.0%} of "
            f"the variance ({low:.0%} to {high:.0%}){sure}. A call narrows the next comparison most in the {self.best}: one more of them "
            f"takes {self.prices[self.best]:,} calls and makes the interval {more:.1%} shorter."
        )


def levels(case: "Recording", step: Step) -> dict[str, Stage]:
    """The sources that a step's method draws from, outermost first, each with the stage that its draws are fresh from."""
    method, found = case.method_of(step), dict[str, Stage]()
    judged = method.critic and step.variable == "prompt"
    asks = [s for s in step.stages if s in ("output_critique", "prompt_critique") or (s == "evaluate" and judged)]
    if asks:
        found["critiques"] = asks[0]
    if "rewrite" in step.stages:
        found["rewrites"] = "rewrite"
    if method.validates or method.selection == "random":
        found["selections"] = "select"
    return found


async def anoise(
    case: "Case",
    step: Step | int,
    *,
    split: SplitName | None = None,
    critiques: int = 3,
    rewrites: int = 2,
    selections: int = 2,
    answers: int = 2,
) -> Noise:
    """Take the noise of a step's score apart, by nested replicates of it.

    Args:
        case: a case with a model; without one, what is on record is given.
        step: the step, or its id.
        split: what its prompts are scored on; by default one that no selection has looked at.
        critiques, rewrites, selections, answers: draws at each level, 2 to 9; 1 leaves a level out, whose variance then counts to the one
            above it. Those that the step's method does not have are left out anyway.

    Raises:
        CaseError: the step is not done or has nothing to draw, or a number is out of range.
    """
    step, split = case[step], split or case.default_split(step)
    asked = {"critiques": critiques, "rewrites": rewrites, "selections": selections, "answers": answers}
    counts = _counts(case, step, split, asked)
    bench = Bench(case, Noise.kind, step, split, **{name: count for name, count in counts.items() if name != "examples"})
    if (known := recorded(bench, Noise)) is not None:
        return known
    return await background.here(_noise(case, bench, split, counts))


async def _noise(case: "Case", bench: Bench, split: SplitName, counts: Counts) -> Noise:
    step = bench.step
    stages, drawn = levels(case, step), [name for name in counts if name not in ("answers", "examples")]

    async def prompts(at: Step, left: list[str], number: int) -> list[Step]:
        """The last draws below a step, in order."""
        if not left:
            return [at]
        name, first = left[0], at.id == step.id
        again = [bench.replicate(at, stages[name], 10 * number + n) for n in range(1 if first else 2, counts[name] + 1)]
        found = ([] if first else [at]) + await together(again)
        below = await together(prompts(one, left[1:], 10 * number + n) for n, one in enumerate(found, 1))
        return [last for some in below for last in some]

    ends = await prompts(step, drawn, 0)
    scores = [
        bench.right(case.scorable(end, split), split, 1 + n * counts["answers"] + m)
        for (n, end), m in product(enumerate(ends), range(counts["answers"]))
    ]
    right = np.array(await together(scores)).astype(int).ravel().tolist()
    prices = {name: _total(case, step, split, {**counts, name: counts[name] + 1}) - _total(case, step, split, counts) for name in counts}
    return bench.record(Noise(step=step.id, split=split, counts=counts, right=tuple(right), prices=prices))


def noise_calls(
    case: "Recording",
    step: Step,
    *,
    split: SplitName | None = None,
    critiques: int = 3,
    rewrites: int = 2,
    selections: int = 2,
    answers: int = 2,
) -> Calls:
    """How many calls `Case.noise` makes at most."""
    split = split or case.default_split(step)
    asked = {"critiques": critiques, "rewrites": rewrites, "selections": selections, "answers": answers}
    return _calls(case, step, split, _counts(case, step, split, asked))


def _counts(case: "Recording", step: Step, split: SplitName, asked: Counts) -> Counts:
    """The draws at each level that the step has, with the examples last."""
    if not step.done or step.parent is None:
        raise CaseError(f"step {step.id} is not done or holds only the seed prompt: there is nothing to draw again")
    if wrong := [f"{name}={count}" for name, count in asked.items() if not 1 <= count <= MOST]:
        raise CaseError(f"each level takes 1 to {MOST} draws, not {', '.join(wrong)}")
    has = (*levels(case, step), "answers")
    counts = {name: count for name, count in asked.items() if name in has and (count > 1 or name == "answers")}
    if counts["answers"] < 2 or len(counts) < 2:
        raise CaseError("a noise budget takes two answers or more, and two draws or more of at least one other level")
    return {**counts, "examples": len(case.task.split(split))}


def _calls(case: "Recording", step: Step, split: SplitName, counts: Counts) -> Calls:
    stages, units, found = levels(case, step), 1, Calls()
    for level, name in enumerate(name for name in counts if name in stages):
        found += times(run_again(case, step, stages[name]), units * (counts[name] - (level > 0)))
        units *= counts[name]
    return found + times(answers(case, split), units * counts["answers"])


def _total(case: "Recording", step: Step, split: SplitName, counts: Counts) -> int:
    size = len(case.task.split(split))
    each = _calls(case, step, split, counts)
    return each.total() + (counts["examples"] - size) * math.prod(count for name, count in counts.items() if name != "examples")
