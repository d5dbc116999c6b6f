"""Effects: what a change did to the score, judged by fresh draws of both arms."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from gradbook import displays, stats
from gradbook.costs import Plan
from gradbook.loop import Method
from gradbook.loop.table import EDIT_STAGE
from gradbook.metrics import Flip, Metrics
from gradbook.records import STAGES, SplitName, Stage, Step
from gradbook.stats.effect import Verdict, points


@dataclass(frozen=True)
class Arm:
    """A step in a comparison: its prompt's metrics as it ran, and its draws.

    `fresh_from` is the first stage that a draw ran again, None where a draw is the same prompt answering again. `right` says of each draw
    and example whether the answer is right, the examples in the order of their split; `draws` are the metrics of each. The run itself is
    not among them: a person has looked at it before choosing to edit, and would take its luck for an effect.
    """

    step: int
    metrics: Metrics
    fresh_from: Stage | None
    right: tuple[tuple[bool, ...], ...]
    draws: tuple[Metrics, ...]

    @property
    def floor(self) -> tuple[float, ...]:
        """The accuracy of each draw, 0 to 1: the noise floor."""
        return tuple(metrics.accuracy.value for metrics in self.draws)

    def share(self, place: int) -> float:
        """How often the example at a place of the split is answered rightly, 0 to 1."""
        return sum(row[place] for row in self.right) / len(self.right)

    def recall(self, label: str) -> float:
        """The mean recall of a class over the draws, 0 to 1; that of the run where there are none."""
        shares = [metrics.recall[label].value for metrics in self.draws or (self.metrics,)]
        return sum(shares) / len(shares)


@dataclass(frozen=True)
class Effect:
    """Two steps on the same examples of a split, `before` and `after` a change.

    `run` are the answers of the two as they ran, right or wrong, by example; `flips` the examples that they answer differently. `margin` is
    what counts as no difference, a share; `watched` says that the comparison was looked at on the way, so that the looks share the error
    rate. `model` answered all of it; `mixed` names the models that made the two arms where they are different ones. `chosen_here` says that
    a selection has looked at this split, so that the winner's luck counts as effect. `margins` are all margins that were ever asked for.
    `each` is what one more draw of both arms would cost. `same` says in words that nothing was changed between the two, where that is so.
    """

    before: Arm
    after: Arm
    split: SplitName
    examples: tuple[str, ...]
    run: tuple[tuple[bool, ...], tuple[bool, ...]]
    flips: tuple[Flip, ...]
    each: Plan = field(compare=False)
    margin: float = 0.05
    watched: bool = False
    model: str = ""
    chosen_here: bool = False
    mixed: tuple[str, ...] = ()
    margins: tuple[float, ...] = ()
    same: str = ""

    @property
    def _drawn(self) -> bool:
        """Whether there are two draws an arm at least, so that they are what is judged."""
        return min(len(self.before.right), len(self.after.right)) > 1

    @property
    def _matrices(self) -> tuple[tuple[tuple[bool, ...], ...], tuple[tuple[bool, ...], ...]]:
        """What is judged: of both arms the draws, or the runs as they were, each with its answers by example."""
        return (self.before.right, self.after.right) if self._drawn else ((self.run[0],), (self.run[1],))

    @cached_property
    def judged(self) -> stats.Effect:
        """The effect on the matrices of draws by examples; of the runs themselves, which get no verdict, without two draws an arm."""
        return stats.effect(*self._matrices, margin=self.margin, until="decided" if self.watched else None)

    def long(self) -> pd.DataFrame:
        """The draws that are judged in the long form that evalstats and other packages read: one row a draw of an arm and an example.

        Columns: prompt ("step 1", and the other arm's), item (an example's id), run (the draw from 1; 0 is the run as it was, where there
        are not two draws an arm), score (1 for a right answer, else 0), split, and answered_by, the model, which is no factor. As in
        `es.compare(es.load_from(effect.long()), factors="prompt", baseline="step 1")`, for 15 examples or more.
        """
        names = [f"step {arm.step}" for arm in (self.before, self.after)]
        names[1] += " again" * (names[0] == names[1])
        rows = [
            (name, item, run, int(right), self.split, self.model)
            for name, matrix in zip(names, self._matrices, strict=True)
            for run, draw in enumerate(matrix, start=int(self._drawn))
            for item, right in zip(self.examples, draw, strict=True)
        ]
        return pd.DataFrame(rows, columns=["prompt", "item", "run", "score", "split", "answered_by"])

    @property
    def verdict(self) -> Verdict | None:
        """The word "helps", "harms", "equivalent" or "undecided", for examples like these; None with fewer than two draws in an arm."""
        return self.judged.verdict

    @property
    def difference(self) -> float:
        """Accuracy after minus accuracy before, -1 to 1: over the draws, or of the two runs where there are not two draws an arm."""
        return self.judged.these.difference

    @property
    def fixed(self) -> int:
        """Examples wrong before and right after, in the two runs as they are."""
        return sum(flip.kind == "fixed" for flip in self.flips)

    @property
    def broken(self) -> int:
        """Examples right before and wrong after, in the two runs as they are."""
        return sum(flip.kind == "broken" for flip in self.flips)

    @property
    def p(self) -> float:
        """Exact McNemar test of these two prompts over the paired examples; it says nothing of the edit, which is judged by draws."""
        return stats.paired_p(self.fixed, self.broken)

    @property
    def as_they_ran(self) -> str:
        """What the two prompts have to say, one against the other."""
        change = points(self.after.metrics.accuracy.value - self.before.metrics.accuracy.value)
        return f"These two prompts: {change} points ({self.fixed} fixed, {self.broken} broken, exact McNemar p = {self.p:.2g})."

    @property
    def shares(self) -> list[tuple[str, float, float]]:
        """Each example that the arms answer rightly in different shares of their draws, with both shares; the most changed first."""
        if not (self.before.right and self.after.right):
            return []
        found = [(name, self.before.share(n), self.after.share(n)) for n, name in enumerate(self.examples)]
        return sorted((one for one in found if one[1] != one[2]), key=lambda one: (-abs(one[2] - one[1]), one[0]))

    def price(self, size: float | None = None) -> Plan | None:
        """What it would cost to show an effect of a size in four cases of five, as `stats.Effect.needed` has it.

        Counted are the draws of both arms that are lacking; where it takes more examples, all draws anew, each of them, rewrites and all,
        taken for as many times dearer as there are examples more. None where it is decided, or where nothing is known to decide it.
        """
        if self.same or self.verdict not in (None, "undecided"):
            return None
        n, drawn = len(self.examples), min(len(self.before.right), len(self.after.right))
        draws, examples = (self.judged.needed(size) or (0, n)) if self.verdict else (5, n)
        lacking = draws * examples / n if examples > n else draws - drawn
        return self.each * lacking if lacking > 0 else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the numbers mean less than they seem to."""
        said = []
        if self.chosen_here:
            said.append("A selection has looked at this split, so its luck is part of the difference: see the test split.")
        if self.mixed:
            said.append(f"The arms were made by different models, {' and '.join(self.mixed)}: the difference is theirs as well.")
        if len(set(self.margins)) > 1:
            all = ", ".join(f"±{100 * margin:g}" for margin in dict.fromkeys(self.margins))
            said.append(f"Margins of {all} points were tried on these arms: one that is chosen after looking proves nothing.")
        return tuple(said)

    @property
    def finding(self) -> str:
        """What was found, how sure it is, and what it would cost to be surer, in words."""
        if self.same:
            return f"{self.as_they_ran} No more is judged: {self.same}."
        price = self.price()
        told = f" That is, as things went so far, {price}." if price and self.verdict else ""
        looked = " The looks on the way share the error rate." if self.watched and self.verdict else ""
        return f"{self.judged}{told}{looked}"

    def __str__(self) -> str:
        return " ".join([self.finding, *self.warnings])

    def __repr__(self) -> str:
        return f"step {self.before.step} → step {self.after.step}, {self.split}, answered by {self.model}: {self}"

    def _repr_html_(self) -> str:
        return displays.html(self)


def fresh_from(before: Step, after: Step, methods: Iterable[Method]) -> tuple[Stage | None, Stage | None]:
    """The first stage that a draw of each step runs again: the first that calls a model after what the two differ by.

    None where there is no such stage, or where the steps were not made in each other's place: a draw is then the same prompt answering.
    """
    both = before.held and after.held  # a step by the gold answers holds no critic, and may stand in the place of one that does
    made = [(step.parent, step.variable, step.prompt, step.held if both else "", step.batch) for step in (before, after)]
    first = next((stage for stage in STAGES if getattr(before, stage) != getattr(after, stage)), None)
    if before.parent is None or before.id == after.id or made[0] != made[1] or first is None:
        return None, None
    at = STAGES.index(first)
    edited = any(EDIT_STAGE[edit.field] == first for step in (before, after) for edit in step.edits)
    found = [_calls(step, method, STAGES[at + edited :]) for step, method in zip((before, after), methods, strict=True)]
    return found[0], found[1]


def _calls(step: Step, method: Method, stages: Iterable[Stage]) -> Stage | None:
    """The first of `stages` that a step runs and that asks a model; a selection does so only to compare what stands there already."""
    silent = ("select",) if method.critic and step.variable == "prompt" else ("evaluate", "select")
    return next((stage for stage in stages if stage in step.stages and stage not in silent), None)
