"""Tables of outputs with what people said of them, made into a task and the outputs and critiques that a first step begins with."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from gradbook.errors import TaskError
from gradbook.parse import whole
from gradbook.records import SplitName
from gradbook.tasks import columns, frames, inspect_logs
from gradbook.tasks.answers import NoAnswer
from gradbook.tasks.columns import AUTO
from gradbook.tasks.task import Task, answer_for, check_options

MOST_TEXT = 1_000_000
"""Characters of a text, which a model is to read."""
MOST_COLUMN = 10_000_000
"""Characters of a column, which a line of the journal is to hold."""
_SAID = ("comment", "content", "text", "explanation", "critique", "value")  # where an object that is a comment holds its words
_VALIDATION = 50 / 170  # of the rows that are held back, as of the paper's 50 and 120


class Brought(NamedTuple):
    """A text that somebody brought, and where it stood."""

    text: str
    place: str


@dataclass(frozen=True)
class Feedback:
    """A task with the outputs and the critiques that were brought, by the ids of the training examples that have any."""

    task: Task
    outputs: dict[str, Brought]
    critiques: dict[str, tuple[Brought, ...]]


@dataclass
class _Row:
    """A row, or several that say something of the same output, with the critiques by their words."""

    place: str
    input: str
    output: str
    label: str
    split: str
    critiques: dict[str, Brought] = field(default_factory=dict)

    @property
    def plain(self) -> frames.Row:
        """The row as a task's tables have it."""
        return frames.Row(self.place, self.input, self.label, self.split)


def read_feedback(
    data: Any,
    *,
    input: Any = AUTO,
    output: Any = AUTO,
    feedback: Any = AUTO,
    label: Any = AUTO,
    prompt: str | None = None,
    split: Any = None,
    seed: int = 0,
    name: str | None = None,
    labels: Sequence[Any] | None = None,
    answer: Any = "auto",
    format_instruction: str = "",
    read: Mapping[str, Any] | None = None,
    duplicates: Literal["error", "keep"] = "error",
    **fields: Any,
) -> Feedback:
    """The task, outputs and critiques of a table; `Case.from_feedback` says what is read and how.

    Raises:
        TaskError: the table cannot be read, a column is missing or could be one of several, or a row lacks what it needs; it is named.
    """
    table = _table(data, read)
    prompt = prompt if prompt is not None else table.prompt
    if not prompt:
        raise TaskError("Give prompt=, the prompt that the outputs were made under: it is what the critiques are to rewrite.")
    check_options(fields)
    parts = _parts(list(table.frame.columns), input, output, feedback, label, split)
    rows, left_out = _rows(table.frame, parts)
    splits = _splits(rows, parts, seed, duplicates)
    told = {f"train-{n}": row for n, row in enumerate(splits["train"]) if row.critiques}
    if not told:
        raise TaskError(f"No row of the train split has feedback; mark some in column {split!r}.")
    with_feedback = sum(bool(row.critiques) for row in rows)
    counts = {"rows": len(table.frame), "with_feedback": with_feedback, "held_back": with_feedback - len(told), "left_out": left_out}
    source = {"loader": "from_feedback", **table.source, "columns": parts.told(), **counts}
    given = table.labels if labels is None else tuple(whole(str(one)) for one in labels)
    task = Task(
        name=name or table.name,
        **frames.examples_of({part: [(row.input, row.label) for row in members] for part, members in splits.items()}),
        answer=NoAnswer() if parts.label is None else answer_for(answer, [row.plain for row in rows], given),
        seed_prompt=prompt,
        format_instruction=format_instruction,
        source=source | ({"split": str(split)} if split is not None else {"seed": seed}),
        **fields,
    )
    outputs = {id: Brought(row.output, row.place) for id, row in told.items()}
    return Feedback(task, outputs, {id: tuple(row.critiques.values()) for id, row in told.items()})


# --- the table -----------------------------------------------------------------------------------------------------------


class _Table(NamedTuple):
    frame: pd.DataFrame
    name: str
    source: dict[str, Any]
    prompt: str | None = None
    labels: tuple[str, ...] | None = None


def _table(data: Any, read: Mapping[str, Any] | None) -> _Table:
    """A DataFrame, or a file by its ending."""
    if isinstance(data, pd.DataFrame):
        if read:
            raise TaskError("read= is for files; a DataFrame is read already.")
        unique = data if data.index.is_unique else data.set_axis(pd.RangeIndex(len(data), name="row"), axis="index")
        return _Table(unique, "feedback", {})
    if inspect_logs.is_log(data):
        log = inspect_logs.read_log(data)
        return _Table(log.frame(), log.name, log.source, log.prompt, log.letters)
    path = Path(data)
    kind = {".csv": "csv", ".tsv": "csv", ".xlsx": "excel", ".parquet": "parquet"}.get(path.suffix.lower())
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        frame = frames.read_jsonl(path, read)
    elif path.suffix.lower() == ".json":
        frame = _objects(path, read)
    elif kind:
        frame = frames.read_file(path, kind, ({"sep": "\t"} if path.suffix.lower() == ".tsv" else {}) | dict(read or {}))
    else:
        raise TaskError(f"{path.name} has no ending that is known; there are .csv, .tsv, .jsonl, .json, .xlsx, .parquet and .eval.")
    return _Table(frame, path.stem, frames.fingerprint(path))


def _objects(path: Path, read: Mapping[str, Any] | None) -> pd.DataFrame:
    """A JSON file that is a list of objects."""
    found = frames.from_json(frames.text_of(path, **(read or {})), path.name, "give a list of objects, or one object a line in .jsonl")
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise TaskError(f"{path.name} is neither a list of JSON objects nor a log of Inspect; give one of them.")
    frame = pd.DataFrame(found, dtype=object)
    frame.index = pd.RangeIndex(1, len(found) + 1, name=f"{path.name}, object")
    return frame


# --- its columns -----------------------------------------------------------------------------------------------------------


class _Parts(NamedTuple):
    input: tuple[Any, ...]
    output: Any
    feedback: tuple[Any, ...]
    label: Any
    split: Any

    def told(self) -> dict[str, Any]:
        """Which column was what, for the record."""
        one = {"output": self.output, "label": self.label, "split": self.split}
        several = {"input": self.input, "feedback": self.feedback}
        told: dict[str, Any] = {part: whole(str(name)) for part, name in one.items() if name is not None}
        return told | {part: [whole(str(name)) for name in names] for part, names in several.items()}


def _parts(all: Sequence[Any], input: Any, output: Any, feedback: Any, label: Any, split: Any) -> _Parts:
    """The columns, those that are named and those that are found by name."""
    given = {"input": _several(input), "output": _one(output), "feedback": _several(feedback), "label": _one(label, none=True)}
    named = [name for names in given.values() for name in names or ()] + ([split] if split is not None else [])
    columns.check(all, named)
    for part, names in given.items():
        if names is None:
            found = columns.find(all, part, named)  # type: ignore[arg-type]
            given[part] = (found,) if found is not None else ()
            named += given[part] or ()
    columns.check(all, named)
    output_, label_ = given["output"] or (None,), given["label"] or (None,)
    return _Parts(given["input"] or (), output_[0], given["feedback"] or (), label_[0], split)


def _several(names: Any) -> tuple[Any, ...] | None:
    """The columns that are named, one or several; None where they are to be found."""
    return tuple(names) if isinstance(names, list | tuple) and names else _one(names)


def _one(name: Any, none: bool = False) -> tuple[Any, ...] | None:
    """The column that is named; None where it is to be found, and with `none` nothing where None says so."""
    if name is None:
        return () if none else None
    return None if isinstance(name, str) and name == AUTO else (name,)


# --- its rows ----------------------------------------------------------------------------------------------------------------


def _rows(frame: pd.DataFrame, parts: _Parts) -> tuple[list[_Row], int]:
    """The rows that can be used, those of the same output as one; and how many could not.

    Raises:
        TaskError: a row with feedback lacks its input, output or label, or a text is too long; the feedback is numbers alone.
    """
    where, seen, left_out = frame.index.name or "row", dict[tuple[str, ...], _Row](), 0
    used = [column for column in (*parts.input, parts.output, *parts.feedback, parts.label, parts.split) if column is not None]
    words = False
    for index, cells in zip(frame.index, frame[used].to_dict("records"), strict=True):
        place = whole(f"{where} {index}")
        said = [one for column in parts.feedback for one in _critiques(cells[column], place, column)]
        words = words or not all(_is_number(one.text) for one in said)
        row = _row(place, cells, parts, bool(said))
        if row is None:
            left_out += 1
            continue
        key = (row.input, row.output if said else "", row.label, row.split)
        first = seen.setdefault(key, row)
        for one in said:
            first.critiques.setdefault(one.text, one)
    rows = list(seen.values())
    if any(row.critiques for row in rows) and not words:
        raise TaskError(
            f"The feedback in {' and '.join(map(repr, parts.feedback))} is numbers alone; critiques are words, so name their column."
        )
    told = {(row.input, row.label, row.split) for row in rows if row.critiques}
    rows = [row for row in rows if row.critiques or (row.input, row.label, row.split) not in told]
    for what, texts in (
        ("input", [row.input for row in rows]),
        ("output", [row.output for row in rows]),
        ("feedback", [text for row in rows for text in row.critiques]),
    ):
        if (total := sum(map(len, texts))) > MOST_COLUMN:
            raise TaskError(f"The {what} has {total:,} characters in all, and {MOST_COLUMN:,} are the most; give fewer rows.")
    return rows, left_out


def _row(place: str, cells: Mapping[Any, Any], parts: _Parts, said: bool) -> _Row | None:
    """A row with feedback, which needs all else; or one without, which is left out where it lacks its input, label or split."""
    asked = [column for column in parts.input if not frames.empty(cells[column])]
    needed = {"output": parts.output if said else None, "label": parts.label, "split": parts.split}
    needed = {part: column for part, column in needed.items() if column is not None}
    lacking = [*(() if asked else parts.input[:1]), *(column for column in needed.values() if frames.empty(cells[column]))]
    if lacking and not said:
        return None
    if lacking == [parts.label] and parts.label is not None:
        raise TaskError(f"{place}: column {parts.label!r} is empty; fill it in, remove the row, or pass label=None to do without labels.")
    texts = {column: _text(cells[column], place, column) for column in asked or parts.input[:1]}
    question = (
        "\n".join(f"{whole(str(column))}: {text}" for column, text in texts.items()) if len(parts.input) > 1 else "".join(texts.values())
    )
    found = {part: _text(cells[column], place, column) for part, column in needed.items()}
    return _Row(place, question, found.get("output", ""), found.get("label", ""), found.get("split", "train"))


def _critiques(cell: Any, place: str, column: Any) -> list[Brought]:
    """What one cell says of an output: nothing, a text, or the comments of a list, as some tools give them."""
    if frames.empty(cell):
        return []
    where = f"{place}, {whole(str(column))}"
    said = [_said(one) for one in cell if not frames.empty(one)] if frames.is_list(cell) else [_said(cell)]
    return [Brought(_text(one, place, column), where) for one in said if not frames.empty(one)]


def _said(comment: Any) -> Any:
    """The words of a comment that is an object."""
    if not isinstance(comment, Mapping):
        return comment
    return next((comment[name] for name in _SAID if isinstance(comment.get(name), str)), comment)


def _text(cell: Any, place: str, column: Any) -> str:
    """A cell as text: an object with a single text as that text, other objects and lists as JSON."""
    if isinstance(cell, Mapping) and len(cell) == 1 and isinstance(only := next(iter(cell.values())), str):
        cell = only
    if isinstance(cell, Mapping) or frames.is_list(cell):
        cell = json.dumps(cell if isinstance(cell, Mapping) else list(cell), ensure_ascii=False, default=str)
    text = frames.text_in(cell, place, str(column))
    if len(text) > MOST_TEXT:
        raise TaskError(f"{place}: column {str(column)!r} has {len(text):,} characters, and {MOST_TEXT:,} are the most; shorten it.")
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- its splits ----------------------------------------------------------------------------------------------------------------


def _splits(rows: Sequence[_Row], parts: _Parts, seed: int, duplicates: str) -> dict[SplitName, list[_Row]]:
    """The rows of each split, as their column says or as they are divided; without labels all train."""
    if not any(row.critiques for row in rows):
        raise TaskError(f"No row has feedback in {' or '.join(map(repr, parts.feedback))}; name the column with feedback=.")
    if parts.label is None:
        if parts.split is not None:
            raise TaskError("Without labels nothing is scored, so that all rows are of one split; leave split= out.")
        return {"train": list(rows), "validation": [], "test": []}
    if parts.split is None:
        _divide(rows, seed)
    found = frames.by_column([row.plain for row in rows])
    if duplicates == "error":
        frames.refuse_leaks(found)
    of = {row.place: row for row in rows}
    return {name: [of[row.place] for row in members] for name, members in found.items()}


def _divide(rows: Sequence[_Row], seed: int) -> None:
    """Say of each row which split it is in, an input with all its rows in one.

    Rows with feedback train, the others are held back for validation and test as 50 to 120. With fewer than two others, a quarter of the
    inputs with feedback is held back for each.
    """
    told = dict.fromkeys(row.input for row in rows if row.critiques)
    others = list(dict.fromkeys(row.input for row in rows if row.input not in told))
    shuffle = random.Random(f"feedback:{seed}").shuffle
    if len(others) > 1:
        shuffle(others)
        held = _held(others, max(min(2, len(others) // 2), round(len(others) * _VALIDATION)))  # nothing is judged on one example
    else:
        inputs = list(told)
        if len(inputs) < 3:
            raise TaskError(
                f"There are {len(inputs)} different inputs with feedback and {len(others)} without, too few for train, validation and "
                "test; add rows with a label, or pass label=None to do without scores."
            )
        shuffle(inputs)
        quarter = max(1, len(inputs) // 4)
        held = _held(inputs[: 2 * quarter], quarter)
    for row in rows:
        row.split = held.get(row.input, "train")


def _held(inputs: Iterable[str], validation: int) -> dict[str, str]:
    return {text: "validation" if n < validation else "test" for n, text in enumerate(inputs)}
