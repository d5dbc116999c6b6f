"""The bottom of a case: plain files in one folder, appended to so that nothing is torn, whatever the machine does."""

import contextlib
import errno
import importlib.util
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook import files, handles
from gradbook.files import OWN, Folder, Lines, explain
from machine import failing, fill, limited, no_handles, small_disk, told, untouched
from strangers import STRANGE, strange

LINE = b'{"a line":"of a case"}'
JOURNAL = "journal.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "case")
    made.make()
    made.check()
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is none of gradbook's business, with a file in it that would suit."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_bytes(LINE + b"\ntorn")
    return place


@pytest.fixture
def lines(folder: Folder) -> Lines:
    opened = folder.open(JOURNAL, writable=True)
    for _ in range(3):
        opened.append(LINE)
    return opened


def content(lines: Lines) -> list[bytes]:
    return [line for _, line in lines]


# --- paths -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("x" * 256, "too long"),
        ("/".join(["x" * 200] * 30), "too long"),
        ("a\0b", "U+0000"),
        ("half \ud83d", "U+D83D"),
        ("line\nbreak", "U+000A"),
        ("\x1b[31mred", "U+001B"),
        ("\u202egnp.exe", "U+202E"),
        (b"\xff", "U+DCFF"),
        ("~nobody-of-that-name/case", "leads nowhere"),
        ("file", "is a file"),
        ("file/case", "is a file"),
        ("file/deeper/case", "is a file"),
        ("ring", "ring of links"),
        ("ring/case", "ring of links"),
    ],
)
def test_a_path_that_cannot_be_one_is_refused_before_anything_is_made(path: str, said: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("whole")
    (tmp_path / "ring").symlink_to("ring")
    monkeypatch.chdir(tmp_path)
    with untouched(tmp_path):
        told(lambda: Folder(path), said)


def test_a_path_from_a_folder_that_was_removed_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    told(lambda: Folder("case"), "leads nowhere")


def test_another_working_folder_changes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "case").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one")
    folder = Folder("case")
    lines = folder.open(JOURNAL, writable=True)
    monkeypatch.chdir(tmp_path / "two")
    with untouched(tmp_path / "two"):
        lines.append(LINE)
        folder.write("case.toml", b"title = 'x'")
    assert folder.read(JOURNAL) == LINE + b"\n" and folder.path == tmp_path / "one" / "case"


def test_a_home_folder_and_a_folder_behind_a_link_are_as_good_as_any(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    folder = Folder("~/link")
    folder.write("case.toml", b"x")
    assert (tmp_path / "real" / "case.toml").read_bytes() == b"x"


def test_a_link_to_nothing_is_no_folder_to_make(tmp_path: Path) -> None:
    (tmp_path / "case").symlink_to(tmp_path / "nothing")
    with untouched(tmp_path):
        told(Folder(tmp_path / "case").make, "already")


# --- strange files -----------------------------------------------------------------------------------------------------------

USES = {
    "check": lambda folder, name: folder.check(),
    "has": lambda folder, name: folder.has(name),
    "read": lambda folder, name: folder.read(name),
    "write": lambda folder, name: folder.write(name, b"new"),
    "open": lambda folder, name: folder.open(name, writable=False),
    "open to write": lambda folder, name: folder.open(name, writable=True),
    "copy": lambda folder, name: folder.copy(Folder(folder.path.with_name("copy"))),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("use", USES)
def test_what_is_no_plain_file_is_refused_by_name_and_left_alone(use: str, kind: str, folder: Folder, outside: Path) -> None:
    for name in OWN if use in ("check", "copy") else (JOURNAL,):
        path = folder.path / name
        strange(kind, path, outside)
        with untouched(folder.path.parent):
            told(lambda name=name: USES[use](folder, name), str(path), "plain files only")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("use", ["read", "open", "open to write"])
def test_what_is_put_there_after_the_look_is_refused_as_well(use: str, kind: str, folder: Folder, outside: Path, monkeypatch: Any) -> None:
    strange(kind, folder.path / JOURNAL, outside)
    monkeypatch.setattr(Folder, "_mode", lambda self, name: 0o644)
    with untouched(folder.path.parent):
        told(lambda: USES[use](folder, JOURNAL), str(folder.path / JOURNAL))


@pytest.mark.parametrize("kind", STRANGE)
def test_files_of_other_names_are_nobodys_business(kind: str, folder: Folder, outside: Path) -> None:
    strange(kind, folder.path / "mine", outside)
    folder.write("case.toml", b"x")
    folder.check()
    folder.copy(copy := Folder(folder.path.with_name("copy")))
    assert os.listdir(copy.path) == ["case.toml"]


def test_a_link_that_comes_while_a_file_is_open_is_not_followed(lines: Lines, outside: Path) -> None:
    lines.path.unlink()
    lines.path.symlink_to(outside / "secret")
    with untouched(outside.parent):
        told(lambda: lines.append(LINE), "replaced")


def test_writing_replaces_the_name_and_not_what_else_has_the_content(folder: Folder, outside: Path) -> None:
    os.link(outside / "secret", folder.path / "case.toml")
    with untouched(outside):
        folder.write("case.toml", b"new")


# --- whole files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_up_to_its_bound_and_no_further(folder: Folder) -> None:
    folder.write("case.toml", b"x" * 100)
    assert folder.read("case.toml", 100) == b"x" * 100
    told(lambda: folder.read("case.toml", 99), "case.toml", "99")


@pytest.mark.timeout(20)
def test_a_file_without_end_is_not_read_to_its_end(folder: Folder) -> None:
    with open(folder.path / "case.toml", "wb") as file:
        file.truncate(1 << 40)
    told(lambda: folder.read("case.toml", 1 << 20), "1,048,576")


def test_what_a_person_lets_nobody_else_read_stays_so(folder: Folder) -> None:
    path = folder.path / "case.toml"
    previous = os.umask(0o022)
    try:
        folder.write("case.toml", b"x")
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o600)
        folder.write("case.toml", b"y")
        folder.copy(copy := Folder(folder.path.with_name("copy")))
        assert {path.stat().st_mode & 0o777, (copy.path / "case.toml").stat().st_mode & 0o777} == {0o600}
        path.chmod(0o444)
        folder.copy(other := Folder(folder.path.with_name("other")))
        assert (other.path / "case.toml").stat().st_mode & 0o777 == 0o644, "a copy can be written by its owner"
    finally:
        os.umask(previous)


def test_a_copy_has_gradbooks_files_with_all_their_content_and_none_else(folder: Folder, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "_CHUNK", 7)
    for name in OWN:
        folder.write(name, name.encode() * 5)
    (folder.path / ".lock").write_bytes(b"")
    (folder.path / "notes").mkdir()
    folder.copy(copy := Folder(folder.path.with_name("copy")))
    assert {path.name: path.read_bytes() for path in copy.path.iterdir()} == {name: name.encode() * 5 for name in OWN}


WRITING = [
    (errno.ENOSPC, ("fsync",), "disk is full"),
    (errno.EDQUOT, ("fsync",), "quota"),
    (errno.EIO, ("fsync",), "reported an error"),
    (errno.EROFS, ("open",), "read-only"),
    (errno.EACCES, ("open",), "no right"),
    (errno.EMFILE, ("open",), "files open"),
    (errno.ENFILE, ("open",), "files open"),
    (errno.EACCES, ("replace",), "no right"),
    (errno.EPERM, ("replace",), "does not allow"),
    (errno.EBUSY, ("replace",), "another program"),
    (errno.EIO, ("lstat",), "reported an error"),
    (errno.ESTALE, ("stat",), "network"),
    (errno.EACCES, ("lstat",), "no right"),
    (errno.ENOMEM, ("open",), os.strerror(errno.ENOMEM).lower()),
]


@pytest.mark.parametrize(("number", "names", "said"), WRITING)
def test_a_file_that_cannot_be_written_is_whole_as_it_was(number: int, names: tuple[str, ...], said: str, folder: Folder) -> None:
    folder.write("case.toml", b"old")
    with untouched(folder.path), failing(number, *names):
        told(lambda: folder.write("case.toml", b"new"), str(folder.path), said)
    folder.write("case.toml", b"new")
    assert folder.read("case.toml") == b"new" and os.listdir(folder.path) == ["case.toml"]


@pytest.mark.parametrize(
    ("number", "name", "said"),
    [*((n, names[0], said) for n, names, said in WRITING if names[0] != "replace"), (errno.EACCES, "mkdir", "no right")],
)
def test_a_copy_that_fails_leaves_nothing_behind(number: int, name: str, said: str, folder: Folder) -> None:
    for own in OWN:
        folder.write(own, b"whole")
    to = Folder(folder.path.with_name("copy"))
    with untouched(folder.path.parent), failing(number, name):
        told(lambda: folder.copy(to), said)
    folder.copy(to)
    assert sorted(os.listdir(to.path)) == sorted(OWN)


def test_a_limit_on_the_size_of_files_at_every_byte_of_a_file(folder: Folder) -> None:
    folder.write("case.toml", b"old")
    for most in range(0, 300, 10):
        with limited(resource.RLIMIT_FSIZE, most), untouched(folder.path):
            told(lambda: folder.write("case.toml", b"n" * 300), "larger than this system allows")
    folder.write("case.toml", b"n" * 300)


@pytest.mark.parametrize("use", ["read", "write", "open", "open to write", "copy"])
def test_no_handles(use: str, folder: Folder) -> None:
    folder.write(JOURNAL, LINE)
    with untouched(folder.path.parent), no_handles():
        told(lambda: USES[use](folder, JOURNAL), "too many files open")
    USES[use](folder, JOURNAL)


# --- lines -------------------------------------------------------------------------------------------------------------------

texts = st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b" ")), max_size=30)


@given(texts=texts, torn=st.binary(max_size=30).map(lambda text: text.replace(b"\n", b" ")), chunk=st.integers(1, 50))
def test_what_was_appended_is_read_whatever_the_size_of_a_read(texts: list[bytes], torn: bytes, chunk: int, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("lines") / JOURNAL
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        lines = Lines(path, writable=True)
        offsets = [lines.append(text, sync=False) for text in texts]
        assert list(lines) == list(zip(offsets, texts, strict=True)) and not lines.torn
        with open(path, "ab") as file:
            file.write(torn)
        again = Lines(path, writable=False)
        assert list(again) == list(zip(offsets, texts, strict=True))
        assert again.torn == bool(torn) and again.size == lines.size
        path.unlink()
        assert [lines.line(offset) for offset in offsets] == texts, "what was deleted can still be read"
        lines.close(), again.close()


@given(
    texts=st.lists(st.binary(min_size=1, max_size=30).map(lambda text: text.replace(b"\n", b" ")), min_size=1, max_size=20),
    faults=st.lists(st.sampled_from([0, 1, 2, 7, 1000, OSError(errno.ENOSPC, ""), OSError(errno.EIO, ""), KeyboardInterrupt()])),
)
def test_whatever_a_write_does_a_line_is_there_whole_or_not_at_all(texts: list[bytes], faults: list[Any], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("lines") / JOURNAL
    lines, kept, real = Lines(path, writable=True), [], os.pwrite

    def pwrite(file: int, data: bytes, offset: int) -> int:
        fault = faults.pop() if faults else 1000
        if isinstance(fault, BaseException):
            real(file, data[: len(data) // 2], offset)  # a disk that fails has taken something
            raise fault
        return real(file, data[:fault], offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        for text in texts:
            try:
                lines.append(text, sync=False)
            except (files.CaseError, KeyboardInterrupt):
                pass
            else:
                kept.append(text)
            assert path.read_bytes() == b"".join(text + b"\n" for text in kept)
    assert content(lines) == kept
    lines.close()


def test_a_disk_that_fills_up_at_every_tenth_byte_of_a_run_of_lines(tmp_path: Path) -> None:
    run = [b'{"line":%d,"text":"%s"}' % (n, b"x" * (n * 7 % 90)) for n in range(30)]
    whole = b"".join(line + b"\n" for line in run)
    for most in range(0, len(whole), 10):
        lines = Folder(tmp_path).open(f"{most}.jsonl", writable=True)
        with limited(resource.RLIMIT_FSIZE, most):
            kept = 0
            with contextlib.suppress(files.CaseError):
                for line in run:
                    lines.append(line, sync=False)
                    kept += 1
            assert kept < len(run)
            told(lambda kept=kept, lines=lines: lines.append(run[kept]), lines.path.name, "what was recorded before is whole")
            assert lines.path.read_bytes() == b"".join(line + b"\n" for line in run[:kept])
        for line in run[kept:]:
            lines.append(line, sync=False)
        assert lines.path.read_bytes() == whole and content(lines) == run
        lines.close()


def test_a_full_disk_is_told_and_once_there_is_room_all_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        folder = Folder(disk / "case")
        folder.make()
        folder.write("case.toml", b"old")
        lines = folder.open(JOURNAL, writable=True)
        lines.append(LINE)
        ballast = fill(disk)
        with untouched(disk / "case"):
            told(lambda: folder.write("case.toml", b"n" * 9000), "case.toml", "disk is full")
            told(lambda: folder.copy(Folder(disk / "copy")), "disk is full")
        assert not (disk / "copy").exists()
        kept = 1
        with contextlib.suppress(files.CaseError):
            while kept < 10_000:
                lines.append(LINE, sync=False)
                kept += 1
        told(lambda: lines.append(LINE), JOURNAL, "disk is full")
        assert lines.path.read_bytes() == (LINE + b"\n") * kept
        ballast.unlink()
        lines.append(LINE)
        assert content(lines) == [LINE] * (kept + 1)
        lines.close()


@pytest.mark.parametrize(
    ("number", "name", "said"),
    [
        (errno.ENOSPC, "pwrite", "disk is full"),
        (errno.EDQUOT, "pwrite", "quota"),
        (errno.EFBIG, "pwrite", "larger"),
        (errno.EIO, "pwrite", "reported an error"),
        (errno.ESTALE, "pwrite", "network"),
        (errno.EACCES, "lstat", "no right"),
        (errno.EIO, "lstat", "reported an error"),
        (errno.EINVAL, "pwrite", os.strerror(errno.EINVAL).lower()),
    ],
)
def test_a_line_that_cannot_be_written_leaves_the_others_and_the_next_can_be(number: int, name: str, said: str, lines: Lines) -> None:
    with failing(number, name):
        told(lambda: lines.append(b"x" * 5000), JOURNAL, said)
    assert lines.path.read_bytes() == (LINE + b"\n") * 3
    lines.append(LINE)
    assert content(lines) == [LINE] * 4


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_after_a_line_that_the_disk_did_not_confirm_nothing_is_written_until_it_is_opened_again(number: int, lines: Lines) -> None:
    with failing(number, "fsync"):
        told(lambda: lines.append(b"x"), JOURNAL)
    with untouched(lines.path.parent):
        told(lambda: lines.append(b"x"), "did not confirm", "open the case again")
    assert content(lines) == [LINE] * 3, "it can still be read"
    again = Lines(lines.path, writable=True)
    again.append(LINE)
    assert content(again) == [LINE] * 4


def test_a_line_that_can_neither_be_finished_nor_taken_back_is_the_last(lines: Lines) -> None:
    def half(file: int, data: bytes, offset: int, real: Any = os.pwrite) -> int:
        return real(file, data[:3], offset) if offset == lines.size else (_ for _ in ()).throw(OSError(errno.EIO, ""))

    with pytest.MonkeyPatch.context() as patch, failing(errno.EIO, "ftruncate"):
        patch.setattr(os, "pwrite", half)
        told(lambda: lines.append(LINE), "reported an error")
    with untouched(lines.path.parent):
        told(lambda: lines.append(LINE), "taken back", "open the case again")
    lines.close()
    again = Lines(lines.path, writable=True)
    assert content(again) == [LINE] * 3 and again.torn
    again.mend(b'{"')
    again.append(LINE)
    assert content(again) == [LINE] * 4


def test_an_interrupt_at_any_line_of_an_append_leaves_a_whole_file(lines: Lines) -> None:
    done = at = 0
    while not done:
        at += 1
        seen = 0

        def interrupt(frame: Any, event: str, _: Any, at: int = at) -> Any:
            nonlocal seen
            if frame.f_code.co_filename != files.__file__:
                return None
            seen += event == "line"
            if seen == at and event == "line":
                raise KeyboardInterrupt
            return interrupt

        size = lines.size
        sys.settrace(interrupt)
        try:
            lines.append(b'{"n":%d}' % at)
            done = 1
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert lines.path.stat().st_size == lines.size and lines.size in (size, size + len(b'{"n":%d}\n' % at))
        lines.append(LINE)
    assert at > 10, "it was interrupted in many places"
    assert all(line.endswith(b"}") for line in content(lines)) and not Lines(lines.path, writable=False).torn


def test_what_somebody_else_does_to_an_open_file_is_told_before_a_byte_is_written(lines: Lines, folder: Folder, outside: Path) -> None:
    path, whole = lines.path, lines.path.read_bytes()
    aside = path.with_name("aside")

    def refused(*words: str) -> None:
        with untouched(folder.path.parent):
            told(lambda: lines.append(b"new"), str(path), *words)
            assert lines.line(0) == LINE, "it can still be read"

    os.rename(path, aside)
    refused("deleted or moved")
    path.write_bytes(whole)
    refused("replaced")
    path.unlink()
    path.mkdir()
    refused("replaced")
    path.rmdir()
    os.rename(aside, path)
    lines.append(LINE)
    os.truncate(path, 30)
    refused("cut")
    path.write_bytes(whole + LINE + b"\n" + LINE + b"\n")
    refused("written by somebody else")
    os.truncate(path, lines.size)
    lines.append(LINE)
    os.rename(folder.path, folder.path.with_name("moved"))
    refused("deleted or moved")
    folder.path.write_bytes(b"a file where the folder was")
    refused("deleted or moved")


def test_a_file_that_is_cut_while_it_is_read_is_told(lines: Lines, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "_CHUNK", 10)
    reading = iter(lines)
    next(reading)
    os.truncate(lines.path, 5)
    told(lambda: list(reading), "was cut")
    told(lambda: lines.line(2 * len(LINE)), "was cut")


def test_a_folder_in_the_place_of_the_one_that_was_opened_is_left_alone(folder: Folder) -> None:
    folder.write("case.toml", b"mine")
    os.rename(folder.path, folder.path.with_name("moved"))
    told(lambda: folder.write("case.toml", b"new"), "is not there")
    folder.path.mkdir()
    (folder.path / "case.toml").write_bytes(b"yours")
    with untouched(folder.path.parent):
        for use in USES:
            told(lambda use=use: USES[use](folder, "case.toml"), "another folder")


def test_after_it_is_closed_no_other_file_is_written_in_its_place(lines: Lines, outside: Path) -> None:
    lines.close()
    others = [os.open(outside / "secret", os.O_RDWR) for _ in range(20)]
    with untouched(outside.parent):
        told(lambda: lines.append(LINE), "closed here")
        told(lambda: lines.line(0), "closed here")
        told(lambda: content(lines), "closed here")
        told(lines.lock, "closed here")
    for other in others:
        os.close(other)
    lines.close()


def test_files_are_closed_when_nobody_has_them_any_more(folder: Folder, recwarn: Any) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else pytest.skip("handles cannot be counted here")
    for _ in range(50):
        folder.open(JOURNAL, writable=True)
        with contextlib.suppress(files.CaseError):
            folder.open("case.toml", writable=False)
    assert len(os.listdir("/proc/self/fd")) <= before + 1 and not recwarn.list


# --- bounds ------------------------------------------------------------------------------------------------------------------


def test_a_line_is_never_longer_than_what_is_read(folder: Folder, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "MOST_LINE", 1000)
    monkeypatch.setattr(files, "_CHUNK", 100)
    lines = folder.open(JOURNAL, writable=True)
    lines.append(b"x" * 999)
    with untouched(folder.path):
        told(lambda: lines.append(b"x" * 1000), JOURNAL, "1,000", "shorten")
    lines.append(b"x" * 999)
    assert [len(line) for line in content(folder.open(JOURNAL, writable=False))] == [999, 999]
    with open(lines.path, "ab") as file:
        file.write(b"y" * 1200 + b"\n" + LINE + b"\n")
    told(lambda: content(folder.open(JOURNAL, writable=False)), JOURNAL, "line 3", "1,000")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("begins", [b"", LINE + b"\n"])
@pytest.mark.parametrize("ends", [b"", b"\n"])
def test_a_line_without_end_is_told_in_no_time(begins: bytes, ends: bytes, folder: Folder) -> None:
    with open(folder.path / JOURNAL, "wb") as file:
        file.write(begins)
        file.truncate(files.MOST - len(ends))
        file.seek(0, os.SEEK_END)
        file.write(ends)
    told(lambda: content(folder.open(JOURNAL, writable=False)), JOURNAL, "67,108,864")


def test_a_file_never_grows_beyond_what_is_read(folder: Folder, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "MOST", 100)
    lines = folder.open(JOURNAL, writable=True)
    for _ in range(4):
        lines.append(LINE)
    with untouched(folder.path):
        told(lambda: lines.append(LINE), "go on in a new case")
    assert content(folder.open(JOURNAL, writable=True)) == [LINE] * 4
    with open(lines.path, "ab") as file:
        file.write(LINE + b"\n")
    told(lambda: folder.open(JOURNAL, writable=False), JOURNAL, "100 are the most")


# --- mending -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b"{", b'{"event": "no', b"\0\0\0", b'{\0\0"'[:2]])
def test_a_torn_line_of_ours_is_cut_off(tail: bytes, lines: Lines) -> None:
    with open(lines.path, "ab") as file:
        file.write(tail)
    again = Lines(lines.path, writable=True)
    assert again.torn and content(again) == [LINE] * 3
    told(lambda: again.append(LINE), "written by somebody else")
    again.mend(b'{"')
    again.mend(b'{"')
    again.append(LINE)
    assert not again.torn and again.path.read_bytes() == (LINE + b"\n") * 4


@pytest.mark.parametrize("tail", [b"alias ls='rm'", b"[", b" {", b'{x"'])
def test_a_torn_line_of_somebody_else_is_left_alone(tail: bytes, lines: Lines) -> None:
    with open(lines.path, "ab") as file:
        file.write(tail)
    with untouched(lines.path.parent):
        told(lambda: Lines(lines.path, writable=True).mend(b'{"'), "no file of gradbook's")


@pytest.mark.parametrize(("number", "said"), [(errno.EIO, "reported an error"), (errno.EROFS, "read-only")])
def test_a_mend_that_fails_is_told(number: int, said: str, lines: Lines) -> None:
    with open(lines.path, "ab") as file:
        file.write(b"{")
    again = Lines(lines.path, writable=True)
    with untouched(lines.path.parent), failing(number, "ftruncate"):
        told(lambda: again.mend(b'{"'), said)
    again.mend(b'{"')


# --- locks -------------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from gradbook.files import Lines
lines = Lines(Path(sys.argv[1]), writable=True)
print(lines.lock(), flush=True)
for line in sys.stdin:
    print(lines.append(line.strip().encode()), flush=True)
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    """Another process that holds the file, and appends each line that it is given."""
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout and other.stdout.readline() == "True\n"
    return other


@pytest.mark.parametrize("end", ["close", "kill"])
def test_one_process_has_the_file_until_it_ends_however_it_ends(end: str, lines: Lines) -> None:
    with holder(lines.path) as other:
        assert not lines.lock()
        (lines.path.parent / ".lock").touch()
        (lines.path.parent / ".lock").unlink()
        assert not lines.lock()
        assert other.stdin and other.stdout
        other.stdin.write('{"by":"the other"}\n')
        other.stdin.flush()
        other.stdout.readline()
        told(lambda: lines.append(LINE), "written by somebody else")
        other.stdin.close() if end == "close" else other.send_signal(signal.SIGKILL)
        other.wait(20)
    assert lines.lock()
    lines.append(LINE)
    assert content(lines) == [LINE] * 3 + [b'{"by":"the other"}', LINE], "what the other wrote until then is known"


def test_one_object_of_this_process_has_the_file_until_it_gives_it_up(lines: Lines) -> None:
    other = Lines(lines.path, writable=True)
    assert lines.lock() and lines.lock() and not other.lock()
    lines.unlock()
    assert other.lock()
    with untouched(lines.path.parent):
        told(lambda: lines.append(LINE), "given up")
    assert content(lines) == [LINE] * 3
    other.close()
    assert Lines(lines.path, writable=True).lock()


def test_a_file_that_was_replaced_is_no_lock(lines: Lines) -> None:
    os.replace(lines.path, lines.path.with_name("old"))
    lines.path.write_bytes(LINE + b"\n")
    told(lines.lock, "replaced")


@pytest.mark.parametrize(("number", "said"), [(errno.ENOLCK, "cannot lock"), (errno.EOPNOTSUPP, "cannot do this"), (errno.EIO, "an error")])
def test_a_disk_that_cannot_lock_is_told(number: int, said: str, lines: Lines, monkeypatch: Any) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(handles.fcntl, "flock", refuse)
    told(lines.lock, JOURNAL, said)


def forked(work: Any) -> int:
    """Run `work` in a forked child; its exit code."""
    child = os.fork()
    if not child:
        try:
            os._exit(work() or 0)
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_reads_but_neither_writes_nor_gives_up_what_its_parent_holds(lines: Lines) -> None:
    assert lines.lock()

    def child() -> int:
        with contextlib.suppress(files.CaseError):
            lines.append(b"by the child")
            return 1
        lines.unlock()
        return 0 if content(lines) == [LINE] * 3 else 2

    assert forked(child) == 0
    assert not Lines(lines.path, writable=True).lock(), "the parent still has it"
    lines.append(LINE)
    assert forked(lambda: lines.close()) == 0 and not Lines(lines.path, writable=True).lock()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_in_the_middle_of_an_append_does_not_hang(lines: Lines) -> None:
    with lines._lock:
        thread = threading.Thread(target=lambda: codes.append(forked(child)))
        codes: list[int] = []

        def child() -> int:
            signal.alarm(10)
            told(lambda: lines.append(LINE), "forked")
            lines.close()
            return 7

        thread.start()
        thread.join()
    assert codes == [7]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_reads_does_not_move_what_its_parent_writes(lines: Lines) -> None:
    child = os.fork()
    if not child:
        while True:
            lines.line(0)
    try:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            lines.append(LINE, sync=False)
            assert lines.line(lines.size - len(LINE) - 1) == LINE
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert set(content(lines)) == {LINE}


def test_threads_that_append_at_once_and_read_meanwhile_mix_nothing(lines: Lines) -> None:
    def work(name: int) -> None:
        for n in range(200):
            text = b'{"by":%d,"n":%d}' % (name, n)
            assert lines.line(lines.append(text, sync=False)) == text

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(content(lines)[3:]) == sorted(b'{"by":%d,"n":%d}' % (name, n) for name in range(4) for n in range(200))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_killed_at_any_moment_a_file_holds_what_was_acknowledged(tmp_path: Path) -> None:
    torn = 0
    for moment in range(60):
        path = tmp_path / f"{moment}.jsonl"
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            lines = Lines(path, writable=True)
            while True:
                lines.append(b'{"a":"line"}' * 5000, sync=False)
                os.write(write, b"x")
        os.close(write)
        os.read(read, 1)
        time.sleep(0.0005 * moment)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged = 1
        while more := os.read(read, 1 << 16):
            acknowledged += len(more)
        os.close(read)
        again = Lines(path, writable=True)
        torn += again.torn
        again.mend(b'{"')
        assert acknowledged <= len(content(again)) <= acknowledged + 1
        again.append(LINE)
        assert set(content(again)) <= {b'{"a":"line"}' * 5000, LINE}
        again.close()
        path.unlink()
    print(f"{torn} of 60 kills left a torn line")


# --- the system --------------------------------------------------------------------------------------------------------------


def test_each_fault_that_has_a_name_is_one_sentence_that_says_what_would_be_right() -> None:
    for number in (0, *errno.errorcode):
        text = str(explain(OSError(number, os.strerror(number)), "a/case"))
        assert text.startswith("a/case cannot be used: ") and "Errno" not in text and text.count("\n") == 0
    assert "\ud83d" not in str(explain(OSError(errno.ENOENT, ""), "half \ud83d"))
    for error in (OSError(), OSError("odd"), TimeoutError()):
        assert str(explain(error, "a/case"))


def test_on_windows_files_are_read_written_and_locked_by_position(tmp_path: Path, monkeypatch: Any) -> None:
    locked: list[tuple[int, int, int]] = []
    said = types.ModuleType("msvcrt")
    said.LK_NBLCK, said.LK_UNLCK = 2, 0  # type: ignore[attr-defined]
    said.locking = lambda file, mode, count: locked.append((mode, count, os.lseek(file, 0, os.SEEK_CUR)))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "msvcrt", said)
    monkeypatch.setattr(sys, "platform", "win32")
    spec = importlib.util.spec_from_file_location("handles_of_windows", handles.__file__)
    assert spec and spec.loader
    there = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(there)
    monkeypatch.setattr(files, "handles", there)
    lines = Lines(tmp_path / JOURNAL, writable=True)
    assert lines.lock()
    offsets = [lines.append(LINE) for _ in range(3)]
    assert list(lines) == [(offset, LINE) for offset in offsets] and lines.line(offsets[1]) == LINE
    lines.unlock()
    assert [mode for mode, _, _ in locked] == [2, 0] and {place for _, _, place in locked} == {(1 << 31) - 2}
