"""The tree of steps with their scores."""

from collections import Counter
from typing import TYPE_CHECKING

from gradbook.metrics import Metrics
from gradbook.records import SPLITS, SplitName, Stage, Step
from gradbook.scores import Question
from gradbook.tables import method_line
from gradbook.tell import names
from gradbook.tell.overviews import RerunView, ScoreView, TreeRow, TreeView
from gradbook.tell.step import note
from gradbook.tell.walk import walk
from gradbook.tell.words import NOTHING, count, interval, rerun_from, share, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

Reruns = dict[int, dict[Stage | None, dict[SplitName, list[float]]]]
"""Accuracies of what ran again without a change, by step, by the stage it ran from (None: the same prompt answered again), by split."""


def tree(rec: "Recording", splits: tuple[SplitName, ...] | None = None) -> TreeView:
    """The steps of a case, replicates left out.

    Args:
        rec: the case.
        splits: those to show scores on; by default all on which something is scored.
    """
    shown = scored_splits(rec) if splits is None else splits
    lines = walk(rec)
    found = {step.id: {s: m for s in shown if (m := rec.metrics(step, s))} for _, step in lines}
    best = {split: _best([step for _, step in lines], found, split) for split in shown}
    runs, on_front = reruns(rec, shown), front(rec)
    several = len({id(rec.method_of(step)) for _, step in lines if step.parent is not None}) > 1
    rows = tuple(
        _row(rec, step, level, shown, found[step.id], best, runs.get(step.id, {}), several, step.id in on_front) for level, step in lines
    )
    return TreeView(shown, rows, _caption(rec, rows, shown, len(rec) - len(lines)))


def front(rec: "Recording") -> tuple[int, ...]:
    """The steps on GEPA's Pareto front as it stands where a person is, or after the step before that where it is under way."""
    at = rec.current if rec.current.select or rec.current.after is None else rec[rec.current.after]
    found = at.select.acceptance if at.select else None
    return found.front if found else ()


def scored_splits(rec: "Recording") -> tuple[SplitName, ...]:
    """The splits on which something is scored, by any model."""
    there = {question.split for question in rec.recorded_questions()}
    return tuple(split for split in SPLITS if split in there)


def score(split: SplitName, metrics: Metrics, best: bool) -> ScoreView:
    """The score of a prompt on a split."""
    lost = (("unusable" if metrics.judged else "unparsed", metrics.unparsed), ("cut off", metrics.cut_off), ("no reply", metrics.no_reply))
    more = [f"balanced {metrics.balanced:.1%}"] if metrics.recall else []
    more += [f"{name} {found.count}" for n, (name, found) in enumerate(lost) if found.count or n == 0]
    return ScoreView(split, metrics.name, f"{metrics.accuracy.value:.0%}", share(metrics.accuracy), tuple(more), best)


def _row(
    rec: "Recording",
    step: Step,
    level: int,
    splits: tuple[SplitName, ...],
    found: dict[SplitName, Metrics],
    best: dict[SplitName, int | None],
    runs: dict[Stage | None, dict[SplitName, list[float]]],
    several: bool,
    on_front: bool,
) -> TreeRow:
    scores = tuple(score(split, found[split], best[split] == step.id) if split in found else None for split in splits)
    marks = {
        "edited": step.origin is not None,
        "noted": bool(rec.note(step).strip()),
        "best": any(each and each.best for each in scores),
        "critic": step.variable == "critic",
        "front": on_front,
        "unfinished": not step.done,
    }
    tags = frozenset(name for name, holds in marks.items() if holds)
    return TreeRow(
        id=step.id,
        level=level,
        what=names.what(rec, step),
        line=names.line(rec, step),
        method=method_line(rec.method_of(step)) if several and step.parent is not None else "",
        scores=scores,
        note=note(rec, step).first if marks["noted"] else "",
        tags=tags,
        landmark=step.parent is None or bool(tags - {"critic"}),
        next=spaced(step.next_stage or ""),
        reruns=tuple(_rerun(step, stage, values, splits) for stage, values in runs.items()),
    )


def _rerun(step: Step, stage: Stage | None, values: dict[SplitName, list[float]], splits: tuple[SplitName, ...]) -> RerunView:
    runs = max(len(found) for found in values.values())
    spans = tuple(_span(values.get(split, [])) for split in splits)
    return RerunView(f"{count(runs, 'replicate')} of step {step.id}, {rerun_from(stage)}", spans)


def _span(values: list[float]) -> str:
    if not values:
        return NOTHING
    low, high = min(values), max(values)
    return f"{low:.1%}" if low == high else interval(low, high)


def _best(steps: list[Step], found: dict[int, dict[SplitName, Metrics]], split: SplitName) -> int | None:
    """The first step whose prompt is the best that is scored on a split, where several different scores are."""
    shares = {s.id: found[s.id][split].accuracy.value for s in steps if s.variable == "prompt" and split in found[s.id]}
    return max(shares, key=lambda id: (shares[id], -id)) if len(set(shares.values())) > 1 else None


def reruns(rec: "Recording", splits: tuple[SplitName, ...]) -> Reruns:
    """What ran again without a change. The same prompt answered again is told of the first step that ends with it."""
    found: Reruns = {}
    for step in rec:
        if step.replicate_of is not None and step.done:
            for split in splits:
                if metrics := rec.metrics(step, split, step.replicate):
                    stages = found.setdefault(step.replicate_of, {}).setdefault(step.fresh_from, {})
                    stages.setdefault(split, []).append(metrics.accuracy.value)
    again = Counter(q.model_copy(update={"replicate": 0}) for q in rec.recorded_questions() if q.replicate and q.split in splits)
    first: dict[Question, Step] = {}
    for step in rec if again else ():
        for split in splits if step.done and not step.aside else ():
            first.setdefault(rec.question(step, split), step)
    for question in again:
        if (at := first.get(question)) is not None:
            numbers = [q.replicate for q in rec.recorded_questions() if q.replicate and q.model_copy(update={"replicate": 0}) == question]
            values = [m.accuracy.value for n in sorted(numbers) if (m := rec.metrics(at, question.split, n))]
            found.setdefault(at.id, {}).setdefault(None, {})[question.split] = values
    return found


def _caption(rec: "Recording", rows: tuple[TreeRow, ...], splits: tuple[SplitName, ...], hidden: int) -> str:
    tags = {tag for row in rows for tag in row.tags}
    signs = [f"% right on {' and '.join(splits)}"] if splits else []
    signs += ["⚖\u00a0of the critic: % that agree with the gold answers"] * ("critic" in tags)
    signs += ["◆\u00a0on the Pareto front"] * ("front" in tags)
    signs += ["★\u00a0best", "✎\u00a0branch by an edit", "◌\u00a0under way", "¶\u00a0has a note"]
    shown, others = rec.shown_model(), ", ".join(dict.fromkeys(rec.other_models))
    told = [" · ".join(signs) + "."]
    told += [f"{count(hidden, 'replicate')} {'is' if hidden == 1 else 'are'} not listed."] * bool(hidden)
    told += [f"Scores are of {shown['name']}, not of {others}."] if shown and others else []
    return " ".join(told)
