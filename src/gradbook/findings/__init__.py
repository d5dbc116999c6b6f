"""Findings: what a person can ask of a step beyond its score. Each leaves an event in the journal and costs nothing to open again.

To add one: a module here with a record (a `Finding`), the coroutine that makes it on a `Bench`, and how many calls it takes; a row in
`KINDS`; its words in `tell/findings/`. It knows a case only by its type.
"""

from gradbook.findings.base import Calls, Finding, Plan
from gradbook.findings.bench import Bench

KINDS: dict[str, type[Finding]] = {}
"""The record of each kind."""

__all__ = ["KINDS", "Bench", "Calls", "Finding", "Plan"]
