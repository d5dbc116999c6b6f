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
    group: str
    words: str
    fields: tuple[EditField, ...]
    needs: tuple[Need, ...] = ()
    asks: bool = False


LABEL, EXAMPLE, SENTENCES, TEXT, CRITIQUE, MODEL = (
    "Label",
    "Example",
    "Sentences",
    "Whole text",
    "Critique",
    "In words of the model, a call",
)
PERTURBATIONS: dict[str, Named] = {
    "wrong_label": Named(edits.wrong_label, LABEL, "A wrong label", ("label",)),
    "no_label": Named(edits.no_label, LABEL, "No label", ("label",)),
    "another_label": Named(edits.another_label, LABEL, "Another example’s label", ("label",), ("other",)),
    "drop_example": Named(edits.drop_example, EXAMPLE, "Leave the example out", ("prediction",)),
    "drop": Named(edits.drop, EXAMPLE, "Leave out", OF_EXAMPLE[1:]),
    "swap": Named(edits.swap, EXAMPLE, "Swap with another example", CRITIQUES, ("other",)),
    "drop_sentence": Named(edits.drop_sentence, SENTENCES, "Leave a sentence out", TEXTS, ("sentence",)),
    "keep_sentence": Named(edits.keep_sentence, SENTENCES, "Keep only a sentence", TEXTS, ("sentence",)),
    "blank": Named(edits.blank, TEXT, "Blank", TEXTS),
    "filler": Named(edits.filler, TEXT, "Filler of the same length", TEXTS),
    "strength": Named(edits.strength, CRITIQUE, "Weaken or strengthen", CRITIQUES, ("strength",)),
    "double": Named(edits.double, CRITIQUE, "Say several times", CRITIQUES, ("times",)),
    "take": Named(edits.take, CRITIQUE, "From another step", CRITIQUES, ("of",)),
    "shuffle": Named(edits.shuffle, CRITIQUE, "Shuffle the order of all", ("prompt_critique",), ("seed",)),
    "negate": Named(edits.negate, MODEL, "Negate", TEXTS, asks=True),
    "paraphrase": Named(edits.paraphrase, MODEL, "Paraphrase", TEXTS, asks=True),
}
"""What is offered besides writing other words, group by group in the order in which it is."""


def offered(field: EditField) -> dict[str, dict[str, Named]]:
    """What can be done by name to a field, by group."""
    found: dict[str, dict[str, Named]] = {}
    for name, named in PERTURBATIONS.items():
        if field in named.fields:
            found.setdefault(named.group, {})[name] = named
    return found


def made(name: str, **values: Any) -> Edit:
    """The edit that a perturbation makes of its place and parameters; what it does not take, or is None, is left out."""
    make = PERTURBATIONS[name].make if name in PERTURBATIONS else edits.replace
    return make(**{key: value for key, value in values.items() if key in signature(make).parameters and value is not None})
