"""What a stranger has written, as data: nothing is trusted to be short, shallow or well-formed, and a fault is told in a sentence."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from gradbook.errors import CaseError

T = TypeVar("T")

# tomllib takes time in the square of the parts of a dotted key, which stands where a line, a table or a pair begins
_DOTTED = re.compile(r"""(?:^|[\[{,])[ \t]*+(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""", re.ASCII | re.MULTILINE)
_SHAPE = bytes(ord("0") if byte in b"0123456789" else byte | 32 if byte in b"eE" else byte if byte in b"+" else 32 for byte in range(256))
_LARGE = (b"0" * 20, b"0e000", b"0e+000")


def whole(text: str) -> str:
    """A text with U+FFFD in place of each half of an emoji that stands alone, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def json_line(data: bytes, path: Path | str, number: int) -> Any:
    """One line of JSON from whoever wrote it; halves of emoji become U+FFFD.

    Raises:
        CaseError: it is no JSON, nested more than 200 deep, or holds a number that no record holds; file and line are named.
    """
    try:
        return _bounded(data)
    except (ValueError, RecursionError) as error:
        why = str(error)[:120].replace("at line 1 column", "at column")
        raise CaseError(f"{path}, line {number}, is damaged ({why}); restore the file from a copy") from None


def read_again(kind: TypeAdapter[T], data: bytes, path: Path | str) -> T:
    """One line of JSON that was read before; halves of emoji, which are rare, cost a second reading.

    Raises:
        CaseError: it cannot be read any more.
    """
    try:
        return kind.validate_json(data)
    except ValidationError:
        pass
    try:
        return kind.validate_python(json_line(data, path, 0), strict=False)
    except (CaseError, ValidationError):
        raise CaseError(f"{path} was changed by another hand while the case was open; restore the file from a copy") from None


def damaged(error: ValidationError, path: Path | str, number: int) -> CaseError:
    """What is wrong with a line that is JSON; a kind or a field that this version does not know was written by a newer one."""
    first = error.errors()[0]
    if first["type"] in ("extra_forbidden", "union_tag_invalid"):
        unknown = first["loc"][-1] if first["type"] == "extra_forbidden" else first["ctx"]["tag"]
        return CaseError(f"{path}, line {number}, holds {str(unknown)[:40]!r}, which this gradbook does not know: install a newer gradbook")
    where = ".".join(map(str, first["loc"]))[:60]
    return CaseError(f"{path}, line {number}, is damaged ({where!r}: {first['msg'][:120]}); restore the file from a copy")


def toml(data: bytes, path: Path | str) -> dict[str, Any]:
    """The TOML in a file from whoever wrote it; dates are given as text.

    Raises:
        CaseError: it is not UTF-8 or no TOML, nested too deep, or holds a number that no setting holds.
    """
    try:
        text = data.decode("utf-8-sig")
        if _DOTTED.search(text):
            raise ValueError("a key has 100 dots or more")
        found: dict[str, Any] = _bounded(json.dumps(tomllib.loads(text), default=str, allow_nan=False).encode())
        return found
    except UnicodeDecodeError:
        raise CaseError(f"{path} is not in UTF-8; save it in that encoding, or restore it from a copy") from None
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError
        raise CaseError(f"{path} is not valid TOML ({str(error)[:120]}); mend it or restore it from a copy") from None


def _bounded(data: bytes) -> Any:
    """JSON that any record may hold: ValueError where it is nested more than 200 deep, or a number has no end or more than 20 digits."""
    try:
        found = from_json(data, allow_inf_nan=False)
    except ValueError:
        if b"\\u" not in data:
            raise
        data = whole(json.dumps(json.loads(data.decode()), ensure_ascii=False)).encode()
        found = from_json(data, allow_inf_nan=False)
    shape = data.translate(_SHAPE)  # most lines hold no long number, not even in a text, and need not be parsed with care
    if any(large in shape for large in _LARGE):
        json.loads(data, parse_int=_number, parse_float=_number)
    return found


def _number(digits: str) -> float:
    if abs(number := float(digits)) >= 1e20:
        raise ValueError("a number has more than 20 digits")
    return number
