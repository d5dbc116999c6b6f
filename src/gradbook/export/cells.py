"""A report as cells of a notebook.

HTML in a Markdown cell ends at a blank line, and what is in it may still be read as Markdown or mathematics: so each piece is put on one
line, and every sign of a text that could act becomes an entity. It reads with all CSS stripped, as code hosts do.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from html import unescape

from nbformat import NotebookNode, validate
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

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


def notebook(title: str, parts: Iterable[Part]) -> NotebookNode:
    """The parts as a notebook, valid nbformat 4, with outputs stored."""
    metadata = {
        "title": title,
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
        "language_info": {"name": "python"},
    }
    made = new_notebook(cells=[cell for part in parts for cell in _cells(part)], metadata=metadata)
    validate(made)
    return made


def _cells(part: Part) -> list[NotebookNode]:
    html = markdown_safe(part.html)
    if part.folded:
        told = f"<details><summary><strong>{text(part.title)}</strong> · {text(part.folded)}</summary>{html}</details>"
        return [new_markdown_cell(f'<a id="{part.id}"></a>{told}', id=part.id)]
    cells = []
    heading = f'<a id="{part.id}"></a>\n\n{"#" * part.level} {text(part.title)}' if part.title else ""
    if not part.code:
        return [new_markdown_cell("\n\n".join(filter(None, [heading, html])), id=part.id)]
    if heading:
        cells.append(new_markdown_cell(heading, id=f"{part.id}-head"))
    cells.append(_code(part))
    return cells + ([new_markdown_cell(html, id=f"{part.id}-told")] if html else [])


def _code(part: Part) -> NotebookNode:
    cell = new_code_cell(part.code, id=part.id)
    if part.picture:
        png = b64encode(figures.png(part.picture)).decode()
        cell.outputs.append(new_output("display_data", data={"image/png": png, "text/plain": part.plain}))
    if part.output:
        cell.outputs.append(new_output("execute_result", data={"text/html": str(part.output), "text/plain": part.plain}))
    return cell


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
