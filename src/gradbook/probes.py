"""Probes: does a critique behave as a gradient does? Each states its hypothesis and margin before it runs and ends in a word.

`gb.probes.sign(case, step)` blocks, with a progress bar; `await gb.probes.asign(case, step)` is the same for any loop. Of a recording, or
of a case without a model, they give what is on record.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gradbook import background
from gradbook.case import Case
from gradbook.findings.probes import sign as _sign
from gradbook.findings.probes_size import step_size as _step_size
from gradbook.findings.probes_sum import additivity as _additivity
from gradbook.progress import wait

__all__ = ["aadditivity", "additivity", "asign", "astep_size", "sign", "step_size"]
P = ParamSpec("P")
T = TypeVar("T")


def _both(probe: Callable[P, Coroutine[Any, Any, T]]) -> tuple[Callable[P, T], Callable[P, Coroutine[Any, Any, T]]]:
    """A probe as it blocks, and as a coroutine for any loop."""

    @wraps(probe)
    def blocks(*args: P.args, **named: P.kwargs) -> T:
        case: Any = args[0] if args else named["case"]
        work = probe(*args, **named)
        return wait(case.runner, work) if isinstance(case, Case) else background.run(work)

    @wraps(probe)
    async def twin(*args: P.args, **named: P.kwargs) -> T:
        return await background.here(probe(*args, **named))

    return blocks, twin


sign, asign = _both(_sign)
step_size, astep_size = _both(_step_size)
additivity, aadditivity = _both(_additivity)
