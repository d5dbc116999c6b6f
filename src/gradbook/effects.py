"""Effects: what a change did to the score, beside the noise floor of re-running without any change."""

import html
from dataclasses import dataclass

from gradbook.loop import Method
from gradbook.loop.table import EDIT_STAGE
from gradbook.metrics import Flip, Mean, Metrics, Share, flips
from gradbook.records import STAGES, SplitName, Stage, Step
from gradbook.stats import paired_p, prediction_interval

__all__ = ["Comparison", "confusion_table", "flips", "metrics_table", "rerun_from", "str_share"]


@dataclass(frozen=True)
class Comparison:
    """Two steps on the same examples of a split, and the noise floor of the first.

    `floor` holds the accuracies of `before` and of its replicates: runs of the same stages with fresh samples and no change;
    `after_floor` those of `after`. `resampled` is the first stage that a replicate ran again, or None where it only answered the split
    again. `model` answered all of it; `mixed` names the models that made the two arms where they are different ones.
    `chosen_here` says that a selection has looked at this split, so that the winner's luck counts as effect.
    """

    before_step: int
    after_step: int
    split: SplitName
    before: Metrics
    after: Metrics
    flips: tuple[Flip, ...]
    floor: tuple[float, ...]
    resampled: Stage | None
    after_floor: tuple[float, ...] = ()
    model: str = ""
    chosen_here: bool = False
    mixed: tuple[str, ...] = ()

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
        warned = self._warnings()
        if self.beyond_noise is None:
            return f"{points}; without replicates nothing says whether that is more than noise.{warned}"
        low, high = (min(max(edge, 0.0), 1.0) for edge in self.noise)
        place = "outside" if self.beyond_noise else "inside"
        runs = f"{len(self.floor)} runs without a change"
        return f"{points}; {place} the 95 % prediction interval of {runs}, {low:.1%} to {high:.1%}.{warned}"

    def _warnings(self) -> str:
        """What makes the numbers mean less than they seem to."""
        chosen = (
            " A selection has looked at this split, so its luck is part of the difference: see the test split." if self.chosen_here else ""
        )
        mixed = (
            f" The arms were made by different models, {' and '.join(self.mixed)}: the difference is theirs as well." if self.mixed else ""
        )
        return chosen + mixed

    def __repr__(self) -> str:
        return f"step {self.before_step} → step {self.after_step}, {self.split}, answered by {self.model}: {self.verdict}"

    def _repr_html_(self) -> str:
        answered = f"on {self.split}, answered by {html.escape(self.model)}"
        head = f"<p><b>Step {self.before_step} → step {self.after_step}</b> {answered}: {html.escape(self.verdict)}</p>"
        return head + metrics_table(self.before, self.after)


def metrics_table(before: Metrics, after: Metrics | None = None) -> str:
    """An HTML table of one or two sets of metrics side by side, each with its 95 % interval, and the confusion of the classes."""
    columns = [before] if after is None else [before, after]
    rows = [(before.name, [_share(m.accuracy) for m in columns])]
    if before.recall:
        rows.append((f"balanced {before.name}", [_with_interval(f"{m.balanced:.1%}", m.balanced_interval) for m in columns]))
    rows += [(f"recall of {label}", [_share(m.recall[label]) for m in columns]) for label in before.recall]
    rows.append(("unusable" if before.judged else "unparsed", [_share(m.unparsed) for m in columns]))
    lost = (("cut off", "cut_off"), ("no reply", "no_reply"))
    rows += [(name, [_share(getattr(m, field)) for m in columns]) for name, field in lost if any(getattr(m, field).count for m in columns)]
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


def rerun_from(before: Step, after: Step, method: Method) -> Stage | None:
    """The first stage that the change from `before` to its branch `after` ran again and that calls a model; None for no branch."""
    if after.origin != before.id or not after.edits or after.replicate_of is not None:
        return None
    following = STAGES[STAGES.index(EDIT_STAGE[after.edits[0].field]) + 1 :]
    silent = ("select",) if method.critic and after.variable == "prompt" else ("evaluate", "select")
    return next((stage for stage in following if stage in before.stages and stage not in silent), None)
