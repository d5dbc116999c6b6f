"""The step size of critiques: dose and response."""

import math
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from gradbook import background, edits
from gradbook.costs import Calls
from gradbook.diff import segments
from gradbook.edits.words import STRENGTHS
from gradbook.errors import CaseError
from gradbook.findings.base import Property
from gradbook.findings.bench import recorded
from gradbook.findings.probes import Critiques, Draws, Lab, Probe, lab
from gradbook.loop.stages import together
from gradbook.records import SplitName, Step
from gradbook.stats import Effect, Estimate, Trend, contrast, effect, rise, slopes, trend

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording

By = Literal["score", "distance"]


class StepSize(Probe):
    """Rewrites from all critiques of a step with a strength said after each, "hardly" to "drastically": `strengths` are the draws of each,
    and `distances` the shares of words that those rewrites change.

    `by` says what decides. With "score": *holds* where Kendall's τ of strength and score goes the way that the critiques, all strengths
    together, are shown to move the score of the prompt before, up or down; *does not hold* where it goes the other way, or where the rise
    from "hardly" to "drastically" is equivalent to none within the margin. On these examples. With "distance": *holds* where τ of
    strength and distance is above none, *does not hold* where it is below, or the rise of the distance is less than the margin.
    """

    kind = "step_size"
    title = "Step size"
    hypothesis = (
        "As a gradient is followed by steps of a size, the more strongly the critiques are to be followed, the further they move the score "
        "the way they move it, and the further the prompt moves."
    )

    strengths: tuple[Draws, ...]
    distances: tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...]
    by: By = "score"

    @model_validator(mode="after")
    def _whole(self) -> "StepSize":
        self.same_shape(*self.strengths)
        if len(self.strengths) != len(STRENGTHS) or [len(moved) for moved in self.distances] != [self.replicates] * len(STRENGTHS):
            raise ValueError("a step size needs draws at each strength, and a distance for each")
        return self

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes it mean less."""
        helps = self.helps.these
        unsure = "The critiques are not shown to help or to harm, so which way the score should go is not known."
        return (*super().remarks, *[unsure] * (helps.low <= 0 <= helps.high))

    @property
    def score(self) -> Trend:
        """Strength and score."""
        return trend([np.mean(draws, axis=1) for draws in self.strengths], self.alpha)

    @property
    def distance(self) -> Trend:
        """Strength and the share of words that change."""
        return trend(self.distances, self.alpha)

    @property
    def helps(self) -> Effect:
        """What the critiques do to the score of the prompt before, all strengths together."""
        return effect(self.before, [draw for draws in self.strengths for draw in draws], self.margin, self.alpha)

    @property
    def score_rise(self) -> tuple[Estimate, Estimate]:
        """How far the score rises from the lowest strength to the highest: for these examples, for examples like these."""
        return contrast(self.strengths, slopes(len(self.strengths)), self.margin, self.alpha / 2)

    @property
    def distance_rise(self) -> Estimate:
        """How far the share of words that change does."""
        return rise(self.distances, self.margin, self.alpha)

    @property
    def verdict(self) -> Property:
        """Whether the property holds."""
        return self.by_score if self.by == "score" else self.by_distance

    @property
    def by_score(self) -> Property:
        """Whether it holds by the score."""
        if self.score_rise[0].verdict == "equivalent":
            return "does not hold"
        helps = self.helps.these
        way = (helps.low > 0) - (helps.high < 0)
        if not way or (found := self.score).p > self.alpha:
            return "cannot tell"
        return "holds" if found.tau * way > 0 else "does not hold"

    @property
    def by_distance(self) -> Property:
        """Whether it holds by the distance."""
        found = self.distance
        if self.distance_rise.high < self.margin or (found.p <= self.alpha and found.tau < 0):
            return "does not hold"
        return "holds" if found.p <= self.alpha else "cannot tell"

    def __str__(self) -> str:
        (these, like), score = self.score_rise, self.score
        said = (
            f"{self.verdict}, by the {self.by}: from {STRENGTHS[0]} to {STRENGTHS[-1]} the score rises by {like}, {score}, and the "
            f"share of words that change by {self.distance_rise}, {self.distance}; all strengths together move the score by "
            f"{self.helps.these}."
        )
        if self.verdict != "cannot tell" or self.by != "score":
            return said
        if score.p > self.alpha:
            edges = (0.0, math.copysign(self.margin, these.difference))  # told from nothing, or told to be nothing that matters
            return said + self._price(these, these, max(edges, key=lambda edge: abs(these.difference - edge)))
        return f"{said} Which way they move it is not shown."


async def astep_size(
    case: "Case",
    step: Step | int,
    *,
    stage: Critiques = "prompt_critique",
    split: SplitName | None = None,
    replicates: int = 5,
    margin: float = 0.05,
    by: By = "score",
) -> StepSize:
    """Weaken and strengthen all critiques of a step: does the score, and does the prompt, move the further the stronger they are?

    Args:
        by: whether the score decides, or the share of words that change; both are measured.
        case, step, stage, split, replicates, margin: as in `asign`; the margin is also one of the share of words.

    Raises:
        CaseError, ModelError: as in `asign`.
    """
    if by not in ("score", "distance"):
        raise CaseError(f"a step size is judged by 'score' or by 'distance', not by {by!r}")
    here = lab(case, StepSize, step, stage, split, replicates, margin)
    known = recorded(here.bench, StepSize)
    return await background.here(_step_size(here, by)) if known is None else known


async def _step_size(here: Lab, by: By) -> StepSize:
    async def arm(strength: int, word: str) -> tuple[Draws, tuple[float, ...]]:
        changes = [edits.strength(here.stage, strength, example=c.example, index=c.index) for c in here.critiques]
        made, place = await here.bench.arm(f"critiques to be followed {word}", *changes), 2 + strength
        draws, drawn = await here.draws(made, place), here.bench.case.replicates(made, here.fresh_from)
        return draws, tuple(moved(here.step.prompt, drawn[number].chosen_prompt) for number in here.numbers(place))

    before, *arms = await together([here.before(), *(arm(*each) for each in enumerate(STRENGTHS))])
    strengths, distances = zip(*arms, strict=True)
    found = StepSize(**here.own, before=before, strengths=strengths, distances=distances, by=by)
    return here.bench.record(found, margin=here.margin, replicates=here.replicates, by=by)


def step_size_calls(
    case: "Recording",
    step: Step | int,
    *,
    stage: Critiques = "prompt_critique",
    split: SplitName | None = None,
    replicates: int = 5,
    margin: float = 0.05,
    by: By = "score",
) -> Calls:
    """How many calls `astep_size` makes at most."""
    return lab(case, StepSize, step, stage, split, replicates, margin).calls(arms=len(STRENGTHS), itself=False)


def moved(before: str, after: str) -> float:
    """The share of the words of two texts that is not in both, 0 to 1."""
    words = {"same": 0, "removed": 0, "added": 0}
    for segment in segments(before, after):
        words[segment.kind] += len(segment.text.split())
    changed = words["removed"] + words["added"]
    return round(changed / max(changed + 2 * words["same"], 1), 4)
