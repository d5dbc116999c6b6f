"""Runs stages and scores of a case on the background loop and puts what they give into the journal."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from gradbook import edits, engines
from gradbook.errors import CaseError, ModelError
from gradbook.events import ModelMet, PromptMet, Scored, StageDone
from gradbook.journal import Journal
from gradbook.ledger import Ledger
from gradbook.loop.critic import CriticTask
from gradbook.loop.method import Method
from gradbook.loop.stages import Ask, Context, Messages, Room, Subject, predict_one, together
from gradbook.models import Model
from gradbook.plan import epoch_length, pool
from gradbook.recording import Recording, Scorable
from gradbook.records import Answer, Call, Prediction, Role, SplitName, Stage, Step, sha256
from gradbook.replies import spoken
from gradbook.scores import Question, Score

Progress = Callable[[str, int, int], None]
"""Called with what runs ("predict", "score validation"), how many calls are done and how many are asked for."""
_MANY = 20  # replies of which not one can be read: then something else than the prompt is wrong
_AHEAD = 256  # calls of scores that are begun at the same time, though most wait for a connection
_JUDGED = 2  # sets of outputs that critics judge are kept at hand: those of the two arms of a comparison


def seed_for(*parts: Any) -> int:
    """A 31-bit seed from (case seed, depth of the step, stage, example, index, replicate): the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4]) >> 1


class Runner:
    """Makes the records of a case with its models, one stage or score at a time.

    Args:
        case: its read side.
        journal, ledger: of the case.
        models: the model that plays each role.
    """

    def __init__(self, case: Recording, journal: Journal, ledger: Ledger, models: dict[Role, Model]) -> None:
        self.case, self.task, self.journal, self.ledger, self.models = case, case.task, journal, ledger, models
        self.listeners: list[Progress] = []
        self.notices: list[str] = []
        self._meters: dict[str, Counter[str]] = {}
        # a stage or a score that is being stopped still unwinds, and whoever asks for it again has to wait
        self._locks: WeakValueDictionary[Any, asyncio.Lock] = WeakValueDictionary()
        self._judged: dict[Question, list[Prediction]] = {}
        self._room = Room(max([_AHEAD, *(2 * model.concurrency for model in models.values())]))

    @contextmanager
    def listen(self, progress: Progress) -> Iterator[None]:
        """Tell `progress` of every call that begins or ends."""
        self.listeners.append(progress)
        try:
            yield
        finally:
            self.listeners.remove(progress)

    async def advance(self, step_id: int) -> Step:
        """Run the next stage of a step and journal it; after the last one, score the training split where the method asks for that.

        Raises:
            CaseError: the step is done.
            ModelError: a call failed; what had finished is in the ledger and is not paid again.
        """
        async with self._lock("step", step_id):
            step = self.case[step_id]
            if step.next_stage is None:
                raise CaseError(f"step {step_id} is done; start the next one with case.step()")
            done = await self._run(step, step.next_stage)
            await self.track(step.parent)
            await self.track(step_id)
            return done

    async def finish(self, step_id: int) -> Step:
        """Run every stage that a step still lacks, and score the training split where the method asks for that."""
        async with self._lock("step", step_id):
            await self.track(self.case[step_id].parent)
            while (stage := (step := self.case[step_id]).next_stage) is not None:
                await self._run(step, stage)
            await self.track(step_id)
            return step

    async def _run(self, step: Step, stage: Stage) -> Step:
        self.journal.check()  # what cannot be recorded is not paid for
        started = time.monotonic()
        with _Meter(self, stage) as meter:
            context = self._context(step, meter)
            records = await engines.stage_function(context.method.engine, stage)(step, context)
            records = await edits.execute(records, step, stage, context)
        asked = {role: self.model(role).id for role in sorted(meter.roles)} or self._made_by(step, stage)
        event = StageDone(step=step.id, stage=stage, seconds=round(time.monotonic() - started, 3), models=asked, **{stage: records})
        self._record(event, *asked)
        return self.case[step.id]

    def _made_by(self, step: Step, stage: Stage) -> dict[Role, str]:
        """The models of the origin, where a branch has its records."""
        return {} if step.origin is None else self.journal.state.made_by[step.origin].get(stage, {})

    def _record(self, event: Any, *roles: Role) -> None:
        """Journal an event, and before it the models of these roles where they are new to the case."""
        known = self.journal.state.models
        new = {m.id: m for role in roles if role in self.models and (m := self.models[role]).id not in known}
        met = [ModelMet(id=m.id, name=m.name, identity=m.identity, kind=m.kind, sampling=m.sampling) for m in new.values()]
        self.journal.append(*met, event)
        self.ledger.settle()

    async def track(self, step_id: int | None) -> None:
        """Score the training split after a step that ends an epoch, every so many as the method asks; the root is epoch 0."""
        if step_id is None:
            return
        step, method = self.case[step_id], self.case.method
        if step.variable == "critic" or step.aside or not (step.done and method.train_every):
            return
        if step.depth % (method.train_every * epoch_length(self.task, method)) == 0:
            await self.score(Scorable(step.chosen_prompt), "train")

    def question(self, what: Scorable, split: SplitName, replicate: int = 0) -> Question:
        """What the score of `what` is filed under, of the model that would make it now."""
        return what.question(split, replicate, self.model("task" if what.judged is None else "critic").id, self.task)

    async def score(self, what: Scorable, split: SplitName, replicate: int = 0, again: bool = False) -> Score:
        """The answers of `what` on a split, from the journal where they are, else from the model that plays the role now.

        The same asked for twice at once is scored once. With `again`, examples on record that got no reply are asked anew.
        """
        question = self.question(what, split, replicate)
        async with self._lock("score", question):
            known = self.journal.state.scores.get(question)
            if known is None or (again and any(answer.lost == "no reply" for answer in known.score.answers)):
                await self._score(what, question, known.score.answers if known else ())
        return self.journal.state.scores[question].score

    async def _score(self, what: Scorable, question: Question, known: Iterable[Answer]) -> None:
        self.journal.check()
        if not self.task.labelled:
            raise CaseError(
                f"task {self.task.name!r} has no labels, so nothing can be scored; make a case with labels to score its prompts"
            )
        split = question.split
        subject: Subject = self.task
        if what.judged is not None and what.method is not None:
            subject = self._critic(what.method, await self._outputs(what, split))
        keep = {answer.example: answer for answer in known if answer.lost != "no reply"}
        started = time.monotonic()
        names, said = [example.id for example in self.task.split(split) if example.id not in keep], ""
        with _Meter(self, f"score {split}" if what.judged is None else f"score critic on {split}", len(names)) as meter:
            seeds = ("score", split) if what.judged is None else ("score", split, "critic")
            ask = self._ask(meter, place=("score", question.id, split), seeds=seeds, replicate=lambda _: question.replicate)

            async def answer(name: str) -> Answer:  # without its output, of which ten thousand would fill the memory
                nonlocal said
                prediction = await predict_one(subject, what.prompt, subject.example(name), ask)
                said = prediction.output
                return Answer(**prediction.model_dump(exclude={"output"}))

            answers = await together(map(answer, names), self._room)
        keep |= {answer.example: answer for answer in answers}
        if len(names) >= _MANY and all(answer.answer is None and not answer.lost for answer in answers):
            self.notices.append(
                f"none of {len(names)} replies on {split} could be read as an answer, so every one counts as wrong; one is: "
                f"{' '.join(said.split())[:200]!r}"
            )
        score = Score(question=question, answers=tuple(keep[example.id] for example in self.task.split(split)))
        texts = {sha256(text): text for text in (what.prompt, what.judged) if text is not None}  # of no step, where a finding made them
        self.journal.append(*(PromptMet(sha256=sha, text=text) for sha, text in texts.items() if sha not in self.journal.state.prompts))
        self._record(Scored(score=score, seconds=round(time.monotonic() - started, 3)), "task" if what.judged is None else "critic")

    async def _score_judged(self, what: Scorable, split: SplitName) -> Score:
        """The score of the outputs that a critic judges, on record or made now."""
        judged = Scorable(what.judged or "")
        known = self.journal.state.scores.get(judged.question(split, 0, what.judged_model or "", self.task))
        return known.score if known else await self.score(judged, split)

    async def _outputs(self, what: Scorable, split: SplitName) -> list[Prediction]:
        """The outputs that a critic judges: from the log of calls, or where that has lost them, from the call cache."""
        score = await self._score_judged(what, split)
        if score.question not in self._judged:
            keys = {answer.call for answer in score.answers if answer.call}
            said = await asyncio.to_thread(self.ledger.texts, keys)
            model = self.model("task")
            for key in keys - said.keys():
                if (found := model.cache.get(key) if model.cache else None) is not None:
                    said[key] = found["text"]
            if not said.keys() >= keys:
                raise CaseError(f"{self.ledger.path} lacks outputs on {split} that the critic is to judge; restore it from a copy")
            heard = [Prediction(**answer.model_dump(), output=spoken(said.get(answer.call or "", ""))) for answer in score.answers]
            self._judged[score.question] = heard
            for question in list(self._judged)[:-_JUDGED]:
                del self._judged[question]
        return self._judged[score.question]

    def _critic(self, method: Method, predictions: Iterable[Prediction]) -> CriticTask:
        return CriticTask(self.task, method, {prediction.example: prediction for prediction in predictions})

    def _context(self, step: Step, meter: "_Meter") -> Context:
        method = self.case.method_of(step)
        seeds = ("step", step.depth) if step.variable == "prompt" else ("step", step.depth, "critic")
        parent = None if step.parent is None else self.case[step.parent]
        same = parent is not None and step.variable == "critic" and CriticTask.form(self.case.method_of(parent)) == CriticTask.form(method)
        verdicts = (parent.evaluate or ()) if same and parent else ()

        async def score(prompt: str) -> tuple[Score, Subject]:
            replicate = step.draw("select")
            if step.variable == "prompt":
                return await self.score(Scorable(prompt), "validation", replicate), self.task
            what = Scorable(prompt, step.held, self.case.outputs_by(step, "validation"), method)
            found, judged = await self.score(what, "validation", replicate), await self._score_judged(what, "validation")
            return found, CriticTask(self.task, method, {answer.example: answer for answer in judged.answers})

        def recorded(prompt: str) -> Score | None:
            entry = self.journal.state.scores.get(self.question(Scorable(prompt), "validation"))
            return entry.score if entry else None

        return Context(
            task=self.case.subject(step),
            critic=self._critic(method, step.predict or ()) if method.critic and step.variable == "prompt" else None,
            method=method,
            verdicts={evaluation.example: evaluation for evaluation in verdicts},
            origin=None if step.origin is None else self.case[step.origin],
            past=tuple(self._past(step, method.momentum)),
            ask=self._ask(meter, place=("step", step.id), seeds=seeds, replicate=step.draw),
            score=score,
            seed=self.case.seed,
            pool=pool(step, self.journal.state.steps),
            recorded=recorded,
        )

    def _past(self, step: Step, count: int) -> list[Step]:
        """The last `count` steps of the same variable before this one, the oldest first."""
        found: list[Step] = []
        variable = step.variable
        while step.parent is not None and len(found) < count:
            before = self.case[step.parent]
            found += [before] if before.variable == variable else []
            step = before
        return found[::-1]

    def _ask(self, meter: "_Meter", place: tuple[Any, ...], seeds: tuple[Any, ...], replicate: Callable[[Stage], int]) -> Ask:
        async def ask(role: Role, stage: Stage, messages: Messages, *, example: str = "", index: int = 0) -> Call:
            fresh, model = replicate(stage), self.model(role)
            seed = seed_for(self.case.seed, *seeds, stage, example, index, fresh)
            here: Any = (*place, stage, example, index, fresh)
            meter.asked(role)
            call = self.ledger.find(here, model.key(messages, seed=seed, replicate=fresh))
            if call is None:
                call = await model.complete(messages, seed=seed, replicate=fresh, landed=partial(self.ledger.add, here, role, model.id))
            meter.done()
            return call

        return ask

    def model(self, role: Role) -> Model:
        """The model that plays `role`."""
        if role not in self.models:
            raise ModelError("this case is open without a model, to be read; open it with gb.Case(path, model=gb.connect()) to run stages")
        return self.models[role]

    def _lock(self, *place: Any) -> asyncio.Lock:
        return self._locks.setdefault(place, asyncio.Lock())


class _Meter:
    """Counts the calls of a stage or score, with those of the same name that run at once, and notes which roles were asked.

    `calls` is how many there will be, where that is known before they are asked for.
    """

    def __init__(self, runner: Runner, name: str, calls: int = 0) -> None:
        self._runner, self._name, self._calls, self.roles = runner, name, calls, set[Role]()
        self._counts = runner._meters.setdefault(name, Counter())

    def __enter__(self) -> "_Meter":
        self._counts.update(open=1, asked=self._calls)
        return self

    def __exit__(self, *_: object) -> None:
        self._counts["open"] -= 1
        if not self._counts["open"]:
            del self._runner._meters[self._name]

    def asked(self, role: Role) -> None:
        self.roles.add(role)
        self._tell(asked=0 if self._calls else 1)

    def done(self) -> None:
        self._tell(done=1)

    def _tell(self, **more: int) -> None:
        self._counts.update(more)
        for progress in self._runner.listeners:
            progress(self._name, self._counts["done"], self._counts["asked"])
