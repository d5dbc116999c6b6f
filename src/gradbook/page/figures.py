"""All plots. A picture is SVG made here, one for workbench, export, fallback and notebook; what a person explores is Plotly.

Colours are classes that the style sheet sets, with a value in the mark itself where there is no sheet. Marks differ in shape too.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from gradbook.metrics import Metrics, Share
from gradbook.page.svg import COLOURS, line, mark, svg, tag, text
from gradbook.records import SPLITS, SplitName, Step, Variable

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from gradbook.effects import Effect
    from gradbook.recording import Recording

_SIZES = {"before": 6.0, "after": 5.0}
_LABEL, _WIDTH, _ROW, _RIGHT = 84, 310, 22, 16
_CROWDED = 16
"""Of more steps in a panel, marks are small and only some are numbered."""


# --- the effect ----------------------------------------------------------------------------------------------------------


def effect(found: "Effect") -> Markup:
    """Accuracy of both arms as they ran, with Wilson's intervals, and their draws; their difference with interval and margin; recall."""
    arms = (("before", found.before), ("after", found.after))
    labels = [label for label in found.before.metrics.shown()[0] if found.before.metrics.recall[label].total]
    parts, y = list(_axis(8, 8 + 2 * _ROW)), 8
    for kind, arm in arms:
        name, middle, ran = f"step {arm.step}", y + _ROW / 2, arm.metrics.accuracy
        parts.append(text(_LABEL - 10, middle + 4, name, "end", 13))
        for n, share in enumerate(arm.floor):
            same = arm.floor[:n].count(share)  # what came out alike stands above and below each other
            beside = min((same + 1) // 2 * 4, 8) * (-1) ** same
            parts.append(mark(_x(share), middle + beside, "rerun", 3.0, f"draw {n + 1} of {name}: {share:.1%}"))
        parts.append(line(_x(ran.interval[0]), middle, _x(ran.interval[1]), middle, kind, 1.5))
        parts.append(mark(_x(ran.value), middle, kind, _SIZES[kind], f"{name} as it ran: {ran.value:.1%}"))
        y += _ROW
    y += 22
    if found.verdict:
        parts += _difference(found, y)
        y += _ROW + 22
    if labels:
        parts += _axis(y, y + _ROW * len(labels))
    for label in labels:
        parts.append(text(_LABEL - 10, y + _ROW / 2 + 4, f"recall {label}", "end", 13))
        shares = [(kind, arm.recall(label)) for kind, arm in arms]
        parts += [mark(_x(share), y + _ROW / 2, kind, _SIZES[kind], f"{kind}: {share:.1%}") for kind, share in shares]
        y += _ROW
    name = f"step {found.before.step} and step {found.after.step}: {found.before.metrics.name}, draws, difference, recall by class"
    return svg(_WIDTH, y + 22 * bool(labels), name, parts)


def _difference(found: "Effect", top: float) -> Iterator[Markup]:
    """The difference in points about zero: its interval for examples like these, the thicker one for these, and the margin as a band."""
    like, these = found.judged.like_these, found.judged.these
    edges = [abs(edge) for edge in (like.low, like.high, found.margin) if abs(edge) < 1]
    reach = max(0.1, -(-max(edges, default=1.0) // 0.1) * 0.1)
    middle = top + _ROW / 2

    def x(points: float) -> float:
        return _x((min(max(points, -reach), reach) / reach + 1) / 2)

    band = {"class_": "gb-band", "fill": COLOURS["band"], "fill_opacity": 0.18}
    yield tag("rect", x=x(-found.margin), y=top, width=x(found.margin) - x(-found.margin), height=float(_ROW), **band)
    for points in (-reach, 0.0, reach):
        yield line(x(points), top, x(points), top + _ROW, "rule")
        yield text(x(points), top + _ROW + 14, f"{100 * points:+.0f}".replace("-", "−") if points else "0", "middle")
    yield text(_LABEL - 10, middle + 4, "difference", "end", 13)
    yield line(x(like.low), middle, x(like.high), middle, "after", 1.5)
    yield line(x(these.low), middle, x(these.high), middle, "after", 4.0, 0.5)
    yield mark(x(like.difference), middle, "after", 5.0, f"{100 * like.difference:+.1f} points")


def _x(share: float) -> float:
    return _LABEL + share * (_WIDTH - _LABEL - _RIGHT)


def _axis(top: float, bottom: float) -> Iterator[Markup]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield line(_x(share), top, _x(share), bottom, "rule")
        if share in (0.0, 0.5, 1.0):
            yield text(_x(share), bottom + 14, f"{share:.0%}", "middle")


# --- scores over steps -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A score: `x` counts batches from the seed prompt, `value`, `low` and `high` are shares, `kind` is "step" or "after" (a branch)."""

    step: int
    x: float
    value: float
    low: float
    high: float
    kind: str
    before: int | None = None


@dataclass(frozen=True)
class Panel:
    """The scores of one variable on one split; `reruns` are (x, share) of runs without a change, `numbered` the steps named in the plot."""

    title: str
    unit: str
    points: tuple[Point, ...]
    reruns: tuple[tuple[float, float], ...]
    numbered: frozenset[int]

    @property
    def edges(self) -> list[tuple[Point, Point]]:
        """From each point to the next that is scored on its line."""
        places = {point.step: point for point in self.points}
        return [(places[point.before], point) for point in self.points if point.before in places]


def panels(rec: "Recording") -> list[Panel]:
    """What is scored, a panel a split for the task's prompt, and below them for the critic's agreement with the gold answers."""
    steps = [step for step in rec if not step.aside and step.done]
    made = [_panel(rec, [s for s in steps if s.variable == variable], variable, split) for variable in _UNITS for split in SPLITS]
    return [panel for panel in made if panel.points]


_UNITS: dict[Variable, str] = {"prompt": "accuracy", "critic": "agreement"}


def _panel(rec: "Recording", steps: list[Step], variable: Variable, split: SplitName) -> Panel:
    found = {step.id: (step, metrics) for step in steps if (metrics := rec.metrics(step, split))}
    places = _places([step for step, _ in found.values()])
    points = tuple(_point(rec, step, places[step.id], metrics, found) for step, metrics in found.values())
    reruns = [
        (places[s.replicate_of] - 0.06, m) for s in rec if s.replicate_of in found and s.done and (m := rec.metrics(s, split, s.replicate))
    ]
    title = split if variable == "prompt" else f"critic on {split}"
    again = tuple((x, metrics.accuracy.value) for x, metrics in reruns)
    return Panel(title, _UNITS[variable], points, again, _numbered(points))


def _point(rec: "Recording", step: Step, x: float, metrics: Metrics, found: dict[int, Any]) -> Point:
    share: Share = metrics.accuracy
    before = step.parent
    while before is not None and before not in found:
        before = rec[before].parent
    return Point(step.id, x, share.value, *share.interval, "step" if step.origin is None else "after", before)


def _places(steps: list[Step]) -> dict[int, float]:
    """Where each step stands from left to right: at its depth, those of the same depth side by side."""
    beside: Counter[int] = Counter()
    most = max(Counter(step.depth for step in steps).values(), default=1)
    places = {}
    for step in steps:
        places[step.id] = step.depth + min(0.16, 0.8 / most) * beside[step.depth]
        beside[step.depth] += 1
    return places


def _numbered(points: Sequence[Point]) -> frozenset[int]:
    """The steps whose number stands beside their mark: all, or of many the telling ones, as far as they keep clear of each other."""
    if len(points) <= _CROWDED:
        return frozenset(point.step for point in points)
    wide = 0.1 * max(point.x for point in points)
    chosen: list[Point] = []
    for point in (max(points, key=lambda p: (p.value, -p.step)), points[0], points[-1], *(p for p in points if p.kind == "after")):
        if len(chosen) < _CROWDED and not any(abs(point.x - o.x) < wide and abs(point.value - o.value) < 0.08 for o in chosen):
            chosen.append(point)
    return frozenset(point.step for point in chosen)


def scores(drawn: Sequence[Panel]) -> Markup:
    """The panels as one picture, side by side, those of the critic in a row of their own."""
    rows = [row for unit in _UNITS.values() if (row := [panel for panel in drawn if panel.unit == unit])]
    width, tall, columns = 920, 250, max((len(row) for row in rows), default=1)
    parts = [_key(width)]
    for n, row in enumerate(rows):
        for column, panel in enumerate(row):
            parts += _drawn(panel, 46 + column * (width - 46) / columns, 34 + n * tall, (width - 46) / columns - 18, tall - 62, column == 0)
    return svg(width, 34 + tall * len(rows), "Scores over the steps: " + ", ".join(panel.title for panel in drawn), parts)


def _key(width: int) -> Markup:
    marks = (("step", "step"), ("after", "branch"), ("rerun", "run again without a change"))
    return Markup("").join(mark(52 + 90 * n, 12, kind) + text(62 + 90 * n, 16, words) for n, (kind, words) in enumerate(marks))


def _drawn(panel: Panel, left: float, top: float, width: float, height: float, first: bool) -> Iterator[Markup]:
    deepest = max(1.0, max(point.x for point in panel.points))
    shares = [share for point in panel.points for share in (point.low, point.high)]
    low, high = max(0.0, min(shares) - 0.05), min(1.0, max(shares) + 0.05)

    def x(batch: float) -> float:
        return left + 12 + batch / deepest * (width - 36)

    def y(share: float) -> float:
        return top + 20 + (high - share) / ((high - low) or 1) * height

    yield text(left, top + 12, f"{panel.title}: {panel.unit}")
    for tick in range(11):
        if low <= tick / 10 <= high:
            yield line(left, y(tick / 10), left + width, y(tick / 10), "rule")
            yield text(left - 6, y(tick / 10) + 4, f"{tick * 10}%", "end") if first else Markup("")
    for tick in range(0, int(deepest) + 1, max(1, round(deepest / 8))):
        yield text(x(tick), top + height + 36, str(tick), "middle")
    yield text(left + width / 2, top + height + 52, "batches from the seed prompt", "middle")
    crowded = len(panel.points) > _CROWDED
    edges = [(a, b) for a, b in panel.edges if not crowded or b.kind == "step" or b.step in panel.numbered]  # else they cover the plot
    ways = "".join(f"M{x(a.x):.1f} {y(a.value):.1f}L{x(b.x):.1f} {y(b.value):.1f}" for a, b in edges)
    yield tag("path", d=ways, class_="gb-rule", stroke=COLOURS["rule"], stroke_width=2, fill="none")
    yield from (mark(x(batch), y(share), "rerun", 3.5) for batch, share in panel.reruns)
    for point in panel.points:
        kind = "before" if point.kind == "step" else point.kind
        told = point.step in panel.numbered  # of many, only these have all that there is to say
        if told:
            yield line(x(point.x), y(point.low), x(point.x), y(point.high), kind, 1.0, 0.7)
        title = f"step {point.step}: {point.value:.1%}" if told else ""
        yield mark(x(point.x), y(point.value), point.kind, 3.0 if crowded else 5.0, title)
        if told:
            yield text(x(point.x) + 8, y(point.value) - 5, str(point.step))


# --- Plotly, to explore ------------------------------------------------------------------------------------------------------


def plain(said: object) -> str:
    """Words that Plotly shows as they stand: it reads tags, and links in them, in labels, names and hover texts."""
    return str(said).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def score_figure(rec: "Recording") -> "go.Figure":
    """Accuracy of each step's prompt with Wilson's interval at 95 %, a panel a split; a critic's agreement has panels of its own."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    drawn = panels(rec)
    if not drawn:
        return go.Figure().update_layout(title="no split has been scored so far")
    titles = [plain(f"{panel.title}: {panel.unit}") for panel in drawn]
    figure = make_subplots(rows=1, cols=len(drawn), subplot_titles=titles, shared_yaxes=True)
    for column, panel in enumerate(drawn, start=1):
        line = [value for a, b in panel.edges for value in ((a.x, a.value), (b.x, b.value), (None, None))]
        figure.add_trace(_trace(line, "to the next that is scored", "rule", None), 1, column)
        figure.add_trace(_trace(list(panel.reruns), "run again without a change", "rerun", "circle-open"), 1, column)
        for kind, name, symbol in (("step", "step", "circle"), ("after", "branch", "diamond")):
            points = [point for point in panel.points if point.kind == kind]
            trace = _trace([(p.x, p.value) for p in points], name, "before" if kind == "step" else kind, symbol)
            up, down = [p.high - p.value for p in points], [p.value - p.low for p in points]
            told = [f"step {p.step}: {p.value:.1%}, {p.low:.1%} to {p.high:.1%}" for p in points]
            trace.update(error_y={"array": up, "arrayminus": down, "thickness": 1, "width": 3}, hovertext=told, hoverinfo="text")
            figure.add_trace(trace, 1, column)
        figure.update_xaxes(title_text="batches from the seed prompt", row=1, col=column)
    figure.for_each_trace(lambda trace: trace.update(showlegend=trace.xaxis in (None, "x")))
    return _styled(figure)


def training_figure(rec: "Recording", step: Step | None = None) -> "go.Figure":
    """Accuracy on the whole training split, epoch by epoch, on the line of steps that leads to `step` (by default the current one)."""
    import plotly.graph_objects as go

    frame = rec.training(step)
    figure = go.Figure(_trace(list(zip(frame["epoch"], frame["accuracy"], strict=True)), "training accuracy", "before", "circle"))
    up, down = frame["high"] - frame["accuracy"], frame["accuracy"] - frame["low"]
    figure.update_traces(
        mode="lines+markers", error_y={"array": up, "arrayminus": down}, hovertemplate="epoch %{x}: %{y:.1%}<extra></extra>"
    )
    return _styled(figure.update_xaxes(title_text="epoch"))


def _trace(places: list[tuple[Any, Any]], name: str, kind: str, symbol: str | None) -> Any:
    import plotly.graph_objects as go

    x, y = ([place[n] for place in places] for n in (0, 1))
    look: dict[str, Any] = {"mode": "markers", "marker": {"color": COLOURS[kind], "symbol": symbol, "size": 9}}
    return go.Scatter(
        x=x, y=y, name=plain(name), **(look if symbol else {"mode": "lines", "line": {"color": COLOURS[kind]}, "hoverinfo": "skip"})
    )


def _styled(figure: Any) -> Any:
    figure.update_yaxes(tickformat=".0%", zeroline=False)
    return figure.update_layout(
        template="plotly_white", height=380, margin={"l": 50, "r": 16, "t": 48, "b": 44}, legend={"orientation": "h", "y": 1.2}
    )


def png(picture: Markup) -> bytes:
    """A picture of this module as PNG, at twice its size on white: for notebooks, since code hosts show no SVG."""
    import vl_convert  # it needs no browser; only an export needs it

    return vl_convert.svg_to_png(on_white(picture), scale=2)


def on_white(picture: Markup) -> str:
    """A picture on white, for where no page is behind it."""
    size = str(picture).split(">", 1)[0]
    return str(picture).replace(size + ">", f'{size}><rect width="100%" height="100%" fill="#fff"/>', 1)
