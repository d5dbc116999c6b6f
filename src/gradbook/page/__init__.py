"""Pages: Jinja2 templates over the views of `tell`, one style sheet, and the plots.

The same templates make the regions of the workbench, the export, the rich displays and what a stored notebook shows.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gradbook import tell
from gradbook.edits import menu
from gradbook.markdown import note_html
from gradbook.page import figures, finding_figures, study_figures

if TYPE_CHECKING:
    from gradbook.effects import Effect
    from gradbook.findings import Finding
    from gradbook.studies import Study
    from gradbook.tasks import Task

__all__ = ["comparison", "finding", "render", "study", "style", "task"]


@cache
def style() -> Markup:
    """The one style sheet, without what only its readers need: a stored workbench has it twice."""
    sheet = files("gradbook.page").joinpath("style.css").read_text(encoding="utf-8")
    return Markup(re.sub(r"\s*([{};,]|/\*.*?\*/)\s*", lambda at: at[1].partition("/*")[0], sheet, flags=re.DOTALL))


def render(template: str, **views: Any) -> Markup:
    """Lay views out by a template, named without its ending; whatever a model, a file or a person said is escaped."""
    return Markup(_environment().get_template(f"{template}.html").render(views))


def comparison(found: "Effect") -> Markup:
    """What a notebook shows of a comparison."""
    return render("comparison", found=found, means=tell.means(found), metrics=tell.metrics(found.before.metrics, found.after.metrics))


def finding(found: "Finding") -> Markup:
    """What a notebook shows of a finding, which tells itself without its case."""
    return render("finding", it=tell.finding(None, found), drawn=True, bench=None)


def task(shown: "Task") -> Markup:
    """What a notebook shows of a task."""
    return render("task", task=tell.task(shown))


def study(shown: "Study") -> Markup:
    """What a notebook shows of a study: its verdicts, or how far it is before there are any."""
    return render("study", part="shown", study=tell.study(shown), style=style(), bench=None, plain=True)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("gradbook.page"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    made.filters["note"] = lambda markdown: Markup(note_html(markdown))
    made.globals |= {
        "plot": figures.effect,
        "bars_plot": finding_figures.bars,
        "shares_plot": finding_figures.shares,
        "interval_plot": study_figures.interval,
    }
    made.globals |= {"offered": menu.offered, "ask": lambda do, **how: json.dumps({"do": do, **how})}
    return made
