"""What a stranger may have put into a case folder."""

import errno
import os
from pathlib import Path

import pytest


def nested(depth: int, opens: str = "[", closes: str = "]") -> bytes:
    return (opens * depth + "1" + closes * depth).encode()


DEEP = '{"a":'

BAD_LINES = {
    "nothing": b"",
    "no JSON": b"{'a': 1}",
    "cut": b'{"a": ',
    "two": b"{} {}",
    "NUL": b"\0" * 100,
    "bytes": b'"\xff\xfe"',
    "half an emoji in bytes": b'"\xed\xa0\xbd"',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "control character": b'"\x1b[31m"',
    "deep": nested(250),
    "deeper": nested(100_000),
    "deeper without an end": b"[" * 1_000_000,
    "deep objects": nested(100_000, DEEP, "}"),
    "deep with half an emoji": b'["\\ud800",' + nested(250) + b"]",
    "deeper with half an emoji": b'["\\ud800",' + nested(100_000) + b"]",
    "NaN": b"[NaN]",
    "infinity": b"[-Infinity]",
    "NaN with half an emoji": b'["\\ud800", NaN]',
    "infinite by its exponent": b'{"a": 1e999}',
    "infinite by its exponent, written otherwise": b"[-1.5E+400]",
    "400 digits": b'{"id": 1' + b"0" * 400 + b"}",
    "5,000 digits": b"1" * 5000,
    "1,000,000 digits": b"-" + b"1" * 1_000_000,
    "21 digits with half an emoji": b'["\\ud800", 1' + b"0" * 20 + b"]",
}

BAD_TOML = {
    "no TOML": (b"title = \n", "line 1"),
    "on its second line": (b"title = 'x'\n[task\n", "line 2"),
    "UTF-16": ("title = 'x'".encode("utf-16"), "UTF-8"),
    "UTF-16 without a mark": ("title = 'x'".encode("utf-16-le"), "line 1"),
    "Latin-1": ("title = 'ä'".encode("latin-1"), "UTF-8"),
    "NUL": (b"title = 'a\0b'", "line 1"),
    "half an emoji": (b'title = "\\ud83d"', "line 1"),
    "5,000 digits": (b"batch = " + b"1" * 5000, "digits"),
    "4,000 digits": (b"batch = " + b"1" * 4000, "digits"),
    "30 digits": (b"batch = 1" + b"0" * 30, "digits"),
    "hexadecimal digits": (b"batch = 0x" + b"f" * 5000, "digits"),
    "infinity": (b"batch = inf", "JSON"),
    "NaN": (b"batch = nan", "JSON"),
    "infinite by its exponent": (b"batch = 1e999", "JSON"),
    "deep": (b"a = " + nested(250), "TOML"),
    "deeper": (b"a = " + nested(100_000), "TOML"),
    "deeper without an end": (b"a = " + b"[" * 1_000_000, "TOML"),
    "deep tables": (b"a = " + b"{b=" * 100_000, "TOML"),
    "a key of dots": (b"a." * 500_000 + b"a = 1", "100 dots"),
    "a table of dots": (b"[a" + b" . 'b'" * 300_000 + b"]", "100 dots"),
    "a key of dots in a table": (b"a = [{b = 1, " + b"c." * 400_000 + b"d = 1}]", "100 dots"),
    "a key of quoted dots": (b'"a"."b".' * 200_000 + b"c = 1", "100 dots"),
    "twice": (b"a = 1\na = 2\n", "line 2"),
    "a long word": (b"a" * 1_000_000, "TOML"),
    "many words": (b"a " * 500_000, "TOML"),
    "many quotes": (b"\"'" * 500_000, "TOML"),
    "many dots": (b"." * 1_000_000, "TOML"),
}


def strange(kind: str, path: Path, outside: Path) -> None:
    """Put something at `path` that is no plain file."""
    match kind:
        case "link to a file":
            path.symlink_to(outside / "secret")
        case "link to nothing":
            path.symlink_to(outside / "nothing")
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "link to its folder":
            path.symlink_to(path.parent)
        case "link to itself":
            path.symlink_to(path)
        case "link to the root":
            path.symlink_to("/")
        case "pipe":
            os.mkfifo(path)
        case "device":
            try:
                os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # as /dev/zero
            except OSError as error:
                pytest.skip(f"no device can be made here: {os.strerror(error.errno or errno.EPERM)}")
        case "folder":
            path.mkdir()


STRANGE = (
    "link to a file",
    "link to nothing",
    "link to a device",
    "link to its folder",
    "link to itself",
    "link to the root",
    "pipe",
    "device",
    "folder",
)
