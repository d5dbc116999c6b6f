"""gradbook: take textual gradients apart by hand.

import gradbook as gb
case = gb.Case("casestudies/mine", task=gb.tasks.ticket_routing(), model=gb.connect())
gb.Stepper(case)
"""

from typing import TYPE_CHECKING, Any

from gradbook import edits, presets, probes, studies, tasks
from gradbook.bridges import record
from gradbook.case import Case
from gradbook.effects import Effect
from gradbook.errors import GradbookError
from gradbook.findings.sections import recut, sections
from gradbook.loop import Method, Templates
from gradbook.models import Budget, Model, connect
from gradbook.packing import pack, unpack
from gradbook.recording import Recording
from gradbook.studies import Study, audit
from gradbook.tasks import Task

if TYPE_CHECKING:
    from gradbook.ui import Forecast, Stepper, StudyBook

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "Case",
    "Effect",
    "Forecast",
    "GradbookError",
    "Method",
    "Model",
    "Recording",
    "Stepper",
    "Study",
    "StudyBook",
    "Task",
    "Templates",
    "audit",
    "connect",
    "edits",
    "pack",
    "presets",
    "probes",
    "record",
    "recut",
    "sections",
    "studies",
    "tasks",
    "unpack",
]


def __getattr__(name: str) -> Any:
    if name in ("Forecast", "Stepper", "StudyBook"):  # a script has no use for widgets and pages, and need not wait for them
        from gradbook import ui

        return getattr(ui, name)
    raise AttributeError(f"module 'gradbook' has no attribute {name!r}")
