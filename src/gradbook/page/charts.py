"""Charts: told once as panels of series, and drawn from that as SVG, which needs no browser, and as Plotly, to explore."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from gradbook.page.figures import plain
from gradbook.page.svg import COLOURS, line, mark, svg, tag, text

if TYPE_CHECKING:
    import plotly.graph_objects as go

Form = Literal["ring", "dot", "diamond", "cross", "line", "thin", "dash"]
_WIDTH, _KEY, _ROW, _TALL, _LETTER, _GAP, _EDGE = 920, 26, 34, 170, 6.1, 22, 9
_LINES = {"line": (2.5, 1.0, None), "thin": (1.0, 0.45, None), "dash": (1.5, 1.0, "5 3")}  # width, opacity, dashes
_SYMBOLS = {"ring": "circle-open", "dot": "circle", "diamond": "diamond", "cross": "x-thin"}
_SIZES = {"ring": 4.5, "dot": 5.5, "diamond": 6.0, "cross": 4.0}
_LEAST = 1e-5


@dataclass(frozen=True)
class Series:
    """Marks of one kind, or a line: `kind` is its colour, `told` what each mark says, `spans` their intervals (across rows along x)."""

    name: str
    kind: str
    form: Form
    points: tuple[tuple[float, float], ...]
    told: tuple[str, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Axis:
    """What is along an axis, from where to where: shares as percent, a p on a logarithmic scale, or counts."""

    name: str
    low: float
    high: float
    scale: Literal["share", "p", "count"] = "share"

    def at(self, value: float) -> float:
        """Where a value stands, 0 to 1."""
        low, high, value = (math.log10(max(each, _LEAST)) if self.scale == "p" else each for each in (self.low, self.high, value))
        return (min(max(value, low), high) - low) / ((high - low) or 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values on the axis, with their words."""
        if self.scale == "p":
            return [(10.0**n, f"{10.0**n:g}") for n in range(math.ceil(math.log10(max(self.low, _LEAST)) - 1e-9), 1)]
        span = self.high - self.low
        whole = 1.0 if self.scale == "count" else 0.01
        step = next((s for s in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500) if span / (s * whole) <= 6), 1000) * whole
        values = [n * step for n in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]
        return [(value, f"{value:.0%}" if self.scale == "share" else f"{value:g}") for value in values]


@dataclass(frozen=True)
class Panel:
    """One plot; where it has `rows`, from top to bottom, y counts them from 0; a name may have two lines. `notes` stand beside the rows."""

    title: str
    series: tuple[Series, ...]
    rows: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """Panels with the same axes; `title` says what they show, `nothing` what is said where there are none."""

    title: str
    panels: tuple[Panel, ...]
    x: Axis
    y: Axis
    nothing: str = "No trial is done so far."

    @property
    def key(self) -> list[Series]:
        """The first series of each name."""
        return list({each.name: each for panel in reversed(self.panels) for each in reversed(panel.series) if each.points}.values())[::-1]


# --- SVG -------------------------------------------------------------------------------------------------------------------


def draw(chart: Chart) -> Markup:
    """The chart as a picture."""
    if not chart.panels:
        return svg(_WIDTH, 40, chart.nothing, [text(4, 24, chart.nothing, limit=140)])
    rowed = any(panel.rows for panel in chart.panels)
    columns = min(2 if rowed else 3, len(chart.panels))
    wide = (_WIDTH - _GAP * (columns - 1)) / columns
    parts, top = list(_key(chart)), _KEY + 4.0 + 18 * (len(_placed(chart)[1]) - 1)
    for first in range(0, len(chart.panels), columns):
        row = chart.panels[first : first + columns]
        tall = max(_ROW * len(panel.rows) for panel in row) if rowed else _TALL
        for n, panel in enumerate(row):
            parts += _panel(chart, panel, n * (wide + _GAP), top, wide, tall)
        top += tall + 76
    return svg(_WIDTH, round(top), f"{chart.title}: {', '.join(panel.title for panel in chart.panels if panel.title)}".rstrip(": "), parts)


def _placed(chart: Chart) -> tuple[list[tuple[Series, float, int]], set[int]]:
    """Where each entry of the key stands, in as many lines as they need."""
    found, x, row = list[tuple[Series, float, int]](), 4.0, 0
    for each in chart.key:
        wide = 34 + _LETTER * min(len(each.name), 40)
        if x + wide > _WIDTH and x > 4:
            x, row = 4.0, row + 1
        found.append((each, x, row))
        x += wide
    return found, {row for *_, row in found} or {0}


def _key(chart: Chart) -> Iterator[Markup]:
    for each, x, row in _placed(chart)[0]:
        y = 14.0 + 18 * row
        yield from _stroke(each, f"M{x:.1f} {y:.1f}h16") if each.form in _LINES else [sign(x + 8, y, each)]
        yield text(x + 21, y + 4, each.name)


def _panel(chart: Chart, panel: Panel, left: float, top: float, wide: float, tall: float) -> Iterator[Markup]:
    letters = [len(words) for name in panel.rows for words in name.split("\n")]
    room = min(0.48 * wide, 14 + _LETTER * max(letters)) if letters else 40.0
    beside = min(0.34 * wide, 12 + _LETTER * max(map(len, panel.notes))) if panel.notes else 12.0
    inner, head = wide - room - beside, top + 18

    def x(value: float) -> float:
        return left + room + _EDGE + chart.x.at(value) * (inner - 2 * _EDGE)

    def y(value: float) -> float:
        return head + (value + 0.5) * _ROW if panel.rows else head + (1 - chart.y.at(value)) * tall

    bottom = head + (_ROW * len(panel.rows) if panel.rows else tall)
    yield text(left, top + 8, panel.title, limit=int(wide / _LETTER), weight=600) if panel.title else Markup("")
    for value, words in chart.x.ticks():
        yield line(x(value), head, x(value), bottom, "rule")
        yield text(x(value), bottom + 15, words, "middle")
    yield text(left + room + inner / 2, bottom + 31, chart.x.name, "middle", int(inner / _LETTER) + 12)
    for n, name in enumerate(panel.rows):
        for k, words in enumerate(lines := name.split("\n")):
            at = y(n) + 4 + 13 * (k - (len(lines) - 1) / 2)
            yield text(left + room - 8, at, words, "end", int((room - 8) / _LETTER) + 1, 600 if k < len(lines) - 1 else None)
    for n, note in enumerate(panel.notes):
        yield text(left + room + inner + 10, y(n) + 4, note, limit=int(beside / _LETTER) + 1)
    for value, words in () if panel.rows else chart.y.ticks():
        yield line(left + room, y(value), left + room + inner, y(value), "rule")
        yield text(left + room - 6, y(value) + 4, words, "end")
    for each in panel.series:
        yield from _drawn(each, x, y, bool(panel.rows))


def _drawn(each: Series, x: Callable[[float], float], y: Callable[[float], float], rowed: bool) -> Iterator[Markup]:
    if each.form in _LINES:
        path, broken = "", True  # a line is broken where there is no value
        for at, value in each.points:
            path += "" if math.isnan(value) else f"{'M' if broken else 'L'}{x(at):.1f} {y(value):.1f}"
            broken = math.isnan(value)
        yield from _stroke(each, path)
        return
    for (at, value), (low, high) in zip(each.points, each.spans, strict=False):
        ends = (x(low), y(value), x(high), y(value)) if rowed else (x(at), y(low), x(at), y(high))
        yield line(*ends, each.kind, 2.0) if math.isfinite(low) and math.isfinite(high) else Markup("")
    told = each.told or ("",) * len(each.points)
    for (at, value), words in zip(each.points, told, strict=True):
        yield sign(x(at), y(value), each, words)


def _stroke(each: Series, path: str) -> Iterator[Markup]:
    width, opacity, dashes = _LINES[each.form]
    look = {"class_": f"gb-{each.kind}", "stroke": COLOURS[each.kind], "stroke_width": width, "stroke_opacity": opacity}
    yield tag("path", d=path, fill="none", stroke_dasharray=dashes, **look)


def sign(x: float, y: float, each: Series, words: str = "") -> Markup:
    """One mark of a series, which `words` open from."""
    size = _SIZES[each.form]
    if each.form in ("ring", "dot"):
        return mark(x, y, each.kind, size, words, full=each.form == "dot")
    look = {"class_": f"gb-{each.kind}{' gb-full' * (each.form == 'diamond')}", "stroke": COLOURS[each.kind], "stroke_width": 2}
    ways = (
        [(-size, 0), (0, -size), (size, 0), (0, size)]
        if each.form == "diamond"
        else [(-size, -size), (size, size), (-size, size), (size, -size)]
    )
    (a, b), (c, d), (e, f), (g, h) = ((x + dx, y + dy) for dx, dy in ways)
    path = f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}{'L' if each.form == 'diamond' else 'M'}{e:.1f} {f:.1f}L{g:.1f} {h:.1f}"
    fill = COLOURS[each.kind] if each.form == "diamond" else "none"
    return tag("path", tag("title", words) if words else "", d=path + "Z" * (each.form == "diamond"), fill=fill, **look)


# --- Plotly ----------------------------------------------------------------------------------------------------------------


def explore(chart: Chart) -> "go.Figure":
    """The chart as a Plotly figure; names that anybody gave stand in it as text."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    if not chart.panels:
        return go.Figure().update_layout(title=plain(chart.nothing))
    rowed = any(panel.rows for panel in chart.panels)
    columns = min(2 if rowed else 3, len(chart.panels))
    lines = -(-len(chart.panels) // columns)
    titles = [plain(panel.title) for panel in chart.panels]
    figure = make_subplots(rows=lines, cols=columns, subplot_titles=titles, shared_yaxes=not rowed)
    seen = set[str]()
    for n, panel in enumerate(chart.panels):
        at = {"row": n // columns + 1, "col": n % columns + 1}
        for each in panel.series:
            figure.add_trace(_trace(each, bool(panel.rows), each.name not in seen), **at)
            seen.add(each.name)
        figure.update_xaxes(**_axis(chart.x), **at)
        names = {"tickvals": list(range(len(panel.rows))), "ticktext": [plain(name).replace("\n", "<br>") for name in panel.rows]}
        ends = {"range": [len(panel.rows) - 0.5, -0.5], "zeroline": False}
        figure.update_yaxes(**(names | ends if panel.rows else _axis(chart.y)), automargin=True, **at)
    tall = max((40 * len(panel.rows) for panel in chart.panels), default=0) if rowed else 260
    height = 150 + lines * (tall + 70)
    margin = {"l": 60, "r": 16, "t": 110, "b": 50}
    legend = {"orientation": "h", "y": 1 + 40 / height, "yanchor": "bottom"}
    return figure.update_layout(template="plotly_white", title=plain(chart.title), height=height, margin=margin, legend=legend)


def _axis(axis: Axis) -> dict[str, Any]:
    ends = [math.log10(max(axis.low, _LEAST)), math.log10(axis.high)] if axis.scale == "p" else [axis.low, axis.high]
    look = {"share": {"tickformat": ".0%"}, "p": {"type": "log"}, "count": {}}[axis.scale]
    return {"title": {"text": plain(axis.name)}, "range": ends, "zeroline": False, **look}


def _trace(each: Series, rowed: bool, first: bool) -> Any:
    import plotly.graph_objects as go

    x, y = [[point[n] for point in each.points] for n in (0, 1)]
    common = {"x": x, "y": y, "name": plain(each.name), "legendgroup": plain(each.name), "showlegend": first and bool(x)}
    if each.form in _LINES:
        width, opacity, dashes = _LINES[each.form]
        look = {"color": COLOURS[each.kind], "width": width, "dash": "dash" if dashes else "solid"}
        return go.Scatter(**common, mode="lines", line=look, opacity=opacity, hoverinfo="skip")
    marks = {"color": COLOURS[each.kind], "symbol": _SYMBOLS[each.form], "size": 2 * _SIZES[each.form], "line": {"width": 2}}
    spans = {}
    if each.spans:
        middle = x if rowed else y
        off = [[max(0.0, side * (edge[side > 0] - at)) for edge, at in zip(each.spans, middle, strict=True)] for side in (1, -1)]
        spans = {f"error_{'x' if rowed else 'y'}": {"array": off[0], "arrayminus": off[1], "thickness": 2, "width": 3}}
    told = {"hovertext": [plain(words) for words in each.told], "hoverinfo": "text"} if each.told else {"hoverinfo": "skip"}
    return go.Scatter(**common, mode="markers", marker=marks, **spans, **told)
