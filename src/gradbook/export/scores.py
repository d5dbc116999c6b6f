"""The scores of a case as a figure: accuracy over the steps, a panel a split, replicates as small open circles."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gradbook.metrics import Metrics, Share
from gradbook.records import SPLITS, SplitName, Stage, Step, Variable

if TYPE_CHECKING:
    from gradbook.recording import Recording

WIDTH, HEIGHT, ROW_HEIGHT = 920, 352, 260
VARIABLES: tuple[Variable, ...] = ("prompt", "critic")
_AXES = {"prompt": "accuracy", "critic": "agreement"}
_CROWDED = 16
"""Of more steps in a panel, marks are small and only some are numbered."""
_INK, _LINE, _STEP, _BRANCH, _RERUN = "#24292f", "#d0d7de", "#0b5cad", "#b35900", "#6e7781"


def scored(case: "Recording", step: Step, split: SplitName) -> Metrics | None:
    """The metrics of the prompt that a finished step ends with; None for a step under way, which has no prompt of its own yet."""
    return case.metrics(step, split) if step.done else None


def scored_splits(case: "Recording") -> list[SplitName]:
    """The splits on which some finished step is scored."""
    return [split for split in SPLITS if any(scored(case, step, split) for step in case)]


def rerun_groups(case: "Recording", step: Step, split: SplitName) -> dict[Stage | None, list[float]]:
    """Accuracies, 0 to 1, of what ran again without a change, by the stage it ran again from.

    None stands for the same prompt answered again, and is told of the first step that ends with it.
    """
    question = case.question(step, split)
    everything = set(case.recorded_questions())
    alike = {q.replicate for q in everything if q.replicate and q.model_copy(update={"replicate": 0}) == question}
    first = next((s.id for s in case if s.done and case.question(s, split) == question), None) if alike else None
    runs = [(None, case.metrics(step, split, number)) for number in sorted(alike)] if step.id == first else []
    runs += [(stage, case.metrics(s, split, n)) for stage in step.stages for n, s in case.replicates(step, stage).items() if s.done]
    groups: dict[Stage | None, list[float]] = {}
    for stage, metrics in runs:
        if metrics:
            groups.setdefault(stage, []).append(metrics.accuracy.value)
    return groups


def score_figure(case: "Recording") -> go.Figure:
    """Accuracy (with Wilson's interval at 95 %) of each step's prompt, a panel a split; lines lead to the next step that is scored.

    A critic's agreement with the gold answers has panels of its own, below.
    """
    steps = [step for step in case if not step.replicate_of is not None and step.done]
    splits = scored_splits(case) or list(SPLITS[1:2])
    rows = [variable for variable in VARIABLES if variable == "prompt" or any(_found(case, steps, s, variable) for s in splits)]
    figure = _panels(case, steps, splits, rows)
    figure.update_layout(
        width=WIDTH,
        height=HEIGHT + (len(rows) - 1) * ROW_HEIGHT,
        template="plotly_white",
        margin={"l": 60, "r": 16, "t": 72, "b": 44},
        font={"color": _INK, "size": 13, "family": "Helvetica, Arial, sans-serif"},
        legend={"orientation": "h", "x": 0, "y": 1 + 0.15 / len(rows), "yanchor": "bottom"},
    )
    deepest = max(step.depth for step in steps)
    figure.update_xaxes(dtick=max(1, deepest // 10), range=[-0.02 * deepest - 0.3, 1.03 * deepest + 0.7], gridcolor=_LINE, zeroline=False)
    figure.update_annotations(yshift=10)  # clear of the numbers above marks
    figure.update_yaxes(tickformat=".0%", gridcolor=_LINE, zeroline=False)
    return figure


def _panels(case: "Recording", steps: list[Step], splits: list[SplitName], rows: list[Variable]) -> go.Figure:
    """Subplots with their marks: a column a split, a row for the task's prompt and one for the critic's."""
    found = {(variable, split): _found(case, steps, split, variable) for variable in rows for split in splits}
    shape = {"rows": len(rows), "cols": len(splits), "shared_yaxes": True, "horizontal_spacing": 0.04, "vertical_spacing": 0.2}
    specs = [[{} if found[variable, split] or variable == "prompt" else None for split in splits] for variable in rows]
    titles = [_title(*place) if found[place] else "" for place in found if found[place] or place[0] == "prompt"]
    figure = make_subplots(**shape, specs=specs, subplot_titles=titles)
    for (variable, split), metrics in found.items():
        row, column = rows.index(variable) + 1, splits.index(split) + 1
        for trace in _panel(case, steps, split, metrics):
            named = any(other.name == trace.name for other in figure.data)
            figure.add_trace(trace.update(showlegend=not named), row=row, col=column)
        if metrics:
            figure.update_xaxes(title="batches from the seed prompt", row=row, col=column)
            first = not any(found[variable, before] for before in splits[: column - 1])
            figure.update_yaxes(title=_AXES[variable] if first else None, showticklabels=first, row=row, col=column)
    return figure


def _title(variable: Variable, split: SplitName) -> str:
    return split if variable == "prompt" else f"critic on {split}"


def _found(case: "Recording", steps: list[Step], split: SplitName, variable: Variable) -> dict[int, Share]:
    """What is scored on a split, by step: accuracy, or the agreement of a critic."""
    own = (step for step in steps if step.variable == variable)
    return {step.id: metrics.accuracy for step in own if (metrics := scored(case, step, split))}


def score_png(figure: go.Figure) -> tuple[bytes | None, str]:
    """The figure as PNG and "", or None and why there is none; takes about three seconds.

    A server of Kaleido's own is left alone: it never answers when its browser does not start.
    """
    import kaleido  # it is slow to import, and only an export needs it

    try:
        options = {"format": "png", "width": WIDTH, "height": figure.layout.height, "scale": 1.5}
        return kaleido.calc_fig_sync(figure.to_dict(), opts=options, kopts={"mathjax": False, "timeout": 30}), ""
    except Exception as error:  # whatever the browser does, the report is worth more than its plot
        missing = type(error).__name__ == "ChromeNotFoundError"
        return None, "no Chromium was found to draw it" if missing else f"drawing it failed ({type(error).__name__})"


def _panel(case: "Recording", steps: list[Step], split: SplitName, found: dict[int, Share]) -> list[go.Scatter]:
    places = _places([step for step in steps if step.id in found])
    edges: list[tuple[float | None, float | None]] = []
    for id in found:
        if (before := _scored_before(case, case[id], found)) is not None:
            edges += [(places[before], found[before].value), (places[id], found[id].value), (None, None)]
    again = [(places[id] - 0.06, value) for id in found for value in _resampled(case, case[id], split)]
    lines = {"mode": "lines", "line": {"color": _LINE, "width": 2}, "hoverinfo": "skip"}
    traces = [go.Scatter(x=[x for x, _ in edges], y=[y for _, y in edges], name="to the next that is scored", **lines)]
    traces.append(_marks([x for x, _ in again], [y for _, y in again], "run again without a change", _RERUN, "circle-open", 7))
    branches = [id for id in found if case[id].origin is not None]
    numbered = _numbered(found, places, branches)
    size = 11 if len(found) <= _CROWDED else 6
    for name, colour, symbol in (("step", _STEP, "circle"), ("branch", _BRANCH, "diamond")):
        shown = [id for id in found if (id in branches) == (name == "branch")]
        trace = _marks([places[id] for id in shown], [found[id].value for id in shown], name, colour, symbol, size)
        trace.error_y = _intervals([found[id] for id in shown], colour, crowded=len(found) > _CROWDED)
        texts = [f" {id}" if id in numbered else "" for id in shown]
        traces.append(trace.update(mode="markers+text", text=texts, textposition="top center" if len(found) > _CROWDED else "middle right"))
    return [trace for trace in traces if trace.x]


def _scored_before(case: "Recording", step: Step, found: dict[int, Share]) -> int | None:
    """The nearest step before this one that is in the same panel."""
    while step.parent is not None:
        step = case[step.parent]
        if step.id in found:
            return step.id
    return None


def _numbered(found: dict[int, Share], places: dict[int, float], branches: list[int]) -> set[int]:
    """The steps whose number stands beside their mark: all, or of many the telling ones, as far as they keep clear of each other."""
    if len(found) <= _CROWDED:
        return set(found)
    ids = list(found)
    best = max(ids, key=lambda id: (found[id].value, -id))
    wide = 0.1 * max(places.values())
    numbered: list[int] = []
    for id in dict.fromkeys([best, ids[0], ids[-1], *branches]):
        near = (abs(places[id] - places[o]) < wide and abs(found[id].value - found[o].value) < 0.08 for o in numbered)
        numbered += [] if any(near) else [id]
    return set(numbered)


def _intervals(shares: list[Share], colour: str, crowded: bool) -> dict[str, Any]:
    up = [share.interval[1] - share.value for share in shares]
    down = [share.value - share.interval[0] for share in shares]
    faint = f"rgba({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))}, 0.3)"
    return {"array": up, "arrayminus": down, "thickness": 1, "width": 0 if crowded else 3, "color": faint if crowded else colour}


def _places(steps: list[Step]) -> dict[int, float]:
    """Where each step stands from left to right: at its depth, those of the same depth side by side."""
    beside: Counter[int] = Counter()
    most = max(Counter(step.depth for step in steps).values(), default=1)
    places = {}
    for step in steps:
        places[step.id] = step.depth + min(0.16, 0.8 / most) * beside[step.depth]
        beside[step.depth] += 1
    return places


def _resampled(case: "Recording", step: Step, split: SplitName) -> list[float]:
    return [value for stage, values in rerun_groups(case, step, split).items() if stage for value in values]


def _marks(x: list[float], y: list[float], name: str, colour: str, symbol: str, size: int) -> go.Scatter:
    marker = {"color": colour, "symbol": symbol, "size": size}
    return go.Scatter(x=x, y=y, mode="markers", name=name, cliponaxis=False, marker=marker, hovertemplate="%{y:.1%}<extra></extra>")
