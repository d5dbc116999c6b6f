"""Runs stages and scores of a case on the background loop and puts what they give into the journal."""

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradbook.errors import CaseError, ModelError
from gradbook.journal import Journal, Scored, StageDone, append_line, whole_lines
from gradbook.loop.critic import CriticTask
from gradbook.loop.method import Method
from gradbook.loop.stages import STAGE_FUNCTIONS, Ask, Context, Messages, Subject, predict_one, together
from gradbook.models import Model
from gradbook.plan import epoch_length
from gradbook.records import Answer, Call, Prediction, Role, Score, Spent, SplitName, Stage, Step, Variable
from gradbook.tasks import Task

Progress = Callable[[str, int, int], None]
"""Called with what runs ("predict", "score validation"), how many calls are done and how many are asked for."""


@dataclass(frozen=True)
class Scorable:
    """What can be scored on a split: a prompt of the task, or with `judged` and `method` a critic's on that prompt's outputs."""

    prompt: str
    judged: str | None = None
    method: Method | None = None

    @property
    def variable(self) -> Variable:
        """Whose prompt it is."""
        return "prompt" if self.judged is None else "critic"

    @property
    def name(self) -> str:
        """What its scores are filed under: the SHA-256 of the prompt, for a critic together with `judged` and how it is asked."""
        parts = [self.prompt] if self.judged is None else [self.prompt, self.judged, *CriticTask.form(self.method)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def seed_for(*parts: Any) -> int:
    """A 31-bit seed from (case seed, depth of the step, stage, example, index, replicate): the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4]) >> 1


class CallLog:
    """`calls.jsonl`: every call a case has made, a line each, beginning with the place it was made for.

    Each line is `{"for": [...], "role": ..., "call": {...}}`. A call that a resumed stage reads from the cache again is not
    logged twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._paid: dict[str, bool] | None = None

    def add(self, place: list[Any], role: Role, call: Call) -> bool:
        """Log `call` unless it was logged for this place before; whether the case has paid for it, now or before it was interrupted."""
        if self._paid is None:
            lines = whole_lines(self.path, mend=True) if self.path.exists() else []
            self._paid = {_place(line): line.endswith(b'"cached":false}}') for line in lines}
        line = json.dumps({"for": place}, ensure_ascii=False)[:-1] + f', "key": "{call.key}"'
        known = _place(line.encode())
        if known not in self._paid:
            self._paid[known] = not call.cached
            # a sync for every call would hold the loop up, and the cache has the reply
            append_line(self.path, f'{line}, "role": "{role}", "call": {call.model_dump_json(exclude={"key"})}}}', sync=False)
        return self._paid[known]

    def read(self) -> list[dict[str, Any]]:
        """Every logged call, in the order in which they finished."""
        return [json.loads(line) for line in whole_lines(self.path, mend=False)] if self.path.exists() else []


class Runner:
    """Makes the records of a case with its models, one stage or score at a time.

    Args:
        task, journal, log: of the case.
        models: the model that plays each role.
    """

    def __init__(self, task: Task, journal: Journal, log: CallLog, models: dict[Role, Model]) -> None:
        self.task, self.journal, self.log, self.models = task, journal, log, models
        self.progress: Progress = lambda stage, done, total: None
        self.meters: dict[str, list[_Meter]] = {}
        self._methods: dict[int, Method] = {}
        self._running: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # a stage that is being stopped still unwinds
        self._scoring: dict[tuple[str, SplitName, int], asyncio.Lock] = defaultdict(asyncio.Lock)  # and so does a score
        self._outputs: dict[SplitName, dict[str, list[Prediction]]] = defaultdict(dict)  # what critics judge; scores keep no texts

    async def advance(self, step_id: int) -> Step:
        """Run the next stage of a step and journal it; after the last one, score the training split where the method asks for that.

        Raises:
            CaseError: the step is done.
            ModelError: a call failed; what had finished is in the cache and is not paid again.
        """
        async with self._running[step_id]:
            step = self.journal.state.steps[step_id]
            if step.next_stage is None:
                raise CaseError(f"step {step_id} is done; start the next one with case.step()")
            done = await self._run(step, step.next_stage)
            await self.track(step.parent)
            await self.track(step_id)
            return done

    async def finish(self, step_id: int) -> Step:
        """Run every stage that a step still lacks, and score the training split where the method asks for that."""
        async with self._running[step_id]:
            await self.track(self.journal.state.steps[step_id].parent)
            while (stage := (step := self.journal.state.steps[step_id]).next_stage) is not None:
                await self._run(step, stage)
            await self.track(step_id)
            return step

    async def _run(self, step: Step, stage: Stage) -> Step:
        started = time.monotonic()
        with _Meter(self, stage) as meter:
            records = await STAGE_FUNCTIONS[stage](step, self._context(step, meter))
        event = StageDone(step=step.id, stage=stage, seconds=round(time.monotonic() - started, 3), spent=meter.spent, **{stage: records})
        self.journal.append(event)
        return self.journal.state.steps[step.id]

    async def track(self, step_id: int | None) -> None:
        """Score the training split after a step that ends an epoch, every so many as the method asks; the root is epoch 0."""
        if step_id is None:
            return
        step, method = self.journal.state.steps[step_id], self.method()
        if step.variable == "critic" or step.resampled or not (step.done and method.train_every):
            return
        if step.depth % (method.train_every * epoch_length(self.task, method)) == 0:
            await self.score(Scorable(step.chosen_prompt), "train")

    def method(self, step: Step | None = None) -> Method:
        """The method that a step follows, a branch that of its origin; without a step, the one from here on."""
        stated = self.journal.state.methods
        place = len(stated) - 1 if step is None else self.journal.state.method_of[step.id]
        if place not in self._methods:
            self._methods[place] = Method(**stated[place])
        return self._methods[place]

    def subject(self, step: Step) -> Subject:
        """What a step's prompt is for: the task, or to judge the outputs of the step before it."""
        if step.variable == "prompt":
            return self.task
        parent = self.journal.state.steps[step.parent]
        return self._critic(self.method(step), parent.predict)

    def scorable(self, step: Step, variable: Variable | None = None) -> Scorable:
        """What a step ends with, to be scored: its own variable's prompt, or that of the other one."""
        if (variable or step.variable) == "prompt":
            return Scorable(step.ends_with("prompt"))
        return Scorable(step.ends_with("critic"), step.ends_with("prompt"), self.method(step))

    async def score(self, what: Scorable, split: SplitName, replicate: int = 0) -> Score:
        """The answers of `what` on a split, from the journal where they are, else from a model.

        The same asked for twice at once is scored once.
        """
        place = (what.name, split, replicate)
        async with self._scoring[place]:
            if place not in self.journal.state.scores:
                await self._score(what, split, replicate)
        return self.journal.state.scores[place]

    async def _score(self, what: Scorable, split: SplitName, replicate: int) -> None:
        subject: Subject = self.task
        if what.judged is not None:
            subject = self._critic(what.method, await self._judged(Scorable(what.judged), split))
        started = time.monotonic()
        with _Meter(self, f"score {split}" if what.judged is None else f"score critic on {split}") as meter:
            predictions = await self._answers(what, subject, split, replicate, meter)
        if what.judged is None and not replicate:
            self._outputs[split][what.name] = predictions
        answers = tuple(Answer(**prediction.model_dump(exclude={"output"})) for prediction in predictions)
        score = Score(variable=what.variable, prompt=what.name, split=split, replicate=replicate, answers=answers)
        self.journal.append(Scored(score=score, seconds=round(time.monotonic() - started, 3), spent=meter.spent))

    async def _judged(self, what: Scorable, split: SplitName) -> list[Prediction]:
        """The outputs behind a score, from memory, or where the case was reopened since, from its log of calls."""
        score = await self.score(what, split)
        if what.name not in self._outputs[split]:
            said = {line["key"]: line["call"]["text"] for line in self.log.read()}
            if not said.keys() >= {answer.call for answer in score.answers}:
                raise CaseError(f"{self.log.path} lacks outputs on {split} that the critic is to judge; restore it from a copy")
            self._outputs[split][what.name] = [Prediction(**answer.model_dump(), output=said[answer.call]) for answer in score.answers]
        return self._outputs[split][what.name]

    async def _answers(self, what: Scorable, subject: Subject, split: SplitName, replicate: int, meter: "_Meter") -> list[Prediction]:
        seeds = ("score", split) if what.variable == "prompt" else ("score", split, "critic")
        ask = self._ask(meter, place=["score", what.name[:16], split], seeds=seeds, replicate=lambda _: replicate)
        examples = [subject.example(example.id) for example in self.task.split(split)]
        return await together(predict_one(subject, what.prompt, example, ask) for example in examples)

    def _critic(self, method: Method, predictions: Iterable[Prediction]) -> CriticTask:
        return CriticTask(self.task, method, {prediction.example: prediction for prediction in predictions})

    def _context(self, step: Step, meter: "_Meter") -> Context:
        steps, method = self.journal.state.steps, self.method(step)
        seeds = ("step", step.depth) if step.variable == "prompt" else ("step", step.depth, "critic")
        parent = steps.get(step.parent)
        said = parent.evaluate if step.variable == "critic" and CriticTask.form(self.method(parent)) == CriticTask.form(method) else ()

        async def score(prompt: str) -> tuple[Score, Subject]:
            replicate = step.replicate("select")
            if step.variable == "prompt":
                return await self.score(Scorable(prompt), "validation", replicate), self.task
            found = await self.score(Scorable(prompt, step.held, method), "validation", replicate)
            judged = await self.score(Scorable(step.held), "validation")
            return found, CriticTask(self.task, method, {answer.example: answer for answer in judged.answers})

        return Context(
            task=self.subject(step),
            critic=self._critic(method, step.predict or ()) if method.critic and step.variable == "prompt" else None,
            method=method,
            said={evaluation.example: evaluation for evaluation in said},
            origin=steps.get(step.origin),
            past=tuple(self._past(step, method.momentum)),
            ask=self._ask(meter, place=["step", step.id], seeds=seeds, replicate=step.replicate),
            score=score,
            seed=self.journal.state.seed,
        )

    def _past(self, step: Step, count: int) -> list[Step]:
        """The last `count` steps of the same variable before this one, the oldest first."""
        found: list[Step] = []
        variable = step.variable
        while step.parent is not None and len(found) < count:
            before = self.journal.state.steps[step.parent]
            found += [before] if before.variable == variable else []
            step = before
        return found[::-1]

    def _ask(self, meter: "_Meter", place: list[Any], seeds: tuple[Any, ...], replicate: Callable[[Stage], int]) -> Ask:
        async def ask(role: Role, stage: Stage, messages: Messages, *, example: str = "", index: int = 0) -> Call:
            fresh = replicate(stage)
            seed = seed_for(self.journal.state.seed, *seeds, stage, example, index, fresh)
            meter.asked()
            call = await self.model(role).complete(messages, seed=seed, replicate=fresh)
            paid = self.log.add([*place, stage, example, index, fresh], role, call)
            meter.done(call if paid else None)
            return call

        return ask

    def model(self, role: Role) -> Model:
        """The model that plays `role`."""
        if role not in self.models:
            raise ModelError("this case is open without a model, to be read; open it with gb.Case(path, model=gb.connect()) to run stages")
        return self.models[role]


class _Meter:
    """Counts the calls of one stage or score and sums what they have cost; those of the same name add up in the progress."""

    def __init__(self, runner: Runner, name: str) -> None:
        self._runner, self._name = runner, name
        self.calls = self.finished = 0
        self.open = True
        self.spent = Spent()

    def __enter__(self) -> "_Meter":
        self._runner.meters.setdefault(self._name, []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        together = self._runner.meters[self._name]
        self.open = False
        if not any(meter.open for meter in together):
            together.clear()

    def asked(self) -> None:
        self.calls += 1
        self._tell()

    def done(self, paid: Call | None) -> None:
        self.finished += 1
        self.spent += Spent.of(paid) if paid else Spent()
        self._tell()

    def _tell(self) -> None:
        together = self._runner.meters[self._name]
        self._runner.progress(self._name, sum(m.finished for m in together), sum(m.calls for m in together))


def _place(line: bytes) -> str:
    """The part of a line that says what the call was made for and its key, without parsing the rest."""
    return line[: line.index(b'"key": "') + 72].decode()
