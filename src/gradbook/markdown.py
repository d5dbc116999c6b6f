"""Notes are Markdown by a person: drawn with care, since what a model said may be pasted into them."""

from html import escape, unescape

import mistune
import nh3

LONG = 10_000
"""Notes of more characters are shown as they stand, since drawing them would take over 0.1 s."""

TAGS = {
    *("p", "br", "hr", "em", "strong", "del", "code", "pre", "blockquote", "ul", "ol", "li", "a"),
    *("h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}


def note_html(markdown: str) -> str:
    """A note as HTML: its Markdown works, its raw HTML is text, its links go to the web or nowhere, its images are named only.

    A note of more than `LONG` characters stands there as plain text, below a line that says so.
    """
    if len(markdown) > LONG:
        said = f"This note has {len(markdown):,} characters; Markdown is drawn up to {LONG:,}."
        return f"<p><em>{said}</em></p>\n<pre>{escape(markdown)}</pre>"
    schemes = {"http", "https", "mailto"}
    return nh3.clean(_rendered(markdown), tags=TAGS, attributes={"a": {"href"}}, url_schemes=schemes).strip()


def note_text(markdown: str) -> str:
    """A note without its marks; one of more than `LONG` characters as it stands."""
    return markdown.strip() if len(markdown) > LONG else unescape(nh3.clean(_rendered(markdown), tags=set())).strip()


def _rendered(markdown: str) -> str:
    whole = markdown.encode(errors="replace").decode()  # half an emoji is no text to nh3
    return str(mistune.create_markdown(renderer=_Renderer(escape=True), plugins=["table", "strikethrough"])(whole))


class _Renderer(mistune.HTMLRenderer):
    """Headings below those of a report, and no image, since one would be fetched from elsewhere."""

    def heading(self, text: str, level: int, **attributes: object) -> str:
        return f"<h{min(level + 3, 6)}>{text}</h{min(level + 3, 6)}>\n"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return escape(f"(image: {unescape(text)}, {url})")
