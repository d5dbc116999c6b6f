"""Case: a folder that holds a tree of steps, how they were made, and what a person wrote on them."""

import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from gradbook import background, edits, plan, settings, tables
from gradbook.errors import CaseError
from gradbook.journal import ExamplesGiven, Journal, MethodSet, ModelsSet, Moved, Noted, Opened, StepBegun
from gradbook.lock import Lock
from gradbook.loop import Method
from gradbook.loop.stages import Subject
from gradbook.metrics import Metrics
from gradbook.models import Model
from gradbook.progress import bar
from gradbook.records import SPLITS, Role, Score, Spent, SplitName, Step, Variable
from gradbook.runner import CallLog, Runner
from gradbook.tasks import Task


class Case:
    """A case folder: opened where it exists, made where it does not.

    Args:
        path: the folder. It holds `case.toml` (settings), `journal.jsonl` (what happened) and `calls.jsonl` (every call).
        task: what the prompt is for; needed for a new case, read from the folder for one that exists.
        model: the model of every role; without one the case opens for reading and taking notes.
        critic, optimizer: other models for a critic's evaluations and the critiques, and for the rewrite.
        method: how a step is made; for an existing case another method holds from the next step on.
        seed: what the seed of every call derives from; fixed when the case is made.
        title: a line that says what the case is about, for a new case.
        read_only: open without the right to write.

    A case that another process has open is opened for reading only, with a warning. A case that this process has open
    already moves to the new object.

    Raises:
        CaseError: the folder is no case, is damaged, or was made with another task or seed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        task: Task | None = None,
        model: Model | None = None,
        critic: Model | None = None,
        optimizer: Model | None = None,
        method: Method | None = None,
        seed: int | None = None,
        title: str | None = None,
        read_only: bool = False,
    ) -> None:
        self.path = Path(path)
        self.read_only_because = "it was opened with read_only=True" if read_only else ""
        if task is None and not self._exists:
            raise CaseError(f"{self.path} is not a case: it holds no journal.jsonl; pass task= to make one there")
        self._lock: Lock | None = None
        self._journal: Journal | None = None
        self.models = self._roles(model, critic, optimizer)
        if not read_only:
            self._take_lock()
        try:
            if not self._exists:
                self._make(task, method or Method(), seed or 0, title or self.path.name)
            self._load(task, method, seed)
        except BaseException:
            self._give_up("it could not be opened")
            raise
        self._note_models()

    def _load(self, task: Task | None, method: Method | None, seed: int | None) -> None:
        self._settings = settings.read(self.path)
        self.title = self._settings["title"]
        self._journal = Journal(self.path / "journal.jsonl", writable=not self.read_only)
        self.task = self._open_task(task)
        if seed is not None and seed != self.seed:
            raise CaseError(f"{self.path} was made with seed {self.seed}; a case keeps its seed, so make another case for seed {seed}")
        self.runner = Runner(self.task, self._journal, CallLog(self.path / "calls.jsonl"), self.models)
        if not self.read_only:  # a person may have changed case.toml
            self.use(method or settings.method(self.path, self._settings, self.method))

    @property
    def _exists(self) -> bool:
        return (self.path / "journal.jsonl").exists()

    @property
    def read_only(self) -> bool:
        """Whether nothing can be recorded through this object; `read_only_because` says why."""
        return bool(self.read_only_because)

    @property
    def seed(self) -> int:
        """The case seed."""
        return self._journal.state.seed

    @property
    def spent(self) -> Spent:
        """What the calls of this case have cost so far."""
        return self._journal.state.spent

    @property
    def current(self) -> Step:
        """The step that a person is at; the next one starts from its chosen prompt."""
        return self[self._journal.state.current]

    @property
    def recorded_models(self) -> dict[str, dict[str, Any]]:
        """The models that the last recorded stages called, by role: name, identity, kind, sampling."""
        return self._journal.state.models

    def __getitem__(self, step: int) -> Step:
        """The step with this id, as far as it has run."""
        try:
            found = self._journal.state.steps[step]
        except KeyError:
            raise CaseError(f"{self.path} has no step {step}; its steps are 0 to {len(self._journal.state.steps) - 1}") from None
        found._case = self
        return found

    def __iter__(self):
        """All steps, in the order in which they were begun; the root, step 0, first."""
        return (self[step] for step in sorted(self._journal.state.steps))

    def __len__(self) -> int:
        return len(self._journal.state.steps)

    def __repr__(self) -> str:
        models = ", ".join(dict.fromkeys(model.name for model in self.models.values())) or "no model"
        state = f"read only, {self.read_only_because}" if self.read_only else models
        return f"Case({str(self.path)!r}: {self.task.name}, {len(self) - 1} steps, at step {self.current.id}, {state})"

    @property
    def method(self) -> Method:
        """The method that steps from here on follow; `use` sets another."""
        return self.runner.method()

    def method_of(self, step: Step | int) -> Method:
        """The method that a step follows."""
        return self.runner.method(self._step(step))

    def subject(self, step: Step | int) -> Subject:
        """What a step's prompt is for: the task, or for a critic's step to judge the outputs of the step before."""
        return self.runner.subject(self._step(step))

    def scored(
        self, step: Step | int, split: SplitName = "validation", replicate: int = 0, variable: Variable | None = None
    ) -> Score | None:
        """The recorded score of what a step ends with on a split, or None where it was never scored or nothing is chosen yet.

        A critic's step is scored by its verdicts on the outputs of its time; `variable` asks for the other prompt.
        """
        step = self._step(step)
        if not step.done:
            return None
        return self._journal.state.scores.get((self.runner.scorable(step, variable).name, split, replicate))

    def metrics(
        self, step: Step | int, split: SplitName = "validation", replicate: int = 0, variable: Variable | None = None
    ) -> Metrics | None:
        """The metrics of a recorded score, or None where it was never scored."""
        score = self.scored(step, split, replicate, variable)
        return self.metrics_of(score) if score else None

    def metrics_of(self, score: Score) -> Metrics:
        """The metrics of a score."""
        return Metrics.of(score.answers, self.task)

    @property
    def recorded_scores(self) -> list[Score]:
        """Every score on record, in the order in which they were made."""
        return list(self._journal.state.scores.values())

    def prompt_hash(self, step: Step | int) -> str:
        """What the scores of a step are filed under; for the task's prompt its SHA-256."""
        return self.runner.scorable(self._step(step)).name

    def note(self, step: Step | int) -> str:
        """The note on a step, in Markdown."""
        return self._journal.state.notes.get(self._step(step).id, "")

    def seconds(self, step: Step | int) -> float:
        """The wall time of a step's stages so far, in seconds."""
        return self._journal.state.seconds.get(self._step(step).id, 0.0)

    # --- what a person does --------------------------------------------------------------------------------------------

    def step(self) -> Step:
        """Finish the step that is under way, or run the next one; blocks, with a progress bar.

        Raises:
            ModelError: a call failed or the budget is used up; what had finished is kept, and calling again goes on from there.
        """
        with bar(self.runner):
            return self[background.run(self.runner.finish(self.begin().id)).id]

    def perturb(self, step: Step | int, *changes: edits.Replace, note: str = "") -> Step:
        """Make a branch of `step` with `changes`, and run again what depends on them; blocks, with a progress bar.

        Args:
            step: the step, or its id.
            changes: from `gb.edits`, all at one stage.
            note: why, in Markdown; becomes the note on the branch.
        """
        made = self.branch(step, *changes, note=note)
        with bar(self.runner):
            return self[background.run(self.runner.finish(made.id)).id]

    def score(self, step: Step | int, split: SplitName = "validation", replicate: int = 0) -> Metrics:
        """Score what a step ends with on a whole split, unless that is on record; blocks, with a progress bar."""
        with bar(self.runner):
            score = background.run(self.runner.score(self.runner.scorable(self._step(step)), split, replicate))
        return self.metrics_of(score)

    def run(self, *, batches: int | None = None, epochs: int | None = None) -> Step:
        """Run steps until the current line of them is so many batches, or epochs, long; blocks, with a progress bar.

        What is there already counts, so that the same line in a notebook goes on where it was interrupted. With a critic, each
        batch ends with the critic's step. `best` finds the step to keep.
        """
        if (batches is None) == (epochs is None):
            raise CaseError("run needs batches= or epochs=, one of them")
        length = plan.epoch_length(self.task, self.method) * epochs if batches is None else batches
        with bar(self.runner):
            return self[background.run(self.run_to(length))]

    def best(self, split: SplitName = "validation") -> Step:
        """The step whose prompt has the best recorded accuracy on a split, the earliest where several have.

        Raises:
            CaseError: no step is scored on the split.
        """
        found = {step.id: metrics.accuracy.value for step in self if (metrics := self.metrics(step, split, variable="prompt"))}
        if not found:
            raise CaseError(f"no step of {self.path} is scored on {split}; score one with case.score(step, {split!r})")
        return self[max(found, key=lambda step: (found[step], -step))]

    async def run_to(self, batches: int) -> int:
        """`run` as a coroutine, for the background loop; gives the id of the last step."""
        while not self.current.done or self._following().depth <= batches:
            await self.runner.finish(self.begin().id)
        await self.runner.track(self.current.id)  # it may have been interrupted there
        return self.current.id

    def begin(self) -> Step:
        """The step under way, or a new one at the current step, with no stage run yet."""
        return self._begun(self._following()) if self.current.done else self.current

    def _following(self) -> Step:
        return plan.following(self.current, self._journal.state.steps, self.task, self.method, self.seed)

    def branch(self, step: Step | int, *changes: edits.Replace, note: str = "") -> Step:
        """Record a branch of `step` with `changes` made and what depends on them still to run."""
        step = self._step(step)
        return self._begun(edits.branch(step, list(changes), len(self), self.subject(step), self.method_of(step)), note)

    def use(self, method: Method) -> None:
        """Follow `method` from the next step on; a step under way, and branches of earlier steps, keep theirs."""
        if self.read_only:
            raise CaseError(f"{self.path} is read only, so its method cannot be changed: {self.read_only_because}")
        if method != self.method:
            settings.write(self.path, self.title, self.task, method)  # first, since the journal follows it on the next open
            self._journal.append(MethodSet(method=method.model_dump()))

    def write_note(self, step: Step | int, text: str) -> None:
        """Keep `text` as the note on a step, in place of what it read."""
        if text != self.note(step):
            self._journal.append(Noted(step=self._step(step).id, text=text))

    def go(self, step: Step | int) -> Step:
        """Go to a step: the next one starts from there."""
        found = self._step(step)
        if found.id != self.current.id:
            self._journal.append(Moved(step=found.id))
        return found

    def undo(self) -> Step:
        """Go to the parent of the current step; nothing is deleted."""
        if self.current.parent is None:
            raise CaseError("step 0 holds the seed prompt: there is nothing before it to go back to")
        return self.go(self.current.parent)

    def fork(self, path: str | Path, **options: Any) -> "Case":
        """Copy the case folder to `path` and open the copy; `options` are those of `Case`."""
        if Path(path).exists():
            raise CaseError(f"{path} exists already; fork to a folder that does not")
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns(".lock"))
        return Case(path, **options)

    def export(self, path: str | Path) -> Path:
        """Write the annotated case as `.ipynb` or as one `.html` file that reads without kernel and network."""
        from gradbook.export import export  # the exporter reads cases, so it stands above this module

        return export(self, Path(path))

    def close(self) -> None:
        """Give the folder up; this object can still be read."""
        self._give_up("it was closed")

    # --- tables --------------------------------------------------------------------------------------------------------

    def steps(self) -> pd.DataFrame:
        """One row a step: where it stands in the tree, its method and edits, the accuracy of the task's prompt on each split and
        on the step's batch, a critic's agreement with the gold answers there, prompt, seconds and note."""
        return tables.steps(self)

    def predictions(self) -> pd.DataFrame:
        """One row an example of a step's batch: input, target, output, answer, evaluation and critiques."""
        return tables.predictions(self)

    def training(self, step: Step | int | None = None) -> pd.DataFrame:
        """One row a score of the whole training split on the line of steps to `step` (by default the current one).

        Where the method has `train_every`, at those epochs; without, wherever `score(step, "train")` was asked for.

        Columns: step, batches, epoch, then metrics as in `scores`.
        """
        return tables.training(self, self.current if step is None else self._step(step))

    def scores(self) -> pd.DataFrame:
        """One row a score: prompt (SHA-256), the steps that end with it, split, replicate and metrics, shares 0 to 1.

        low and high are the Wilson interval of the accuracy at 95 %; length is in characters, both it and tokens a mean.
        """
        return tables.scores(self)

    def calls(self) -> pd.DataFrame:
        """One row a call: what it was made for, role, model, messages, text, tokens, seconds, cost."""
        return tables.calls(self)

    def _step(self, step: Step | int) -> Step:
        return self[step if isinstance(step, int) else step.id]

    def _begun(self, step: Step, note: str = "") -> Step:
        self._journal.append(StepBegun(step=step, note=note or None))
        return self[step.id]

    def _take_lock(self) -> None:
        lock = Lock(self.path, self._give_up)
        self.read_only_because = lock.refused
        self._lock = None if lock.refused else lock

    def _give_up(self, why: str) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            self.read_only_because = why
        if self._journal is not None:
            self._journal.writable = False

    def _make(self, task: Task, method: Method, seed: int, title: str) -> None:
        if self.read_only:
            raise CaseError(f"{self.path} is not a case yet and cannot be written: {self.read_only_because}")
        root = Step(id=0, depth=0, prompt=task.seed_prompt)
        splits = {split: task.split(split) for split in SPLITS}
        events = [Opened(seed=seed), ExamplesGiven(splits=splits), MethodSet(method=method.model_dump()), StepBegun(step=root)]
        settings.write(self.path, title, task, method)
        if task.private:  # such data must not be published by an absent-minded commit
            (self.path / ".gitignore").write_text("*\n")
        draft = self.path / "journal.jsonl.new"
        draft.write_text("".join(event.model_dump_json(exclude_none=True) + "\n" for event in events), encoding="utf-8")
        os.replace(draft, self.path / "journal.jsonl")

    def _open_task(self, task: Task | None) -> Task:
        recorded = self._journal.state.splits
        if task is None:
            return settings.task(self.path, self._settings, recorded)
        if any(tuple(task.split(split)) != tuple(recorded.get(split, ())) for split in SPLITS):
            raise CaseError(f"{self.path} was made with other examples than {task.name} has now; leave task= out, or make a new case")
        return task

    @staticmethod
    def _roles(model: Model | None, critic: Model | None, optimizer: Model | None) -> dict[Role, Model]:
        if model is None:
            return {}
        return {"task": model, "critic": critic or model, "optimizer": optimizer or model}

    def _note_models(self) -> None:
        used = {role: {"name": m.name, "identity": m.identity, "kind": m.kind, "sampling": m.sampling} for role, m in self.models.items()}
        if used and not self.read_only and used != self.recorded_models:
            self._journal.append(ModelsSet(models=used))
