"""What a person brought to a case from elsewhere, in words: how much, where from, and that no model of the case made it."""

from typing import TYPE_CHECKING, Any

from gradbook.records import Stage, Step
from gradbook.tell.views import Mark
from gradbook.tell.words import count

if TYPE_CHECKING:
    from gradbook.recording import Recording

_HELP: dict[str, str] = {
    "predict": "These outputs were brought: no model of this case made them.",
    "output_critique": "These critiques were brought: no model of this case made them.",
}


def mark(made: Any) -> list[Mark]:
    """The remark on a record that was brought; none on any other."""
    return [Mark(f"brought: {made.brought}")] if made.brought else []


def help_line(stage: Stage, step: Step) -> str:
    """What is said of a stage in place of what it does, where all that stands there was brought; "" elsewhere."""
    records: Any = getattr(step, stage) or () if stage in _HELP else ()
    return _HELP[stage] if records and all(record.brought for record in records) else ""


def line(rec: "Recording") -> str:
    """What was brought to a case in a line; "" where nothing was."""
    first = next((step for step in rec if step.brought and step.origin is None), None)
    if first is None:
        return ""
    outputs = sum(bool(made.brought) for made in first.predict or ())
    critiques = sum(bool(made.brought) for made in first.output_critique or ())
    return (
        f"{count(outputs, 'output')} and {count(critiques, 'output critique')} of step {first.id} were brought from {_origin(rec)}: "
        "no model of this case made them, and no call was paid for them"
    )


def left_out(rec: "Recording") -> str:
    """The rows of the table that step 1 does not hold, and why; "" where there are none."""
    held, out = (int(found) if str(found := rec.task.source.get(name, 0)).isdecimal() else 0 for name in ("held_back", "left_out"))
    told = [f"the critiques of {count(held, 'row')} were not used, since their examples are held back to score on"] * bool(held)
    told += [f"{count(out, 'row')} lacked an input or a label and were left out"] * bool(out)
    return "; ".join(told)


def _origin(rec: "Recording") -> str:
    source = rec.task.source
    return f"{source['file']} (SHA-256 {source['sha256']})" if {"file", "sha256"} <= source.keys() else str(source.get("file", "a table"))
