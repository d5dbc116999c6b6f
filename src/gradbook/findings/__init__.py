"""Findings: what a person can ask of a step beyond its score. Each leaves an event in the journal and costs nothing to open again.

To add one: a module here with a record (a `Finding`), the coroutine that makes it on a `Bench`, and how many calls it takes; a row in
`ASKS`; its words in `tell/findings/`. It knows a case only by its type.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gradbook.findings.base import Calls, Finding, Plan
from gradbook.findings.bench import Bench
from gradbook.findings.noise import Noise, noise, noise_calls
from gradbook.findings.probes_locality import Locality, locality, locality_calls
from gradbook.findings.probes_noise import BatchNoise
from gradbook.findings.probes_noise import noise as batch_noise
from gradbook.findings.probes_noise import noise_calls as batch_noise_calls


@dataclass(frozen=True)
class Ask:
    """Something that can be asked of a step: the record that answers it, the coroutine that makes that (of a case and a step, with
    parameters that all have defaults), how many calls it takes at most (of the same), and the call in Python."""

    record: type[Finding]
    make: Callable[..., Coroutine[Any, Any, Any]]
    calls: Callable[..., Calls]
    code: str


ASKS: dict[str, Ask] = {
    "noise": Ask(Noise, noise, noise_calls, "case.noise"),
    "batch_noise": Ask(BatchNoise, batch_noise, batch_noise_calls, "gb.probes.noise"),
    "locality": Ask(Locality, locality, locality_calls, "gb.probes.locality"),
}
"""What can be asked, by its kind, in the order in which it is offered."""

__all__ = ["ASKS", "Ask", "Bench", "Calls", "Finding", "Plan"]
