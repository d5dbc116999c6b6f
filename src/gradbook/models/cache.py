"""Finished calls on disk, by content: one SQLite file that any number of kernels and threads share."""

import hashlib
import json
import os
import sqlite3
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from platformdirs import user_cache_path

from gradbook.errors import ModelError
from gradbook.records import Call
from gradbook.replies import said

T = TypeVar("T")
_PATIENCE = 30.0  # seconds to wait for another process that makes the file
_BUSY = {"read": 0.01, "write": 2.0}  # seconds to wait for another process: reading is done on the loop, writing in a thread

_PUT = """INSERT INTO calls VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE CASE WHEN json_valid(value)
THEN coalesce(value ->> 'text', '') = '' OR lower(value ->> 'finish_reason') IN ('length', 'max_tokens', 'model_length') ELSE 1 END"""


def default_path() -> Path:
    """`calls.sqlite` in the folder GRADBOOK_CACHE, else in the user's cache folder for gradbook."""
    named = os.environ.get("GRADBOOK_CACHE")
    return (Path(named).expanduser() if named else user_cache_path("gradbook")) / "calls.sqlite"


def key_of(identity: str, messages: list[dict[str, str]], sampling: dict[str, Any], replicate: int) -> str:
    """The content address of a call: SHA-256 of these four as canonical JSON, in hexadecimal."""
    content = json.dumps([identity, messages, sampling, replicate], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def is_reply(call: Call) -> bool:
    """Whether a call says something beside its thoughts and came to its own end."""
    return said(call.text, call.finish_reason).lost is None and call.finish_reason not in ("content_filter", "error")


class CallCache:
    """Replies by key.

    Args:
        path: of the SQLite file; None for `default_path()`.

    Raises:
        ModelError: the file is not a call cache, or its folder cannot be written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = (Path(path) if path is not None else default_path()).expanduser().absolute()
        self._told = False
        self._start()

    def _start(self) -> None:
        # reading never waits for writing, so each has a connection and a lock of its own
        self._pid = os.getpid()
        self._locks = {name: threading.Lock() for name in _BUSY}
        self._databases = self._guard(self._open, "write")

    def __repr__(self) -> str:
        return f"CallCache({str(self.path)!r})"

    def get(self, key: str) -> dict[str, Any] | None:
        """What was put under `key`, or None: also where the row is damaged, or another process keeps the file locked.

        Raises:
            ModelError: the file is damaged.
        """
        found = self._execute("read", "SELECT value FROM calls WHERE key = ?", key)
        try:
            value = json.loads(found[0][0]) if found else None
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep `value` under `key`, unless another process keeps the file locked; what was first put there stays, unless it was no reply.

        May wait for another process that writes.

        Raises:
            ModelError: the file is damaged, or the disk is full.
        """
        self._execute("write", _PUT, key, json.dumps(value))

    def keep(self, call: Call) -> None:
        """Put a call, if it is worth keeping for good; as `put`."""
        if is_reply(call):
            kept = {"text", "finish_reason", "reason", "prompt_tokens", "completion_tokens", "seconds"}
            self.put(call.key, call.model_dump(include=kept))

    def _open(self) -> dict[str, sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # of two that make the file at once, SQLite refuses one without waiting
        with FileLock(f"{self.path}.lock", timeout=_PATIENCE):
            # isolation_level None: each statement is a transaction of its own
            opened = {
                name: sqlite3.connect(self.path, timeout=busy, isolation_level=None, check_same_thread=False)
                for name, busy in _BUSY.items()
            }
            for statement in (
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = NORMAL",
                "CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
            ):
                opened["write"].execute(statement)
        return opened

    def _execute(self, name: str, statement: str, *values: str) -> list[tuple[Any, ...]] | None:
        """The rows of a statement, or None where another process keeps the file locked."""
        if self._pid != os.getpid():  # a forked child must not use its parent's connections
            _parents.append(self._databases)
            self._start()

        def work() -> list[tuple[Any, ...]] | None:
            database, rows = self._databases[name], None
            try:
                rows = database.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
            if name == "write":  # after one wait in vain none waits, or the calls of a batch would wait one after the other
                database.execute(f"PRAGMA busy_timeout = {_BUSY['read' if rows is None else 'write'] * 1000:.0f}")
            if rows is None and not self._told:
                self._told = True
                said = f"The call cache {self.path} is locked by another program; going on without it."
                warnings.warn(said, RuntimeWarning, stacklevel=5)
            return rows

        return self._guard(work, name)

    def _guard(self, work: Callable[[], T], name: str) -> T:
        try:
            with self._locks[name]:
                return work()
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: a path that cannot be
            raise ModelError(
                f"The call cache {self.path} cannot be used ({error}); free or move the file, name another folder in GRADBOOK_CACHE, "
                "or connect with cache=False."
            ) from None


_parents: list[dict[str, sqlite3.Connection]] = []  # closing one of them in a forked child would drop the parent's locks
