"""The section map made: a screen by leaving out random subsets, then sections left out one at a time.

What is confirmed answers afresh, so that the luck by which the screen chose a section is not counted again; but the examples are the same,
so a verdict has the share of alpha that each section of the prompt would have, not only the chosen ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np

from gradbook import background, stats
from gradbook.costs import Calls, answers
from gradbook.errors import CaseError
from gradbook.findings.ancestry import ancestry
from gradbook.findings.bench import Bench, finding_id, recorded
from gradbook.findings.section_map import ALPHA, Draw, SectionMap
from gradbook.findings.sections import Spans, sections, without
from gradbook.loop.stages import together
from gradbook.metrics import class_pairs
from gradbook.records import Answer, SplitName, Step
from gradbook.stats.effect import MOST_REPLICATES

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording, Scorable

FEW, FEWEST_RUNS, MOST_RUNS = 3, 16, 5000
"""So few sections are not screened, since each can be confirmed for no more; a screen has so many runs at least, and at most."""
SCREEN = 1000
"""What is added to the number of a run, so that a screen and a confirmation never share a draw."""
Confirm = int | Literal["all"] | Sequence[int]


class _Asked(NamedTuple):
    """What is asked, and what of it is on record."""

    step: Step
    split: SplitName
    what: "Scorable"
    spans: Spans
    cuts: list[int]
    design: tuple[tuple[int, ...], ...]
    confirm: Confirm
    replicates: int
    known: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        return finding_id(SectionMap.kind, self.step, self.split, cuts=self.cuts)

    def prompt(self, gone: Iterable[int]) -> "Scorable":
        return replace(self.what, prompt=without(self.what.prompt, self.spans, set(gone)))


async def aablate(
    case: "Case",
    step: Step | int,
    *,
    cuts: Iterable[int] | None = None,
    split: SplitName | None = None,
    runs: int | None = None,
    confirm: Confirm = 5,
    replicates: int = 5,
    margin: float = 0.05,
) -> SectionMap:
    """Map what each section of the prompt that a step ends with is worth, overall and for each class, and whose words it carries.

    First runs answer a split without random subsets of the sections, which tells what each adds for fewer calls than leaving one out at a
    time; then sections are left out alone, and get a verdict from draws of both prompts.

    Args:
        step: the step, or its id.
        cuts: where sections begin, in characters; by default as `gb.sections` takes the prompt apart. `gb.recut` moves them.
        split: where it is scored; by default one that no selection has looked at.
        runs: of the screen; by default two a section and two more, 16 or more, and none for up to 3 sections. 0 screens none; more than by
            default come in whole multiples of that.
        confirm: so many sections at most, those with the greatest worth in the screen of at least `margin` or with p ≤ 0.05; or "all"; or
            the numbers of sections, from 0. Without a screen all are confirmed.
        replicates: draws of the whole prompt and of each without a section, 2 to 100.
        margin: the difference, a share, that is said to matter, before it is looked at.

    Raises:
        CaseError: the prompt is one section, a parameter is out of range, or nothing is on record and there is no model.
        ModelError: a call failed; what had finished is kept, and asking again goes on from there.
    """
    asked = _asked(case, step, cuts, split, runs, confirm, replicates, margin)
    bench = Bench(case, SectionMap.kind, asked.step, asked.split, cuts=asked.cuts)
    known = recorded(bench, SectionMap)
    return await background.here(_ablate(bench, asked, margin)) if known is None else known


def ablate_calls(
    case: "Recording",
    step: Step | int,
    *,
    cuts: Iterable[int] | None = None,
    split: SplitName | None = None,
    runs: int | None = None,
    confirm: Confirm = 5,
    replicates: int = 5,
    margin: float = 0.05,
) -> Calls:
    """How many calls `Case.ablate` makes at most, with the same arguments; what is on record already is not counted."""
    asked = _asked(case, step, cuts, split, runs, confirm, replicates, margin)
    few = isinstance(confirm, int) and bool(asked.design)
    alone = set(range(len(asked.spans))) if few else set(_chosen(asked, None))
    model = case._preferred.get(asked.step.variable) or (case.shown_model(asked.step.variable) or {"id": ""})["id"]

    def lacking(gone: Iterable[int], numbers: Iterable[int]) -> int:
        what = asked.prompt(gone)
        return sum(what.question(asked.split, number, model, case.task) not in case._state.scores for number in numbers)

    drawn = range(1, asked.replicates + 1)
    each = sorted((lacking((number,), drawn) for number in alone - set(asked.known)), reverse=True)
    left = [lacking((number,), drawn) for number in asked.known] + each[: cast(int, confirm) if few else None]
    screen = sum(lacking(gone, [SCREEN + run]) for run, gone in enumerate(asked.design, 1))
    return answers(case, asked.split, screen + sum(left) + (lacking((), drawn) if left else 0))


def _asked(
    case: "Recording",
    step: Step | int,
    cuts: Iterable[int] | None,
    split: SplitName | None,
    runs: int | None = None,
    confirm: Confirm = 5,
    replicates: int = 5,
    margin: float = 0.05,
) -> _Asked:
    step, split = case[step], split or case.default_split(case[step])
    if not step.done:
        raise CaseError(f"step {step.id} is not done; run its stages first")
    if len(case.task.split(split)) < 2:
        raise CaseError(f"a section map takes a split of two examples or more, and {split} has one")
    what = case.scorable(step, split)
    spans = sections(what.prompt, cuts)
    count = len(spans)
    if count < 2:
        raise CaseError(f"the prompt of step {step.id} is one section, so there is nothing to take apart; cuts= cuts it where you say")
    if not (2 <= replicates <= MOST_REPLICATES and 0 < margin < 1):
        raise CaseError(f"a map takes 2 to {MOST_REPLICATES} replicates and a margin between 0 and 1, not {replicates} and {margin:g}")
    usual = max(FEWEST_RUNS, 2 * count + 2)
    wanted = (usual if count > FEW else 0) if runs is None else runs
    if wanted and not count + 2 <= wanted <= MOST_RUNS:
        raise CaseError(f"to screen {count} sections takes {count + 2} to {MOST_RUNS} runs, or 0 for no screen, not {wanted}")
    confirm = confirm if isinstance(confirm, int | str) else tuple(map(int, confirm))
    fits = confirm >= 0 if isinstance(confirm, int) else confirm == "all" or all(n in range(count) for n in confirm)
    if not fits:
        raise CaseError(f"confirm= is how many sections at most, 'all', or numbers of sections from 0 to {count - 1}, not {confirm!r}")
    asked = _Asked(step, split, what, spans, [start for start, _ in spans[1:]], (), confirm, replicates)
    if asked.id in case.found:  # what is on record is part of what is asked, so that asking for less loses nothing
        known = cast(SectionMap, case.finding(asked.id))
        wanted, replicates = max(wanted, len(known.removed)), max(replicates, len(known.full))
        asked = asked._replace(replicates=replicates, known=known.confirmed)
    return asked._replace(design=_design(count, wanted, usual))


def _design(count: int, runs: int, usual: int) -> tuple[tuple[int, ...], ...]:
    """The sections that each run leaves out; further runs go on from the first ones."""
    blocks = [stats.removals(count, min(runs, usual), seed=seed) for seed in range(-(-runs // usual))]
    return tuple(tuple(map(int, np.flatnonzero(row))) for block in blocks for row in block)


def _chosen(asked: _Asked, found: SectionMap | None) -> list[int]:
    """The sections to confirm; `found` has the screen, where there is one."""
    if asked.confirm == "all" or (isinstance(asked.confirm, int) and found is None):
        return list(range(len(asked.spans)))
    if not isinstance(asked.confirm, int):
        return sorted({*map(int, asked.confirm), *asked.known})
    assert found is not None
    worths = {n: w for n, w in found.worths(None, len(asked.spans)).items() if abs(w.value) >= found.margin or w.p <= ALPHA}
    return sorted({*sorted(worths, key=lambda n: -abs(worths[n].value))[: asked.confirm], *asked.known})


async def _ablate(bench: Bench, asked: _Asked, margin: float) -> SectionMap:
    case, step, split = bench.case, asked.step, asked.split
    labels: dict[str, int] = {label: place for place, label in enumerate(case.task.labels)} if step.variable == "prompt" else {}

    async def draw(gone: Iterable[int], number: int) -> tuple[Answer, ...]:
        return await bench.answers(asked.prompt(gone), split, number)

    async def drawn(gone: Iterable[int]) -> tuple[Draw, ...]:
        numbers = range(1, asked.replicates + 1)
        return tuple(map(read, await together(draw(gone, number) for number in numbers)))

    def read(answered: tuple[Answer, ...]) -> Draw:
        pairs = [pair for answer in answered for pair in class_pairs(answer, case.task)]
        right = tuple(int(answer.correct) for answer in answered)
        hits = tuple(int(true == said) for true, said in pairs)
        return Draw(right=right, items=() if hits == right else hits)

    screened = await together(draw(gone, SCREEN + run) for run, gone in enumerate(asked.design, 1))
    one = screened[0] if screened else await draw((), 1)
    items = [(at, pair[0]) for at, answer in enumerate(one) for pair in class_pairs(answer, case.task)]
    for _, label in items:
        labels.setdefault(label, len(labels))
    classes = [label for label in labels if any(label == true for _, true in items)]
    found = SectionMap(
        step=step.id,
        split=split,
        margin=margin,
        prompt=asked.what.prompt,
        cuts=tuple(asked.cuts),
        removed=asked.design,
        screened=tuple(map(read, screened)),
        classes=tuple(classes),
        items=tuple((at, classes.index(label)) for at, label in items),
        origins=ancestry(case, step, asked.spans),
        chosen_here=split == "validation" and case.chosen_on_validation(step),
        finest=len(sections(asked.what.prompt, most=len(asked.what.prompt))),
    )
    if chosen := _chosen(asked, found if screened else None):
        full, *alone = await together(map(drawn, [(), *((number,) for number in chosen)]))
        found = found.model_copy(update={"full": full, "confirmed": tuple(chosen), "without": tuple(alone)})
    return bench.record(found, runs=len(asked.design), confirm=asked.confirm, replicates=asked.replicates, margin=margin)
