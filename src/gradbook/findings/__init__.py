"""Findings: what a person can ask of a step beyond its score. Each leaves an event in the journal and costs nothing to open again.

To add one: a module here with a record (a `Finding`), the coroutine that makes it on a `Bench`, and how many calls it takes; a row in
`KINDS`; its words in `tell/findings/`. It knows a case only by its type.
"""

from collections.abc import Callable

from gradbook.findings.base import Calls, Finding, Plan
from gradbook.findings.bench import Bench
from gradbook.findings.probes import Sign, sign_calls
from gradbook.findings.probes_size import StepSize, step_size_calls
from gradbook.findings.probes_sum import Additivity, additivity_calls

KINDS: dict[str, type[Finding]] = {"sign": Sign, "step_size": StepSize, "additivity": Additivity}
"""The record of each kind."""
PLANS: dict[str, Callable[..., Calls]] = {"sign": sign_calls, "step_size": step_size_calls, "additivity": additivity_calls}
"""How many calls each takes at most; the parameters are those of the finding."""

__all__ = ["KINDS", "PLANS", "Bench", "Calls", "Finding", "Plan"]
