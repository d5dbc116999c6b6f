"""Probes: does a critique behave as a gradient does? Each states its hypothesis and margin before it runs and ends in a word.

`gb.probes.sign(case, step)` blocks, with a progress bar; `await gb.probes.asign(case, step)` is the same for any loop. Of a recording, or
of a case without a model, both give what is on record.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from gradbook.asking import reading
from gradbook.case import Case
from gradbook.findings import aadditivity, alocality, asign, astep_size
from gradbook.findings import abatch_noise as anoise
from gradbook.progress import blocking
from gradbook.recording import Recording

__all__ = ["aadditivity", "additivity", "alocality", "anoise", "asign", "astep_size", "locality", "noise", "sign", "step_size"]
P = ParamSpec("P")
T = TypeVar("T")


def _blocking(probe: Callable[Concatenate[Case, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Recording, P], T]:
    """The probe that waits for its coroutine twin."""
    makes, reads = blocking(probe), reading(probe)

    @wraps(makes)
    def ask(case: Any, *args: P.args, **named: P.kwargs) -> T:
        return (makes if isinstance(case, Case) else reads)(case, *args, **named)

    return ask


sign = _blocking(asign)
step_size = _blocking(astep_size)
additivity = _blocking(aadditivity)
noise = _blocking(anoise)
locality = _blocking(alocality)
