"""The bench that a finding is made on: branches and replicates that stay out of the tree, their scores, and the record of it all."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gradbook import edits
from gradbook.errors import CaseError
from gradbook.events import Found
from gradbook.findings.base import MOST_LOOKS, Finding
from gradbook.loop.stages import together
from gradbook.records import Answer, Edit, SplitName, Stage, Step, short_id

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording, Scorable

Right = NDArray[np.bool_]
"""Whether an answer is right: draw × example, the examples in the order of their split."""
_F = TypeVar("_F", bound=Finding)


class Bench:
    """Makes what a finding needs, each thing once: what is on record is not run again, so a finding that was stopped goes on.

    Args:
        case: a case with models.
        kind, step, split: what is asked, and of what.
        asked: the parameters that make it another question. Those that only make the answer surer, as the number of replicates, do not
            belong here: more of them go on from the same arms.
    """

    def __init__(self, case: "Case", kind: str, step: Step, split: SplitName | None = None, **asked: Any) -> None:
        self.case, self.kind, self.step, self.split, self.asked = case, kind, step, split, asked
        self.id = finding_id(kind, step, split, **asked)
        self.steps: set[int] = set()
        self.questions: set[str] = set()
        self._began = time.monotonic()

    async def arm(self, name: str, *changes: Edit, of: Step | None = None) -> Step:
        """A branch of the step, or of another, with `changes`, under a name; run to its end."""
        step = self.step if of is None else of
        subject, method = self.case.subject(step), self.case.method_of(step)
        return await self.made(name, lambda id: edits.branch(step, changes, id, subject, method))

    async def made(self, name: str, make: Callable[[int], Step]) -> Step:
        """The step that `make` gives for a new id, under a name; run to its end."""
        known = self.case._state.arms.get((self.id, name))
        if known is None:
            own = {"finding": self.id, "arm": name}
            known = self.case._journal.begin(lambda id: make(id).model_copy(update=own)).id
        return await self._finished(known)

    async def replicate(self, step: Step, fresh_from: Stage, number: int) -> Step:
        """The step once more with fresh draws from a stage on, and no other change; numbers count from 1."""
        known = self.case.replicates(step, fresh_from).get(number)
        made = known or self.case._journal.begin(lambda id: edits.replicate(step, fresh_from, number, id))
        return await self._finished(made.id)

    async def _finished(self, id: int) -> Step:
        self.steps.add(id)
        return await self.case.runner.finish(id)

    async def answers(self, what: "Scorable", split: SplitName, replicate: int = 0) -> tuple[Answer, ...]:
        """The answers of a prompt on a split, in its order; another `replicate` is a fresh draw."""
        score = await self.case.runner.score(what, split, replicate)
        self.questions.add(score.question.id)
        return score.answers

    async def right(self, what: "Scorable", split: SplitName, replicate: int = 0) -> Right:
        """Which of them are right."""
        return np.array([answer.correct for answer in await self.answers(what, split, replicate)], dtype=bool)

    async def draws(self, step: Step, fresh_from: Stage | None, split: SplitName, numbers: Iterable[int]) -> Right:
        """Draws of a step: replicates that are fresh from a stage on (with None, the same prompt), each answering the split afresh."""

        async def draw(number: int) -> Right:
            again = step if fresh_from is None else await self.replicate(step, fresh_from, number)
            return await self.right(self.case.scorable(again, split), split, number)

        return np.array(await together(map(draw, numbers)))

    def record(self, found: _F, **params: Any) -> _F:
        """Journal what was found, unless the same is on record already; `params` are those of the call besides what was `asked`."""
        found = found.model_copy(update={"id": self.id, "look": self._look(found)})
        event = Found(
            id=self.id,
            kind=self.kind,
            step=self.step.id,
            split=self.split,
            params=self.asked | params,
            verdict=found.verdict,
            sentence=" ".join(filter(None, [str(found), found.looked])),
            result=found.model_dump(mode="json"),
            steps=tuple(sorted(self.steps)),
            questions=tuple(sorted(self.questions)),
            seconds=round(time.monotonic() - self._began, 3),
        )
        known = self.case.found.get(self.id)
        if known is None or known.result != event.result:
            self.case._journal.append(event)
        return found

    def _look(self, found: Finding) -> int:
        """Which look at the finding this is: the next one wherever there is something else than on record, such as more draws."""
        known = self.case.found.get(self.id)
        if known is None:
            return 1
        looked, own = known.result.get("look", 1), {"id": "", "look": 0}
        again = known.result | own != found.model_dump(mode="json") | own
        return min(looked + again, MOST_LOOKS) if isinstance(looked, int) and looked > 0 else MOST_LOOKS


def finding_id(kind: str, step: Step, split: SplitName | None = None, **asked: Any) -> str:
    """The id of a finding: the same question has the same."""
    return short_id(kind, step.id, split, asked)


def reads_only(case: "Recording") -> bool:
    """Whether nothing can be asked anew: of a recording, of a case without a model, or one that another has open."""
    return case.read_only or not getattr(case, "models", None)


def recorded(bench: Bench, kind: type[_F]) -> _F | None:
    """What is on record, for a case that can make nothing; None for one that can.

    Raises:
        CaseError: nothing can be made and nothing is on record.
    """
    case = bench.case
    if not reads_only(case):
        return None
    found = case.finding(bench.id) if bench.id in case.found else None
    if isinstance(found, kind):
        return found
    why = case.read_only_because or "it is open without a model"
    where = f" on {bench.split}" if bench.split else ""
    asked = kind.kind.replace("_", " ")
    raise CaseError(f"{case.path} has no such {asked} of step {bench.step.id}{where} on record, and none can be made, since {why}")
