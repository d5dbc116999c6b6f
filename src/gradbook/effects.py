"""Effects: what a change did to the score, beside the noise floor of re-running without any change."""

from dataclasses import dataclass

from gradbook import displays
from gradbook.loop import Method
from gradbook.loop.table import EDIT_STAGE
from gradbook.metrics import Flip, Metrics, flips
from gradbook.records import STAGES, SplitName, Stage, Step
from gradbook.stats import paired_p, prediction_interval

__all__ = ["Comparison", "flips", "rerun_from"]


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
    def finding(self) -> str:
        """One sentence that says what was found and how sure it is."""
        effect = f"{self.effect * 100:+.1f} points".replace("-", "−")
        points = f"{effect} ({self.fixed} fixed, {self.broken} broken, exact McNemar p = {self.p:.3g})"
        if self.beyond_noise is None:
            return f"{points}; without replicates nothing says whether that is more than noise."
        low, high = (min(max(edge, 0.0), 1.0) for edge in self.noise)
        place = "outside" if self.beyond_noise else "inside"
        return f"{points}; {place} the 95 % prediction interval of {len(self.floor)} runs without a change, {low:.1%} to {high:.1%}."

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the numbers mean less than they seem to."""
        said = []
        if self.chosen_here:
            said.append("A selection has looked at this split, so its luck is part of the difference: see the test split.")
        if self.mixed:
            said.append(f"The arms were made by different models, {' and '.join(self.mixed)}: the difference is theirs as well.")
        return tuple(said)

    @property
    def verdict(self) -> str:
        """The finding, and what makes it mean less."""
        return " ".join([self.finding, *self.warnings])

    def __repr__(self) -> str:
        return f"step {self.before_step} → step {self.after_step}, {self.split}, answered by {self.model}: {self.verdict}"

    def _repr_html_(self) -> str:
        return displays.html(self)


def rerun_from(before: Step, after: Step, method: Method) -> Stage | None:
    """The first stage that the change from `before` to its branch `after` ran again and that calls a model; None for no branch."""
    if after.origin != before.id or not after.edits or after.replicate_of is not None:
        return None
    following = STAGES[STAGES.index(EDIT_STAGE[after.edits[0].field]) + 1 :]
    silent = ("select",) if method.critic and after.variable == "prompt" else ("evaluate", "select")
    return next((stage for stage in following if stage in before.stages and stage not in silent), None)
