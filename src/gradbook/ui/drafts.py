"""Edits that a person has begun and not yet run: they wait here, step by step, until they become a branch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from gradbook import edits, tell
from gradbook.edits import menu
from gradbook.edits.words import STRENGTHS, sentences
from gradbook.errors import GradbookError
from gradbook.loop.table import EDIT_STAGE
from gradbook.records import Edit, Step
from gradbook.tell.views import Place, RecordView, Words
from gradbook.tell.words import brief

if TYPE_CHECKING:
    from gradbook.recording import Recording

CHOICE = "choice"
STEPS_OFFERED = 40
"""Steps, the last ones, that a text can be taken from."""
_TRIES = 8
"""Numbers of a parameter that are tried, before a perturbation counts as one that changes nothing."""


@dataclass(frozen=True)
class Field:
    """A parameter of a perturbation as a page asks for it: a choice of `options` (value, words), or a number."""

    name: str
    label: str
    value: Any
    options: tuple[tuple[Any, str], ...] = ()
    low: int = 0
    high: int = 99

    @property
    def others(self) -> list[Any]:
        """Further values to try."""
        return [] if self.value is None else [v for v, _ in self.options] or list(range(self.value + 1, self.value + _TRIES))


@dataclass
class Draft:
    """An edit of the record `key`: `text` is to stand there in place of `before`, or what a perturbation makes of it with its `fields`.

    `wrong` says why it cannot be made, `unseen` that a model is yet to write what it is made of.
    """

    key: str
    place: Place
    kind: str
    before: str
    text: str
    fields: list[Field] = field(default_factory=list)
    wrong: str = ""
    unseen: bool = False
    stood: str = field(init=False)  # in the step, before any draft

    def __post_init__(self) -> None:
        self.stood = self.before

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

    def look(self, rec: "Recording", step: Step, earlier: Sequence["Draft"] = ()) -> None:
        """See what it would come to after those before it, as far as no model is needed to say so."""
        if self.named is None:
            return
        here = [one for one in earlier if one.key == self.key]
        self.before = self.text = here[-1].text if here else self.stood
        self.unseen, self.wrong = any(one.named is not None and one.named.asks for one in here), ""
        kept = {one.name: str(one.value) for one in self.fields}
        self.fields = [_field(rec, step, self.place, need, self.before) for need in self.named.needs]
        for name, value in kept.items():
            self.set(name, value)
        if lacking := [one for one in self.fields if one.value is None]:
            self.wrong = _LACKING[lacking[0].name]
            return
        stage = EDIT_STAGE[self.place.field]
        try:
            changes = [one.edit(rec) for one in (*earlier, self) if EDIT_STAGE[one.place.field] == stage and not one.wrong]
            after = edits.preview(step, changes, rec.subject(step), rec.method_of(step))
        except (GradbookError, IndexError) as error:
            self.wrong = str(error)
        else:
            self.text = self.before if after is None else after


_LACKING = {"sentence": "it has no sentence", "other": "the batch has no other example", "of": "no other step has one"}


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
    labels["of"] += f" (of the last {STEPS_OFFERED} steps)" if len(options) == STEPS_OFFERED else ""
    first = options[3 if need == "strength" else 0][0] if options else None
    return Field(need, labels[need], first, options)


class Drafts:
    """The drafts of one step in the order in which they were begun, each by an id of its own, and the reason for all of them."""

    def __init__(self) -> None:
        self.open: dict[str, Draft] = {}
        self.why = ""

    @property
    def waiting(self) -> list[Draft]:
        """Those that would change something."""
        return [draft for draft in self.open.values() if draft.changes]

    def of(self, key: str) -> dict[str, Draft]:
        """The drafts of one text, which are made one after the other."""
        return {id: draft for id, draft in self.open.items() if draft.key == key}

    def begun(self, rec: "Recording", step: Step, record: RecordView, kind: str) -> Draft:
        """A perturbation of a text, with the first values of its parameter that change something; where none does, `wrong` says so."""
        assert record.place is not None
        draft = Draft(record.key, record.place, kind, record.text, record.text)
        draft.look(rec, step, self.waiting)
        said = draft.wrong
        others = [(one.name, value) for one in draft.fields for value in one.others]
        while draft.wrong and others:
            name, value = others.pop(0)
            draft.set(name, str(value))
            draft.look(rec, step, self.waiting)
        draft.wrong = draft.wrong and said
        return draft

    def add(self, draft: Draft) -> str:
        """Let a draft wait; returns its id."""
        id = next(id for id in chain([draft.key], (f"{draft.key} {n}" for n in count(2))) if id not in self.open)
        self.open[id] = draft
        return id

    def look(self, rec: "Recording", step: Step) -> None:
        """See anew what each comes to, once one of them is another."""
        seen: list[Draft] = []
        for draft in self.waiting:
            draft.look(rec, step, seen)
            seen.append(draft)

    def edits(self, rec: "Recording") -> list[Edit]:
        """What waits, in the order in which it was begun."""
        return [draft.edit(rec, self.why.strip()) for draft in self.waiting]

    def foreseen(self, rec: "Recording", step: Step) -> tuple[str, str]:
        """The line of Python that makes a branch of what waits, and why it makes none where it does not."""
        try:
            made = self.edits(rec)
            edits.branch(step, made, -1, rec.subject(step), rec.method_of(step))
        except GradbookError as refused:
            return "", str(refused)
        return tell.perturbing(step.id, made), ""
