"""The probe of noise in words and rows."""

from typing import TYPE_CHECKING

from gradbook.findings.probes_noise import BatchNoise
from gradbook.tell.findings.views import FindingView, GridView
from gradbook.tell.overviews import Figure
from gradbook.tell.words import count

if TYPE_CHECKING:
    from gradbook.recording import Recording

GOOD = {"holds": True, "does not hold": False}
"""Whether the word of a probe is good news for who takes critiques for gradients."""


def batch_noise(_: "Recording | None", found: BatchNoise) -> FindingView:
    """How the spread between batches goes with their size."""
    means = [sum(sum(map(sum, batch)) for batch in draws) / sum(len(a) for batch in draws for a in batch) for draws in found.scores]
    rows = tuple(
        (
            Figure(str(size)),
            Figure(f"{mean:.1%}"),
            Figure(f"{100 * spread:.1f} points"),
            Figure(f"{100 * floor:.1f} points"),
            Figure(f"{same}"),
        )
        for size, mean, spread, floor, same in zip(
            found.sizes, means, found.scaling.spread, found.scaling.answering, found.unchanged, strict=True
        )
    )
    heads = ("batch size", "mean score", "standard deviation between batches", "that answering alone makes", "without a rewrite")
    remarks = []
    if means[-1] > 0.95:
        remarks.append("After the largest batches nearly all is right, where scores can hardly vary: that alone makes the noise fall.")
    if any(found.unchanged):
        remarks.append("Where a batch gave no usable rewrite, the old prompt was scored; such draws are all alike.")
    return FindingView(
        id=found.id,
        kind=found.kind,
        title=found.title,
        step=found.step,
        split=found.split or "",
        asked=f"{found.hypothesis} {count(found.replicates, 'batch')} of each size were drawn from {found.train} training examples; each "
        f"rewrite answered {count(len(found.scores[0][0]), 'time')}. The margin is {found.margin:g}; each word is wrong in at most 5 %.",
        verdict=found.verdict,
        good=GOOD.get(found.verdict),
        sentence=str(found),
        grids=(GridView("Batches by their size", heads, rows),),
        remarks=tuple(remarks),
        code=f"gb.probes.noise(case, {found.step}, sizes={found.sizes!r}, split={found.split!r}, replicates={found.replicates}, "
        f"answers={len(found.scores[0][0])}, margin={found.margin:g})",
    )
