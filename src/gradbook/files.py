"""The plain files of a case folder, and nothing else: what a stranger put in it is refused by name, and a fault of the machine is told
in a sentence. Nothing outside the folder is written or read through a link."""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import threading
import tomllib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradbook.errors import CaseError

try:
    import fcntl
except ImportError:  # Windows, where an open file is protected by the system
    fcntl = None  # type: ignore[assignment]

OWN = ("case.toml", "journal.jsonl", "journal.v1.jsonl", "calls.jsonl", "README.md", ".gitignore")
MOST = 1 << 30  # bytes of a file
MOST_LINE = 1 << 26  # bytes of a line
_DEEPEST = 100
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_WHY = {
    errno.ENOSPC: "the disk is full: make room and go on, what was recorded before is whole",
    errno.EDQUOT: "your quota of disk space is used up: make room and go on, what was recorded before is whole",
    errno.EFBIG: "the file would be larger than this system allows: raise the limit and go on, what was recorded before is whole",
    errno.EIO: "the disk reported an error: check it, and open the case again",
    errno.EROFS: "its disk is read-only: copy the case to one that can be written",
    errno.EACCES: "you have no right to: change its permissions, or copy the case",
    errno.EPERM: "the system does not allow it: change its permissions, or copy the case",
    errno.ENOENT: "it is not there: check the path, or restore it from a copy",
    errno.ENOTDIR: "a part of its path is a file and not a folder: name another path",
    errno.EISDIR: "it is a folder and not a file: move it away",
    errno.EEXIST: "a file of that name is there already: name another path",
    errno.ELOOP: "it is a link, or reached through a ring of links: put the file itself there",
    errno.ENXIO: "it is a pipe or a device and not a file: move it away",
    errno.ENAMETOOLONG: "its name is too long for this system: name a shorter path",
    errno.EMFILE: "this process has too many files open: close some, or restart the kernel",
    errno.ENFILE: "this system has too many files open: close some",
    errno.ESTALE: "its folder is gone from the network: open the case again",
}


def explain(error: OSError, path: Path | str) -> CaseError:
    """The one sentence for a fault of the machine."""
    why = _WHY.get(error.errno or 0) or (error.strerror or type(error).__name__).lower()
    return CaseError(f"{whole(str(path))} cannot be used: {why}")


def whole(text: str) -> str:
    """A text with U+FFFD in place of each half of an emoji that stands alone, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def json_line(data: bytes, path: Any, number: int) -> Any:
    """One line of JSON from whoever wrote it.

    Raises:
        CaseError: it is no JSON, nested more than 100 deep, or holds a number that no record holds; file and line are named.
    """
    try:
        if data.count(b"[") + data.count(b"{") > _DEEPEST and _depth(data) > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        found = json.loads(data, parse_constant=lambda name: _refuse(f"{name} is no number"), parse_int=_integer)
        return json.loads(whole(json.dumps(found))) if b"\\ud" in data.lower() else found
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        raise CaseError(f"{path}, line {number}, is damaged ({str(error)[:120]}); restore the file from a copy") from None


def toml(data: bytes, path: Path) -> dict[str, Any]:
    """The TOML in a file from whoever wrote it.

    Raises:
        CaseError: it is not UTF-8 or no TOML, or nested too deep.
    """
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise CaseError(f"{path} is not in UTF-8; save it in that encoding, or restore it from a copy") from None
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError
        raise CaseError(f"{path} is not valid TOML ({str(error)[:120]}); mend it or restore it from a copy") from None


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= 20 else _refuse("a number has more than 20 digits")


def _refuse(why: str) -> Any:
    raise ValueError(why)


def _depth(data: bytes) -> int:
    """How deep brackets outside of strings are nested."""
    deepest = depth = 0
    for bracket in re.sub(rb'"(?:[^"\\]|\\.)*+"', b"", data):
        depth += (bracket in b"[{") - (bracket in b"]}")
        deepest = max(deepest, depth)
    return deepest


class Folder:
    """The plain files of a case. Its path is absolute from the start, so that another working folder changes nothing.

    Raises:
        CaseError: the path cannot be one.
    """

    def __init__(self, path: str | Path) -> None:
        text = os.fspath(path)
        if "\0" in text or whole(text) != text:
            raise CaseError(f"{whole(text)!r} cannot be a path: it holds a character that no path may hold")
        try:
            self.path = Path(os.path.abspath(Path(text).expanduser()))
        except (OSError, RuntimeError) as error:
            raise CaseError(f"{text} cannot be a path ({error}); name the folder in full") from None

    def make(self) -> None:
        """Make the folder where it is not there."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain(error, self.path) from None

    def check(self) -> None:
        """Refuse, before anything is read, a file of gradbook's own names that is no plain file."""
        for name in OWN:
            self.has(name)

    def has(self, name: str) -> bool:
        """Whether a plain file of that name is there.

        Raises:
            CaseError: what is there is a link, a pipe, a device or a folder.
        """
        path = self.path / name
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise explain(error, path) from None
        if not stat.S_ISREG(mode):
            kind = "a link" if stat.S_ISLNK(mode) else ("a folder" if stat.S_ISDIR(mode) else "a pipe or a device")
            raise CaseError(f"{path} is {kind}, and a case is plain files only; put the file itself there, or take it away")
        return True

    def read(self, name: str, most: int = MOST) -> bytes:
        """A whole file of at most so many bytes."""
        path = self.path / name
        self.has(name)
        try:
            with open(os.open(path, os.O_RDONLY | _NOFOLLOW), "rb") as file:
                if (size := os.fstat(file.fileno()).st_size) > most:
                    raise CaseError(f"{path} has {size:,} bytes, and {most:,} are the most that is read")
                return file.read(most)
        except OSError as error:
            raise explain(error, path) from None

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file in one go: what was there stays as it is until all is on the disk."""
        path, draft = self.path / name, self.path / f".{name}.{secrets.token_hex(8)}.new"
        self.has(name)
        try:
            try:
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as error:
            raise explain(error, path) from None

    def copy(self, to: "Folder") -> None:
        """Copy gradbook's own files to a folder that is made for them."""
        self.check()
        to.make()
        for name in OWN:
            if self.has(name):
                to.write(name, self.read(name))

    def open(self, name: str, writable: bool) -> "Lines":
        """A file of lines, kept open; made where it is not there and may be written."""
        self.has(name)
        return Lines(self.path / name, writable)


class Lines:
    """An append-only file of whole lines, kept open until `close()` and written to the very file that was opened.

    Raises:
        CaseError: for any fault, naming the file; what was whole before stays whole.
    """

    def __init__(self, path: Path, writable: bool) -> None:
        self.path, self.writable, self.torn = path, writable, False
        self._lock, self._owner, self._broken = threading.RLock(), os.getpid(), ""
        flags = (os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY) | _NOFOLLOW
        try:
            self._file = os.open(path, flags, 0o666)
            self.close = weakref.finalize(self, os.close, self._file)
            found = os.fstat(self._file)
        except OSError as error:
            raise explain(error, path) from None
        if not stat.S_ISREG(found.st_mode):
            raise CaseError(f"{path} is no plain file; put the file itself there, or take it away")
        if found.st_size > MOST:
            raise CaseError(f"{path} has {found.st_size:,} bytes, and {MOST:,} are the most that is read")
        self._device, self._inode, self.size = found.st_dev, found.st_ino, self._whole(found.st_size)
        self.torn = self.size < found.st_size

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Each whole line without its end, with its offset."""
        offset, rest, number = 0, b"", 1
        while offset + len(rest) < self.size:
            rest += self._pread(min(1 << 20, self.size - offset - len(rest)), offset + len(rest))
            *whole_lines, rest = rest.split(b"\n")
            for line in whole_lines:
                yield offset, line
                offset, number = offset + len(line) + 1, number + 1
            if len(rest) > MOST_LINE:
                raise CaseError(f"{self.path}, line {number}, is longer than {MOST_LINE:,} bytes, the most that a line may have")

    def line(self, offset: int) -> bytes:
        """The line at an offset, read again, also where the file was deleted meanwhile."""
        found = b""
        while (end := found.find(b"\n")) < 0:
            more = self._pread(1 << 16 if not found else len(found), offset + len(found))
            if not more:
                raise CaseError(f"{self.path} was cut while it was open; restore it from a copy")
            found += more
        return found[:end]

    def mend(self, begins: bytes) -> None:
        """Cut a torn last line off, which a killed process left; one that does not begin as ours is no line of ours.

        Raises:
            CaseError: the file is somebody else's, and is left as it is.
        """
        if not self.torn:
            return
        tail = self._pread(len(begins), self.size).rstrip(b"\0")  # zeros are what a power cut may leave
        if not begins.startswith(tail):
            raise CaseError(f"{self.path} is no file of gradbook's: its last line does not begin with {begins.decode()}; take it away")
        self._cut()
        self.torn = False

    def append(self, line: bytes, sync: bool = True) -> int:
        """Append one line, which outlives the process, with `sync` a power cut as well; returns its offset."""
        data, written = line + b"\n", 0
        with self._lock:
            self._check()
            try:
                while written < len(data):
                    os.lseek(self._file, self.size + written, os.SEEK_SET)
                    count = os.write(self._file, data[written:])
                    if not count:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    written += count
                if sync:
                    os.fsync(self._file)
            except OSError as error:
                self._cut()
                raise explain(error, self.path) from None
            offset, self.size = self.size, self.size + len(data)
            return offset

    def lock(self) -> bool:
        """Take the file for this process alone, until it is closed; whether it could be had."""
        if fcntl is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise explain(error, self.path) from None
        return True

    def unlock(self) -> None:
        """Give the file up for others to write; it can still be read here."""
        if fcntl is not None and self._owner == os.getpid():
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._broken = "it was given up here: open the case again"

    def _check(self) -> None:
        """That the path still names this very file, as long as we left it, and that we are who opened it."""
        if self._broken:
            raise CaseError(f"{self.path} cannot be written: {self._broken}")
        if self._owner != os.getpid():
            raise CaseError(f"{self.path} is held by the process that this one was forked from; open the case by itself here")
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            raise CaseError(f"{self.path} was deleted or moved while it was open: put it back, or open the case where it is now") from None
        except OSError as error:
            raise explain(error, self.path) from None
        if (found.st_dev, found.st_ino) != (self._device, self._inode):
            raise CaseError(f"{self.path} was replaced by another file while it was open; open the case again")
        if found.st_size != self.size:
            how = "cut" if found.st_size < self.size else "written by somebody else"
            raise CaseError(f"{self.path} was {how} while it was open; open the case again")

    def _cut(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
        except OSError:
            self._broken = "a line of it could not be finished nor taken back: open the case again"

    def _whole(self, size: int) -> int:
        """The bytes of whole lines: all up to the last line break."""
        end = size
        while end > 0:
            start = max(0, end - (1 << 16))
            if (found := self._pread(end - start, start).rfind(b"\n")) >= 0:
                return start + found + 1
            end = start
        return 0

    def _pread(self, count: int, offset: int) -> bytes:
        try:
            with self._lock:
                os.lseek(self._file, offset, os.SEEK_SET)
                return os.read(self._file, count)
        except OSError as error:
            raise explain(error, self.path) from None
