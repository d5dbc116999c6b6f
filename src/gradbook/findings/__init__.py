"""Findings: what a person can ask of a step beyond its score. Each leaves an event in the journal and costs nothing to open again.

To add one: a module here with a record (a `Finding`), the coroutine that makes it on a `Bench`, and how many calls it takes; a row in
`KINDS`; its words in `tell/findings/`. It knows a case only by its type.
"""

from collections.abc import Callable

from gradbook.findings.ablation import ablate_calls
from gradbook.findings.base import Calls, Finding, Plan
from gradbook.findings.bench import Bench
from gradbook.findings.section_map import SectionMap

KINDS: dict[str, type[Finding]] = {
    "ablate": SectionMap,
}
"""The record of each kind."""
PLANS: dict[str, Callable[..., Calls]] = {
    "ablate": ablate_calls,
}
"""How many calls each makes at most, by the arguments of what makes it."""

__all__ = ["KINDS", "PLANS", "Bench", "Calls", "Finding", "Plan"]
