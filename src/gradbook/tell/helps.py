"""The line of help on each stage: what it does in this step, under the method that the step follows."""

from gradbook.loop import Method
from gradbook.records import Stage, Step


def help_line(stage: Stage, step: Step, method: Method) -> str:
    """What `stage` does in `step`, in a few sentences of plain text."""
    lines = _TEXTGRAD if method.engine == "textgrad" and stage in _TEXTGRAD else _LINES
    return " ".join(filter(None, lines[stage](step, method)))


def _predict(step: Step, method: Method) -> list[str]:
    if step.variable == "critic":
        return [f"What the critic said of each output of step {step.parent}. It read input and output, and no label."]
    return ["The task model answers each example of the batch under the prompt."]


def _evaluate(step: Step, method: Method) -> list[str]:
    if step.variable == "critic":
        told = "Each verdict is set against whether the output is right by the true label."
        wrong = "Each verdict is set against whether a wrong label would make the output right, on purpose. Scores use the true label."
        return [wrong if method.labels == "wrong" else told]
    if method.critic:
        verdict = "right or wrong" if method.evaluation == "critic-binary" else "a score from 0 to 100"
        return [f"The critic judges each output: {verdict}. It reads input and output, and no label."]
    reader = "the critique" if method.update == "three-stage" else "the optimiser"
    return {
        "correct": [f"Each output is set against the true label, in words that {reader} will read."],
        "wrong": ["Each output is set against a wrong label on purpose, always the same one for a question. Scores use the true label."],
        "none": [f"Nothing is evaluated: {reader} sees the output alone. Edit “no label shown” to put a label in."],
    }[method.labels]


def _output_critique(step: Step, method: Method) -> list[str]:
    output = "verdict" if step.variable == "critic" else "output"
    several = f"Each is criticised {method.critiques} times." if method.critiques > 1 else ""
    errors_only = f"Only a wrong {output}, by that evaluation, is criticised." if method.errors_only else ""
    return [f"How should the {output} change to improve its evaluation?", several, errors_only]


def _prompt_critique(step: Step, method: Method) -> list[str]:
    whose, output = ("critic’s prompt", "verdict") if step.variable == "critic" else ("prompt", "output")
    each = "Each output critique has one of its own." if method.critiques > 1 else ""
    return [f"How should the {whose} change so that the {output} follows that critique?", each]


def _rewrite(step: Step, method: Method) -> list[str]:
    if method.engine == "gepa":
        return [
            "GEPA’s own reflection reads the old prompt, and inputs, outputs and evaluations as they stand, and writes one candidate.",
            _AGAINST,
        ]
    lines = {
        "three-stage": [_from_critiques(method), _past(method)],
        "one-step": [
            "The optimiser writes candidate prompts straight from examples, outputs and evaluations, without a critique.",
            "It is told only of those called wrong." if method.errors_only else "",
        ],
        "rewrite": ["The optimiser sees only the old prompt, and no data: it keeps the meaning and takes other words."],
        "improve": ["The optimiser sees only the old prompt, and no data: it is asked for better quality and correctness."],
    }[method.update]
    times = "" if method.paraphrases == 1 else f" {method.paraphrases} times"
    again = f"Each is then said in other words{times}." if method.paraphrases else ""
    return [*lines, again, _AGAINST]


_AGAINST = "Words struck and added are against the old prompt."


def _from_critiques(method: Method) -> str:
    who = "Each critique alone becomes" if method.apart else "The critiques together become"
    if method.add_only:
        return f"{who} lines that are added to the old prompt, which stays word for word."
    return f"{who} {method.candidates} candidate prompts." if method.candidates > 1 else f"{who} one candidate prompt."


def _past(method: Method) -> str:
    if not method.momentum:
        return ""
    return f"The optimiser also reads the prompt critiques of up to {method.momentum} step{'s' * (method.momentum > 1)} before."


def _select(step: Step, method: Method) -> list[str]:
    rule = {
        "naive": "Naive: the one candidate is taken, unseen.",
        "validated": "Validated: the best on the validation split is kept, the old prompt included, which wins a tie.",
        "random": "Random: any one of the candidates is taken, unseen.",
        "guard": "Guard: the one candidate is taken only where it is better than the old prompt on the validation split.",
        "pareto": "GEPA accepts the candidate where its scores on the batch add up to more than the old prompt’s. It is then scored on "
        "the whole validation split; the next step begins with a prompt that is drawn from the Pareto front there.",
    }[method.selection]
    critic = "A critic’s score is its agreement with the gold answers." if step.variable == "critic" and method.validates else ""
    wrong = "Here wrong labels count, on purpose; every other score uses the true ones." if method.validation_labels == "wrong" else ""
    return [rule, critic, wrong, f"The best {method.beam} are carried on side by side." if method.beam > 1 else ""]


def _textgrad_evaluate(step: Step, method: Method) -> list[str]:
    if method.critic and step.variable == "prompt":
        return ["TextGrad’s loss is a call:", *_evaluate(step, method)]
    number = "TextGrad’s loss is a function of texts: 1 where an output agrees with"
    return {
        "correct": [f"{number} the true label, 0 where not."],
        "wrong": [f"{number} a wrong label on purpose, always the same one for a question, 0 where not. Scores use the true label."],
        "none": ["TextGrad’s loss is a function of the output alone, which says that nothing was evaluated."],
    }[method.labels]


def _textgrad_output_critique(step: Step, method: Method) -> list[str]:
    return ["TextGrad’s backward function of the loss asks for feedback to each output."]


def _textgrad_prompt_critique(step: Step, method: Method) -> list[str]:
    return ["TextGrad’s backward function of the call asks for feedback to the prompt, from all the feedback that the output has."]


def _textgrad_rewrite(step: Step, method: Method) -> list[str]:
    past = f"It is shown the prompts of the last {method.momentum} steps, this one included." if method.momentum > 1 else ""
    first = "TextGrad’s optimiser reads all feedback, each with its conversation, and writes the prompt anew between its tags."
    return [first, past, "Words struck and added are against the old prompt."]


_TEXTGRAD = {
    "evaluate": _textgrad_evaluate,
    "output_critique": _textgrad_output_critique,
    "prompt_critique": _textgrad_prompt_critique,
    "rewrite": _textgrad_rewrite,
}
_LINES = {
    "predict": _predict,
    "evaluate": _evaluate,
    "output_critique": _output_critique,
    "prompt_critique": _prompt_critique,
    "rewrite": _rewrite,
    "select": _select,
}
