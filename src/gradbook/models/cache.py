"""Finished calls on disk, by content: one SQLite file that any number of kernels and threads share."""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from platformdirs import user_cache_path

from gradbook.errors import ModelError

T = TypeVar("T")
_PATIENCE = 30.0  # seconds to wait for another process that is writing


def default_path() -> Path:
    """`calls.sqlite` in the folder GRADBOOK_CACHE, else in the user's cache folder for gradbook."""
    named = os.environ.get("GRADBOOK_CACHE")
    return (Path(named).expanduser() if named else user_cache_path("gradbook")) / "calls.sqlite"


def key_of(identity: str, messages: list[dict[str, str]], sampling: dict[str, Any], replicate: int) -> str:
    """The content address of a call: SHA-256 of these four as canonical JSON, in hexadecimal."""
    content = json.dumps([identity, messages, sampling, replicate], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


class CallCache:
    """Replies by key.

    Args:
        path: of the SQLite file; None for `default_path()`.

    Raises:
        ModelError: the file is not a call cache, or its folder cannot be written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._lock = threading.Lock()
        self._database = self._guard(self._open)

    def __repr__(self) -> str:
        return f"CallCache({str(self.path)!r})"

    def get(self, key: str) -> dict[str, Any] | None:
        """What was put under `key`, or None.

        Raises:
            ModelError: the file is damaged.
        """
        row = self._guard(lambda: self._database.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone())
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep `value` under `key`; what was first put there stays.

        Raises:
            ModelError: the file is damaged or the disk is full.
        """
        self._guard(lambda: self._database.execute("INSERT OR IGNORE INTO calls VALUES (?, ?)", (key, json.dumps(value))))

    def close(self) -> None:
        """Close the file; the cache cannot be used afterwards."""
        self._guard(self._database.close)

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # of two that make the file at once, SQLite refuses one without waiting
        with FileLock(f"{self.path}.lock", timeout=_PATIENCE):
            # isolation_level None: each statement is a transaction of its own
            database = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        return database

    def _guard(self, work: Callable[[], T]) -> T:
        try:
            with self._lock:
                return work()
        except (sqlite3.Error, OSError) as error:
            raise ModelError(
                f"The call cache {self.path} cannot be used ({error}); free or move the file, name another folder in GRADBOOK_CACHE, "
                "or connect with cache=False."
            ) from None
