"""The cells that tell one step: where it began, its batch, the feedback, and the prompt that came of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from gradbook.export.feedback import batch, feedback
from gradbook.export.html import details, note, quote
from gradbook.export.rewrite import rewrite
from gradbook.export.telling import candidate_name, count, method_told, source, stage_name, what
from gradbook.records import Stage, Step
from gradbook.tables import agreement

if TYPE_CHECKING:
    from gradbook.recording import Recording

FOLDED_ABOVE = 20
"""In a case of more steps, those that ran by themselves take one line each, which opens."""


@dataclass(frozen=True)
class _Section:
    """A part of a step: its HTML blocks, and whether a branch has all of it from its origin."""

    name: str
    title: str
    blocks: tuple[str, ...]
    kept: bool


def markdown(id: str, *blocks: str) -> NotebookNode:
    """A Markdown cell with this id of the blocks that are not empty."""
    return new_markdown_cell("\n\n".join(filter(None, blocks)), id=id)


def told_steps(case: "Recording", steps: list[Step]) -> list[NotebookNode]:
    """The cells of all steps; in a long case, those of steps that nobody touched are folded."""
    opened = _opened(case, steps)
    folded = len(opened) < len(steps)
    hint = "<p>Steps that ran by themselves take a line each, which opens to all of it.</p>" if folded else ""
    cells = [markdown("steps", "## Step by step", hint), *_root_cells(case, steps[0])]
    for step in steps[1:]:
        cells += _step_cells(case, step) if step.id in opened else [_folded(case, step)]
    return cells


def _opened(case: "Recording", steps: list[Step]) -> set[int]:
    """The steps to show in full: in a long case the first and the last, and what a person changed, noted or left unfinished."""
    if len(steps) - 1 <= FOLDED_ABOVE:
        return {step.id for step in steps}
    touched = {step.id for step in steps if step.origin is not None or case.note(step).strip() or not step.done}
    last = max(step.id for step in steps if step.origin is None)
    return touched | {step.origin for step in steps} | {0, 1, last}


def _root_cells(case: "Recording", root: Step) -> list[NotebookNode]:
    """The seed prompt with the format instruction that always follows it."""
    rest = case.task.format_instruction
    follows = f"<p>Every prompt is followed by this format instruction, which is never changed:</p>{quote(rest)}" if rest else ""
    return [markdown("step-0", "### Step 0 · seed prompt", _note(case, root), quote(root.prompt), follows)]


def _step_cells(case: "Recording", step: Step) -> list[NotebookNode]:
    """All of a step as far as it has run."""
    head = (f"### Step {step.id} · {what(case, step)}", _note(case, step), f"<p>{_status(case, step)}</p>", _beginning(case, step))
    cells = [markdown(f"step-{step.id}", *head)]
    for part in _sections(case, step):
        folded = details(f"{part.title}: <em>as in step {step.origin}</em>", "".join(part.blocks))
        cells.append(markdown(f"step-{step.id}-{part.name}", *([folded] if part.kept else [f"#### {part.title}", *part.blocks])))
    return cells


def _folded(case: "Recording", step: Step) -> NotebookNode:
    """A step in one line that opens to all of it."""
    told = "".join(f"<h4>{part.title}</h4>{''.join(part.blocks)}" for part in _sections(case, step))
    summary = f"<strong>Step {step.id}</strong> · {what(case, step)} · {_outcome(step)}"
    return markdown(f"step-{step.id}", details(summary, f"<p>{_status(case, step)}</p>{_beginning(case, step)}{told}", kind="step"))


def _sections(case: "Recording", step: Step) -> list[_Section]:
    feedback_stages = [stage for stage in ("evaluate", "output_critique", "prompt_critique") if stage in step.stages]
    found = []
    if step.predict is not None:
        title = "Batch and verdicts" if step.variable == "critic" else "Batch and answers"
        found.append(_Section("batch", title, (batch(case, step),), _as_origin(case, step, ["predict"])))
    if step.evaluate is not None:
        found.append(_Section("feedback", "Feedback", tuple(feedback(case, step)), _as_origin(case, step, feedback_stages)))
    if step.rewrite is not None:
        found.append(_Section("rewrite", "Rewrite", tuple(rewrite(case, step)), _as_origin(case, step, ["rewrite", "select"])))
    return found


def _as_origin(case: "Recording", step: Step, stages: Iterable[Stage]) -> bool:
    return step.origin is not None and all(getattr(step, stage) == getattr(case[step.origin], stage) for stage in stages)


# --- a step in a line --------------------------------------------------------------------------------------------------


def _status(case: "Recording", step: Step) -> str:
    seconds = case.seconds(step)
    told = [_batch_told(step), f"{seconds:.1f} s of work." if seconds >= 0.05 else ""]
    told += [] if step.done else [f"<strong>Not finished: the next stage is {stage_name(step.next_stage)}.</strong>"]
    return " ".join(filter(None, told)) + _method(case, step)


def _batch_told(step: Step) -> str:
    if "predict" not in step.stages:
        return "No training examples: this update sees none."
    examples, verdicts = count(len(step.batch), "training example"), count(len(step.batch), "verdict")
    if step.predict is None:
        return f"{verdicts if step.variable == 'critic' else examples}."
    right, agreed = sum(p.correct for p in step.predict), agreement(step)
    if step.variable == "critic":
        return f"{verdicts}, of which {right} {'agrees' if right == 1 else 'agree'} with the gold answer."
    judged = "" if agreed is None else f" The critic agrees with the gold answer on {round(agreed * len(step.batch))} of them."
    return f"{examples}, {right} answered right.{judged}"


def _method(case: "Recording", step: Step) -> str:
    """The method where a reader could take it for another one: it is not the case's first, or not that of the step before."""
    method, first = case.method_of(step), case.method_of(1)
    before = case.method_of(step.parent) if step.parent else first
    return "" if method == first == before else f"<br>Method: {method_told(method)}."


def _outcome(step: Step) -> str:
    """What a step came to, for its folded line."""
    right = sum(p.correct for p in step.predict or ())
    told = f"{right} of {len(step.batch)} {'agree' if step.variable == 'critic' else 'right'} · " if step.predict else ""
    if step.select is None:
        return f"{told}not finished"
    chosen, scores = step.select.chosen, step.select.scores
    choice = "old prompt kept" if chosen < 0 else f"{candidate_name(chosen)} chosen"
    if not scores:
        return told + choice
    name = "agreement on validation" if step.variable == "critic" else "validation"
    wrong = " by wrong labels" if step.select.labels == "wrong" else ""
    shown = " → ".join(f"{scores[str(index)]:.1%}" for index in dict.fromkeys((-1, chosen)) if str(index) in scores)
    return f"{told}{choice} · {name}{wrong} {shown}"


def _beginning(case: "Recording", step: Step) -> str:
    whose = "The critic's prompt" if step.variable == "critic" else "The prompt"
    if step.origin is not None:
        return details(f"{whose} it began with: <em>as in step {step.origin}</em>", quote(step.prompt))
    return f"<p>{whose} it began with, {source(case, step)}:</p>{quote(step.prompt)}"


def _note(case: "Recording", step: Step) -> str:
    written = case.note(step).strip()
    return f'<blockquote class="note"><p><strong>Note</strong></p>{note(written)}</blockquote>' if written else ""
