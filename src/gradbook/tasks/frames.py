"""Tables of inputs and targets: read, checked row by row, and divided into train, validation and test."""

import hashlib
import json
import numbers
import random
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from gradbook.errors import TaskError
from gradbook.parse import whole
from gradbook.records import SPLITS, Example, SplitName

SIZES = (30, 50, 120)
_ALIASES = {"val": "validation", "valid": "validation", "dev": "validation"}


class Row(NamedTuple):
    """An input with its target, and where it stands, in words for an error."""

    place: str
    input: str
    target: str
    split: str = ""


def file_of(path: str | Path) -> Path:
    """`path` as a Path; raises TaskError where there is no such file."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise TaskError(f"There is no file {whole(str(path))}; give the path of an existing one.")
    return path


def bytes_of(path: str | Path) -> bytes:
    try:
        return (path := file_of(path)).read_bytes()
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({error.strerror}); see to its permissions, or give a copy.") from None


def fingerprint(path: str | Path) -> dict[str, str]:
    """The file's name and SHA-256, which say what was read without saying where it lay."""
    return {"file": Path(path).name, "sha256": hashlib.sha256(bytes_of(path)).hexdigest()}


def text_of(path: str | Path, encoding: str | None = None, errors: str = "surrogatepass") -> str:
    """The text of a file, in UTF-8 unless an encoding is given; halves of emoji become U+FFFD.

    Raises TaskError where it is in another encoding, saying which one it looks like.
    """
    data, name = bytes_of(path), Path(path).name
    try:
        if not encoding and _encoding(data) != "utf-8":
            raise UnicodeError
        return whole(data.decode(encoding or "utf-8-sig", errors))
    except UnicodeError:
        looks = _encoding(data)
        lines = data.decode(looks, "replace").splitlines() or [""]
        shown = next((line for line in lines if not line.isascii()), lines[0]).strip()[:60]
        raise TaskError(
            f'{name} is not {encoding or "UTF-8"} text; it looks like {looks}: read={{"encoding": "{looks}"}} reads {shown!r} in it. '
            "If that is wrong, name its encoding so, or save it in UTF-8."
        ) from None
    except (LookupError, TypeError, ValueError) as error:
        raise TaskError(f"{name} cannot be read: {error}; there are utf-8, utf-16, latin-1, cp1252 and others.") from None


def _encoding(data: bytes) -> str:
    """The encoding that bytes look like."""
    head = data[:4000]
    for encoding, marks in (("utf-32", (BOM_UTF32_LE, BOM_UTF32_BE)), ("utf-16", (BOM_UTF16_LE, BOM_UTF16_BE))):
        if head.startswith(marks):
            return encoding
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if zeros.count(0) > len(head) / 4:  # of every two bytes of Western text one is nought
            return encoding
    try:
        data.decode("utf-8", "surrogatepass")
        return "utf-8"
    except UnicodeDecodeError:
        return "cp1252" if re.search(rb"[\x80-\x9f]", data) else "latin-1"


# What is taken as it stands: the header is a row, so that a longer row is an error and never an index, and nothing is a missing value.
_READ: dict[str, tuple[str, dict[str, Any]]] = {
    "csv": ("CSV", {"header": None, "dtype": str, "keep_default_na": False, "skip_blank_lines": False}),
    "excel": ("an Excel file", {"header": None, "dtype": object, "keep_default_na": False}),
    "parquet": ("Parquet", {}),
}
_SHIFTING = {"header", "names", "skiprows", "comment", "skip_blank_lines", "index_col"}  # rows are then not those of the file
_PACKED = (".gz", ".bz2", ".zip", ".xz", ".zst", ".tar")


def read_file(path: str | Path, kind: str, read: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A file as pandas reads it; its index counts rows as a spreadsheet does, the header being row 1, and its name says so.

    kind: "csv", "excel" or "parquet"; read: options of `pandas.read_csv` and so on. Blank rows are left out.
    Raises TaskError where pandas cannot read it, saying why.
    """
    path, given, (said, ours) = file_of(path), dict(read or {}), _READ[kind]
    source: Any = path
    header = ""
    if kind == "csv" and "compression" not in given and path.suffix not in _PACKED:
        text = text_of(path, given.pop("encoding", None), given.pop("encoding_errors", "surrogatepass"))
        source, header = StringIO(text), text.partition("\n")[0]
    sep = next((sep for sep in ";\t|" if header.count(sep) > header.count(",")), "") if not {"sep", "delimiter"} & given.keys() else ""
    try:
        cells = getattr(pd, f"read_{kind}")(source, **ours | given)
        if not isinstance(cells, pd.DataFrame):
            raise TypeError("these options give no single table")
        if sep and len(cells.columns) == 1:
            raise ValueError("there is one column")
        titled = kind == "parquet" or {"header", "names"} & given.keys()
        rows = cells if titled else cells.iloc[1:].set_axis(list(map(str, cells.iloc[0])), axis="columns")
    except ImportError as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise TaskError(f'{path.name} cannot be read here: {why}; for .xlsx and Parquet, run pip install "gradbook[files]".') from None
    except Exception as error:  # whatever pandas, and what it reads with, raises
        if sep:
            raise TaskError(f'{path.name} looks divided by {sep!r}, not by ","; write read={{"sep": {sep!r}}}.') from None
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rpartition("error: ")[2].rstrip(".")[:200]
        raise TaskError(f"{path.name} cannot be read as {said}: {whole(why)}.") from None
    counted = kind != "parquet" and not _SHIFTING & given.keys()
    rows.index = pd.Index(rows.index + 1 if counted else range(1, len(rows) + 1), name=f"{path.name}, {'row' if counted else 'data row'}")
    return rows if kind == "parquet" else rows[(rows.notna() & (rows != "")).any(axis="columns")]


def read_jsonl(path: str | Path, read: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A JSON Lines file, an object a line; its index counts lines from 1, and its name says so. read: may name the `encoding`.

    Raises TaskError naming a line that is no object.
    """
    if other := (read or {}).keys() - {"encoding"}:
        raise TaskError(f'read={{{min(other)!r}: …}} is no option for JSON Lines; there is "encoding" alone.')
    name, text = Path(path).name, text_of(path, **(read or {}))
    rows = {number: _object(line, f"{name}, line {number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()}
    frame = pd.DataFrame(list(rows.values()), dtype=object)
    frame.index = pd.Index(list(rows), name=f"{name}, line")
    return frame


def from_json(text: str, place: str, advice: str) -> Any:
    """What a JSON text holds, with halves of emoji mended; TaskError with the place, the fault and an advice where it is none."""
    try:
        found = json.loads(text)
        return json.loads(whole(json.dumps(found, ensure_ascii=False))) if "\\u" in text else found
    except (ValueError, RecursionError) as error:
        why = str(error).partition(" (char")[0].replace(": line 1 column", " at column").replace(": line", " at line")
        raise TaskError(f"{place} is not JSON ({why}); {advice}.") from None


def _object(line: str, place: str) -> dict[str, Any]:
    row = from_json(line, place, "write one object a line")
    if not isinstance(row, dict):
        raise TaskError(f'{place} is not a JSON object; write one such as {{"input": "…", "target": "…"}} a line.')
    return row


def from_dataset(dataset: Any, target: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A `datasets.Dataset` as a table, and the names of its labels where `target` is a class label, which stand for their numbers.

    Raises TaskError where it is no such object.
    """
    if not hasattr(dataset, "to_pandas"):
        several = f" of {', '.join(map(str, dataset))}; give one of them" if isinstance(dataset, Mapping) else ""
        raise TaskError(f"from_hf takes a datasets.Dataset, and this is a {type(dataset).__name__}{several}.")
    frame = dataset.to_pandas()
    names = tuple(getattr((getattr(dataset, "features", None) or {}).get(target), "names", None) or ())
    if names:  # −1 stands for a label that is kept back
        frame[target] = [names[int(n)] if n in range(len(names)) else None for n in frame[target]]
    return frame, names


def rows_of(frame: pd.DataFrame, input: str, target: str, split: str | None = None) -> list[Row]:
    """The rows of a table; raises TaskError naming a column, or a row by its index name (else "row") and label, that cannot be used."""
    columns = [input, target] + ([split] if split else [])
    for column in columns:
        count = list(frame.columns).count(column)
        if count != 1:
            what = "no column" if count == 0 else "more than one column"
            raise TaskError(f"There is {what} {column!r}; the columns are {', '.join(map(repr, frame.columns)) or 'none'}.")
    cells = zip(frame.index, *(frame[column] for column in columns), strict=True)
    where = frame.index.name or "row"
    return [_row(f"{where} {label}", dict(zip(columns, row, strict=True))) for label, *row in cells]


def _row(place: str, cells: dict[str, Any]) -> Row:
    return Row(place, *(text_in(cell, place, column) for column, cell in cells.items()))


def is_list(cell: Any) -> bool:
    """Whether a cell holds several things, as a list or an array."""
    return pd.api.types.is_list_like(cell) and not isinstance(cell, Mapping)


def empty(cell: Any) -> bool:
    """Whether a cell holds nothing: no text but blanks, a missing value, an empty list or object."""
    if isinstance(cell, str):
        return not cell.strip()
    if pd.api.types.is_list_like(cell):
        return len(cell) == 0
    return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))


def text_in(cell: Any, place: str, column: str) -> str:
    """A cell as stripped text; whole numbers without a decimal point, since pandas reads labels such as 1 as 1.0 next to a gap."""
    if isinstance(cell, str) and cell.strip():
        return whole(cell.strip())
    if isinstance(cell, numbers.Number) and cell == cell:
        exact = isinstance(cell, numbers.Real) and not isinstance(cell, bool) and cell % 1 == 0
        return str(int(cell) if exact else cell)  # type: ignore[call-overload]
    if isinstance(cell, str) or (pd.api.types.is_scalar(cell) and pd.isna(cell)):
        raise TaskError(f"{place}: column {column!r} is empty; fill it in or remove the row.")
    raise TaskError(f"{place}: column {column!r} holds a {type(cell).__name__}; give text or a number.")


def check_sizes(sizes: Sequence[float]) -> tuple[float, float, float]:
    """Three sizes, either counts of at least 1 or fractions above 0 with a sum of at most 1; raises TaskError otherwise."""
    try:
        counts = len(sizes) == 3 and all(isinstance(size, numbers.Integral) and size >= 1 for size in sizes)
        fractions = len(sizes) == 3 and all(0 < size < 1 for size in sizes) and sum(sizes) < 1 + 1e-9
    except TypeError:
        counts = fractions = False
    if not counts and not fractions:
        raise TaskError(f"sizes={sizes!r} should be three counts of at least 1, or three fractions with a sum of at most 1.")
    train, validation, test = sizes
    return train, validation, test


def check_counts(sizes: Sequence[int]) -> tuple[int, int, int]:
    """Three counts of at least 1, for data that is made as it is asked for; raises TaskError otherwise."""
    train, validation, test = check_sizes(sizes)
    if train < 1:
        raise TaskError(f"sizes={sizes!r} should be three counts: generated examples are no table to take fractions of.")
    return int(train), int(validation), int(test)


def fit_sizes(available: int, sizes: Sequence[float] | None, default: Sequence[int] = SIZES, what: str = "rows") -> tuple[int, int, int]:
    """Counts for train, validation and test out of `available` rows.

    None asks for `default`, scaled down where there are fewer rows; counts that are given are never scaled. Fractions that sum
    to 1 leave no row out. Raises TaskError where there are too few rows or a split would be empty.
    """
    if sizes is None:
        total = sum(default)
        train, validation, test = default if available >= total else (max(1, available * size // total) for size in default)
        fitted = (train, validation, test if available >= total else available - train - validation)
    else:
        fitted = _shares(available, sizes) if check_sizes(sizes)[0] < 1 else check_counts(sizes)  # type: ignore[arg-type]
    if min(fitted) < 1:
        asked = tuple(sizes or default)
        raise TaskError(f"{available} {what} are too few for three splits of sizes {asked}; each split needs at least one.")
    if sum(fitted) > available:
        raise TaskError(f"The sizes {fitted} ask for {sum(fitted)} {what}, and there are {available}; ask for fewer.")
    return fitted


def _shares(available: int, sizes: Sequence[float]) -> tuple[int, int, int]:
    train, validation = (int(available * size + 1e-9) for size in sizes[:2])
    test = available - train - validation if sum(sizes) > 1 - 1e-9 else int(available * sizes[2] + 1e-9)
    return train, validation, test


def divide(rows: Sequence[Row], sizes: tuple[int, int, int], seed: int) -> dict[SplitName, list[Row]]:
    """A plain shuffle by `seed`, cut into the three splits; what is left over is not used."""
    shuffled = list(rows)
    random.Random(f"split:{seed}").shuffle(shuffled)
    train, validation, test = sizes
    cuts = (0, train, train + validation, train + validation + test)
    return {name: shuffled[cuts[i] : cuts[i + 1]] for i, name in enumerate(SPLITS)}


def by_column(rows: Sequence[Row]) -> dict[SplitName, list[Row]]:
    """The rows of each split as their split column says: train, validation (or val, valid, dev) and test."""
    splits: dict[SplitName, list[Row]] = {name: [] for name in SPLITS}
    for row in rows:
        said = _ALIASES.get(row.split.lower(), row.split.lower())
        if not (named := [name for name in SPLITS if name == said]):
            raise TaskError(f"{row.place}: the split {row.split!r} should be one of {', '.join(SPLITS)}.")
        splits[named[0]].append(row)
    for name, members in splits.items():
        if not members:
            raise TaskError(f"The {name} split is empty; mark at least one row as {name!r}.")
    return splits


def refuse_leaks(splits: dict[SplitName, list[Row]]) -> None:
    """Raises TaskError where the same input stands in two splits, naming both rows."""
    seen: dict[str, tuple[str, str]] = {}
    for name, rows in splits.items():
        for row in rows:
            other, place = seen.setdefault(row.input, (name, row.place))
            if other != name:
                raise TaskError(
                    f"{place} ({other}) and {row.place} ({name}) have the same input, so one split would leak into another; "
                    'remove one, or pass duplicates="keep".'
                )


def examples_of(splits: Mapping[SplitName, Iterable[tuple[str, str]]]) -> dict[str, Any]:
    """The splits of a Task, from inputs and targets: examples with ids such as "train-0"."""
    return {
        name: tuple(Example(id=f"{name}-{i}", input=text, target=target) for i, (text, target) in enumerate(pairs))
        for name, pairs in splits.items()
    }
