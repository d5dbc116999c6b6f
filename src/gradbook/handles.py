"""An open file, read and written at a place in it and locked, on any system."""

import os
import sys

if sys.platform == "win32":  # it has no pread, but no fork either, so that the position of a file is this process's own
    import msvcrt
    import threading

    _position = threading.Lock()
    _LOCKED = (1 << 31) - 2  # a byte far behind the first lines, since nobody else may read what is locked there

    def read_at(file: int, count: int, offset: int) -> bytes:
        with _position:
            os.lseek(file, offset, os.SEEK_SET)
            return os.read(file, count)

    def write_at(file: int, data: bytes, offset: int) -> int:
        with _position:
            os.lseek(file, offset, os.SEEK_SET)
            return os.write(file, data)

    def lock(file: int, mode: int = msvcrt.LK_NBLCK) -> None:
        with _position:
            os.lseek(file, _LOCKED, os.SEEK_SET)
            msvcrt.locking(file, mode, 1)

    def unlock(file: int) -> None:
        lock(file, msvcrt.LK_UNLCK)

else:
    import fcntl

    def read_at(file: int, count: int, offset: int) -> bytes:
        """Up to so many bytes from an offset; never by a position, which a forked child shares and could move."""
        return os.pread(file, count, offset)

    def write_at(file: int, data: bytes, offset: int) -> int:
        """Write at an offset; how many bytes were written."""
        return os.pwrite(file, data, offset)

    def lock(file: int) -> None:
        """Take the file for this process alone; BlockingIOError or PermissionError where another has it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: int) -> None:
        """Give the file up for others."""
        fcntl.flock(file, fcntl.LOCK_UN)
