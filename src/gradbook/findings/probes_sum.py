"""Additivity and order of critiques: one at a time, together, and the other way round."""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import model_validator

from gradbook import background, edits
from gradbook.costs import Calls
from gradbook.errors import CaseError
from gradbook.findings.base import Property
from gradbook.findings.bench import recorded
from gradbook.findings.probes import Draws, Lab, Probe, lab
from gradbook.loop.stages import together
from gradbook.records import Edit, SplitName, Step
from gradbook.stats import Effect, Estimate, contrast, effect, points

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording

BACKWARDS = "critiques the other way round"


class Additivity(Probe):
    """Rewrites from each prompt critique of a step alone (`alone`, by the `names` of the critiques), from all `together`, and from all the
    other way round (`backwards`, empty where they read the same that way).

    *Additive* where what all do together to the score of the prompt before is the sum of what each does alone, within the margin; without
    *order* where the other way round they do the same, within the margin. Each *holds* where the difference is equivalent to none, and
    *does not hold* where it is surely more than the margin; both together hold where each does, and do not where one does not. For examples
    like these. The two share alpha.
    """

    kind = "additivity"
    title = "Additivity and order"
    hypothesis = (
        "As gradients add up, in whatever order, the critiques together do what they do one at a time, added up, and the other way round "
        "they do the same, each within the margin."
    )

    names: tuple[str, ...]
    alone: tuple[Draws, ...]
    together: Draws
    backwards: Draws = ()

    @model_validator(mode="after")
    def _whole(self) -> "Additivity":
        self.same_shape(*self.alone, self.together, *[self.backwards] * bool(self.backwards))
        if not 2 <= len(self.alone) == len(self.names) == len(set(self.names)):
            raise ValueError("a sum needs two critiques or more, each with its name and draws")
        return self

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes it mean less."""
        end = float(np.mean(self.before)) + self.total
        ceiling = f"The single effects add up to a score of {end:.0%}, which there cannot be: the bound alone breaks the sum."
        return (*super().remarks, *[ceiling] * (not 0 <= end <= 1))

    @property
    def singles(self) -> dict[str, Effect]:
        """What each critique does alone."""
        return {name: effect(self.before, draws, self.margin) for name, draws in zip(self.names, self.alone, strict=True)}

    @property
    def joint(self) -> Effect:
        """What all do together."""
        return effect(self.before, self.together, self.margin)

    @property
    def total(self) -> float:
        """What the single effects add up to."""
        return sum(float(np.mean(draws) - np.mean(self.before)) for draws in self.alone)

    @property
    def beyond(self) -> tuple[Estimate, Estimate]:
        """The joint effect less that sum: for these examples, for examples like these."""
        weights = [1.0, *[-1.0] * len(self.alone), len(self.alone) - 1.0]
        return contrast([self.together, *self.alone, self.before], weights, self.margin, self.alpha / 2)

    @property
    def order(self) -> Effect | None:
        """What the other order does; None where there is none."""
        return effect(self.together, self.backwards, self.margin, self.alpha / 2) if len(self.backwards) else None

    @property
    def words(self) -> tuple[Property, Property]:
        """Whether they are additive, and whether their order does nothing."""
        order = self.order
        return self._word(self.beyond[1]), self._word(order.like_these) if order else "holds"

    def _word(self, found: Estimate) -> Property:
        if found.verdict == "equivalent":
            return "holds"
        return "does not hold" if max(found.low, -found.high) > self.margin else "cannot tell"

    @property
    def verdict(self) -> Property:
        """Whether both hold."""
        return max(self.words, key=("holds", "cannot tell", "does not hold").index)

    def __str__(self) -> str:
        these, like = self.beyond
        additive, order = self.words
        said = (
            f"{self.verdict} (that they add up: {additive}; in any order: {order}): together the critiques move the score by "
            f"{self.joint.like_these}, one at a time by {points(self.total)} points in all; the difference is {like}."
        )
        if additive == "cannot tell":
            said += self._price(these, like, self.margin, -self.margin)
        if (turned := self.order) is None:
            return f"{said} The other way round they read the same."
        said += f" The other way round the score is {turned.like_these} away."
        return said + (self._price(turned.these, turned.like_these, self.margin, -self.margin) if order == "cannot tell" else "")


async def aadditivity(
    case: "Case", step: Step | int, *, split: SplitName | None = None, replicates: int = 5, margin: float = 0.05
) -> Additivity:
    """Follow the prompt critiques of a step one at a time, together, and the other way round: do their effects add up, in any order?

    Args:
        case, step, split, replicates, margin: as in `asign`.

    Raises:
        CaseError: as in `asign`, or the step has one prompt critique only.
        ModelError: as in `asign`.
    """
    here = _several(case, step, split, replicates, margin)
    known = recorded(here.bench, Additivity)
    return await background.here(_additivity(here)) if known is None else known


async def _additivity(here: Lab) -> Additivity:
    alone, turned = _alone(here), _turned(here)
    arms = [(f"{name} alone", changes) for name, changes in alone.items()] + [(BACKWARDS, turned)] * bool(turned)

    async def arm(place: int, name: str, changes: list[Edit]) -> Draws:
        return await here.draws(await here.bench.arm(name, *changes), place)

    made = (arm(place, *each) for place, each in enumerate(arms, start=2))
    before, joint, *drawn = await together([here.before(), here.draws(here.step), *made])
    backwards = drawn.pop() if turned else ()
    found = Additivity(**here.own, before=before, names=tuple(alone), alone=tuple(drawn), together=joint, backwards=backwards)
    return here.bench.record(found, margin=here.margin, replicates=here.replicates)


def additivity_calls(
    case: "Recording", step: Step | int, *, split: SplitName | None = None, replicates: int = 5, margin: float = 0.05
) -> Calls:
    """How many calls `aadditivity` makes at most."""
    here = _several(case, step, split, replicates, margin)
    return here.calls(arms=len(here.critiques) + bool(_turned(here)))


def _several(case: "Recording", step: Step | int, split: SplitName | None, replicates: int, margin: float) -> Lab:
    here = lab(case, Additivity, step, "prompt_critique", split, replicates, margin)
    if len(here.critiques) < 2:
        raise CaseError(f"step {here.step.id} has one prompt critique that can be followed, so there is nothing to add up")
    return here


def _alone(here: Lab) -> dict[str, list[Edit]]:
    """For each critique its name, and what drops all others."""
    several = len({critique.example for critique in here.critiques}) < len(here.critiques)
    return {
        f"{one.example}, {one.index + 1}" if several else one.example: [
            edits.drop(here.stage, example=other.example, index=other.index) for other in here.critiques if other is not one
        ]
        for one in here.critiques
    }


def _turned(here: Lab) -> list[Edit]:
    """What puts the critiques in the opposite order: the text of the last in the place of the first, and so on."""
    pairs = zip(here.critiques, reversed(here.critiques), strict=True)
    return [
        edits.replace(here.stage, example=one.example, index=one.index, text=other.text).model_copy(update={"by": "name"})
        for one, other in pairs
        if one.text != other.text
    ]
