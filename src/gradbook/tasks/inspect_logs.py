"""Logs of Inspect (inspect.aisi.org.uk), its `.eval` and `.json`: samples, targets, outputs and what scorers said of them, as a table.

Inspect's own reader reads them where it is installed. Without it a `.json` is read as JSON, and so are the members of an `.eval`, which is
a zip, unless it is packed with zstandard, as Inspect packs since 2026. Nothing is unpacked to disk, and no name in it is taken for a path.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from gradbook import background
from gradbook.errors import TaskError
from gradbook.parse import whole
from gradbook.tasks import frames

MOST_FILE, MOST_UNPACKED, MOST_MEMBERS = 1 << 30, 1 << 31, 100_000
"""Bytes of a file, bytes of what it holds, and how many members that may be."""
_FIELDS = ("id", "epoch", "input", "choices", "target", "messages", "output", "scores", "attachments")
_KINDS: dict[str, Any] = {"choices": list, "messages": list, "output": dict, "scores": dict, "attachments": dict, "epoch": int}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ATTACHMENT = "attachment://"
_INSTALL = "pip install inspect-ai"


class Log(NamedTuple):
    """The samples of a log, each as JSON has it, the name of its task, and what to record as its origin."""

    file: str
    name: str
    source: dict[str, Any]
    samples: list[dict[str, Any]]

    def frame(self) -> pd.DataFrame:
        """A row a sample and epoch, with the names that Inspect's own `samples_df` gives: id, epoch, input, target, output and for each
        scorer score_NAME and score_NAME_explanation; the choices of a question stand below it, by letter."""
        rows = [self._row(sample) for sample in self.samples]
        frame = pd.DataFrame(rows, dtype=object)
        epochs = [f", epoch {row['epoch']}" if row["epoch"] != 1 else "" for row in rows]
        frame.index = pd.Index([f"{row['id']}{epoch}" for row, epoch in zip(rows, epochs, strict=True)], name=f"{self.file}, sample")
        return frame

    def questions(self) -> pd.DataFrame:
        """The samples once each, whatever the epochs."""
        frame = self.frame()
        return frame[~frame["id"].duplicated()]

    @property
    def letters(self) -> tuple[str, ...] | None:
        """The letters that answer a log of multiple choice; None for any other."""
        most = max((len(sample.get("choices") or ()) for sample in self.samples), default=0)
        return tuple(_LETTERS[:most]) if all(sample.get("choices") for sample in self.samples) else None

    @property
    def prompt(self) -> str | None:
        """The system message, where all samples had the same one."""
        found = {_system(sample, self.file) for sample in self.samples}
        return found.pop() or None if len(found) == 1 else None

    def _row(self, sample: dict[str, Any]) -> dict[str, Any]:
        place = f"{self.file}, sample {sample.get('id')}"
        output = _output(sample, place)
        row = {"id": str(sample.get("id")), "epoch": sample.get("epoch", 1), "input": _question(sample, place)}
        row |= {"target": _target(sample, place), "output": output}
        for name, score in (sample.get("scores") or {}).items():
            value, told = (score.get("value"), score.get("explanation")) if isinstance(score, Mapping) else (score, None)
            row[f"score_{name}"] = value if isinstance(value, str | int | float) else json.dumps(value)
            row[f"score_{name}_explanation"] = told if output.strip() else None  # nothing can be said of no output
        return row


def is_log(data: Any) -> bool:
    """Whether it is a log of Inspect: its `EvalLog`, a path to an `.eval`, or to a `.json` that holds one object."""
    if _is_object(data):
        return True
    path = _path(data)
    return path.suffix.lower() == ".eval" or (path.suffix.lower() == ".json" and _data(path).lstrip()[:1] == b"{")


def _is_object(data: Any) -> bool:
    return hasattr(data, "samples") and hasattr(getattr(data, "eval", None), "task")


def _path(data: Any) -> Path:
    try:
        return Path(data)
    except TypeError:
        raise TaskError(f"A {type(data).__name__} is no table and no log; give a DataFrame, a log of Inspect or a path.") from None


def read_log(log: Any) -> Log:
    """The samples of a log.

    Args:
        log: a path, or an `inspect_ai.log.EvalLog`.

    Raises:
        TaskError: it is no such log, has no samples, is too large, or needs Inspect to be read.
    """
    if _is_object(log):
        file = Path(str(getattr(log, "location", "") or "log")).name
        return _log(file, {"file": file}, log.eval.task, log.eval.model, _plain(log.samples))
    path = _path(log)
    if path.suffix.lower() not in (".eval", ".json"):
        raise TaskError(f"{path.name} is no log of Inspect; those end in .eval or .json.")
    data, packed = _data(path), path.suffix.lower() == ".eval"
    if packed:
        _bounded(data, path.name)
    if find_spec("inspect_ai"):
        found = _by_inspect(data, "eval" if packed else "json", path.name)
        return _log(path.name, frames.fingerprint(path), found.eval.task, found.eval.model, _plain(found.samples))
    head, samples = _unzipped(data, path.name) if packed else _parsed(data, path.name)
    told = head.get("eval")
    if not isinstance(told, dict):
        raise TaskError(f"{path.name} is no log of Inspect: it holds no eval; give a file that Inspect wrote.")
    return _log(path.name, frames.fingerprint(path), told.get("task"), told.get("model"), samples)


def _log(file: str, source: dict[str, Any], task: Any, model: Any, samples: Any) -> Log:
    if not isinstance(samples, list) or not samples:
        raise TaskError(f"{file} has no samples; give a log that was written with them, and not its header alone.")
    for number, sample in enumerate(samples):
        if not isinstance(sample, dict) or not {"id", "input", "target"} <= sample.keys():
            raise TaskError(f"{file}, sample number {number}, is none of Inspect's: it needs an id, an input and a target.")
        if wrong := next((name for name, kind in _KINDS.items() if not isinstance(sample.get(name), kind | None)), None):
            raise TaskError(f"{file}, sample number {number}, is none of Inspect's: its {wrong} is a {type(sample[wrong]).__name__}.")
    told = {"inspect_task": task, "inspect_model": model}
    source = source | {name: whole(text) for name, text in told.items() if isinstance(text, str) and text}
    return Log(file, whole(str(task or Path(file).stem)), source, samples)


# --- the file ------------------------------------------------------------------------------------------------------------


def _data(path: Path) -> bytes:
    found = frames.file_of(path)
    if (size := found.stat().st_size) > MOST_FILE:
        raise TaskError(f"{path.name} has {size:,} bytes, and {MOST_FILE:,} are the most that is read; give a smaller log.")
    return frames.bytes_of(path)


def _bounded(data: bytes, name: str) -> None:
    """Refuse a zip that is none, holds more than is read, or is locked, by what it says of itself; more than it says is never read."""
    try:
        members = zipfile.ZipFile(BytesIO(data)).infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        raise TaskError(f"{name} is no .eval log, which is a zip ({whole(str(error))}); give a file that Inspect wrote.") from None
    unpacked = sum(member.file_size for member in members)
    if len(members) > MOST_MEMBERS or unpacked > MOST_UNPACKED:
        raise TaskError(
            f"{name} holds {len(members):,} files of {unpacked:,} bytes, and {MOST_MEMBERS:,} of {MOST_UNPACKED:,} are the most; split it."
        )
    if any(member.flag_bits & 1 for member in members):
        raise TaskError(f"{name} is locked with a password; give an open one.")


def _by_inspect(data: bytes, kind: str, name: str) -> Any:
    """What Inspect's own reader makes of the bytes of a local file; a path is not handed on, which might lead elsewhere."""
    from inspect_ai.log import read_eval_log_async

    try:  # on gradbook's loop, since Inspect's blocking reader patches the loop of a notebook
        return background.run(read_eval_log_async(BytesIO(data), format=kind, resolve_attachments=True))
    except Exception as error:  # whatever it raises
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        raise TaskError(f"{name} cannot be read as a log of Inspect: {whole(why)}.") from None


def _plain(samples: Any) -> Any:
    """Inspect's samples as JSON has them, without their events."""
    return None if samples is None else [json.loads(sample.model_dump_json(include=set(_FIELDS))) for sample in samples]


def _parsed(data: bytes, name: str) -> tuple[dict[str, Any], Any]:
    found = _json(data, name)
    return found, found.get("samples")


def _unzipped(data: bytes, name: str) -> tuple[dict[str, Any], list[Any]]:
    """The head and the samples of an `.eval`, each read whole from memory."""
    with zipfile.ZipFile(BytesIO(data)) as packed:
        members = {member.filename: member for member in packed.infolist()}
        wanted = [each for each in members if each.startswith("samples/") and each.endswith(".json")]
        head = next((each for each in ("header.json", "_journal/start.json") if each in members), None)
        if head is None:
            raise TaskError(f"{name} is no log of Inspect: it holds no header.json; give a file that Inspect wrote.")
        if any(members[each].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for each in (head, *wanted)):
            raise TaskError(f"{name} is packed in a way that only Inspect reads: {_INSTALL}, or write it as .json with its log convert.")
        try:
            return _json(packed.read(members[head]), f"{name}, {head}"), [
                _json(packed.read(members[each]), f"{name}, {each}") for each in wanted
            ]
        except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, RuntimeError, OSError, EOFError) as error:
            raise TaskError(f"{name} is damaged ({whole(str(error))[:120]}); restore it from a copy.") from None


def _json(data: bytes, place: str) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TaskError(f"{whole(place)} is not in UTF-8; give a file that Inspect wrote.") from None
    found = frames.from_json(text, whole(place), "give a file that Inspect wrote")
    if not isinstance(found, dict):
        raise TaskError(f"{whole(place)} is not a JSON object; give a file that Inspect wrote.")
    return found


# --- a sample --------------------------------------------------------------------------------------------------------------


def _question(sample: dict[str, Any], place: str) -> str:
    """What was asked: the input, or the words of its user, and below it the choices by letter."""
    given = sample["input"]
    if isinstance(given, list):
        if others := {str(message.get("role")) for message in _messages(given, place)} - {"system", "user"}:
            raise TaskError(f"{place} is a conversation with turns of {', '.join(sorted(others))}; a task takes one question.")
        given = "\n\n".join(_words(message, sample, place) for message in given if message.get("role") == "user")
    choices = sample.get("choices") or []
    if len(choices) > len(_LETTERS):
        raise TaskError(f"{place} has {len(choices)} choices, and {len(_LETTERS)} are the most; leave it out.")
    listed = [f"{letter}) {_resolved(str(choice), sample)}" for letter, choice in zip(_LETTERS, choices, strict=False)]
    return "\n\n".join([_resolved(str(given), sample), *(["\n".join(listed)] if listed else [])])


def _target(sample: dict[str, Any], place: str) -> str:
    targets = sample["target"] if isinstance(sample["target"], list) else [sample["target"]]
    if len(targets) > 1 and not sample.get("choices"):
        raise TaskError(f"{place} has {len(targets)} targets, any of which is right, and an example has one; leave one of them.")
    return ", ".join(_resolved(str(target), sample) for target in targets)


def _output(sample: dict[str, Any], place: str) -> str:
    told = sample.get("output") or {}
    if isinstance(said := told.get("completion"), str) and said:
        return _resolved(said, sample)
    choices = told.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return _words(message, sample, place) if isinstance(message, dict) else ""


def _system(sample: dict[str, Any], file: str) -> str:
    place = f"{file}, sample {sample.get('id')}"
    said = (_words(message, sample, place) for message in _messages(sample.get("messages") or [], place) if message.get("role") == "system")
    return next(said, "").strip()


def _messages(given: Iterable[Any], place: str) -> Iterator[dict[str, Any]]:
    for message in given:
        if not isinstance(message, dict):
            raise TaskError(f"{place} holds a message that is none; give a file that Inspect wrote.")
        yield message


def _words(message: dict[str, Any], sample: dict[str, Any], place: str) -> str:
    """The text of a message, of several parts too."""
    content = message.get("content") or ""
    parts = content if isinstance(content, list) else [content]
    said = []
    for part in parts:
        kind = "text" if isinstance(part, str) else part.get("type") if isinstance(part, dict) else "unknown"
        if kind == "text":
            said.append(_resolved(part if isinstance(part, str) else str(part.get("text") or ""), sample))
        elif kind != "reasoning":
            raise TaskError(f"{place} holds {kind} in a message; a task takes text.")
    return "\n".join(said)


def _resolved(text: str, sample: dict[str, Any]) -> str:
    """A text, or the attachment that stands for a long one."""
    kept = sample.get("attachments") or {}
    return str(kept.get(text.removeprefix(_ATTACHMENT), text)) if text.startswith(_ATTACHMENT) else text
