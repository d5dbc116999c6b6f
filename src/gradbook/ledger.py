"""The ledger: `calls.jsonl`, which alone says what a case has paid; a line a call, written before anybody sees the reply.

A stage or score that was interrupted finds its finished calls here, whatever became of the call cache.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from gradbook.files import Folder, Lines
from gradbook.parse import damaged, json_line, read_again
from gradbook.records import Call, Record, Role, SplitName, Stage
from gradbook.scores import Spent

NAME = "calls.jsonl"
Place = tuple[Literal["step"], int, Stage, str, int, int] | tuple[Literal["score"], str, SplitName, Stage, str, int, int]
"""What a call is made for: "step", its id, or "score", the question's id, the split; then stage, example, index, replicate."""
Work = tuple[Literal["step"], int, Stage] | tuple[Literal["score"], str, SplitName]
"""The stage or score that a place belongs to: its first three."""


class Line(Record):
    """A call as it is written down: what it was `for`, who was asked (`model` is an id, "" in schema 1), and whether this case paid it."""

    place: Place = Field(alias="for")
    key: str
    role: Role
    model: str = ""
    paid: bool
    call: Call

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, data: Any) -> Any:
        """The key stands beside its call; schema 1 told of the call whether it was `cached` in place of whether it was paid."""
        call = data.get("call") if isinstance(data, dict) else None
        return {"paid": not call.get("cached")} | data | {"call": call | {"key": data.get("key")}} if isinstance(call, dict) else data


LINE = TypeAdapter(Line)


class Ledger:
    """The calls of a case, and the sums of what they have cost.

    Args:
        folder: of the case.
        unfinished: whether a stage or score is not on record yet, so that its calls may be asked for again.

    Raises:
        CaseError: a line cannot be read, naming file and line; the disk is full.
    """

    def __init__(self, folder: Folder, unfinished: Callable[[Work], bool]) -> None:
        self.folder, self.path, self._unfinished = folder, folder.path / NAME, unfinished
        self._lock = threading.RLock()
        self._file: Lines | None = None
        self._found: dict[Work, dict[tuple[Place, str], int]] = {}  # where the calls of unfinished work stand
        self._sums: dict[tuple[Any, ...], Spent] | None = None
        self._by_stage: dict[Stage, Spent] = {}

    def add(self, place: Place, role: Role, model: str, call: Call) -> None:
        """Write a call down, unless it was for this place before."""
        with self._lock:
            self._read()
            if (place, call.key) in self._found.get(place[:3], {}):
                return
            file = self._writable()
            data = call.model_dump(mode="json", exclude={"key", "cached"}, exclude_none=True)
            line = {"for": place, "key": call.key, "role": role, "model": model, "paid": not call.cached, "call": data}
            # a sync for every call would hold the loop up; a power cut costs the last calls, a killed process none
            offset = file.append(json.dumps(line, ensure_ascii=False).encode(), sync=False)
            self._found.setdefault(place[:3], {})[place, call.key] = offset
            self._count(place, role, model, call, not call.cached)

    def find(self, place: Place, key: str) -> Call | None:
        """The call that was made for a place of unfinished work, or None."""
        with self._lock:
            self._read()
            offset = self._found.get(place[:3], {}).get((place, key))
            if offset is None or self._file is None:
                return None
            call = read_again(LINE, self._file.line(offset), self.path).call
            return call.model_copy(update={"cached": True})

    def settle(self) -> None:
        """Forget where the calls of work that is finished by now stand."""
        with self._lock:
            self._found = {work: calls for work, calls in self._found.items() if self._unfinished(work)}

    def spent(self, *place: Any) -> Spent:
        """What the calls for a place and all below it have cost, as for ("step", 3); without a place, for all."""
        with self._lock:
            self._read()
            return sum((spent for found, spent in (self._sums or {}).items() if found[: len(place)] == place), Spent())

    def spent_on(self, places: set[tuple[str, int | str]]) -> Spent:
        """What the calls for steps and scores have cost, each named by its kind and id."""
        with self._lock:
            self._read()
            return sum((spent for found, spent in (self._sums or {}).items() if found[:2] in places), Spent())

    def spent_like(self, stage: Stage) -> Spent:
        """What the calls of a stage have cost, in steps and in scores."""
        with self._lock:
            self._read()
            return self._by_stage.get(stage, Spent())

    def lines(self) -> Iterator[Line]:
        """Every line, in the order in which the calls finished."""
        return (line for _, line in self._lines())

    def texts(self, keys: Iterable[str]) -> dict[str, str]:
        """The replies of calls by key, as far as they are here."""
        wanted = set(keys)
        return {line.key: line.call.text for line in self.lines() if line.key in wanted}

    def _lines(self) -> Iterator[tuple[int, Line]]:
        """Every line with its offset."""
        for number, (offset, data) in enumerate(self._opened() or (), start=1):
            try:
                yield offset, Line.model_validate(json_line(data, self.path, number))
            except ValidationError as error:
                raise damaged(error, self.path, number) from None

    def _read(self) -> None:
        """Sum up what is on record, once."""
        if self._sums is not None:
            return
        self._sums, self._found, self._by_stage = {}, {}, {}
        for offset, line in self._lines():
            self._count(line.place, line.role, line.model, line.call, line.paid)
            if self._unfinished(work := line.place[:3]):
                self._found.setdefault(work, {})[line.place, line.key] = offset

    def _count(self, place: Place, role: Role, model: str, call: Call, paid: bool) -> None:
        """Add a call to the sums, by kind, id and stage of its place, role and model."""
        if paid and self._sums is not None:
            stage, spent = place[2] if place[0] == "step" else place[3], Spent.of(call)
            where = (*place[:2], stage, role, model)
            self._sums[where] = self._sums[where] + spent if where in self._sums else spent
            self._by_stage[stage] = self._by_stage.get(stage, Spent()) + spent

    def _opened(self) -> Lines | None:
        if self._file is None and self.folder.has(NAME):
            self._file = self.folder.open(NAME, writable=False)
        return self._file

    def _writable(self) -> Lines:
        """The file, opened for writing; only the case that holds the journal's lock comes here."""
        if self._file is None or not self._file.writable:
            read = 0 if self._file is None else self._file.size
            self._file = self.folder.open(NAME, writable=True)
            self._file.mend(b'{"for": ')
            if self._file.size != read:  # a call that was under way when the case was closed elsewhere has landed since
                self._sums = None
                self._read()
        return self._file
