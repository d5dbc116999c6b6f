"""What was asked of steps and what could be; each function here is a method of `Recording`."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pydantic import ValidationError

from gradbook import comparing, costs
from gradbook.costs import Plan
from gradbook.effects import Effect
from gradbook.errors import CaseError
from gradbook.findings import ASKS, Finding
from gradbook.journal import NAME
from gradbook.records import Step

if TYPE_CHECKING:
    from gradbook.recording import Recording

P = ParamSpec("P")
T = TypeVar("T")


def reading(make: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The method of a recording for something that can be asked of a case: it gives what is on record, without waiting for anything."""

    @wraps(make)
    def method(*args: P.args, **named: P.kwargs) -> T:
        try:
            make(*args, **named).send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise AssertionError("what is on record was waited for")

    method.__name__ = make.__name__.removeprefix("a")
    return method


def finding(case: "Recording", id: str) -> Finding | Effect:
    """What was found, as the record of its kind, with all its numbers; raises CaseError where there is none."""
    found = case.found.get(id)
    if found is not None and found.kind == "effect":
        return comparing.compare(case, found.params["before"], found.step, found.split, across_models=True)
    if found is None or found.kind not in ASKS:
        raise CaseError(f"{case.path} holds no finding {id!r}; case.findings() lists those that there are")
    try:
        return ASKS[found.kind].record.model_validate(found.result)
    except ValidationError as error:
        raise CaseError(f"{case.path / NAME} holds a finding {id} that cannot be read ({error.errors()[0]['msg'][:120]})") from None


def plan(case: "Recording", kind: str, step: Step | int, **parameters: Any) -> Plan:
    """What it would cost at most to ask something of a step, by the mean of the calls so far; nothing is run.

    Args:
        kind: "noise", "trace", … as in `case.findings()`; or "effect", with `before` and `split`, for one draw of both arms.
        step: the step, or its id.
        parameters: those of the method that asks it.

    Raises:
        CaseError: there is no such kind, or it cannot be asked of the step.
    """
    if kind == "effect":
        before, at = case[parameters["before"]], case[step]
        split = parameters.get("split") or case.default_split(before, at)
        comparing.check_change(case, before, at, split)
        return costs.plan(case, comparing.draw_calls(case, before, at, split))
    if kind not in ASKS:
        raise CaseError(f"{kind!r} is nothing that can be asked of a step; there are effect, {', '.join(ASKS)}")
    return costs.plan(case, ASKS[kind].calls(case, case[step], **parameters))
