"""The noise budget in words and rows."""

import math
from typing import TYPE_CHECKING

from gradbook.findings.noise import Noise
from gradbook.tell.findings.views import FindingView, GridView
from gradbook.tell.overviews import Figure

if TYPE_CHECKING:
    from gradbook.recording import Recording


def noise(_: "Recording | None", found: Noise) -> FindingView:
    """A noise budget: its shares as one bar, and what one more unit of each source would bring."""
    parts, varies = found.components, bool(found.largest)
    narrowing = parts.narrowing()
    shares, intervals = parts.shares, {name: f"{low:.0%} to {high:.0%}" for name, (low, high) in parts.share_intervals.items()}
    rows = tuple(
        (
            Figure(name),
            Figure(str(found.counts[name])),
            Figure(f"{shares[name]:.0%}", intervals[name]) if varies else Figure("–"),
            Figure(f"{100 * math.sqrt(max(parts.variances[name], 0)):.1f} points"),
            Figure(f"{1 - narrowing[name]:.1%} shorter", f"for {found.prices[name]:,} calls"),
        )
        for name in found.counts
    )
    heads = ("source", "draws", "share of the variance", "standard deviation", "one more makes the interval")
    drawn = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    given = [f"split={found.split!r}", *(f"{name}={count}" for name, count in found.counts.items() if name != "examples")]
    return FindingView(
        id=found.id,
        kind=found.kind,
        title=found.title,
        step=found.step,
        split=found.split or "",
        asked=f"{found.hypothesis} Nested draws: {drawn}, each within the one before.",
        verdict=found.verdict,
        good=None,
        sentence=str(found),
        shares=tuple(shares.items()) if varies else (),
        grids=(GridView("", heads, rows),),
        code=f"case.noise({found.step}, {', '.join(given)})",
        remarks=("With few draws a share may lie nearly anywhere in its interval.",) if varies and found.verdict == "cannot tell" else (),
    )
