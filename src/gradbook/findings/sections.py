"""A prompt taken apart: sections that give it back when joined, cuts that can be moved, and the prompt without some of its sections."""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping

from gradbook.edits.words import sentences
from gradbook.errors import CaseError

Spans = tuple[tuple[int, int], ...]
"""Where each section begins and ends, in characters; the first begins at 0, each other where the one before it ends."""
MOST, MOST_CUTS = 20, 200
"""Sections that a prompt is taken apart into, and into how many a person may cut it."""

_SENTENCE, _LINE, _PARAGRAPH, _HEADING = range(4)  # how strongly a section is set off from what stands before it
_ITEM = re.compile(r"[ \t]*(?:[-*+•‣–]|\(?(?:\d{1,3}|[a-zA-Z])[.)])[ \t]+\S")
_HEAD = re.compile(r"[ \t]*(?:#{1,6}[ \t]+\S[^\n]*|\*\*[^*\n]+\*\*:?|__[^_\n]+__:?|</?[a-zA-Z][^<>\n]*>)\s*")
_FENCE = re.compile(r"[ \t]{0,3}(```|~~~)([^\n]*)")
_ENDED = re.compile(r"[.!?:;。！？…][\"'”’)\]*_]*\s*$")


def sections(text: str, cuts: Iterable[int] | None = None, most: int = MOST) -> Spans:
    """Take a prompt apart at its headings, list items and sentences, or at `cuts`; joined, the sections are the text.

    Where that makes more than `most` sections, at its lines, its paragraphs, or the headings of its parts, whichever are the first to be
    few enough; where they are too few to say anything, neighbours are put together.

    Args:
        text: the prompt.
        cuts: the places where a section begins, besides the first, in characters.
        most: how many sections there may be without `cuts`.

    Raises:
        CaseError: a cut is not inside the text, or leaves a section without a word.
    """
    if cuts is not None:
        return _cut(text, sorted(set(cuts)))
    starts = _starts(text)
    found = finer = list(starts)
    for level in (_LINE, _PARAGRAPH, _HEADING):
        if len(found) <= most:
            break
        finer, found = found, [start for start in found if not start or starts[start] >= level]
    if len(found) > most or (len(found) < len(finer) and len(found) < most / 4):
        found = [finer[len(finer) * n // most] for n in range(most)]
    return tuple(zip(found, [*found[1:], len(text)], strict=True))


def recut(
    text: str, cuts: Iterable[int] | None = None, *, merge: Iterable[tuple[int, int]] = (), split: Mapping[int, str] | None = None
) -> tuple[int, ...]:
    """Move the cuts of a prompt, to be passed on as `cuts=`.

    Args:
        text, cuts: as for `sections`, whose numbers count from 0.
        merge: the first and the last of sections to put together.
        split: by section, the words that a new one is to begin with.

    Raises:
        CaseError: there is no such section, it does not hold these words, or cuts as for `sections`.
    """
    spans = sections(text, cuts)
    starts = {start for start, _ in spans}
    for first, last in merge:
        if not 0 <= first < last < len(spans):
            raise CaseError(f"there are no sections {first} to {last} to put together: they are 0 to {len(spans) - 1}")
        starts -= {start for start, _ in spans[first + 1 : last + 1]}
    for number, words in (split or {}).items():
        if not 0 <= number < len(spans):
            raise CaseError(f"there is no section {number} to split: they are 0 to {len(spans) - 1}")
        at = text.find(words, *spans[number]) if words else -1
        if at < 0:
            raise CaseError(f"section {number} does not hold the words {words[:60]!r}, at which it is to be split")
        starts.add(at)
    return tuple(start for start, _ in _cut(text, sorted(starts - {0}))[1:])


def without(text: str, spans: Spans, gone: Collection[int]) -> str:
    """The text without some of its sections; those that stay are set apart as strongly as they were."""
    said, gap = "", ""
    for number, (start, end) in enumerate(spans):
        body = text[start:end].rstrip()
        after = text[start + len(body) : end]
        if number in gone:
            gap = max(gap, after, key=lambda blank: (blank.count("\n"), len(blank)))
        else:
            said, gap = said + (gap if said else "") + body, after
    return said if gone else text


def _cut(text: str, cuts: list[int]) -> Spans:
    if len(cuts) >= MOST_CUTS or any(not 0 < cut < len(text) for cut in cuts if cut):
        raise CaseError(f"cuts are at most {MOST_CUTS - 1} places inside the prompt, from 1 to {len(text) - 1}, where a section begins")
    starts = [0, *(cut for cut in cuts if cut)]
    spans = tuple(zip(starts, [*starts[1:], len(text)], strict=True))
    if blank := [start for start, end in spans if not text[start:end].strip()]:
        raise CaseError(f"the cut at {blank[0]} leaves a section without a word; put it elsewhere")
    return spans


def _starts(text: str) -> dict[int, int]:
    """Where sections may begin, in order, and how strongly each is set off; the first begins the text."""
    found: dict[int, int] = {}
    for start, end, level, whole in _passages(text):
        at = [0] if whole else [begin for begin, _ in sentences(text[start:end].replace("\n", " "))] or [0]
        found[start] = level
        found |= dict.fromkeys((start + begin for begin in at[1:]), _SENTENCE)
    first = min(found, default=0)
    return {0: found.pop(first, _HEADING)} | found


def _passages(text: str) -> Iterator[tuple[int, int, int, bool]]:
    """Headings, list items, blocks of code, and lines with those that go on with them: start, end, level, whether it stays whole."""
    lines = [match.span() for match in re.finditer(r"[^\n]*\n|[^\n]+", text)]
    bare = {mark: [n for n, (a, b) in enumerate(lines) if text[a:b].strip() == mark] for mark in ("```", "~~~")}
    n, level, item, headed = 0, _PARAGRAPH, False, False
    while n < len(lines):
        start, end = lines[n]
        line, n = text[start:end], n + 1
        if not line.strip():
            level = _PARAGRAPH
            continue
        head, fence = bool(_HEAD.fullmatch(line)), _FENCE.match(line)
        item = bool(_ITEM.match(line)) and not head
        if fence and (closing := bisect_right(bare[fence[1]], n - 1)) < len(bare[fence[1]]):
            n = bare[fence[1]][closing] + 1
        elif not head:
            while n < len(lines) and _goes_on(text[slice(*lines[n - 1])], text[slice(*lines[n])], item):
                n += 1
        end = lines[n - 1][1]
        level = _HEADING if head else min(level, _LINE) if headed else level
        yield start, end, level, bool(head or item or fence)
        level, headed = _LINE, head


def _goes_on(before: str, line: str, item: bool) -> bool:
    """Whether a line belongs to the passage of the line before it."""
    if not line.strip() or _ITEM.match(line) or _HEAD.fullmatch(line) or _FENCE.match(line):
        return False
    return (item and line[0] in " \t") or (line.lstrip()[0].islower() and not _ENDED.search(before))
