"""A case as a report to keep and to pass on: an annotated `.ipynb`, or one `.html` that reads without kernel, network and scripts."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from gradbook import page
from gradbook.errors import ExportError
from gradbook.export.cells import notebook
from gradbook.export.report import report
from gradbook.parse import whole
from gradbook.tell import Annotations

if TYPE_CHECKING:
    from gradbook.recording import Recording

__all__ = ["export"]


def export(rec: "Recording", path: str | Path, annotations: Annotations = "all") -> Path:
    """Write the annotated case and return where to; a file that is there already is replaced in one go.

    Args:
        rec: what to write; it is only read.
        path: a file that ends in `.ipynb` or `.html`; folders that are missing are made.
        annotations: "all" notes and reasons of edits, "mine" without the reasons of what a program asked for by name, or "none".

    Raises:
        ExportError: another ending, other annotations, or the file cannot be written.
    """
    if "\0" in str(path) or whole(str(path)) != str(path):
        raise ExportError(f"{whole(str(path))!r} cannot be a path: it holds a character that no path may hold")
    path = Path(path).expanduser()
    ending = path.suffix.lower()
    if ending not in (".ipynb", ".html"):
        raise ExportError(f"{path.name} should end in .ipynb (a notebook) or .html (one page that reads by itself)")
    if annotations not in get_args(Annotations):
        raise ExportError(f'annotations should be "all", "mine" or "none", not "{annotations}"')
    parts = list(report(rec, annotations))
    if ending == ".html":
        _write(path, page.render("report", title=rec.title, style=page.style(), parts=parts))
    else:
        _write(path, notebook(rec.title, parts))
    return path


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ExportError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
