"""GPQA from the user's own copy: its authors ask that questions are not published, so the task is private."""

import random
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gradbook.errors import TaskError
from gradbook.tasks.answers import LabelAnswer
from gradbook.tasks.frames import fingerprint, fit_sizes, read_file
from gradbook.tasks.task import Task

SIZES = (30, 50, 198)
LABELS = ("A", "B", "C", "D")
_CHOICES = ["Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"]


def gpqa(path: str | Path, diamond: str | Path | None = None, seed: int = 0, sizes: Sequence[int] | None = None) -> Task:
    """Multiple-choice questions of GPQA with the choices shuffled and lettered A to D.

    path: the CSV (gpqa_main.csv or gpqa_extended.csv) from github.com/idavidrein/gpqa; diamond: the CSV of GPQA Diamond, whose
    questions then are the test split while train and validation come from the others (matched by "Record ID", else by
    the question), as in the paper; seed: of the splits and the order of choices; sizes: examples in train, validation and
    test, default 30, 50, 198, scaled down where there are fewer. Wrong labels are the next choice, D leading to A.
    Raises TaskError naming the row and column that cannot be used.
    """
    pool = _questions(path, seed)
    if diamond is None:
        split = _take(pool, fit_sizes(len(pool), sizes, SIZES, "questions"), seed)
    else:
        test = _questions(diamond, seed)
        split = _with_diamond(pool[~pool["record"].isin(test["record"]) & ~pool["question"].isin(test["question"])], test, sizes, seed)
    source = {"loader": "gpqa", **fingerprint(path), "seed": seed}
    if diamond is not None:
        source["diamond"] = fingerprint(diamond)
    return Task.from_frame(
        split,
        name="gpqa" if diamond is None else "gpqa_diamond",
        description="Graduate-level multiple-choice questions (GPQA)",
        source=source,
        split="split",
        answer=LabelAnswer(labels=LABELS),
        private=True,
        wrong_rule="next",
    )


def _with_diamond(pool: pd.DataFrame, test: pd.DataFrame, sizes: Sequence[int] | None, seed: int) -> pd.DataFrame:
    train, validation, wanted = SIZES if sizes is None else fit_sizes(sum(sizes), sizes)
    if sizes is None:
        scale = min(1, len(pool) / (train + validation))
        train, validation, wanted = int(train * scale), int(validation * scale), min(wanted, len(test))
    if len(pool) < train + validation or min(train, validation, wanted) < 1 or len(test) < wanted:
        raise TaskError(
            f"The sizes ({train}, {validation}, {wanted}) need {train + validation} questions outside Diamond and {wanted} in it; "
            f"there are {len(pool)} and {len(test)}."
        )
    return pd.concat([_take(pool, (train, validation, 0), seed), _take(test, (0, 0, wanted), seed)])


def _take(pool: pd.DataFrame, sizes: tuple[int, int, int], seed: int) -> pd.DataFrame:
    """So many random questions, marked with their split."""
    order = list(range(len(pool)))
    random.Random(f"split:{seed}").shuffle(order)
    names = [name for name, size in zip(("train", "validation", "test"), sizes, strict=True) for _ in range(size)]
    return pool.iloc[order[: len(names)]].assign(split=names)


def _questions(path: str | Path, seed: int) -> pd.DataFrame:
    """The different questions of a file, lettered, in the columns input, target, record and question."""
    frame = read_file(path, "csv")
    for column in ["Question", *_CHOICES]:
        if column not in frame:
            needed = "'Question', 'Correct Answer' and 'Incorrect Answer 1' to 3"
            raise TaskError(f"{Path(path).name} has no column {column!r}; a GPQA file has {needed}.")
        if len(empty := frame.index[frame[column].fillna("").str.strip() == ""]):
            raise TaskError(f"{frame.index.name} {empty[0]}: column {column!r} is empty; fetch the file again.")
    record = frame["Record ID"].str.strip() if "Record ID" in frame else frame["Question"]
    texts = frame[["Question", *_CHOICES]].itertuples(index=False, name=None)
    lettered = [_letter(row, f"gpqa:{seed}:{key}") for row, key in zip(texts, record, strict=True)]
    questions = pd.DataFrame(lettered, columns=["input", "target"], index=frame.index)
    return questions.assign(record=record, question=frame["Question"].str.strip()).drop_duplicates("question")


def _letter(row: tuple[str, ...], seed: str) -> tuple[str, str]:
    question, *choices = (text.strip() for text in row)
    order = random.Random(seed).sample(range(4), 4)
    listed = "\n".join(f"{letter}) {choices[i]}" for letter, i in zip(LABELS, order, strict=True))
    return f"{question}\n\n{listed}", LABELS[order.index(0)]
