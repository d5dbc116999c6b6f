"""One table of what a machine may do to a case: what happens, what the user reads, what is still whole afterwards.

`test_files.py` has the same table for the files alone; here it is driven through `Case` and `Recording`.
"""

import contextlib
import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gradbook as gb
from gradbook.errors import CaseError, ExportError, GradbookError
from machine import failing, fill, limited, no_handles, record, small_disk, told, untouched
from small import reply, small_task
from stub import Stub

METHOD = gb.Method(selection="naive", candidates=1, batch_size=1)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub(reply=reply) as running:
        yield running


@pytest.fixture
def model(stub: Stub) -> gb.Model:
    return gb.connect("small", base_url=stub.url, api_key="k", cache=False)


@pytest.fixture(scope="module")
def recorded(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
    return record(tmp_path_factory.mktemp("recorded") / "case", model)


@pytest.fixture
def case(recorded: Path, model: gb.Model, tmp_path: Path) -> Iterator[gb.Case]:
    shutil.copytree(recorded, tmp_path / "case")
    opened = gb.Case(tmp_path / "case", model=model)
    yield opened
    opened.close()


def lines(folder: Path) -> dict[str, list[bytes]]:
    """The lines of both records; each has to be whole."""
    found = {}
    for name in ("journal.jsonl", "calls.jsonl"):
        data = (folder / name).read_bytes() if (folder / name).exists() else b""
        assert data == b"" or data.endswith(b"\n"), f"{name} ends with a torn line"
        found[name] = data.splitlines()
    return found


def same(one: gb.Recording, other: gb.Recording) -> bool:
    """Whether two cases hold the same, times aside."""
    untimed = {"edits": {"__all__": {"at"}}}
    return [(a.model_dump(exclude=untimed), one.note(a)) for a in one] == [(b.model_dump(exclude=untimed), other.note(b)) for b in other]


@contextlib.contextmanager
def keeps(folder: Path) -> Iterator[None]:
    """Whatever happens in the block, each line that was there is there, and what came is whole lines."""
    before = lines(folder)
    yield
    for name, now in lines(folder).items():
        assert now[: len(before[name])] == before[name]
    assert not list(folder.glob(".*.new")), "no draft is left behind"


ACTS: dict[str, Callable[[gb.Case], Any]] = {
    "step": lambda case: case.step(),
    "note": lambda case: case.write_note(1, f"another, {case.note(1)}"),
    "branch": lambda case: case.perturb(1, gb.edits.replace("candidate", candidate=0, text=f"red means K{len(case)}.")),
    "score": lambda case: case.score(1, "test", replicate=len(case.recorded_questions())),
    "use": lambda case: case.use(case.method.model_copy(update={"batch_size": case.method.batch_size + 1})),
    "undo": lambda case: case.undo() if case.current.id else case.go(1),
    "fork": lambda case: case.fork(_free(case.path)),
    "open": lambda case: gb.Recording(case.path),
    "make": lambda case: gb.Case(_free(case.path), task=small_task(1, 1, 1)),
}


def _free(path: Path) -> Path:
    return next(p for n in range(1000) if not (p := path.with_name(f"new-{n}")).exists())


WRITES = ("step", "note", "branch", "score", "use", "undo")
TABLE = [  # what the system says, where, what the user reads, at what he does
    (errno.ENOSPC, "pwrite", "the disk is full: make room and go on, what was recorded before is whole", WRITES),
    (errno.EDQUOT, "pwrite", "your quota of disk space is used up", WRITES),
    (errno.EFBIG, "pwrite", "larger than this system allows", WRITES),
    (errno.EIO, "pwrite", "the disk reported an error", WRITES),
    (errno.ESTALE, "pwrite", "gone from the network", WRITES),
    (errno.EACCES, "lstat", "no right", ("note", "use", "fork", "make")),
    (errno.ENOSPC, "fsync", "the disk is full", ("use", "fork", "make")),
    (errno.EIO, "fsync", "reported an error", ("fork", "make")),
    (errno.EROFS, "open", "read-only", ("use", "fork", "open", "make")),
    (errno.EMFILE, "open", "too many files open", ("use", "fork", "open", "make")),
    (errno.ENFILE, "open", "too many files open", ("use", "fork", "open", "make")),
    (errno.EACCES, "open", "no right", ("use", "fork", "open", "make")),
    (errno.EACCES, "mkdir", "no right", ("fork", "make")),
    (errno.EROFS, "mkdir", "read-only", ("fork", "make")),
    (errno.EACCES, "replace", "no right", ("use", "fork", "make")),
]


@pytest.mark.parametrize(("number", "name", "said", "act"), [(n, f, s, act) for n, f, s, acts in TABLE for act in acts])
def test_a_fault_is_told_once_and_the_same_done_again_afterwards_works(number: int, name: str, said: str, act: str, case: gb.Case) -> None:
    with keeps(case.path):
        with failing(number, name):
            told(lambda: ACTS[act](case), str(case.path.parent), said)
        assert same(case, gb.Recording(case.path)), "what the object holds is what is recorded"
        ACTS[act](case)
    assert same(case, gb.Recording(case.path))
    case.step()


@pytest.mark.parametrize(("act", "first"), [*((act, 1) for act in WRITES), *((act, n) for act in ("step", "branch") for n in (2, 3))])
def test_after_a_line_that_the_disk_did_not_confirm_the_case_is_opened_again(act: str, first: int, case: gb.Case, model: gb.Model) -> None:
    with keeps(case.path):
        with failing(errno.EIO, "fsync", first=first):
            told(lambda: ACTS[act](case), "reported an error")
        if act != "use":  # its settings are a file of their own
            told(lambda: case.write_note(1, "refused"), "open the case again")
        again = gb.Case(case.path, model=model)
        ACTS[act](again)
        again.step()
        again.close()


class Disk:
    """Stands for a disk that has room for so many bytes more of what is appended."""

    def __init__(self) -> None:
        self.room, self.real = sys.maxsize, os.pwrite

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.real(file, data[: self.room], offset)
        self.room -= written
        return written


@pytest.mark.slow
def test_a_disk_that_fills_up_at_every_tenth_byte_of_a_run(stub: Stub, tmp_path: Path, monkeypatch: Any) -> None:
    """Each line of the run is tried with room for none of it, ten bytes, twenty, until it fits: one sentence each time, no call twice."""
    disk = Disk()
    monkeypatch.setattr(os, "pwrite", disk.pwrite)
    model, before_it = gb.connect("small", base_url=stub.url, api_key="k"), len(stub.requests)

    def run(case: gb.Case) -> None:
        """Go on from wherever the case is."""
        if len(case) == 1 or not case[1].done:
            case.step()
        case.write_note(1, "seen")
        if len(case) == 2:
            case.branch(1, gb.edits.replace("candidate", candidate=0, text="red means K1."))
        case.step()

    whole = gb.Case(tmp_path / "whole", task=small_task(1, 1, 1), model=model, method=METHOD)
    run(whole)
    asked = len(stub.requests) - before_it
    other = gb.connect("small", base_url=stub.url, api_key="k", cache=tmp_path / "cache.sqlite")  # a cache of its own
    case, full, more = gb.Case(tmp_path / "case", task=small_task(1, 1, 1), model=other, method=METHOD), 0, 0
    while len(lines(case.path)["journal.jsonl"]) < len(lines(whole.path)["journal.jsonl"]):
        before, disk.room = lines(case.path), more
        try:
            run(case)
        except CaseError as error:
            assert "the disk is full: make room and go on" in str(error)
            full += 1
        now = lines(case.path)
        assert all(now[name][: len(before[name])] == before[name] for name in now)
        more = more + 10 if now == before else 0
    disk.room = sys.maxsize
    assert same(case, whole) and same(gb.Recording(case.path), whole)
    assert len(stub.requests) - before_it == 2 * asked, "no call is paid twice"
    assert full > 200
    print(f"{full} times full")


def test_a_disk_of_64_kilobytes(model: gb.Model, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        case = gb.Case(disk / "case", task=small_task(1, 1, 1), model=model, method=METHOD)
        case.step()
        ballast = fill(disk)
        told(lambda: [case.write_note(1, "x" * n) for n in range(3000, 3100)], "the disk is full")
        told(lambda: case.use(gb.Method()), "the disk is full")
        told(lambda: case.fork(disk / "fork"), "the disk is full")
        told(lambda: gb.Case(disk / "other", task=small_task(1, 1, 1)), "the disk is full")
        assert not (disk / "fork").exists() and case.method == METHOD
        with keeps(case.path):
            ballast.unlink()
            case.step()
            assert same(case, gb.Recording(case.path))
        gb.Case(disk / "other", task=small_task(1, 1, 1)).close()
        case.close()


def test_a_case_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    whole = gb.Case(tmp_path / "whole", task=small_task(1, 1, 1))
    size = (whole.path / "journal.jsonl").stat().st_size
    for most in range(0, size, 10):
        with limited(resource.RLIMIT_FSIZE, most):
            told(lambda: gb.Case(tmp_path / "case", task=small_task(1, 1, 1)), "larger than this system allows")
        assert not (tmp_path / "case" / "journal.jsonl").exists() and not list((tmp_path / "case").glob(".*.new"))
    assert same(gb.Case(tmp_path / "case", task=small_task(1, 1, 1)), whole)


@contextlib.contextmanager
def read_only(number: int) -> Iterator[None]:
    """No file can be opened to be written; to root that is what a folder without permissions is to others."""
    real = os.open

    def stand_in(path: Any, flags: int, *args: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(number, os.strerror(number))
        return real(path, flags, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", stand_in)
        yield


@pytest.mark.parametrize(("number", "said"), [(errno.EACCES, "no right"), (errno.EROFS, "read-only"), (errno.EPERM, "does not allow")])
def test_a_case_that_cannot_be_written_can_be_read(number: int, said: str, recorded: Path, model: gb.Model, tmp_path: Path) -> None:
    with read_only(number), untouched(recorded.parent):
        case = gb.Case(recorded, model=model)
        assert case.read_only and said in case.read_only_because
        assert case.note(1) == "whole" and len(case.steps()) == 3 and same(case, gb.Recording(recorded))
        for act in WRITES:
            told(lambda act=act: ACTS[act](case), str(recorded))
    gb.Case(recorded, model=model).close()


@pytest.mark.parametrize("act", ["fork", "open", "make", "use"])
def test_no_handles(act: str, case: gb.Case) -> None:
    with keeps(case.path):
        with no_handles():
            caught = None
            try:
                ACTS[act](case)
            except BaseException as error:
                caught = error
        assert isinstance(caught, CaseError) and "too many files open" in str(caught), repr(caught)
        ACTS[act](case)


# --- what somebody else does to an open case ------------------------------------------------------------------------------------


def _swap(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    shutil.copytree(folder.with_name("moved"), folder)


def _grow(file: Path) -> None:
    with open(file, "ab") as open_file:
        open_file.write(b'{"event":"note"}\n')


HANDS = {
    "the journal deleted": (lambda folder: (folder / "journal.jsonl").unlink(), "deleted or moved"),
    "the journal cut": (lambda folder: os.truncate(folder / "journal.jsonl", 100), "was cut"),
    "the journal emptied": (lambda folder: os.truncate(folder / "journal.jsonl", 0), "was cut"),
    "the journal grown": (lambda folder: _grow(folder / "journal.jsonl"), "written by somebody else"),
    "the journal replaced": (
        lambda folder: shutil.move(shutil.copy(folder / "journal.jsonl", folder / "x"), folder / "journal.jsonl"),
        "replaced",
    ),
    "the folder moved": (lambda folder: folder.rename(folder.with_name("moved")), ""),
    "the folder deleted": (shutil.rmtree, ""),
    "another folder in its place": (_swap, ""),
}


@pytest.mark.parametrize("act", WRITES)
@pytest.mark.parametrize("hand", HANDS)
def test_what_somebody_else_does_to_an_open_case_is_told_and_nothing_of_theirs_is_touched(hand: str, act: str, case: gb.Case) -> None:
    do, said = HANDS[hand]
    before = [step.model_dump() for step in case]
    do(case.path)
    with untouched(case.path.parent):
        told(lambda: ACTS[act](case), str(case.path), said)
    assert [step.model_dump() for step in case][:3] == before and case.note(1) == "whole", "what is recorded can still be read"
    if hand in ("the journal cut", "the journal emptied"):  # the answers behind a score are read from the file when they are asked for
        with contextlib.suppress(CaseError):
            case.steps()
    else:
        assert case.steps().shape[0] == len(case)


CALLS = {
    "deleted": (lambda file: file.unlink(), "deleted or moved"),
    "cut": (lambda file: os.truncate(file, 100), "was cut"),
    "grown": (_grow, "written by somebody else"),
    "replaced": (lambda file: shutil.move(shutil.copy(file, file.with_name("x")), file), "replaced"),
}


@pytest.mark.parametrize("hand", CALLS)
def test_what_somebody_else_does_to_the_open_ledger_is_told_before_the_stage_counts(hand: str, case: gb.Case) -> None:
    case.step()  # so that it is open
    do, said = CALLS[hand]
    do(case.path / "calls.jsonl")
    left = lines(case.path)["calls.jsonl"] if hand != "cut" else []
    told(case.step, "calls.jsonl", said)
    if hand != "cut":
        assert lines(case.path)["calls.jsonl"] == left
    assert same(case, gb.Recording(case.path))


def test_a_case_goes_on_without_its_ledger_once_it_is_opened_again(case: gb.Case, model: gb.Model) -> None:
    (case.path / "calls.jsonl").unlink()
    case.close()
    again = gb.Case(case.path, model=model)
    assert again.step().done and len(again.calls()) > 0
    again.close()


def test_without_its_lock_file_a_case_is_still_one_processs(case: gb.Case) -> None:
    (case.path / ".lock").unlink(missing_ok=True)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), pytest.warns(UserWarning, match="another kernel"):
            from gradbook import case as module

            module._held.clear()  # as in a process of its own
            os._exit(0 if gb.Case(case.path).read_only else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- interrupts ---------------------------------------------------------------------------------------------------------------


def _interrupt_at(at: int, act: Callable[[], Any]) -> bool:
    """Do something with an interrupt at the `at`-th line of the record's code; whether it got to its end before."""
    seen = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(("gradbook/journal.py", "gradbook/files.py", "gradbook/settings.py")):
            return None
        if event == "line":
            seen += 1
            if seen == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        act()
        return True
    except KeyboardInterrupt:
        return False
    finally:
        sys.settrace(None)


@pytest.mark.parametrize("act", ["note", "undo", "use", "branch only"])
def test_an_interrupt_at_any_line_leaves_a_case_that_goes_on(act: str, case: gb.Case, model: gb.Model) -> None:
    """Stop in a notebook is an interrupt of whatever line is running: what the object holds afterwards is what is recorded."""
    acts = ACTS | {"branch only": lambda case: case.branch(1, gb.edits.replace("candidate", candidate=0, text=f"red means K{len(case)}."))}
    for at in range(1, 1000):
        done = _interrupt_at(at, lambda: acts[act](case))
        told_again = gb.Recording(case.path)
        assert same(case, told_again), f"line {at}: what is recorded is not what the object holds"
        assert (case.current.id, case.method) == (told_again.current.id, told_again.method), f"line {at}"
        if done:
            break
    assert at >= 1, "most of it is done on another thread, where no interrupt comes"
    case.write_note(0, "and on")
    assert same(case, gb.Recording(case.path))


# --- paths and texts ----------------------------------------------------------------------------------------------------------

PATHS = [
    "x" * 256,
    "/".join(["x" * 200] * 25),
    "a\0b",
    "half \ud83d",
    "line\nbreak",
    "\x1b[31mred",
    "file",
    "file/case",
    "ring",
    "ring/case",
]
OPENINGS: dict[str, Callable[[gb.Case, str], Any]] = {
    "make": lambda case, path: gb.Case(path, task=small_task(1, 1, 1)),
    "open": lambda case, path: gb.Case(path),
    "read": lambda case, path: gb.Recording(path),
    "fork": lambda case, path: case.fork(path),
    "copy": lambda case, path: case.copy(path),
}


@pytest.mark.parametrize("path", PATHS, ids=ascii)
@pytest.mark.parametrize("opening", OPENINGS)
def test_a_path_that_cannot_be_one_is_told_and_nothing_is_made(opening: str, path: str, case: gb.Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("whole")
    (tmp_path / "ring").symlink_to("ring")
    with untouched(tmp_path):
        told(lambda: OPENINGS[opening](case, f"{tmp_path}/{path}"))


@pytest.mark.parametrize("path", ["x" * 256, "/".join(["x" * 200] * 25), "a\0b", "half \ud83d", "file/case", "ring/case"], ids=ascii)
@pytest.mark.parametrize("ending", [".html", ".ipynb", ".txt"])
def test_an_export_to_a_path_that_cannot_be_one_is_told(path: str, ending: str, case: gb.Case, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("gradbook.export.report", lambda *_: ())  # what it says is not at issue, and takes seconds
    (tmp_path / "file").write_text("whole")
    (tmp_path / "ring").symlink_to("ring")
    with untouched(tmp_path):
        told(lambda: case.export(f"{tmp_path}/{path}{ending}"), kind=ExportError)


def test_an_export_that_cannot_be_written_leaves_the_one_that_is_there(case: gb.Case, tmp_path: Path) -> None:
    (kept := tmp_path / "reports" / "case.ipynb").parent.mkdir()
    kept.write_text("the last report")
    with untouched(tmp_path):
        with failing(errno.EACCES, "replace"):
            told(lambda: case.export(kept), str(kept), kind=ExportError)
        with limited(resource.RLIMIT_FSIZE, 100):
            told(lambda: case.export(kept), str(kept), kind=ExportError)


TEXTS = [
    "half \ud83d of it",
    "\ude00\ud83d",
    "NUL \0 and ESC \x1b[31m",
    "\u202eback",
    "\r\n\r\u2028\x85",
    "Z" * 2_000_000,
    "'\"\\n{}</script>",
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
def test_a_note_of_any_text_is_kept_as_far_as_a_file_can_hold_it(text: str, case: gb.Case) -> None:
    case.write_note(1, text)
    assert case.note(1) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert same(case, gb.Recording(case.path))


def test_a_note_that_is_too_long_to_be_read_is_not_written(case: gb.Case) -> None:
    with keeps(case.path):
        told(lambda: case.write_note(1, "x" * (1 << 26)), "shorten")
        assert case.note(1) == "whole" and same(case, gb.Recording(case.path))


@pytest.mark.parametrize("text", TEXTS[:5] + TEXTS[6:], ids=lambda text: ascii(text)[:20])
def test_a_branch_with_any_text_can_be_read(text: str, case: gb.Case) -> None:
    case.branch(1, gb.edits.replace("candidate", candidate=0, text=text), note=text)
    assert same(case, gb.Recording(case.path))


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
def test_a_title_of_any_text_makes_a_case_that_opens(text: str, tmp_path: Path) -> None:
    made = gb.Case(tmp_path / "case", task=small_task(1, 1, 1), title=text)
    made.close()
    assert gb.Case(tmp_path / "case").title == gb.Recording(tmp_path / "case").title == made.title


@pytest.mark.parametrize(
    "seed", [0, -1, 2**31, 2**64 - 1, 2**64, 10**30, 10**5000], ids=["0", "-1", "2^31", "2^64-1", "2^64", "10^30", "10^5000"]
)
def test_a_seed_makes_a_case_that_opens_or_is_refused(seed: int, tmp_path: Path) -> None:
    try:
        gb.Case(tmp_path / "case", task=small_task(1, 1, 1), seed=seed).close()
    except GradbookError as error:
        assert "seed" in str(error) and not (tmp_path / "case" / "journal.jsonl").exists()
    else:
        assert gb.Case(tmp_path / "case", seed=seed).seed == seed
