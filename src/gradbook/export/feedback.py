"""What a step read and what it was told: the batch with its answers, the evaluations, the critiques."""

from typing import TYPE_CHECKING, Any

from gradbook.export.html import details, fixed, line, quote, short, table, whole
from gradbook.export.telling import by_hand, earlier, edit_of
from gradbook.loop.stages import judged_right
from gradbook.records import Critique, Evaluation, Prediction, Stage, Step

if TYPE_CHECKING:
    from gradbook.recording import Recording

Told = tuple[str, str, bool]
"""A row of the feedback: its title, what it says (both HTML), and whether a branch has it from its origin."""
_CRITIQUES: tuple[tuple[Stage, str], ...] = (("output_critique", "Output critique"), ("prompt_critique", "Prompt critique"))


# --- the batch ---------------------------------------------------------------------------------------------------------


def batch(case: "Recording", step: Step) -> str:
    """The batch as a table: what was read, what came out, and whether it is right; of a critic, its verdicts."""
    if step.variable == "critic":
        head, row = ["Example", "What it read", "Truth", "What it said", "Verdict", "Result"], _verdict_row
    else:
        head, row = ["Example", "Input", "Target", "Output", "Answer", "Result"], _answer_row
    return table(head, [row(case, step, prediction) for prediction in step.predict])


def _answer_row(case: "Recording", step: Step, prediction: Prediction) -> list[str]:
    example = case.task.example(prediction.example)
    return [short(example.id), whole(example.input), short(example.target), *_said(case, step, prediction), _result(prediction)]


def _result(prediction: Prediction) -> str:
    if prediction.answer is None:
        return fixed("✗ unparsed")
    return fixed("✓ right" if prediction.correct else "✗ wrong")


def _verdict_row(case: "Recording", step: Step, prediction: Prediction) -> list[str]:
    subject, name = case.subject(step), prediction.example
    read = f"<em>input</em><br>{whole(case.task.example(name).input)}<br><em>output</em><br>{whole(subject.answered[name].output)}"
    if prediction.answer is None:
        result = f"{fixed('✗ unusable')}<br>{subject.unusable(prediction.output)}"
    else:
        result = fixed("✓ agrees" if prediction.correct else "✗ disagrees")
    return [short(name), read, short(subject.example(name).target), *_said(case, step, prediction), result]


def _said(case: "Recording", step: Step, prediction: Prediction) -> tuple[str, str]:
    edit = edit_of(case, step, "prediction", prediction.example)
    output = by_hand(edit) if edit else whole(prediction.output)
    return output, "–" if prediction.answer is None else short(prediction.answer)


# --- the feedback ------------------------------------------------------------------------------------------------------


def feedback(case: "Recording", step: Step) -> list[str]:
    """The critic's prompt where one evaluates, a table of the feedback, and a folded one of what a branch has from its origin."""
    new: list[list[str | None]] = []
    kept: list[list[str | None]] = []
    for example in step.batch:
        found = _of_example(case, step, example)
        same = all(again for _, _, again in found)
        for position, (title, told, again) in enumerate(found):
            mark = f"<br><em>as in step {step.origin}</em>" if again and not same else ""
            (kept if same else new).append([short(example) if position == 0 else None, title + mark, told])
    head = ["Example", "What", "Text"]
    folded = details(f"Feedback on the other examples: <em>as in step {step.origin}</em>", table(head, kept)) if kept and new else ""
    return [_critic_prompt(case, step), table(head, new or kept), folded]


def _critic_prompt(case: "Recording", step: Step) -> str:
    if not _by_critic(case, step):
        return ""
    before = earlier(case, step.model_copy(update={"variable": "critic"}))
    source = f"as step {before.id} ended" if before else "the first one, as the method states it"
    return details(f"The critic's prompt: <em>{source}</em>", quote(step.held))


def _of_example(case: "Recording", step: Step, example: str) -> list[Told]:
    evaluation = next(record for record in step.evaluate if record.example == example)
    title = "Evaluation<br>by the critic" if _by_critic(case, step) else "Evaluation"
    told = _verdict(case, step, evaluation) if _by_critic(case, step) else _direct(case, step, evaluation)
    rows = [(title, told, _kept(case, step, "evaluate", evaluation)), *_critiques(case, step, example)]
    reader = _left_out(case, step, evaluation, critiqued=len(rows) > 1)
    return [*rows, ("–", f"<em>{reader}</em>", step.origin is not None and rows[0][2])] if reader else rows


def _critiques(case: "Recording", step: Step, example: str) -> list[Told]:
    """Each output critique followed by the prompt critique that was made from it."""
    found = [(r.index, n, stage, title, r) for n, (stage, title) in enumerate(_CRITIQUES) for r in _records(step, stage, example)]
    several = len(_records(step, "output_critique", example))
    rows = []
    for index, _, stage, title, record in sorted(found, key=lambda row: row[:2]):
        number = f" {index + 1} of {several}" if several > 1 else ""
        edit = edit_of(case, step, stage, example, index)
        rows.append((fixed(title + number), by_hand(edit) if edit else whole(record.text), _kept(case, step, stage, record)))
    return rows


def _left_out(case: "Recording", step: Step, evaluation: Evaluation, critiqued: bool) -> str:
    """What becomes of an example whose output was called right, where only errors are criticised."""
    method = case.method_of(step)
    if not method.errors_only or critiqued:
        return ""
    if step.output_critique is not None:
        return f"not criticised, since {'the verdict holds' if step.variable == 'critic' else 'the evaluation calls it right'}"
    prediction = next(p for p in step.predict if p.example == evaluation.example)
    one_step = method.update == "one-step" and judged_right(case.subject(step), prediction, evaluation)
    return "left out of the rewrite, since the evaluation calls it right" if one_step else ""


def _direct(case: "Recording", step: Step, evaluation: Evaluation) -> str:
    """A direct evaluation, with the label that it shows where that is not the true one."""
    if written := edit_of(case, step, "evaluation", evaluation.example):
        return by_hand(written)
    edit = edit_of(case, step, "label", evaluation.example)
    shown = [_label(case, step, evaluation), f"label shown: {by_hand(edit)}" if edit else "", whole(evaluation.text)]
    return "<br>".join(filter(None, shown))


def _label(case: "Recording", step: Step, evaluation: Evaluation) -> str:
    subject = case.subject(step)
    true = evaluation.target or subject.example(evaluation.example).target
    if evaluation.label is None or subject.correct(evaluation.label, true):
        return ""
    edited = edit_of(case, step, "label", evaluation.example)
    why = "by hand" if edited else ("wrong on purpose" if case.method_of(step).labels == "wrong" else "not the true one")
    return f"label shown: <strong>{line(evaluation.label)}</strong>, {why}; the true one is <strong>{line(true)}</strong>"


def _verdict(case: "Recording", step: Step, evaluation: Evaluation) -> str:
    """What the critic said, what that comes to, and whether it agrees with the gold answer."""
    right = next(p.correct for p in step.predict if p.example == evaluation.example)
    truth = f"by the gold answer the output is {'right' if right else 'wrong'}"
    if evaluation.score is None:
        result = f"<strong>✗ no usable verdict: {evaluation.unusable or 'missing'}</strong>; {truth}"
    else:
        sign = "✓ agrees" if (evaluation.score >= 0.5) == right else "✗ disagrees"
        result = f"<strong>{_score(case, step, evaluation.score)}: {sign}</strong>; {truth}"
    edit = edit_of(case, step, "evaluation", evaluation.example)
    return f"{result}<br>{by_hand(edit) if edit else whole(evaluation.text)}"


def _score(case: "Recording", step: Step, score: float) -> str:
    verdict = "right" if score >= 0.5 else "wrong"
    return verdict if case.method_of(step).evaluation == "critic-binary" else f"{score * 100:g} of 100, so {verdict}"


def _by_critic(case: "Recording", step: Step) -> bool:
    return step.variable == "prompt" and case.method_of(step).critic


def _kept(case: "Recording", step: Step, stage: Stage, record: Any) -> bool:
    return step.origin is not None and record in (getattr(case[step.origin], stage) or ())


def _records(step: Step, stage: Stage, example: str) -> list[Critique]:
    return [record for record in getattr(step, stage) or () if record.example == example]
