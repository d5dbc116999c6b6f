"""The report of a case as a notebook: what it is, the tree of steps, each step, and what each branch did to the score."""

import json
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

from nbformat import NotebookNode, validate
from nbformat.v4 import new_notebook

from gradbook.export.changes import changes
from gradbook.export.html import text
from gradbook.export.overview import overview
from gradbook.export.reading import opening, own_version
from gradbook.export.steps import markdown, told_steps

if TYPE_CHECKING:
    from gradbook.recording import Recording

_PACKAGES = ("openai", "pandas", "plotly")


def notebook(case: "Recording") -> NotebookNode:
    """The report, valid nbformat 4, with outputs stored; its code cells run on where the case lies beside it."""
    steps = [step for step in case if not step.replicate_of is not None]
    report = new_notebook(
        cells=[*opening(case, steps), *overview(case), *told_steps(case, steps), *changes(case, steps), _closing(case)],
        metadata={
            "title": case.title,
            "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
            "language_info": {"name": "python"},
        },
    )
    validate(report)
    return report


def _closing(case: "Recording") -> NotebookNode:
    versions = {"gradbook": own_version(), "python": python_version()} | {name: version(name) for name in _PACKAGES}
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    folder = text(json.dumps(case.path.resolve().name, ensure_ascii=False))
    reopen = f"<p>The case can be opened again with <code>gb.Case({folder})</code> where its folder lies.</p>"
    return markdown("closing", "## Versions", f"<p>{text(told)}.</p>", reopen)
