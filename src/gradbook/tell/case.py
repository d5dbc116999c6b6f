"""A case as a whole: what stands above it, what it is, how its steps were made, and how to read what follows."""

from collections import Counter
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

from gradbook.loop import Method
from gradbook.records import SPLITS, Step
from gradbook.tables import method_line, setting_told
from gradbook.tasks import Task
from gradbook.tell.legend import legend
from gradbook.tell.overviews import CaseView, Fact, HeadView, TaskView, TrainingView
from gradbook.tell.views import Segment, Words
from gradbook.tell.words import NOTHING, count, interval, of_steps, rich, sampled, share, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

Methods = list[tuple[Method, list[int]]]
"""Methods with the steps that follow them."""
LABELS = 12
"""Labels that a task shows a column of."""
_PACKAGES = ("gradbook", "openai", "pandas", "plotly")


def head(rec: "Recording") -> HeadView:
    """What stands above a case."""
    at_hand = getattr(rec, "models", {}).values()  # a case has them, a recording does not
    names = dict.fromkeys([model.name for model in at_hand] or [facts["name"] for facts in rec.model_facts.values()])
    kinds = tuple(sorted({model.kind for model in at_hand} or {"replay"}))
    closed = f"Read only: {rec.read_only_because}." if rec.read_only else ""
    return HeadView(rec.title, rec.task.name, ", ".join(names), kinds, str(rec.spent), closed)


def case(rec: "Recording") -> CaseView:
    """A case as a report opens it."""
    steps = [step for step in rec if not step.aside]
    used = methods_used(rec)
    private = "The examples of this task must not be published, and this report holds some of them." if rec.task.private else ""
    about = _about(rec, steps)
    followed = [method for method, ids in used if ids]
    return CaseView(
        title=rec.title,
        task=rec.task.name,
        about=about,
        private=private,
        facts=tuple(_facts(rec, used)),
        reading=tuple(legend(rec, steps, followed)),
        methods=_paragraph(rec, steps, used),
        versions=", ".join([*(f"{name} {version(name)}" for name in _PACKAGES), f"Python {python_version()}"]),
        training=_training(rec),
    )


def task(shown: Task) -> TaskView:
    """A task, with the shares of its first labels on each split."""
    labels = shown.labels[:LABELS]
    counts = {split: Counter(label for example in shown.split(split) for label in shown.classes(example.target)) for split in SPLITS}
    shares = {split: [f"{found[label] / max(1, found.total()):.0%}" for label in labels] for split, found in counts.items()}
    rows = tuple((split, str(len(shown.split(split))), *shares[split]) for split in SPLITS)
    return TaskView(shown.name, f"{shown.description} ({shown.answer.kind})", ("split", "examples", *labels), rows)


def methods_used(rec: "Recording") -> Methods:
    """Each method of the case with the steps that follow it, the one from here on too, in the order of their first steps."""
    used: Methods = []
    places: dict[int, int] = {}  # a recording gives the same object for the same method
    for step in rec:
        if step.parent is None or step.aside:
            continue
        method = rec.method_of(step)
        place = places.get(id(method))
        if place is None:
            place = next((n for n, (other, _) in enumerate(used) if other == method), len(used))
            used += [(method, [])] if place == len(used) else []
            places[id(method)] = place
        used[place][1].append(step.id)
    return used if any(method == rec.method for method, _ in used) else [*used, (rec.method, [])]


# --- what it is ------------------------------------------------------------------------------------------------------------


def _about(rec: "Recording", steps: list[Step]) -> Words:
    branches, critic = sum(s.origin is not None for s in steps), sum(s.variable == "critic" for s in steps)
    shares = [f"{critic:,} of the critic’s prompt"] * (critic > 0) + [f"{count(branches, 'branch')} by an edit"] * (branches > 0)
    which = f", of which {' and '.join(shares)}" if shares else ""
    changed = ", and of what a person changed on the way" if branches else ""
    told = f"{_from_what(rec, steps)}{changed}: {count(len(steps) - 1, 'step')}{which}"
    described = f". {rec.task.description}" if rec.task.description else "."
    record = "This is the record of a prompt that a language model rewrote step by step{told}. Task: **{name}**{more}"
    return rich(record, told=told, name=rec.task.name, more=described)


def _from_what(rec: "Recording", steps: list[Step]) -> str:
    updates = {rec.method_of(step).update for step in steps[1:]}
    if updates == {"three-stage"}:
        return ", from critiques of its own answers"
    if updates and updates <= {"rewrite", "improve"}:
        return ", without looking at any data"
    return ", from its own answers" if updates == {"one-step"} else ""


def _facts(rec: "Recording", used: Methods) -> list[Fact]:
    sizes = ", ".join(f"{len(rec.task.split(split))} {split}" for split in SPLITS)
    answers = ", ".join(rec.task.labels) if rec.task.labels else rec.task.answer.kind
    return [
        _fact("Examples", sizes),
        _fact("Answers", answers),
        *(_method(f"Method of {of_steps(ids)}" if len(used) > 1 else "Method", method) for method, ids in used),
        *_models(rec),
        _fact("Seed", str(rec.seed)),
        _fact("Spent", str(rec.spent)),
        _fact("Journal", f"SHA-256 {rec.journal_sha256}"),
    ]


def _fact(name: str, *lines: str, more: str = "") -> Fact:
    return Fact(name, tuple((Segment("same", told),) for told in lines), more)


def _method(name: str, method: Method) -> Fact:
    settings = ", ".join(f"{spaced(name)} {setting_told(value)}" for name, value in method.model_dump(exclude={"templates"}).items())
    own = f"; templates changed: {spaced(', '.join(method.own_templates))}" if method.own_templates else ""
    size = f", batch size {method.batch_size}" if method.sees_data and "batch_size" not in method.changed() else ""
    return _fact(name, f"{method_line(method)}{size}{own}", more=f"every setting: {settings}")


def _models(rec: "Recording") -> list[Fact]:
    """The models on record, each with the roles that it played and the steps that it made."""
    made = _roles(rec)
    if not made:
        return [_fact("Model", "none so far")]
    shown = (rec.shown_model() or {"id": ""})["id"]
    facts = []
    for id, model in rec.model_facts.items():
        sampling = sampled(model["sampling"])
        told = rich("**{name}**, {kind}; {sampling}", name=model["name"], kind=model["kind"], sampling=sampling)
        roles = [f"as {role} in {of_steps(ids)}" for role, ids in made[id].items()] if len(made) > 1 else []
        roles += ["its scores are shown"] if id == shown and len(made) > 1 else []
        lines = [told, (Segment("same", f"{model['identity']}, id {id}"),), *([(Segment("same", "; ".join(roles)),)] if roles else [])]
        facts.append(Fact("Model", tuple(lines)))
    return facts


def _roles(rec: "Recording") -> dict[str, dict[str, list[int]]]:
    made: dict[str, dict[str, list[int]]] = {id: {} for id in rec.model_facts}
    for step in rec:
        for models in rec.models_of(step).values():
            for role, facts in models.items():
                known = made.setdefault(facts["id"], {}).setdefault(role, [])
                if not known or known[-1] != step.id:
                    known.append(step.id)
    return made


# --- for a paper ---------------------------------------------------------------------------------------------------------------


def _paragraph(rec: "Recording", steps: list[Step], used: Methods) -> str:
    """The paragraph for a methods section: models with hashes, sampling, settings, seed, counts, cost, and the journal's hash."""
    sizes = ", ".join(f"{len(rec.task.split(split))} {split}" for split in SPLITS)
    made = count(len(steps) - 1, "step")
    branches, replicates = sum(s.origin is not None for s in steps), len(rec) - len(steps)
    ran = made + (f" (of them {count(branches, 'branch')} by edits)" if branches else "")
    ran += f" and {count(replicates, 'replicate')} without a change" if replicates else ""
    told = [f"Task {rec.task.name} ({sizes} examples; seed {rec.seed}). We ran {ran}."]
    followed = [(method, ids) for method, ids in used if ids]
    for method, ids in followed:
        size = f", batches of {method.batch_size}" if method.sees_data else ""
        whose = f"{of_steps(ids).capitalize()} followed" if len(followed) > 1 else "Steps followed"
        own = f", with meta-prompts of our own for {spaced(', '.join(method.own_templates))}" if method.own_templates else ""
        told.append(f"{whose} the method: {method_line(method)}{size}{own}.")
    roles = _roles(rec)
    for id, model in rec.model_facts.items():
        sampling = sampled(model["sampling"])
        role = f" as {', '.join(roles[id])}" if roles.get(id) else ""
        told.append(f"Model{role}: {model['name']} ({model['kind']}; {model['identity']}; {sampling}; id {id}).")
    told.append(f"In all {rec.spent}. Made with gradbook {version('gradbook')}; SHA-256 of the journal {rec.journal_sha256}.")
    return " ".join(told)


# --- the training split ----------------------------------------------------------------------------------------------------------


def _training(rec: "Recording") -> TrainingView | None:
    """Accuracy on the whole training split at the end of each epoch, where a method tracks it."""
    if not any(rec.method_of(step).train_every for step in rec):
        return None
    last = max(step.id for step in rec if step.origin is None)
    tracked = rec.training(last).to_dict("records")
    rows = tuple(_epoch(rec, row["step"], row["epoch"]) for row in tracked if float(row["epoch"]).is_integer())
    heads = ["Epoch", "Step", "Accuracy", "95 % interval", "Balanced", "Unparsed", "Characters", "Tokens"]
    shown = tuple(name for name in heads if rec.task.labels or name != "Balanced")
    about = f"Accuracy on the whole training split, epoch by epoch, on the line of steps to step {last}"
    return TrainingView(about, shown, rows) if rows else None


def _epoch(rec: "Recording", step: int, epoch: float) -> tuple[str, ...]:
    metrics = rec.metrics(step, "train")
    if metrics is None:
        return ()
    balanced = [f"{metrics.balanced:.1%}"] if rec.task.labels else []
    means = [f"{mean.value:.1f}" if mean.total else NOTHING for mean in (metrics.length, metrics.tokens)]
    shares = [share(metrics.accuracy), interval(*metrics.accuracy.interval), *balanced, str(metrics.unparsed.count)]
    return (f"{epoch:g}", str(step), *shares, *means)
