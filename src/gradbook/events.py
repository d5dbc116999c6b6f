"""The events of the journal, a line each; a prompt's text is written once and named by its SHA-256 from then on."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from gradbook.migrations import SCHEMA
from gradbook.parse import whole
from gradbook.records import Example, Record, Role, SplitName, Stage, StageRecords, Step, sha256
from gradbook.scores import Score


class _Event(Record):
    time: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))


class Opened(_Event):
    """The first line: what wrote the journal, and the seed that every call's seed derives from."""

    event: Literal["case"] = "case"
    schema_version: int = SCHEMA
    seed: int = 0


class TaskGiven(_Event):
    """The title and the task as its settings state it, with its examples, so that a case reads without the data it was made from.

    `splits` is None where only the settings have changed.
    """

    event: Literal["task"] = "task"
    title: str
    settings: dict[str, Any]
    splits: dict[SplitName, tuple[Example, ...]] | None = None


class MethodSet(_Event):
    """The method that the steps from here on follow."""

    event: Literal["method"] = "method"
    method: dict[str, Any]


class ModelMet(_Event):
    """A model that stages or scores from here on may name by its id, the hash of identity and sampling."""

    event: Literal["model"] = "model"
    id: str
    name: str
    identity: str
    kind: str
    sampling: dict[str, Any]


class PromptMet(_Event):
    """A prompt's text, which events from here on name by its SHA-256."""

    event: Literal["prompt"] = "prompt"
    sha256: str
    text: str


class StepBegun(_Event):
    """A step, with the note that it begins with; the stages named in `shares` are those of its origin."""

    event: Literal["step"] = "step"
    step: Step
    shares: tuple[Stage, ...] = ()
    note: str | None = None


class StageDone(_Event, StageRecords):
    """The records of one finished stage, its wall time in seconds and the models that it asked, by role."""

    event: Literal["stage"] = "stage"
    step: int
    stage: Stage
    seconds: float
    models: dict[Role, str] = Field(default_factory=dict)


class Scored(_Event):
    """A prompt's answers on a split; a later score of the same question takes the place of an earlier one."""

    event: Literal["score"] = "score"
    score: Score
    seconds: float


class Noted(_Event):
    """The note on a step, as it now reads."""

    event: Literal["note"] = "note"
    step: int
    text: str


class Moved(_Event):
    """The step that a person went to: the next step starts from there."""

    event: Literal["move"] = "move"
    step: int


class Found(_Event):
    """What a finding came to; a later one with its id takes its place.

    `id` names what was asked: the kind, the step it is about, the split, and those of the `params` that make it another question. `result`
    is what the record of its kind holds, `verdict` a word, `sentence` what was found in words. It stands on `steps`, made for it or
    replicates, and on the scores of `questions`, by their ids.
    """

    event: Literal["finding"] = "finding"
    id: str
    kind: str
    step: int
    split: SplitName | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    verdict: str = ""
    sentence: str = ""
    result: dict[str, Any] = Field(default_factory=dict)
    steps: tuple[int, ...] = ()
    questions: tuple[str, ...] = ()
    seconds: float = 0.0


Event = Annotated[
    Opened | TaskGiven | MethodSet | ModelMet | PromptMet | StepBegun | StageDone | Scored | Noted | Moved | Found,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[Any] = TypeAdapter(Event)


def mended(event: Any) -> Any:
    """The event with U+FFFD in place of each half of an emoji, which no file can hold."""
    try:
        event.model_dump_json()
    except PydanticSerializationError:
        return EVENT.validate_python(json.loads(whole(json.dumps(event.model_dump(mode="json"), ensure_ascii=False))))
    return event


# --- prompts by content --------------------------------------------------------------------------------------------------


def by_content(event: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """An event as data with the hash of each prompt in place of its text, and the texts by their hash."""
    data, texts = event.model_dump(mode="json", exclude_none=True), {}

    def name(text: str) -> str:
        texts[sha256(text)] = text
        return sha256(text)

    _prompts(data, name)
    return data, texts


def in_full(data: dict[str, Any], prompts: dict[str, str]) -> dict[str, Any]:
    """The data of an event with the text of each prompt in place of its hash; KeyError where it is not known."""
    _prompts(data, prompts.__getitem__)
    return data


def _prompts(data: dict[str, Any], swap: Callable[[str], str]) -> None:
    holders = [data["step"]] if data.get("event") == "step" else data.get("rewrite") or ()
    for holder in holders:
        for field in ("prompt", "held"):
            if holder.get(field):
                holder[field] = swap(holder[field])
