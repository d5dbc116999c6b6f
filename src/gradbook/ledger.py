"""The ledger: `calls.jsonl`, which alone says what a case has paid; a line a call, written before anybody sees the reply.

A line is `{"for": [...], "key": ..., "role": ..., "model": ..., "paid": true, "call": {...}}`; "for" is the place that the call was
made for. A stage or score that was interrupted finds its finished calls here, whatever became of the call cache.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from gradbook.errors import CaseError
from gradbook.files import Folder, Lines
from gradbook.parse import json_line
from gradbook.records import Call, Role, Spent

NAME = "calls.jsonl"
Place = list[Any]
"""What a call is made for: "step", id, or "score", question, split; then stage, example, index, replicate."""


class Ledger:
    """The calls of a case, and the sums of what they have cost.

    Args:
        folder: of the case.
        open_place: whether the stage or score that a place belongs to is unfinished, so that its calls may be asked for again.

    Raises:
        CaseError: a line cannot be read, naming file and line; the disk is full.
    """

    def __init__(self, folder: Folder, open_place: Callable[[Place], bool]) -> None:
        self.folder, self.path, self._open = folder, folder.path / NAME, open_place
        self._lock = threading.RLock()
        self._file: Lines | None = None
        self._found: dict[str, int] = {}  # where the calls of unfinished work stand
        self._sums: dict[tuple[str, ...], Spent] | None = None

    def add(self, place: Place, role: Role, model: str, call: Call) -> None:
        """Write a call down, unless it was for this place before."""
        with self._lock:
            self._read()
            if (name := _name(place, call.key)) in self._found:
                return
            data = call.model_dump(mode="json", exclude={"key", "cached"}, exclude_none=True)
            line = {"for": place, "key": call.key, "role": role, "model": model, "paid": not call.cached, "call": data}
            # a sync for every call would hold the loop up; a power cut costs the last calls, a killed process none
            self._found[name] = self._writable().append(json.dumps(line, ensure_ascii=False).encode(), sync=False)
            self._count(line)

    def find(self, place: Place, key: str) -> Call | None:
        """The call that was made for a place of unfinished work, or None."""
        with self._lock:
            self._read()
            offset = self._found.get(_name(place, key))
            return None if offset is None or self._file is None else _call(json.loads(self._file.line(offset)), cached=True)

    def settle(self) -> None:
        """Forget where the calls of work that is finished by now stand."""
        with self._lock:
            self._found = {name: offset for name, offset in self._found.items() if self._open(json.loads(name)[0])}

    def spent(self, *place: Any) -> Spent:
        """What the calls for a place and all below it have cost, as for ("step", 3); without a place, for all."""
        with self._lock:
            self._read()
            wanted = tuple(map(str, place))
            return sum((spent for found, spent in (self._sums or {}).items() if found[: len(wanted)] == wanted), Spent())

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line, in the order in which the calls finished, with `call` as it was made."""
        if (file := self._opened()) is not None:
            for number, (_, data) in enumerate(file, start=1):
                line = json_line(data, self.path, number)
                try:
                    call = _call(line)
                    paid = line.get("paid", not call.cached)
                    yield {"for": line["for"], "role": line["role"], "model": line.get("model", ""), "paid": bool(paid), "call": call}
                except (KeyError, TypeError, AttributeError, ValidationError) as error:
                    told = (
                        f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}" if isinstance(error, ValidationError) else repr(error)
                    )
                    raise CaseError(f"{self.path}, line {number}, is no call ({told[:120]}); restore the file from a copy") from None

    def texts(self, keys: Iterable[str]) -> dict[str, str]:
        """The replies of calls by key, as far as they are here."""
        wanted = set(keys)
        return {line["call"].key: line["call"].text for line in self.lines() if line["call"].key in wanted}

    def _read(self) -> None:
        """Sum up what is on record, once."""
        if self._sums is not None:
            return
        self._sums, self._found = {}, {}
        for line, offset in zip(self.lines(), self._offsets(), strict=False):
            self._count({**line, "call": line["call"].model_dump()})
            if self._open(line["for"]):
                self._found[_name(line["for"], line["call"].key)] = offset

    def _count(self, line: dict[str, Any]) -> None:
        """Add a line to the sums, by kind, id and stage of its place, role and model."""
        if line["paid"] and self._sums is not None:
            kind, of, *rest = line["for"]
            stage = rest[kind == "score"]  # the place of a score names its split as well
            where = tuple(map(str, (kind, of, stage, line["role"], line["model"])))
            call = {"key": "", "model": "", "messages": (), "sampling": {}, "text": ""} | {
                name: line["call"].get(name) for name in ("prompt_tokens", "completion_tokens", "cost")
            }
            self._sums[where] = self._sums.get(where, Spent()) + Spent.of(Call.model_construct(**call))

    def _offsets(self) -> Iterator[int]:
        return (offset for offset, _ in self._opened() or ())

    def _opened(self) -> Lines | None:
        if self._file is None and self.folder.has(NAME):
            self._file = self.folder.open(NAME, writable=False)
        return self._file

    def _writable(self) -> Lines:
        """The file, opened for writing; only the case that holds the journal's lock comes here."""
        if self._file is None or not self._file.writable:
            self._file = self.folder.open(NAME, writable=True)
            self._file.mend(b'{"for": ')
        return self._file


def _name(place: Place, key: str) -> str:
    return json.dumps([place, key], ensure_ascii=False)


def _call(line: dict[str, Any], **more: Any) -> Call:
    return Call(key=line["key"], **{**line["call"], **more})
