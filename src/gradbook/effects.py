"""Effects: what a change did to the score, beside the noise floor of re-running without any change."""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradbook import background, edits
from gradbook.errors import CaseError
from gradbook.loop.stages import accuracy, together
from gradbook.metrics import Flip, Mean, Metrics, Share, flips
from gradbook.progress import bar
from gradbook.records import STAGES, Score, SplitName, Stage, Step, Variable
from gradbook.stats import paired_p, prediction_interval

if TYPE_CHECKING:
    from gradbook.case import Case


@dataclass(frozen=True)
class Comparison:
    """Two steps on the same examples of a split, and the noise floor of the first.

    `floor` holds the accuracies of `before` and of its replicates: runs of the same stages with fresh samples and no change.
    `resampled` is the first stage that a replicate ran again, or None where it only answered the split again.
    """

    before_step: int
    after_step: int
    split: SplitName
    before: Metrics
    after: Metrics
    flips: tuple[Flip, ...]
    floor: tuple[float, ...]
    resampled: Stage | None

    @property
    def effect(self) -> float:
        """Accuracy after minus accuracy before, -1 to 1."""
        return self.after.accuracy.value - self.before.accuracy.value

    @property
    def fixed(self) -> int:
        """Examples wrong before and right after."""
        return sum(flip.kind == "fixed" for flip in self.flips)

    @property
    def broken(self) -> int:
        """Examples right before and wrong after."""
        return sum(flip.kind == "broken" for flip in self.flips)

    @property
    def p(self) -> float:
        """Exact McNemar test over the paired examples: could the two prompts be equally good?"""
        return paired_p(self.fixed, self.broken)

    @property
    def noise(self) -> tuple[float, float]:
        """The 95 % prediction interval of one more run without a change; all of the line with fewer than two runs."""
        return prediction_interval(self.floor)

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the score after the change lies outside `noise`; None where there are no replicates."""
        if len(self.floor) < 2:
            return None
        low, high = self.noise
        return not low <= self.after.accuracy.value <= high

    @property
    def verdict(self) -> str:
        """One sentence that says what was found and how sure it is."""
        effect = f"{self.effect * 100:+.1f} points".replace("-", "−")
        points = f"{effect} ({self.fixed} fixed, {self.broken} broken, exact McNemar p = {self.p:.3g})"
        if self.beyond_noise is None:
            return f"{points}; without replicates nothing says whether that is more than noise."
        low, high = (min(max(edge, 0.0), 1.0) for edge in self.noise)
        place = "outside" if self.beyond_noise else "inside"
        runs = f"{len(self.floor)} runs without a change"
        return f"{points}; {place} the 95 % prediction interval of {runs}, {low:.1%} to {high:.1%}."

    def __repr__(self) -> str:
        return f"step {self.before_step} → step {self.after_step}, {self.split}: {self.verdict}"

    def _repr_html_(self) -> str:
        head = f"<p><b>Step {self.before_step} → step {self.after_step}</b> on {self.split}: {html.escape(self.verdict)}</p>"
        return head + metrics_table(self.before, self.after)


def metrics_table(before: Metrics, after: Metrics | None = None) -> str:
    """An HTML table of one or two sets of metrics side by side, each with its 95 % interval, and the confusion of the classes."""
    columns = [before] if after is None else [before, after]
    rows = [(before.name, [_share(m.accuracy) for m in columns])]
    if before.recall:
        rows.append((f"balanced {before.name}", [_with_interval(f"{m.balanced:.1%}", m.balanced_interval) for m in columns]))
    rows += [(f"recall of {label}", [_share(m.recall[label]) for m in columns]) for label in before.recall]
    rows.append(("unusable" if before.judged else "unparsed", [_share(m.unparsed) for m in columns]))
    rows += [(name, [_mean(getattr(m, field)) for m in columns]) for name, field in (("characters", "length"), ("tokens", "tokens"))]
    heads = "".join(f"<th>{name}</th>" for name in ["", "before", "after"][: len(columns) + 1]) if after else ""
    body = "".join(f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows)
    table = f'<table class="gradbook-metrics">{f"<tr>{heads}</tr>" if heads else ""}{body}</table>'
    return table + (confusion_table(*columns) if before.recall else "")


def confusion_table(before: Metrics, after: Metrics | None = None) -> str:
    """What each true class was answered as, folded; with two sets of metrics, before → after."""
    unparsed = any("(unparsed)" in pair for m in (before, after) if m for pair in m.confusion)
    answered = [*before.recall, *["(unparsed)"] * unparsed]
    heads = "".join(f"<th>{html.escape(label)}</th>" for label in answered)
    rows = "".join(
        f"<tr><th>{html.escape(true)}</th>{''.join(f'<td>{_confused(true, label, before, after)}</td>' for label in answered)}</tr>"
        for true in before.recall
    )
    head = f"<tr><th>true ↓ answered →</th>{heads}</tr>"
    return f'<details><summary>Confusion</summary><table class="gradbook-metrics">{head}{rows}</table></details>'


def _confused(true: str, answered: str, before: Metrics, after: Metrics | None) -> str:
    shares = [m.confused(true, answered) for m in (before, after) if m]
    tip = " → ".join(f"{low:.0%} to {high:.0%}" for low, high in (share.interval for share in shares if share.total))
    return f'<span title="{tip} of {html.escape(true)}">{" → ".join(str(share.count) for share in shares)}</span>'


def str_share(share) -> str:
    """A share as "62.0 % (31/50)"; a dash where there was nothing to count."""
    return f"{share.value:.1%} ({share.count}/{share.total})" if share.total else "–"


def _share(share: Share) -> str:
    return _with_interval(str_share(share), share.interval) if share.total else "–"


def _mean(mean: Mean) -> str:
    if not mean.total:
        return "–"
    low, high = mean.interval
    return f"{mean.value:.1f}" + (f"<br><small>{low:.1f} to {high:.1f}</small>" if mean.total > 1 else "")


def _with_interval(shown: str, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{shown}<br><small>{low:.1%} to {high:.1%}</small>"


def compare(before: Step, after: Step, *, split: SplitName = "validation", replicates: int = 5) -> Comparison:
    """Compare two steps of a case on the same examples, against the noise floor of the first; blocks, with a progress bar.

    Where `after` was branched off `before`, a replicate runs again just what the change ran again, with fresh samples and
    without the change, and is scored with fresh samples; otherwise it is the first prompt answering the split again. Critics
    judge the same outputs in every replicate. What is on record costs nothing.

    Args:
        before, after: steps as a case gives them.
        split: "train", "validation" or "test".
        replicates: runs without a change; each costs as many calls as the change did.

    Raises:
        CaseError: the steps are of different cases, or one of them is not done.
        ModelError: something is not on record and the case has no model, or a call failed.
    """
    case = before._case
    if case is None or after._case is not case:
        raise CaseError("compare needs two steps of one case, as case[1], case.step() and case.perturb(...) give them")
    with bar(case.runner):
        return background.run(measure(case, before.id, after.id, split, replicates))


async def measure(case: "Case", before: int, after: int, split: SplitName, replicates: int) -> Comparison:
    """`compare` as a coroutine, for the background loop."""
    for step in (case[before], case[after]):
        if not step.done:
            raise CaseError(f"step {step.id} is not done; run its stages first")
    stage, variable = _rerun_from(case, case[before], case[after]), case[after].variable
    if variable == "critic" and not case[before].ends_with("critic"):
        raise CaseError(f"step {after} is of the critic, and step {before} has none: compare it with a step that was evaluated by a critic")
    first, second = await together(case.runner.score(case.runner.scorable(case[i], variable), split) for i in (before, after))
    floor = await together(_replicate(case, before, variable, stage, split, r) for r in range(1, replicates + 1))
    return summary(case, before, after, split, first, second, [first, *floor], stage)


def recorded(case: "Case", before: int, after: int, split: SplitName) -> Comparison | None:
    """The comparison as far as it is on record, with the replicates there are, or None where a score is missing."""
    variable = case[after].variable
    first, second = case.scored(before, split, variable=variable), case.scored(after, split)
    if first is None or second is None:
        return None
    stage = _rerun_from(case, case[before], case[after])
    floor, replicate = [first], 1
    while score := _recorded_replicate(case, before, variable, stage, split, replicate):
        floor.append(score)
        replicate += 1
    return summary(case, before, after, split, first, second, floor, stage)


def summary(
    case: "Case", before: int, after: int, split: SplitName, first: Score, second: Score, floor: list[Score], stage: Stage | None
) -> Comparison:
    """Put scores together to a `Comparison`."""
    return Comparison(
        before_step=before,
        after_step=after,
        split=split,
        before=case.metrics_of(first),
        after=case.metrics_of(second),
        flips=tuple(flips(first, second)),
        floor=tuple(accuracy(score) for score in floor),
        resampled=stage,
    )


def _rerun_from(case: "Case", before: Step, after: Step) -> Stage | None:
    """The first stage that the change from `before` to `after` ran again and that calls a model, if it was a branch."""
    if after.origin != before.id or not after.edits or after.resampled:
        return None
    following = STAGES[STAGES.index(edits.STAGE_OF[after.edits[0].field]) + 1 :]
    silent = ("select",) if case.method_of(after).critic and after.variable == "prompt" else ("evaluate", "select")
    return next((stage for stage in following if stage in before.stages and stage not in silent), None)


async def _replicate(case: "Case", step: int, variable: Variable, stage: Stage | None, split: SplitName, replicate: int) -> Score:
    if stage is None:
        return await case.runner.score(case.runner.scorable(case[step], variable), split, replicate)
    branch = _recorded_branch(case, step, stage, replicate) or case.branch(step, edits.resample(stage, replicate))
    done = await case.runner.finish(branch.id)
    return await case.runner.score(case.runner.scorable(done), split, replicate)


def _recorded_branch(case: "Case", step: int, stage: Stage, replicate: int) -> Step | None:
    wanted = (step, stage, replicate)
    return next((s for s in case if s.resampled and (s.origin, s.edits[-1].after, s.edits[-1].replicate) == wanted), None)


def _recorded_replicate(case: "Case", step: int, variable: Variable, stage: Stage | None, split: SplitName, replicate: int) -> Score | None:
    if stage is None:
        return case.scored(step, split, replicate, variable)
    branch = _recorded_branch(case, step, stage, replicate)
    return case.scored(branch, split, replicate) if branch and branch.done else None
