"""Answer formats: how an answer is read from a model's reply, compared with a target, and counted by class."""

import json
import re
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Sequence
from decimal import Context, Decimal
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, field_validator

from gradbook.errors import TaskError
from gradbook.parse import whole
from gradbook.records import Record
from gradbook.tasks import number
from gradbook.tasks.number import DIGIT, value
from gradbook.tasks.reading import LONGEST, MOST, LabelReader, claims, key, lines, plain
from gradbook.tasks.reading import stated as claimed

_ENDS = "[.;!?。．；！？]"
_SENTENCE = re.compile(rf"{_ENDS}(?<!{_ENDS}{{2}}){_ENDS}*+(?:\s|$)")
_REASON = re.compile(r"\b(?:because|since|given|as)\b", re.IGNORECASE)
_EQUALS = re.compile(r"(?<![<>!=])=(?![=>])")
_IN_WORDS = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w{3,5}teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred)\b",
    re.IGNORECASE,
)

_NAMED, _FEW = 200, 10  # of more labels only some are named


class _Format(Record):
    """What every answer format offers; it is plain data, so a case can keep it."""

    labels: tuple[str, ...] = ()

    @field_validator("labels")
    @classmethod
    def _usable(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        labels = tuple(map(whole, labels))
        if any(not label or label != label.strip() for label in labels):
            raise TaskError("A label is empty or has spaces around it; give each label as the plain text of an answer.")
        if repeated := [label for label, count in Counter(labels).items() if count > 1]:
            raise TaskError(f"The label {repeated[0]!r} is given twice; give each label once.")
        return labels

    @cached_property
    def find(self) -> LabelReader:
        """What finds the labels in a text."""
        return LabelReader(self.labels)

    @property
    def named(self) -> str:
        """The labels, or of very many the number and the first."""
        many = len(self.labels) > _NAMED
        return (f"the {len(self.labels):,} labels " if many else "") + ", ".join(self.labels[:_FEW] if many else self.labels) + " …" * many

    @abstractmethod
    def parse(self, output: str, stated: bool = False) -> str | None:
        """The answer that `output` gives, None where it gives none or more than one; with `stated`, only an explicit one. Never raises."""

    def correct(self, answer: str | None, target: str) -> bool:
        """Whether `answer` means the same as `target`; None is wrong."""
        return self.classes(answer) == self.classes(target) != ()

    @abstractmethod
    def accepts(self, target: str) -> bool:
        """Whether `target` is an answer of this format."""

    @abstractmethod
    def expected(self) -> str:
        """What a target should be, to end a sentence with."""

    def instruction(self) -> str:
        """A sentence for the model on how to state its answer."""
        return f'End your reply with a line "Answer: X", where X is {self.expected()}.'

    def classes(self, text: str | None) -> tuple[str, ...]:
        """The labels that an answer or a target consists of; () for free-form answers and for None."""
        return ()


class LabelAnswer(_Format):
    r"""One of `labels`.

    Read from the last "Answer: X", "the answer is X" or "\boxed{X}" that names a label; otherwise from a line that is a
    label, or ends the reply with one; otherwise from the reply as a whole where it names exactly one label. Case, Markdown,
    quotes, brackets and punctuation do not count. Two labels, or a label with "not" before it, are no answer.
    """

    kind: Literal["label"] = "label"

    def parse(self, output: str, stated: bool = False) -> str | None:
        find = self.find
        if exact := find.exact(output):
            return exact
        for claim in claims(output):
            first = claimed(claim)
            if label := find.whole(claim) or find.whole(first) or find.resolve(plain(first)):
                return label
            if find.mentions(plain(first)):
                return None
        text = plain(output)
        return None if stated else find.conclusion(text) or find.resolve(text)

    def accepts(self, target: str) -> bool:
        return target in self.find.labels

    def expected(self) -> str:
        return f"one of {self.named}"

    def classes(self, text: str | None) -> tuple[str, ...]:
        if text is None or text in self.find.labels:
            return (text,) if text else ()
        label = self.find.whole(text)
        return (label,) if label else ()


class SequenceAnswer(_Format):
    """A list of `labels` with commas between them, as in BBEH's Web of Lies: "yes, no, unknown".

    With `length`, the list is any text at the place of the answer that names just so many labels ("1. yes 2. no"); without,
    the labels must follow one another. Only a list of the right length is an answer.
    """

    kind: Literal["sequence"] = "sequence"
    length: int | None = Field(default=None, ge=1)

    def parse(self, output: str, stated: bool = False) -> str | None:
        if self.accepts(output.strip()):
            return ", ".join(self.classes(output))
        find, text = self.find, plain(output)
        for claim in claims(text):
            if find.mentions(claim):
                return self._first(lines(claim)[0], claim.strip().split("\n\n")[0], claim)
        rows = [] if stated else lines(text)[-MOST:]
        return self._first(rows[-1], text.rsplit("\n\n", 1)[-1], text, *reversed(rows)) if rows else None

    def _first(self, *places: str) -> str | None:
        """The first list of the right length among texts that may hold it."""
        return next((", ".join(items) for place in dict.fromkeys(places) if (items := self._list(place))), None)

    def _list(self, text: str) -> tuple[str, ...]:
        if self.length is None:
            if len(text) > LONGEST:
                return ()
            items: list[str] = []
            for item in filter(str.strip, re.split(r"[,;，、\n]|\band\b", text)):
                if label := self.find.whole(item):
                    items.append(label)
                elif key(item):
                    return ()
            return tuple(items)
        found = tuple(label for _, label in self.find.mentions(text))
        return found if len(found) == self.length else ()

    def accepts(self, target: str) -> bool:
        items = [item.strip() for item in target.split(",")]
        return all(item in self.find.labels for item in items) and self.length in (None, len(items))

    def expected(self) -> str:
        return f"a list of {self.length or 'some'} items with commas between, each one of {self.named}"

    def classes(self, text: str | None) -> tuple[str, ...]:
        items = [item.strip() for item in text.split(",")] if text else []
        return tuple(items) if all(item in self.find.labels for item in items) else ()


class NumberAnswer(_Format):
    r"""A number, compared by value: 42 and 42.0 are the same, up to `tolerance` (absolute, in the number's own unit).

    Read from the last "Answer: N", "the answer is N" or "\boxed{N}"; otherwise from the last line with a number. After "=" where
    there is one. Signs, currencies, thousands separators, fractions, powers of ten and "1.5 million" are understood, and units
    and percent signs left out. Several numbers, or one that could mean another ("1,5", "5k", "at least 5"), are no answer.
    """

    kind: Literal["number"] = "number"
    tolerance: float = Field(default=0, ge=0)

    def parse(self, output: str, stated: bool = False) -> str | None:
        for claim in claims(output):
            row = claimed(claim)
            if DIGIT.search(row) or _IN_WORDS.search(row[:LONGEST]):
                return _written(_result(next(iter(_sentences(row)), "")))
        rows = [] if stated else lines(output)
        last = next((row for row in reversed(rows[-MOST:]) if DIGIT.search(row)), "")
        first, final = _sentences(last), _sentences(last, end=True)
        if not final or re.match(r"[-+]\s", number.clean(last[:9])):  # a bullet or a sign
            return None
        found, stated_first = _result(final[-1]), {value(next(filter(key, rows))[:200]), *map(value, first[:1])} - {None}
        return _written(found) if stated_first <= {found} else None

    def correct(self, answer: str | None, target: str) -> bool:
        given, true = value(answer), value(target)
        if given is None or true is None:
            return False
        return given == true or abs(given - true) <= Decimal(str(self.tolerance))

    def accepts(self, target: str) -> bool:
        return value(target) is not None

    def expected(self) -> str:
        return "a number"

    def instruction(self) -> str:
        return 'End your reply with a line "Answer: N", where N is a number in digits.'


class TextAnswer(_Format):
    """Any text, compared word by word: case, white space and punctuation around it do not count.

    Read from the last "Answer: …" and the like, otherwise the last line of the reply. With `whole`, for targets of several lines or
    JSON: all that follows a line "Answer:", else the reply, without the fence around it or what is said around a fence; JSON is compared
    by value, other texts line by line.
    """

    kind: Literal["text"] = "text"
    whole: bool = False

    def parse(self, output: str, stated: bool = False) -> str | None:
        if self.whole:
            return self._block(output, stated)
        for claim in claims(output):
            if key(row := claimed(claim)):
                return plain(row) or row
        rows = [] if stated else lines(output)
        row = next((row for row in reversed(rows) if key(row)), rows[-1] if rows else "")
        return plain(row) or row or None

    def _block(self, output: str, stated: bool) -> str | None:
        """The whole answer of a reply: a JSON document, what follows "Answer:", or what stands in the last fence."""
        if _document(output) is None and (found := deque(_HEADING.finditer(output), maxlen=1)):
            output = output[found[0].end() :]
        elif stated:
            return None
        inside: list[str] = []
        fence = ""
        rows = output.strip().split("\n")
        for row in rows:
            mark = row.strip()[:3]
            if fence and row.strip() == fence:
                fence = ""
            elif not fence and mark in ("```", "~~~"):
                fence, inside = mark, []
            elif fence:
                inside.append(row)
        return "\n".join(inside or rows).strip() or None

    def correct(self, answer: str | None, target: str) -> bool:
        if answer is None:
            return False
        if not self.whole:
            return _folded(answer) in (_folded(target), _folded(self.parse(target) or target))
        document = _document(target)
        if document is not None:
            return _document(answer) == document
        return any(_rows(answer) == _rows(text) for text in (target, self._block(target, False) or target))

    def accepts(self, target: str) -> bool:
        return bool(target.strip()) and (self.whole or len(lines(target)) < 2)

    def expected(self) -> str:
        return "a text" if self.whole else "a text of one line; TextAnswer(whole=True) compares several"

    def instruction(self) -> str:
        if self.whole:
            return 'End your reply with a line "Answer: " and, below it, the answer alone.'
        return 'End your reply with a line "Answer: X", where X is the answer alone.'


_HEADING = re.compile(r"^[^\w\n]{0,20}(?:final )?answer[*_`]{0,3}\s?[:：][*_`]{0,3}", re.IGNORECASE | re.MULTILINE)


def _document(text: str) -> str | None:
    """The value of a JSON object or list, written in one way; None where the text is none."""
    if text.strip()[:1] not in ("{", "["):
        return None
    try:
        data = json.loads(text, parse_int=Decimal, parse_float=Decimal)
        return json.dumps(data, sort_keys=True, default=lambda given: ["number", str(given.normalize(Context(prec=10_000)))])
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _rows(text: str) -> list[str]:
    return [row.rstrip() for row in text.strip().splitlines()]


class BbehAnswer(TextAnswer):
    """A text compared as BBEH's published evaluator does: case, quotes, blanks after commas, a bracket around it and a dot or question
    mark at its end do not count, "(a)" is "a", and numbers are compared by value. Read as TextAnswer reads, brackets and all.
    """

    kind: Literal["bbeh"] = "bbeh"  # type: ignore[assignment]

    def parse(self, output: str, stated: bool = False) -> str | None:
        for claim in claims(output):
            return plain(claimed(claim)) or None
        rows = [] if stated else lines(output)
        return (plain(rows[-1]) or None) if rows else None

    def correct(self, answer: str | None, target: str) -> bool:
        if answer is None:
            return False
        given, true = _evaluated(answer), _evaluated(target)
        return given == true or (number.value(given) is not None and number.value(given) == number.value(true))


def _evaluated(text: str) -> str:
    """A text as BBEH's evaluator compares it."""
    text = re.sub(r"[*'\"`‘’“”]", "", plain(text).casefold()).strip().removeprefix("$").removesuffix("$").rstrip(".?。").strip()
    text = ",".join(part.strip() for part in text.split(","))
    if (text[:1], text[-1:]) == ("[", "]") or ((text[:1], text[-1:]) == ("(", ")") and len(text) == 3):
        return text[1:-1].strip()
    return text


class NoAnswer(_Format):
    """Nothing: there are no labels, so that no answer is read and nothing can be scored."""

    kind: Literal["none"] = "none"

    def parse(self, output: str, stated: bool = False) -> str | None:
        return None

    def accepts(self, target: str) -> bool:
        return not target

    def expected(self) -> str:
        return "empty, since the task has no labels"


AnswerFormat = Annotated[LabelAnswer | SequenceAnswer | NumberAnswer | TextAnswer | BbehAnswer | NoAnswer, Field(discriminator="kind")]


def detect(targets: Sequence[str], labels: Sequence[str] | None = None) -> AnswerFormat:
    """The answer format that fits all `targets`.

    With `labels`: one of them, or a list of them. Without: numbers if all are; lists over at most 12 items; at most 12 labels,
    each met at least twice; else text.

    Raises TaskError where a target does not fit the labels that are given.
    """
    if labels is not None:
        return LabelAnswer(labels=tuple(labels)) if set(targets) <= set(labels) else _sequence(targets, tuple(labels))
    if all(value(target) is not None for target in targets):
        return NumberAnswer()
    if all("," in target for target in targets):
        items = Counter(item.strip() for target in targets for item in target.split(","))
        if _closed(items):
            return _sequence(targets, tuple(sorted(items)))
    counts = Counter(targets)
    return LabelAnswer(labels=tuple(sorted(counts))) if _closed(counts) else text_for(targets)


def text_for(targets: Sequence[str]) -> TextAnswer:
    """The format for free text: compared whole where a target has several lines or is JSON."""
    return TextAnswer(whole=any(len(lines(target)) > 1 or _document(target) is not None for target in targets))


def _closed(counts: Counter[str]) -> bool:
    return len(counts) <= 12 and min(counts.values()) > 1 and "" not in counts


def _sequence(targets: Sequence[str], labels: tuple[str, ...]) -> AnswerFormat:
    lengths = {target.count(",") + 1 for target in targets}
    answer = SequenceAnswer(labels=labels, length=lengths.pop() if len(lengths) == 1 else None)
    return answer if all(answer.accepts(target) for target in targets) else LabelAnswer(labels=labels)


def _sentences(line: str, end: bool = False) -> list[str]:
    """The sentences with a number at the beginning or the end of a line, cleaned; none that is longer than an answer."""
    found = _SENTENCE.split(number.clean(line[-LONGEST:] if end else line[:LONGEST]))
    if len(line) > LONGEST:
        del found[0 if end else -1]
    return [sentence for sentence in found if DIGIT.search(sentence)]


def _result(sentence: str) -> Decimal | None:
    """The number that a sentence comes to: after "=" and without what is in brackets or gives reasons."""
    head = _REASON.split(sentence, maxsplit=1)[0]
    head = head if DIGIT.search(head) else sentence
    bare = re.sub(r"(?<=\s)\([^()]*+\)", "", head)
    head = bare if DIGIT.search(bare) else head
    if sum(bool(_EQUALS.search(part)) for part in re.split(r",\s|\band\b", head)) > 1:
        return None
    return number.one(_EQUALS.split(head)[-1])


def _written(found: Decimal | None) -> str | None:
    """A number as text that `value` reads back; with digits throughout unless there would be very many."""
    if found is None:
        return None
    return format(found, "f") if abs(int(found.as_tuple().exponent)) < 60 else str(found)


def _folded(text: str) -> str:
    return key(text) or text.strip()
