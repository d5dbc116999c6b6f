"""What came of the feedback: the candidates, what each follows, their scores, and the one that was chosen."""

from typing import TYPE_CHECKING

from gradbook.export.html import details, fixed, quote, short, table, text, words
from gradbook.export.telling import by_hand, candidate_name, count, earlier, edit_line, edit_of, ranges, why
from gradbook.records import Candidate, Step, sha256

if TYPE_CHECKING:
    from gradbook.recording import Recording

MANY = 6
"""Of more candidates, those that were neither chosen nor kept nor edited are folded."""


def rewrite(case: "Recording", step: Step) -> list[str]:
    """The candidates, why one was chosen, and the prompt that the step ends with."""
    if not step.rewrite:
        return [_reason(step)]
    return [_momentum(case, step), *_candidates(case, step), _reason(step), _ending(step)]


def _momentum(case: "Recording", step: Step) -> str:
    """The steps before whose prompt critiques the rewrite saw as well."""
    past, at = [], step
    while len(past) < case.method_of(step).momentum and (at := earlier(case, at)) is not None:
        past.append(at)
    seen = sorted(before.id for before in past if before.prompt_critique)
    if not seen:
        return ""
    which = f"step {seen[0]}" if len(seen) == 1 else f"steps {ranges(seen)}"
    return f"<p>The rewrite also saw the prompt critiques of {which} (momentum).</p>"


def _candidates(case: "Recording", step: Step) -> list[str]:
    select, scores = step.select, _scores(case, step)
    follows = any(c.example is not None or c.paraphrase_of is not None for c in step.rewrite)
    head = ["", *(["Made from"] if follows else []), "Difference from the prompt the step began with", *scores]
    head += ["Choice"] if select else []
    rows = {-1: [fixed("old prompt"), *([""] if follows else []), "unchanged", *_row_end(case, step, -1, scores)]}
    for candidate in step.rewrite:
        made = [_made_from(case, step, candidate)] if follows else []
        rows[candidate.index] = [
            fixed(candidate_name(candidate.index)),
            *made,
            _difference(case, step, candidate),
            *_row_end(case, step, candidate.index, scores),
        ]
    if not (select and (select.scores or select.chosen < 0)):
        del rows[-1]
    open_rows = [row for index, row in rows.items() if len(step.rewrite) <= MANY or _stands_out(case, step, index)]
    others = [row for row in rows.values() if row not in open_rows]
    return [table(head, open_rows), details(f"The other {count(len(others), 'candidate')}", table(head, others)) if others else ""]


def _stands_out(case: "Recording", step: Step, index: int) -> bool:
    if step.select is None:
        return index < MANY
    return index in (-1, step.select.chosen, *step.select.kept) or edit_of(case, step, "candidate", str(index)) is not None


def _made_from(case: "Recording", step: Step, candidate: Candidate) -> str:
    if candidate.paraphrase_of is not None:
        return f"{fixed(f'candidate {candidate.paraphrase_of}')} in other words"
    if candidate.example is None:
        return ""
    number = f" {candidate.critique + 1}" if case.method_of(step).critiques > 1 else ""
    return f"prompt critique{number} of {short(candidate.example)}"


def _difference(case: "Recording", step: Step, candidate: Candidate) -> str:
    twin = next(c.index for c in step.rewrite if c.prompt == candidate.prompt)
    if candidate.prompt == step.prompt:
        told = "the same as the prompt the step began with"
    else:
        told = words(step.prompt, candidate.prompt) if twin == candidate.index else f"the same as candidate {twin}"
    edit = edit_of(case, step, "candidate", str(candidate.index))
    return f"{told}<br>{details('what the hand changed', f'<p>{by_hand(edit)}</p>')}" if edit else told


def _scores(case: "Recording", step: Step) -> dict[str, dict[int, float]]:
    """The columns of scores: as the selection counted them, and where that was by wrong labels, by the true ones as well."""
    if step.select is None or not step.select.scores:
        return {}
    counted = {int(index): value for index, value in step.select.scores.items()}
    name = "Agreement on validation" if step.variable == "critic" else "Validation"
    if step.select.labels == "correct":
        return {name: counted}
    return {f"{name}, as wrong labels count it": counted, f"{name}, by the true labels": _by_true_labels(case, step)}


def _by_true_labels(case: "Recording", step: Step) -> dict[int, float]:
    base = case.question(step, "validation", step.draw("select"))
    prompts = {-1: step.prompt} | {candidate.index: candidate.prompt for candidate in step.rewrite or ()}
    asked = {index: base.model_copy(update={"prompt": sha256(prompt)}) for index, prompt in prompts.items()}
    there = set(case.recorded_questions())
    return {index: case.metrics_on(question).accuracy.value for index, question in asked.items() if question in there}


def _row_end(case: "Recording", step: Step, index: int, scores: dict[str, dict[int, float]]) -> list[str]:
    shown = [f"{column[index]:.1%}" if index in column else "–" for column in scores.values()]
    return [*shown, *([_choice(case, step, index)] if step.select else [])]


def _choice(case: "Recording", step: Step, index: int) -> str:
    kept = step.select.kept
    marks = [f"<strong>{fixed('✓ chosen')}</strong>"] if step.select.chosen == index else []
    if index in kept and len(kept) > 1:
        marks.append(fixed(f"▹ kept, {kept.index(index) + 1} of {len(kept)}"))
    if kept and (on := _went_on(case, step, index)):
        marks.append(fixed(f"→ step {ranges(on)}"))
    return "<br>".join(marks)


def _went_on(case: "Recording", step: Step, index: int) -> list[int]:
    """The steps that go on from a member of a beam."""
    return [
        s.id for s in case if s.parent == step.id and s.origin is None and index in step.select.kept and s.prompt == step.candidate(index)
    ]


def _reason(step: Step) -> str:
    if step.select is None:
        return "" if step.rewrite else "<p>No output of the batch was called wrong, so nothing was rewritten.</p>"
    edit = next((edit for edit in step.edits if edit.field == "selection"), None)
    if edit:
        return f"<p><strong>✎ {edit_line(edit)}</strong>{why(edit)}</p>"
    return f"<p>Chosen: {candidate_name(step.select.chosen)}, {text(step.select.reason)}.</p>"


def _ending(step: Step) -> str:
    if step.select is None or step.select.chosen < 0:
        return ""
    return details("The prompt it ends with", quote(step.chosen_prompt))
