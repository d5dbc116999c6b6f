"""The right to write in a case folder: one process has it, and in that process the object that asked last."""

import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

_held: "weakref.WeakValueDictionary[Path, Lock]" = weakref.WeakValueDictionary()


class Lock:
    """Takes the right to write in `folder`; `refused` says why it could not be had.

    Args:
        folder: made where it does not exist.
        lost: called with the reason when another object of this process takes over.
    """

    def __init__(self, folder: Path, lost: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        place, self._lost, self.refused = folder.resolve(), lost, ""
        if older := _held.get(place):
            older._lost("it was opened again in this kernel")
        self._file = FileLock(place / ".lock", thread_local=False)
        try:
            self._file.acquire(timeout=0)
        except Timeout:
            self.refused = "another kernel has it open"
            warnings.warn(f"{folder} is open in another kernel, so here it is for reading only", stacklevel=4)
        except OSError:
            self.refused = "its folder cannot be written to"
        else:
            _held[place] = self

    def release(self) -> None:
        """Give the folder up."""
        self._file.release()
