"""The opening of a report: what the case is, how its steps were made, and how to read what follows."""

import sys
from datetime import date
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode

from gradbook.export.html import details, line, table, text
from gradbook.export.steps import markdown
from gradbook.export.telling import count, method_told, methods_used, ranges
from gradbook.loop import Method
from gradbook.records import SPLITS, Step

if TYPE_CHECKING:
    from gradbook.recording import Recording

_ARMS: dict[tuple[str, str], str] = {
    ("update", "one-step"): "A <strong>one-step</strong> update rewrites the prompt straight from examples and evaluations, "
    "without critiques.",
    ("update", "rewrite"): "The update <strong>rewrite</strong> says the prompt in other words. It sees no data.",
    ("update", "improve"): "The update <strong>improve</strong> asks for a better prompt. It sees no data.",
    ("labels", "wrong"): "The labels that the feedback shows are <strong>wrong on purpose</strong>, always the same one for a "
    "question. Scores use the true labels.",
    ("labels", "none"): "With <strong>no labels</strong>, the feedback holds no evaluation at all. Scores use the true labels.",
    ("selection", "naive"): "<strong>Naive</strong> selection takes the one candidate as it is.",
    ("selection", "random"): "<strong>Random</strong> selection takes any of the candidates, unseen.",
    ("selection", "validated"): "<strong>Validated</strong> selection takes the best on the validation split, the old prompt included.",
    ("selection", "guard"): "The <strong>guard</strong> keeps the one candidate only where it is better than the old prompt.",
    ("validation_labels", "wrong"): "The selection counted by validation labels that are <strong>wrong on purpose</strong>. "
    "Scores of steps use the true ones.",
}
_HELPED = ("train_every", "errors_only", "critiques", "apart", "paraphrases", "beam", "momentum", "add_only")


def opening(case: "Recording", steps: list[Step]) -> list[NotebookNode]:
    """The title with the facts, and how to read the report."""
    private = "<p><strong>The examples of this task must not be published, and this report holds some of them.</strong></p>"
    reading = "".join(f"<li>{said}</li>" for said in _reading(case, steps))
    head = (f"# {line(case.title, 200)}", _about(case, steps), private if case.task.private else "", table((), _facts(case)))
    return [markdown("title", *head), *([markdown("reading", "## How to read it", f"<ul>{reading}</ul>")] if reading else [])]


def own_version() -> str:
    """The version of gradbook."""
    return sys.modules["gradbook"].__version__  # an import of the package would be one of every module in it


# --- what it is --------------------------------------------------------------------------------------------------------


def _about(case: "Recording", steps: list[Step]) -> str:
    branches, critic = sum(s.origin is not None for s in steps), sum(s.variable == "critic" for s in steps)
    shares = [f"{critic} of the critic's prompt"] * (critic > 0) + [f"{count(branches, 'branch')} by hand"] * (branches > 0)
    which = f", of which {' and '.join(shares)}" if shares else ""
    changed = ", and of what a person changed on the way" if branches else ""
    task = f"Task: <strong>{text(case.task.name)}</strong>{f'. {text(case.task.description)}' if case.task.description else '.'}"
    told = f"a prompt that a language model rewrote step by step{_from_what(case, steps)}{changed}: {count(len(steps) - 1, 'step')}{which}"
    return f"<p>This is the record of {told}. {task}</p>"


def _from_what(case: "Recording", steps: list[Step]) -> str:
    updates = {case.method_of(step).update for step in steps[1:]}
    if updates == {"three-stage"}:
        return ", from critiques of its own answers"
    if updates and updates <= {"rewrite", "improve"}:
        return ", without looking at any data"
    return ", from its own answers" if updates == {"one-step"} else ""


def _facts(case: "Recording") -> list[list[str]]:
    sizes = ", ".join(f"{len(case.task.split(split))} {split}" for split in SPLITS)
    answers = ", ".join(map(text, case.task.labels)) if case.task.labels else text(case.task.answer.kind)
    return [
        ["Examples", sizes],
        ["Answers", answers],
        *_methods(case),
        *_models(case),
        ["Seed", str(case.seed)],
        ["Spent", _spent(case)],
        ["Exported", f"{date.today().isoformat()}, gradbook {own_version()}"],
    ]


def _methods(case: "Recording") -> list[list[str]]:
    used = methods_used(case)
    if len(used) == 1:
        return [["Method", _method(used[0][0])]]
    return [[f"Method of {_of_steps(ids)}", _method(method)] for method, ids in used]


def _of_steps(ids: list[int]) -> str:
    return "the steps to come" if not ids else f"step{'s' * (len(ids) > 1)} {ranges(ids)}"


def _method(method: Method) -> str:
    settings = method.model_dump(exclude={"templates"})
    every = ", ".join(f"{name.replace('_', ' ')} {text(value)}" for name, value in settings.items())
    return f"{method_told(method)}{details('every setting', f'<p>{every}</p>')}"


def _models(case: "Recording") -> list[list[str]]:
    """The models on record, each with the roles that it played and the steps that it made."""
    made: dict[str, dict[str, list[int]]] = {id: {} for id in case.model_facts}
    for step in case:
        for models in case.models_of(step).values():
            for role, facts in models.items():
                if step.id not in (known := made.setdefault(facts["id"], {}).setdefault(role, [])):
                    known.append(step.id)
    if len(made) <= 1:
        return [["Model", next(map(_model, case.model_facts.values()), "none so far")]]
    shown = (case.shown_model() or {"id": ""})["id"]
    rows = []
    for id, facts in case.model_facts.items():
        told = [f"as {role} in {_of_steps(ids)}" for role, ids in made[id].items()] + ["its scores are shown"] * (id == shown)
        rows.append(["Model", f"{_model(facts)}<br>{'; '.join(told)}"])
    return rows


def _model(model: dict[str, Any]) -> str:
    sampling = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in model["sampling"].items())
    name, kind, identity = (text(model[field]) for field in ("name", "kind", "identity"))
    return f"<strong>{name}</strong>, {kind}; {text(sampling or 'default sampling')}<br>{identity}"


def _spent(case: "Recording") -> str:
    return str(case.spent)


# --- how to read it ----------------------------------------------------------------------------------------------------


def _reading(case: "Recording", steps: list[Step]) -> list[str]:
    """A line on each thing that occurs in this case."""
    stages = {stage for step in steps for stage in step.stages}
    methods = [method for method, ids in methods_used(case) if ids]
    said = [_STAGE_LINES[stage] for stage in _STAGE_LINES if stage in stages]
    said += [told for arm, told in _ARMS.items() if any(_takes(method, *arm) for method in methods)]
    said += _critic(methods)
    said += [told for name in _HELPED if (told := _helped(name, methods))]
    if "rewrite" in stages:
        said.append("Words that are <del>struck</del> were taken out, words that are <ins>underlined</ins> were put in.")
    if any(step.edits for step in steps):
        said.append("The sign ✎ marks what a person changed. What depends on it ran again, and the rest is as in the step it branches off.")
    said.append(f"An answer that could not be read is <strong>unparsed</strong> and counts as wrong.{_balanced(case)}")
    if any(step.replicate_of is not None for step in case) or any(question.replicate for question in case.recorded_questions()):
        again = "ran the same stages again with fresh samples and no change. What replicates differ by is noise."
        said.append(f"A <strong>replicate</strong> {again}")
    return said


def _takes(method: Method, setting: str, value: str) -> bool:
    return getattr(method, setting) == value and (method.sees_data or setting != "labels")


_STAGE_LINES = {
    "output_critique": "An <strong>output critique</strong> says how one output should change so that its evaluation improves; "
    "it plays ∂L/∂ŷ.",
    "prompt_critique": "A <strong>prompt critique</strong> says how the prompt should change so that the output follows that; "
    "it plays ∂L/∂θ.",
}


def _critic(methods: list[Method]) -> list[str]:
    forms = {method.evaluation for method in methods if method.critic}
    if not forms:
        return []
    says = {"critic-binary": "right or wrong", "critic-score": "a score from 0 to 100, of which 50 and more means right"}
    said = ", or ".join(told for form, told in says.items() if form in forms)
    return [
        f"A <strong>critic</strong> evaluates the outputs. It reads input and output, without the label, and says {said}. Its prompt "
        "is optimised in steps of its own, from feedback by the labels, each after a step of the task's prompt on the same batch.",
        "The numbers of a critic's step are its <strong>agreement</strong> with the gold answers, not the accuracy of the task's "
        "prompt. A verdict that cannot be used agrees with nothing.",
    ]


def _helped(name: str, methods: list[Method]) -> str:
    """The line of help on a setting that some method changes from its default."""
    values = list(dict.fromkeys(value for method in methods if (value := method.changed().get(name))))
    if not values:
        return ""
    stated = "" if values[0] is True else f" {' and '.join(map(str, values))}"
    return f"<strong>{name.replace('_', ' ')}{stated}</strong>: {text(Method.help(name))}"


def _balanced(case: "Recording") -> str:
    told = " Balanced accuracy is the mean recall of the classes: it stays low for a prompt that always gives the same answer."
    return told if case.task.labels else ""
