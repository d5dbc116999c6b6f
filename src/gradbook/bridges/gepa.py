"""Keep a run of `gepa.optimize` as a case, by GEPA's own callbacks (gepa 0.1.4): nothing of GEPA's is changed.

    keeper = GEPARecorder("cases/theirs", task=task)
    gepa.optimize(..., trainset=instances(task, "train"), valset=instances(task, "validation"), callbacks=[keeper])
    gb.Stepper(gb.Recording("cases/theirs"))

Each proposal becomes a step: the outputs on its minibatch, the feedback that the reflection read, the candidate, GEPA's acceptance, the
scores on the validation set and the Pareto front after it. It is on disk as it happens. `gb.Case(path, model=…)` branches off any step.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from gradbook.bridges.acceptance import VerdictAcceptance
from gradbook.bridges.gepa_data import feedback_of, has, instances, message_of, numbered, text_of
from gradbook.case import Case
from gradbook.errors import CaseError, GradbookError
from gradbook.events import ModelMet, Scored, StageDone
from gradbook.files import Folder
from gradbook.loop import Method
from gradbook.models.cache import key_of
from gradbook.recording import Scorable
from gradbook.records import Acceptance, Answer, Call, Candidate, Evaluation, Prediction, Role, Selection, SplitName, Stage, Step, short_id
from gradbook.scores import Score
from gradbook.tasks import Task

__all__ = ["GEPARecorder", "VerdictAcceptance", "instances"]
_ROLES: dict[Stage, Role] = {"predict": "task", "rewrite": "optimizer", "select": "task"}
_STAGES: tuple[Stage, ...] = ("predict", "evaluate", "rewrite", "select")
_Handler = TypeVar("_Handler", bound=Callable[..., None])


@dataclass
class _Proposal:
    """One proposal while it is made: the parent's number and text, its minibatch, and what is known of it so far."""

    parent: int
    prompt: str
    batch: tuple[str, ...] = ()
    seen: bool = False
    step: int | None = None
    before: list[float] = field(default_factory=list)
    feedback: tuple[str, ...] | None = None
    candidate: str | None = None
    after: list[float] | None = None
    answers: tuple[Answer, ...] = ()
    why: str = ""


def _kept(handler: _Handler) -> _Handler:
    """A handler that gives up, and says so once, where something cannot be recorded: GEPA would only log it, and go on."""

    @wraps(handler)
    def guarded(self: "GEPARecorder", event: Any) -> None:
        if self.stopped:
            return
        try:
            handler(self, event)
        except Exception as error:
            said = str(error) if isinstance(error, GradbookError) else f"{handler.__name__}: {error!r:.200}"
            self.stopped = said
            warnings.warn(f"the run of GEPA goes on, but is not recorded from here: {said}", stacklevel=2)

    return guarded  # type: ignore[return-value]


class GEPARecorder:
    """A callback for `gepa.optimize(..., callbacks=[…])` that leaves a case.

    Args:
        path: a new folder.
        task: whose train and validation splits are GEPA's trainset and valset, in their order; `instances` gives them as GEPA reads them.
            GEPA's system message is the candidate alone, so a task with an empty format instruction goes on just as the run did.
            Callbacks see no valset, so its order is taken on trust; without one GEPA takes the trainset, which is not the task's.
        title: a line that says what the case is about.
        task_model, reflection_model: what to call the models; GEPA does not say.

    Scores are those of the run: an answer is right where its score is perfect. Where GEPA is given scores in between, sums and
    averages are recorded as they are, and shares count the perfect ones. Of the calls, the reflections are on record word for word, without
    tokens, since GEPA tells no others. A merge has no minibatch of its own. `stopped` says why nothing more is recorded, where that is so.

    Raises:
        CaseError: the folder exists.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        task: Task,
        title: str | None = None,
        task_model: str = "the task model of the run",
        reflection_model: str = "the reflection model of the run",
    ) -> None:
        if Folder(path).path.exists():
            raise CaseError(f"{path} exists already; record a run in a folder that does not")
        self.path, self.task, self.title, self.stopped = Path(path), task, title, ""
        self.case: Case | None = None
        names: dict[Role, str] = {"task": task_model, "optimizer": reflection_model}
        self._models = {role: _model(name) for role, name in names.items()}
        self._component, self._perfect, self._seed = "", 1.0, 0
        self._steps: dict[int, int] = {0: 0}  # the step that ends with each candidate, by its number
        self._last = 0
        self._ids: dict[SplitName, dict[Any, str]] = {}
        self._proposals: list[_Proposal] = []
        self._found: list[dict[str, Any]] = []

    # --- the run -----------------------------------------------------------------------------------------------------------

    @_kept
    def on_optimization_start(self, event: Any) -> None:
        """Make the case, with the seed candidate as its seed prompt."""
        (self._component, seed), *others = event["seed_candidate"].items()
        if others:
            raise CaseError(f"a case holds one prompt, and the candidates of this run have {1 + len(others)} components")
        for split, size in (("train", event["trainset_size"]), ("validation", event["valset_size"])):
            if size != len(self.task.split(split)):  # type: ignore[arg-type]
                told = f"the task has {len(self.task.split(split))} {split} examples and the run {size}"  # type: ignore[arg-type]
                raise CaseError(f"{told}: give gepa.optimize the task's own, as instances(task, {split!r}) has them")
        config = event["config"]
        self._perfect = 1.0 if config.get("perfect_score") is None else config["perfect_score"]
        self._seed = config["seed"] if isinstance(config.get("seed"), int) else 0
        task = replace(self.task, seed_prompt=seed)
        self.case = Case(self.path, task=task, method=Method(engine="gepa"), seed=self._seed, title=self.title)

    @_kept
    def on_iteration_start(self, event: Any) -> None:
        """Take the outputs of the seed candidate, and what a run that was resumed has found before."""
        self._proposals, self._found = [], []
        self._ids["train"] = numbered(event["trainset_loader"].all_ids(), self.task, "train")
        state = event["state"]
        if (best := state.best_outputs_valset) and not self._open.recorded_questions():
            outputs = {id: next((output for number, output in found if number == 0), None) for id, found in best.items()}
            self._score(state.program_candidates[0], state.prog_candidate_val_subscores[0], outputs)
        for number in (n for n in range(len(state.program_candidates)) if n not in self._steps):
            parents = [parent for parent in state.parent_program_for_candidate[number] if parent is not None]
            scores = state.prog_candidate_val_subscores[number]
            self._keep_found(number, state.program_candidates[number], parents, scores, event["iteration"])

    @_kept
    def on_iteration_end(self, event: Any) -> None:
        """Record what became of each proposal, and the front after it."""
        from gradbook.engines.gepa import draw, front

        state = event["state"]
        for found in self._found:
            if not any(self._is(proposal, found) for proposal in self._proposals):  # a merge
                number, parents = found["candidate_idx"], list(found["parent_ids"])
                scores, outputs = found["scores_by_val_id"], found["outputs_by_val_id"]
                self._keep_found(number, found["candidate"], parents, scores, event["iteration"], outputs)
        ends = [(proposal, self._end(proposal)) for proposal in self._proposals if proposal.step is not None]
        members = tuple(self._steps[number] for number in front(state))
        for proposal, (chosen, scores) in ends:
            drawn = self._steps[draw(state, f"{self._seed}/{event['iteration']}")]
            acceptance = Acceptance(
                accepted=chosen >= 0,
                before=sum(proposal.before),
                after=None if proposal.after is None else sum(proposal.after),
                answers=proposal.answers,
                front=members,
                next_from=drawn,
            )
            self._stage(proposal, "select", Selection(chosen=chosen, scores=scores, acceptance=acceptance, reason=proposal.why))

    @_kept
    def on_optimization_end(self, event: Any) -> None:
        """Give the folder up."""
        self._open.close()

    # --- a proposal --------------------------------------------------------------------------------------------------------

    @_kept
    def on_candidate_selected(self, event: Any) -> None:
        """A parent was drawn."""
        self._proposals.append(_Proposal(event["candidate_idx"], event["candidate"][self._component]))

    @_kept
    def on_minibatch_sampled(self, event: Any) -> None:
        """Its minibatch was drawn."""
        proposal = next(each for each in self._proposals if not each.batch)
        proposal.batch = tuple(self._ids["train"][id] for id in event["minibatch_ids"])
        if len(proposal.batch) != self._open.method.batch_size:
            self._open.use(Method(engine="gepa", batch_size=len(proposal.batch)))

    @_kept
    def on_evaluation_start(self, event: Any) -> None:
        """See that GEPA's examples are those of the task, as far as they say what their input is."""
        proposal = next((each for each in self._proposals if not each.seen and each.parent == event["candidate_idx"]), None)
        if proposal is None:  # a candidate, on the minibatch of its parent
            return
        proposal.seen = True
        for name, given in zip(proposal.batch, event["inputs"], strict=True):
            if has(given, "input") and given["input"] != self.task.example(name).input:
                told = f"example {name} of the task reads {self.task.example(name).input[:60]!r} and GEPA's reads {given['input'][:60]!r}"
                raise CaseError(f"{told}: give gepa.optimize the task's own examples in their order, as instances(task, 'train') has them")

    @_kept
    def on_evaluation_end(self, event: Any) -> None:
        """A parent or a candidate has answered the minibatch."""
        if event["candidate_idx"] is None:
            proposal = next((each for each in self._proposals if each.candidate is not None and each.after is None), None)
            if proposal is None:  # a merge
                return
            made = self._answers(proposal.batch, event["outputs"], event["scores"])
            proposal.answers = tuple(Answer(**each.model_dump(exclude={"output"})) for each in made)
            proposal.after = list(event["scores"])
            return
        self._begin(next(each for each in self._proposals if each.step is None and each.parent == event["candidate_idx"]), event)

    @_kept
    def on_evaluation_skipped(self, event: Any) -> None:
        """GEPA does not reflect on this minibatch."""
        proposal = self._waiting(event["candidate_idx"])
        proposal.why = f"GEPA skipped the batch: {str(event['reason']).replace('_', ' ')}"
        self._evaluate(proposal, proposal.feedback)
        self._stage(proposal, "rewrite", ())

    @_kept
    def on_reflective_dataset_built(self, event: Any) -> None:
        """What the reflection reads."""
        proposal = self._waiting(event["candidate_idx"])
        records = event["dataset"].get(self._component, ())
        self._evaluate(proposal, tuple(map(feedback_of, records)) if len(records) == len(proposal.batch) else None)

    @_kept
    def on_proposal_end(self, event: Any) -> None:
        """The reflection has written a candidate."""
        proposal = next(each for each in self._proposals if each.candidate is None and self._next(each) == "rewrite")
        proposal.candidate = event["new_instructions"][self._component]
        asked, said = (event[name].get(self._component) for name in ("prompts", "raw_lm_outputs"))
        call = None if asked is None or said is None else self._call(proposal, asked, said)
        self._stage(proposal, "rewrite", (Candidate(index=0, prompt=proposal.candidate, call=call),))

    @_kept
    def on_candidate_rejected(self, event: Any) -> None:
        """Why, in GEPA's words, where there is one that it can be about."""
        if len(self._proposals) == 1:
            self._proposals[0].why = f"rejected: {str(event['reason'])[:500]}"

    @_kept
    def on_valset_evaluated(self, event: Any) -> None:
        """A candidate was scored on the validation set: the seed candidate, or one that was accepted."""
        if event["candidate_idx"] == 0 and "validation" not in self._ids:
            self._ids["validation"] = numbered(list(event["scores_by_val_id"]), self.task, "validation")
        else:
            self._found.append(dict(event))

    # --- what is written down -----------------------------------------------------------------------------------------------

    @property
    def _open(self) -> Case:
        if self.case is None:
            raise CaseError("the run was not seen from its beginning: give the recorder to gepa.optimize as one of its callbacks")
        return self.case

    def _waiting(self, parent: int) -> _Proposal:
        """The first proposal of a parent whose feedback has not been seen."""
        return next(each for each in self._proposals if each.parent == parent and self._next(each) == "evaluate")

    def _next(self, proposal: _Proposal) -> Stage | None:
        return None if proposal.step is None else self._open[proposal.step].next_stage

    def _step(self, depth: int, parent: int, **more: Any) -> int:
        case, after = self._open, self._last
        start = case[self._steps[parent]]
        begun = case._journal.begin(lambda id: Step(id=id, parent=start.id, after=after, depth=depth, prompt=start.chosen_prompt, **more))
        self._last = begun.id
        return begun.id

    def _begin(self, proposal: _Proposal, event: Any) -> None:
        proposal.step = self._step(event["iteration"], proposal.parent, batch=tuple(dict.fromkeys(proposal.batch)), stages=_STAGES)
        proposal.before = list(event["scores"])
        self._stage(proposal, "predict", self._answers(proposal.batch, event["outputs"], event["scores"]))
        seen = event["trajectories"] or ()
        proposal.feedback = tuple(each["feedback"] for each in seen) if seen and all(has(each, "feedback") for each in seen) else None

    def _answers(self, batch: Sequence[str], outputs: Sequence[Any], scores: Sequence[float]) -> tuple[Prediction, ...]:
        return tuple(self._answer(*each) for each in zip(batch, outputs, scores, strict=True))

    def _answer(self, example: str, output: Any, score: float) -> Prediction:
        text = text_of(output)
        return Prediction(example=example, output=text, answer=self.task.parse(text), correct=score >= self._perfect, length=len(text))

    def _evaluate(self, proposal: _Proposal, feedback: tuple[str, ...] | None) -> None:
        said = feedback or ("",) * len(proposal.batch)
        pairs = zip(proposal.batch, said, strict=True)
        self._stage(proposal, "evaluate", tuple(Evaluation(example=e, target=self.task.example(e).target, text=t) for e, t in pairs))

    def _is(self, proposal: _Proposal, found: Mapping[str, Any]) -> bool:
        """Whether what was scored on the validation set is this proposal's candidate."""
        return proposal.candidate == found["candidate"][self._component] and [proposal.parent] == list(found["parent_ids"])

    def _end(self, proposal: _Proposal) -> tuple[int, dict[str, float]]:
        """What a proposal ended with, and the averages on the validation set; fills in the stages that GEPA left out."""
        if self._next(proposal) == "evaluate":
            self._evaluate(proposal, proposal.feedback)
        if self._next(proposal) == "rewrite":
            proposal.why = "the reflection gave no candidate"
            self._stage(proposal, "rewrite", ())
        found = next((each for each in self._found if self._is(proposal, each)), None)
        if found is None or proposal.step is None:
            proposal.why = proposal.why or "rejected"
            return -1, {}
        self._found.remove(found)
        self._steps[found["candidate_idx"]] = proposal.step
        self._score(found["candidate"], found["scores_by_val_id"], found["outputs_by_val_id"])
        proposal.why = (
            f"accepted, since its scores on the batch add up to {sum(proposal.after or ()):g}, those before to {sum(proposal.before):g}"
        )
        return 0, {"0": found["average_score"]}

    def _keep_found(
        self,
        number: int,
        candidate: Mapping[str, str],
        parents: list[int],
        scores: Mapping[Any, float],
        depth: int,
        outputs: Mapping[Any, Any] | None = None,
    ) -> None:
        """A candidate that no proposal of this recording led to: a merge, or one that a resumed run had found before."""
        proposal = _Proposal(parents[0] if parents else 0, "")
        proposal.step = self._step(depth, proposal.parent, stages=("rewrite", "select"))
        self._stage(proposal, "rewrite", (Candidate(index=0, prompt=candidate[self._component]),))
        of = f"merged from {' and '.join(f'step {self._steps[parent]}' for parent in parents)}" if len(parents) > 1 else "found before"
        self._stage(proposal, "select", Selection(chosen=0, scores={"0": sum(scores.values()) / len(scores)}, reason=of))
        self._steps[number] = proposal.step
        self._score(candidate, scores, outputs)

    def _stage(self, proposal: _Proposal, stage: Stage, records: Any) -> None:
        role = _ROLES.get(stage)
        made = {role: self._met(role)} if role else {}
        self._open._journal.append(StageDone(step=proposal.step, stage=stage, seconds=0.0, models=made, **{stage: records}))

    def _met(self, role: Role) -> str:
        """The id of a model, which the journal then knows."""
        model = self._models[role]
        if model.id not in self._open.model_facts:
            self._open._journal.append(model)
        return model.id

    def _call(self, proposal: _Proposal, asked: Any, said: str) -> str:
        """Write the reflection down as a call, and give its key."""
        messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else [message_of(each) for each in asked]
        model = self._models["optimizer"]
        key = key_of(model.identity, messages, {}, 0)
        call = Call(key=key, model=model.name, messages=tuple(messages), sampling={}, text=said)
        self._open._ledger.add(("step", proposal.step or 0, "rewrite", "", 0, 0), "optimizer", self._met("optimizer"), call)
        return key

    def _score(self, candidate: Mapping[str, str], scores: Mapping[Any, float], outputs: Mapping[Any, Any] | None) -> None:
        """File the answers of a candidate on the validation set, where GEPA tells all of them."""
        names, case = self._ids["validation"], self._open
        if not outputs or set(scores) != set(names) or any(outputs.get(id) is None for id in scores):
            return
        question = Scorable(candidate[self._component]).question("validation", 0, self._met("task"), self.task)
        made = {names[id]: self._answer(names[id], outputs[id], score) for id, score in scores.items()}
        answers = tuple(Answer(**made[example.id].model_dump(exclude={"output"})) for example in self.task.validation)
        case._journal.append(Scored(score=Score(question=question, answers=answers), seconds=0.0))


def _model(name: str) -> ModelMet:
    identity = f"{name}, as a recorded run of GEPA was given it"
    return ModelMet(id=short_id(identity, {}), name=name, identity=identity, kind="recorded", sampling={})
