"""A task: examples in three splits, the prompt to begin with, and how an answer is read and scored."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from gradbook import displays
from gradbook.errors import TaskError
from gradbook.parse import whole
from gradbook.records import SPLITS, Example, SplitName, short_id
from gradbook.tasks import frames, inspect_logs
from gradbook.tasks.answers import AnswerFormat, LabelAnswer, NoAnswer, NumberAnswer, detect, text_for
from gradbook.tasks.reading import finished
from gradbook.tasks.wrong import wrong_label

Parser = Callable[[str], str | None]
Scorer = Callable[[str | None, str], bool]
_SHOWN = 12  # labels that a task is told by
_FIELDS = {"description", "private", "wrong_rule", "rule", "false_rule", "parser", "scorer"}


@dataclass(frozen=True, repr=False)
class Task:
    """Examples with ids that are unique across the splits, and everything fixed about how a model is asked and scored.

    `seed_prompt` is the system prompt to begin with; `format_instruction` follows it and is never optimised. `source` says
    where the examples come from (generator or loader with its arguments), as JSON-able data. `private` marks data whose
    text must not be published. `wrong_rule` is how wrong labels of a label task are chosen: "other" (any other label) or
    "next" (the next one, the last leading to the first). `rule` says in words what the labels follow, where that is known, and
    `false_rule` something of the kind that they do not follow; no model is told either unless a person asks for it. `parser`
    (reply to answer or None) and `scorer` (answer and target to bool) replace those of `answer`; they are code, so a case cannot
    keep them.

    With `answer=NoAnswer()` the targets are empty: outputs can be criticised, and nothing can be scored; validation and test may be empty.

    Raises TaskError for an empty split, an id met twice, or a target that `answer` cannot express.
    """

    name: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    answer: AnswerFormat
    seed_prompt: str
    format_instruction: str
    description: str = ""
    source: dict[str, Any] = field(default_factory=dict, hash=False)
    private: bool = False
    wrong_rule: Literal["other", "next"] = "other"
    rule: str = ""
    false_rule: str = ""
    parser: Parser | None = None
    scorer: Scorer | None = None

    def __post_init__(self) -> None:
        for name in ("name", "description", "seed_prompt", "format_instruction", "rule", "false_rule"):
            if not isinstance(text := getattr(self, name), str):
                raise TaskError(f"{name}={text!r} of a task should be text.")
            object.__setattr__(self, name, whole(text))
        for name in SPLITS:
            if not self.split(name) and (self.labelled or name == "train"):
                raise TaskError(f"The {name} split of task {self.name!r} is empty; give it at least one example.")
        counts = Counter(example.id for name in SPLITS for example in self.split(name))
        if repeated := [id for id, count in counts.items() if count > 1]:
            raise TaskError(f"The id {repeated[0]!r} stands for more than one example of task {self.name!r}; ids must be unique.")
        for example in (example for name in SPLITS for example in self.split(name)):
            _check_target(self.answer, example.target, f"Example {example.id}")

    @property
    def labelled(self) -> bool:
        """Whether there are labels, so that outputs can be scored."""
        return not isinstance(self.answer, NoAnswer)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class labels; () for numbers and free text."""
        return self.answer.labels

    @cached_property
    def form(self) -> str:
        """The id of the form in which a question is asked and read: format instruction and answer format."""
        return form_of(self.settings())

    def split(self, name: SplitName) -> tuple[Example, ...]:
        """The examples of "train", "validation" or "test"; raises TaskError for any other name."""
        if name not in SPLITS:
            raise TaskError(f"There is no split {name!r}; the splits are {', '.join(SPLITS)}.")
        return getattr(self, name)

    def example(self, id: str) -> Example:
        """The example with this id; raises TaskError where there is none."""
        if id not in self._by_id:
            raise TaskError(f"Task {self.name!r} has no example {id!r}; ids run like {self.train[0].id!r}.")
        return self._by_id[id]

    @cached_property
    def _by_id(self) -> dict[str, Example]:
        return {example.id: example for name in SPLITS for example in self.split(name)}

    def system(self, prompt: str) -> str:
        """The system message: `prompt`, a blank line, the format instruction."""
        return f"{prompt}\n\n{self.format_instruction}" if self.format_instruction else prompt

    def parse(self, output: str, cut: bool = False) -> str | None:
        """The answer read from a model's reply without its thoughts; None where it gives none.

        Of a reply that was `cut` off, the last line is unfinished and left out, and only an answer that it states counts.
        A parser of the task's own cannot know that, so it is not asked.
        """
        heard = finished(whole(output), cut)
        if self.parser:
            return None if cut else self.parser(heard)
        return self.answer.parse(heard, stated=cut)

    def correct(self, answer: str | None, target: str) -> bool:
        """Whether an answer is right; None (unparsed) is wrong."""
        return answer is not None and (bool(self.scorer(answer, target)) if self.scorer else self.answer.correct(answer, target))

    def classes(self, text: str | None) -> tuple[str, ...]:
        """The class labels an answer or a target consists of: one for a label, one an item for a list, () for free-form."""
        return self.answer.classes(text)

    def wrong_label(self, example: Example) -> str:
        """A label that is never right, chosen by the SHA-256 of the input, so the same in every process.

        Label: another one, or the next one where `wrong_rule` is "next" (GPQA). List: another list as long. Number: the
        true one plus a whole number in −10…10 other than 0. Text: the target of another training example. Source: the
        paper's wrong labels. Raises TaskError where there is no other answer.
        """
        return wrong_label(self, example)

    def frame(self) -> pd.DataFrame:
        """All examples, one a row, in the columns split, id, input and target."""
        rows = [(name, example.id, example.input, example.target) for name in SPLITS for example in self.split(name)]
        return pd.DataFrame(rows, columns=["split", "id", "input", "target"])

    def settings(self) -> dict[str, Any]:
        """Everything but the examples, as data for JSON or TOML; `custom` names the code (parser, scorer) that cannot be kept."""
        custom = [name for name in ("parser", "scorer") if getattr(self, name)]
        rules = {name: rule for name in ("rule", "false_rule") if (rule := getattr(self, name))}
        return {
            "name": self.name,
            "description": self.description,
            "seed_prompt": self.seed_prompt,
            "format_instruction": self.format_instruction,
            "answer": self.answer.model_dump(mode="json", exclude_none=True),
            "source": self.source,
            "private": self.private,
            "wrong_rule": self.wrong_rule,
            **rules,
        } | ({"custom": custom} if custom else {})

    @classmethod
    def from_settings(cls, settings: dict[str, Any], examples: dict[str, Sequence[Example]]) -> "Task":
        """The task that `settings()` described, with its examples by split; the code that made it is not needed.

        Raises TaskError where the task had a parser or scorer of its own, or the settings are damaged.
        """
        if custom := settings.get("custom"):
            own = " and ".join(custom)
            raise TaskError(f"Task {settings.get('name')!r} has a {own} of its own, which cannot be stored; pass the task again.")
        try:
            answer = TypeAdapter(AnswerFormat).validate_python(settings.get("answer"))
            return cls(**settings | {"answer": answer} | {name: tuple(examples.get(name, ())) for name in SPLITS})
        except (TypeError, ValidationError) as error:
            raise TaskError(f"The settings of the task are damaged: {str(error).splitlines()[0]}.") from None

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        input: str = "input",
        target: str = "target",
        name: str = "table",
        *,
        split: str | None = None,
        sizes: Sequence[float] | None = None,
        seed: int = 0,
        labels: Sequence[Any] | None = None,
        answer: AnswerFormat | Literal["auto", "label", "number", "text"] = "auto",
        seed_prompt: str = "Answer the question.",
        format_instruction: str | None = None,
        duplicates: Literal["error", "keep"] = "error",
        source: dict[str, Any] | None = None,
        **fields: Any,
    ) -> "Task":
        """A task from a table with an input and a target column.

        split: the column that says train, validation or test; or sizes: three counts or fractions for a shuffle by `seed`,
        default 30, 50 and 120 rows, scaled down where there are fewer. labels: the class labels, default those met.
        answer: a format or its name; "auto" takes numbers, lists of labels, labels (at most 12) or text, whichever fits.
        format_instruction: default the format's own. duplicates: "keep" allows an input in two splits. source: what to record
        as the data's origin. fields: description, private, wrong_rule, rule, false_rule, parser and scorer, as in Task.

        Raises TaskError for a missing column, an empty cell, a target outside the labels, an input in two splits, or too few
        rows for the sizes; it names the row by its index label.
        """
        check_options(fields)
        if duplicates not in ("error", "keep"):
            raise TaskError(f'duplicates={duplicates!r} should be "error" or "keep".')
        if split and sizes is not None:
            raise TaskError(f"sizes and split={split!r} both say how to split; give one of them.")
        rows = frames.rows_of(df, input, target, split)
        counts = None if split else frames.fit_sizes(len(rows), sizes)
        answer = answer_for(answer, rows, None if labels is None else tuple(whole(str(label)) for label in labels))
        splits = frames.divide(rows, counts, seed) if counts else frames.by_column(rows)
        if duplicates == "error":
            frames.refuse_leaks(splits)
        return cls(
            name=name,
            **frames.examples_of({part: [row[1:3] for row in rows] for part, rows in splits.items()}),
            answer=answer,
            seed_prompt=seed_prompt,
            format_instruction=answer.instruction() if format_instruction is None else format_instruction,
            source=(source or {"loader": "from_frame"}) | ({"sizes": list(counts), "seed": seed} if counts else {"split": split}),
            **fields,
        )

    @classmethod
    def from_csv(cls, path: str | Path, input: str = "input", target: str = "target", **options: Any) -> "Task":
        """A task from a CSV file with a header; errors name the row as a spreadsheet counts it, the header being row 1.

        read: options of pandas.read_csv, such as {"encoding": "latin-1", "sep": ";"}; without, it is UTF-8 with commas. The others are
        those of from_frame; the name is the file's unless given. Texts such as "NA" are kept as they are.
        """
        return cls._from_file("csv", path, input, target, **options)

    @classmethod
    def from_excel(cls, path: str | Path, input: str = "input", target: str = "target", **options: Any) -> "Task":
        """A task from a sheet with a header, as from_csv. read: options of pandas.read_excel, such as {"sheet_name": "codes"}."""
        return cls._from_file("excel", path, input, target, **options)

    @classmethod
    def from_parquet(cls, path: str | Path, input: str = "input", target: str = "target", **options: Any) -> "Task":
        """A task from a Parquet file, as from_csv. read: options of pandas.read_parquet."""
        return cls._from_file("parquet", path, input, target, **options)

    @classmethod
    def from_jsonl(cls, path: str | Path, input: str = "input", target: str = "target", **options: Any) -> "Task":
        """A task from a JSON Lines file, an object a line, as from_csv; errors name the line. read: may name the "encoding"."""
        return cls._from_file("jsonl", path, input, target, **options)

    @classmethod
    def _from_file(
        cls, kind: str, path: str | Path, input: str, target: str, *, read: Mapping[str, Any] | None = None, **options: Any
    ) -> "Task":
        frame = frames.read_jsonl(path, read) if kind == "jsonl" else frames.read_file(path, kind, read)
        source: dict[str, Any] = {"loader": f"from_{kind}", **frames.fingerprint(path), "input": input, "target": target}
        if plain := {name: given for name, given in (read or {}).items() if isinstance(given, str | int | float)}:
            source["read"] = plain
        return cls.from_frame(frame, input, target, **{"name": Path(path).stem, "source": source} | options)

    @classmethod
    def from_hf(cls, dataset: Any, input: str = "input", target: str = "target", **options: Any) -> "Task":
        """A task from a `datasets.Dataset` of Hugging Face, such as load_dataset("imdb", split="train"), with the options of from_frame.

        A target that is a class label is told by its names. The task's name is the data set's unless given. Raises TaskError for
        another object, such as a DatasetDict, which holds several.
        """
        frame, labels = frames.from_dataset(dataset, target)
        name = str(getattr(getattr(dataset, "info", None), "dataset_name", None) or "table")
        source = {"loader": "from_hf", "dataset": name, "part": str(getattr(dataset, "split", None) or "all")}
        given = {"name": name, "source": source | {"input": input, "target": target}, "labels": labels or None}
        return cls.from_frame(frame, input, target, **given | options)

    @classmethod
    def from_inspect(cls, log: Any, **options: Any) -> "Task":
        """A task from the samples of an Inspect log, an `.eval` or `.json` or its `EvalLog`, with the options of from_frame.

        A sample is one example whatever its epochs. The choices of multiple choice stand below the question by letter, and its answers are
        letters. The prompt to begin with is the system message, where all samples had the same one. Outputs and scores are no part of a
        task: `Case.from_feedback` takes the same log with them.

        Raises TaskError where it has no samples, or one holds a conversation, an image or several targets, naming the sample.
        """
        found = inspect_logs.read_log(log)
        given = {"name": found.name, "source": {"loader": "from_inspect", **found.source}, "labels": found.letters}
        return cls.from_frame(
            found.questions(), "input", "target", **given | ({"seed_prompt": found.prompt} if found.prompt else {}) | options
        )

    def __repr__(self) -> str:
        labels = f", labels={list(self.labels[:_SHOWN])}{' …' * (len(self.labels) > _SHOWN)}" if self.labels else ""
        sizes = ", ".join(f"{name}={len(self.split(name))}" for name in SPLITS)
        return f"Task({self.name!r}, {sizes}, answer={self.answer.kind!r}{labels})"

    def _repr_html_(self) -> str:
        return displays.html(self)


def form_of(settings: dict[str, Any]) -> str:
    """`Task.form` of a task's settings; what an answer format has by default counts for nothing, so that a later version may add to it."""
    answer = TypeAdapter(AnswerFormat).validate_python(settings["answer"])
    return short_id(settings["format_instruction"], answer.kind, answer.model_dump(mode="json", exclude_defaults=True))


def check_options(fields: Mapping[str, Any]) -> None:
    """Raises TaskError where a field of a task is none."""
    if other := fields.keys() - _FIELDS:
        raise TaskError(f"There is no option {min(other)!r}; those of pandas' readers are given as read={{{min(other)!r}: …}}.")


def answer_for(answer: Any, rows: Sequence[frames.Row], labels: tuple[str, ...] | None) -> AnswerFormat:
    """The answer format asked for by name, or the one that fits; every target is checked against it."""
    targets = [row.target for row in rows]
    if answer == "auto":
        answer = detect(targets, labels)
    elif answer == "label":
        answer = LabelAnswer(labels=labels or tuple(sorted(set(targets))))
    elif answer == "text":
        answer = text_for(targets)
    elif answer == "number":
        answer = NumberAnswer()
    elif isinstance(answer, str):
        raise TaskError(f'answer={answer!r} should be "auto", "label", "number", "text" or an answer format.')
    for row in rows:
        _check_target(answer, row.target, row.place)
    return answer


def _check_target(answer: AnswerFormat, target: str, place: str) -> None:
    if not answer.accepts(target):
        shown = target if len(target) <= 60 else target[:59] + "…"
        expected = "".join(sign if sign.isprintable() else "\ufffd" for sign in answer.expected())
        raise TaskError(f"{place}: the target {shown!r} should be {expected}.")
