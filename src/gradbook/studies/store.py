"""The result store of a study: `results.jsonl`, a line a trial that is done or has failed, written by the process that runs the study."""

import contextlib
import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from gradbook.errors import StudyError
from gradbook.files import Folder, Lines
from gradbook.parse import damaged, json_line
from gradbook.studies.design import Design, Place
from gradbook.studies.trial import ENDS, MARKS, SCORED, Result

if TYPE_CHECKING:
    from gradbook.studies.study import Study

NAME = "results.jsonl"
_BEGINS = b'{"task":'
_held: "weakref.WeakSet[Lines]" = weakref.WeakSet()


class Store:
    """The results in a study's folder: read at any time, also while another process writes them.

    Args:
        folder: of the study.

    Raises:
        CaseError: a line is damaged; it names file and line.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._found: dict[Place, Result] = {}
        self._read = 0
        self._writer: Lines | None = None

    def results(self) -> dict[Place, Result]:
        """The last result of each trial that has one."""
        if self._writer is None and self.folder.has(NAME):
            lines = self.folder.open(NAME, writable=False)
            try:
                self._take(lines)
            finally:
                lines.close()
        return self._found

    def _take(self, lines: Lines) -> None:
        """Read what has come since; a file that was put in the place of the old one is read anew."""
        if lines.size < self._read:
            self._found, self._read = {}, 0
        if lines.size > self._read:
            for number, (offset, data) in enumerate(lines, start=1):
                if offset >= self._read:
                    try:
                        result = Result.model_validate(json_line(data, lines.path, number))
                    except ValidationError as error:
                        raise damaged(error, lines.path, number) from None
                    self._found[result.place] = result
            self._read = lines.size

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Have the right to add results; raises StudyError where another run of the study has it."""
        lines = self.folder.open(NAME, writable=True)
        try:
            if not lines.lock():
                raise StudyError(f"{self.folder.path} is being run already, here or in another process: wait for that, or stop it")
            lines.mend(_BEGINS)
            _held.add(lines)
            self._take(lines)
            self._writer = lines
            yield
        finally:
            self._writer = None
            lines.close()

    def add(self, result: Result) -> None:
        """Write one result down, so that it outlives the process."""
        assert self._writer is not None, "only within writing()"
        self._writer.append(result.model_dump_json(exclude_defaults=True).encode())
        self._read = self._writer.size
        self._found[result.place] = result


def _let_go() -> None:
    """A forked worker that outlives its parent must not hold the store for it."""
    for lines in list(_held):
        lines.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def trials(study: "Study") -> pd.DataFrame:
    """One row a trial of the design, whether it is done, has failed or is waiting.

    Columns: task, model, arm, trial, status, error; accuracy of the prompt that it ended with on `test`, which no selection has looked
    at, and on `validation`, of the seed prompt on both; balanced accuracy on test of both; `batches`; `calls`, tokens and cost that it
    asked for; `trained`, the calls without final scores; `paid` and `paid_cost`, what it had to pay; seconds; path of its case.
    """
    found = study.store.results()
    return pd.DataFrame([_row(study.path / Design.folder(place), place, found.get(place)) for place in study.design.places()])


def _row(path: Any, place: Place, found: Result | None) -> dict[str, Any]:
    answers = {} if found is None else found.answers
    accuracies = {
        f"{'seed_' if end == 'seed' else ''}{split}": answers[f"{end} {split}"].accuracy if f"{end} {split}" in answers else None
        for end in reversed(ENDS)
        for split in reversed(SCORED)
    }
    balanced = {
        name: answers[f"{end} test"].balanced if answers else None for name, end in (("balanced", "end"), ("seed_balanced", "seed"))
    }
    row = {**place._asdict(), "status": "waiting" if found is None else found.status, **accuracies, **balanced}
    row["batches"] = None if found is None or not answers else max((point.batch for point in found.points), default=0)
    names = ("trained", "calls", "prompt_tokens", "completion_tokens", "cost", "paid", "paid_cost", "seconds", "prompt", "error")
    return row | {name: getattr(found, name, None) for name in names} | {"path": str(path)}


def points(study: "Study") -> pd.DataFrame:
    """One row a batch of a finished trial: the share of the batch that was right before the step, and what the chosen prompt reaches on
    validation and on the training split, where that was scored."""
    rows = [{**place._asdict(), **point.model_dump()} for place, result in study.store.results().items() for point in result.points]
    return pd.DataFrame(rows, columns=None if rows else [*Place._fields, "batch", "right", "validation", "train", "changed"])


def scores(study: "Study") -> pd.DataFrame:
    """One row an example of a finished trial, for both prompts (seed, end) on both splits (validation, test).

    Columns: task, model, arm, trial, prompt, split, example, target, correct, and how the answer was: right, wrong, unparsed, cut off
    or no reply.
    """
    done = [result for result in study.store.results().values() if result.answers]
    names = {int(sign): name for name, sign in zip(MARKS, b"".join(sign.encode() for sign in MARKS.values()), strict=True)}
    parts, marks, examples, targets = [], list[str](), list[np.ndarray[Any, Any]](), list[np.ndarray[Any, Any]]()
    asked = {
        (name, split): tuple(np.array([getattr(example, what) for example in task.split(split)], dtype=object) for what in ("id", "target"))
        for name, task in study.design.tasks.items()
        for split in SCORED
    }
    for result in done:
        for end in ENDS:
            for split in (split for split in SCORED if f"{end} {split}" in result.answers):
                parts.append((*result.place, end, split))
                marks.append(result.answers[f"{end} {split}"].marks)
                examples.append(asked[result.task, split][0])
                targets.append(asked[result.task, split][1])
    lengths = np.array([len(each) for each in marks], dtype=int)
    frame = pd.DataFrame(parts, columns=[*Place._fields, "prompt", "split"])
    frame = frame.astype({name: "category" for name in frame if name != "trial"})
    frame = frame.loc[np.repeat(np.arange(len(parts)), lengths)].reset_index(drop=True)
    signs = np.frombuffer("".join(marks).encode(), dtype=np.uint8)
    frame["example"] = pd.Categorical(_joined(examples))
    frame["target"] = pd.Categorical(_joined(targets))
    frame["correct"] = signs == ord(MARKS["right"])
    frame["how"] = pd.Categorical.from_codes(
        np.searchsorted(sorted(names), signs).astype(np.int8), pd.Index([names[sign] for sign in sorted(names)])
    )
    return frame


def _joined(parts: Iterable[Any]) -> Any:
    several = list(parts)
    return np.concatenate(several) if several else np.array([], dtype=object)


def write(study: "Study", file: Path, table: str) -> Path:
    """Write one of the tables, as the ending of the path says: .csv, .parquet or .jsonl.

    Raises:
        StudyError: another ending, no such table, or the file cannot be written.
    """
    made = {"trials": trials, "scores": scores, "points": points}.get(table)
    if made is None:
        raise StudyError(f"there is no table {table!r}; there are trials, scores and points")
    frame = made(study)
    try:
        match file.suffix:
            case ".csv":
                frame.to_csv(file, index=False)
            case ".jsonl":
                frame.to_json(file, orient="records", lines=True, force_ascii=False)
            case ".parquet":
                frame.to_parquet(file, index=False)
            case _:
                raise StudyError(f"{file} should end in .html or .ipynb, .svg or .png, or .csv, .parquet or .jsonl")
    except ImportError:
        raise StudyError('Parquet needs pyarrow: pip install "gradbook[files]"') from None
    except OSError as error:
        raise StudyError(f"{file} cannot be written: {(error.strerror or str(error)).lower()}") from None
    return file
