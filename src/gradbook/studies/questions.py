"""The questions of a study: which properties of a gradient its arms can decide, and how they were registered before the first call.

Arms are set against each other where their methods differ in one respect and nothing else, and last as long or have the same calls.
"""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from gradbook.errors import StudyError
from gradbook.loop.method import PROMPT_ONLY
from gradbook.plan import epoch_length
from gradbook.records import Record
from gradbook.stats import Correction, Hypothesis, changed, outlook, registration
from gradbook.stats.permutation import DRAWS
from gradbook.studies.arms import LENGTHS, Arm
from gradbook.studies.counting import trial_calls
from gradbook.tasks import Task

FIRST_EPOCH, LAST_EPOCH = ", first epoch", ", last epoch"
"""What follows an arm's name where the share of its minibatches that was right is meant, before they were critiqued."""
MARGIN = 0.05


def arm_of(name: str) -> str:
    """The arm of a name in a hypothesis, which may say an epoch of it."""
    return name.removesuffix(FIRST_EPOCH).removesuffix(LAST_EPOCH)


class Registration(Record):
    """What a study is to decide, and how, said before its first call: `id` is a hash of it, which each result carries."""

    alpha: float = Field(0.05, gt=0, lt=0.5, description="How often a verdict may be wrong in a family.")
    correction: Correction = Field("holm", description="Of p within a family; families are of one task and model.")
    looks: bool = Field(False, description="Whether one looks after every trial and stops at verdicts; alpha is kept over all looks.")
    trials: dict[str, int] = Field(default={}, description="How many trials of each arm.")
    hypotheses: tuple[Hypothesis, ...] = ()
    time: str = ""

    @property
    def arrangements(self) -> int:
        """How many arrangements of the trials are drawn where not all are counted: fewer for each of many looks."""
        return 10_000 if self.looks else DRAWS

    @property
    def id(self) -> str:
        """The same for the same words, at whatever time."""
        return registration(self.hypotheses, **self.model_dump(exclude={"hypotheses", "time"}))

    def stamped(self) -> "Registration":
        """This, said now."""
        return self.model_copy(update={"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})

    def since(self, first: "Registration") -> tuple[str, ...]:
        """What is not as it was first registered, a sentence a change."""
        told = [
            f"{name} was {getattr(first, name)!r} and is {getattr(self, name)!r}."
            for name in ("alpha", "correction", "looks")
            if getattr(first, name) != getattr(self, name)
        ]
        arms = {**first.trials, **self.trials}
        told += [
            f"The arm {arm!r} had {first.trials.get(arm, 0)} trials and has {self.trials.get(arm, 0)}."
            for arm in arms
            if first.trials.get(arm, 0) != self.trials.get(arm, 0)
        ]
        return (*told, *changed(first.hypotheses, self.hypotheses))

    def check(self, arms: Mapping[str, Arm]) -> None:
        """Raise StudyError where a hypothesis is of an arm that is not there, or an arm is named as an epoch of one is."""
        if taken := next((name for name in arms if arm_of(name) != name), None):
            raise StudyError(f"an arm cannot be called {taken!r}: what ends so is an epoch of one; give it another name")
        for hypothesis in self.hypotheses:
            for name in hypothesis.arms:
                if arm_of(name) not in arms:
                    raise StudyError(f"the hypothesis {hypothesis.name!r} is of an arm {name!r}; there are {', '.join(arms)}")


def standard(arms: Mapping[str, Arm], task: Task, margin: float = MARGIN) -> tuple[Hypothesis, ...]:
    """The properties of a gradient (arXiv 2512.13598) that arms can decide on a task.

    Each pair of arms that differ in one respect is a hypothesis: the update (the chain rule; against an update that sees no data, data),
    the labels (the loss, or a critic that is to carry it), the selection (a guard; against a random candidate, a choice). Arms of other
    lengths are compared where the second has the calls of the first. A trend is one over numbers of candidates; training fits is the last
    epoch against the first.

    Args:
        arms: by name, filled, as a study has them.
        task: gives the calls of a trial and the length of an epoch.
        margin: the difference in accuracy below which arms count as equivalent.
    """
    pairs = [(first, second, _apart(arms[first], arms[second])) for first in arms for second in arms if first != second]
    found = [
        Hypothesis(name=f"{said[0]}{', at equal calls' * at_equal}", arms=(first, second), family=said[1], margin=margin, expects=said[2])
        for first, second, apart in pairs
        if (said := _question(arms[first], arms[second], apart))
        if (at_equal := _equal_calls(arms[first], arms[second], task)) or _as_long(arms[first], arms[second])
    ]
    return (*found, *_candidates(arms, margin), *_training(arms, task, margin))


def _apart(one: Arm, other: Arm) -> set[str]:
    """The settings in which two methods differ."""
    ours, theirs = one.method.model_dump(), other.method.model_dump()
    return {name for name in ours if ours[name] != theirs[name]}


def _as_long(one: Arm, other: Arm) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in LENGTHS)


def _equal_calls(one: Arm, other: Arm, task: Task) -> bool:
    return other.calls is not None and one.calls is None and other.calls == trial_calls(one, task).training.total()


def _question(one: Arm, other: Arm, apart: set[str]) -> tuple[str, str, str] | None:
    """The property that a pair decides, its family, and what is seen if it holds; None where the pair decides nothing."""
    a, b = one.method, other.method
    if a.labels == "correct" and apart == {"labels"}:
        told = {"wrong": "wrong labels", "none": "no evaluation"}[b.labels]
        if a.critic:
            return "a critic can carry the loss", "critic", f"A critic trained by correct labels leads to more than one with {told}."
        return "the loss matters", "loss", f"Feedback by correct labels leads to more than with {told}."
    if a.labels != "correct" or a.critic or a.update in PROMPT_ONLY or a.validation_labels != "correct":
        return None
    if apart == {"update"} and (a.update, b.update) == ("three-stage", "one-step"):
        return (
            "the chain rule matters",
            "chain rule",
            "Critiques, carried back to the prompt, lead to more than a rewrite without.",
        )
    if b.update in PROMPT_ONLY and apart <= {"update", "labels"}:
        return "data matter", "data", f"Feedback leads to more than {b.update}, which sees no data."
    if a.validates and b.selection == "naive" and apart <= {"selection", "candidates"}:
        return "validation guards", "validation", "To keep only what validates leads to more than to take each rewrite."
    if b.selection == "random" and apart <= {"selection", "candidates"}:
        return "the selection matters", "validation", "What is selected leads to more than a random candidate."
    return None


def _candidates(arms: Mapping[str, Arm], margin: float) -> Iterator[Hypothesis]:
    """A trend over how many candidates are validated, of arms that differ in nothing else."""
    groups: dict[str, dict[int, str]] = {}
    for name, arm in arms.items():
        if arm.method.selection == "validated":
            alike = arm.model_copy(update={"trials": None, "method": arm.method.model_copy(update={"candidates": 1})})
            groups.setdefault(alike.model_dump_json(), {})[arm.method.candidates] = name
    for group in groups.values():
        if len(group) > 1:
            doses = sorted(group)
            names = tuple(group[dose] for dose in doses)
            expects = "The more candidates there are to choose from, the more a trial ends with."
            yield Hypothesis(
                name="validation discovers", arms=names, doses=tuple(doses), family="validation", margin=margin, expects=expects
            )


def _training(arms: Mapping[str, Arm], task: Task, margin: float) -> Iterator[Hypothesis]:
    for name, arm in arms.items():
        batches = arm.batches(task)
        if batches and arm.method.sees_data and batches >= 2 * epoch_length(task, arm.method):
            yield Hypothesis(
                name="training fits",
                arms=(name + LAST_EPOCH, name + FIRST_EPOCH),
                family="training",
                margin=margin,
                paired=True,
                expects="More of the training examples are answered rightly in the last epoch than in the first.",
            )


def outlooks(registered: Registration, spreads: Mapping[str, float], assumed: float) -> list[dict[str, Any]]:
    """What the registered trials can show, a row a hypothesis; `spreads` between trials are known of some arms, of others `assumed`."""
    rows = []
    for h in registered.hypotheses:
        base = list(map(arm_of, h.arms))
        trials = [registered.trials.get(name, 0) for name in base]
        known = [spreads[name] ** 2 for name in base if not math.isnan(spreads.get(name, math.nan))]
        spread = math.sqrt(sum(known) / len(known)) if known else assumed
        row = {"property": h.name, "arms": told_arms(h), "trials": " and ".join(map(str, dict.fromkeys(trials))), "spread": spread}
        row |= dict.fromkeys(("detectable", "size", "power", "to_show", "to_exclude"), math.nan)
        if min(trials) >= 2:
            tests = sum(other.family == h.family for other in registered.hypotheses)
            found = outlook(h, trials, spread, tests=tests, alpha=registered.alpha, until="decided" if registered.looks else None)
            row |= {"detectable": found.detectable, "size": h.shown, "power": found.power}
            row |= {"to_show": found.trials_to_show or math.nan, "to_exclude": found.trials_to_exclude or math.nan}
        rows.append(row)
    return rows


def told_arms(h: Hypothesis) -> str:
    """The arms of a hypothesis in words."""
    return " < ".join(h.arms) if h.doses else " − ".join(h.arms)
