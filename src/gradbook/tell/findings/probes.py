"""The probes of critiques in words and rows: sign, step size, additivity and order."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradbook.edits.words import STRENGTHS
from gradbook.findings.base import ALPHA
from gradbook.findings.probes import NEGATED, Probe, Sign, whole
from gradbook.findings.probes_size import StepSize
from gradbook.findings.probes_sum import Additivity
from gradbook.stats import Estimate, effect
from gradbook.tell.findings.views import BarView, FindingView, GridView
from gradbook.tell.overviews import Figure
from gradbook.tell.words import NOTHING, brief, count, points, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

AGAINST, DECIDES = "against the prompt that the step began with", "what decides"
_TONES: dict[str | None, Literal["good", "bad", "quiet"]] = {"helps": "good", "harms": "bad"}


def sign(rec: "Recording | None", found: Sign) -> FindingView:
    """The sign of critiques, with what was made of them."""
    bars = (
        _bar("as they are", found.as_they_are.like_these, AGAINST),
        _bar("negated", found.opposite.like_these, AGAINST),
        _bar("as they are, less negated", found.apart.like_these, DECIDES),
    )
    return _view(found, bars, _negations(rec, found), stage=found.stage)


def _negations(rec: "Recording | None", found: Sign) -> tuple[GridView, ...]:
    """Each critique with its negation, where they are at hand."""
    event = rec.found.get(found.id) if rec else None
    arms = [rec[id] for id in event.steps if rec[id].arm == NEGATED and rec[id].replicate_of is None] if rec and event else []
    if rec is None or not arms:
        return ()
    negated = {(critique.example, critique.index): critique.text for critique in whole(arms[0], found.stage)}
    rows = tuple(
        (Figure(one.example), Figure(brief(one.text, 200)), Figure(brief(negated.get((one.example, one.index), NOTHING), 200)))
        for one in whole(rec[found.step], found.stage)
    )
    caption = f"The {spaced(found.stage)}s, and their negations by the model that wrote them, in full in step {arms[0].id}"
    return (GridView(caption, ("example", "as it is", "negated"), rows),)


def step_size(rec: "Recording | None", found: StepSize) -> FindingView:
    """Dose and response."""
    effects = [effect(found.before, draws, found.margin, found.alpha).these for draws in found.strengths]
    bars = tuple(_bar(word, one, AGAINST) for word, one in zip(STRENGTHS, effects, strict=True))
    rises = (("score", found.score, found.score_rise[0]), ("share of words that change", found.distance, found.distance_rise))
    trends = GridView(
        f"What rises with the strength, on these examples; the {found.by} decides",
        ("", "Kendall’s τ with permutation p", f"from {STRENGTHS[0]} to {STRENGTHS[-1]}"),
        tuple((Figure(name), Figure(str(trend)), Figure(str(rise))) for name, trend, rise in rises),
    )
    doses = GridView(
        f"Means of {count(found.replicates, 'draw')}",
        ("to be followed", "score", "words that change"),
        tuple(
            (Figure(word), Figure(f"{np.mean(draws):.1%}"), Figure(f"{np.mean(moved):.1%}"))
            for word, draws, moved in zip(STRENGTHS, found.strengths, found.distances, strict=True)
        ),
    )
    return _view(found, bars, (trends, doses), stage=found.stage, by=found.by)


def additivity(rec: "Recording | None", found: Additivity) -> FindingView:
    """The sum of critiques, and their order."""
    bars = [_bar(f"{name} alone", one.like_these, AGAINST) for name, one in found.singles.items()]
    bars.append(_bar("together", found.joint.like_these, AGAINST))
    bars.append(_bar("together, less the sum of each alone", found.beyond[1], DECIDES))
    if found.order:
        bars.append(_bar("the other way round, less as they are", found.order.like_these, DECIDES))
    return _view(found, tuple(bars), ())


def _view(found: Probe, bars: tuple[BarView, ...], grids: tuple[GridView, ...], **options: Any) -> FindingView:
    given = {"split": found.split, "replicates": found.replicates, "margin": found.margin} | options
    return FindingView(
        id=found.id,
        kind=found.kind,
        title=found.title,
        step=found.step,
        split=found.split or "",
        asked=f"{found.hypothesis} The margin is {100 * found.margin:g} points; a word is wrong in {ALPHA:.0%} at most. There were "
        f"{count(found.replicates, 'draw')} an arm of all that follows the {spaced(found.stage)}s, on {len(found.before[0])} examples.",
        verdict=found.verdict,
        good={"holds": True, "does not hold": False}.get(found.verdict),
        sentence=str(found),
        bars=bars,
        axis="points of score",
        grids=grids,
        remarks=found.remarks,
        code=f"gb.probes.{found.kind}(case, {found.step}, {', '.join(f'{name}={value!r}' for name, value in given.items())})",
    )


def _bar(label: str, one: Estimate, group: str) -> BarView:
    return BarView(
        label, one.difference, one.low, one.high, f"{points(one.difference)}, {one.verdict}", _TONES.get(one.verdict, "quiet"), group
    )
