"""What each section of a prompt is worth, from the draws that `ablation` makes, with whose words it carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from gradbook import stats
from gradbook.findings.ancestry import Origin
from gradbook.findings.base import ALPHA, Finding
from gradbook.findings.sections import Spans, sections
from gradbook.records import Record

Word = Literal["helps", "harms", "equivalent", "undecided", "screened"]


class Draw(Record):
    """One time that a prompt answered: 1 for a right answer, by example, and by item of `SectionMap.items` where examples have several."""

    right: tuple[int, ...]
    items: tuple[int, ...] = ()


@dataclass(frozen=True)
class Worth:
    """What a section adds to a share where it stands: the estimate, its interval and p; `word` is "screened" where it was not confirmed."""

    value: float
    low: float
    high: float
    p: float
    word: Word


@dataclass(frozen=True)
class Section:
    """A section with what it is worth: overall, None where it was neither screened nor confirmed, and for the recall of each class."""

    number: int
    text: str
    worth: Worth | None
    recall: dict[str, Worth]
    origins: tuple[Origin, ...]


class SectionMap(Finding):
    """The draws of a prompt without some of its sections, and of itself.

    `cuts` are where sections begin, besides the first. `removed` are the sections that each run of the screen left out, `screened` its
    answers. `confirmed` are sections that were left out alone, `without` their draws, `full` those of the whole prompt. `classes` and
    `items` (example and class by their places) say what there is to recall, `origins` are those of each section. `chosen_here` says that a
    selection has looked at the split; `finest` is how many sections the prompt has where it was taken apart no further than this.
    """

    kind = "ablate"
    title = "Section map"
    hypothesis = "Each section of the prompt adds to the score: without it, the others as they stand, the prompt does worse."

    prompt: str
    cuts: tuple[int, ...]
    removed: tuple[tuple[int, ...], ...] = ()
    screened: tuple[Draw, ...] = ()
    full: tuple[Draw, ...] = ()
    confirmed: tuple[int, ...] = ()
    without: tuple[tuple[Draw, ...], ...] = ()
    classes: tuple[str, ...] = ()
    items: tuple[tuple[int, int], ...] = ()
    origins: tuple[tuple[Origin, ...], ...] = ()
    chosen_here: bool = False
    finest: int = 0

    @cached_property
    def spans(self) -> Spans:
        """Where each section begins and ends in the prompt."""
        return sections(self.prompt, self.cuts)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The sections in their order, with what each is worth."""
        overall, shared = self.worths(), len(self.spans) * max(len(self.classes), 1)
        recall = {label: self.worths(place, shared) for place, label in enumerate(self.classes)}
        return tuple(
            Section(
                number,
                self.prompt[start:end],
                overall.get(number),
                {label: found[number] for label, found in recall.items() if number in found},
                self.origins[number] if self.origins else (),
            )
            for number, (start, end) in enumerate(self.spans)
        )

    def worths(self, place: int | None = None, shared: int | None = None) -> dict[int, Worth]:
        """What sections are worth for accuracy, or for the recall of the class at a place; so many verdicts share alpha, by default one a
        section."""
        found: dict[int, Worth] = {}
        if self.screened and (table := self._scores(self.screened, place)).shape[1] > 1:
            design = np.zeros((len(self.removed), len(self.spans)), dtype=bool)
            for run, gone in enumerate(self.removed):
                design[run, list(gone)] = True
            found = {number: _worth(one, "screened") for number, one in enumerate(stats.screen(design, table, ALPHA))}
        confirmed = self.effects(place, shared)
        return found | {number: _worth(one.like_these, one.verdict or "undecided") for number, one in confirmed.items()}

    def effects(self, place: int | None = None, shared: int | None = None) -> dict[int, stats.Effect]:
        """What each confirmed section does, by its number; arguments as for `worths`."""
        if not self.full or (whole := self._scores(self.full, place)).shape[1] < 2:
            return {}
        arms = {number: self._scores(draws, place) for number, draws in zip(self.confirmed, self.without, strict=True)}
        return stats.confirm(whole, arms, self.margin, self.alpha * len(arms) / (shared or len(self.spans)))

    def _scores(self, draws: Sequence[Draw], place: int | None) -> NDArray[np.float64]:
        """Draw × example: right answers, or of the examples that hold a class the share of its items that were answered rightly."""
        if place is None:
            return np.array([draw.right for draw in draws], dtype=float)
        rows = np.array([draw.items or draw.right for draw in draws], dtype=float)
        held: dict[int, list[int]] = {}
        for item, (example, label) in enumerate(self.items):
            if label == place:
                held.setdefault(example, []).append(item)
        columns = [rows[:, own].mean(1) for own in held.values()]
        return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))

    def promising(self, most: int) -> list[int]:
        """The sections that the screen would have confirmed: of those worth the margin or with p ≤ 0.05 at most so many, the greatest."""
        found = {number: worth for number, worth in self.worths().items() if abs(worth.value) >= self.margin or worth.p <= ALPHA}
        return sorted(found, key=lambda number: -abs(found[number].value))[:most]

    def worded(self, word: Word) -> list[Section]:
        """The sections whose worth overall comes to a word, the greatest first."""
        found = [section for section in self.sections if section.worth and section.worth.word == word]
        return sorted(found, key=lambda section: -abs(section.worth.value if section.worth else 0))

    @property
    def verdict(self) -> str:
        """What some sections are confirmed to do: "helps", "harms", "helps and harms"; "equivalent" where no section does anything that
        matters, each confirmed; else "undecided"."""
        if words := [word for word in ("helps", "harms") if self.worded(cast(Word, word))]:
            return " and ".join(words)
        return "equivalent" if len(self.worded("equivalent")) == len(self.spans) else "undecided"

    def __str__(self) -> str:
        words = {"helps": "help", "harms": "harm", "equivalent": "are worth nothing that matters", "undecided": "are undecided"}
        told = [f"{len(found)} {said}" for word, said in words.items() if (found := self.worded(cast(Word, word)))]
        confirmed = f"of {len(self.confirmed)} confirmed {', '.join(told)}" if told else "none confirmed"
        lead = "".join(
            f"; most {'is worth' if word == 'helps' else 'costs'} section {best.number}, “{' '.join(best.text.split())[:60]}”, "
            f"{points(best.worth)}"
            for word in ("helps", "harms")
            for best in self.worded(cast(Word, word))[:1]
        )
        return f"{len(self.spans)} sections, {confirmed}{lead}.{self._price()}"

    def _price(self) -> str:
        """What would decide the section of the greatest worth that is undecided."""
        if not (undecided := self.worded("undecided")):
            return ""
        number = undecided[0].number
        further = self.model_copy(update={"look": self.look + 1})
        return f" Of section {number}: {further.effects()[number].outlook}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes it mean less."""
        said = ["What two sections both say is worth nothing in either alone: leave both out, put together by cuts=, to see it."]
        if self.chosen_here:
            said.append("A selection has looked at this split, so its luck is part of every worth: see the test split.")
        if len(self.confirmed) < len(self.spans):
            said.append("A section that was only screened has an estimate and its interval at 95 %, and no verdict.")
        if self.finest > len(self.spans):
            said.append(f"The prompt has {self.finest:,} sections, so larger parts of it were taken; cuts= takes it further apart.")
        return tuple(said)


def _worth(found: stats.Worth | stats.Estimate, word: Word) -> Worth:
    """An estimate with its word; shares differ by one at most, whatever an interval from few examples says."""
    value = found.value if isinstance(found, stats.Worth) else found.difference
    return Worth(value, max(found.low, -1.0), min(found.high, 1.0), found.p, word)


def points(worth: Worth | None) -> str:
    """A worth in points, with its interval."""
    if worth is None:
        return "not measured"
    value, low, high = map(stats.points, (worth.value, worth.low, worth.high))
    return f"{value} points ({low} to {high})"
