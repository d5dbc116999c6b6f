"""Which column of somebody's table is what, found by the names that hosted tools give them."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from gradbook.errors import TaskError
from gradbook.parse import whole

Part = Literal["input", "output", "feedback", "label"]
AUTO = "auto"

# as they were in November 2026, in small letters with _ between words:
# OpenAI's datasets (the prompt optimiser): output, rating, output_feedback beside columns of one's own; the rating is no critique
# LangSmith: inputs.*, outputs.*, reference.*, feedback.* (scores), comment; Braintrust: input, output, expected, comment, comments
# Langfuse: input, output, expectedOutput, comment, comments; Datadog: Input, Output, Expected Output
# Phoenix: attributes.input.value, attributes.output.value, reference_output, explanation, result.explanation
# Inspect (samples_df): input, target, score_*_explanation
_NAMES: dict[Part, tuple[str, ...]] = {
    "input": ("input", "inputs", "question", "query", "attributes.input.value"),
    "output": ("output", "outputs", "response", "completion", "prediction", "model_output", "attributes.output.value"),
    "feedback": (
        *("output_feedback", "feedback", "human_feedback", "critique", "critiques"),
        *("comment", "comments", "explanation", "result.explanation"),
    ),
    "label": (
        *("label", "target", "expected", "expected_output", "expected_outputs", "reference", "reference_output", "reference_outputs"),
        *("ground_truth", "gold"),
    ),
}
_LIKE: dict[Part, str] = {
    "input": r"inputs?\..+",
    "output": r"outputs?\..+",
    "feedback": r".+[._](?:explanation|comment|comments|critique|feedback)",
    "label": r"(?:reference|expected)(?:_outputs?)?\..+",
}
_ANNOTATED = {"annotation_name", "annotator_kind"}  # Phoenix's annotations, whose label is the annotation and not the answer


def find(columns: Sequence[Any], part: Part, taken: Sequence[Any] = ()) -> Any:
    """The one column that is known as a part of the example; None where there is no label.

    Args:
        columns: of the table.
        part: which one is looked for.
        taken: columns that are something else already.

    Raises:
        TaskError: several could be it, or none is known as it (a table may lack labels); the columns are named.
    """
    free = {column: _plain(column) for column in columns if column not in taken}
    annotated = part == "label" and _ANNOTATED & set(free.values())
    names = [name for name in _NAMES[part] if not (annotated and name == "label")]
    found = [column for column, name in free.items() if name in names]
    found = found or [column for column, name in free.items() if re.fullmatch(_LIKE[part], name)]
    if len(found) > 1:
        list_of = " or a list of them" if part == "feedback" else " or None to do without labels" if part == "label" else ""
        raise TaskError(f"Columns {_listed(found)} could each be the {part}; give {part}= one of them{list_of}.")
    if not found and part != "label":
        raise TaskError(
            f"No column is known as the {part}; give {part}= one of {_listed(columns) or 'the columns, of which there are none'}."
        )
    return found[0] if found else None


def check(columns: Sequence[Any], named: Sequence[Any]) -> None:
    """Raises TaskError where a named column is not there, is there twice, or is named for two things."""
    for column in named:
        count = list(columns).count(column)
        if count != 1:
            what = "no column" if count == 0 else "more than one column"
            raise TaskError(f"There is {what} {column!r}; the columns are {_listed(columns) or 'none'}.")
        if list(named).count(column) > 1:
            raise TaskError(f"Column {column!r} is named for two things; name another for one of them.")


def _plain(column: Any) -> str:
    """The name of a column in small letters with _ between words, whatever a tool puts there."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(column).strip())
    return re.sub(r"[\s\-]+", "_", name).lower()


def _listed(columns: Sequence[Any]) -> str:
    return ", ".join(whole(repr(column)) for column in columns)
