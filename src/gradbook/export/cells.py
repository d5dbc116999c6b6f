"""A report as cells of a notebook: the JSON of nbformat 4.5, made here, since importing nbformat alone takes seconds.

HTML in a Markdown cell ends at a blank line, and what is in it may still be read as Markdown or mathematics: so each piece is put on one
line, and every sign of a text that could act becomes an entity. It reads with all CSS stripped, as code hosts do.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable
from html import unescape
from typing import Any

from gradbook.export.report import Part
from gradbook.page import figures

# Entities never act as Markdown. MathJax reads the page after they are decoded, but does not look across a tag, so what
# begins mathematics gets a tag of its own.
_ENTITIES = {ord(sign): f"&#{ord(sign)};" for sign in "<>&\"'*_`[]{}|#~!^@$\\"}
_MARKS = (
    _ENTITIES
    | {ord(sign): f"<span>{_ENTITIES[ord(sign)]}</span>" for sign in "$\\"}
    | dict.fromkeys((*range(32), 127), "\ufffd")
    | {ord("\n"): "<br>", ord("\r"): "", ord("\t"): "\u2003"}
)
_TAG = re.compile(r"(<[^\s>](?:[^>\"]|\"[^\"]*\")*>)")
_ATTRIBUTE = re.compile(r'([\w-]+)(?:="([^"]*)")?')
_KEPT, _VOID = {"class", "href", "scope", "open"}, {"br", "hr"}


Cell = dict[str, Any]


def notebook(title: str, parts: Iterable[Part]) -> str:
    """The parts as the text of an `.ipynb`, with outputs stored."""
    metadata = {
        "title": title,
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
        "language_info": {"name": "python"},
    }
    made = {"cells": [cell for part in parts for cell in _cells(part)], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def _cells(part: Part) -> list[Cell]:
    html = markdown_safe(part.html)
    if part.folded:
        told = f"<details><summary><strong>{text(part.title)}</strong> · {text(part.folded)}</summary>{html}</details>"
        return [_markdown(part.id, f'<a id="{part.id}"></a>{told}')]
    cells = []
    heading = f'<a id="{part.id}"></a>\n\n{"#" * part.level} {text(part.title)}' if part.title else ""
    if not part.code:
        return [_markdown(part.id, "\n\n".join(filter(None, [heading, html])))]
    if heading:
        cells.append(_markdown(f"{part.id}-head", heading))
    cells.append(_code(part))
    return cells + ([_markdown(f"{part.id}-told", html)] if html else [])


def _markdown(id: str, source: str) -> Cell:
    return {"cell_type": "markdown", "id": id, "metadata": {}, "source": source}


def _code(part: Part) -> Cell:
    outputs: list[dict[str, Any]] = []
    for picture in filter(None, (part.picture, *part.pictures)):
        png = b64encode(figures.png(picture)).decode()
        outputs.append({"output_type": "display_data", "data": {"image/png": png, "text/plain": part.plain}, "metadata": {}})
    if part.output:
        data = {"text/html": str(part.output), "text/plain": part.plain}
        outputs.append({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None})
    return {"cell_type": "code", "id": part.id, "metadata": {}, "source": part.code, "outputs": outputs, "execution_count": None}


def text(data: object) -> str:
    """What anybody wrote, as it stands: neither HTML nor Markdown nor mathematics."""
    return str(data).replace("  ", "\u00a0 ").translate(_MARKS).replace("://", "&#58;//")


def markdown_safe(html: str) -> str:
    """HTML of our own templates in one line of a Markdown cell, without what only a page with a style sheet needs."""
    made, verbatim = [], [False]  # whether texts stand as they are, innermost last
    for n, token in enumerate(_TAG.split(html)):
        if n % 2 == 0:
            plain = unescape(token)
            made.append(text(plain) if verbatim[-1] else text(re.sub(r"\s+", " ", plain)))
        elif token.startswith("</"):
            made.append(token)
            verbatim.pop()
        else:
            name, attributes = token.strip("<>").partition(" ")[::2]
            found = {key: unescape(value) for key, value in _ATTRIBUTE.findall(attributes)}
            kept = "".join(f' {key}="{value.translate(_ENTITIES)}"' for key, value in found.items() if key in _KEPT)
            made.append(f"<{name}{kept}>")
            if name not in _VOID:
                verbatim.append(verbatim[-1] or name == "pre" or "gb-text" in found.get("class", "").split())
    return "".join(made).strip()
