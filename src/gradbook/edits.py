"""Perturbations: one change to a step. `Case.perturb` makes a branch of it, and only what depends on the change runs again.

Each is a typed record with a `kind`; the runner executes it as part of its stage. To add one: a record in `records.py`, a function
here that makes it, and a case in `_apply`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gradbook.errors import EditError
from gradbook.loop.critic import CriticTask
from gradbook.loop.method import Method
from gradbook.loop.stages import Context, Subject, evaluation_text
from gradbook.loop.table import EDIT_STAGE
from gradbook.records import STAGES, Double, Drop, Edit, EditField, Evaluation, Prediction, Replace, Selection, Stage, Step
from gradbook.tasks import Task

_OF_EXAMPLE: tuple[EditField, ...] = ("prediction", "evaluation", "output_critique", "prompt_critique")
_CRITIQUES: tuple[EditField, ...] = ("output_critique", "prompt_critique")
_HEARD = {"call": None, "lost": None, "why": ""}  # no call stands behind what a person wrote, and it is not lost


def replace(
    field: EditField, *, text: str, example: int | str | None = None, candidate: int | None = None, index: int = 0, why: str = ""
) -> Replace:
    """Put other words in the place of what a stage gave.

    Args:
        field: "prediction" (an output), "label" (as the feedback shows it), "evaluation", "output_critique",
            "prompt_critique", "candidate" (a rewritten prompt) or "selection" (a candidate's index, "-1" for the old prompt).
        text: what is to stand there.
        example: whose, for all but the last two: the position in the batch from 0, or the example's id.
        candidate: whose, for "candidate": its index from 0.
        index: which critique, where an example has several.
        why: the reason, kept with the edit.

    Raises:
        EditError: the field is unknown, or it needs `example` or `candidate` and has none.
    """
    if field not in EDIT_STAGE:
        raise EditError(f"{field!r} cannot be edited; there are {', '.join(EDIT_STAGE)}")
    if field == "candidate" and candidate is None:
        raise EditError("an edit of a candidate needs candidate=, its index from 0")
    if field not in ("candidate", "selection") and example is None:
        raise EditError(f"an edit of {_a(field)} needs example=, its position in the batch from 0 or its id")
    return Replace(field=field, example=example, candidate=candidate, index=index, text=text, why=why)


def drop(field: EditField, *, example: int | str, index: int = 0, why: str = "") -> Drop:
    """Leave out what a stage gave for an example, and with it all that would have been made of it.

    Args:
        field: "prediction", "evaluation", "output_critique" or "prompt_critique".
        example, index, why: as in `replace`.

    Raises:
        EditError: another field.
    """
    if field not in _OF_EXAMPLE:
        raise EditError(f"{field!r} cannot be dropped; there are {', '.join(_OF_EXAMPLE)}")
    return Drop(field=field, example=example, index=index, why=why)


def double(field: EditField, *, example: int | str, times: int = 2, index: int = 0, why: str = "") -> Double:
    """Say a critique several times in place of once.

    Args:
        field: "output_critique" or "prompt_critique".
        times: how often it stands there afterwards, 2 to 20.
        example, index, why: as in `replace`.

    Raises:
        EditError: another field, or `times` is out of range.
    """
    if field not in _CRITIQUES:
        raise EditError(f"{field!r} cannot be doubled; there are {', '.join(_CRITIQUES)}")
    if not 2 <= times <= 20:
        raise EditError(f"times must be 2 to 20, not {times}")
    return Double(field=field, example=example, index=index, times=times, why=why)


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
    made, records = [], getattr(step, stage)
    for change in changes:
        change = _resolved(change, step, records)
        records = _apply(records, change, step, task, method)
        made.append(change)
    return step.model_copy(update={"id": new_id, "origin": step.id, "replicate_of": None, "edits": tuple(made), **_kept(step, stage)})


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
    """What a stage gave, with the step's edits of it made in their order."""
    for edit in step.edits:
        if EDIT_STAGE[edit.field] == stage:
            records = _apply(records, edit, step, context.task, context.method)
    return records


def _kept(step: Step, stage: Stage) -> dict[str, Any]:
    """The records of the stages before `stage`; None for it and those after it."""
    return {each: getattr(step, each) if STAGES.index(each) < STAGES.index(stage) else None for each in STAGES}


def _resolved(edit: Edit, step: Step, records: Any) -> Edit:
    """The edit with the example's id in place of its position, what stood there, and when it was made."""
    found: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds")}
    if isinstance(edit.example, int):
        if not 0 <= edit.example < len(step.batch):
            raise EditError(
                f"step {step.id} has {len(step.batch)} examples, 0 to {len(step.batch) - 1}; there is no example {edit.example}"
            )
        found["example"] = step.batch[edit.example]
    edit = edit.model_copy(update=found)
    if edit.field != "selection" and not any(_names(record, edit) for record in records):
        place = edit.candidate if edit.field == "candidate" else edit.example
        raise EditError(f"step {step.id} has no {_words(edit.field)} for {place!r} at index {edit.index}")
    if not isinstance(edit, Replace):
        return edit
    before = text_at(records, edit)
    if edit.text == before:
        chosen = f"candidate {before} is the one that was chosen"
        raise EditError(f"{chosen if edit.field == 'selection' else f'the {_words(edit.field)} already reads so'}: nothing was changed")
    return edit.model_copy(update={"before": before})


def text_at(records: Any, edit: Edit) -> str | None:
    """What stands at the place that an edit names; None where there is nothing."""
    if edit.field == "selection":
        return str(records.chosen)
    attribute = {"prediction": "output", "label": "label", "candidate": "prompt"}.get(edit.field, "text")
    return next((getattr(record, attribute) or "" for record in records or () if _names(record, edit)), None)


def superseded(edit: Edit, step: Step) -> bool:
    """Whether what an edit made does not stand any more in a step further on."""
    records = getattr(step, EDIT_STAGE[edit.field])
    if records is None:
        return False
    if isinstance(edit, Replace):
        return text_at(records, edit) != edit.text
    return (text_at(records, edit) is None) == isinstance(edit, Double)


def _names(record: Any, edit: Edit) -> bool:
    """Whether an edit is of this record."""
    if edit.field == "candidate":
        return record.index == edit.candidate
    return record.example == edit.example and getattr(record, "index", 0) == edit.index


def _apply(records: Any, edit: Edit, step: Step, task: Subject, method: Method) -> Any:
    """The records of one stage with one edit made."""
    if edit.field == "selection":
        return _select(records, edit, step)
    changed: list[Any] = []
    for record in records:
        if not _names(record, edit):
            changed.append(record)
        elif isinstance(edit, Replace):
            changed.append(_replaced(record, edit, step, task, method))
        elif isinstance(edit, Double):
            free = 1 + max(other.index for other in records if other.example == edit.example)
            changed += [record, *(record.model_copy(update={"index": free + n}) for n in range(edit.times - 1))]
    return tuple(changed)


def _replaced(record: Any, edit: Replace, step: Step, task: Subject, method: Method) -> Any:
    by_critic = method.critic and step.variable == "prompt"
    match edit.field:
        case "prediction":
            return _predicted(record, edit.text, task)
        case "label":
            if by_critic:
                raise EditError("the critic sees no label, so there is none to swap: edit its evaluation, or a label in its own step")
            return _labelled(record, edit.text, step, task, method)
        case "evaluation" if by_critic and isinstance(task, Task):
            return CriticTask(task, method, {}).reread(record, edit.text)
        case "candidate":
            return record.model_copy(update=_HEARD | {"prompt": edit.text})
        case _:
            return record.model_copy(update=_HEARD | {"text": edit.text})


def _predicted(record: Prediction, output: str, task: Subject) -> Prediction:
    answer = task.parse(output)
    right = task.correct(answer, task.example(record.example).target)
    return record.model_copy(update=_HEARD | {"output": output, "answer": answer, "correct": right, "length": len(output)})


def _labelled(record: Evaluation, label: str, step: Step, task: Subject, method: Method) -> Evaluation:
    if label and task.labels and task.classes(label) == ():
        raise EditError(f"{label!r} is not a label of {task.name}; there are {', '.join(task.labels)}")
    prediction = next(p for p in step.predict or () if p.example == record.example)
    text = evaluation_text(method, step.variable, prediction, label or None, task.correct(prediction.answer, label))
    return record.model_copy(update=_HEARD | {"label": label or None, "text": text})


def _select(selection: Selection, edit: Edit, step: Step) -> Selection:
    indices = {"-1"} | {str(candidate.index) for candidate in step.rewrite or () if not candidate.lost}
    if not isinstance(edit, Replace) or edit.text not in indices:
        said = edit.text if isinstance(edit, Replace) else edit.kind
        raise EditError(f"a selection is one of {', '.join(sorted(indices))} (-1 is the old prompt), not {said!r}")
    by_hand = int(edit.text)
    return selection.model_copy(update={"chosen": by_hand, "kept": (by_hand,) if selection.kept else (), "reason": "chosen by hand"})


def _words(field: str) -> str:
    return field.replace("_", " ")


def _a(field: str) -> str:
    return f"{'an' if field[0] in 'aeo' else 'a'} {_words(field)}"
