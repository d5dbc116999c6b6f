"""How to read a report: a line on each thing that occurs in it."""

from typing import TYPE_CHECKING

from gradbook.loop import Method
from gradbook.records import Step
from gradbook.tell.views import Segment, Words
from gradbook.tell.words import rich, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

_STAGES = {
    "output_critique": "An **output critique** says how one output should change so that its evaluation improves; it plays ∂L/∂ŷ.",
    "prompt_critique": "A **prompt critique** says how the prompt should change so that the output follows that; it plays ∂L/∂θ.",
}
_ARMS: dict[tuple[str, str], str] = {
    ("update", "one-step"): "A **one-step** update rewrites the prompt straight from examples and evaluations, without critiques.",
    ("update", "rewrite"): "The update **rewrite** says the prompt in other words. It sees no data.",
    ("update", "improve"): "The update **improve** asks for a better prompt. It sees no data.",
    ("labels", "wrong"): "The labels that the feedback shows are **wrong on purpose**, always the same one for a question. "
    "Scores use the true labels.",
    ("labels", "none"): "With **no labels**, the feedback holds no evaluation at all. Scores use the true labels.",
    ("selection", "naive"): "**Naive** selection takes the one candidate as it is.",
    ("selection", "random"): "**Random** selection takes any of the candidates, unseen.",
    ("selection", "validated"): "**Validated** selection takes the best on the validation split, the old prompt included.",
    ("selection", "guard"): "The **guard** keeps the one candidate only where it is better than the old prompt.",
    ("engine", "gepa"): "The rewrite and the selection are **GEPA’s own**: its reflection on the batch, its acceptance by the sum of the "
    "scores there, and its Pareto front of the validation split, from which the prompt that each step begins with is drawn.",
    ("validation_labels", "wrong"): "The selection counted by validation labels that are **wrong on purpose**. Scores of steps use the "
    "true ones.",
}
_HELPED = ("train_every", "errors_only", "critiques", "apart", "paraphrases", "beam", "momentum", "add_only")
_VERDICTS = {"critic-binary": "right or wrong", "critic-score": "a score from 0 to 100, of which 50 and more means right"}


def legend(rec: "Recording", steps: list[Step], methods: list[Method]) -> list[Words]:
    """The lines for a case whose steps followed `methods`."""
    stages = {stage for step in steps for stage in step.stages}
    said = [rich(told) for stage, told in _STAGES.items() if stage in stages]
    arms = {arm: told for arm, told in _ARMS.items() if rec.task.labelled or arm[0] != "labels"}
    said += [rich(told) for arm, told in arms.items() if any(_takes(method, *arm) for method in methods)]
    said += [rich(told, said=_says(methods)) for told in _CRITIC if any(method.critic for method in methods)]
    said += [told for name in _HELPED if (told := _helped(name, methods))]
    if "rewrite" in stages:
        runs = (("same", "Words that are "), ("struck", "struck"), ("same", " were taken out, words that are "), ("added", "underlined"))
        said.append((*(Segment(kind, text) for kind, text in runs), Segment("same", " were put in.")))  # type: ignore[arg-type]
    if any(step.edits for step in steps):
        said.append(
            rich("The sign ✎ marks what a person changed. What depends on it ran again, and the rest is as in the step it branches off.")
        )
    if any(step.brought for step in steps):
        said.append(rich("What is marked **brought** was made elsewhere, by people or tools; the mark says where it stood."))
    balanced = " Balanced accuracy is the mean recall of the classes: it stays low for a prompt that always gives the same answer."
    if rec.task.labelled:
        said.append(rich("An answer that could not be read is **unparsed** and counts as wrong." + balanced * bool(rec.task.labels)))
    else:
        said.append(rich("There are **no labels**: no output is called right or wrong, and no prompt is scored."))
    if any(record.lost for step in steps for stage in step.stages if stage != "select" for record in getattr(step, stage) or ()):
        said.append(
            rich("A reply that was **cut off** at its limit of tokens, or that never came (**no reply**), gives nothing to go on with.")
        )
    if any(step.replicate_of is not None for step in rec) or any(question.replicate for question in rec.recorded_questions()):
        said.append(rich("A **replicate** ran the same stages again with fresh samples and no change. What replicates differ by is noise."))
    return said


_CRITIC = (
    "A **critic** evaluates the outputs. It reads input and output, without the label, and says {said}. Its prompt is optimised in steps "
    "of its own, from feedback by the labels, each after a step of the task’s prompt on the same batch.",
    "The numbers of a critic’s step are its **agreement** with the gold answers, not the accuracy of the task’s prompt. A verdict that "
    "cannot be used agrees with nothing.",
)


def _says(methods: list[Method]) -> str:
    forms = {method.evaluation for method in methods}
    return ", or ".join(told for form, told in _VERDICTS.items() if form in forms)


def _takes(method: Method, setting: str, value: str) -> bool:
    return getattr(method, setting) == value and (method.sees_data or setting != "labels")


def _helped(name: str, methods: list[Method]) -> Words:
    """The line of help on a setting that some method changes from its default; nothing where none does."""
    values = list(dict.fromkeys(value for method in methods if (value := method.changed().get(name))))
    if not values:
        return ()
    stated = "" if values[0] is True else f" {' and '.join(map(str, values))}"
    return rich("**{name}**: {help}", name=spaced(name) + stated, help=Method.help(name))
