"""The few elements that all pictures are made of.

A colour is a class that the style sheet sets, with a value in the mark itself where there is no sheet; marks differ in shape too.
"""

from collections.abc import Iterable

from markupsafe import Markup, escape

COLOURS = {
    "rule": "#c9d1d9", "band": "#6e7781", "rerun": "#6e7781", "before": "#0b57b8", "after": "#b04a00", "good": "#136a2e", "bad": "#a3241a",
}  # fmt: skip
INK = "#57606a"


def tag(name: str, inside: str = "", /, **attributes: object) -> Markup:
    """One element; `class_` also gives the colour that holds without a style sheet."""
    told = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    made = " ".join(f'{key}="{escape(f"{value:.1f}" if isinstance(value, float) else value)}"' for key, value in told.items())
    return Markup(f"<{name} {made}>{escape(inside)}</{name}>")


def svg(width: int, height: int, name: str, parts: Iterable[Markup]) -> Markup:
    """A picture with a name for who does not see it."""
    attributes = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height, "xmlns": "http://www.w3.org/2000/svg"}
    return tag("svg", Markup("").join(parts), **attributes, class_="gb-plot", role="img", aria_label=name)


def text(x: float, y: float, words: str, anchor: str = "start", limit: int = 40, weight: int | None = None) -> Markup:
    """Words; of more than `limit` characters the rest opens as a title."""
    shown = words if len(words) <= limit else words[: limit - 1] + "…"
    inside = shown if shown == words else tag("title", words) + shown
    return tag("text", inside, x=x, y=y, font_size=11, font_family="sans-serif", font_weight=weight, text_anchor=anchor, fill=INK)


def line(x1: float, y1: float, x2: float, y2: float, kind: str, width: float = 1.0, opacity: float | None = None) -> Markup:
    """A line in the colour of its kind."""
    colour = {"class_": f"gb-{kind}", "stroke": COLOURS[kind], "stroke_width": width, "stroke_opacity": opacity}
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, **colour)


def mark(x: float, y: float, kind: str, size: float = 5.0, title: str = "", full: bool | None = None) -> Markup:
    """A ring for what was before and for runs without a change, a full diamond for what came after, a full dot for a step."""
    full = kind in ("after", "step") if full is None else full
    kind = "before" if kind == "step" else kind
    look = {
        "class_": f"gb-{kind}{' gb-full' * full}",
        "stroke": COLOURS[kind],
        "stroke_width": 2,
        "fill": COLOURS[kind] if full else "none",
    }
    inside = tag("title", title) if title else ""
    if kind == "after":
        return tag(
            "path", inside, d=f"M{x - size:.1f} {y:.1f}L{x:.1f} {y - size:.1f}L{x + size:.1f} {y:.1f}L{x:.1f} {y + size:.1f}Z", **look
        )
    return tag("circle", inside, cx=x, cy=y, r=size if not full else size - 1, **look)
