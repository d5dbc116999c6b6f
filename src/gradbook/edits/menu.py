"""Perturbations as they are offered at a text: what each is called, what it takes and needs to know, whether it asks a model."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

from gradbook import edits
from gradbook.edits import CRITIQUES, OF_EXAMPLE, TEXTS
from gradbook.records import Edit, EditField

Need = Literal["sentence", "strength", "times", "other", "of", "seed"]


@dataclass(frozen=True)
class Named:
    """A function of `gb.edits`, in words; `needs` are its own parameters, `asks` says that a model writes what it puts there."""

    make: Callable[..., Edit]
    words: str
    fields: tuple[EditField, ...]
    needs: tuple[Need, ...] = ()
    asks: bool = False


PERTURBATIONS: dict[str, Named] = {
    "wrong_label": Named(edits.wrong_label, "A wrong label", ("label",)),
    "no_label": Named(edits.no_label, "No label", ("label",)),
    "another_label": Named(edits.another_label, "Another example’s label", ("label",), ("other",)),
    "drop_example": Named(edits.drop_example, "Leave the example out", ("prediction",)),
    "drop": Named(edits.drop, "Leave out", OF_EXAMPLE[1:]),
    "drop_sentence": Named(edits.drop_sentence, "Leave a sentence out", TEXTS, ("sentence",)),
    "keep_sentence": Named(edits.keep_sentence, "Keep only a sentence", TEXTS, ("sentence",)),
    "blank": Named(edits.blank, "Blank", TEXTS),
    "filler": Named(edits.filler, "Filler of the same length", TEXTS),
    "negate": Named(edits.negate, "Negate", TEXTS, asks=True),
    "paraphrase": Named(edits.paraphrase, "Paraphrase", TEXTS, asks=True),
    "strength": Named(edits.strength, "Weaken or strengthen", CRITIQUES, ("strength",)),
    "double": Named(edits.double, "Say several times", CRITIQUES, ("times",)),
    "swap": Named(edits.swap, "Swap with another example", CRITIQUES, ("other",)),
    "take": Named(edits.take, "From another step", CRITIQUES, ("of",)),
    "shuffle": Named(edits.shuffle, "Shuffle the order of all", ("prompt_critique",), ("seed",)),
}
"""What is offered besides writing other words, in the order in which it is."""


def offered(field: EditField) -> dict[str, Named]:
    """What can be done by name to a field."""
    return {name: named for name, named in PERTURBATIONS.items() if field in named.fields}


def made(name: str, **values: Any) -> Edit:
    """The edit that a perturbation makes of its place and parameters; what it does not take, or is None, is left out."""
    make = PERTURBATIONS[name].make if name in PERTURBATIONS else edits.replace
    return make(**{key: value for key, value in values.items() if key in signature(make).parameters and value is not None})
