"""BIG-Bench Extra Hard: any task.json of github.com/google-deepmind/bbeh, which the user fetches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gradbook.errors import TaskError
from gradbook.tasks.answers import BbehAnswer, TextAnswer, detect
from gradbook.tasks.frames import file_of, fingerprint, from_json, text_of
from gradbook.tasks.task import Task


def bbeh(
    path: str | Path,
    sizes: Sequence[float] | None = None,
    seed: int = 0,
    limit: int | None = None,
    duplicates: Literal["error", "keep"] = "error",
) -> Task:
    """A BBEH task from its JSON file: {"examples": [{"input": …, "target": …}, …], "canary": …}.

    sizes: examples in train, validation and test, default 30, 50, 120 (the paper's, for 200), scaled down where there are fewer;
    seed: of the split; limit: only the first so many examples of the file; duplicates: see Task.from_frame. Whether answers are
    numbers, lists, labels or text is read off the targets;
    text is compared as BBEH's published evaluator does. The canary is kept in `source`.
    Raises TaskError naming the example that cannot be used.
    """
    path = file_of(path)
    data = _read(path)
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise TaskError(f"limit={limit!r} should be a whole number of at least 1.")
    rows = [_example(item, f"{path.name}, example {number}") for number, item in enumerate(data["examples"][:limit], 1)]
    frame = pd.DataFrame(rows, dtype=object, columns=["input", "target"])
    frame.index = pd.RangeIndex(1, len(rows) + 1, name=f"{path.name}, example")
    extra = {"canary": data.get("canary"), "limit": limit}
    source = {"loader": "bbeh", **fingerprint(path), **{name: given for name, given in extra.items() if given is not None}}
    detected = detect([str(row["target"]).strip() for row in rows]) if rows else None
    return Task.from_frame(
        frame,
        answer=BbehAnswer() if isinstance(detected, TextAnswer) else "auto",
        name=path.stem,
        description="BIG-Bench Extra Hard",
        source=source,
        sizes=sizes,
        seed=seed,
        duplicates=duplicates,
    )


def _read(path: Path) -> dict[str, Any]:
    data = from_json(text_of(path), path.name, "fetch the file again")
    if not isinstance(data, dict) or not isinstance(data.get("examples"), list):
        raise TaskError(f'{path.name} has no list "examples"; a BBEH file is an object with "examples" and "canary".')
    return data


def _example(item: Any, place: str) -> dict[str, Any]:
    for column in ("input", "target"):
        if not isinstance(item, dict) or column not in item:
            raise TaskError(f'{place} has no "{column}"; each example needs "input" and "target".')
    return item
