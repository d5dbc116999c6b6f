"""The probe of noise: does the variance of the rewritten prompt's score fall with batch size, as that of a gradient does?

A gradient's noise averages out: over batches of n of N examples its variance goes with 1/n - 1/N. So sizes are counted as n(N - 1)/(N - n),
which is n where N is large, and a gradient's exponent is -1, whatever part of the training split a batch is. What a rewrite draws by chance
from the same critiques does not average out, and leaves the exponent at 0.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from random import Random
from typing import TYPE_CHECKING, ClassVar

from gradbook import background, stats
from gradbook.errors import CaseError
from gradbook.findings.base import Calls, Finding, Property, times
from gradbook.findings.base import answers as answering
from gradbook.findings.bench import Bench, recorded
from gradbook.loop.stages import together
from gradbook.records import STAGES, SplitName, Step

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording

LEAST, MOST = 4, 100
"""Batches of a size."""
Draws = tuple[tuple[tuple[int, ...], ...], ...]


class BatchNoise(Finding):
    """Rewrites from fresh batches of several sizes, all of the prompt that the step began with, taken before any selection.

    `scores` holds for each of `sizes` batch × answer × example, 1 where the answer is right; `unchanged` counts the batches that gave no
    usable rewrite, whose prompt is the old one. `train` is how many examples batches are drawn from. `margin` is the power of the size
    with which the variance has to fall at least.
    """

    kind: ClassVar[str] = "batch_noise"
    title: ClassVar[str] = "Noise and batch size"
    hypothesis: ClassVar[str] = (
        "As the noise of a gradient averages out, the variance of the rewritten prompt's score falls with batch size like 1/n, or at least "
        "with the power of the size that is the margin."
    )

    margin: float = 0.5
    sizes: tuple[int, ...]
    train: int
    scores: tuple[Draws, ...]
    unchanged: tuple[int, ...]

    @cached_property
    def scaling(self) -> stats.Scaling:
        """How the variance beyond answering goes with the size; each bound errs with probability `alpha`."""
        return stats.scaling([effective(size, self.train) for size in self.sizes], self.scores, self.alpha)

    @property
    def replicates(self) -> int:
        """Batches of each size."""
        return len(self.scores[0])

    @property
    def verdict(self) -> Property:
        """Holds where the power is surely below minus the margin, does not hold where it is surely above."""
        if self.scaling.high < -self.margin:
            return "holds"
        return "does not hold" if self.scaling.low > -self.margin else "cannot tell"

    def __str__(self) -> str:
        if math.isnan(self.scaling.exponent):
            return f"{self.verdict}: {self.scaling}, so there is no noise of batches that could fall."
        spreads = ", ".join(f"{100 * spread:.1f} at {size}" for size, spread in zip(self.sizes, self.scaling.spread, strict=True))
        return (
            f"{self.verdict}: {self.scaling}, where a gradient's goes with −1 and at most −{self.margin:g} was asked for; the standard "
            f"deviation between batches beyond answering is, in points, {spreads}.{self._price()}"
        )

    def _price(self) -> str:
        found = self.scaling
        if self.verdict != "cannot tell":
            return ""
        away, reach = abs(found.exponent + self.margin), self.stricter * (found.high - found.low) / 2
        needed = math.ceil(self.replicates * (reach / away) ** 2) if away > 0 and math.isfinite(reach) else 0
        if not self.replicates < needed <= 1000:
            return " Larger batches, or more answers, would tell more than further batches of these sizes."
        return f" If it stays so, about {needed} batches of each size would tell."


def effective(size: int, train: int) -> float:
    """The batch size with replacement over which as much noise averages out."""
    return size * (train - 1) / (train - size)


async def anoise(
    case: "Case",
    step: Step | int,
    *,
    sizes: Sequence[int] = (1, 2, 4, 8),
    split: SplitName | None = None,
    replicates: int = 10,
    answers: int = 2,
    margin: float = 0.5,
) -> BatchNoise:
    """Rewrite the prompt that a step began with from fresh batches of several sizes: does the variance of the score fall with the size?

    Args:
        case: a case with a model; without one, what is on record is given.
        step: a step that sees data, or its id.
        sizes: batch sizes, two or more different ones, each below the number of training examples.
        split: where rewrites are scored; by default one that no selection has looked at.
        replicates: batches of each size, 4 to 100; more of them, asked for later, go on from these.
        answers: how often each rewrite answers the split, 2 to 9, which tells the noise of answers from that of batches.
        margin: the power of the size with which the variance has to fall at least: 0.5 is half way between a gradient and no fall.

    Raises:
        CaseError: the step sees no data or makes no rewrite of a whole batch, a number is out of range, or there is neither a model nor a
            record.
        ModelError: a call failed; what had finished is kept, and asking again goes on from there.
    """
    step, split, sizes = case[step], split or case.default_split(case[step]), tuple(sorted(sizes))
    _check(case, step, sizes, replicates, answers, margin)
    bench = Bench(case, BatchNoise.kind, step, split, sizes=sizes)
    if (known := recorded(bench, BatchNoise)) is not None:
        return known
    before = case.finding(bench.id) if bench.id in case.found else None
    if isinstance(before, BatchNoise):
        replicates, answers = max(replicates, before.replicates), max(answers, len(before.scores[0][0]))
    return await background.here(_noise(bench, sizes, replicates, answers, margin))


async def _noise(bench: Bench, sizes: tuple[int, ...], replicates: int, answers: int, margin: float) -> BatchNoise:
    case, step = bench.case, bench.step
    split = bench.split or case.default_split(step)

    async def one(size: int, number: int) -> tuple[bool, tuple[tuple[int, ...], ...]]:
        unlike = 1000 * size + number  # no two arms share a number, so that all they draw is their own
        arm = await bench.made(f"batch {number} of {size}", lambda id: _arm(case, step, size, unlike, id))
        new = next((candidate.prompt for candidate in arm.rewrite or () if not candidate.lost), None)
        what = replace(case.scorable(step, split), prompt=step.prompt if new is None else new)
        right = await together(bench.right(what, split, 10 * unlike + n) for n in range(answers))
        return new is None, tuple(tuple(map(int, answered)) for answered in right)

    made = await together(one(size, number) for size, number in product(sizes, range(1, replicates + 1)))
    by_size = [made[n * replicates : (n + 1) * replicates] for n in range(len(sizes))]
    found = BatchNoise(
        step=step.id,
        split=split,
        margin=margin,
        sizes=sizes,
        train=len(case.task.train),
        scores=tuple(tuple(answered for _, answered in batches) for batches in by_size),
        unchanged=tuple(sum(same for same, _ in batches) for batches in by_size),
    )
    return bench.record(found, replicates=replicates, answers=answers, margin=margin)


def noise_calls(
    case: "Recording",
    step: Step,
    *,
    sizes: Sequence[int] = (1, 2, 4, 8),
    split: SplitName | None = None,
    replicates: int = 10,
    answers: int = 2,
    margin: float = 0.5,
) -> Calls:
    """How many calls `gb.probes.noise` makes at most."""
    sizes = tuple(sorted(sizes))
    _check(case, step, sizes, replicates, answers, margin)
    method, examples = case.method_of(step), sum(sizes)
    each = Calls({"rewrite": len(sizes) * method.candidates * (1 + method.paraphrases), "predict": examples})
    if method.critic:
        each["evaluate"] = examples
    for stage in step.stages:
        if stage in ("output_critique", "prompt_critique"):
            each[stage] = examples * method.critiques
    return times(each + answering(case, split or case.default_split(step), answers * len(sizes)), replicates)


def _arm(case: "Recording", step: Step, size: int, number: int, id: int) -> Step:
    """The step with another batch and all drawn afresh, up to the rewrite."""
    batch = Random(f"{case.seed}/{step.depth}/{number}").sample([example.id for example in case.task.train], size)
    fresh = {"replicate": number, "fresh_from": step.stages[0], "replicate_of": None, "edits": ()}
    stages = tuple(stage for stage in step.stages if stage != "select")
    return step.model_copy(update={"id": id, "origin": step.id, "batch": tuple(batch), "stages": stages, **fresh, **dict.fromkeys(STAGES)})


def _check(case: "Recording", step: Step, sizes: tuple[int, ...], replicates: int, answers: int, margin: float) -> None:
    """Refuse what cannot be probed before anything is paid."""
    method, train = case.method_of(step), len(case.task.train)
    if step.parent is None or not step.done:
        raise CaseError(f"step {step.id} is not done or holds only the seed prompt: probe a step that has run")
    if not method.sees_data:
        raise CaseError(f"step {step.id} sees no data (update={method.update!r}), so there is no batch whose size could matter")
    if step.variable == "critic":
        raise CaseError(f"step {step.id} is of the critic, whose batch is that of the step before it: probe a step of the prompt")
    if method.apart:
        raise CaseError(f"step {step.id} rewrites after each critique apart, so no rewrite is of a batch whose size could matter")
    if len(set(sizes)) != len(sizes) or len(sizes) < 2 or not all(1 <= size < train for size in sizes):
        raise CaseError(f"sizes are two or more different numbers from 1 to {train - 1}, as {train} examples train; not {list(sizes)}")
    if not (LEAST <= replicates <= MOST and 2 <= answers <= 9 and 0 < margin < 1):
        given = f"replicates={replicates}, answers={answers}, margin={margin:g}"
        raise CaseError(f"this probe takes {LEAST} to {MOST} replicates, 2 to 9 answers and a margin between 0 and 1, not {given}")
