"""The words that the parts of a report share: what a step is, where its prompt came from, its method, its edits."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradbook.export.html import line, text, words
from gradbook.loop import Method
from gradbook.records import Edit, EditField, Replace, Stage, Step
from gradbook.tables import method_line

if TYPE_CHECKING:
    from gradbook.recording import Recording


def count(number: int, thing: str) -> str:
    """A number with its noun: "1 step", "2 branches"."""
    plural = f"{thing}es" if thing.endswith("ch") else f"{thing}s"
    return f"{number} {thing if number == 1 else plural}"


def stage_name(stage: Stage) -> str:
    """A stage in words."""
    return stage.replace("_", " ")


def rerun_from(stage: Stage | None) -> str:
    """What a replicate sampled anew."""
    return f"fresh samples from the {stage_name(stage)} on" if stage else "fresh answers of the same prompt"


def candidate_name(index: int) -> str:
    """A candidate in words; -1 is the prompt that the step began with."""
    return "the old prompt" if index < 0 else f"candidate {index}"


# --- a step ------------------------------------------------------------------------------------------------------------


def what(case: "Recording", step: Step) -> str:
    """What a step is, in one line of HTML: the seed, a step of the task's prompt or of the critic's, or a branch and its edits."""
    if step.parent is None:
        return "seed prompt"
    whose = "the critic, " if step.variable == "critic" else ""
    if step.origin is not None:
        return f"{whose}branch of step {step.origin}: {'; '.join(map(edit_line, step.edits))}"
    index = _carried(case[step.parent], step)
    return f"{whose}from step {step.parent}{f', {candidate_name(index)}' if index is not None else ''}"


def source(case: "Recording", step: Step) -> str:
    """Where the prompt that a step began with comes from, after "The prompt it began with"."""
    before = earlier(case, step)
    if before is None:
        return "the critic's first one, as the method states it"
    index = _carried(before, step)
    if index is None:
        return f"as step {before.id} ended"
    return f"as step {before.id} began, kept in the beam" if index < 0 else f"candidate {index} of step {before.id}, kept in the beam"


def earlier(case: "Recording", step: Step) -> Step | None:
    """The step before this one on its line that optimised the same prompt; None for the first of the critic."""
    before, variable = step, step.variable
    while before.parent is not None:
        before = case[before.parent]
        if before.variable == variable:
            return before
        if variable == "critic" and not before.held:
            return None  # a stretch without a critic: the next one starts afresh
    return None


def _carried(before: Step, step: Step) -> int | None:
    """Which candidate of `before` the step goes on with, where that is not the chosen one: a beam carries several on."""
    if before.variable != step.variable or before.select is None or step.prompt == before.chosen_prompt:
        return None
    found = [index for index in before.select.kept if before.candidate(index) == step.prompt]
    return found[0] if found else None


# --- methods -----------------------------------------------------------------------------------------------------------


def method_told(method: Method) -> str:
    """A method in one line of HTML: the paper's dimensions, what else is not the default, the batch size, changed templates."""
    size = f", batch size {method.batch_size}" if method.sees_data and "batch_size" not in method.changed() else ""
    changed = method.own_templates
    templates = f"; templates changed: {', '.join(changed).replace('_', ' ')}" if changed else ""
    return text(method_line(method)) + size + templates


def methods_used(case: "Recording") -> list[tuple[Method, list[int]]]:
    """Each method of the case with the steps that follow it, the one from here on too, in the order of their first steps."""
    used: list[tuple[Method, list[int]]] = []
    for step in (step for step in case if step.parent is not None and not step.replicate_of is not None):
        method = case.method_of(step)
        ids = next((ids for other, ids in used if other == method), None)
        if ids is None:
            used.append((method, [step.id]))
        else:
            ids.append(step.id)
    return used if any(method == case.method for method, _ in used) else [*used, (case.method, [])]


def ranges(ids: Iterable[int]) -> str:
    """Whole numbers in short: "1 to 3, 5"."""
    runs: list[list[int]] = []
    for id in ids:
        if runs and id == runs[-1][-1] + 1:
            runs[-1].append(id)
        else:
            runs.append([id])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}{' to ' if len(run) > 2 else ', '}{run[-1]}" for run in runs)


# --- edits by hand -----------------------------------------------------------------------------------------------------


def edit_of(case: "Recording", step: Step, field: EditField, position: str, index: int = 0) -> Replace | None:
    """What a person wrote at a place, in this step or one that it was branched off."""
    return case.edit_at(step, field, position, index)


def edit_line(edit: Edit) -> str:
    """An edit in one line of HTML."""
    field = "output" if edit.field == "prediction" else edit.field.replace("_", " ")
    if not isinstance(edit, Replace):
        said = "dropped" if edit.kind == "drop" else f"said {edit.times} times"
        return f"{field} of {line(edit.position, 60)} {said}"
    if edit.field == "selection":
        return f"{candidate_name(int(edit.text))} chosen by hand in place of {candidate_name(int(edit.before or 0))}"
    if edit.field == "candidate":
        return f"candidate {text(edit.position)} edited by hand"
    if edit.field == "label":
        before, after = (line(label, 60) or "none" for label in (edit.before or "", edit.text))
        return f"label of {line(edit.position, 60)} swapped by hand from {before} to {after}"
    return f"{field} of {line(edit.position, 60)} edited by hand"


def by_hand(edit: Replace) -> str:
    """What a person changed, word by word, and why."""
    return f"{words(edit.before or '', edit.text)}<br><strong>✎ edited by hand</strong>{why(edit)}"


def why(edit: Edit) -> str:
    """The reason that a person gave, after a colon, or nothing."""
    return f": {text(edit.why)}" if edit.why else ""
