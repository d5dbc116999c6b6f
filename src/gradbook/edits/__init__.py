"""Perturbations: one change to a step. `Case.perturb` makes a branch of it, and only what depends on the change runs again.

Each is a typed record with a `kind`, which the runner executes as part of its stage; several of one stage are executed in their order.
To add one: a record in `records.py`, a function here that makes it with a line in `_CALLS`, and a case in `run.py`.

`example` is whose text it is: the position in the batch from 0, or the example's id. `index` says which, where an example has several.
`why` is the reason, kept with the edit. `field` is "prediction" (an output), "evaluation", "output_critique", "prompt_critique" or
"candidate" (a rewritten prompt, by `candidate`, its index from 0).
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from gradbook.edits.run import branch, execute, place_of, preview, replicate, superseded, text_at
from gradbook.errors import EditError
from gradbook.loop.table import EDIT_STAGE
from gradbook.records import Blank, Cut, Double, Drop, Edit, EditField, Relabel, Replace, Reword, Shuffle, Step, Strength, Swap, Take

__all__ = [
    "another_label", "blank", "branch", "code", "double", "drop", "drop_example", "drop_sentence", "execute", "filler", "keep_sentence",
    "negate", "no_label", "paraphrase", "place_of", "preview", "replace", "replicate", "shuffle", "strength", "superseded", "swap",
    "take", "text_at", "wrong_label",
]  # fmt: skip

CRITIQUES: tuple[EditField, ...] = ("output_critique", "prompt_critique")
OF_EXAMPLE: tuple[EditField, ...] = ("prediction", "evaluation", *CRITIQUES)
TEXTS: tuple[EditField, ...] = (*OF_EXAMPLE, "candidate")
ASKS = ("reword",)
"""The kinds that ask a model when they run."""
Example = int | str
_E = TypeVar("_E", bound=Edit)


def replace(
    field: EditField, *, text: str, example: Example | None = None, candidate: int | None = None, index: int = 0, why: str = ""
) -> Replace:
    """Put other words in the place of what a stage gave.

    Args:
        field: as above, and also "label" (as the feedback shows it) or "selection" (a candidate's index, "-1" for the old prompt).
        text: what is to stand there.
        example, candidate, index, why: as above.

    Raises:
        EditError: the field is unknown, or it needs `example` or `candidate` and has none.
    """
    return _made(Replace, field, get_args(EditField), "edited", example, candidate, text=text, index=index, why=why)


def drop(field: EditField, *, example: Example, index: int = 0, why: str = "") -> Drop:
    """Leave out what a stage gave for an example, and with it all that would have been made of it.

    Raises:
        EditError: a field that holds no text of an example.
    """
    return _made(Drop, field, OF_EXAMPLE, "dropped", example, index=index, why=why)


def drop_example(example: Example, *, why: str = "") -> Drop:
    """Leave an example out of the step, with all that would have been made of it."""
    return drop("prediction", example=example, why=why)


def double(field: EditField, *, example: Example, times: int = 2, index: int = 0, why: str = "") -> Double:
    """Say a critique several times in place of once; `times` is how often it stands there afterwards, 2 to 20.

    Raises:
        EditError: no critique, or `times` is out of range.
    """
    if not 2 <= times <= 20:
        raise EditError(f"times must be 2 to 20, not {times}")
    return _made(Double, field, CRITIQUES, "doubled", example, times=times, index=index, why=why)


def wrong_label(example: Example, *, why: str = "") -> Relabel:
    """Show a wrong label in the feedback on an example, always the same one for a question."""
    return Relabel(field="label", example=example, to="wrong", why=why)


def no_label(example: Example, *, why: str = "") -> Relabel:
    """Show no label in the feedback on an example, and so evaluate nothing."""
    return Relabel(field="label", example=example, to="none", why=why)


def another_label(example: Example, *, other: Example, why: str = "") -> Relabel:
    """Show the true label of another example of the batch in the feedback on this one."""
    return Relabel(field="label", example=example, to="other", other=other, why=why)


def swap(field: EditField, *, example: Example, other: Example, index: int = 0, why: str = "") -> Swap:
    """Exchange the critiques of two examples.

    Raises:
        EditError: no critique.
    """
    return _made(Swap, field, CRITIQUES, "swapped", example, other=other, index=index, why=why)


def take(field: EditField, *, example: Example, of: Step, other: Example | None = None, index: int = 0, why: str = "") -> Take:
    """Put the critique of another step in the place of one.

    Args:
        field: "output_critique" or "prompt_critique".
        of: the step that it is taken from.
        other: whose it is there; by default that of the example in the same place of the batch.
        example, index, why: as above.

    Raises:
        EditError: no critique, or the other step has none there.
    """
    at = example if other is None else other
    name = of.batch[at] if isinstance(at, int) and 0 <= at < len(of.batch) else at
    text = text_at(getattr(of, field, None), Drop(field=field, example=name, index=index)) if field in CRITIQUES else ""
    if text is None:
        raise EditError(f"step {of.id} has no {_words(field)} for {at!r} at index {index}")
    return _made(Take, field, CRITIQUES, "taken from another step", example, step=of.id, other=name, text=text, index=index, why=why)


def drop_sentence(
    field: EditField, sentence: int, *, example: Example | None = None, candidate: int | None = None, index: int = 0, why: str = ""
) -> Cut:
    """Leave one sentence of a text out, by its number from 0.

    Raises:
        EditError: the field holds no text, or lacks `example` or `candidate`.
    """
    return _cut(field, sentence, False, example, candidate, index, why)


def keep_sentence(
    field: EditField, sentence: int, *, example: Example | None = None, candidate: int | None = None, index: int = 0, why: str = ""
) -> Cut:
    """Keep only one sentence of a text, by its number from 0; errors as in `drop_sentence`."""
    return _cut(field, sentence, True, example, candidate, index, why)


def blank(field: EditField, *, example: Example | None = None, candidate: int | None = None, index: int = 0, why: str = "") -> Blank:
    """Put nothing in the place of a text; errors as in `drop_sentence`."""
    return _made(Blank, field, TEXTS, "blanked", example, candidate, index=index, why=why)


def filler(field: EditField, *, example: Example | None = None, candidate: int | None = None, index: int = 0, why: str = "") -> Blank:
    """Put as many words that say nothing in the place of a text, a placebo; errors as in `drop_sentence`."""
    return _made(Blank, field, TEXTS, "filled", example, candidate, filler=True, index=index, why=why)


def strength(field: EditField, strength: int, *, example: Example, index: int = 0, why: str = "") -> Strength:
    """Say how strongly a critique is to be followed: 0 "hardly", 1 "slightly", 2 "moderately", 3 "strongly", 4 "drastically".

    Raises:
        EditError: no critique, or a strength out of range.
    """
    if strength not in range(5):
        raise EditError(f"strength must be 0 to 4, not {strength}")
    return _made(Strength, field, CRITIQUES, "weakened or strengthened", example, strength=strength, index=index, why=why)


def shuffle(field: EditField = "prompt_critique", *, seed: int = 0, why: str = "") -> Shuffle:
    """Put the prompt critiques in another order, drawn by `seed`, in which the optimiser then reads them.

    Raises:
        EditError: another field, whose order nothing reads.
    """
    return _made(Shuffle, field, ("prompt_critique",), "shuffled", seed=seed, why=why)


def negate(field: EditField, *, example: Example | None = None, candidate: int | None = None, index: int = 0, why: str = "") -> Reword:
    """Let the model that wrote a text say the opposite; errors as in `drop_sentence`."""
    return _made(Reword, field, TEXTS, "negated", example, candidate, how="negate", index=index, why=why)


def paraphrase(field: EditField, *, example: Example | None = None, candidate: int | None = None, index: int = 0, why: str = "") -> Reword:
    """Let the model that wrote a text say it in other words; errors as in `drop_sentence`."""
    return _made(Reword, field, TEXTS, "paraphrased", example, candidate, how="paraphrase", index=index, why=why)


_CALLS: dict[str, Callable[[Any], tuple[str, list[Any], dict[str, Any]]]] = {
    "replace": lambda e: ("replace", [e.field], {"text": e.text}),
    "drop": lambda e: ("drop", [e.field], {}),
    "double": lambda e: ("double", [e.field], {"times": e.times}),
    "relabel": lambda e: (
        {"wrong": "wrong_label", "none": "no_label", "other": "another_label"}[e.to],
        [],
        {"other": e.other} if e.to == "other" else {},
    ),
    "swap": lambda e: ("swap", [e.field], {"other": e.other}),
    "take": lambda e: ("take", [e.field], {"of": _Name(f"case[{e.step}]"), "other": e.other}),
    "cut": lambda e: ("keep_sentence" if e.keep else "drop_sentence", [e.field, e.sentence], {}),
    "blank": lambda e: ("filler" if e.filler else "blank", [e.field], {}),
    "strength": lambda e: ("strength", [e.field, e.strength], {}),
    "shuffle": lambda e: ("shuffle", [], {"seed": e.seed}),
    "reword": lambda e: (e.how, [e.field], {}),
}


class _Name(str):
    """Python that stands as it is."""

    __repr__ = str.__str__


def code(edit: Edit) -> str:
    """The line of Python that makes an edit."""
    name, given, options = _CALLS[edit.kind](edit)
    place: dict[str, Any] = {"example": edit.example, "candidate": edit.candidate, "index": edit.index or None, "why": edit.why or None}
    named = {key: value for key, value in (place | options).items() if value is not None}
    return f"gb.edits.{name}({', '.join([*map(repr, given), *(f'{key}={value!r}' for key, value in named.items())])})"


def _cut(field: EditField, sentence: int, keep: bool, example: Example | None, candidate: int | None, index: int, why: str) -> Cut:
    if sentence < 0:
        raise EditError(f"sentences are counted from 0; there is none {sentence}")
    return _made(Cut, field, TEXTS, "cut", example, candidate, sentence=sentence, keep=keep, index=index, why=why)


def _made(
    kind: type[_E],
    field: EditField,
    fields: tuple[EditField, ...],
    done: str,
    example: Example | None = None,
    candidate: int | None = None,
    **more: Any,
) -> _E:
    """An edit of one of `fields`, with the place that its field needs."""
    if field not in fields:
        raise EditError(f"{field!r} cannot be {done}; there are {', '.join(fields)}")
    if field == "candidate" and candidate is None:
        raise EditError("an edit of a candidate needs candidate=, its index from 0")
    if EDIT_STAGE[field] not in ("rewrite", "select") and example is None and kind is not Shuffle:
        a = "an" if field[0] in "aeo" else "a"
        raise EditError(f"an edit of {a} {_words(field)} needs example=, its position in the batch from 0 or its id")
    return kind(field=field, example=example, candidate=candidate, **more)


def _words(field: str) -> str:
    return field.replace("_", " ")
