"""The journal: the only state of a case, append-only JSON Lines, one line an event, the schema version in the first.

A line is written whole or not at all: a torn last line, which a killed process leaves, is dropped on the next open.
"""

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from gradbook.errors import CaseError
from gradbook.records import Example, Record, Score, Spent, SplitName, Stage, StageRecords, Step

SCHEMA = 1


class _Event(Record):
    time: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))


class Opened(_Event):
    """The first line: what wrote the journal, and the seed that every call's seed derives from."""

    event: Literal["case"] = "case"
    schema_version: int = SCHEMA
    seed: int = 0


class ExamplesGiven(_Event):
    """The examples of the task, so that a case reads without the data it was made from."""

    event: Literal["examples"] = "examples"
    splits: dict[SplitName, tuple[Example, ...]]


class MethodSet(_Event):
    """The method that the steps from here on follow."""

    event: Literal["method"] = "method"
    method: dict[str, Any]


class ModelsSet(_Event):
    """The models that the stages from here on call, by role: name, identity and sampling."""

    event: Literal["models"] = "models"
    models: dict[str, dict[str, Any]]


class StepBegun(_Event):
    """A step, with the stages that it shares with its origin already filled in, and the note that it begins with."""

    event: Literal["step"] = "step"
    step: Step
    note: str | None = None


class StageDone(_Event, StageRecords):
    """The records of one finished stage, its wall time in seconds and what its calls have cost."""

    event: Literal["stage"] = "stage"
    step: int
    stage: Stage
    seconds: float
    spent: Spent = Spent()


class Scored(_Event):
    """A prompt's answers on a split."""

    event: Literal["score"] = "score"
    score: Score
    seconds: float
    spent: Spent = Spent()


class Noted(_Event):
    """The note on a step, as it now reads."""

    event: Literal["note"] = "note"
    step: int
    text: str


class Moved(_Event):
    """The step that a person went to: the next step starts from there."""

    event: Literal["move"] = "move"
    step: int


Event = Annotated[
    Opened | ExamplesGiven | MethodSet | ModelsSet | StepBegun | StageDone | Scored | Noted | Moved, Field(discriminator="event")
]
_EVENT = TypeAdapter(Event)


class State:
    """What the events say, folded one at a time, so that a further step costs the same at any length."""

    def __init__(self) -> None:
        self.seed = 0
        self.splits: dict[str, tuple[Example, ...]] = {}
        self.methods: list[dict[str, Any]] = []
        self.method_of: dict[int, int] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.steps: dict[int, Step] = {}
        self.seconds: dict[int, float] = {}
        self.scores: dict[tuple[str, str, int], Score] = {}
        self.notes: dict[int, str] = {}
        self.current = 0
        self.spent = Spent()

    def apply(self, event: Any) -> None:
        """Fold one event in."""
        match event:
            case Opened():
                self.seed = event.seed
            case ExamplesGiven():
                self.splits = dict(event.splits)
            case MethodSet():
                self.methods.append(event.method)
            case ModelsSet():
                self.models = event.models
            case StepBegun():
                self.steps[event.step.id] = event.step
                # a branch follows the method of the step it was branched off, so that it differs from that by its edits alone
                self.method_of[event.step.id] = self.method_of.get(event.step.origin, len(self.methods) - 1)
                if event.note:
                    self.notes[event.step.id] = event.note
                if not event.step.resampled:  # replicates are the noise floor, not a place to work from
                    self.current = event.step.id
            case StageDone():
                self.steps[event.step] = self.steps[event.step].model_copy(update={event.stage: getattr(event, event.stage)})
                self.seconds[event.step] = self.seconds.get(event.step, 0.0) + event.seconds
                self.spent += event.spent
            case Scored():
                self.scores[event.score.prompt, event.score.split, event.score.replicate] = event.score
                self.spent += event.spent
            case Noted():
                self.notes[event.step] = event.text
            case Moved():
                self.current = event.step


class Journal:
    """The file of a case's events and the state that they fold to.

    Args:
        path: the `journal.jsonl` of a case.
        writable: whether this process holds the case; without it nothing is written, not even a mend.

    Raises:
        CaseError: a line cannot be read, naming the file and the line, or a newer gradbook wrote it.
    """

    def __init__(self, path: Path, writable: bool) -> None:
        self.path, self.writable, self.state = path, writable, State()
        self._lock = threading.Lock()
        if path.exists():
            self._read()

    def append(self, event: Any) -> None:
        """Write `event` as one line that survives the process, then fold it into the state."""
        if not self.writable:
            raise CaseError(f"{self.path.parent} is open for reading only, so nothing can be recorded in it")
        with self._lock:
            append_line(self.path, event.model_dump_json(exclude_none=True))
            self.state.apply(event)

    def _read(self) -> None:
        lines = whole_lines(self.path, mend=self.writable)
        for number, line in enumerate(lines, start=1):
            try:
                if number == 1:
                    self._check_schema(json.loads(line))
                event = _EVENT.validate_json(line)
                self.state.apply(event)
            except (ValidationError, ValueError, KeyError) as error:
                what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                raise CaseError(f"{self.path}, line {number}, is damaged ({what}); restore the file from a copy") from None

    def _check_schema(self, first: dict[str, Any]) -> None:
        version = first.get("schema_version")
        if first.get("event") != "case" or not isinstance(version, int):
            raise CaseError(f"{self.path} is not a journal of gradbook: its first line names no schema version")
        if version > SCHEMA:
            raise CaseError(f"{self.path} has schema {version}, this gradbook reads up to {SCHEMA}: install a newer gradbook")


def append_line(path: Path, line: str, sync: bool = True) -> None:
    """Append one line of text in a single write, which outlives the process; with `sync` it outlives a power cut as well."""
    with open(path, "ab", buffering=0) as file:
        file.write(line.encode() + b"\n")
        if sync:
            os.fsync(file.fileno())


def whole_lines(path: Path, mend: bool) -> list[bytes]:
    """The whole lines of a JSON Lines file; with `mend`, a torn last line is cut off the file as well."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if mend and end < len(data):
        os.truncate(path, end)
    return data[:end].split(b"\n")[:-1]
