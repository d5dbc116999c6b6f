"""What something will cost before it is run: how many calls, and what they have cost on the mean so far."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradbook.records import STAGES, SplitName, Stage, Step

if TYPE_CHECKING:
    from gradbook.recording import Recording

Calls = Counter[Stage]
"""How many calls by the stage that they are like: an answer on a split is one of "predict"."""


@dataclass(frozen=True)
class Plan:
    """What something would cost: calls, tokens, money in the currency of the price, and time in seconds.

    Estimated from the mean call of each stage in this case. `unknown` counts calls of stages that the case has not made yet, which are in
    no other sum; `cost` is None where no price is known, `seconds` where there is no model that says how many run at once. Calls that are
    cached already will cost nothing.
    """

    calls: int
    tokens: int
    cost: float | None
    seconds: float | None
    unknown: int = 0

    def __mul__(self, times: float) -> "Plan":
        calls, tokens, unknown = (math.ceil(value * times) for value in (self.calls, self.tokens, self.unknown))
        cost, seconds = (None if value is None else value * times for value in (self.cost, self.seconds))
        return Plan(calls, tokens, cost, seconds, unknown)

    def __str__(self) -> str:
        price = f", cost {self.cost:,.4f}" if self.cost else ""
        time = f", {duration(self.seconds)}" if self.seconds is not None else ""
        unknown = f"; nothing is known of {self.unknown:,} of them" if self.unknown else ""
        return f"{self.calls:,} calls at most, about {self.tokens:,} tokens{time}{price}{unknown}"


def duration(seconds: float) -> str:
    """A time in words, short."""
    return f"{seconds / 60:,.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def plan(case: "Recording", calls: Calls) -> Plan:
    """What so many calls would cost in this case, by the mean of those that it has made."""
    tokens, cost, seconds, unknown, priced = 0.0, 0.0, 0.0, 0, False
    for stage, count in calls.items():
        seen = case.spent_like(stage)
        if not seen.calls:
            unknown += count
            continue
        seconds += count * seen.seconds / seen.calls
        if known := seen.calls - seen.unknown:
            tokens += count * (seen.prompt_tokens + seen.completion_tokens) / known
            cost, priced = cost + count * (seen.cost or 0.0) / known, priced or seen.cost is not None
    return Plan(calls.total(), round(tokens), cost if priced else None, seconds / case.at_once if case.at_once else None, unknown)


def run_again(case: "Recording", step: Step, fresh_from: Stage) -> Calls:
    """The calls of one replicate of a step that is fresh from a stage on; those of a selection are answers on the validation split."""
    method, found = case.method_of(step), Calls()
    for stage in STAGES[STAGES.index(fresh_from) :]:
        if stage not in step.stages:
            continue
        if stage == "select" and method.selection == "pareto":  # a draw ends with the acceptance, which is by the batch
            found["predict"] += len(step.batch)
        elif stage == "select":
            prompts = len({step.prompt, *(c.prompt for c in step.rewrite or ())})
            found["predict"] += prompts * len(case.task.validation) if method.validates else 0
        elif stage != "evaluate" or (method.critic and step.variable == "prompt"):
            found[stage] += len(getattr(step, stage) or ()) or len(step.batch) or 1
    return found


def answers(case: "Recording", split: SplitName, times: int = 1) -> Calls:
    """The calls of so many scores of a prompt on a split."""
    return Calls({"predict": times * len(case.task.split(split))})


def times(calls: Mapping[Stage, int], count: int) -> Calls:
    """So many calls `count` times."""
    return Calls({stage: n * count for stage, n in calls.items()})
