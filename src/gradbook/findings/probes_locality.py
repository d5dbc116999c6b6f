"""The probe of locality: do near prompts get near critiques?

Near prompts are the one that the step began with, reworded again and again; far ones are others on record. Each is criticised on the same
examples, several times afresh. Texts are as far apart as the angle between their words, weighed by how rare those are (TF–IDF), 0 to 1.
"""

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gradbook import background, edits, stats
from gradbook.errors import CaseError
from gradbook.findings.base import Calls, Finding, Property, times
from gradbook.findings.bench import Bench, recorded
from gradbook.findings.texts import distances, mean_distances
from gradbook.loop.stages import together
from gradbook.records import STAGES, Stage, Step, sha256
from gradbook.stats import points

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording

LEAST, MOST = 5, 20
"""Prompts that are set against each other."""
SPAN = 0.2
"""How much farther than the nearest the farthest prompts have to be before it is said that distance does nothing."""
Critiques = Literal["prompt_critique", "output_critique"]
Distances = tuple[tuple[float | None, ...], ...]


class Locality(Finding):
    """Critiques of the same `examples` under several `prompts`, told by their names, each drawn afresh `replicates` times.

    `apart` holds how far prompts are apart; `critiques`, by stage, how far their critiques are, on the mean of the examples: a row and a
    column a draw, the draws of a prompt together; None where no example has a critique in both. `by` says which critiques decide,
    `margin` how much farther apart those of the farthest prompts have to be than those of the nearest.
    """

    kind: ClassVar[str] = "locality"
    title: ClassVar[str] = "Locality"
    hypothesis: ClassVar[str] = (
        "As near points of a smooth function have near gradients, near prompts get near critiques: the farther two prompts are apart, the "
        "farther their critiques of the same examples are, from the nearest to the farthest by the margin or more."
    )

    prompts: tuple[str, ...]
    examples: tuple[str, ...]
    replicates: int
    apart: Distances
    critiques: dict[Critiques, Distances]
    by: Critiques = "prompt_critique"

    def between(self, stage: Critiques) -> NDArray[np.float64]:
        """How far the critiques of prompts are apart, prompt × prompt; on the diagonal, fresh draws of one; nan where it is not known."""
        table = np.array(self.critiques[stage], dtype=float)
        table[np.diag_indices(len(table))] = np.nan  # a draw and itself
        blocks = table.reshape(len(self.prompts), self.replicates, len(self.prompts), self.replicates).swapaxes(1, 2)
        known = np.isfinite(blocks)
        with np.errstate(invalid="ignore"):
            return np.where(known, blocks, 0).sum((2, 3)) / known.sum((2, 3))

    def floor(self, stage: Critiques) -> float:
        """How far fresh draws of the critiques of one prompt are apart, on the mean."""
        return _mean(np.diag(self.between(stage)))

    def against(self, stage: Critiques) -> stats.Mantel:
        """How the distances of critiques go with those of prompts."""
        return stats.mantel(np.array(self.apart, dtype=float), self.between(stage), self.alpha)

    def word(self, stage: Critiques) -> Property:
        """Does not hold where the rise is surely less than the margin, else holds where τ is above what shuffled prompts give."""
        found = self.against(stage)
        if found.high < self.margin and found.span[1] - found.span[0] >= SPAN:
            return "does not hold"
        return "holds" if found.p <= self.alpha else "cannot tell"

    @property
    def verdict(self) -> Property:
        """The word of the critiques that decide."""
        return self.word(self.by)

    def __str__(self) -> str:
        found, table = self.against(self.by), self.between(self.by)
        near, far = (f"{100 * edge:.0f}" for edge in found.span)
        apart, floor = 100 * _mean(table[np.triu_indices(len(table), 1)]), 100 * self.floor(self.by)
        said = (
            f"{self.verdict}, by the {self.by.replace('_', ' ')}s: from the nearest prompts, {near} points apart, to the farthest, {far}, "
            f"they move {_points(found.rise)} points apart ({_points(found.low)} to {_points(found.high)}; τ = {_signed(found.tau)}, "
            f"p = {found.p:.2g}); those of different prompts are {apart:.1f} points apart, fresh draws of one prompt {floor:.1f}."
        )
        if self.verdict != "cannot tell":
            return said
        if found.span[1] - found.span[0] < SPAN:
            return f"{said} These prompts are too much alike to say that distance does nothing: there are no far ones on record."
        return f"{said} More prompts would tell more, or more draws of their critiques."


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _points(value: float) -> str:
    return points(value) if np.isfinite(value) else "any"


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


async def alocality(
    case: "Case",
    step: Step | int,
    *,
    by: Critiques = "prompt_critique",
    reworded: int = 4,
    others: int = 4,
    examples: int = 6,
    replicates: int = 2,
    margin: float = 0.05,
) -> Locality:
    """Criticise the same examples under near prompts and far ones: are critiques the farther apart, the farther the prompts are?

    Args:
        case: a case with a model; without one, what is on record is given.
        step: a step that has critiques, or its id; the first prompt is the one that it began with.
        by: which critiques decide, "prompt_critique" or "output_critique"; both are measured.
        reworded: how often the prompt is reworded, each time what came of it the time before, 0 to 9.
        others: other prompts on record, from first to last, 0 to 10.
        examples: how many, those of the step's batch first, then others of the training split; a critic's step has only its batch.
        replicates: draws of the critiques of each prompt, 2 to 9; more of them, asked for later, go on from these.
        margin: how much farther apart, 0 to 1, critiques of the farthest prompts have to be than those of the nearest.

    Raises:
        CaseError: the step has no critiques, there are fewer than five different prompts, a number is out of range, or there is neither a
            model nor a record.
        ModelError: a call failed; what had finished is kept, and asking again goes on from there.
    """
    step = case[step]
    _check(case, step, by, reworded, others, examples, replicates, margin)
    bench = Bench(case, Locality.kind, step, reworded=reworded, others=others, examples=examples)
    if (on_record := recorded(bench, Locality)) is not None:
        return on_record
    return await background.here(_locality(bench, by, reworded, others, examples, replicates, margin))


async def _locality(bench: Bench, by: Critiques, reworded: int, others: int, examples: int, replicates: int, margin: float) -> Locality:
    case, step = bench.case, bench.step
    told: dict[str, Any] = {"margin": margin, "by": by}
    known = case.finding(bench.id) if bench.id in case.found else None
    if isinstance(known, Locality) and known.replicates >= replicates:
        bench.steps |= set(case.found[bench.id].steps)
        return bench.record(known.model_copy(update=told), replicates=known.replicates, **told)
    near = await _reworded(bench, reworded)
    prompts = {step.prompt: "the prompt it began with", **near, **_others(case, step, others, near)}
    if len(prompts) < LEAST:
        raise CaseError(f"locality takes {LEAST} different prompts or more, and rewording gave {len(near)}: there are {len(prompts)}")
    batch, stages = _batch(case, step, examples), _stages(step)

    async def draw(prompt: str, number: int) -> Step:
        unlike = 100 * int(sha256(prompt)[:7], 16) + number  # near prompts must not draw by the same seeds
        fresh = {"replicate": unlike, "fresh_from": step.stages[0], "replicate_of": None, "edits": ()}
        own: dict[str, Any] = {"origin": step.id, "prompt": prompt, "batch": batch, "stages": stages, **fresh, **dict.fromkeys(STAGES)}
        return await bench.made(f"{sha256(prompt)} {number}", lambda id: step.model_copy(update={"id": id, **own}))

    arms = await together(draw(prompt, number) for prompt in prompts for number in range(1, replicates + 1))
    said = {stage: [[_said(arm, example, stage) for arm in arms] for example in batch] for stage in get_args(Critiques)}
    apart = await asyncio.to_thread(distances, list(prompts))
    critiques = {stage: _rounded(await asyncio.to_thread(mean_distances, rows)) for stage, rows in said.items()}
    found = Locality(
        step=step.id,
        prompts=tuple(prompts.values()),
        examples=batch,
        replicates=replicates,
        apart=_rounded(apart),
        critiques=critiques,
        **told,
    )
    return bench.record(found, replicates=replicates, **told)


def locality_calls(
    case: "Recording",
    step: Step,
    *,
    by: Critiques = "prompt_critique",
    reworded: int = 4,
    others: int = 4,
    examples: int = 6,
    replicates: int = 2,
    margin: float = 0.05,
) -> Calls:
    """How many calls `gb.probes.locality` makes at most."""
    _check(case, step, by, reworded, others, examples, replicates, margin)
    method, size = case.method_of(step), len(_batch(case, step, examples))
    each = Calls({"predict": size, "output_critique": size * method.critiques, "prompt_critique": size * method.critiques})
    if method.critic and step.variable == "prompt":
        each["evaluate"] = size
    return times(each, replicates * (1 + reworded + len(_others(case, step, others, {})))) + Calls({"rewrite": reworded})


# --- prompts and their critiques -----------------------------------------------------------------------------------------


async def _reworded(bench: Bench, count: int) -> dict[str, str]:
    """The step's first prompt in other words, and that again, as texts with their names; fewer where a model has no others."""
    case, step, found = bench.case, bench.step, dict[str, str]()
    place = step.rewrite[0].index if step.rewrite else 0  # the prompt is reworded in the place of a candidate
    at = step.model_copy(update={"stages": step.stages[: step.stages.index("rewrite") + 1]})
    changes = [edits.replace("candidate", candidate=place, text=step.prompt, why="to be reworded")]
    if not step.rewrite or step.candidate(place) == step.prompt:
        changes = []

    def branch(id: int) -> Step:
        reword = edits.paraphrase("candidate", candidate=place)
        return edits.branch(at, (*changes, reword), id, case.subject(step), case.method_of(step))

    for number in range(1, count + 1 if step.rewrite else 1):
        at, changes = await bench.made(f"reworded {number}", branch), []
        text = next(candidate for candidate in at.rewrite or () if candidate.index == place)
        if text.lost or not text.prompt.strip() or text.prompt in (step.prompt, *found):
            break
        found[text.prompt] = f"that in other words, {number} times over" if number > 1 else "that in other words"
    return found


def _others(case: "Recording", step: Step, count: int, known: dict[str, str]) -> dict[str, str]:
    """Other prompts of the same variable on record, evenly from first to last, as texts with their names."""
    pool: dict[str, str] = {}
    for other in case:
        if other.variable == step.variable and not other.aside:
            pool.setdefault(other.prompt, f"that of step {other.parent or 0}")
            for candidate in other.rewrite or ():
                pool.setdefault(candidate.prompt, f"candidate {candidate.index} of step {other.id}")
    texts = [text for text in pool if text.strip() and text not in (step.prompt, *known)]
    places = sorted({round(at) for at in np.linspace(0, len(texts) - 1, min(count, len(texts)))}) if texts else []
    return {texts[place]: pool[texts[place]] for place in places}


def _batch(case: "Recording", step: Step, count: int) -> tuple[str, ...]:
    more = [] if step.variable == "critic" else [example.id for example in case.task.train if example.id not in step.batch]
    return (*step.batch, *more)[:count]


def _stages(step: Step) -> tuple[Stage, ...]:
    return step.stages[: step.stages.index("prompt_critique") + 1]


def _said(arm: Step, example: str, stage: Critiques) -> str | None:
    """The critiques of an example in one text; None where there is none that says anything."""
    said = [c.text for c in getattr(arm, stage) or () if c.example == example and not c.lost and c.text.strip()]
    return "\n".join(said) or None


def _rounded(table: NDArray[np.float64]) -> Distances:
    return tuple(tuple(round(float(value), 4) if np.isfinite(value) else None for value in row) for row in table)


def _check(case: "Recording", step: Step, by: str, reworded: int, others: int, examples: int, replicates: int, margin: float) -> None:
    """Refuse what cannot be probed before anything is paid."""
    if step.parent is None or not step.done:
        raise CaseError(f"step {step.id} is not done or holds only the seed prompt: probe a step that has run")
    if "prompt_critique" not in step.stages:
        raise CaseError(f"step {step.id} has no critiques, since its update makes none: there is nothing to probe")
    if by not in get_args(Critiques) or not 0 < margin < 1:
        raise CaseError(f"locality is judged by prompt_critique or output_critique, and a margin between 0 and 1; not {by!r}, {margin:g}")
    if not (0 <= reworded <= 9 and 0 <= others <= 10 and examples >= 1 and 2 <= replicates <= 9):
        given = f"reworded={reworded}, others={others}, examples={examples}, replicates={replicates}"
        raise CaseError(f"this probe takes 0 to 9 rewordings, 0 to 10 other prompts, an example or more and 2 to 9 replicates, not {given}")
    there = len(_others(case, step, others, {}))
    if 1 + (reworded if step.rewrite else 0) + there < LEAST:
        raise CaseError(f"locality takes {LEAST} prompts or more; besides the first, on record: {there}; so reword more, or run more steps")
