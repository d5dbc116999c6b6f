"""The arms of a study: a method, and how long a trial of it is."""

import itertools
from typing import Any

from pydantic import Field, ValidationError, model_validator

from gradbook import settings
from gradbook.errors import MethodError, StudyError
from gradbook.loop import Method
from gradbook.plan import epoch_length
from gradbook.records import Record
from gradbook.tasks import Task

LENGTHS = ("steps", "epochs", "calls")
_PLAIN = ("update", "evaluation", "selection", "engine")  # settings whose values say by themselves what they are


class Arm(Record):
    """A method and how long a trial of it is, by one of three measures.

    Args:
        method: how a step is made.
        trials: how many trials.
        steps: batches.
        epochs: times that the training split is gone through.
        calls: no batch is begun that could bring the calls of a trial over this number. Calls of the final scores do not count,
            and calls that another trial has paid count like any others, so that arms compare at equal budgets.

    In `Study(arms=…)` what is left out is as the study says for all.
    """

    method: Method = Method()
    trials: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    calls: int | None = Field(None, ge=1)

    def __init__(self, **settings: Any) -> None:
        if not isinstance(method := settings.get("method", Method()), Method):
            raise StudyError(f"an arm cannot have method = {method!r:.60}: it should be a gb.Method")
        try:
            super().__init__(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            raise StudyError(
                f"an arm cannot have {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg'].lower()}"
            ) from None

    @model_validator(mode="after")
    def _one_length(self) -> "Arm":
        if sum(getattr(self, name) is not None for name in LENGTHS) > 1:
            raise StudyError("an arm is so many steps, epochs or calls long: give one of them")
        return self

    def filled(self, name: str, **common: int | None) -> "Arm":
        """The arm with what the study says for all; raises StudyError where a length or the trials are still missing."""
        own = {key: value for key in LENGTHS if (value := getattr(self, key)) is not None}
        length = own or {key: value for key in LENGTHS if (value := common.get(key)) is not None}
        trials = self.trials or common.get("trials")
        if len(length) != 1 or trials is None:
            raise StudyError(f"arm {name!r} needs trials= and one of steps=, epochs= and calls=, for all arms or in gb.studies.Arm")
        return Arm(method=self.method, trials=trials, **length)

    def table(self) -> dict[str, Any]:
        """The arm as a TOML table."""
        return self.model_dump(exclude={"method"}, exclude_none=True) | {"method": settings.table_of(self.method)}

    def batches(self, task: Task) -> int | None:
        """How many batches a trial has; None where calls limit it."""
        return self.steps or (self.epochs and self.epochs * epoch_length(task, self.method))


def grid(**settings: Any) -> dict[str, Method]:
    """Arms by every combination of settings of `gb.Method`; combinations that make no sense are left out.

        gb.studies.grid(update=["three-stage", "one-step"], labels=["correct", "wrong"], selection="naive")

    Args:
        settings: a value for all arms, or a list of values. An arm is named after those that vary.

    Raises:
        MethodError: there is no such setting or value, or no combination makes sense.
    """
    varied = {name: list(value) for name, value in settings.items() if isinstance(value, list | tuple)}
    fixed = {name: value for name, value in settings.items() if name not in varied}
    for name, values in {**varied, **{name: [value] for name, value in fixed.items()}}.items():
        Method.help(name)
        for value in values:  # a value that is wrong by itself is a mistake, and not a combination to leave out
            Method(**{name: value})
    found: dict[str, Method] = {}
    refused: MethodError | None = None
    for combination in itertools.product(*varied.values()):
        chosen = dict(zip(varied, combination, strict=True))
        try:
            method = Method(**fixed, **chosen)
        except MethodError as error:
            refused = error
            continue
        label = " ".join(str(value) if name in _PLAIN else f"{name} {value}" for name, value in chosen.items())
        found[label.replace("_", " ") or method.update] = method
    if refused and not found:
        raise refused
    return found
