"""A case as a report to keep and to pass on: an annotated `.ipynb`, or one `.html` that reads without kernel and network."""

import contextlib
import os
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbconvert import HTMLExporter

from gradbook.errors import ExportError
from gradbook.export.report import notebook
from gradbook.export.scores import score_figure

if TYPE_CHECKING:
    from gradbook.recording import Recording

__all__ = ["export", "notebook", "page", "score_figure"]

# The page needs neither scripts nor anything from elsewhere, so browsers are told to refuse both.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def export(case: "Recording", path: Path) -> Path:
    """Write the annotated case and return where to; a file that is there already is replaced in one go.

    Args:
        case: what to write; it is only read.
        path: a file that ends in `.ipynb` or `.html`; folders that are missing are made.

    Raises:
        ExportError: another ending, or the file cannot be written.
    """
    path = Path(path).expanduser()
    makers = {".ipynb": nbformat.writes, ".html": page}
    if path.suffix.lower() not in makers:
        raise ExportError(f"{path.name} should end in .ipynb (a notebook) or .html (one page that reads by itself)")
    _write(path, makers[path.suffix.lower()](notebook(case)))
    return path


def page(report: nbformat.NotebookNode) -> str:
    """A report as one page of HTML with its style in it, readable in light and dark, and no script."""
    exporter = HTMLExporter(
        template_name="basic",
        mathjax_url="",
        require_js_url="",
        exclude_anchor_links=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body, _ = exporter.from_notebook_node(report)
    style = files("gradbook.export").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(report.metadata.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


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
