"""The paragraph on a study that a paper could print."""

import math
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gradbook.records import SPLITS
from gradbook.tables import method_line
from gradbook.tell.words import count, sampled, spaced

if TYPE_CHECKING:
    from gradbook.studies import Arm, Registration, Study


def length(arm: "Arm") -> str:
    """How long a trial of an arm is."""
    if arm.steps is not None:
        return count(arm.steps, "batch")
    return count(arm.epochs, "epoch") if arm.epochs is not None else f"as many batches as fit into {arm.calls:,} calls"


def paragraph(study: "Study") -> str:
    """What was run, on what, with which models, how it was judged, and what it took."""
    said = [
        *_ran(study),
        *_models(study),
        _outcome(study),
        _registered(study),
        _tests(study.registered),
        *_looks(study.registered),
        *_spent(study),
    ]
    return " ".join([*said, f"Made with gradbook {version('gradbook')}; registration {study.registered.id}."])


def _ran(study: "Study") -> Iterator[str]:
    design = study.design
    tasks = [
        f"{name} ({', '.join(f'{len(task.split(split))} {split}' for split in SPLITS)} examples)" for name, task in design.tasks.items()
    ]
    yield f"We compared {count(len(design.arms), 'arm')} on {' and '.join(tasks)}."
    results = study.store.results()
    for name, arm in design.arms.items():
        places = [place for place in design.places() if place.arm == name]
        ended = [results[place].status for place in places if place in results]
        size = f", batches of {arm.method.batch_size}" if arm.method.sees_data else ""
        own = f", with meta-prompts of our own for {spaced(', '.join(arm.method.own_templates))}" if arm.method.own_templates else ""
        failed = f", {ended.count('failed')} failed" if "failed" in ended else ""
        told = f"{length(arm)} a trial; {ended.count('done')} of {count(len(places), 'trial')} done{failed}"
        yield f"Arm “{name}”: {method_line(arm.method)}{size}{own}; {told}."
    yield f"The seed was {design.seed}; trials of the same number have the same seed in all arms, and so the same batches."


def _models(study: "Study") -> Iterator[str]:
    for name, roles in study.design.models.items():
        by_spec: dict[str, tuple[Any, list[str]]] = {}
        for role, spec in roles.items():
            by_spec.setdefault(spec.model_dump_json(), (spec, []))[1].append(role)
        for spec, played in by_spec.values():
            under = "" if name == spec.name else f", here called {name}"
            part = "in all roles" if len(played) == len(roles) else f"as {' and '.join(played)}"
            yield f"Model {part}: {spec.name} ({spec.kind}; {spec.identity}; {sampled(spec.sampling)}{under})."


def _outcome(study: "Study") -> str:
    return (
        "The outcome of a trial is the accuracy of the prompt that it ended with on the test split, which nothing was selected by; "
        "what a training split is asked for is the share of minibatches that was right before the update."
        if any("epoch" in arm for h in study.registered.hypotheses for arm in h.arms)
        else "The outcome of a trial is the accuracy of the prompt that it ended with on the test split, which nothing was selected by."
    )


def _registered(study: "Study") -> str:
    first, said = study.design.registered[0], study.registered
    families = {h.family for h in said.hypotheses}
    margins = ", ".join(f"±{100 * margin:g}" for margin in sorted({h.margin for h in said.hypotheses})) or "none"
    about = f"{count(len(said.hypotheses), 'hypothesis')} in {count(len(families), 'family')}"
    changed = study.changes()
    since = f" Since then: {' '.join(changed)}" if changed else " Nothing was changed since."
    return (
        f"Before the first call, at {first.time} (hash {first.id}), {about} were registered, "
        f"with margins of equivalence of {margins} points.{since}"
    )


def _tests(said: "Registration") -> str:
    one, two = (sum(h.sided == sided and not h.doses for h in said.hypotheses) for sided in (1, 2))
    directed = [f"one-sided in the stated direction ({one})"] * (one > 0) + [f"two-sided ({two})"] * (two > 0)
    paired = "; pairs of trials by flipping the signs of their differences" if any(h.paired for h in said.hypotheses) else ""
    trends = "; trends by Kendall’s τ under permutation" if any(h.doses for h in said.hypotheses) else ""
    correction = {"holm": "Holm’s", "bonferroni": "Bonferroni’s"}[said.correction]
    drawn = f"{said.arrangements:,} arrangements and else with as many drawn ones (fewer beyond 200 trials)"
    return (
        f"Arms were compared by permutation t-tests{', ' if directed else ''}{' or '.join(directed)}, exact where there are at most {drawn}"
        f"{paired}{trends}; equivalence by two one-sided permutation tests against the margin. P values were corrected by {correction} "
        f"method within families, on each task and model for itself, at alpha = {said.alpha:g}."
    )


def _looks(said: "Registration") -> Iterator[str]:
    if said.looks:
        yield "We looked after every trial, and kept alpha over all looks together."


def _spent(study: "Study") -> Iterator[str]:
    done = list(study.store.results().values())
    calls, paid, unknown = (sum(getattr(result, name) for result in done) for name in ("calls", "paid", "unknown"))
    tokens = sum(result.prompt_tokens + result.completion_tokens for result in done)
    costs = [result.paid_cost for result in done if result.paid_cost is not None]
    cost = f", at a cost of {math.fsum(costs):,.2f}" if costs else ""
    less = f" ({unknown:,} calls of unknown usage not counted)" if unknown else ""
    yield (
        f"In all {count(calls, 'call')} of {count(tokens, 'token')}{less}, of which {paid:,} were paid and the others shared between "
        f"trials{cost}, in {hours(sum(result.seconds for result in done))} of trials, of which several may run at a time."
    )


def hours(seconds: float) -> str:
    """A time in words, in hours where it is long."""
    return (
        f"{seconds / 3600:,.1f} hours" if seconds >= 7200 else f"{seconds / 60:,.1f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    )
