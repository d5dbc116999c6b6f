"""A trace in words: what the rule, and a wrong one, add at each stage, and what of its words arrives."""

from typing import TYPE_CHECKING, Literal

from gradbook.findings.trace import NAMES, Trace, What
from gradbook.records import Stage
from gradbook.stats import mean_interval
from gradbook.tell.findings.views import BarView, FindingView, GridView
from gradbook.tell.overviews import Figure
from gradbook.tell.views import Segment
from gradbook.tell.words import NOTHING, count, points, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

_LABELS: dict[What, str] = {"rule": "the rule", "wrong": "the wrong rule", "placebo": "words that say nothing"}
_TONES: dict[str | None, Literal["good", "bad", "quiet"]] = {"helps": "good", "harms": "bad"}
_CHOSEN: dict[Stage, str] = {"rewrite": "candidates", "select": "chosen prompt"}


def trace(rec: "Recording | None", found: Trace) -> FindingView:
    """A trace, from the label to the score."""
    compared: tuple[What, ...] = ("rule", "wrong") if found.wrong else ("rule",)
    draws = len(found.puts[0].right)
    return FindingView(
        id=found.id,
        kind=found.kind,
        title=found.title,
        step=found.step,
        split=found.split or "",
        asked=f"{found.hypothesis} The rule{', a wrong one' if found.wrong else ''} and as many words that say nothing were put in after "
        f"all that stands at a stage, one stage at a time, with {count(draws, 'draw')} of all that follows. A gain of less than "
        f"{100 * found.margin:g} points counts as none; the stages share 5 % of error.",
        verdict=found.verdict,
        good={"none": True, "cannot tell": None}.get(found.verdict, False),
        sentence=str(found),
        bars=tuple(_bar(found, stage, what) for stage in found.stages for what in compared),
        axis="points that it adds over as many words that say nothing",
        grids=(_scores(found), _words(found)),
        remarks=found.remarks,
        words=(Segment("strong", "The rule: "), Segment("same", found.rule))
        + ((Segment("strong", " A wrong one: "), Segment("same", found.wrong)) if found.wrong else ()),
        code=_code(rec, found, draws),
    )


def _bar(found: Trace, stage: Stage, what: What) -> BarView:
    gain = found.gain(stage, what)
    like = gain.like_these
    tone = _TONES.get(gain.verdict, "quiet")
    return BarView(
        _LABELS[what],
        like.difference,
        like.low,
        like.high,
        f"{points(like.difference)}, {gain.verdict}",
        tone,
        f"put in at the {NAMES[stage]}",
    )


def _scores(found: Trace) -> GridView:
    """The mean score of each arm over its draws."""
    whats = tuple(what for what in _LABELS if what in {put.what for put in found.puts})

    def figure(stage: Stage, what: What) -> Figure:
        draws = [sum(row) / len(row) for row in found.put(stage, what).right]
        return Figure(f"{sum(draws) / len(draws):.1%}", f"draws: {', '.join(f'{draw:.1%}' for draw in draws)}")

    rows = tuple((Figure(NAMES[stage]), *(figure(stage, what) for what in whats)) for stage in found.stages)
    return GridView("Mean score over the draws", ("put in at the", *(_LABELS[what] for what in whats)), rows)


def _words(found: Trace) -> GridView:
    """What share of the rule's words stands in the records after it, beside what stands there with the placebo."""
    later = tuple(found.put(found.stages[0], "rule").words)

    def figure(stage: Stage, at: Stage) -> Figure:
        arms = [found.put(stage, what).words.get(at) for what in ("rule", "placebo")]
        if arms[0] is None or arms[1] is None:
            return Figure(NOTHING)
        (with_it, without), (low, high) = (sum(draws) / len(draws) for draws in arms if draws), mean_interval(arms[0])
        return Figure(f"{with_it:.0%} ({without:.0%})", f"95 % interval {max(low, 0):.0%} to {min(high, 1):.0%}")

    rows = tuple((Figure(NAMES[stage]), *(figure(stage, at) for at in later)) for stage in found.stages)
    heads = ("put in at the", *(f"in the {_CHOSEN.get(at, f'{spaced(at)}s')}" for at in later))
    return GridView("Share of the content words of the rule found there (and without it)", heads, rows)


def _code(rec: "Recording | None", found: Trace, draws: int) -> str:
    own = rec is not None and (found.rule, found.wrong) == (rec.task.rule, rec.task.false_rule)
    given = [] if own else [f"rule={found.rule!r}", f"wrong={found.wrong!r}"]
    more = [f"split={found.split!r}", f"replicates={draws}", f"margin={found.margin:g}"]
    return f"case.trace({', '.join([str(found.step), *given, *more])})"
