"""A case folder from a stranger: opened, read, continued, copied. Nothing outside it is touched, and whatever is odd is one sentence."""

import copy
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradbook as gb
from gradbook.errors import GradbookError
from gradbook.files import OWN
from machine import record, told, untouched
from small import reply
from strangers import BAD_LINES, BAD_TOML, STRANGE, strange
from stub import Stub

pytestmark = pytest.mark.timeout(120)
RECORDS = ("journal.jsonl", "calls.jsonl")


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub(reply=reply) as running:
        yield running


@pytest.fixture(scope="module")
def model(stub: Stub) -> gb.Model:
    return gb.connect("small", base_url=stub.url, api_key="k", cache=False)


@pytest.fixture(scope="module")
def recorded(model: gb.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "case", model)


@pytest.fixture
def case(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "case"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (place := tmp_path / "outside").mkdir()
    (place / "secret").write_text('{"event":"a secret without an end of line')
    return place


def read_all(case: gb.Recording) -> None:
    """Read all that a case has to say."""
    repr(case), case.title, case.seed, case.current, case.method, case.spent, case.model_facts
    for step in case:
        case.note(step), case.seconds(step), case.method_of(step), case.spent_on(step), case.metrics(step)
    case.steps(), case.predictions(), case.scores(), case.calls(), case.training()


def use(folder: Path, model: gb.Model | None = None) -> str:
    """Open, read and continue a case; what the user reads where that fails, in a sentence of gradbook's."""
    try:
        read_all(gb.Recording(folder))
        case = gb.Case(folder, model=model)
        try:
            read_all(case)
            case.go(0)
            case.step()
            case.write_note(0, "seen")
        finally:
            case.close()
        read_all(gb.Recording(folder))
        return ""
    except GradbookError as error:
        text = str(error)
        assert text.isprintable() and len(text) < 1000, ascii(text[:1000])
        return text


# --- what is no plain file ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", OWN)
def test_what_is_no_plain_file_is_refused_by_name_before_anything_is_read(name: str, kind: str, case: Path, outside: Path) -> None:
    opened = gb.Recording(case)
    (case / name).unlink(missing_ok=True)
    strange(kind, case / name, outside)
    with untouched(case.parent):
        told(lambda: gb.Case(case), str(case / name), "plain files only")
        told(lambda: gb.Recording(case), str(case / name), "plain files only")
        told(lambda: opened.copy(case.with_name("copy")), str(case / name), "plain files only")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", STRANGE)
def test_what_stands_where_older_versions_wrote_is_left_alone(kind: str, case: Path, outside: Path, model: gb.Model) -> None:
    for name in ("case.toml.new", "journal.jsonl.new", ".lock", "notes.md"):
        strange(kind, case / name, outside)
    with untouched(outside):
        opened = gb.Case(case, model=model)
        opened.step()
        opened.use(gb.Method(batch_size=2))
        copied = opened.copy(case.with_name("copy"))
    assert sorted(os.listdir(copied)) == ["calls.jsonl", "case.toml", "journal.jsonl"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", [*RECORDS, "case.toml"])
def test_what_comes_while_a_case_is_open_is_not_followed(name: str, kind: str, case: Path, outside: Path, model: gb.Model) -> None:
    opened = gb.Case(case, model=model)
    opened.step()
    (case / name).unlink()
    strange(kind, case / name, outside)
    with untouched(outside):
        told(lambda: opened.use(gb.Method(batch_size=2)) if name == "case.toml" else opened.step(), str(case / name))


@pytest.mark.parametrize("name", [*RECORDS, "case.toml"])
@pytest.mark.parametrize("content", [b"alias ls='rm'", b"", b"\n", b"{}\n", b"[]\n{", b'{"a": 1', b"\0" * 4096, b"\xff\xfe\n"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_is_none_of_gradbooks_is_left_as_it_is(name: str, content: bytes, linked: bool, case: Path, outside: Path) -> None:
    foreign = outside / "foreign"
    foreign.write_bytes(content)
    (case / name).unlink()
    os.link(foreign, case / name) if linked else shutil.copy(foreign, case / name)
    with untouched(outside):
        use(case)
    if name == "journal.jsonl":
        assert (case / name).read_bytes() == content


# --- bounds ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(30)
@pytest.mark.parametrize("size", [300_000_000, 1 << 40])
@pytest.mark.parametrize("end", [b"", b"\n", b'"}\n'])
@pytest.mark.parametrize("name", [*RECORDS, "case.toml"])
def test_a_file_without_end_is_told_in_no_time(name: str, end: bytes, size: int, case: Path) -> None:
    with open(case / name, "r+b") as file:
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        file.write(end)
    assert name in use(case)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
@pytest.mark.parametrize("name", RECORDS)
def test_a_line_out_of_bounds_is_told_with_file_and_line(name: str, line: bytes, case: Path) -> None:
    lines = (case / name).read_bytes().split(b"\n")
    lines[2] = line
    (case / name).write_bytes(b"\n".join(lines))
    with untouched(case):
        assert f"{case / name}, line 3, " in use(case)
    for bad in (line, b'{"event":' + line + b"}", b'{"for":["step",1],"call":' + line + b"}"):
        lines[2] = bad
        (case / name).write_bytes(b"\n".join(lines))
        assert f"{case / name}, line 3, " in use(case)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("text", "said"), BAD_TOML.values(), ids=BAD_TOML)
def test_settings_out_of_bounds_are_told_with_their_file(text: bytes, said: str, case: Path) -> None:
    (case / "case.toml").write_bytes(text)
    with untouched(case):
        told(lambda: gb.Case(case), str(case / "case.toml"), said)


# --- files that lie -------------------------------------------------------------------------------------------------------------

ODD = (None, True, -1, 0, 1, 7, 2**63, 10**19, 0.5, -1e18, "", "x", "half \ud83d", "\x1b[31m\0", "../../x", [], [[]], ["x"], {}, {"x": 1})


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each place in a value, the value itself first."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*at, key))


def changed(value: Any, at: tuple[Any, ...], odd: Any) -> Any:
    """A value with something odd at a place, or without that place where `odd` is ...."""
    if not at:
        return odd
    value = copy.deepcopy(value)
    holder = value
    for key in at[:-1]:
        holder = holder[key]
    if odd is ...:
        del holder[at[-1]]
    else:
        holder[at[-1]] = odd
    return value


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "case"


@pytest.mark.parametrize("name", RECORDS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_record_that_lies_is_told_or_read_and_never_a_raw_error(name: str, data: Any, recorded: Path, scratch: Path, model: Any) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(recorded, scratch)
    lines = [json.loads(line) for line in (scratch / name).read_bytes().splitlines()]
    for _ in range(data.draw(st.integers(1, 2))):
        number = data.draw(st.integers(0, len(lines) - 1))
        at = data.draw(st.sampled_from(list(places(lines[number]))))
        lines[number] = changed(lines[number], at, data.draw(st.sampled_from((..., *ODD) if at else ODD)))
    (scratch / name).write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    said = use(scratch, model)
    assert said == "" or str(scratch) in said or name in said or "step" in said, said


def test_half_an_emoji_in_every_event_is_read_the_second_time_as_at_first(recorded: Path, scratch: Path, model: Any) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(recorded, scratch)
    lines = [json.loads(line) for line in (scratch / "journal.jsonl").read_bytes().splitlines()]
    half = b"".join(json.dumps(line | {"time": "half \ud83d"}).encode() + b"\n" for line in lines)
    (scratch / "journal.jsonl").write_bytes(half)
    assert b"\\ud83d" in half and use(scratch, model) == ""


@pytest.mark.parametrize("odd", [..., None, {"x": 1}, [], "\x1b[31m", -0.5])
def test_every_field_of_a_call_is_read_as_what_it_is_or_told_with_file_and_line(odd: Any, recorded: Path, scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(recorded, scratch)
    ledger = scratch / "calls.jsonl"
    whole = ledger.read_bytes().splitlines(keepends=True)
    for at in [place for place in places(json.loads(whole[1])) if place and place[:2] not in (("call", "messages"), ("call", "sampling"))]:
        ledger.write_bytes(b"".join([whole[0], json.dumps(changed(json.loads(whole[1]), at, odd)).encode() + b"\n", *whole[2:]]))
        try:
            case = gb.Recording(scratch)
            assert case.spent.calls <= len(case.calls()) == len(whole)
        except GradbookError as error:
            assert f"{ledger}, line 2, is damaged" in str(error) and str(error).isprintable(), at


@pytest.mark.parametrize("name", RECORDS)
def test_lines_that_are_missing_doubled_or_in_another_order_are_told_or_read(name: str, recorded: Path, scratch: Path, model: Any) -> None:
    whole = (recorded / name).read_bytes().splitlines(keepends=True)
    for n in range(len(whole)):
        for lines in (
            whole[:n] + whole[n + 1 :],
            whole[: n + 1] + whole[n:],
            whole[:n],
            whole[:n] + whole[n : n + 2][::-1] + whole[n + 2 :],
        ):
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(recorded, scratch)
            (scratch / name).write_bytes(b"".join(lines))
            use(scratch, model)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_settings_that_lie_are_told_or_followed(data: Any, recorded: Path, scratch: Path, model: Any) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(recorded, scratch)
    stated = tomllib.loads((scratch / "case.toml").read_text())
    at = data.draw(st.sampled_from([place for place in places(stated) if place]))
    odd = data.draw(st.sampled_from([..., *(odd for odd in ODD if odd is not None and odd != "half \ud83d")]))
    (scratch / "case.toml").write_bytes(tomli_w.dumps(changed(stated, at, odd)).encode())
    said = use(scratch, model)
    assert said == "" or "case.toml" in said, said
    read_all(gb.Recording(scratch))


@pytest.mark.parametrize("name", [*RECORDS, "case.toml"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1), byte=st.binary(min_size=0, max_size=3), much=st.integers(0, 40))
def test_bytes_that_are_damaged_are_told_or_read(
    name: str, at: float, byte: bytes, much: int, recorded: Path, scratch: Path, model: Any
) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(recorded, scratch)
    whole = (scratch / name).read_bytes()
    place = int(at * len(whole))
    (scratch / name).write_bytes(whole[:place] + byte + whole[place + much :])
    use(scratch, model)


@given(st.text(max_size=50))
def test_what_an_error_quotes_does_nothing_to_a_terminal(quoted: str) -> None:
    said = str(GradbookError(f"'{quoted}' is no label"))
    assert said.isprintable() and (said == f"'{quoted}' is no label" or not quoted.isprintable())
