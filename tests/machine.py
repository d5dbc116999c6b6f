"""Faults of the machine on demand, and what has to hold after each: one sentence, and nothing touched that was whole."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gradbook as gb
from gradbook.errors import CaseError, GradbookError
from small import small_task


def told(call: Callable[[], Any], *words: str, kind: type[GradbookError] = CaseError) -> str:
    """What `call` tells the user: one error of gradbook's, in one printable sentence that says each of `words`."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert text.isprintable() and len(text) < 7000, ascii(text)
    assert "Errno" not in text and "object at 0x" not in text, text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "the raw error would be shown above the sentence"
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"
    return text


def look(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All that is in a folder: kind, content and, but of folders, the time of change, without following a link."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        facts = os.lstat(path)
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (facts.st_mode, what, None if path.is_dir() else facts.st_mtime_ns)
    return found


@contextlib.contextmanager
def untouched(*folders: Path) -> Iterator[None]:
    """Whatever happens in the block, the folders are as before: by name, kind, content and time of change."""
    before = [look(folder) for folder in folders]
    yield
    assert [look(folder) for folder in folders] == before


@contextlib.contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    """A limit of the system on this process, as `resource.RLIMIT_FSIZE`; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@contextlib.contextmanager
def no_handles() -> Iterator[None]:
    """No file can be opened."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    with limited(resource.RLIMIT_NOFILE, lowest):
        yield


@contextlib.contextmanager
def failing(number: int, *names: str, first: int = 1) -> Iterator[None]:
    """Functions of `os` by name fail with an error number, from the `first` of their calls on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, _failing(getattr(os, name), number, first))
        yield


def _failing(real: Callable[..., Any], number: int, first: int) -> Callable[..., Any]:
    calls = iter(range(1, first))

    def stand_in(*args: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise OSError(number, os.strerror(number))
        return real(*args, **named)

    return stand_in


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of 64 kB of its own, mounted at an empty folder."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte with a file, which can be removed to make room."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), open(ballast, "ab", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return ballast


def record(folder: Path, model: gb.Model) -> Path:
    """Make a small case with a step, a branch, a score and a note, to be copied."""
    method = gb.Method(selection="naive", candidates=1, batch_size=1)
    case = gb.Case(folder, task=small_task(3, 3, 3), model=model, method=method)
    case.step()
    case.perturb(1, gb.edits.replace("prompt_critique", example=0, text="red means K1"), note="why")
    case.score(2, "test")
    case.write_note(1, "whole")
    case.close()
    return folder
