"""The plain files of a case folder, and nothing else: what a stranger put in it is refused by name, and a fault of the machine is told
in a sentence. Nothing outside the folder is written or read through a link."""

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gradbook import handles
from gradbook.errors import CaseError
from gradbook.parse import whole

OWN = ("case.toml", "journal.jsonl", "journal.v1.jsonl", "calls.jsonl", "README.md", ".gitignore")
MOST = 1 << 34  # bytes of a file of lines, which are read one at a time
MOST_WHOLE = 1 << 30  # bytes of a file that is read whole
MOST_LINE = 1 << 26  # bytes of a line, its end included
_CHUNK = 1 << 20
_CLOSED = (1 << 31) - 1  # the number of no file
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# No path needs a control character, half an emoji or a mark that turns the direction of text, and each could forge a message
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
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
    errno.EEXIST: "something of that name is there already: name another path",
    errno.ELOOP: "it is a link, or reached through a ring of links: put the file itself there",
    errno.ENXIO: "it is a pipe or a device and not a file: move it away",
    errno.ENAMETOOLONG: "its name is too long for this system: name a shorter path",
    errno.EMFILE: "this process has too many files open: close some, or restart the kernel",
    errno.ENFILE: "this system has too many files open: close some",
    errno.ESTALE: "its folder is gone from the network: open the case again",
    errno.EBADF: "it was closed here: open the case again",
    errno.EBUSY: "another program holds it: close that, and try again",
    errno.ENOLCK: "its disk cannot lock files, so nothing would keep a second kernel out: copy the case to another",
    errno.EOPNOTSUPP: "its disk cannot do this, as a case needs it: copy the case to another",
}


def explain(error: OSError, path: Path | str) -> CaseError:
    """The one sentence for a fault of the machine."""
    why = _WHY.get(error.errno or 0) or (error.strerror or type(error).__name__).lower()
    return CaseError(f"{whole(str(path))} cannot be used: {why}")


def _open(path: Path, flags: int) -> int:
    """Open a plain file, without waiting for a pipe and without following a link that has come since the file was looked at."""
    file = os.open(path, flags | _PLAIN, 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise CaseError(f"{path} is no plain file; put the file itself there, or take it away")
    return file


class Folder:
    """The plain files of a case. Its path is absolute from the start, so that another working folder changes nothing.

    Args:
        path: `~` is the home folder; nothing is made yet.

    Raises:
        CaseError: the path cannot be one: what it names is a file, its name is too long, or it holds a control character.
    """

    def __init__(self, path: str | Path) -> None:
        text = os.fsdecode(path)
        if unfit := _UNFIT.search(text):
            name = _UNFIT.sub("\ufffd", text)
            raise CaseError(f"{name} cannot be the path of a case: it holds U+{ord(unfit[0]):04X}, which is no letter; name another path")
        self._is: tuple[int, int] | None = None
        try:
            self.path = Path(os.path.abspath(Path(text).expanduser()))
        except (OSError, RuntimeError):
            raise CaseError(f"{text} leads nowhere, since the folder that it begins from is not there; name the path in full") from None
        try:
            if not stat.S_ISDIR(os.stat(self.path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise explain(error, self.path) from None

    def make(self) -> None:
        """Make the folder where it is not there."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain(error, self.path) from None

    def check(self) -> None:
        """Refuse, before anything is read, a file of gradbook's own names that is no plain file; from now on no other folder will do."""
        for name in OWN:
            self.has(name)
        self._is = self._identity()

    def has(self, name: str) -> bool:
        """Whether a plain file of that name is there.

        Raises:
            CaseError: what is there is a link, a pipe, a device or a folder.
        """
        return self._mode(name) is not None

    def read(self, name: str, most: int = MOST_WHOLE) -> bytes:
        """A whole file.

        Args:
            name: of the file.
            most: CaseError where the file has more bytes.
        """
        return b"".join(self.chunks(name, most))

    def chunks(self, name: str, most: int = MOST) -> Iterator[bytes]:
        """A whole file, a piece at a time; as for `read`."""
        path, size = self.path / name, 0
        self.has(name)
        try:
            with open(_open(path, os.O_RDONLY), "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
                    if (size := size + len(chunk)) > most:
                        raise CaseError(f"{path} has more than {most:,} bytes, the most that is read; restore it from a copy")
        except OSError as error:
            raise explain(error, path) from None

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file in one go: what was there stays as it is until all is on the disk."""
        with self._draft(name, self._mode(name)) as file:
            file.write(data)

    def copy(self, to: "Folder") -> None:
        """Copy gradbook's own files to a new folder, which is there once it is whole."""
        self.check()
        draft = Folder(to.path.with_name(f".{secrets.token_hex(8)}.new"))
        try:
            draft.make()
            for name in OWN:
                if (mode := self._mode(name)) is not None:
                    with draft._draft(name, mode) as file:
                        file.writelines(self.chunks(name))
            os.rename(draft.path, to.path)
        except OSError as error:
            raise explain(error, to.path) from None
        except CaseError as error:
            raise CaseError(str(error).replace(str(draft.path), str(to.path))) from None
        finally:
            with contextlib.suppress(OSError):
                for name in OWN:
                    (draft.path / name).unlink(missing_ok=True)
                draft.path.rmdir()

    def open(self, name: str, writable: bool) -> "Lines":
        """A file of lines, kept open; made where it is not there and may be written."""
        self.has(name)
        return Lines(self.path / name, writable)

    def _identity(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise explain(error, self.path) from None
        return found.st_dev, found.st_ino

    def _mode(self, name: str) -> int | None:
        """The permissions of a plain file, None where there is none of that name."""
        path = self.path / name
        if self._is is not None and self._is != self._identity():
            raise CaseError(f"{self.path} is another folder than when the case was opened; open the case where it is now")
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise explain(error, path) from None
        if not stat.S_ISREG(mode):
            kind = "a link" if stat.S_ISLNK(mode) else ("a folder" if stat.S_ISDIR(mode) else "a pipe or a device")
            raise CaseError(f"{path} is {kind}, and a case is plain files only; put the file itself there, or take it away")
        return stat.S_IMODE(mode)

    @contextlib.contextmanager
    def _draft(self, name: str, mode: int | None) -> Iterator[BinaryIO]:
        """A new file, which takes the place of `name` once it is on the disk, or is gone again."""
        path, draft = self.path / name, self.path / f".{secrets.token_hex(8)}.new"
        self.has(name)
        try:
            try:
                with open(_open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                    if mode is not None and sys.platform != "win32":
                        with contextlib.suppress(OSError):  # some disks know no permissions
                            os.fchmod(file.fileno(), mode | stat.S_IWUSR)
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as error:
            raise explain(error, path) from None
        with contextlib.suppress(OSError):  # the new name outlives a power cut as well; not every disk can promise that
            folder = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


class Lines:
    """An append-only file of whole lines, kept open until `close()` and written to the very file that was opened.

    `size` counts the bytes of its whole lines, and `torn` says whether those of an unfinished one stand after them.

    Raises:
        CaseError: for any fault, naming the file; what was whole before stays whole.
    """

    def __init__(self, path: Path, writable: bool) -> None:
        self.path, self.writable, self.size, self.torn = path, writable, 0, False
        self._lock, self._owner, self._broken = threading.RLock(), os.getpid(), ""
        try:
            self._file = _open(path, os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY)
            self._close = weakref.finalize(self, os.close, self._file)
            found = os.fstat(self._file)
        except OSError as error:
            raise explain(error, path) from None
        self._is = found.st_dev, found.st_ino
        self._measure()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Each whole line without its end, with its offset."""
        at, offset, number, begun = 0, 0, 1, list[bytes]()
        while at < self.size:
            chunk = self._read(min(_CHUNK, self.size - at), at)
            at += len(chunk)
            first, *others = chunk.split(b"\n")
            begun.append(first)
            for other in others:
                line = b"".join(begun)
                yield offset, line
                offset, number, begun = offset + len(line) + 1, number + 1, [other]
            if at - offset >= MOST_LINE:
                raise CaseError(f"{self.path}, line {number}, is longer than {MOST_LINE:,} bytes, the most that a line may have")

    def line(self, offset: int) -> bytes:
        """The line at an offset, read again, also where the file was deleted meanwhile."""
        found = b""
        while (end := found.find(b"\n")) < 0:
            found += self._read(len(found) or 1 << 16, offset + len(found))
        return found[:end]

    def mend(self, begins: bytes) -> None:
        """Cut a torn last line off, which a killed process left; one that does not begin as ours is no line of ours.

        Raises:
            CaseError: the file is somebody else's, and is left as it is.
        """
        if not self.torn:
            return
        tail = self._read(len(begins), self.size).rstrip(b"\0")  # zeros are what a power cut may leave
        if not begins.startswith(tail):
            raise CaseError(f"{self.path} is no file of gradbook's: its last line does not begin with {begins.decode()}; take it away")
        try:
            os.ftruncate(self._file, self.size)
        except OSError as error:
            raise explain(error, self.path) from None
        self.torn = False

    def append(self, line: bytes, sync: bool = True) -> int:
        """Append one line, which outlives the process, with `sync` a power cut as well; returns its offset."""
        data, done = line + b"\n", 0
        if len(data) > MOST_LINE:
            raise CaseError(f"{self.path} cannot take a line of {len(data):,} bytes, since {MOST_LINE:,} are the most; shorten its texts")
        if self._owner != os.getpid():  # before the lock, which another thread may have held at the fork
            raise CaseError(f"{self.path} is held by the process that this one was forked from; open the case by itself here")
        with self._lock:
            self.check(len(data))
            offset = self.size
            try:
                while done < len(data):
                    if not (count := handles.write_at(self._file, data[done:], offset + done)):
                        raise OSError(errno.ENOSPC, "")
                    done += count
                if sync:
                    self._confirm()
                self.size = offset + done
            except OSError as error:
                self._cut()
                raise explain(error, self.path) from None
            except BaseException:  # an interrupt: what is not acknowledged must not be there
                self._cut()
                raise
            return offset

    def lock(self) -> bool:
        """Take the file for this process alone, until it is closed or given up; whether it could be had."""
        try:
            handles.lock(self._file)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            raise explain(error, self.path) from None
        self._measure()  # who had it may have written until now
        self._check_place()
        return True

    def unlock(self) -> None:
        """Give the file up for others to write; it can still be read here."""
        if self._owner == os.getpid():  # a forked child would take it from its parent
            with contextlib.suppress(OSError):
                handles.unlock(self._file)
        self._broken = "it was given up here: open the case again"

    def close(self) -> None:
        """Give the file and its lock up; neither can be used here any more."""
        with self._lock if self._owner == os.getpid() else contextlib.nullcontext():
            self._file = _CLOSED  # the number may soon be another file's
            self._close()

    def check(self, more: int = 0) -> None:
        """That the path still names this very file, as long as we left it, and that as many bytes may be written."""
        if self._broken:
            raise CaseError(f"{self.path} cannot be written: {self._broken}")
        if (size := self._check_place()) != self.size:
            how = "cut" if size < self.size else "written by somebody else"
            raise CaseError(f"{self.path} was {how} while it was open; open the case again")
        if size + more > MOST:
            raise CaseError(f"{self.path} has {size:,} bytes, and {MOST:,} are the most; go on in a new case")

    def _check_place(self) -> int:
        """That the path still names this very file; its size."""
        try:
            found = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise CaseError(f"{self.path} was deleted or moved while it was open: put it back, or open the case where it is now") from None
        except OSError as error:
            raise explain(error, self.path) from None
        if (found.st_dev, found.st_ino) != self._is:
            raise CaseError(f"{self.path} was replaced by another file while it was open; open the case again")
        return found.st_size

    def _confirm(self) -> None:
        try:
            os.fsync(self._file)
        except OSError:  # after that nobody knows what is on the disk, and asking again would say that all is well
            self._broken = "the disk did not confirm the last line: check it, and open the case again"
            raise

    def _cut(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
        except OSError:
            self._broken = "a line of it could not be finished nor taken back: open the case again"

    def _measure(self) -> None:
        """Count the bytes of whole lines: all up to the last line break."""
        try:
            end = size = os.fstat(self._file).st_size
        except OSError as error:
            raise explain(error, self.path) from None
        if size > MOST:
            raise CaseError(f"{self.path} has {size:,} bytes, and {MOST:,} are the most that is read; restore it from a copy")
        found = -1
        while end > 0 and found < 0:
            if size - end > MOST_LINE:
                raise CaseError(f"{self.path} ends with more than {MOST_LINE:,} bytes without a line break; restore it from a copy")
            start = max(0, end - _CHUNK)
            found, end = self._read(end - start, start).rfind(b"\n"), start
        self.size = end + found + 1 if found >= 0 else 0
        self.torn = self.size < size

    def _read(self, count: int, offset: int) -> bytes:
        try:
            found = handles.read_at(self._file, count, offset)
        except OSError as error:
            raise explain(error, self.path) from None
        if not found:
            raise CaseError(f"{self.path} was cut while it was open; restore it from a copy")
        return found
