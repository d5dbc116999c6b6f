"""The difference of two texts, word by word, as segments, in time proportional to the texts."""

import re
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from itertools import groupby
from typing import Literal

# difflib reads best, since it looks for the longest run first, but takes the cube of the length where words repeat. So long texts are first
# taken apart at the sentences and lines, then at the words, that each has once, and difflib sees what is short between those.
_ENDS = (frozenset(".!?\n"), None)  # the units that a run ends with; None: each unit is a run
_SHORT = 1_000  # units of both together; their pairs of equal units, 20 times as many
_WORK = 100_000  # units and pairs that are looked at in all, and 3 for each unit of the texts; a passage counts for 50


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text that stayed, was taken away or was put in; `compared` is False where that was too long to be compared in time."""

    kind: Literal["same", "removed", "added"]
    text: str
    compared: bool = True


def segments(before: str, after: str) -> list[Segment]:
    """What became of `before`, in reading order: "same" and "removed" joined are `before`, "same" and "added" joined are `after`.

    Words are compared, in long texts sentences and lines before them. A passage that is too long, and shares no words that would take it
    apart, is removed and added as a whole, with `compared` False.
    """
    old, new = (re.findall(r"\w+|\s|[^\w\s]", text) for text in (before, after))
    matches, given_up = _matches(old, new)
    told: list[Segment] = []
    removed, added, compared = "", "", True
    at = at_new = 0
    for match in [*matches, Match(len(old), len(new), 0)]:
        compared = compared and (at, at_new) not in given_up
        removed, added = removed + "".join(old[at : match.a]), added + "".join(new[at_new : match.b])
        at, at_new = match.a + match.size, match.b + match.size
        same = "".join(old[match.a : at])
        if same.isspace() and removed and added:  # a blank between two changes belongs to them
            removed, added = removed + same, added + same
        else:
            told += [Segment("removed", removed, compared), Segment("added", added, compared), Segment("same", same)]
            removed, added, compared = "", "", True
    told += [Segment("removed", removed, compared), Segment("added", added, compared)]
    runs = groupby((segment for segment in told if segment.text), key=lambda segment: (segment.kind, segment.compared))
    return [Segment(kind, "".join(segment.text for segment in run), compared) for (kind, compared), run in runs]


def _matches(old: list[str], new: list[str]) -> tuple[list[Match], set[tuple[int, int]]]:
    """The runs of units that both have, in order, and where passages begin that were too long to be compared."""
    found: list[Match] = []
    given_up: set[tuple[int, int]] = set()
    left = _WORK + 3 * (len(old) + len(new))
    ranges: deque[tuple[int, int, int, int, tuple[frozenset[str] | None, ...]]] = deque([(0, len(old), 0, len(new), _ENDS)])
    while ranges:
        start, end, start_new, end_new, ends = ranges.popleft()
        if start == end or start_new == end_new:
            continue
        left -= 50 + end - start + end_new - start_new
        if left < 0:
            given_up.add((start, start_new))
            continue
        head = _shared(old[start:end], new[start_new:end_new])
        tail = _shared(old[start + head : end][::-1], new[start_new + head : end_new][::-1])
        found += [Match(start, start_new, head), Match(end - tail, end_new - tail, tail)]
        start, end, start_new, end_new = start + head, end - tail, start_new + head, end_new - tail
        here, there = old[start:end], new[start_new:end_new]
        pairs, longest = _longest(here, there)
        left -= pairs
        if not (longest or ends):
            given_up.add((start, start_new))
            continue
        if longest and not longest.size:
            continue
        if longest:
            runs = [longest]
        else:
            runs, ends = _runs(here, there, ends[0]), ends[1:]
        at, at_new = start, start_new
        for run in [*runs, Match(len(here), len(there), 0)]:
            found.append(Match(start + run.a, start_new + run.b, run.size))
            ranges.append((at, start + run.a, at_new, start_new + run.b, ends))
            at, at_new = start + run.a + run.size, start_new + run.b + run.size
    return sorted(match for match in found if match.size), given_up


def _shared(old: list[str], new: list[str]) -> int:
    """How many units are the same from the beginning on."""
    return next((n for n, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new)))


def _longest(old: list[str], new: list[str]) -> tuple[int, Match | None]:
    """How many pairs of units were looked at, and the longest run that both have; None where they are too long to look for one."""
    if len(old) + len(new) > _SHORT:
        return 0, None
    there = Counter(new)
    pairs = sum(there[unit] for unit in old if not unit.isspace())
    if pairs > 20 * _SHORT:
        return 0, None
    # no run begins at a blank, but it may reach over one
    return pairs, SequenceMatcher(str.isspace, old, new, autojunk=False).find_longest_match()


def _runs(old: list[str], new: list[str], ends: frozenset[str] | None) -> list[Match]:
    """Runs that each has once, as many as stand in the same order in both, and what follows them in both."""
    once, once_new = _once(old, ends), _once(new, ends)
    pairs = [(at, once_new[run]) for run, at in once.items() if run in once_new]
    lowest: list[int] = []  # of the increasing sequences of each length, the end of the one that ends lowest, and which pair that is
    last: list[int] = []
    before: list[int] = []
    for n, (_, at_new) in enumerate(pairs):
        length = bisect_left(lowest, at_new)
        lowest[length : length + 1], last[length : length + 1] = [at_new], [n]
        before.append(last[length - 1] if length else -1)
    order, n = [], last[-1] if last else -1
    while n >= 0:
        order.append(pairs[n])
        n = before[n]
    runs: list[Match] = []
    at = at_new = 0
    for start, start_new in reversed(order):
        if start >= at and start_new >= at_new:
            at, at_new = start, start_new
            while at < len(old) and at_new < len(new) and old[at] == new[at_new]:
                at, at_new = at + 1, at_new + 1
            runs.append(Match(start, start_new, at - start))
    return runs


def _once(units: list[str], ends: frozenset[str] | None) -> dict[str, int]:
    """The runs that are there once, and where they begin."""
    starts: Sequence[int] = range(len(units))
    runs = units
    if ends:
        starts = [0, *(at for at, unit in enumerate(units, 1) if unit in ends and at < len(units))]
        runs = ["".join(units[start:end]) for start, end in zip(starts, [*starts[1:], len(units)], strict=True)]
    counts = Counter(runs)
    return {run: start for run, start in zip(runs, starts, strict=True) if counts[run] == 1}
