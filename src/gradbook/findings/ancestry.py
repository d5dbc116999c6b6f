"""Whose words a section of a prompt carries: the step that they came in with, and the critique, example or person that it has them from.

Words are followed by shared pairs of neighbours, which hold wherever a rewrite has moved a sentence to; a comparison from top to bottom, as
`diff.segments` makes it, takes what was moved for new.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradbook.diff import segments
from gradbook.findings.sections import Spans
from gradbook.records import Record, Step

if TYPE_CHECKING:
    from gradbook.recording import Recording

Source = Literal["seed", "prompt_critique", "output_critique", "example", "hand", "rewrite"]
"""Whom words are from: the seed prompt, a critique, an example as an update without critiques reads it, a person's edit of the prompt, or,
where no such text has them, the rewrite itself."""
SHARE, OVERLAP, NEAR, MOST = 0.25, 0.3, 0.8, 3
"""An origin has a quarter of a section's words, a source three tenths of those of the origin and four fifths of what the best one has; at
most three sources are told."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # a sign where words are not set apart


class Origin(Record):
    """Where words of a section are from: `share` of its words, the rare ones counting more, came in with `step`.

    `overlap` is what share of these the source has; `example` and `index` say which critique it is, `of` the step it is of (an earlier one
    under momentum), and `edited` whether it was edited.
    """

    step: int
    share: float
    source: Source
    of: int
    example: str | None = None
    index: int = 0
    overlap: float = 1.0
    edited: bool = False


class _Text(NamedTuple):
    """A text that a prompt was written from: its words, and what an `Origin` says of it."""

    words: frozenset[str]
    told: dict[str, Any]


def ancestry(case: "Recording", step: Step | int, spans: Spans) -> tuple[tuple[Origin, ...], ...]:
    """The origins of each section of the prompt that a step ends with, the one with most of its words first; asks no model.

    A word came in with the first step since which every prompt on the line has it beside one of its neighbours.
    """
    line = _line(case, case[step])
    text = line[-1][1]
    seen, own = Counter(_words(text)), _pairs(text)
    there = {prompt: own & _pairs(prompt) for _, prompt in line}
    known: dict[int, list[_Text]] = {}

    def of(section: list[str]) -> Iterator[Origin]:
        rare = {word: 1 / max(seen[word], 1) for word in section}
        total = sum(rare[word] for word in section)
        came: dict[int, list[str]] = {}
        for word, beside in zip(section, _beside(section), strict=True):
            since = takewhile(lambda at: beside & there[line[at][1]], reversed(range(len(line))))  # noqa: B023  used up at once
            came.setdefault(min(since, default=len(line) - 1), []).append(word)
        shares = {at: sum(rare[word] for word in words) / total for at, words in came.items()}
        for at in sorted(shares, key=lambda at: -shares[at]):
            if shares[at] < min(SHARE, max(shares.values())):
                continue
            new, before = set(came[at]), set(_words(line[at - 1][1])) if at else set()
            if at not in known:
                known[at] = list(_sources(case, line[at][0], [one for one, _ in line[1:at]]))
            yield from _from(line[at][0].id if at else 0, shares[at], new, before, known[at], seed=not at)

    return tuple(tuple(of(_words(text[start:end]))) for start, end in spans)


def _line(case: "Recording", step: Step) -> list[tuple[Step, str]]:
    """The steps of one variable up to a step, with the prompts that they end with, and before them the prompt that all began with."""
    found = [step]
    while found[-1].parent is not None:
        found.append(case[found[-1].parent])
    own = [one for one in reversed(found) if one.variable == step.variable and one.parent is not None]
    first = own[0] if own else step
    return [(first, first.prompt), *((one, one.chosen_prompt) for one in own)]


def _from(step: int, share: float, new: set[str], before: set[str], texts: list[_Text], seed: bool) -> Iterator[Origin]:
    """The sources of words that came in with a step, nearest first; a word of many of the texts, or of the prompt before, counts less."""
    if seed:
        yield Origin(step=0, share=share, source="seed", of=0)
        return
    weight = {word: 1 / (1 + (word in before) + sum(word in text.words for text in texts)) for word in new}
    total = sum(weight.values())
    overlaps = [(sum(weight[word] for word in new & text.words) / total, text) for text in texts]
    best = max((overlap for overlap, _ in overlaps), default=0.0)
    told = sorted((one for one in overlaps if one[0] >= max(OVERLAP, NEAR * best)), key=lambda one: -one[0])[:MOST]
    for overlap, text in told:
        yield Origin(step=step, share=share, overlap=overlap, **text.told)
    if not told:
        yield Origin(step=step, share=share, source="rewrite", of=step, overlap=0.0)


def _sources(case: "Recording", step: Step, before: list[Step]) -> Iterator[_Text]:
    """What the prompt that a step ends with was written from: critiques, with momentum those of steps before; examples; a person."""
    method, chosen = case.method_of(step), step.select.chosen if step.select else -1
    changes = case.changes(step)
    changed = {(c.edit.field, c.edit.example, c.edit.index) for c in changes if c.edit.example is not None and not c.superseded}
    written = {candidate.index: candidate for candidate in step.rewrite or ()}
    one = written.get(chosen)
    while one is not None and one.paraphrase_of is not None:
        one = written.get(one.paraphrase_of)
    alone = None if one is None or one.example is None else (one.example, one.critique)

    def text(source: Source, words: str, of: Step = step, **more: Any) -> _Text:
        return _Text(frozenset(_words(words)), {"source": source, "of": of.id, **more})

    stands = step.chosen_prompt
    for edit in (change.edit for change in reversed(changes)):
        if edit.kind == "replace" and edit.field == "candidate" and edit.text == stands:
            stands = edit.before or ""
            put_in = (part.text for part in segments(stands, edit.text) if part.kind == "added")
            yield text("hand", " ".join(put_in), edited=True)
    fields: tuple[Source, ...] = ("prompt_critique", "output_critique")
    for field in fields:
        for critique in getattr(step, field) or ():
            place = (critique.example, critique.index)
            if alone in (None, place):
                yield text(field, critique.text, example=place[0], index=place[1], edited=(field, *place) in changed)
    for past in before[-method.momentum :] if method.momentum and method.engine == "native" else ():
        for critique in past.prompt_critique or ():
            yield text("prompt_critique", critique.text, past, example=critique.example, index=critique.index)
    for example in step.batch if method.update == "one-step" else ():
        told = [case.subject(step).example(example).input, *(p.output for p in step.predict or () if p.example == example)]
        told += [evaluation.text for evaluation in step.evaluate or () if evaluation.example == example]
        yield text("example", " ".join(told), example=example, edited=any(name == example for _, name, _ in changed))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _pairs(text: str) -> frozenset[tuple[str, ...]]:
    """The pairs of neighbours in a text, and its single words, which stand for a section of one word."""
    words = _words(text)
    return frozenset([*pairwise(words), *((word,) for word in words)])


def _beside(words: list[str]) -> Iterable[frozenset[tuple[str, ...]]]:
    """The pairs that each word of a section is part of."""
    if len(words) == 1:
        return [frozenset([(words[0],)])]
    pairs = list(pairwise(words))
    return [frozenset(pairs[max(at - 1, 0) : at + 1]) for at in range(len(words))]
