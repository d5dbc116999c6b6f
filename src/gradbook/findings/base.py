"""What every finding has, and what it will cost before it is made."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from gradbook import displays
from gradbook.records import STAGES, Record, SplitName, Stage, Step

if TYPE_CHECKING:
    from gradbook.recording import Recording

Property = Literal["holds", "does not hold", "cannot tell"]
"""What a probe can come to, as a word."""


class Finding(Record):
    """What was found about a step: the numbers it stands on are kept whole, verdict and sentence follow from them.

    `step` is what it is about, `split` where it was measured (None where no split was), `margin` the difference, a share, that was said to
    matter before anything ran. `id` is that of its event.
    """

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    hypothesis: ClassVar[str] = ""

    step: int
    split: SplitName | None = None
    margin: float = 0.05
    id: str = ""

    @property
    def verdict(self) -> str:
        """The finding in a word."""
        raise NotImplementedError

    def __str__(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        where = f", {self.split}" if self.split else ""
        return f"{self.title}, step {self.step}{where}: {self}"

    def _repr_html_(self) -> str:
        return displays.html(self)


# --- what it costs -------------------------------------------------------------------------------------------------------


Calls = Counter[Stage]
"""How many calls by the stage that they are like: an answer on a split is one of "predict"."""


@dataclass(frozen=True)
class Plan:
    """What something would cost: calls, tokens, money in the currency of the price, and time in seconds.

    Estimated from the mean call of each stage in this case. `unknown` counts calls of stages that the case has not made yet, which are in
    no other sum; `cost` is None where no price is known. Calls that are cached already will cost nothing.
    """

    calls: int
    tokens: int
    cost: float | None
    seconds: float
    unknown: int = 0

    def __str__(self) -> str:
        minutes = f"{self.seconds / 60:.0f} min" if self.seconds >= 90 else f"{self.seconds:.0f} s"
        price = f", cost {self.cost:,.4f}" if self.cost else ""
        unknown = f"; nothing is known of {self.unknown:,} of them" if self.unknown else ""
        return f"{self.calls:,} calls at most, about {self.tokens:,} tokens, {minutes}{price}{unknown}"


def plan(case: "Recording", calls: Calls) -> Plan:
    """What so many calls would cost in this case, by the mean of those that it has made."""
    seen = {stage: case.spent_like(stage) for stage in calls}
    each = {stage: (spent, spent.calls - spent.unknown) for stage, spent in seen.items()}
    tokens = sum(n * (s.prompt_tokens + s.completion_tokens) / known for stage, n in calls.items() for s, known in [each[stage]] if known)
    costs = [n * s.cost / known for stage, n in calls.items() for s, known in [each[stage]] if known and s.cost is not None]
    seconds = sum(n * s.seconds / s.calls for stage, n in calls.items() for s in [seen[stage]] if s.calls)
    unknown = sum(n for stage, n in calls.items() if not seen[stage].calls)
    return Plan(calls.total(), round(tokens), sum(costs) if costs else None, seconds / case.at_once, unknown)


def run_again(case: "Recording", step: Step, fresh_from: Stage) -> Calls:
    """The calls of one replicate of a step that is fresh from a stage on; those of a selection are answers on the validation split."""
    method, found = case.method_of(step), Calls()
    for stage in STAGES[STAGES.index(fresh_from) :]:
        if stage not in step.stages:
            continue
        if stage == "select":
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
