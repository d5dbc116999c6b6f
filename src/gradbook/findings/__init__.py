"""Findings: what a person can ask of a step beyond its score. Each leaves an event in the journal and costs nothing to open again.

To add one: a module here with a record (a `Finding`), the coroutine that makes it on a `Bench`, and how many calls it takes; a row in
`ASKS`; its words in `tell/findings/`. It knows a case only by its type.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gradbook.findings.ablation import aablate, ablate_calls
from gradbook.findings.base import Calls, Finding, Plan
from gradbook.findings.bench import Bench
from gradbook.findings.noise import Noise, anoise, noise_calls
from gradbook.findings.prevalence import PrevalenceCheck, aprevalence, prevalence_calls
from gradbook.findings.section_map import SectionMap
from gradbook.findings.trace import Trace, atrace, trace_calls


@dataclass(frozen=True)
class Ask:
    """Something that can be asked of a step: the record that answers it, the coroutine that makes that (of a case and a step, with
    parameters that all have defaults), and how many calls it takes at most (of the same)."""

    record: type[Finding]
    make: Callable[..., Coroutine[Any, Any, Any]]
    calls: Callable[..., Calls]


ASKS: dict[str, Ask] = {
    "noise": Ask(Noise, anoise, noise_calls),
    "trace": Ask(Trace, atrace, trace_calls),
    "ablate": Ask(SectionMap, aablate, ablate_calls),
    "prevalence": Ask(PrevalenceCheck, aprevalence, prevalence_calls),
}
"""What can be asked, by its kind, in the order in which it is offered."""

__all__ = ["ASKS", "Ask", "Bench", "Calls", "Finding", "Plan", "aablate", "anoise", "aprevalence", "atrace"]
