"""Small pieces of HTML that stay what they are inside a Markdown cell, in Jupyter, on code hosts and with all CSS stripped.

Each piece is one line, since a blank line would end an HTML block and hand the rest to the Markdown parser.
"""

import re
from collections.abc import Sequence
from html import unescape
from itertools import takewhile

from gradbook.diff import words_html
from gradbook.markdown import note_html, note_text

LONG = 1200
"""Texts of more characters are folded."""

# Entities never act as Markdown. MathJax reads the page after they are decoded, but does not look across a tag, so what
# begins mathematics gets a tag of its own.
_MARKS = str.maketrans(
    {sign: f"&#{ord(sign)};" for sign in "<>&\"'*_`[]{}|#~!^@"}
    | {sign: f"<span>&#{ord(sign)};</span>" for sign in "$\\"}
    | {chr(code): "\ufffd" for code in (*range(32), 127)}
    | {"\n": "<br>", "\r": "", "\t": "\u2003"}
)


def text(data: object) -> str:
    """What a model or a person wrote, as it stands: neither HTML nor Markdown nor mathematics."""
    return str(data).replace("  ", "\u00a0 ").translate(_MARKS).replace("://", "&#58;//")


def line(data: object, limit: int = 160) -> str:
    """The same in one line, cut after `limit` characters."""
    joined = " ".join(str(data).split())
    return text(joined if len(joined) <= limit else joined[: limit - 1].rstrip() + "…")


def whole(data: str) -> str:
    """The same in full, folded where it is long."""
    return text(data) if len(data) <= LONG else details(f"{line(data, 120)} ({len(data):,} characters)", f"<p>{text(data)}</p>")


def words(before: str, after: str) -> str:
    """`after` with the words that were struck in `<del>` and those that were added in `<ins>`, folded where it is long."""
    parts = re.split(r"(</?(?:ins|del)>)", words_html(before, after))
    marked = "".join(part if part.startswith("<") else text(unescape(part)) for part in parts)
    if len(before) + len(after) <= 2 * LONG:
        return marked
    counts = f"{marked.count('<del>')} passages struck, {marked.count('<ins>')} added"
    return details(f"{line(after, 120)} ({counts})", f"<p>{marked}</p>")


def fixed(words: str) -> str:
    """Words that stay on one line, as far as CSS is there; without it, those between spaces."""
    return f'<span class="fixed">{words.replace(" ", "&nbsp;")}</span>'


def short(data: object) -> str:
    """An id, a label or an answer as it stands; on one line where it is short."""
    return fixed(text(data)) if len(str(data)) <= 20 else text(data)


def table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    """A table of cells that are HTML already; the first cell of a row is its heading, and None where that of the row above holds on."""
    heads = "".join(f'<th scope="col" align="left">{cell}</th>' for cell in head)
    top = f"<thead><tr>{heads}</tr></thead>" if head else ""
    body = "".join(_row(row, 1 + len(list(takewhile(lambda r: r[0] is None, rows[n:])))) for n, row in enumerate(rows, start=1))
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _row(cells: Sequence[str | None], span: int) -> str:
    first, *others = cells
    spans = f' rowspan="{span}"' if span > 1 else ""
    heading = "" if first is None else f'<th scope="row" align="left" valign="top"{spans}>{first}</th>'
    rest = "".join(f'<td align="left" valign="top">{cell}</td>' for cell in others)
    return f"<tr>{heading}{rest}</tr>"


def details(summary: str, body: str, kind: str = "") -> str:
    """`body` folded behind `summary`; both are HTML already. `kind` is a class of the page's style."""
    named = f' class="{kind}"' if kind else ""
    return f"<details{named}><summary>{summary}</summary>{body}</details>"


def quote(prompt: str) -> str:
    """A prompt as it stands, set apart."""
    return f"<blockquote><p>{text(prompt)}</p></blockquote>"


def note(markdown: str) -> str:
    """A note as HTML in one line."""
    return note_html(markdown).replace("\n", "&#10;")


def first_line(markdown: str) -> str:
    """The first line of a note without its marks."""
    return line(note_text(markdown).partition("\n")[0])
