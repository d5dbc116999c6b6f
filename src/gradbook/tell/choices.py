"""The rewrite and the selection: what there was to choose from, what each prompt was made from, how it scored, what was chosen."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gradbook.records import Acceptance, Candidate, Selection, Step, sha256
from gradbook.tell.names import Changes
from gradbook.tell.views import ChoicesView, ChoiceView, Mark, Place, RecordView
from gradbook.tell.words import NOTHING, candidate_name, difference, of_steps, ranges

if TYPE_CHECKING:
    from gradbook.recording import Recording

MANY = 6
"""Of more candidates, only those that were chosen, kept or edited are worth seeing at once."""
SELECTION = Place("selection")


def choices(rec: "Recording", step: Step, changes: Changes, records: Sequence[RecordView]) -> ChoicesView | None:
    """What a step could choose from, as far as it has run; `records` are those of its candidates."""
    if step.rewrite is None:
        return None
    columns, select = _columns(rec, step), step.select
    scores = tuple(_shown(column, -1) for column in columns.values())
    seen = select is None or bool(select.scores) or select.chosen < 0
    old = ChoiceView(-1, candidate_name(-1), None, "", "", scores, _marks(rec, step, -1), seen, True, "")
    rows = (old, *(_row(rec, step, *each, columns) for each in zip(step.rewrite, records, strict=True)))
    change = changes.get(SELECTION)
    reason = "" if select is None else f"Chosen: {candidate_name(select.chosen)}, {select.reason}.{_accepted(step, select)}"
    chosen = None if select is None else select.chosen
    return ChoicesView(tuple(columns), rows, chosen, reason, change, SELECTION if select else None, _kept(rec, step))


def candidate_records(rec: "Recording", step: Step, changes: Changes) -> tuple[RecordView, ...]:
    """The candidates, each with its differences from the old prompt."""
    return tuple(_record(rec, step, candidate, changes) for candidate in step.rewrite or ())


def _row(rec: "Recording", step: Step, made: Candidate, record: RecordView, columns: dict[str, dict[int, float]]) -> ChoiceView:
    select, index = step.select, made.index
    scores = tuple(_shown(column, index) for column in columns.values())
    stands_out = index < MANY if select is None else index in (select.chosen, *select.kept) or record.change is not None
    shown = len(step.rewrite or ()) <= MANY or stands_out
    told = (_made_from(rec, step, made), _same_as(step, made), scores, _marks(rec, step, index), shown)
    return ChoiceView(index, candidate_name(index), record, *told, not made.lost, "its reply was lost" if made.lost else "")


def _record(rec: "Recording", step: Step, made: Candidate, changes: Changes) -> RecordView:
    place = Place("candidate", candidate=made.index)
    same = made.lost is not None or made.prompt == step.prompt
    origin = None if step.origin is None else rec[step.origin].rewrite or ()
    kept = origin is not None and made in origin
    return RecordView(
        key=f"candidate-{made.index}",
        stage="rewrite",
        title=candidate_name(made.index).capitalize(),
        text=made.prompt,
        words=() if same else difference(step.prompt, made.prompt),
        against="" if same else "the old prompt",
        empty="",
        marks=(),
        example=None,
        position=None,
        lost=lost(made.lost, made.why) if not made.prompt else "",
        change=changes.get(place),
        place=place,
        options=(),
        kept=kept,
        changed=origin is not None and not kept,
    )


def lost(kind: str | None, why: str) -> str:
    """Why there is nothing to read, in words."""
    return f"{kind.capitalize()}{f': {why}' if why else ''}." if kind else ""


def _made_from(rec: "Recording", step: Step, made: Candidate) -> str:
    if made.paraphrase_of is not None:
        return f"candidate {made.paraphrase_of} in other words"
    if made.example is None:
        return ""
    number = f" {made.critique + 1}" if rec.method_of(step).critiques > 1 else ""
    return f"prompt critique{number} of {made.example}"


def _same_as(step: Step, made: Candidate) -> str:
    if made.lost:
        return ""
    if made.prompt == step.prompt:
        return candidate_name(-1)
    twin = next(other.index for other in step.rewrite or () if other.prompt == made.prompt)
    return "" if twin == made.index else candidate_name(twin)


def _columns(rec: "Recording", step: Step) -> dict[str, dict[int, float]]:
    """The columns of scores: as the selection counted them, and where that was by wrong labels, by the true ones as well."""
    if step.select is None or not step.select.scores:
        return {}
    counted = {int(index): value for index, value in step.select.scores.items()}
    name = "Agreement on validation" if step.variable == "critic" else "Validation"
    if step.select.labels == "correct":
        return {name: counted}
    return {f"{name}, as wrong labels count it": counted, f"{name}, by the true labels": _by_true_labels(rec, step)}


def _by_true_labels(rec: "Recording", step: Step) -> dict[int, float]:
    asked = rec.question(step, "validation", step.draw("select"))
    prompts = {-1: step.prompt} | {candidate.index: candidate.prompt for candidate in step.rewrite or () if not candidate.lost}
    found = {}
    for index, prompt in prompts.items():
        with suppress(KeyError):  # it is not on record
            found[index] = rec.metrics_on(asked.model_copy(update={"prompt": sha256(prompt)})).accuracy.value
    return found


def _shown(column: dict[int, float], index: int) -> str:
    return f"{column[index]:.1%}" if index in column else NOTHING


def _marks(rec: "Recording", step: Step, index: int) -> tuple[Mark, ...]:
    select = step.select
    if select is None:
        return ()
    marks = [Mark("✓ chosen", True)] if select.chosen == index else []
    if index in select.kept and len(select.kept) > 1:
        marks.append(Mark(f"▹ kept, {select.kept.index(index) + 1} of {len(select.kept)}"))
    if index in select.kept and (on := _went_on(rec, step, select, index)):
        marks.append(Mark(f"→ step {ranges(on)}"))
    return tuple(marks)


def _went_on(rec: "Recording", step: Step, select: Selection, index: int) -> list[int]:
    """The steps that go on from a member of a beam."""
    prompt = step.candidate(index)
    return [other.id for other in rec if other.parent == step.id and other.origin is None and other.prompt == prompt]


def _accepted(step: Step, select: Selection) -> str:
    """What GEPA's acceptance went by, example by example, and where its run goes on."""
    found = select.acceptance
    return "" if found is None else _turned(step, found) + _drawn(step, found)


def _turned(step: Step, found: Acceptance) -> str:
    at = {name: position for position, name in enumerate(step.batch)}
    pairs = list(zip(step.predict or (), found.answers, strict=False))
    fixed = sorted({at[old.example] for old, new in pairs if new.correct and not old.correct})
    broken = sorted({at[old.example] for old, new in pairs if old.correct and not new.correct})
    turned = [f"puts {_examples(fixed)} of the batch right"] * bool(fixed) + [f"breaks {_examples(broken)}"] * bool(broken)
    return f" The candidate {' and '.join(turned)}." if turned else ""


def _examples(positions: list[int]) -> str:
    return f"example{'s' * (len(positions) > 1)} {ranges(positions)}"


def _drawn(step: Step, found: Acceptance) -> str:
    if found.next_from is None:
        return ""
    which = "this prompt" if found.next_from == step.id else f"what step {found.next_from} ended with"
    return f" The next step begins with {which}, drawn from the Pareto front of {of_steps(list(found.front))}."


def _kept(rec: "Recording", step: Step) -> bool:
    return step.origin is not None and all(getattr(step, s) == getattr(rec[step.origin], s) for s in ("rewrite", "select"))
