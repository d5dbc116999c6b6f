"""What a stranger has written: as data within bounds, or a sentence that names file and line; and soon."""

import gc
import json
import re
import time
import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from gradbook.parse import json_line, toml, whole
from machine import told
from strangers import BAD_LINES, BAD_TOML, DEEP, nested

halves = st.text(alphabet=st.one_of(st.characters(), st.characters(categories=["Cs"])))  # with halves of emoji in them
numbers = st.integers(-(10**19), 10**19) | st.floats(-1e19, 1e19)
values = st.recursive(
    st.none() | st.booleans() | numbers | halves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def mended(value: Any) -> Any:
    """A value with each of its texts whole."""
    if isinstance(value, dict):
        return {mended(key): mended(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [mended(inner) for inner in value]
    return re.sub("[\ud800-\udfff]", "\ufffd", _paired(value)) if isinstance(value, str) else value


def _paired(text: str) -> str:
    """A text with two halves that stand together joined, as JSON has it."""
    return re.sub(
        "([\ud800-\udbff])([\udc00-\udfff])", lambda pair: chr(0x10000 + ((ord(pair[1]) - 0xD800) << 10) + ord(pair[2]) - 0xDC00), text
    )


@given(halves)
def test_a_text_is_whole_in_utf_8_and_differs_in_halves_alone(text: str) -> None:
    assert whole(text) == mended(text)
    assert whole(text).encode().decode() == whole(text)


@given(values)
def test_json_of_any_kind_is_read_as_it_was_written_with_halves_mended(value: Any) -> None:
    assert json_line(json.dumps(value).encode(), "f", 1) == mended(value)
    if mended(value) == value:
        assert json_line(json.dumps(value, ensure_ascii=False).encode(), "f", 1) == value


GOOD_LINES = [
    b"1",
    b' {"a": 1} ',
    nested(150),
    nested(150, DEEP, "}"),
    b'["' + b"[{" * 5000 + b'"]',
    b'["' + b"1" * 5000 + b'"]',
    b'["1e999", "0e000", "Infinity", "NaN"]',
    b'"ab0e0001"',
    b"[12345678901234567890, 1e19, -1e19, 1e-999, 0.00000000000000000000000001]",
    b'"\\\\ud800"',
]


@pytest.mark.parametrize("line", GOOD_LINES, ids=lambda line: line[:20].decode())
def test_a_line_within_bounds_is_read(line: bytes) -> None:
    assert json_line(line, "f", 1) == json.loads(line)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_out_of_bounds_is_told_with_file_and_line(line: bytes) -> None:
    assert len(told(lambda: json_line(line, "a/journal.jsonl", 17), "a/journal.jsonl, line 17, is damaged", "restore")) < 300


SETTINGS = st.recursive(
    st.booleans() | st.integers(-(10**18), 10**18) | st.floats(-1e18, 1e18) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), SETTINGS, max_size=4))
def test_toml_of_any_kind_is_read_as_the_standard_library_reads_it(settings: dict[str, Any]) -> None:
    text = tomli_w.dumps(settings)
    assert toml(text.encode(), "f") == tomllib.loads(text)


def test_toml_that_a_person_has_written_is_read() -> None:
    assert toml("\ufefftitle = 'ä'".encode(), "f") == {"title": "ä"}, "an editor may put a byte order mark before it"
    assert toml(b"day = 2026-11-25", "f") == {"day": "2026-11-25"}
    dots = "It says: " + "a.b. " * 1000 + "\n" + "Wait. " * 99 + "." * 500
    assert toml(tomli_w.dumps({"text": dots}, multiline_strings=True).encode(), "f") == {"text": dots.replace("\r", "")}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("text", "said"), BAD_TOML.values(), ids=BAD_TOML)
def test_toml_out_of_bounds_is_told_with_its_file(text: bytes, said: str) -> None:
    assert len(told(lambda: toml(text, "a/case.toml"), "a/case.toml", said, "restore it from a copy")) < 300


def test_reading_takes_time_in_proportion() -> None:
    """Of lines of every shape, none takes more than some times what the standard library takes for a plain one of that length."""

    def seconds(work: Any) -> float:
        gc.disable()  # what other tests have left is not what a line costs
        try:
            began = time.thread_time()
            work()
            return time.thread_time() - began
        finally:
            gc.enable()

    plain = json.dumps([{"text": "word " * 10, "n": n} for n in range(20_000)]).encode()
    unit = min(seconds(lambda: json.loads(plain)) for _ in range(3)) / len(plain)
    for line in (
        plain,
        json.dumps(["\ud800" * 100_000]).encode(),
        b"[" + b"[]," * 300_000 + b"1]",
        json.dumps(["0e000" * 200_000]).encode(),
    ):
        took = min(seconds(lambda line=line: json_line(line, "f", 1)) for _ in range(3)) / len(line)
        assert took < 100 * unit
