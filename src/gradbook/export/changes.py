"""What each branch did to the score, beside the noise floor: the cells that compare it with the step it was branched off."""

from typing import TYPE_CHECKING

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from gradbook.export.html import details, fixed, line, short, table
from gradbook.export.steps import markdown
from gradbook.export.telling import count, rerun_from, what
from gradbook.metrics import Flip
from gradbook.records import SPLITS, SplitName, Step

if TYPE_CHECKING:
    from gradbook.effects import Comparison
    from gradbook.recording import Recording

_FLIPS_SHOWN = 12
_OF_CRITIC = (
    "<p>Both are prompts of the critic, on the same outputs: agreement is with the gold answers, "
    "and the classes are whether an output is right or wrong.</p>"
)


def changes(case: "Recording", steps: list[Step]) -> list[NotebookNode]:
    """The section on the branches that are done; nothing where there is none."""
    branches = [step for step in steps if step.origin is not None and step.done and case[step.origin].done]
    if not branches:
        return []
    intro = (
        "Each branch beside the step it was branched off, on the same examples. Numbers are those on record; "
        "the cells below read them from the case and ask a model only for what is missing."
    )
    return [markdown("effects", "## What the changes did", intro), *(cell for branch in branches for cell in _effect(case, branch))]


def _effect(case: "Recording", branch: Step) -> list[NotebookNode]:
    title = f"### Step {branch.origin} → step {branch.id}: {what(case, branch).partition(': ')[2]}"
    found = [(split, _recorded(case, branch, split)) for split in SPLITS]
    cells = [cell for split, comparison in found if comparison for cell in _comparison(case, branch, comparison)]
    if not cells:
        cells = [_compare_cell(branch, case.default_split(branch), 5)]
        title += "\n\nNo split is scored for both so far; this cell would do it."
    about = _OF_CRITIC if branch.variable == "critic" else ""
    return [markdown(f"effect-{branch.id}", title, about), *cells]


def _recorded(case: "Recording", branch: Step, split: SplitName) -> "Comparison | None":
    """What is on record; arms of different models are compared as well, and the verdict says so."""
    return case.comparison(branch.origin, branch, split, across_models=True)


def _comparison(case: "Recording", branch: Step, comparison: "Comparison") -> list[NotebookNode]:
    cell = _compare_cell(branch, comparison.split, len(comparison.floor) - 1)
    data = {"text/html": comparison._repr_html_(), "text/plain": repr(comparison)}
    cell.outputs = [new_output("execute_result", data=data)]
    return [cell, markdown(f"effect-{branch.id}-{comparison.split}-flips", _floor(comparison), _flips(case, branch, comparison))]


def _compare_cell(branch: Step, split: SplitName, replicates: int) -> NotebookNode:
    source = f'case.compare({branch.origin}, {branch.id}, "{split}", replicates={replicates})'
    return new_code_cell(source, id=f"effect-{branch.id}-{split}")


def _floor(comparison: "Comparison") -> str:
    if len(comparison.floor) < 2:
        return "<p>There are no replicates, so nothing says how much of this is noise.</p>"
    runs = ", ".join(f"{value:.1%}" for value in comparison.floor)
    again = rerun_from(comparison.resampled)
    return f"<p>Noise floor: step {comparison.before_step} and its {count(len(comparison.floor) - 1, 'replicate')}, {again}: {runs}.</p>"


def _flips(case: "Recording", branch: Step, comparison: "Comparison") -> str:
    if not comparison.flips:
        return "<p>Every example got the same answer before and after.</p>"
    rows = [_flip(case, _target(case, branch, comparison.split, flip), flip) for flip in comparison.flips]
    target = "The output is" if branch.variable == "critic" else "Target"
    shown = table(["Example", "Input", target, "Before", "After", "Change"], rows)
    told = f"Answers that changed: {len(rows)}, of which {comparison.fixed} fixed and {comparison.broken} broken."
    return f"<p>{told}</p>{shown}" if len(rows) <= _FLIPS_SHOWN else details(told, shown)


def _target(case: "Recording", branch: Step, split: SplitName, flip: Flip) -> str:
    """The true label; of a critic's verdict, whether the output that it judged is right."""
    if branch.variable == "prompt":
        return case.task.example(flip.example).target
    return next(answer.target or "" for answer in case.scored(branch, split).answers if answer.example == flip.example)


def _flip(case: "Recording", target: str, flip: Flip) -> list[str]:
    before, after = ("unparsed" if answer is None else line(answer, 80) for answer in (flip.before, flip.after))
    sign = "✓" if flip.kind in ("fixed", "still right") else "✗"
    asked = line(case.task.example(flip.example).input, 200)
    return [short(flip.example), asked, line(target, 80), before, after, fixed(f"{sign} {flip.kind}")]
