"""Changes of a text that need no model: each is a function from a text to a text, and the same every time."""

import re
from itertools import cycle, islice

STRENGTHS = ("hardly", "slightly", "moderately", "strongly", "drastically")
_FILLER = ["This", "was", "read,", "and", "there", "is", "nothing", "to", "be", "said", "of", "it", "here."]
# a sentence ends at . ! ? or 。 with its closing marks before a blank, and at the end of a line; "e.g." and "3." do not end one
_END = re.compile(
    r"(?<=[.!?。！？])(?<!\b[a-zA-Z]\.)(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!^\d\.)(?<!\n\d\.)[\"'”’)\]]?(?:[ \t]+|(?<=[。！？]))|\n+",
    re.MULTILINE,
)


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence of a text begins and ends; a line, as an item of a list, is one too."""
    bounds = [0, *(place for end in _END.finditer(text) for place in (end.start(), end.end())), len(text)]
    spans = zip(bounds[::2], bounds[1::2], strict=True)
    return [(start, end) for start, end in spans if text[start:end].strip()]


def cut(text: str, sentence: int, keep: bool = False) -> str:
    """The text without one of its sentences, or that sentence alone.

    Raises:
        IndexError: it has no such sentence.
    """
    spans = sentences(text)
    start, end = spans[sentence]
    if keep:
        return text[start:end].strip()
    after = spans[sentence + 1][0] if sentence + 1 < len(spans) else len(text)
    return (text[:start] + text[after:]).strip()


def filler(text: str) -> str:
    """As many words as the text has, which say nothing: a placebo."""
    return " ".join(islice(cycle(_FILLER), len(text.split())))


def with_strength(text: str, strength: int, what: str) -> str:
    """A critique with how strongly `what` ("output", "prompt") is to change."""
    return f"{text.rstrip()} Change the {what} {STRENGTHS[strength]}." if text.strip() else text
