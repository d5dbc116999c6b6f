"""Probes of critiques: do they act as a gradient does? What they share, and the sign; `probes_size` and `probes_sum` have the others.

Every arm is run again from the stage after the critiques on and scores the same examples. A word is an interval on one side of a bound,
and wrong with a probability of at most `ALPHA`, whatever is true, however often it is looked at with more draws.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import numpy as np
from pydantic import Field, model_validator

from gradbook import background, edits
from gradbook.costs import Calls, answers, run_again, times
from gradbook.errors import CaseError
from gradbook.findings.base import Finding, Property
from gradbook.findings.bench import Bench, Right, recorded
from gradbook.loop.stages import together
from gradbook.loop.table import EDIT_STAGE
from gradbook.records import SPLITS, STAGES, Critique, SplitName, Stage, Step
from gradbook.stats import Effect, Estimate, effect
from gradbook.stats.effect import MOST_REPLICATES

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording

NEGATED = "critiques negated"
Critiques = Literal["prompt_critique", "output_critique"]
Draws = tuple[tuple[Annotated[int, Field(ge=0, le=1)], ...], ...]
"""Draw × example: 1 where the answer is right."""


class Probe(Finding):
    """What all probes of critiques keep: `before` are draws of the prompt that the step began with, which answers afresh in each.

    `chosen_here` says that a selection has looked at the split, `kept_best` that the method keeps a rewrite only where it does best.
    """

    stage: Critiques = "prompt_critique"
    before: Draws
    chosen_here: bool = False
    kept_best: bool = False

    def same_shape(self, *arms: Draws) -> None:
        """Refuse arms that have not the draws and examples of the prompt before: a journal may come from a stranger."""
        shapes = {(len(arm), *map(len, arm)) for arm in (self.before, *arms)}
        if len(shapes) != 1 or min(min(shape) for shape in shapes) < 2 or len(set(*(shape[1:] for shape in shapes))) != 1:
            raise ValueError("a probe needs all its arms, with two or more draws each of the same two or more examples")

    @property
    def replicates(self) -> int:
        """Draws an arm."""
        return len(self.before)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes it mean less."""
        looked = "A selection has looked at this split, so its luck is part of the scores: see the test split."
        kept = "The method keeps a rewrite only where it does best on the validation split, so what harms is hardly seen here."
        return (looked,) * self.chosen_here + (kept,) * self.kept_best

    def _price(self, these: Estimate, like: Estimate, *edges: float) -> str:
        """How many draws an arm would tell on which side of the nearest edge the value is, if it stays what it is, at the next look."""
        inside, whole = (self.stricter * (one.high - one.low) / 2 for one in (these, like))
        examples = max(whole**2 - inside**2, 0.0)
        room = min((like.difference - edge) ** 2 for edge in edges) - examples
        needed = math.ceil(self.replicates * inside**2 / room) if room > 0 else 0
        if not self.replicates < needed <= 10 * MOST_REPLICATES:
            return " More draws alone would not tell, more examples might."
        return f" If it stays so, about {needed} draws an arm would tell."


@dataclass(frozen=True)
class Lab:
    """What the arms of a probe are made from: the critiques of a step that can be followed, and the draws of each arm by their numbers."""

    bench: Bench
    stage: Critiques
    split: SplitName
    margin: float
    critiques: tuple[Critique, ...]
    replicates: int

    @property
    def step(self) -> Step:
        """The step that is asked about."""
        return self.bench.step

    @property
    def fresh_from(self) -> Stage:
        """The stage that each draw begins with."""
        return STAGES[STAGES.index(self.stage) + 1]

    async def before(self) -> Draws:
        """Draws of the prompt that the step began with."""
        what = replace(self.bench.case.scorable(self.step, self.split), prompt=self.step.prompt)
        drawn = await together(self.bench.right(what, self.split, number) for number in self.numbers(1))
        return _told(np.array(drawn))

    async def draws(self, arm: Step, place: int = 0) -> Draws:
        """Draws of the step itself, or of an arm in another place, from 2."""
        return _told(await self.bench.draws(arm, self.fresh_from, self.split, self.numbers(place)))

    def numbers(self, place: int) -> range:
        """The draws of an arm: no two arms share a number, so that those which come to the same prompt answer independently too."""
        return range(1000 * place + 1, 1000 * place + 1 + self.replicates)

    @property
    def own(self) -> dict[str, Any]:
        """What every record begins with."""
        case, step = self.bench.case, self.step
        looked = self.split == "validation" and case.chosen_on_validation(step)
        known = {"step": step.id, "split": self.split, "margin": self.margin, "stage": self.stage}
        return known | {"chosen_here": looked, "kept_best": case.method_of(step).validates}

    def calls(self, arms: int, itself: bool = True) -> Calls:
        """How many calls the draws make at most: of so many arms, which are run to their end first, of the step itself, of the prompt."""
        case, drawn = self.bench.case, self.replicates * (arms + itself)
        again, scores = run_again(case, self.step, self.fresh_from), drawn + self.replicates
        return times(again, drawn + arms) + answers(case, self.split, scores)


def lab(
    case: "Recording", kind: type[Probe], step: Step | int, stage: Critiques, split: SplitName | None, replicates: int, margin: float
) -> Lab:
    """Set up a probe, and refuse what cannot be probed before anything is paid."""
    step, split = case[step], split or case.default_split(step)
    what = stage.replace("_", " ")
    if not (2 <= replicates <= MOST_REPLICATES and 0 < margin < 1):
        raise CaseError(f"a probe takes 2 to {MOST_REPLICATES} replicates and a margin between 0 and 1, not {replicates} and {margin:g}")
    if stage not in get_args(Critiques) or split not in SPLITS or len(case.task.split(split)) < 2:
        raise CaseError(f"a probe takes prompt_critique or output_critique and a split of two examples or more, not {stage} and {split}")
    if stage not in step.stages:
        raise CaseError(f"step {step.id} makes no {what}s, so there is nothing to probe")
    if not step.done:
        raise CaseError(f"step {step.id} is not done; run its stages first")
    if later := [edit for edit in step.edits if STAGES.index(EDIT_STAGE[edit.field]) > STAGES.index(stage)]:
        raise CaseError(f"step {step.id} has an edit of its {later[0].field} too, which no other arm would have: probe step {step.origin}")
    if not (critiques := whole(step, stage)):
        raise CaseError(f"step {step.id} has no {what} that can be followed, so there is nothing to probe")
    bench = Bench(cast("Case", case), kind.kind, step, split, stage=stage)
    known = len(case.found[bench.id].result.get("before", ())) if bench.id in case.found else 0
    return Lab(bench, stage, split, margin, critiques, max(replicates, known))


def whole(step: Step, stage: Critiques) -> tuple[Critique, ...]:
    """The critiques of a step that say something."""
    return tuple(critique for critique in getattr(step, stage) or () if not critique.lost and critique.text.strip())


def _told(drawn: Right) -> Draws:
    return tuple(tuple(map(int, draw)) for draw in drawn)


# --- sign ----------------------------------------------------------------------------------------------------------------


class Sign(Probe):
    """Rewrites from all critiques of a step as they are (`critiques`), and from their negations, `lost` of which could not be used.

    *Holds*: negated they leave the score lower by more than the margin; or, where they do harm as they are, negated they help, and the
    difference is more than the margin. *Does not hold*: the two are equivalent within the margin; or the negated ones are not so much
    worse, while the critiques are shown to help, or the negated ones to harm. For examples like these. Each word can be come to in two
    ways, which share alpha.
    """

    kind = "sign"
    title = "Sign"
    hypothesis = (
        "As a gradient has a sign, negated critiques do the opposite: they move the score the other way, or at least leave it lower than "
        "the critiques as they are, by more than the margin."
    )

    critiques: Draws
    negated: Draws
    lost: int = 0

    @model_validator(mode="after")
    def _whole(self) -> "Sign":
        self.same_shape(self.critiques, self.negated)
        return self

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes it mean less."""
        lost = f"Of the negations {self.lost} could not be used, and nothing was made of them."
        return (*super().remarks, *[lost] * bool(self.lost))

    @property
    def as_they_are(self) -> Effect:
        """What the critiques do to the score of the prompt before."""
        return effect(self.before, self.critiques, self.margin, self.alpha / 2)

    @property
    def opposite(self) -> Effect:
        """What their negations do to it."""
        return effect(self.before, self.negated, self.margin, self.alpha / 2)

    @property
    def apart(self) -> Effect:
        """The critiques as they are against their negations."""
        return effect(self.negated, self.critiques, self.margin, self.alpha / 2)

    @property
    def verdict(self) -> Property:
        """Whether the property holds."""
        own, opposite, apart = (found.like_these for found in (self.as_they_are, self.opposite, self.apart))
        if apart.low > self.margin or (own.high < 0 < opposite.low and apart.high < -self.margin):
            return "holds"
        if apart.verdict == "equivalent" or (apart.high < self.margin and (own.low > 0 or opposite.high < 0)):
            return "does not hold"
        return "cannot tell"

    def __str__(self) -> str:
        own, opposite, apart = (found.like_these for found in (self.as_they_are, self.opposite, self.apart))
        said = f"{self.verdict}: the critiques move the score by {own}, negated by {opposite}; the one less the other is {apart}."
        return said + (self._price(self.apart.these, apart, self.margin) if self.verdict == "cannot tell" else "")


async def asign(
    case: "Case",
    step: Step | int,
    *,
    stage: Critiques = "prompt_critique",
    split: SplitName | None = None,
    replicates: int = 5,
    margin: float = 0.05,
) -> Sign:
    """Negate all critiques of a step: does that do the opposite of what they do?

    A model negates each once; that and what follows is on record like any call.

    Args:
        case: a case with a model; without one, what is on record is returned.
        step: a step that has critiques, or its id.
        stage: which critiques.
        split: where the arms are scored; by default one that no selection has looked at.
        replicates: draws an arm, 2 to 100; more of them, asked for later, go on from these.
        margin: the difference, a share, that counts.

    Raises:
        CaseError: the step has no such critique, a parameter is out of range, or there is neither a model nor a record.
        ModelError: a call failed; what had finished is kept, and asking again goes on from there.
    """
    here = lab(case, Sign, step, stage, split, replicates, margin)
    known = recorded(here.bench, Sign)
    return await background.here(_sign(here)) if known is None else known


async def _sign(here: Lab) -> Sign:
    changes = [edits.negate(here.stage, example=c.example, index=c.index) for c in here.critiques]
    arm = await here.bench.arm(NEGATED, *changes)
    lost = len(here.critiques) - len(whole(arm, here.stage))
    if lost == len(here.critiques):
        why = next((c.why for c in getattr(arm, here.stage) if c.why), "the model wrote nothing")
        raise CaseError(f"no critique of step {here.step.id} could be negated, so its sign cannot be probed: {why}")
    before, critiques, negated = await together([here.before(), here.draws(here.step), here.draws(arm, 2)])
    found = Sign(**here.own, before=before, critiques=critiques, negated=negated, lost=lost)
    return here.bench.record(found, margin=here.margin, replicates=here.replicates)


def sign_calls(
    case: "Recording",
    step: Step | int,
    *,
    stage: Critiques = "prompt_critique",
    split: SplitName | None = None,
    replicates: int = 5,
    margin: float = 0.05,
) -> Calls:
    """How many calls `sign` makes at most."""
    here = lab(case, Sign, step, stage, split, replicates, margin)
    return here.calls(arms=1) + Calls({stage: len(here.critiques)})
