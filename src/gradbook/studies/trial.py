"""One trial: an ordinary case that is run to its length and scored, and what is kept of it in the study's table.

`run_trial` is what an executor runs: it opens the case where it is, so that a trial whose worker was killed goes on from there.
"""

import asyncio
import functools
import json
import math
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gradbook import background
from gradbook.case import Case
from gradbook.errors import BudgetExceeded, GradbookError, StudyError
from gradbook.files import Folder
from gradbook.journal import NAME as JOURNAL
from gradbook.ledger import NAME as CALLS
from gradbook.ledger import Ledger
from gradbook.loop.stages import together
from gradbook.models import Model
from gradbook.models.cache import CallCache
from gradbook.models.spec import ModelSpec
from gradbook.recording import Recording
from gradbook.records import Record, Role, SplitName, Step, sha256
from gradbook.scores import Score
from gradbook.studies.arms import Arm
from gradbook.studies.counting import step_calls
from gradbook.studies.design import Design, Place, Roles
from gradbook.tasks import Task

_PATIENCE = 60.0  # seconds to wait for another process that has the case open, such as a worker whose study was killed
_BETWEEN = 0.2
ENDS = ("seed", "end")
SCORED: tuple[SplitName, ...] = ("validation", "test")
MARKS = {"right": "1", "wrong": "0", "unparsed": "u", "cut off": "c", "no reply": "n"}
Told = Callable[[float], None]
"""Called with the share of a trial that is done, 0 to 1."""


class Answered(Record):
    """The answers of a prompt on a split: a sign of `MARKS` for each example, in the order of the task;
    `balanced` is the balanced accuracy, None for a task without classes."""

    marks: str
    balanced: float | None = None

    @property
    def accuracy(self) -> float:
        """The share that is right, 0 to 1."""
        return self.marks.count(MARKS["right"]) / len(self.marks)


class Point(Record):
    """A step on the line of a trial: its batch, the share of it that was right, the chosen prompt's accuracy where that was scored."""

    batch: int
    right: float | None = None
    validation: float | None = None
    train: float | None = None
    changed: bool = False


class Result(Record):
    """A trial that is done or has failed: a line of the result store.

    `answers` are those of the seed prompt and of the one that the trial ended with, by "seed test", "end validation" and so on.
    `prompt` is the SHA-256 of the latter. `calls`, tokens and `cost` are what the trial asked for, whoever paid it (`unknown`: calls
    whose usage the endpoint did not give); `trained` are the calls without the final scores; `paid` calls and `paid_cost` are what it
    really had to pay. `registered` is the hash of what was registered when it was run. `seconds` is the time of its stages and scores.
    """

    task: str
    model: str
    arm: str
    trial: int
    status: Literal["done", "failed"]
    seed: int
    error: str = ""
    answers: dict[str, Answered] = Field(default={})
    points: tuple[Point, ...] = ()
    prompt: str = ""
    calls: int = 0
    trained: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    unknown: int = 0
    paid: int = 0
    paid_cost: float | None = None
    seconds: float = 0.0
    time: float = 0.0
    registered: str = ""

    @property
    def place(self) -> Place:
        """Which trial it is."""
        return Place(self.task, self.model, self.arm, self.trial)


@dataclass(frozen=True)
class Trial:
    """All that one trial needs besides its models; `path` is its case's."""

    path: Path
    place: Place
    task: Task
    arm: Arm
    seed: int
    registered: str = ""

    @classmethod
    def of(cls, folder: Path, design: Design, place: Place) -> "Trial":
        """A trial of the study in a folder."""
        return cls(
            folder / design.folder(place),
            place,
            design.tasks[place.task],
            design.arms[place.arm],
            design.seed_of(place.trial),
            design.registered[-1].id,
        )

    async def run(self, models: Mapping[Role, Model], told: Told = lambda share: None) -> Result:
        """Go on from where the case is, to the end; a failure is a result like another.

        Raises:
            BudgetExceeded: no trial would come further.
        """
        try:
            case = await self._open(models)
            try:
                await self._train(case, told)
                return await self._result(case)
            finally:
                case.close()
        except BudgetExceeded:
            raise
        except Exception as error:
            return self.failed(error)

    def failed(self, error: BaseException) -> Result:
        """The result of a trial that ended with an error."""
        said = str(error) if isinstance(error, GradbookError) else f"{type(error).__name__}: {error}"
        return Result(
            **self.place._asdict(),
            status="failed",
            seed=self.seed,
            error=said[:2000],
            time=round(time.time(), 3),
            registered=self.registered,
        )

    async def _open(self, models: Mapping[Role, Model]) -> Case:
        folder, until = Folder(self.path), time.monotonic() + _PATIENCE
        while not await asyncio.to_thread(is_free, folder, JOURNAL):
            if time.monotonic() > until:
                raise StudyError(f"{self.path} is open in another process: close it there, and run the study again")
            await asyncio.sleep(_BETWEEN)
        made = functools.partial(
            Case,
            self.path,
            task=self.task,
            model=models["task"],
            critic=models["critic"],
            optimizer=models["optimizer"],
            method=self.arm.method,
            seed=self.seed,
            title=f"{self.place.arm}, trial {self.place.trial}: {self.place.task}, {self.place.model}",
        )
        case = await background.opened(made)
        if case.current.id != (last := line(case)[-1]).id:  # a person has looked at it meanwhile, or tried something
            case.go(last)
        return case

    async def _train(self, case: Case, told: Told) -> None:
        batches, depth = self.arm.batches(self.task), case.current.depth
        await case.arun(batches=depth)  # ends what is under way
        while depth < batches if batches is not None else self._affords(case, depth + 1):
            _check_parent()
            depth += 1
            await case.arun(batches=depth)
            told(0.9 * (depth / batches if batches is not None else min(1.0, trained(case) / (self.arm.calls or 1))))

    def _affords(self, case: Case, depth: int) -> bool:
        return trained(case) + step_calls(self.arm.method, self.task, depth).total() <= (self.arm.calls or 0)

    async def _result(self, case: Case) -> Result:
        end = best_of_beam(case)
        splits = SCORED if self.arm.method.validates else SCORED[1:]  # what nothing was selected by says nothing more than the test split
        wanted = [(name, step, split) for name, step in (("seed", case[0]), ("end", end)) for split in splits]
        metrics = await together(case.ascore(step, split, variable="prompt") for _, step, split in wanted)
        answers = {
            f"{name} {split}": Answered(marks=_marks(case, step, split), balanced=None if m.balanced != m.balanced else m.balanced)
            for (name, step, split), m in zip(wanted, metrics, strict=True)
        }
        sums = await asyncio.to_thread(_spent, case)
        entries = {entry for _, step, split in wanted if split == "test" and (entry := case.entry(step, split, 0, "prompt"))}
        return Result(
            **self.place._asdict(),
            status="done",
            seed=self.seed,
            answers=answers,
            points=tuple(_point(case, step) for step in line(case)[1:] if step.variable == "prompt"),
            prompt=sha256(end.ends_with("prompt")),
            trained=trained(case),
            seconds=round(sum(map(case.seconds, line(case))) + sum(entry.seconds for entry in entries), 3),
            time=round(time.time(), 3),
            registered=self.registered,
            **sums,
        )


@dataclass(frozen=True)
class Job:
    """A trial as it is sent to a worker; `task` only where a folder cannot keep it. The study's folder has to be there for the worker."""

    folder: Path
    place: Place
    models: Roles
    task: Task | None = None
    asked: int = field(default_factory=time.time_ns)  # a cluster takes the same job for one that it has done


def run_trial(job: Job) -> Result:
    """Run a trial in this process, with models of its own, keys from its environment; a failure is a result like another."""
    folder = Folder(job.folder)
    known = {} if job.task is None else {job.place.task: job.task}
    trial = Trial.of(folder.path, Design.read(folder, known), job.place)
    try:
        restore(trial.path, job.models)
        models = {role: _connected(spec.model_dump_json()) for role, spec in job.models.items()}
    except Exception as error:
        return trial.failed(error)
    return background.run(trial.run(models))


@functools.cache
def _connected(spec: str) -> Model:
    """One model for all trials of a process, so that they share its connections."""
    return ModelSpec.model_validate_json(spec).connect()


def _check_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise StudyError("the process that ran the study is gone, so its worker stopped here")


def restore(case: Path, models: Roles) -> None:
    """Cache what an unfinished trial has on record: it may have been killed between the two, and other arms look in the cache alone."""
    caches = {path: CallCache(path) for spec in models.values() if (path := spec.cache) and case.exists()}
    for each in Ledger(Folder(case), lambda _: False).lines() if caches else ():
        cache = caches.get(models[each.role].cache or "")
        if cache and cache.get(each.key) is None:
            cache.keep(each.call)


def is_free(folder: Folder, name: str) -> bool:
    """Whether nobody holds a file of lines, or there is none yet."""
    if not folder.has(name):
        return True
    lines = folder.open(name, writable=True)
    try:
        return lines.lock()
    finally:
        lines.close()


def line(case: Recording) -> list[Step]:
    """The steps of a trial from its root, without those that a person has branched off."""
    found: dict[int, Step] = {}
    for step in case:
        if step.origin is None and step.replicate_of is None and not step.aside and (step.parent is None or step.parent in found):
            found[step.id] = step
    return list(found.values())


def best_of_beam(case: Recording) -> Step:
    """The step whose prompt a trial ends with: the last one, the best of the last beam, or with a Pareto front the best on validation."""
    last = line(case)[-1]
    if last.after is not None:
        return case.best()
    fellows = [case[id] for id in (*last.fellows, last.id)]
    return max(fellows, key=lambda step: step.select.scores.get(str(step.select.chosen), 0.0) if step.select else 0.0)


def trained(case: Case) -> int:
    """How many calls the steps have asked for so far, those of their selection included, whoever paid them."""
    scores = case.method.validates
    return sum(place[0] == "step" or (scores and place[2] == "validation") for place in _places(case))


def _places(case: Recording) -> Iterator[list[Any]]:
    """What each call on record was for, without reading the calls themselves."""
    folder, decoder = Folder(case.path), json.JSONDecoder()
    if folder.has(CALLS):
        lines = folder.open(CALLS, writable=False)
        try:
            for _, data in lines:
                yield decoder.raw_decode(data.decode(), len('{"for": '))[0]
        finally:
            lines.close()


def _spent(case: Case) -> dict[str, Any]:
    """What the calls of a case come to, asked for and paid."""
    sums, costs = Counter[str](), dict[str, list[float]]()
    for each in case.runner.ledger.lines():
        call = each.call
        unknown = call.prompt_tokens is None or call.completion_tokens is None
        sums.update(calls=1, paid=each.paid, unknown=unknown)
        sums.update(prompt_tokens=call.prompt_tokens or 0, completion_tokens=call.completion_tokens or 0)
        for name in ("cost", *["paid_cost"] * each.paid):
            if call.cost is not None:
                costs.setdefault(name, []).append(call.cost)
    return {**sums, **{name: math.fsum(each) for name, each in costs.items()}}  # the same in whatever order the calls ended


def _marks(case: Recording, step: Step, split: SplitName) -> str:
    score = case.scored(step, split, variable="prompt")
    assert isinstance(score, Score), "it was scored just now"
    return "".join(
        MARKS["right" if answer.correct else answer.lost or ("unparsed" if answer.answer is None else "wrong")] for answer in score.answers
    )


def _point(case: Recording, step: Step) -> Point:
    entries = {split: case.entry(step, split, 0, "prompt") for split in ("train", "validation")}  # type: ignore[arg-type]
    return Point(
        batch=step.depth,
        right=sum(p.correct for p in step.predict) / len(step.predict) if step.predict else None,
        changed=step.chosen_prompt != step.prompt,
        **{split: entry.accuracy for split, entry in entries.items() if entry},
    )
