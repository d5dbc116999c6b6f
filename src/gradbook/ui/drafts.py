"""Edits that a person has begun and not yet run: they wait here, step by step, until they become a branch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradbook import edits, tell
from gradbook.edits import menu
from gradbook.edits.words import STRENGTHS, sentences
from gradbook.errors import GradbookError
from gradbook.records import Edit, Step
from gradbook.tell.views import Place, Words
from gradbook.tell.words import brief

if TYPE_CHECKING:
    from gradbook.recording import Recording

CHOICE = "choice"
STEPS_OFFERED = 40
"""Steps, the last ones, that a text can be taken from."""


@dataclass(frozen=True)
class Field:
    """A parameter of a perturbation as a page asks for it: a choice of `options` (value, words), or a number."""

    name: str
    label: str
    value: Any
    options: tuple[tuple[Any, str], ...] = ()
    low: int = 0
    high: int = 99


@dataclass
class Draft:
    """An edit at a place: `text` is to stand there in place of `before`, or what a perturbation makes of it with its `fields`.

    `wrong` says why it cannot be made, `asks` that a model writes it when it runs.
    """

    place: Place
    kind: str
    before: str
    text: str
    fields: list[Field] = field(default_factory=list)
    wrong: str = ""

    @property
    def named(self) -> menu.Named | None:
        """The perturbation, where it is no other text by hand."""
        return menu.PERTURBATIONS.get(self.kind)

    @property
    def changes(self) -> bool:
        """Whether it would change anything."""
        return self.kind != "replace" or self.text != self.before

    @property
    def words(self) -> Words:
        """The text with its differences; nothing while there are none."""
        return tell.difference(self.before, self.text) if self.text != self.before else ()

    def edit(self, rec: "Recording", why: str = "") -> Edit:
        """The edit as `Case.perturb` takes it."""
        values: dict[str, Any] = {one.name: one.value for one in self.fields} if self.named else {"text": self.text}
        if "of" in values:
            values["of"] = rec[int(values["of"])]
        return menu.made(self.kind, **self.place.where, **values, why=why)

    def set(self, name: str, value: str) -> None:
        """Take a value for a parameter; what is no number is left as it was."""
        for n, one in enumerate(self.fields):
            known = {str(option): option for option, _ in one.options}
            if one.name == name and (value in known or (not known and value.strip().isdecimal())):
                self.fields[n] = Field(name, one.label, known[value] if known else int(value), one.options, one.low, one.high)

    def look(self, rec: "Recording", step: Step) -> None:
        """See what it would come to, as far as no model is needed to say so."""
        if self.named is None:
            return
        try:
            after = edits.preview(step, self.edit(rec), rec.subject(step), rec.method_of(step))
        except (GradbookError, IndexError) as error:
            self.text, self.wrong = self.before, str(error)
        else:
            self.text, self.wrong = self.before if after is None else after, ""


def fields(rec: "Recording", step: Step, place: Place, named: menu.Named, text: str) -> list[Field]:
    """The parameters of a perturbation at a text, with what they may be."""
    return [_field(rec, step, place, need, text) for need in named.needs]


def _field(rec: "Recording", step: Step, place: Place, need: menu.Need, text: str) -> Field:
    options: tuple[tuple[Any, str], ...]
    if need == "sentence":
        options = tuple((n, f"{n}: {brief(text[start:end], 40)}") for n, (start, end) in enumerate(sentences(text)))
    elif need == "strength":
        options = tuple((n, f"{n}: {word}") for n, word in enumerate(STRENGTHS))
    elif need == "other":
        options = tuple((name, f"example {n} ({name})") for n, name in enumerate(step.batch) if name != place.example)
    elif need == "of":
        others = [other for other in rec if other.id != step.id and not other.aside and getattr(other, place.field, None)]
        options = tuple((other.id, f"step {other.id}") for other in others[-STEPS_OFFERED:])
    else:
        label, value, high = ("How many times", 2, 20) if need == "times" else ("Drawn by the seed", 1, 999)
        return Field(need, label, value, (), value if need == "times" else 0, high)
    labels = {"sentence": "Sentence", "strength": "How strongly", "other": "Which", "of": "Which"}
    first = options[3 if need == "strength" else 0][0] if options else None
    return Field(need, labels[need], first, options)


class Drafts:
    """The drafts of one step by the key of what they are of, and the reason for all of them."""

    def __init__(self) -> None:
        self.open: dict[str, Draft] = {}
        self.why = ""

    @property
    def waiting(self) -> list[Draft]:
        """Those that would change something."""
        return [draft for draft in self.open.values() if draft.changes]

    def edits(self, rec: "Recording") -> list[Edit]:
        """What waits, in the order in which it was begun."""
        return [draft.edit(rec, self.why.strip()) for draft in self.waiting]
