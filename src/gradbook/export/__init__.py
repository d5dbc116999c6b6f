"""A case as a report to keep and to pass on: an annotated `.ipynb`, or one `.html` that reads without kernel, network and scripts."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from markupsafe import Markup

from gradbook import page
from gradbook.errors import ExportError
from gradbook.export.cells import notebook
from gradbook.export.report import Part, report
from gradbook.export.study import study_report
from gradbook.page import figures
from gradbook.parse import whole
from gradbook.tell import Annotations

if TYPE_CHECKING:
    from gradbook.recording import Recording
    from gradbook.studies import Study

_TOLD = {".ipynb": " (a notebook)", ".html": " (one page that reads by itself)", ".svg": "", ".png": ""}
__all__ = ["export", "export_picture", "export_study"]


def export(rec: "Recording", path: str | Path, annotations: Annotations = "all") -> Path:
    """Write the annotated case and return where to; a file that is there already is replaced in one go.

    Args:
        rec: what to write; it is only read.
        path: a file that ends in `.ipynb` or `.html`; folders that are missing are made.
        annotations: "all" notes and reasons of edits, "mine" without the reasons of what a program asked for by name, or "none".

    Raises:
        ExportError: another ending, other annotations, or the file cannot be written.
    """
    path = _checked(path)
    if annotations not in get_args(Annotations):
        raise ExportError(f'annotations should be "all", "mine" or "none", not "{annotations}"')
    return _report(path, rec.title, list(report(rec, annotations)))


def export_study(shown: "Study", path: str | Path) -> Path:
    """Write a study as a report, with its verdicts, figures, trials and a methods paragraph, and return where to; as for `export`."""
    path = _checked(path)
    return _report(path, shown.path.name, list(study_report(shown, path)))


def export_picture(picture: Markup, path: str | Path) -> Path:
    """Write a picture as `.svg` or `.png`, and return where to; as for `export`."""
    path = _checked(path, (".svg", ".png"))
    white = figures.on_white(picture)
    _write(path, figures.png(picture) if path.suffix.lower() == ".png" else white)
    return path


def _checked(path: str | Path, endings: tuple[str, str] = (".ipynb", ".html")) -> Path:
    if "\0" in str(path) or whole(str(path)) != str(path):
        raise ExportError(f"{whole(str(path))!r} cannot be a path: it holds a character that no path may hold")
    path = Path(path).expanduser()
    if path.suffix.lower() not in endings:
        told = " or ".join(f"{ending}{_TOLD[ending]}" for ending in endings)
        raise ExportError(f"{path.name} should end in {told}")
    return path


def _report(path: Path, title: str, parts: list[Part]) -> Path:
    html = path.suffix.lower() == ".html"
    _write(path, page.render("report", title=title, style=page.style(), parts=parts) if html else notebook(title, parts))
    return path


def _write(path: Path, data: str | bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ExportError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
