"""Pictures of findings: values with their intervals about zero, and shares of a whole as one bar."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from gradbook.page.svg import COLOURS, line, mark, svg, tag, text

if TYPE_CHECKING:
    from gradbook.tell.findings.views import BarView

_WIDTH, _LABEL, _RIGHT, _ROW = 620, 250, 130, 22
_HUES = ("before", "after", "good", "rerun", "bad", "band")


def bars(rows: "Sequence[BarView]", axis: str) -> Markup:
    """Values in points about zero, a row each, under the headings of their groups; `axis` names what they are points of."""
    edges = [abs(edge) for row in rows for edge in (row.value, row.low, row.high) if edge is not None and abs(edge) <= 1]
    reach = max(0.1, -(-max(edges, default=0.1) // 0.1) * 0.1)
    heads = sum(bool(row.group) and (n == 0 or row.group != rows[n - 1].group) for n, row in enumerate(rows))
    bottom = 6 + _ROW * (len(rows) + heads)
    parts = list(_axis(reach, bottom)) + list(_rows(rows, reach))
    told = f"{axis}, in points: " + "; ".join(f"{row.label} {row.text}" for row in rows)
    return svg(_WIDTH, bottom + 36, told, [*parts, text(_x(0.0, 1.0), bottom + 30, axis, "middle", 60)])


def _x(points: float, reach: float) -> float:
    return _LABEL + (min(max(points / reach, -1.0), 1.0) + 1) / 2 * (_WIDTH - _LABEL - _RIGHT)


def _axis(reach: float, bottom: float) -> Iterator[Markup]:
    for points in (-reach, 0.0, reach):
        yield text(_x(points, reach), bottom + 14, f"{100 * points:+.0f}".replace("-", "−") if points else "0", "middle")


def _rows(rows: "Sequence[BarView]", reach: float) -> Iterator[Markup]:
    y, group = 6.0, ""
    for row in rows:
        if row.group and row.group != group:
            yield text(4, y + 15, row.group, limit=60, weight=600)
            y, group = y + _ROW, row.group
        kind, middle = {"good": "good", "bad": "bad"}.get(row.tone, "rerun"), y + _ROW / 2
        yield text(_LABEL - 10, middle + 4, row.label, "end", 38)
        for points in (-1.0, 0.0, 1.0):  # the rules pass by the headings
            yield line(_x(points, 1.0), y, _x(points, 1.0), y + _ROW, "rule")
        if row.low is not None and row.high is not None:
            yield line(_x(row.low, reach), middle, _x(row.high, reach), middle, kind, 1.5)
        yield mark(_x(row.value, reach), middle, kind, 4.5, f"{row.label}: {row.text}", full=row.tone != "quiet")
        yield text(_WIDTH - _RIGHT + 8, middle + 4, row.text, limit=24)
        y += _ROW


def shares(parts: Sequence[tuple[str, float]]) -> Markup:
    """Shares of one whole as one bar, and below it each with its name and number."""
    drawn, x, width = [], 4.0, _WIDTH - 8
    for n, (name, share) in enumerate(parts):
        wide, kind = max(share, 0.0) * width, _HUES[n % len(_HUES)]
        look = {"class_": f"gb-{kind} gb-full", "fill": COLOURS[kind], "fill_opacity": 0.75, "stroke": COLOURS["rule"], "stroke_width": 1}
        drawn.append(tag("rect", tag("title", f"{name}: {share:.0%}"), x=x, y=6, width=wide, height=26, **look))
        at = 4 + n % 3 * (width / 3)
        drawn.append(tag("rect", x=at, y=44.0 + n // 3 * 20, width=10, height=10, **look))
        drawn.append(text(at + 16, 53 + n // 3 * 20, f"{name} {share:.0%}", limit=34))
        x += wide
    return svg(_WIDTH, 44 + 20 * (-(-len(parts) // 3)) + 4, "; ".join(f"{name} {share:.0%}" for name, share in parts), drawn)
