"""What a step is in a few words, where its prompt comes from, what was changed on the way to it, and what it is compared with."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradbook.edits import code, text_at
from gradbook.edits.words import STRENGTHS
from gradbook.loop import Method
from gradbook.loop.table import EDIT_STAGE
from gradbook.plan import epoch_length
from gradbook.records import Blank, Cut, Double, Edit, Relabel, Replace, Reword, Step, Strength, Swap, Take
from gradbook.tell.views import ChangeView, Place, Words
from gradbook.tell.words import brief, candidate_name, count, difference, of_steps, rerun_from, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

_SHORT = {"prediction": "output"}
Changes = dict[Place, ChangeView]
"""The change that stands at each place of a step."""


# --- a step ----------------------------------------------------------------------------------------------------------------


def what(rec: "Recording", step: Step) -> str:
    """A step in a few words: its edit, or the arm where that is not the usual one."""
    mark = ("" if step.done else "◌ ") + ("⚖ " if step.variable == "critic" else "")
    if step.parent is None:
        return "seed prompt"
    if step.replicate_of is not None:
        return f"{mark}replicate {step.replicate} of step {step.replicate_of}"
    if step.finding is not None:
        return f"{mark}{step.arm}"
    if step.edits:
        edit = step.edits[0]
        more = f" +{len(step.edits) - 1}" if len(step.edits) > 1 else ""
        return f"{mark}✎ {'' if edit.kind == 'replace' else f'{_done(edit)}: '}{_field(edit)}{more}"
    if step.brought:
        return f"{mark}brought critiques"
    return f"{mark}{'critic' if step.variable == 'critic' else _arm(rec.method_of(step))}"


def _arm(method: Method) -> str:
    engine = {"native": "", "textgrad": "TextGrad", "gepa": "GEPA"}[method.engine]
    update = "" if method.update == "three-stage" or method.engine == "gepa" else method.update
    labels = {"correct": "", "wrong": "wrong labels", "none": "no labels" if method.sees_data else ""}[method.labels]
    return ", ".join(filter(None, [engine, update, labels])) or "step"


def line(rec: "Recording", step: Step) -> str:
    """A step in a line: the seed, a step of the task's prompt or of the critic's, a replicate, or a branch and its edits."""
    if step.parent is None:
        return "seed prompt"
    whose = "the critic, " if step.variable == "critic" else ""
    if step.replicate_of is not None:
        return f"{whose}replicate {step.replicate} of step {step.replicate_of}, {rerun_from(step.fresh_from)}"
    if step.finding is not None:
        return f"{whose}{step.arm}, made for a finding"
    if step.origin is not None:
        return f"{whose}branch of step {step.origin}: {'; '.join(map(edit_line, step.edits))}"
    index = _carried(rec[step.parent], step)
    with_brought = ", with outputs and critiques that were brought" if step.brought else ""
    return f"{whose}from step {step.parent}{f', {candidate_name(index)}' if index is not None else ''}{with_brought}"


def begun(rec: "Recording", step: Step) -> str:
    """Where the prompt that a step began with comes from."""
    if step.parent is None:
        return "The seed prompt."
    whose = "The critic’s prompt" if step.variable == "critic" else "The prompt"
    return f"{whose} it began with, {_source(rec, step)}."


def _source(rec: "Recording", step: Step) -> str:
    before = earlier(rec, step)
    if before is None:
        return "the critic’s first one, as the method states it"
    index = _carried(before, step)
    if index is None:
        return f"as step {before.id} ended"
    return f"as step {before.id} began, kept in the beam" if index < 0 else f"candidate {index} of step {before.id}, kept in the beam"


def earlier(rec: "Recording", step: Step) -> Step | None:
    """The step before this one on its line that optimised the same prompt; None for the first of the critic."""
    before, variable = step, step.variable
    while before.parent is not None:
        before = rec[before.parent]
        if before.variable == variable:
            return before
        if variable == "critic" and not before.held:
            return None  # a stretch without a critic: the next one starts afresh
    return None


def _carried(before: Step, step: Step) -> int | None:
    """Which candidate of `before` the step goes on with, where that is not the chosen one: a beam carries several on."""
    if before.variable != step.variable or before.select is None or step.prompt == before.chosen_prompt:
        return None
    return next((index for index in before.select.kept if before.candidate(index) == step.prompt), None)


def where(rec: "Recording", step: Step) -> str:
    """Where a step stands: its epoch and batch, and its place in a beam."""
    if step.parent is None:
        return ""
    method = rec.method_of(step)
    if step.brought:
        place = f"{count(len(step.batch), 'example')} that were brought"
    elif method.sees_data:
        length = epoch_length(rec.task, method)
        epoch, batch = divmod(step.depth - 1, length)
        place = f"batch {batch + 1} of {length} in epoch {epoch + 1}"
    else:
        place = f"update {step.depth}, without data"
    width = len(step.fellows) + 1 + len(step.queue)
    return place + (f" · prompt {len(step.fellows) + 1} of {width} in the beam" if width > 1 else "")


def past_read(rec: "Recording", step: Step) -> str:
    """The steps before whose prompt critiques the rewrite saw as well."""
    past: list[Step] = []
    at: Step | None = step
    while at and len(past) < rec.method_of(step).momentum and (at := earlier(rec, at)) is not None:
        past.append(at)
    seen = [before.id for before in past if before.prompt_critique]
    return f"The rewrite also saw the prompt critiques of {of_steps(seen)} (momentum)." if seen else ""


def perturbing(origin: int, edits: Iterable[Edit]) -> str:
    """The line of Python that makes a branch."""
    return f"branch = case.perturb({origin}, {', '.join(map(code, edits))})"


# --- what it is compared with ------------------------------------------------------------------------------------------------


def prompt_step(rec: "Recording", step: Step) -> Step:
    """The step of the task's prompt that `step` is, or that a critic's step belongs to."""
    return step if step.variable == "prompt" or step.parent is None else rec[step.parent]


def base(rec: "Recording", step: Step) -> int | None:
    """The step that `step` is first compared with: its origin, or else the one whose prompt it began with; None for the root."""
    if step.origin is not None or step.parent is None or step.variable == "critic":
        return step.parent if step.origin is None else step.origin
    return prompt_step(rec, rec[step.parent]).id


def comparable(rec: "Recording", step: Step) -> list[int]:
    """The steps that it makes sense to set `step` against: done, of its variable, a critic's on the same outputs, no replicates."""
    others = (other for other in rec if other.done and other.id != step.id and not other.aside)
    if step.variable == "prompt":
        return [other.id for other in others if other.variable == "prompt"]
    judged = step.ends_with("prompt")
    return [other.id for other in others if other.ends_with("critic") and other.ends_with("prompt") == judged]


# --- changes -----------------------------------------------------------------------------------------------------------------


def changes(rec: "Recording", step: Step) -> tuple[ChangeView, ...]:
    """Every perturbation on the way to a step, in order."""
    return tuple(_change(rec, found.step, found.edit, found.superseded) for found in rec.changes(step))


def standing(told: tuple[ChangeView, ...]) -> Changes:
    """The last change at each place, of those whose words still stand there."""
    return {change.place: change for change in told if not change.superseded}


def _change(rec: "Recording", step: int, edit: Edit, superseded: bool) -> ChangeView:
    place = Place(edit.field, None if edit.example is None else str(edit.example), edit.index, edit.candidate)
    sign = f"{_done(edit)} by {edit.by}"
    stated = (edit_line(edit), sign, edit.why, edit.at, edit.by)
    return ChangeView(step, EDIT_STAGE[edit.field], place, edit.kind, *stated, _words(rec, rec[step], edit), superseded)


def _words(rec: "Recording", made: Step, edit: Edit) -> Words:
    """What a perturbation wrote, with its differences from what stood there before."""
    if edit.field == "selection":
        return ()
    if isinstance(edit, Replace):
        return difference(edit.before or "", edit.text)
    stage = EDIT_STAGE[edit.field]
    before = None if made.origin is None else text_at(getattr(rec[made.origin], stage), edit)
    after = text_at(getattr(made, stage), edit)
    return () if before is None or after is None or before == after else difference(before, after)


def _field(edit: Edit) -> str:
    return _SHORT.get(edit.field, spaced(edit.field))


def _done(edit: Edit) -> str:
    """What a perturbation did, in a participle."""
    match edit:
        case Double():
            return f"said {count(edit.times, 'time')}"
        case Relabel():
            return {"wrong": "swapped for a wrong one", "none": "hidden"}.get(edit.to, f"swapped for that of {edit.other}")
        case Swap():
            return f"swapped with that of {edit.other}"
        case Take():
            return f"taken from step {edit.step}"
        case Cut():
            return f"cut to sentence {edit.sentence}" if edit.keep else f"cut by sentence {edit.sentence}"
        case Blank():
            return "replaced with words that say nothing" if edit.filler else "blanked"
        case Strength():
            return f"weighted “{STRENGTHS[edit.strength]}”"
        case Reword():
            return "negated" if edit.how == "negate" else "paraphrased"
    return {"replace": "edited", "drop": "left out"}.get(edit.kind, "shuffled")


def edit_line(edit: Edit) -> str:
    """A perturbation in a line."""
    done = f"{_done(edit)} by {edit.by}"
    if not isinstance(edit, Replace):
        return f"{_field(edit)}{f' of {brief(edit.position)}' if edit.position else ''} {done}"
    match edit.field:
        case "selection":
            return f"{candidate_name(int(edit.text))} chosen by {edit.by} in place of {candidate_name(int(edit.before or 0))}"
        case "candidate":
            return f"candidate {edit.candidate} {done}"
        case "label":
            before, after = (brief(label or "none") for label in (edit.before, edit.text))
            return f"label of {brief(edit.position)} swapped by {edit.by} from {before} to {after}"
    return f"{_field(edit)} of {brief(edit.position)} {done}"
