"""The parts of a report on a study, in order: the verdicts first."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from gradbook import page, tell
from gradbook.export.report import Part
from gradbook.page import charts, study_figures

if TYPE_CHECKING:
    from gradbook.studies import Study

_ABOUT = {
    "arms": "What the prompt that each trial ended with reaches on the test split, by arm, with the mean and its 95 % interval.",
    "training": "The share of each minibatch that was right before its update, and accuracy on validation where it was scored.",
    "candidates": "Accuracy on the test split over the number of candidates that there were to choose from, with the least squares line.",
    "p": "The corrected p of each comparison, on a logarithmic scale; crosses are the p of equivalence or of the other direction.",
}


def study_report(study: "Study", path: Path) -> Iterator[Part]:
    """The parts of the report on a study; `path` is where it will lie, from which trials are linked where their folder is near."""
    judged = study.judged()
    view = tell.study(study, judged)
    yield Part("title", 1, view.title, page.render("study", part="about", study=view))
    yield Part("verdicts", title="Verdicts", html=page.render("study_verdicts", study=view, bench=None, plain=False))
    yield Part("registered", title="What was registered, and changed since", html=page.render("study", part="registered", study=view))
    if view.optimism:
        yield Part("optimism", title="The optimism of selection", html=page.render("study", part="optimism", study=view))
    yield Part("figures", title="Figures")
    opened = f"study = gb.Study({json.dumps(study.path.name, ensure_ascii=False)})  # its folder, seen from here"
    yield Part("open", code=f"import gradbook as gb\n\n{opened}")
    for kind, about in _ABOUT.items():
        chart = study_figures.chart(study, kind, judged)
        if chart.panels:
            told = Markup("<p>{}</p>").format(about)
            yield Part(f"figure-{kind}", 3, chart.title, told, "figures", "", f'study.figure("{kind}")', charts.draw(chart), plain=about)
    trials = page.render("study_trials", arms=view.arms, bench=None, near=_near(study.path, path))
    yield Part("trials", title="Trials", html=trials)
    yield Part("methods", title="For a methods section", html=Markup("<p>{}</p>").format(view.methods))
    yield Part("closing", title="Versions", html=Markup("<p>{}.</p>").format(view.versions))


def _near(folder: Path, path: Path) -> str | None:
    """How a report beside a study or in it gets to its folder; from elsewhere a link would tell of this machine, so there is none."""
    at = path.absolute().parent.resolve()
    return "" if at == folder.resolve() else f"{folder.name}/" if at == folder.resolve().parent else None
