"""The plots, in Plotly: what a score did, beside the noise floor, and recall class by class."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gradbook.effects import Comparison
from gradbook.metrics import Share

WIDTH = 286  # px, that of the panel
BEFORE, AFTER, FLOOR = "#6f8196", "#d0600f", "#8a94a0"


def effect(figure: go.Figure | go.FigureWidget, comparison: Comparison) -> None:
    """Draw a comparison into `figure`, which keeps its identity: each figure widget costs the page megabytes.

    Above: accuracy before and after with Wilson intervals, and each run without a change as an open circle.
    Below: recall of each class, before and after. Marks differ in shape as well as in colour.
    """
    drawn = _panels(comparison)
    with figure.batch_update():
        figure.data = []
        figure.layout = drawn.layout
        figure.add_traces(list(drawn.data))


def _panels(comparison: Comparison) -> go.Figure:
    classes = list(comparison.before.recall)
    rows = 2 if classes else 1
    heights = [1.4, 0.6 + 0.55 * len(classes)][:rows]
    figure = make_subplots(rows=rows, cols=1, row_heights=heights, vertical_spacing=0.16 if rows == 2 else 0, shared_xaxes=False)
    _accuracy(figure, comparison)
    if classes:
        _recall(figure, comparison, classes)
    _style(figure, 100 + int(75 * sum(heights)), rows)
    return figure


def _accuracy(figure: go.Figure, comparison: Comparison) -> None:
    if len(comparison.floor) > 1:
        low, high = comparison.noise
        band = {"x0": max(low, 0), "x1": min(high, 1), "y0": -0.5, "y1": 2.5}
        figure.add_shape(type="rect", **band, fillcolor=FLOOR, opacity=0.18, line_width=0, layer="below", row=1, col=1)
        runs = ["no change"] * len(comparison.floor)
        figure.add_trace(_dots(list(comparison.floor), runs, "no change", FLOOR, "circle-open"), 1, 1)
    before, after = f"step {comparison.before_step}", f"step {comparison.after_step}"
    figure.add_trace(_bars([comparison.before.accuracy], [before], "before", BEFORE, "circle-open"), 1, 1)
    figure.add_trace(_bars([comparison.after.accuracy], [after], "after", AFTER, "diamond"), 1, 1)
    rows = [after, before, *["no change"] * (len(comparison.floor) > 1)]
    figure.update_yaxes(categoryorder="array", categoryarray=rows, range=[-0.5, len(rows) - 0.5], row=1, col=1)


def _recall(figure: go.Figure, comparison: Comparison, classes: list[str]) -> None:
    sides = ((comparison.before, "before", BEFORE, "circle-open"), (comparison.after, "after", AFTER, "diamond"))
    for metrics, name, colour, symbol in sides:
        shares = [metrics.recall[label].value for label in classes]
        figure.add_trace(_dots(shares, [f"recall {label}" for label in classes], name, colour, symbol), 2, 1)
    figure.update_yaxes(categoryorder="array", categoryarray=[f"recall {label}" for label in reversed(classes)], row=2, col=1)


def _dots(x: list[float], y: list[str], name: str, colour: str, symbol: str) -> go.Scatter:
    size = 13 if name == "before" else 9  # where both fall together, the ring of the first shows round the second
    marker = {"color": colour, "symbol": symbol, "size": size, "line": {"width": 2, "color": colour}}
    return go.Scatter(x=x, y=y, mode="markers", name=name, marker=marker, hovertemplate="%{y}: %{x:.1%}<extra></extra>")


def _bars(shares: list[Share], y: list[str], name: str, colour: str, symbol: str) -> go.Scatter:
    trace = _dots([share.value for share in shares], y, name, colour, symbol)
    up = [share.interval[1] - share.value for share in shares]
    down = [share.value - share.interval[0] for share in shares]
    trace.error_x = {"type": "data", "array": up, "arrayminus": down, "color": colour, "thickness": 1.5, "width": 5}
    return trace


def _style(figure: go.Figure, height: int, rows: int) -> None:
    grey = "#808a94"  # readable on white and on black, since a figure does not know the page's theme
    figure.update_layout(
        height=height,
        width=WIDTH,
        margin={"l": 8, "r": 12, "t": 8, "b": 24},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": grey, "size": 11},
    )
    for row in range(1, rows + 1):
        figure.update_xaxes(range=[-0.05, 1.05], tickformat=".0%", gridcolor="rgba(128,138,148,0.3)", zeroline=False, row=row, col=1)
        figure.update_yaxes(gridcolor="rgba(128,138,148,0.15)", automargin=True, row=row, col=1)
