"""Edits: one change to a step. `Case.perturb` makes a branch of it, and only what depends on the change runs again."""

from typing import Any

from gradbook.errors import EditError
from gradbook.loop.critic import CriticTask
from gradbook.loop.method import Method
from gradbook.loop.stages import Subject, evaluation_text
from gradbook.records import STAGES, Edit, EditField, Evaluation, Prediction, Record, Selection, Stage, Step

STAGE_OF: dict[EditField, Stage] = {
    "prediction": "predict",
    "label": "evaluate",
    "evaluation": "evaluate",
    "output_critique": "output_critique",
    "prompt_critique": "prompt_critique",
    "candidate": "rewrite",
    "selection": "select",
}


class Replace(Record):
    """A wish to put `text` in the place of what a stage gave; made by `replace`, applied by `Case.perturb`."""

    field: EditField
    example: int | str | None = None
    candidate: int | None = None
    index: int = 0
    text: str = ""
    replicate: int = 0
    note: str = ""


def replace(
    field: EditField, *, text: str, example: int | str | None = None, candidate: int | None = None, index: int = 0, note: str = ""
) -> Replace:
    """Put other words in the place of what a stage gave.

    Args:
        field: "prediction" (an output), "label" (as the feedback shows it), "evaluation", "output_critique",
            "prompt_critique", "candidate" (a rewritten prompt) or "selection" (a candidate's index, "-1" for the old prompt).
        text: what is to stand there.
        example: whose, for all but the last two: the position in the batch from 0, or the example's id.
        candidate: whose, for "candidate": its index from 0.
        index: which critique, where an example has several.
        note: why, kept with the edit.

    Raises:
        EditError: the field is unknown, or it needs `example` or `candidate` and has none.
    """
    if field not in STAGE_OF:
        raise EditError(f"{field!r} cannot be edited; there are {', '.join(STAGE_OF)}")
    if field == "candidate" and candidate is None:
        raise EditError("an edit of a candidate needs candidate=, its index from 0")
    if field not in ("candidate", "selection") and example is None:
        raise EditError(f"an edit of {_a(field)} needs example=, its position in the batch from 0 or its id")
    return Replace(field=field, example=example, candidate=candidate, index=index, text=text, note=note)


def resample(stage: Stage, replicate: int) -> Replace:
    """Change nothing, but ask for fresh samples from `stage` on, as replicate number `replicate` (1 or more)."""
    if stage not in STAGES:
        raise EditError(f"there is no stage {stage!r}; there are {', '.join(STAGES)}")
    if replicate < 1:
        raise EditError(f"replicate must be 1 or more, not {replicate}: 0 is the run itself")
    return Replace(field="resample", text=stage, replicate=replicate)


def branch(step: Step, edits: list[Replace], new_id: int, task: Subject, method: Method) -> Step:
    """A second child of the step's parent: what came before the edits as it was, the edits made, all after it still to run.

    `task` is what the step's prompt is for, `method` what the step follows.

    Raises:
        EditError: an edit names nothing in the step, changes nothing, or the edits are at different stages.
    """
    stages = {edit.text if edit.field == "resample" else STAGE_OF[edit.field] for edit in edits}
    if len(stages) != 1:
        raise EditError(f"one branch changes one stage, but the edits are at {', '.join(sorted(stages)) or 'none'}")
    stage = stages.pop()
    if step.parent is None:
        raise EditError("the root holds only the seed prompt; edit a step that has run")
    if stage not in step.stages:
        raise EditError(f"step {step.id} has no stage {stage}; it has {', '.join(step.stages)}")
    kept = STAGES[: STAGES.index(stage) + (0 if edits[0].field == "resample" else 1)]
    if any(getattr(step, s) is None for s in kept if s in step.stages):
        raise EditError(f"step {step.id} has not run {stage} yet, so there is nothing to edit there")
    fields = {s: getattr(step, s) if s in kept else None for s in STAGES}
    done = []
    for edit in edits:
        if edit.field == "resample":
            done.append(Edit(field="resample", before="", after=stage, replicate=edit.replicate, note=edit.note))
        else:
            fields[stage], record = _apply(fields[stage], edit, step, task, method, fields)
            done.append(record)
    return step.model_copy(update={"id": new_id, "origin": step.id, "edits": tuple(done), **fields})


def _apply(records: Any, edit: Replace, step: Step, task: Subject, method: Method, fields: dict[Stage, Any]) -> tuple[Any, Edit]:
    if edit.field == "selection":
        return _select(records, edit, step)
    position = _position(edit, step)
    changed, before = [], None
    for record in records:
        if _names(record, position, edit):
            before, record = _change(record, edit, step, task, method, fields)
        changed.append(record)
    if before is None:
        raise EditError(f"step {step.id} has no {edit.field.replace('_', ' ')} for {position!r} at index {edit.index}")
    if before == edit.text:
        raise EditError(f"the {edit.field.replace('_', ' ')} for {position!r} already reads so: nothing was changed")
    return tuple(changed), Edit(field=edit.field, position=position, index=edit.index, before=before, after=edit.text, note=edit.note)


def _names(record: Any, position: str, edit: Replace) -> bool:
    if edit.field == "candidate":
        return str(record.index) == position
    return record.example == position and getattr(record, "index", 0) == edit.index


def _position(edit: Replace, step: Step) -> str:
    if edit.field == "candidate":
        return str(edit.candidate)
    if isinstance(edit.example, str):
        return edit.example
    if not 0 <= edit.example < len(step.batch):
        raise EditError(f"step {step.id} has {len(step.batch)} examples, 0 to {len(step.batch) - 1}; there is no example {edit.example}")
    return step.batch[edit.example]


def _change(record: Any, edit: Replace, step: Step, task: Subject, method: Method, fields: dict[Stage, Any]) -> tuple[str, Any]:
    """What stood there, and the record with the edit made; no call stands behind it any more."""
    match edit.field:
        case "prediction":
            return record.output, _predicted(record, edit.text, task)
        case "label":
            if _by_critic(step, method):
                raise EditError("the critic sees no label, so there is none to swap: edit its evaluation, or a label in its own step")
            return record.label or "", _labelled(record, edit.text, step, task, method, fields)
        case "evaluation" if _by_critic(step, method):
            return record.text, CriticTask(task, method, {}).reread(record, edit.text)
        case "candidate":
            return record.prompt, record.model_copy(update={"prompt": edit.text, "call": None})
        case _:
            return record.text, record.model_copy(update={"text": edit.text, "call": None})


def _by_critic(step: Step, method: Method) -> bool:
    return method.critic and step.variable == "prompt"


def _predicted(record: Prediction, output: str, task: Subject) -> Prediction:
    answer = task.parse(output)
    right = task.correct(answer, task.example(record.example).target)
    return record.model_copy(update={"output": output, "answer": answer, "correct": right, "length": len(output), "call": None})


def _labelled(record: Evaluation, label: str, step: Step, task: Subject, method: Method, fields: dict[Stage, Any]) -> Evaluation:
    if label and task.labels and task.classes(label) == ():
        raise EditError(f"{label!r} is not a label of {task.name}; there are {', '.join(task.labels)}")
    prediction = next(p for p in fields["predict"] if p.example == record.example)
    text = evaluation_text(method, step.variable, prediction, label or None, task.correct(prediction.answer, label))
    return record.model_copy(update={"label": label or None, "text": text, "call": None})


def _select(selection: Selection, edit: Replace, step: Step) -> tuple[Selection, Edit]:
    indices = {"-1"} | {str(candidate.index) for candidate in step.rewrite}
    if edit.text not in indices:
        raise EditError(f"a selection is one of {', '.join(sorted(indices))} (-1 is the old prompt), not {edit.text!r}")
    if edit.text == str(selection.chosen):
        raise EditError(f"candidate {edit.text} is the one that was chosen: nothing was changed")
    by_hand = int(edit.text)
    chosen = selection.model_copy(update={"chosen": by_hand, "kept": (by_hand,) if selection.kept else (), "reason": "chosen by hand"})
    return chosen, Edit(field="selection", before=str(selection.chosen), after=edit.text, note=edit.note)


def _a(field: str) -> str:
    return f"{'an' if field[0] in 'aeo' else 'a'} {field.replace('_', ' ')}"
