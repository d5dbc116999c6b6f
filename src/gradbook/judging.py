"""How a change is judged: draws of both arms are made, all at once or one after the other until it is decided, and each look is kept."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradbook.comparing import draw_calls, effect_id
from gradbook.costs import Plan, plan
from gradbook.effects import Effect, fresh_from
from gradbook.events import Found
from gradbook.loop.stages import together
from gradbook.models import Budget
from gradbook.records import SplitName, Stage, Step
from gradbook.scores import Spent
from gradbook.stats.looks import FIRST

if TYPE_CHECKING:
    from gradbook.case import Case

DRAWS, MOST_DRAWS = 5, 20
"""Draws an arm, and the most there are where one goes on until it is decided."""


@dataclass(frozen=True)
class Judging:
    """A comparison that a person has asked for.

    `most` draws an arm are made; `decided` stops at a verdict, with a look after every draw, `budget` before draws cost more.
    """

    case: "Case"
    before: Step
    after: Step
    split: SplitName
    most: int
    decided: bool = False
    budget: Budget | None = None
    margin: float | None = None
    across_models: bool = False

    async def run(self) -> None:
        """Make what is lacking, and journal what it comes to."""
        began, spent = time.monotonic(), self.case.spent
        score = self.case.runner.score
        await together(score(self.case.scorable(step, self.split, self.after.variable), self.split) for step in (self.before, self.after))
        together_first = 0 if self.budget else (min(FIRST, self.most) if self.decided else self.most)
        await together(map(self._draw, range(1, together_first + 1)))
        drawn = together_first
        while drawn < self.most and not (self.decided and self._look(drawn).verdict not in (None, "undecided")):
            if self.budget is not None and not self._affords(self.budget, self.case.spent - spent):
                break
            drawn += 1
            await self._draw(drawn)
        self._keep(self._look(drawn), time.monotonic() - began)

    async def _draw(self, number: int) -> None:
        """One draw of both arms, scored."""
        case, split = self.case, self.split

        async def arm(step: Step, stage: Stage | None) -> None:
            again = step if stage is None else await case.areplicate(step, stage, number)
            await case.runner.score(case.scorable(again, split, self.after.variable), split, number)

        stages = fresh_from(self.before, self.after, map(case.method_of, (self.before, self.after)))
        await together(map(arm, (self.before, self.after), stages))

    def _look(self, drawn: int) -> Effect:
        """What so many draws say; looks share the error rate where there is more than one."""
        found = self.case.comparison(self.before, self.after, self.split, drawn, self.across_models, self.margin)
        assert found is not None  # both runs were scored before anything else
        looked = self.case.found.get(effect_id(self.before, self.after, self.split))
        again = looked is not None and looked.verdict == "undecided" and looked.params["draws"] < drawn
        return replace(found, watched=found.watched or self.decided or again)

    def _affords(self, budget: Budget, used: Spent) -> bool:
        each: Plan = plan(self.case, draw_calls(self.case, self.before, self.after, self.split))
        more = Spent(calls=each.calls, prompt_tokens=each.tokens, cost=each.cost)
        return not budget.passed(used + more)

    def _keep(self, found: Effect, seconds: float) -> None:
        """Journal a look, unless it is on record."""
        id = effect_id(self.before, self.after, self.split)
        looked = self.case.found.get(id)
        draws = min(len(found.before.right), len(found.after.right))
        margins = list(dict.fromkeys(found.margins))
        params = {"before": self.before.id, "draws": draws, "margin": found.margin, "margins": margins, "watched": found.watched}
        if draws < 2 or (looked and looked.params == params) or (looked and looked.params["draws"] > draws):
            return
        steps, questions = self._stands_on(draws)
        these = found.judged.like_these
        self.case._journal.append(
            Found(
                id=id,
                kind="effect",
                step=self.after.id,
                split=self.split,
                params=params,
                verdict=found.verdict or "",
                sentence=str(found),
                result={"difference": these.difference, "low": these.low, "high": these.high, "p": these.p},
                steps=steps,
                questions=questions,
                seconds=round(seconds, 3),
            )
        )

    def _stands_on(self, draws: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
        case, steps, questions = self.case, set[int](), set[str]()
        stages = fresh_from(self.before, self.after, map(case.method_of, (self.before, self.after)))
        for step, stage in zip((self.before, self.after), stages, strict=True):
            for number in range(1, draws + 1):
                again = step if stage is None else case.replicates(step, stage)[number]
                steps |= {again.id} if stage else set()
                questions.add(case.question(again, self.split, number, self.after.variable).id)
        return tuple(sorted(steps)), tuple(sorted(questions))
