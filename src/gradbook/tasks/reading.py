"""Finding an answer in free text: where a reply states it, and which of a few labels it names. Nothing here raises.

Everything takes time in proportion to the text: scans go forward once, and patterns have one way to match or a bounded length.
"""

import re
from collections import deque
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import islice, takewhile

from gradbook.replies import spoken

# The first sign is a class with both cases, and what is before it is asked only then: such signs alone are found fast.
_CLAIM = re.compile(
    r"[aArRоО答回정\\](?i:(?:(?<=\b[arо])(?:nswers?|ntwort|éponse|espuesta|esposta|isposta|твет)\b|(?<=答)[案え]|(?<=回)答|(?<=정)답)"
    r"[*_`\"'\s]*+(?:(?:is|are|was|would be|should be|must be)\b|[:：=＝>]|[是为為は])|(?<=\\)boxed\s*+\{)"
)
_WRAPPER = re.compile(r"\\(?:text|textbf|texttt|mathrm|mathbf)\s*+\{([^{}]*+)\}")
_LEAD = re.compile(r"^(?:(?![-+]\d)[\s*_`\"'“”‘’«»()\[\]{}.,;:：!?$#~–—•-])++")
_TAIL = " \t\r\n\f\v\u00a0*_`\"'“”‘’«»()[]{}.,;:!?$~–—。！？"
_AFTER = re.compile(r"[\s:：*_`]*+")
_NEGATION = re.compile(r"(?:\bnot|n['’]t|\bneither|\bnor|\bnever|\brather than)\s+(?:be\s+)?[\"'(“‘]*$", re.IGNORECASE)
_REASON = re.compile(r"\s*+(?:[.!?;。](?:\s|$)|[,:(–—-]*+\s*+(?:because|since|given)\b)", re.IGNORECASE)
_TOKEN = re.compile(r"\w+|[^\w\s]")
LONGEST = 4_000  # characters in which an answer is looked for
MOST = 500  # statements and lines at the end of a reply that are looked at
_DECORATION = " \t\r\n\"'([{)]}“”‘’$"


def plain(text: str) -> str:
    """`text` without Markdown stars and backticks and without LaTeX text wrappers, stripped."""
    return _WRAPPER.sub(r"\1", text).replace("*", "").replace("`", "").strip()


def _untagged(text: str) -> str:
    """`text` without one pair of angle brackets around it: "<K2>", but not "<30", where the sign is part of the meaning."""
    text = text.strip()
    return text[1:-1].strip() if text[:1] == "<" and text[-1:] == ">" else text


def _bare(text: str) -> str:
    text = _untagged(text.strip(_TAIL[:5] + "*_`"))
    return " ".join(_LEAD.sub("", text).rstrip(_TAIL).split())


def key(text: str) -> str:
    """`text` for comparing: case folded, white space collapsed, punctuation around it removed; signs and < > = are kept."""
    return _bare(text).casefold()


def forms(text: str) -> tuple[str, ...]:
    """`text` from exact to ever more cleaned: two texts are the same where the first form that tells candidates apart agrees."""
    exact = text.strip()
    marked = plain(exact)
    quoted = marked.strip(" \t\"'“”‘’«»$")
    return exact, marked, quoted, quoted.rstrip(".。"), _bare(marked), key(marked)


def finished(output: str, cut: bool) -> str:
    """What a reply says without its thoughts and, where it was cut off, without its last line, which is unfinished."""
    heard = spoken(output)
    return heard.rpartition("\n")[0] if cut else heard


def lines(text: str) -> list[str]:
    """The lines of `text` that are not blank, stripped."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def claims(output: str) -> Iterator[str]:
    r"""What follows each explicit statement of an answer ("Answer: …", "the answer is …", "\boxed{…}"), the last one first.

    A claim ends where the next one begins, or at a closing tag; an empty one is left out. Markdown in front of it is kept.
    """
    end = len(output)
    for match, closed in islice(_stated(output), MOST):
        claim = output[match.end() : closed] if match[0].endswith("{") else output[match.end() : end].partition("</")[0]
        end = match.start()
        if claim.strip().strip("*_`:：").strip():
            yield claim


def _stated(output: str) -> Iterator[tuple[re.Match[str], int]]:
    """Each match of a claim, the last one first, and where its bracket is closed; ever longer stretches are read, from the end."""
    stretch, stop = LONGEST, len(output)
    while stop:
        start = max(0, len(output) - stretch)
        found = deque(takewhile(lambda match: match.start() < stop, _CLAIM.finditer(output, start)), maxlen=MOST)  # noqa: B023
        closing = _closing(output, start) if any(match[0].endswith("{") for match in found) else {}
        yield from ((match, closing.get(match.end() - 1, match.end())) for match in reversed(found))
        stretch, stop = stretch * 8, start


def _closing(text: str, start: int) -> dict[int, int]:
    """Where each curly bracket that is opened from `start` on is closed."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for match in re.compile(r"[{}]").finditer(text, start):
        if match[0] == "{":
            opened.append(match.start())
        elif opened:
            pairs[opened.pop()] = match.start()
    return pairs


def stated(claim: str) -> str:
    """The first line of a claim, without the Markdown that closes around "Answer:"."""
    return next(iter(lines(claim[_AFTER.match(claim).end() :])), claim.strip())  # type: ignore[union-attr]


class LabelReader:
    """Finds labels in text. Labels that compare equal once cleaned are told apart by their exact text, or not at all."""

    def __init__(self, labels: Collection[str]):
        self.labels = frozenset(labels)
        self._levels: list[dict[str, str | None]] = [{} for _ in forms("")]
        for label in labels:
            for level, form in zip(self._levels, forms(label), strict=True):
                level[form] = None if form in level else label
        self._words: dict[str, set[tuple[str, ...]]] = {}
        for words in {tuple(_TOKEN.findall(k)) for k in self._levels[-1] if k}:
            self._words.setdefault(words[0], set()).add(words)
        self._sizes = {first: sorted({len(w) for w in group}, reverse=True) for first, group in self._words.items()}
        self._longest = max((len(label) for label in labels), default=0)
        self.whole = lru_cache(maxsize=4096)(self._whole)
        letters = "".join(re.escape(k) for k in self._levels[-1] if len(k) == 1)
        self._letter = re.compile(_letter_pattern(letters), re.IGNORECASE | re.MULTILINE) if letters else None

    def __reduce__(self) -> tuple[type["LabelReader"], tuple[frozenset[str]]]:
        return LabelReader, (self.labels,)  # what is cached cannot be pickled

    def exact(self, output: str) -> str | None:
        """The label that the reply is, or that its last line or itself gives after "Answer:", letter by letter."""
        output = output.strip()
        for text in (output, output.rpartition("\n")[2]):
            head, _, rest = text.partition(":")
            if len(head) < 40 and head.strip("* ").casefold() in ("answer", "final answer") and rest.strip() in self.labels:
                return rest.strip()
        return output if output in self.labels else None

    def _whole(self, text: str) -> str | None:
        """The label that `text` is, apart from decoration; None where it is more or something else."""
        text = text.strip()
        if text in self.labels or len(text) > 4 * self._longest + 400:
            return text if text in self.labels else None
        return next((label for level, form in zip(self._levels, forms(text), strict=True) if form and (label := level.get(form))), None)

    def mentions(self, text: str) -> list[tuple[int, str]]:
        """Position and label of each label named as a whole word; a one-letter label only where it is marked as one.

        None are looked for in a text of more than 4,000 characters: that is no answer, whatever it names.
        """
        if len(text) > LONGEST:
            return []
        tokens = [(match.start(), match.end(), match[0].casefold()) for match in _TOKEN.finditer(text)]
        found: list[tuple[int, str]] = []
        i = 0
        while i < len(tokens):
            start, end, size = self._at(text, tokens, i) if tokens[i][2] in self._words else (0, 0, 0)
            if size and end - start > 1 and (label := self.whole(text[start:end])):
                found.append((start, label))
            i += size or 1
        for match in self._letter.finditer(text) if self._letter else ():
            if label := self.whole(match[match.lastindex or 0]):
                found.append((match.start(), label))
        return sorted(found)

    def _at(self, text: str, tokens: list[tuple[int, int, str]], i: int) -> tuple[int, int, int]:
        """Start, end and number of tokens of the longest label that begins at token `i`; (0, 0, 0) where none does."""
        start, _, first = tokens[i]
        before = text[start - 1 : start] if start else ""
        inside = before.isalnum() or (before and before in "-_") or (first[0].isdigit() and before and before in "<>≤≥=+.~")
        if first in self._words and not inside:
            for size in self._sizes[first]:
                if tuple(word for _, _, word in tokens[i : i + size]) in self._words[first]:
                    end = tokens[i + size - 1][1]
                    if not re.match(r"\w|[-'’]\w", text[end : end + 2]):
                        return start, end, size
        return 0, 0, 0

    def resolve(self, text: str) -> str | None:
        """The one label that `text` states; None where it names none, several, or denies one."""
        if label := self.whole(text) or self._leading(text):
            return label
        found = self.mentions(text)
        if len({label for _, label in found}) != 1:
            return None
        denied = any(_NEGATION.search(text, max(0, start - 30), start) for start, _ in found)
        return None if denied else found[0][1]

    def _leading(self, text: str) -> str | None:
        """The label that `text` begins with and closes a sentence over, or gives a reason for."""
        text = text.strip().lstrip(_DECORATION)
        head = text[: self._longest * 2 + 40]
        tokens = [(match.start(), match.end(), match[0].casefold()) for match in _TOKEN.finditer(head)]
        _, end, size = self._at(text, tokens, 0) if tokens and tokens[0][0] == 0 else (0, 0, 0)
        return self.whole(text[:end]) if size and _REASON.match(text[end:].lstrip(_DECORATION)) else None

    def conclusion(self, text: str) -> str | None:
        """The label that a reply without an explicit statement ends with, or gives as a line of its own."""
        rows = lines(text)[-MOST:]
        known = {row: self.whole(row) for row in set(rows)}
        alone = {label for label in known.values() if label}
        if len(alone) == 1:
            return alone.pop()
        if not rows or (len(rows) > 1 and known[rows[-1]] and known[rows[-2]]):
            return None
        named = self.mentions(rows[-1])
        ends = bool(named) and key(rows[-1]).endswith(key(plain(named[-1][1])))
        return known[rows[-1]] or (self.resolve(rows[-1]) if ends else None)


def _letter_pattern(letters: str) -> str:
    """ "a" and "I" are words as well, so one character counts only in brackets, after "option", or alone between commas."""
    one = f"([{letters}])"
    return "|".join(
        (
            rf"[(\[]{one}[)\]]|(?<!\w){one}\)|\b(?:option|choice|answer)\s++\(?{one}(?!\w)",
            rf"(?:^[^\w\n]{{0,20}}|,\s{{0,5}}){one}(?=[^\S\n]*+(?:[,.:;\]]|$))",
        )
    )
