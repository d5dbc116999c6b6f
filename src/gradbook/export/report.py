"""The parts of a report, in order: what a page lays out below each other and a notebook as cells."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from gradbook import page, tell
from gradbook.effects import Effect
from gradbook.findings import ASKS, Finding
from gradbook.page import figures, finding_figures
from gradbook.records import SplitName, Step
from gradbook.tell.overviews import EffectView

if TYPE_CHECKING:
    from gradbook.recording import Recording

NONE = Markup("")
ROWS_SHOWN, STEPS_OPEN, EFFECTS_OPEN, FINDINGS_OPEN = 30, 20, 30, 30
"""A longer tree is folded behind the steps to look at first; of more steps, those that nobody touched take a line each that opens; of more
effects, those without replicates have no picture."""


@dataclass(frozen=True)
class Part:
    """A piece of a report: its heading (`level` 1 to 3, `under` the id of the section it is listed in), what stands below it, and `folded`,
    the line that it opens from. `code` is a cell that makes `picture` or `pictures`, and `output`, anew."""

    id: str
    level: int = 2
    title: str = ""
    html: Markup = NONE
    under: str = ""
    folded: str = ""
    code: str = ""
    picture: Markup = NONE
    output: Markup = NONE
    plain: str = ""
    pictures: tuple[Markup, ...] = ()


def report(rec: "Recording", annotations: tell.Annotations = "all") -> Iterator[Part]:
    """The parts of the report on a case."""
    steps = [step for step in rec if not step.aside]
    about, tree = tell.case(rec), tell.tree(rec)
    yield Part("title", 1, about.title, page.render("facts", case=about))
    if about.reading:
        yield Part("reading", title="How to read it", html=page.render("reading", case=about))
    yield Part("overview", title="Overview", html=_overview(rec, tree, annotations != "none"))
    yield Part("open", code=f"import gradbook as gb\n\ncase = gb.Recording({_folder(rec)})  # its folder, seen from here")
    if drawn := figures.panels(rec):
        code = "gb.page.figures.score_figure(case)"
        words = "Scores of each step’s prompt with their 95 % intervals, a panel a split. The table above holds the numbers."
        yield Part("plot", code=code, picture=figures.scores(drawn), plain=words)
    if about.training:
        yield Part("training", html=page.render("training", training=about.training))
    yield Part("steps", title="Step by step")
    opened = _opened(rec, steps)
    for step in steps:
        yield _step(rec, step, step.id in opened, annotations)
    branches = [step for step in steps if step.origin is not None and step.done and rec[step.origin].done]
    yield from _effects(rec, branches, tree.splits)
    yield from _findings(rec)
    yield Part("methods", title="For a methods section", html=Markup("<p>{}</p>").format(about.methods))
    reopen = "The case can be opened again with {} where its folder lies."
    told = Markup("<p>{}.</p><p>{}</p>").format(about.versions, reopen.format(f"gb.Recording({_folder(rec)})"))
    yield Part("closing", title="Versions", html=told)


def _folder(rec: "Recording") -> str:
    return json.dumps(rec.path.name, ensure_ascii=False)


def _overview(rec: "Recording", tree: tell.TreeView, annotated: bool) -> Markup:
    last = {step.variable: step.id for step in rec if step.origin is None}
    first = [row for row in tree.rows if row.id in (0, *last.values()) or "best" in row.tags]
    noted = annotated and any(row.note for row in tree.rows)
    return page.render("overview", tree=tree, most=ROWS_SHOWN, first=first, noted=noted)


def _opened(rec: "Recording", steps: list[Step]) -> set[int]:
    """The steps to show in full: in a long case the first and the last, and what a person noted or left unfinished."""
    if len(steps) - 1 <= STEPS_OPEN:
        return {step.id for step in steps}
    branches = [step for step in steps if step.origin is not None]
    touched = {step.id for step in steps if rec.note(step).strip() or not step.done}
    touched |= {step.id for step in branches} if len(branches) <= STEPS_OPEN else set()
    return touched | {step.origin for step in branches if step.origin} | {0, 1, max(s.id for s in steps if s.origin is None)}


def _step(rec: "Recording", step: Step, open: bool, annotations: tell.Annotations) -> Part:
    view = tell.step(rec, step, annotations, full=open)
    folded = "" if open else f"{view.line} · {view.outcome}"
    title = f"Step {step.id}" if folded else f"Step {step.id} · {view.line}"
    return Part(f"step-{step.id}", 3, title, page.render("told", step=view, bench=None), "steps", folded)


# --- effects ---------------------------------------------------------------------------------------------------------------------


def _effects(rec: "Recording", branches: list[Step], splits: Sequence[SplitName]) -> Iterator[Part]:
    if not branches:
        return
    told = "Each branch beside the step it was branched off, on the same examples. Numbers are those on record."
    yield Part("effects", title="What the changes did", html=Markup("<p>{}</p>").format(told))
    for branch in branches:
        yield from _effect(rec, branch, splits, len(branches) <= EFFECTS_OPEN)


def _effect(rec: "Recording", branch: Step, splits: Sequence[SplitName], full: bool) -> Iterator[Part]:
    """A branch beside its origin, on each split on which both are scored."""
    origin = branch.origin or 0
    title = f"Step {origin} → step {branch.id}: {tell.line(rec, branch).partition(': ')[2]}"
    views = [view for s in splits if (view := tell.effect(rec, origin, branch.id, s, across_models=True)).found]
    if not views:
        html = Markup("<p>No split is scored for both so far.</p>")
        yield Part(f"effect-{branch.id}", 3, title, html, "effects", code=_code(origin, branch.id, rec.default_split(branch), 5))
    for n, view in enumerate(views):
        head = (f"effect-{branch.id}", 3, title) if n == 0 else (f"effect-{branch.id}-{view.split}", 3, "")
        if view.found and (full or view.found.before.draws):
            yield _measured(view, view.found, *head)
        else:
            yield Part(*head, page.render("measured", effect=view, short=True), "effects", f"{view.split}: {view.verdict}")


def _measured(view: EffectView, found: Effect, id: str, level: int, title: str) -> Part:
    code = _code(found.before.step, found.after.step, found.split, max(len(found.before.draws), len(found.after.draws)))
    html = page.render("measured", effect=view, short=False)
    return Part(id, level, title, html, "effects", "", code, figures.effect(found), page.comparison(found), repr(found))


# --- findings ----------------------------------------------------------------------------------------------------------------


def _findings(rec: "Recording") -> Iterator[Part]:
    """What else was found, a part each; of many all but the first take a line that opens."""
    found = [event for event in rec.found.values() if event.kind in ASKS]
    if not found:
        return
    told = "What was asked of single steps besides their scores: with the numbers it stands on, and what it cost."
    yield Part("findings", title="Findings", html=Markup("<p>{}</p>").format(told))
    for n, event in enumerate(found):
        record = rec.finding(event.id)
        assert isinstance(record, Finding)
        view = tell.finding(rec, record)
        title = f"{view.title}, step {event.step}"
        if n >= FINDINGS_OPEN:
            html = page.render("finding", it=view, drawn=True, bench=None)
            yield Part(f"finding-{event.id}", 3, title, html, "findings", f"{view.verdict}: {view.sentence}")
            continue
        pictures = [finding_figures.shares(view.shares)] * bool(view.shares) + [finding_figures.bars(view.bars, view.axis)] * bool(
            view.bars
        )
        html = page.render("finding", it=view, drawn=False, bench=None)
        code = f'case.finding("{event.id}")' if pictures else ""
        yield Part(f"finding-{event.id}", 3, title, html, "findings", "", code, NONE, NONE, repr(record), tuple(pictures))


def _code(before: int, after: int, split: SplitName, replicates: int) -> str:
    return f'case.compare({before}, {after}, "{split}", replicates={replicates})'
