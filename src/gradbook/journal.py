"""The journal: the only state of a case, append-only JSON Lines, one line an event, the schema version in the first.

A line is written whole or not at all: a torn last line, which a killed process leaves, is dropped on the next open. What is read may
come from a stranger: `fold` checks every reference, so that a state holds no step that is its own parent and no choice of nothing.
"""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from gradbook.background import uninterrupted
from gradbook.errors import CaseError
from gradbook.events import (
    EVENT,
    Found,
    MethodSet,
    ModelMet,
    Moved,
    Noted,
    Opened,
    PromptMet,
    Scored,
    StageDone,
    StepBegun,
    TaskGiven,
    by_content,
    in_full,
    mended,
)
from gradbook.files import MOST_LINE, Folder, Lines
from gradbook.migrations import SCHEMA, upgrade
from gradbook.parse import damaged, json_line, read_again
from gradbook.records import STAGES, Example, Role, SplitName, Stage, Step, Variable, sha256
from gradbook.scores import Question, Score

NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class ScoreEntry:
    """A score on record: how many answers are right, and where the answers are; ten thousand of them are not kept in memory."""

    right: int
    total: int
    seconds: float
    load: Callable[[], bytes]

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0 to 1."""
        return self.right / self.total

    @property
    def score(self) -> Score:
        """The score with its answers, read back from its line."""
        return read_again(EVENT, self.load(), NAME).score


class State:
    """What the events say, folded one at a time, so that a further step costs the same at any length."""

    def __init__(self) -> None:
        self.seed = 0
        self.title = ""
        self.task: dict[str, Any] = {}
        self.splits: dict[SplitName, tuple[Example, ...]] = {}
        self.methods: list[dict[str, Any]] = []
        self.method_of: dict[int, int] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.made_by: dict[int, dict[Stage, dict[Role, str]]] = {}
        self.prompts: dict[str, str] = {}
        self.steps: dict[int, Step] = {}
        self.replicates: dict[tuple[int, Stage], dict[int, int]] = {}
        self.seconds: dict[int, float] = {}
        self.scores: dict[Question, ScoreEntry] = {}
        self.question_ids: set[str] = set()
        self.scored_by: dict[Variable, dict[str, None]] = {}  # the models that scored, the last one last
        self.notes: dict[int, str] = {}
        self.findings: dict[str, Found] = {}
        self.arms: dict[tuple[str, str], int] = {}
        self.current = 0
        self.events = 0

    def apply(self, event: Any, load: Callable[[], bytes]) -> None:
        """Fold one event in; `load` reads its line again.

        Raises:
            ValueError: it names what is not there, or what it says cannot be.
        """
        self.events += not isinstance(event, Moved)
        match event:
            case Opened():
                self.seed = event.seed
            case TaskGiven():
                self.title, self.task = event.title, event.settings
                self.splits = dict(event.splits) if event.splits is not None else self.splits
            case MethodSet():
                self.methods.append(event.method)
            case ModelMet():
                self.models[event.id] = event.model_dump(exclude={"event", "time"})
            case PromptMet():
                _check(sha256(event.text) == event.sha256, "the text of a prompt is not the one that its hash names")
                self.prompts[event.sha256] = event.text
            case StepBegun():
                self._begin(event)
            case StageDone():
                self._finish(event)
            case Scored():
                self._score(event, load)
            case Noted():
                self._there(event.step)
                self.notes[event.step] = event.text
            case Moved():
                self._there(event.step)
                self.current = event.step
            case Found():
                for step in (event.step, *event.steps):
                    self._there(step)
                self.findings.pop(event.id, None)
                self.findings[event.id] = event

    def _begin(self, event: StepBegun) -> None:
        step = event.step
        _check(step.id == len(self.steps), f"it begins step {step.id}, where step {len(self.steps)} is the next")
        _check(bool(self.methods), "a step begins before any method is set")
        _check((step.parent is None) == (step.id == 0), f"step {step.id} has {'a' if step.id == 0 else 'no'} parent")
        for other in (step.parent, step.origin, step.replicate_of, step.after, *step.fellows, *(place for place, _ in step.queue)):
            self._there(other)
        known = {example.id for examples in self.splits.values() for example in examples}
        _check(known.issuperset(step.batch), f"step {step.id} has an example that the task has not")
        _check(step.origin is not None or not (event.shares or step.edits), f"step {step.id} shares stages with no origin")
        origin = None if step.origin is None else self.steps[step.origin]
        shared: dict[str, Any] = {stage: getattr(origin, stage) for stage in event.shares}
        _check(None not in shared.values(), f"step {step.id} shares a stage that step {step.origin} has not run")
        self.steps[step.id] = step.model_copy(update=shared)
        # a branch follows the method of the step it was branched off, so that it differs from that by its edits alone
        self.method_of[step.id] = len(self.methods) - 1 if step.origin is None else self.method_of[step.origin]
        made = {} if step.origin is None else self.made_by[step.origin]
        self.made_by[step.id] = {stage: made[stage] for stage in event.shares if stage in made}
        if event.note:
            self.notes[step.id] = event.note
        if not step.aside:
            self.current = step.id
        elif step.replicate_of is None and step.finding is not None:
            self.arms.setdefault((step.finding, step.arm), step.id)
        elif step.replicate_of is not None and step.fresh_from is not None:
            self.replicates.setdefault((step.replicate_of, step.fresh_from), {}).setdefault(step.replicate, step.id)

    def _finish(self, event: StageDone) -> None:
        self._there(event.step)
        step, records = self.steps[event.step], getattr(event, event.stage)
        _check(step.next_stage == event.stage, f"step {step.id} finishes {event.stage}, where {step.next_stage} is the next stage")
        _check(records is not None, f"step {step.id} finishes {event.stage} without its records")
        if event.stage == "select":
            choices = {-1} | {candidate.index for candidate in step.rewrite or () if not candidate.lost}
            _check(choices.issuperset((records.chosen, *records.kept)), f"step {step.id} chooses a candidate that it has not")
            found = records.acceptance
            for other in (found.next_from, *found.front) if found else ():
                self._there(other)
        elif event.stage != "rewrite":
            _check(set(step.batch).issuperset(r.example for r in records), f"step {step.id} has records of an example outside its batch")
        self.steps[event.step] = step.model_copy(update={event.stage: records})
        self.made_by[event.step][event.stage] = event.models
        self.seconds[event.step] = self.seconds.get(event.step, 0.0) + event.seconds

    def _score(self, event: Scored, load: Callable[[], bytes]) -> None:
        question, answers = event.score.question, event.score.answers
        names = {example.id for example in self.splits.get(question.split, ())}
        _check(
            bool(answers) and names == {answer.example for answer in answers}, f"a score does not answer each example of {question.split}"
        )
        self.question_ids.add(question.id)
        models = self.scored_by.setdefault(question.variable, {})
        models.pop(question.model, None)
        models[question.model] = None
        self.scores[question] = ScoreEntry(event.score.right, len(answers), event.seconds, load)

    def _there(self, step: int | None) -> None:
        _check(step is None or step in self.steps, f"it names a step {str(step)[:20]}, which is not there")


def fold(lines: Iterable[bytes]) -> State:
    """The state that the lines of a journal say, from wherever they come.

    Raises:
        CaseError: a line cannot be read or cannot be true, named by its number; or a newer gradbook wrote it.
    """
    return _fold(((line, partial(bytes, line)) for line in lines), "journal")


def _fold(lines: Iterable[tuple[bytes, Callable[[], bytes]]], name: Any) -> State:
    state, number = State(), 0
    for number, (line, load) in enumerate(lines, start=1):
        try:
            event = in_full(json_line(line, name, number), state.prompts)
            if number == 1:
                _check(event.get("event") == "case", "the first line of a journal names its schema version")
            state.apply(EVENT.validate_python(event, strict=False), load)
        except ValidationError as error:
            raise damaged(error, name, number) from None
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CaseError(f"{name}, line {number}, is damaged ({str(error)[:200]}); restore the file from a copy") from None
    if 0 not in state.steps:
        raise CaseError(f"{name} ends after line {number}, before its case was made; remove the folder, or restore the file from a copy")
    return state


def _check(true: bool, otherwise: str) -> None:
    if not true:
        raise ValueError(otherwise)


# --- the file ------------------------------------------------------------------------------------------------------------


class Journal:
    """The file of a case's events and the state that they fold to.

    Args:
        folder: of the case.
        settings: what `case.toml` says, for a journal of the first schema, which does not hold it.

    Raises:
        CaseError: a line cannot be read, naming the file and the line, or a newer gradbook wrote it.
    """

    def __init__(self, folder: Folder, settings: Callable[[], dict[str, Any]]) -> None:
        self.folder, self.path = folder, folder.path / NAME
        self.writable = False
        self._lock = threading.RLock()
        self._settings = settings
        self._read(folder.open(NAME, writable=False))

    def _read(self, file: Lines) -> None:
        self._file = file
        self._upgraded: list[bytes] | None = None
        version = self._version()
        if version == SCHEMA:
            self.state = _fold(((line, partial(file.line, offset)) for offset, line in file), self.path)
        else:
            old = [json_line(line, self.path, number) for number, (_, line) in enumerate(file, start=1)]
            self._upgraded = upgrade(old, version, self._settings(), self.path)
            self.state = fold(self._upgraded)

    @staticmethod
    def draft(folder: Folder, events: Iterable[Any]) -> bytes:
        """The journal of a new case, to be written in one go.

        Raises:
            CaseError: a line would be longer than one may be.
        """
        lines: list[bytes] = []
        for event in map(mended, events):
            data, texts = by_content(event)
            lines += [_line(PromptMet(sha256=sha, text=text).model_dump()) for sha, text in texts.items()]
            lines.append(_line(data))
        if (longest := max(map(len, lines))) >= MOST_LINE:
            raise CaseError(
                f"{folder.path / NAME} cannot take a line of {longest:,} bytes, since {MOST_LINE:,} are the most; shorten its texts"
            )
        return b"".join(line + b"\n" for line in lines)

    def take(self) -> bool:
        """Lock the file for writing and cut a torn last line off; whether it could be had."""
        opened = self.folder.open(NAME, writable=True)
        if not opened.lock():
            opened.close()
            return False
        if opened.size != self._file.size:  # somebody has written between our reading and our lock
            self._read(opened)
        if self._upgraded is None:
            opened.mend(b'{"')
        self._file, self.writable = opened, True
        return True

    def check(self) -> None:
        """That the next event could be recorded; raises CaseError where the case is read only or its file is not what it was."""
        if not self.writable:
            raise CaseError(f"{self.path.parent} is open for reading only, so nothing can be recorded in it")
        self._file.check()

    def append(self, *events: Any) -> None:
        """Write each event as one line that survives the process, then fold it into the state."""
        uninterrupted(partial(self._append, events))

    def _append(self, events: Iterable[Any]) -> None:
        with self._lock:
            self.check()
            if self._upgraded is not None:
                self._become_new(self._upgraded)
            for event in map(mended, events):
                data, texts = by_content(event)
                for sha in [sha for sha in texts if sha not in self.state.prompts]:
                    self._write(PromptMet(sha256=sha, text=texts[sha]).model_dump(), sync=False)
                self._write(data, sync=True, event=event)

    def begin(self, make: Callable[[int], Step], note: str = "") -> Step:
        """Record the step that `make` gives for the next free id, which nobody else can get meanwhile."""
        return uninterrupted(partial(self._begin, make, note))

    def _begin(self, make: Callable[[int], Step], note: str) -> Step:
        with self._lock:
            step = make(len(self.state.steps))
            shares = tuple(stage for stage in STAGES if step.origin is not None and getattr(step, stage) is not None)
            bare = step.model_copy(update=dict.fromkeys(STAGES))
            self.append(StepBegun(step=bare, shares=shares, note=note or None))
            return self.state.steps[step.id]

    def close(self) -> None:
        """Give the file up for writing; the state can still be read."""
        with self._lock:
            if self.writable:
                self.writable = False
                self._file.unlock()

    def _write(self, data: dict[str, Any], sync: bool, event: Any = None) -> None:
        offset = self._file.append(_line(data), sync=sync)
        self.state.apply(event or EVENT.validate_python(data), partial(self._file.line, offset))

    def _become_new(self, lines: list[bytes]) -> None:
        """Keep the old file beside a new one that holds the same in this version's schema, and go on in that."""
        old = b"".join(line + b"\n" for _, line in self._file)
        self.folder.write(f"journal.v{self._version()}.jsonl", old)
        self.folder.write(NAME, b"".join(line + b"\n" for line in lines))
        self._upgraded = None
        self._file.close()
        if not self.take():
            raise CaseError(f"{self.path.parent} was opened by another kernel while its journal was brought up to date; open it again")

    def _version(self) -> int:
        for _, line in self._file:
            first = json_line(line, self.path, 1)
            version = first.get("schema_version") if isinstance(first, dict) and first.get("event") == "case" else None
            if not isinstance(version, int) or version < 1:
                raise CaseError(f"{self.path} is not a journal of gradbook: its first line names no schema version")
            if version > SCHEMA:
                raise CaseError(f"{self.path} has schema {version}, this gradbook reads up to {SCHEMA}: install a newer gradbook")
            return version
        raise CaseError(f"{self.path} is empty; restore it from a copy, or remove the folder to make the case anew")


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
