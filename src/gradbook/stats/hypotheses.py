"""What a study is to decide, said before its first call, and a hash of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from gradbook.errors import StatsError
from gradbook.records import Record, short_id
from gradbook.stats.permutation import Direction

Correction = Literal["holm", "bonferroni"]


class Hypothesis(Record):
    """A property of a gradient and the comparison that decides it.

    Raises:
        StatsError: a field is unknown or out of range, or arms and doses do not fit.
    """

    name: str = Field(min_length=1, description="The property, as a table names it: the loss matters.")
    arms: tuple[str, ...] = Field(description="Two arms, of which the first is compared with the second, or two or more with a dose each.")
    doses: tuple[FiniteFloat, ...] = Field(
        default=(), description="The dose of each arm, for a trend: how many candidates, how many steps."
    )
    direction: Direction = Field(
        default="more",
        description="If the property holds, the first arm has more than the second, or a greater dose has; less; or they differ.",
    )
    margin: FiniteFloat = Field(
        default=0.05, gt=0, description="The difference below which arms count as equivalent; of a trend over its range."
    )
    size: FiniteFloat | None = Field(
        default=None, gt=0, description="The difference that a price is named for; twice the margin if left out."
    )
    family: str = Field(default="", description="Hypotheses of one family share the error rate.")
    paired: bool = Field(
        default=False, description="Whether trials of the same number share seeds, so that their differences are compared."
    )
    expects: str = Field(default="", description="In words, what would be seen if the property holds.")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise StatsError(f"Hypothesis({name}={first['input']!r}): {first['msg'].lower()}") from None

    @model_validator(mode="after")
    def _fits(self) -> "Hypothesis":
        arms, doses = self.arms, self.doses
        if len(set(arms)) != len(arms) or len(arms) < 2 or (len(arms) > 2 and not doses):
            raise StatsError(f"{self.name!r} compares two arms, or more with a dose each, not {', '.join(arms) or 'none'}.")
        if doses and (len(doses) != len(arms) or len(set(doses)) != len(doses) or self.paired):
            raise StatsError(f"{self.name!r} needs a dose for each of its {len(arms)} arms, all different, and no pairs.")
        return self

    @property
    def sided(self) -> int:
        """1 where a direction is stated, 2 where it is not."""
        return 2 if self.direction == "differs" else 1

    @property
    def shown(self) -> float:
        """The difference that a price is named for."""
        return self.size or 2 * self.margin


def registration(hypotheses: Sequence[Hypothesis], **plan: Any) -> str:
    """A short hash of what was said beforehand: the same for the same hypotheses in any order.

    Args:
        hypotheses: all of them.
        plan: what else was fixed, JSON-able: alpha, correction, trials, …
    """
    return short_id(sorted((h.model_dump(mode="json") for h in hypotheses), key=lambda dumped: short_id(dumped)), plan)


def changed(before: Sequence[Hypothesis], now: Sequence[Hypothesis]) -> tuple[str, ...]:
    """What is not as it was registered, a sentence a change; hypotheses are the same by name and arms."""
    old, new = (_by_key(hypotheses) for hypotheses in (before, now))
    said = [f"{_called(key)} was added." for key in new if key not in old] + [
        f"{_called(key)} was dropped." for key in old if key not in new
    ]
    for key in (key for key in old if key in new):
        fields = old[key].model_dump()
        said += [
            f"{_called(key)}: {name} was {was!r} and is {getattr(new[key], name)!r}."
            for name, was in fields.items()
            if was != getattr(new[key], name)
        ]
    return tuple(said)


def _by_key(hypotheses: Sequence[Hypothesis]) -> Mapping[tuple[str, ...], Hypothesis]:
    return {(h.name, *h.arms): h for h in hypotheses}


def _called(key: tuple[str, ...]) -> str:
    return f"{key[0]!r} ({', '.join(key[1:])})"
