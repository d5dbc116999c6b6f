"""GEPA's own reflection, acceptance and Pareto front as stages a person can stop at: gepa 0.1.4, Agrawal et al. 2025, arXiv 2507.19457.

Outputs and evaluations of a batch, the native ones, are GEPA's reflective records: what stands there when the rewrite runs is what the
reflection reads. The rewrite renders GEPA's prompt from them and reads the reply, the selection asks for the candidate's answers on the
batch and lets GEPA accept it or not, scores what is accepted on the whole validation split, and draws where the next step begins.

Told apart from `gepa.optimize`: an epoch ends with a shorter batch where GEPA fills the last one up; the draw from the front is seeded by
case and step, so that going back and on again draws the same; a reply is read without its thoughts, and one that was cut off, or holds no
instruction, makes no candidate.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from gradbook.engines import missing
from gradbook.loop.stages import Context, evaluate, heard_as, listen, predict, predict_one, records_of, same_inputs, together
from gradbook.records import Acceptance, Answer, Candidate, Prediction, Selection, Step
from gradbook.scores import Score

try:
    from gepa.adapters.default_adapter.default_adapter import DefaultAdapter
    from gepa.core.adapter import EvaluationBatch
    from gepa.core.state import GEPAState, ValsetEvaluation
    from gepa.gepa_utils import find_dominator_programs
    from gepa.proposer.base import CandidateProposal
    from gepa.strategies.acceptance import StrictImprovementAcceptance
    from gepa.strategies.candidate_selector import ParetoCandidateSelector
    from gepa.strategies.instruction_proposal import InstructionProposalSignature
except ImportError as error:
    raise missing("gepa", error) from None

__all__ = ["COMPONENT", "Member", "draw", "evaluate", "front", "predict", "reflective_records", "rewrite", "select", "state_of"]
COMPONENT = "prompt"
"""What the one text of a candidate is called."""


class Member(NamedTuple):
    """A candidate of the pool: the step that ends with it, its text, and its score on each validation example."""

    step: int
    prompt: str
    scores: Mapping[str, float]


# --- the reflection --------------------------------------------------------------------------------------------------------


def reflective_records(step: Step, context: Context) -> list[Mapping[str, Any]]:
    """What the reflection reads, as GEPA's default adapter makes it: inputs, generated outputs and feedback, in the order of the batch."""
    pairs = [
        (example.input, prediction, evaluation)
        for example in context.examples(step)
        for prediction, evaluation in zip(records_of(step, "predict", example.id), records_of(step, "evaluate", example.id), strict=False)
    ]
    seen = [{"data": {"input": given}, "full_assistant_response": p.output, "feedback": e.text} for given, p, e in pairs]
    if not seen:
        return []
    batch = EvaluationBatch(outputs=[p.output for _, p, _ in pairs], scores=[float(p.correct) for _, p, _ in pairs], trajectories=seen)
    adapter = DefaultAdapter(model=_asks_nothing)
    return list(adapter.make_reflective_dataset({COMPONENT: step.prompt}, batch, [COMPONENT])[COMPONENT])


def _asks_nothing(messages: Any) -> str:
    raise AssertionError("the adapter of an engine is there for its records, and asks no model")


async def rewrite(step: Step, context: Context) -> tuple[Candidate, ...]:
    """GEPA's reflection: one candidate, from the batch as it stands; none where all of it is right, as GEPA skips such a batch."""
    if context.origin and same_inputs(step, context.origin, "rewrite"):
        return context.origin.rewrite or ()
    records = reflective_records(step, context)
    if not records or all(prediction.correct for prediction in step.predict or ()):
        return ()
    asked = InstructionProposalSignature.prompt_renderer(
        {"current_instruction_doc": step.prompt, "dataset_with_feedback": records, "prompt_template": None}
    )
    call = await context.ask("optimizer", "rewrite", [{"role": "user", "content": str(asked)}])
    heard = listen(call)
    new = "" if heard.lost else InstructionProposalSignature.output_extractor(heard.text.strip())["new_instruction"]
    if not (new or heard.lost):
        heard = heard._replace(lost="no reply", why="the reply holds no instruction")
    return (Candidate(index=0, prompt=new, **heard_as(call, heard)),)


# --- acceptance and front --------------------------------------------------------------------------------------------------


async def select(step: Step, context: Context) -> Selection:
    """GEPA's acceptance by the batch, the validation split for what is accepted, and the front that the next step's prompt is drawn from.

    A draw of a step, and what was made for a finding, ends with the acceptance: nothing goes on from there.
    """
    if (kept := _as_origin(step, context)) is not None:
        return kept
    candidate = next((candidate for candidate in step.rewrite or () if not candidate.lost), None)
    found = await _accepted(step, context, candidate)
    chosen = -1 if candidate is None or not found.accepted else candidate.index
    reason = _why(step, found)
    if _is_an_end(step):
        return Selection(chosen=chosen, acceptance=found, reason=reason)
    new = None if chosen < 0 else step.candidate(chosen)
    scores, pool = await _validated(step, context, new)
    members, next_from = await asyncio.to_thread(_next, pool, f"{context.seed}/{step.depth}")
    found = found.model_copy(update={"front": members, "next_from": next_from})
    return Selection(chosen=chosen, scores=scores, acceptance=found, reason=reason)


def _as_origin(step: Step, context: Context) -> Selection | None:
    """The origin's selection, where all that it is made from is the same here."""
    origin = context.origin
    if origin is None or origin.select is None or origin.predict != step.predict or not same_inputs(step, origin, "select"):
        return None
    found = origin.select.acceptance
    if found is None or (_is_an_end(origin) and not _is_an_end(step)):
        return None
    here = {origin.id: step.id}
    members, next_from = tuple(here.get(member, member) for member in found.front), here.get(found.next_from or 0, found.next_from)
    on = {"front": (), "next_from": None} if _is_an_end(step) else {"front": members, "next_from": next_from}
    return origin.select.model_copy(update={"acceptance": found.model_copy(update=on)})


def _is_an_end(step: Step) -> bool:
    """Whether nothing goes on from a step, as it was made to measure something or is a draw of another number than the pool's scores."""
    return step.aside or step.draw("select") > 0


async def _accepted(step: Step, context: Context, candidate: Candidate | None) -> Acceptance:
    """What GEPA's acceptance makes of a candidate's answers on the batch, beside those that the step began with."""
    batch = step.predict or ()
    before = [float(prediction.correct) for prediction in batch]
    if candidate is None:
        return Acceptance(accepted=False, before=sum(before))
    answers = await together(_answer(candidate.prompt, prediction, context) for prediction in batch)
    after = [float(answer.correct) for answer in answers]
    proposal = CandidateProposal(
        candidate={COMPONENT: candidate.prompt},
        parent_program_ids=[0],
        subsample_indices=[prediction.example for prediction in batch],
        subsample_scores_before=before,
        subsample_scores_after=after,
    )
    none: Any = None  # this criterion reads the sums alone
    accepted = bool(StrictImprovementAcceptance().should_accept(proposal, none))
    return Acceptance(accepted=accepted, before=sum(before), after=sum(after), answers=tuple(answers))


async def _answer(prompt: str, prediction: Prediction, context: Context) -> Answer:
    made = await predict_one(context.task, prompt, context.task.example(prediction.example), context.ask, "select")
    return Answer(**made.model_dump(exclude={"output"}))


def _why(step: Step, found: Acceptance) -> str:
    """The choice in words."""
    if found.after is None:
        lost = [f"no candidate can be used: {candidate.why}" for candidate in step.rewrite or () if candidate.lost]
        all_right = bool(step.predict) and all(prediction.correct for prediction in step.predict or ())
        skipped = "all of the batch is right, and GEPA skips such a batch" if all_right else "nothing is left of the batch to reflect on"
        return next(iter(lost), skipped)
    sums = f"its scores on the batch add up to {found.after:g}, those of the old prompt to {found.before:g}"
    return f"{'accepted' if found.accepted else 'the candidate is rejected'}, since {sums}"


async def _validated(step: Step, context: Context, new: str | None) -> tuple[dict[str, float], list[Member]]:
    """The accuracies of the old prompt and of what is accepted on the validation split, and the pool as far as it is scored.

    What was found under another model is in the pool only where the model at hand has scored it as well.
    """
    old = await context.score(step.prompt)
    scores, pool = {"-1": old[0].accuracy}, [*_scored(context)]
    if new is not None:
        found = (await context.score(new))[0]
        scores["0"] = found.accuracy
        pool.append(Member(step.id, new, by_example(found)))
    return scores, pool


def _scored(context: Context) -> Iterable[Member]:
    for step, prompt in context.pool:
        if (score := context.recorded(prompt)) is not None:
            yield Member(step, prompt, by_example(score))


def by_example(score: Score) -> dict[str, float]:
    """The score of each example, as GEPA keeps them of a candidate."""
    return {answer.example: float(answer.correct) for answer in score.answers}


def state_of(pool: Sequence[Member]) -> Any:
    """GEPA's state of a run that has found these candidates in this order; the first is its seed candidate."""
    seed, *others = pool
    state = GEPAState({COMPONENT: seed.prompt}, ValsetEvaluation({}, dict(seed.scores)))
    for member in others:
        state.update_state_with_new_program([], {COMPONENT: member.prompt}, ValsetEvaluation({}, dict(member.scores)), None, 0)
    return state


def front(state: Any) -> list[int]:
    """The candidates on the Pareto front, by their number: those that GEPA's selection draws from, none of them dominated."""
    return sorted(find_dominator_programs(state.get_pareto_front_mapping(), state.per_program_tracked_scores))


def draw(state: Any, seed: str) -> int:
    """The number of the candidate that GEPA's default selection draws, each as often as it is the best on an example."""
    return int(ParetoCandidateSelector(Random(seed)).select_candidate_idx(state))


def _next(pool: Sequence[Member], seed: str) -> tuple[tuple[int, ...], int]:
    """The steps on the front, and the one whose prompt comes next."""
    state = state_of(pool)
    return tuple(pool[number].step for number in front(state)), pool[draw(state, seed)].step
