"""How perturbations run: the branch that they make, and what each does to the records of its stage."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

from gradbook.edits.words import cut, filler, sentences, with_strength
from gradbook.engines import evaluation_text
from gradbook.errors import EditError
from gradbook.loop.critic import CriticTask
from gradbook.loop.method import Method
from gradbook.loop.stages import Context, Subject, heard_as, listen
from gradbook.loop.table import EDIT_STAGE, STAGE_INFO
from gradbook.loop.templates import fill
from gradbook.records import (
    STAGES,
    Cut,
    Double,
    Drop,
    Edit,
    Evaluation,
    Relabel,
    Replace,
    Reword,
    Selection,
    Shuffle,
    Stage,
    Step,
    Swap,
)
from gradbook.replies import unwrap
from gradbook.tasks import Task

# no call stands behind what a person wrote, it is not lost, and it is not what was brought any more
_HEARD: Mapping[str, Any] = {"call": None, "lost": None, "why": "", "brought": None}
_TEXT = {"prediction": "output", "label": "label", "candidate": "prompt"}


def branch(step: Step, changes: Sequence[Edit], new_id: int, task: Subject, method: Method) -> Step:
    """A second child of the step's parent: what came before the changes as it was, the changes and all after them still to run.

    `task` is what the step's prompt is for, `method` what the step follows.

    Raises:
        EditError: a change names nothing in the step, changes nothing, or the changes are at different stages.
    """
    stages = {EDIT_STAGE[change.field] for change in changes}
    if len(stages) != 1:
        raise EditError(f"one branch changes one stage, but the edits are at {', '.join(sorted(stages)) or 'none'}")
    stage = stages.pop()
    if step.parent is None:
        raise EditError("the root holds only the seed prompt; edit a step that has run")
    if stage not in step.stages:
        raise EditError(f"step {step.id} has no stage {stage}; it has {', '.join(step.stages)}")
    if getattr(step, stage) is None:
        raise EditError(f"step {step.id} has not run {stage} yet, so there is nothing to edit there")
    made, _ = _in_order(changes, step, getattr(step, stage), task, method)
    own = {"replicate_of": None, "finding": None, "arm": "", "edits": made}
    return step.model_copy(update={"id": new_id, "origin": step.id, **own, **_kept(step, stage)})


def preview(step: Step, changes: Sequence[Edit], task: Subject, method: Method) -> str | None:
    """What edits of one stage, made in their order, would leave at the place of the last; None where a model will write it, or nothing will
    stand there.

    Raises:
        EditError: as in `branch`.
    """
    made, records = _in_order(changes, step, getattr(step, EDIT_STAGE[changes[-1].field]), task, method)
    asked = any(isinstance(one, Reword) and place_of(one) == place_of(made[-1]) for one in made)
    return None if asked else text_at(records, made[-1])


def _in_order(changes: Sequence[Edit], step: Step, records: Any, task: Subject, method: Method) -> tuple[tuple[Edit, ...], Any]:
    """Edits of one stage, each resolved where those before it were made, and the records as far as no model is needed to make them."""
    made: list[Edit] = []
    for change in changes:
        change = _resolved(change, step, records)
        if isinstance(change, Cut) and any(isinstance(one, Reword) and place_of(one) == place_of(change) for one in made):
            raise EditError("no sentence can be cut from words that a model is yet to write: cut it in a branch of that one")
        if not isinstance(change, Reword):
            changed = _apply(records, change, step, task, method)
            if not isinstance(change, Replace) and _said(changed, change) == _said(records, change):
                raise EditError(f"{change.kind} changes nothing in step {step.id}: the same would stand there")
            records = changed
        made.append(change)
    return tuple(made), records


def replicate(step: Step, fresh_from: Stage, number: int, new_id: int) -> Step:
    """The step once more, with fresh draws of `fresh_from` and all after it, and no other change; `number` counts from 1.

    Raises:
        EditError: the step is the root, has no such stage or has not run what comes before it, or the number is below 1.
    """
    if number < 1:
        raise EditError(f"replicate must be 1 or more, not {number}: 0 is the run itself")
    if fresh_from not in step.stages:
        raise EditError(f"step {step.id} has no stage {fresh_from!r}; it has {', '.join(step.stages) or 'none'}")
    kept = _kept(step, fresh_from)
    if any(kept[stage] is None for stage in step.stages[: step.stages.index(fresh_from)]):
        raise EditError(f"step {step.id} has not run all that comes before {fresh_from}, so it cannot be repeated from there")
    fresh = {"replicate": number, "fresh_from": fresh_from, "replicate_of": step.id}
    return step.model_copy(update={"id": new_id, "origin": step.id, **fresh, **kept})


async def execute(records: Any, step: Step, stage: Stage, context: Context) -> Any:
    """What a stage gave, with the step's edits of it made in their order; one that asks a model does so as the stage would."""
    for number, edit in enumerate(step.edits, start=1):
        if EDIT_STAGE[edit.field] != stage:
            continue
        if isinstance(edit, Reword):
            records = await _reworded(records, edit, number, step, stage, context)
        else:
            records = _apply(records, edit, step, context.task, context.method)
    return records


def place_of(edit: Edit) -> tuple[Any, ...]:
    """What tells the texts apart that edits may change: field, example, candidate and index."""
    return edit.field, edit.example, edit.candidate, edit.index


def text_at(records: Any, edit: Edit) -> str | None:
    """What stands at the place that an edit names; None where there is nothing."""
    if edit.field == "selection":
        return None if records is None else str(records.chosen)
    return next((_text(record, edit) for record in records or () if _names(record, edit)), None)


def superseded(edit: Edit, step: Step, made: Step) -> bool:
    """Whether what an edit made in the step `made` does not stand any more in `step`."""
    before, after = getattr(made, EDIT_STAGE[edit.field]), getattr(step, EDIT_STAGE[edit.field])
    if before is None or after is None:
        return False
    if isinstance(edit, Replace):
        return text_at(after, edit) != edit.text
    if isinstance(edit, Shuffle):
        return [(record.example, record.index) for record in before] != [(record.example, record.index) for record in after]
    places = [edit, edit.model_copy(update={"example": edit.other})] if isinstance(edit, Swap) else [edit]
    return any(text_at(before, place) != text_at(after, place) for place in places)


def _kept(step: Step, stage: Stage) -> dict[str, Any]:
    """The records of the stages before `stage`; None for it and those after it."""
    return {each: getattr(step, each) if STAGES.index(each) < STAGES.index(stage) else None for each in STAGES}


def _resolved(edit: Edit, step: Step, records: Any) -> Edit:
    """The edit with ids of examples in place of their positions, what stood there, and when it was made."""
    found: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "example": _id(step, edit.example)}
    if isinstance(edit, Swap | Relabel):
        found["other"] = _id(step, edit.other)
    edit = edit.model_copy(update=found)
    if isinstance(edit, Relabel) and edit.to == "other" and edit.other not in step.batch:
        raise EditError(f"step {step.id} has no example {edit.other!r}; its batch is {', '.join(step.batch)}")
    if isinstance(edit, Shuffle):
        return edit
    for place in [edit, edit.model_copy(update={"example": edit.other})] if isinstance(edit, Swap) else [edit]:
        if edit.field != "selection" and not any(_names(record, place) for record in records):
            whose = place.candidate if edit.field == "candidate" else place.example
            raise EditError(f"step {step.id} has no {_words(edit.field)} for {whose!r} at index {edit.index}")
    before = text_at(records, edit)
    if isinstance(edit, Reword) and not before:
        raise EditError(f"the {_words(edit.field)} is empty, so there is nothing to say in other words")
    if not isinstance(edit, Replace):
        return edit
    if edit.text == before:
        chosen = f"candidate {before} is the one that was chosen"
        raise EditError(f"{chosen if edit.field == 'selection' else f'the {_words(edit.field)} already reads so'}: nothing was changed")
    return edit.model_copy(update={"before": before})


def _id(step: Step, example: int | str | None) -> str | None:
    if not isinstance(example, int):
        return example
    if not 0 <= example < len(step.batch):
        raise EditError(f"step {step.id} has {len(step.batch)} examples, 0 to {len(step.batch) - 1}; there is no example {example}")
    return step.batch[example]


def _names(record: Any, edit: Edit) -> bool:
    """Whether an edit is of this record."""
    if edit.field == "candidate":
        return bool(record.index == edit.candidate)
    return bool(record.example == edit.example and getattr(record, "index", 0) == edit.index)


def _text(record: Any, edit: Edit) -> str:
    return getattr(record, _TEXT.get(edit.field, "text")) or ""


def _said(records: Any, edit: Edit) -> list[tuple[Any, ...]]:
    """What stands in a stage, in its order, as edits of this field see it."""
    return [(getattr(record, "example", None), record.index if hasattr(record, "index") else 0, _text(record, edit)) for record in records]


def _apply(records: Any, edit: Edit, step: Step, task: Subject, method: Method) -> Any:
    """The records of one stage with one edit made."""
    if edit.field == "selection":
        return _select(records, edit, step)
    match edit:
        case Shuffle():
            return tuple(Random(edit.seed).sample(records, len(records)))
        case Drop():
            return tuple(record for record in records if not _names(record, edit))
        case Double():
            free = 1 + max((other.index for other in records if other.example == edit.example), default=0)
            again = [
                record.model_copy(update={"index": free + n}) for record in records if _names(record, edit) for n in range(edit.times - 1)
            ]
            after = next((n for n, record in enumerate(records, start=1) if _names(record, edit)), 0)
            return (*records[:after], *again, *records[after:])
        case Swap():
            there = edit.model_copy(update={"example": edit.other})
            new: list[tuple[Edit, str | None]] = [(edit, text_at(records, there)), (there, text_at(records, edit))]
        case _:
            new = [(edit, _new_text(edit, text_at(records, edit), task))]
    for place, text in new:
        written = [
            _written(record, place, text, step, task, method) if text is not None and _names(record, place) else record
            for record in records
        ]
        records = tuple(written)
    return records


def _new_text(edit: Any, text: str | None, task: Subject) -> str | None:
    """What an edit of one text puts in its place; None where there is none."""
    if text is None and edit.kind != "relabel":
        return None
    match edit.kind:
        case "replace" | "take":
            return str(edit.text)
        case "relabel" if edit.to == "none":
            return ""
        case "relabel":
            return task.wrong_label(task.example(edit.example)) if edit.to == "wrong" else task.example(edit.other).target
        case "cut":
            if edit.sentence >= (count := len(sentences(text or ""))):
                raise EditError(f"the {_words(edit.field)} has {count} sentences, counted from 0; there is none {edit.sentence}")
            return cut(text or "", edit.sentence, edit.keep)
        case "blank":
            return filler(text or "") if edit.filler else ""
        case _:
            return with_strength(text or "", edit.strength, edit.field.split("_")[0])


async def _reworded(records: Any, edit: Reword, number: int, step: Step, stage: Stage, context: Context) -> Any:
    """The records with one text as a model rewords it; where its reply is lost, so is the text."""
    text = text_at(records, edit)
    if not text:
        return records
    asked = fill(getattr(context.method.templates, edit.how), prompt=text)
    # not the index of a call that the stage itself makes for this example
    index = 1000 * number + edit.index
    role = STAGE_INFO[stage].roles[-1]
    call = await context.ask(role, stage, [{"role": "user", "content": asked}], example=str(edit.example or ""), index=index)
    heard = listen(call)
    new = "" if heard.lost else unwrap(heard.text, quoted=True)
    written = (
        _written(record, edit, new, step, context.task, context.method, {**_HEARD, **heard_as(call, heard)})
        if _names(record, edit)
        else record
        for record in records
    )
    return tuple(written)


def _written(record: Any, edit: Edit, text: str, step: Step, task: Subject, method: Method, heard: Mapping[str, Any] = _HEARD) -> Any:
    """A record with another text, and with what is read from it."""
    by_critic = method.critic and step.variable == "prompt"
    match edit.field:
        case "prediction":
            answer = task.parse(text)
            right = task.correct(answer, record.target or task.example(record.example).target)
            return record.model_copy(update={**heard, "output": text, "answer": answer, "correct": right, "length": len(text)})
        case "label":
            if by_critic:
                raise EditError("the critic sees no label, so there is none to swap: edit its evaluation, or a label in its own step")
            return _labelled(record, text, step, task, method)
        case "evaluation" if by_critic and isinstance(task, Task):
            return CriticTask(task, method, {}).reread(record, text).model_copy(update=heard)
        case "candidate":
            return record.model_copy(update={**heard, "prompt": text})
        case _:
            return record.model_copy(update={**heard, "text": text})


def _labelled(record: Evaluation, label: str, step: Step, task: Subject, method: Method) -> Evaluation:
    if label and task.labels and task.classes(label) == ():
        raise EditError(f"{label!r} is not a label of {task.name}; there are {', '.join(task.labels[:20])}{' …' * (len(task.labels) > 20)}")
    prediction = next(p for p in step.predict or () if p.example == record.example)
    text = evaluation_text(method, step.variable, prediction, label or None, task.correct(prediction.answer, label))
    return record.model_copy(update={**_HEARD, "label": label or None, "text": text})


def _select(selection: Selection, edit: Edit, step: Step) -> Selection:
    indices = {"-1"} | {str(candidate.index) for candidate in step.rewrite or () if not candidate.lost}
    if not isinstance(edit, Replace) or edit.text not in indices:
        said = edit.text if isinstance(edit, Replace) else edit.kind
        raise EditError(f"a selection is one of {', '.join(sorted(indices))} (-1 is the old prompt), not {said!r}")
    by_hand, found = int(edit.text), selection.acceptance
    # the next step begins with what a person has chosen, whatever the front would have drawn
    found = found and found.model_copy(update={"front": (), "next_from": None})
    kept = (by_hand,) if selection.kept else ()
    return selection.model_copy(update={"chosen": by_hand, "kept": kept, "acceptance": found, "reason": "chosen by hand"})


def _words(field: str) -> str:
    return field.replace("_", " ")
