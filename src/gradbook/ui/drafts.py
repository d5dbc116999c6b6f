"""Edits that a person has begun and not yet run: they wait here, step by step, until they become a branch."""

from dataclasses import dataclass
from typing import Literal

from gradbook import edits, tell
from gradbook.records import Edit
from gradbook.tell.views import Place, Words

Kind = Literal["replace", "drop", "double"]
CHOICE = "choice"


@dataclass
class Draft:
    """An edit at a place: `text` is to stand there in place of `before`, unless the edit is of another kind."""

    place: Place
    kind: Kind
    before: str
    text: str

    @property
    def changes(self) -> bool:
        """Whether it would change anything."""
        return self.kind != "replace" or self.text != self.before

    @property
    def words(self) -> Words:
        """The text with its differences; nothing while there are none."""
        return tell.difference(self.before, self.text) if self.changes else ()

    def edit(self, why: str) -> Edit:
        """The edit as `Case.perturb` takes it."""
        where = {name: value for name, value in self.place.where.items() if value is not None}
        if self.kind == "replace":
            return edits.replace(**where, text=self.text, why=why)
        return (edits.drop if self.kind == "drop" else edits.double)(**where, why=why)


class Drafts:
    """The drafts of one step by the key of what they are of, and the reason for all of them."""

    def __init__(self) -> None:
        self.open: dict[str, Draft] = {}
        self.why = ""

    @property
    def waiting(self) -> list[Draft]:
        """Those that would change something."""
        return [draft for draft in self.open.values() if draft.changes]

    def edits(self) -> list[Edit]:
        """What waits, in the order in which it was begun."""
        return [draft.edit(self.why.strip()) for draft in self.waiting]
