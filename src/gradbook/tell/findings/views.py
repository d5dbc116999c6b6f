"""The views of findings, which hold plain texts and never change."""

from dataclasses import dataclass
from typing import Literal

from gradbook.tell.overviews import Figure
from gradbook.tell.views import Words


@dataclass(frozen=True, slots=True)
class BarView:
    """A row of a picture: a value with its interval (both shares, drawn in points; None where there is none), and what it says in words.

    `tone` is "good", "bad" or "quiet" (what is not told from nothing); `group` is the heading that it stands under, "" for none.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    text: str
    tone: Literal["good", "bad", "quiet"] = "quiet"
    group: str = ""


@dataclass(frozen=True, slots=True)
class GridView:
    """A table: heads, rows of figures, and a caption."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Figure, ...], ...]


@dataclass(frozen=True, slots=True)
class SectionView:
    """A section of a prompt in its place: its text, what it is worth in words, how strong that is to be shown (-1 harms … 1 helps), and
    whose words it carries ("step 3, prompt critique of train-5")."""

    text: str
    worth: str
    shade: float
    verdict: str
    origins: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()


@dataclass(frozen=True)
class FindingView:
    """A finding as a panel or a section shows it, from top to bottom.

    `asked` says what was done and what was expected, with the margin, `verdict` is the word, `sentence` what was found. `shares` (name,
    share) are drawn as one bar, `bars` below each other about zero. `sections` are a prompt in place. `remarks` say what makes the
    numbers mean less.
    """

    id: str
    kind: str
    title: str
    step: int
    split: str
    asked: str
    verdict: str
    good: bool | None
    sentence: str
    shares: tuple[tuple[str, float], ...] = ()
    bars: tuple[BarView, ...] = ()
    axis: str = ""
    sections: tuple[SectionView, ...] = ()
    grids: tuple[GridView, ...] = ()
    remarks: tuple[str, ...] = ()
    words: Words = ()
    spent: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A finding in a list."""

    id: str
    title: str
    split: str
    verdict: str


@dataclass(frozen=True, slots=True)
class AskView:
    """Something that can be asked of a step: what it is, what it expects, what it would cost or why it cannot be asked."""

    kind: str
    title: str
    hypothesis: str
    price: str
    closed: bool
