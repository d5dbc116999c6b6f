"""An acceptance criterion for `gepa.optimize` that goes by a verdict on replicates, where GEPA's own goes by one sum on a minibatch.

    panel, train = data[:40], data[40:]          # what the reflection never sees
    judge = VerdictAcceptance(adapter, panel)
    gepa.optimize(..., trainset=train, adapter=adapter, acceptance_criterion=judge)

With three examples a batch, a proposal that changes nothing has the greater sum by luck in about one batch of three, and each one that is
taken is scored on the whole validation set, joins the front and has children. Here a proposal that passes the sum is asked again, with its
parent, on a panel of examples, several times over, until `gradbook.stats.effect` says what it is; only "helps" is accepted.

What that buys and what it costs, in the worlds of `tests/benchmarks/test_gepa_acceptance.py` with a panel of 40: of proposals that are no
better 0 % are accepted in place of 36 %, of those better by 10 and 20 points 16 and 62 % in place of 56 and 62 % (31 and 63 % with
alpha=0.3), for 135 evaluations a proposal in place of 30; what a run says that it gained is true to a point, in place of 5 too many. It
does not end higher for the same evaluations: after 3,000 the best is 19 points better than the seed prompt, with GEPA's own 37, since
there one more cheap try is worth more than being sure of the last. Take it where a pool of prompts that are better is what is wanted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gradbook.errors import StatsError
from gradbook.stats import Effect, effect
from gradbook.stats.looks import FIRST

Candidate = Mapping[str, str]


class Adapter(Protocol):
    """What is needed of GEPA's adapter: to answer a batch of examples under a candidate, with a score for each (gepa 0.1.4)."""

    def evaluate(self, batch: list[Any], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """Answers, with `scores`, one an example, and where that is not their number `num_metric_calls`."""


class Criterion(Protocol):
    """GEPA's own protocol of an acceptance criterion."""

    def should_accept(self, proposal: Any, state: Any) -> bool:
        """Whether a proposal joins the pool."""


@dataclass(frozen=True)
class Judged:
    """A proposal that was judged: the two texts, what their draws came to, and how many evaluations that took anew."""

    parent: Candidate
    candidate: Candidate
    effect: Effect
    evaluations: int


class VerdictAcceptance:
    """Accepts a proposal only where fresh answers of it and of its parent, on the same panel of examples, show that it helps.

    Args:
        adapter: the one that is given to `gepa.optimize`; one that answers the same question always alike makes every draw the same, and
            the verdict then rests on the examples alone.
        panel: examples as the adapter reads them, two or more, ones that no reflection sees: a proposal has read those of its minibatch.
        most: draws an arm at most, 3 or more. There is a look after every draw from the third on, and all looks share `alpha`.
        margin: the difference below which two candidates count as equivalent, in the units of the score.
        alpha: how often a verdict may be wrong where nothing is different, on either side: half of it is how often "helps" is.
        first: what a proposal has to pass before it is judged, on its minibatch; GEPA's strict improvement unless said otherwise.

    What a candidate answered on the panel is kept: as a parent it is not asked again. That favours a parent that was lucky when it was
    accepted, so that it errs on the side of rejecting. Evaluations count in GEPA's own budget. `judged` has each proposal with its effect.

    Raises:
        StatsError: a panel, `most`, `margin` or `alpha` that cannot decide anything; a score that is no finite number.
    """

    def __init__(
        self,
        adapter: Adapter,
        panel: Sequence[Any],
        *,
        most: int = 10,
        margin: float = 0.05,
        alpha: float = 0.05,
        first: Criterion | None = None,
    ) -> None:
        if len(panel) < 2:
            raise StatsError(f"A panel needs two examples or more to say anything of examples like them, not {len(panel)}.")
        if most < FIRST:
            raise StatsError(f"most={most}: the first look is after {FIRST} draws an arm, so there must be that many or more.")
        if not (margin > 0 and 0 < alpha < 0.5):
            raise StatsError(f"A margin is above 0 and alpha between 0 and 0.5, not {margin:g} and {alpha:g}.")
        self.adapter, self.panel, self.most, self.margin, self.alpha = adapter, list(panel), most, margin, alpha
        self.first = first
        self.judged: list[Judged] = []
        self._draws: dict[tuple[tuple[str, str], ...], list[list[float]]] = {}

    def should_accept(self, proposal: Any, state: Any) -> bool:
        """Whether the proposal helps, by the verdict (GEPA's protocol)."""
        if not self._passes(proposal, state):
            return False
        return self.effect_of(state.program_candidates[proposal.parent_program_ids[0]], proposal.candidate, state).verdict == "helps"

    def reject_reason(self, proposal: Any, state: Any) -> str:
        """Why it was rejected, in words (GEPA asks for them where they are there)."""
        found = next((one for one in reversed(self.judged) if one.candidate == proposal.candidate), None)
        if found is None:
            return "its scores on the minibatch add up to no more than its parent's, so that it was not judged"
        return f"fresh answers of both on {len(self.panel)} examples say {found.effect}"

    def _passes(self, proposal: Any, state: Any) -> bool:
        if self.first is not None:
            return self.first.should_accept(proposal, state)
        from gepa.strategies.acceptance import StrictImprovementAcceptance

        return bool(StrictImprovementAcceptance().should_accept(proposal, state))

    def effect_of(self, parent: Candidate, candidate: Candidate, state: Any = None) -> Effect:
        """Judge one candidate against another, drawing until it is decided; with `state`, evaluations count in GEPA's budget.

        Once it is no better so far, it is not drawn on: that can only turn an acceptance into a rejection.
        """
        spent = 0
        for looked in range(FIRST, self.most + 1):
            spent += sum(self._draw(arm, looked, state) for arm in (parent, candidate))
            before, after = (self._draws[_key(arm)][:looked] for arm in (parent, candidate))
            found = effect(before, after, self.margin, self.alpha, until="decided")
            if found.verdict != "undecided" or found.like_these.difference <= 0:
                break
        self.judged.append(Judged(dict(parent), dict(candidate), found, spent))
        return found

    def _draw(self, arm: Candidate, wanted: int, state: Any) -> int:
        """Answer the panel until there are so many draws of a candidate; how many evaluations that took."""
        draws, spent = self._draws.setdefault(_key(arm), []), 0
        while len(draws) < wanted:
            made = self.adapter.evaluate(list(self.panel), dict(arm), capture_traces=False)
            draws.append([float(score) for score in made.scores])
            counted = getattr(made, "num_metric_calls", None)
            spent += len(self.panel) if counted is None else counted
        if state is not None and spent:
            state.increment_evals(spent)
        return spent


def _key(candidate: Candidate) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(candidate.items()))
