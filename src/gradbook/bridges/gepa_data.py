"""What GEPA hands round, told in gradbook's words: examples, outputs, reflective records, messages (gepa 0.1.4)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gradbook.records import SplitName
from gradbook.tasks import Task


def instances(task: Task, split: SplitName) -> list[dict[str, Any]]:
    """The examples of a split as GEPA's default adapter reads them: input, answer, and no additional context."""
    return [{"input": example.input, "answer": example.target, "additional_context": {}} for example in task.split(split)]


def numbered(ids: Sequence[Any], task: Task, split: SplitName) -> dict[Any, str]:
    """GEPA's ids with the examples that stand in their places."""
    return dict(zip(ids, (example.id for example in task.split(split)), strict=True))


def has(given: Any, name: str) -> bool:
    """Whether something names a text so."""
    return isinstance(given, Mapping) and isinstance(given.get(name), str)


def text_of(output: Any) -> str:
    """What an adapter's output says: a text, that of GEPA's default adapter, or anything else as JSON."""
    if isinstance(output, str):
        return output
    if has(output, "full_assistant_response"):
        return str(output["full_assistant_response"])
    return json.dumps(output, ensure_ascii=False, default=repr)


def feedback_of(record: Mapping[str, Any]) -> str:
    """The feedback of a reflective record; where it has none of that name, all but inputs and outputs."""
    if has(record, "Feedback"):
        return str(record["Feedback"])
    return text_of({name: value for name, value in record.items() if name not in ("Inputs", "Generated Outputs")})


def message_of(message: Mapping[str, Any]) -> dict[str, str]:
    """A chat message, whose parts are told as JSON where they are no text."""
    return {"role": str(message.get("role", "user")), "content": text_of(message.get("content", ""))}
