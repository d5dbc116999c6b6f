"""Case: a recording that goes on. It holds the folder's lock, the models and the runner."""

import os
import threading
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gradbook import background, bringing, edits, findings, plan, settings
from gradbook.comparing import check_change, comparable
from gradbook.effects import Effect
from gradbook.errors import CaseError
from gradbook.events import MethodSet, Moved, Noted, Opened, StepBegun, TaskGiven
from gradbook.files import Folder
from gradbook.journal import NAME, Journal
from gradbook.judging import DRAWS, MOST_DRAWS, Judging
from gradbook.loop import Method
from gradbook.metrics import Metrics
from gradbook.models import Budget, Model
from gradbook.progress import blocking
from gradbook.recording import Recording
from gradbook.records import SPLITS, Edit, Role, SplitName, Stage, Step, Variable
from gradbook.runner import Runner
from gradbook.tasks import Task
from gradbook.tasks.feedback import AUTO, read_feedback

_held: "weakref.WeakValueDictionary[Path, Case]" = weakref.WeakValueDictionary()
_opening = threading.RLock()


class Case(Recording):
    """A case folder: opened where it exists, made where it does not.

    Args:
        path: the folder. It holds `case.toml` (settings), `journal.jsonl` (what happened) and `calls.jsonl` (every call).
        task: what the prompt is for; needed for a new case, read from the folder for one that exists.
        model: the model of every role; without one the case opens for reading and taking notes.
        critic, optimizer: other models for a critic's evaluations and the critiques, and for the rewrite.
        method: how a step is made; for an existing case another method holds from the next step on.
        seed: what the seed of every call derives from; fixed when the case is made.
        title: a line that says what the case is about, for a new case.

    A case that another process has open is opened for reading only, with a warning. A case that this process has open
    already moves to the new object. `step`, `perturb`, `replicate`, `score`, `run` and `compare` block, with a progress bar; each has a
    coroutine twin for any loop, with an `a` before its name.

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
    ) -> None:
        self._folder = Folder(path)
        self.read_only_because = ""
        _check_seed(seed or 0)
        if not self._folder.has(NAME):
            if task is None:
                raise CaseError(f"{self.path} is not a case: it holds no journal.jsonl; pass task= to make one there")
            _make(self._folder, task, method or Method(), seed or 0, title or self.path.name)
        self._load(task)
        if seed is not None and seed != self.seed:
            raise CaseError(f"{self.path} was made with seed {self.seed}; a case keeps its seed, so make another case for seed {seed}")
        self.models: dict[Role, Model] = {}
        if model is not None:
            self.models = {"task": model, "critic": critic or model, "optimizer": optimizer or model}
            self._preferred = {"prompt": self.models["task"].id, "critic": self.models["critic"].id}
        self.runner = Runner(self, self._journal, self._ledger, self.models)
        self._take(method)

    @classmethod
    def from_feedback(
        cls,
        data: Any,
        *,
        path: str | Path,
        prompt: str | None = None,
        input: Any = AUTO,
        output: Any = AUTO,
        feedback: Any = AUTO,
        label: Any = AUTO,
        split: Any = None,
        model: Model | None = None,
        critic: Model | None = None,
        optimizer: Model | None = None,
        method: Method | None = None,
        seed: int = 0,
        title: str | None = None,
        name: str | None = None,
        answer: Any = "auto",
        labels: Sequence[Any] | None = None,
        format_instruction: str = "",
        read: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> "Case":
        """A new case from critiques that people have: step 1 has the outputs and output critiques of a table, and `step()` goes on from
        them with prompt critiques, a rewrite and a selection; or edit them first.

        Args:
            data: a DataFrame, or a path to a .csv, .tsv, .jsonl, .json (a list of objects), .xlsx, .parquet, or a log of Inspect.
            path: the folder of the case, which must hold none yet.
            prompt: the prompt that the outputs were made under, which is to be rewritten; a log of Inspect may hold it.
            input, output, feedback, label: the columns. Those of the usual hosted tools are found by name: of OpenAI's prompt optimiser
                (`output_feedback`), LangSmith, Langfuse, Braintrust, Phoenix and Inspect. input: also a list of columns, which an input
                then holds a line each of, "company: …"; feedback: also a list, each a critique of its own. Ratings and other numbers are no
                critiques. label=None does without labels.
            split: the column that says train, validation or test.
            model, critic, optimizer, method, seed, title: as in `Case`. Without a model the case opens for reading. The method has three
                stages and a direct evaluation; other methods may follow (`use`).
            name, answer, labels, format_instruction, read, fields: as in `Task.from_frame` and `from_csv`, `duplicates` too. What follows
                the prompt is by default nothing, as when the outputs were made.

        What is made of the rows:
            * A row with feedback needs an input, an output and, where there are labels, a label: else an error names it. Together these
              rows are the batch of step 1, as far as they train.
            * A row without feedback is an example for validation or test. It is left out where it lacks its input or label.
            * Rows of the same input, output and label are one example with several critiques, the same words once.
            * Rows with feedback train and the others are held back, as 50 to 120 for validation and test, drawn by `seed`; with fewer than
              two others, half of the inputs with feedback. An input stands in one split alone.
            * Without labels all rows train, and nothing can be scored: the method is then labels="none" with naive selection.
            * NaN, None and blanks are empty; "NA" is a word. Whole numbers are read as such, so that a label 1.0 is "1"; answers are read
              as `Task.from_frame` reads them. A list is several critiques, an object its words or JSON. Texts are taken without blanks
              around them and have at most 1,000,000 characters, a column 10,000,000.
            * A file in another encoding or with another separator is refused with what to write as read=.

        Nobody paid for what was brought and no model of the case made it: each record says where it came from (`brought`).

        Raises:
            TaskError: the table cannot be read or used; the column or row is named.
            CaseError: there is a case at `path` already.
            MethodError: the method makes no output critiques, or needs labels that are not there.
        """
        folder = Folder(path)
        if folder.has(NAME):
            raise CaseError(f"{folder.path} is a case already; name a folder that holds none, or open it with gb.Case")
        columns = {"input": input, "output": output, "feedback": feedback, "label": label, "split": split}
        told = {"prompt": prompt, "name": name, "answer": answer, "labels": labels, "format_instruction": format_instruction, "read": read}
        found = read_feedback(data, **columns, **told, seed=seed, **fields)
        method = bringing.brought_method(found, method)
        _make(folder, found.task, method, seed, title or folder.path.name, bringing.first_step(found, method))
        return cls(path, task=found.task, model=model, critic=critic, optimizer=optimizer)

    def __repr__(self) -> str:
        models = ", ".join(dict.fromkeys(model.name for model in self.models.values())) or "no model"
        state = f"read only, {self.read_only_because}" if self.read_only else models
        return f"Case({self.path.name!r}: {self.task.name}, {len(self) - 1} steps, at step {self.current.id}, {state})"

    @property
    def at_once(self) -> int | None:  # type: ignore[override]
        """How many calls run at the same time."""
        return self.models["task"].concurrency if self.models else None

    # --- what a person does --------------------------------------------------------------------------------------------

    async def astep(self) -> Step:
        """Finish the step that is under way, or run the next one.

        Raises:
            ModelError: a call failed or the budget is used up; what had finished is kept, and calling again goes on from there.
        """
        return await background.here(self.runner.finish(self.begin().id))

    async def aperturb(self, step: Step | int, *changes: Edit, note: str = "") -> Step:
        """Make a branch of `step` with `changes`, and run again what depends on them.

        Args:
            step: the step, or its id.
            changes: from `gb.edits`, all at one stage; they are made in their order.
            note: why, in Markdown; becomes the note on the branch.
        """
        return await background.here(self.runner.finish(self.branch(step, *changes, note=note).id))

    async def areplicate(self, step: Step | int, fresh_from: Stage, number: int = 1) -> Step:
        """Run a step once more, with fresh draws of `fresh_from` and all after it, and no other change.

        Args:
            step: the step, or its id.
            fresh_from: the first stage whose calls are made afresh.
            number: which replicate, from 1; one that is on record is not run again.
        """
        step = self[step]
        known = self.replicates(step, fresh_from).get(number)
        made = known or self._journal.begin(lambda id: edits.replicate(step, fresh_from, number, id))
        return await background.here(self.runner.finish(made.id))

    async def ascore(
        self, step: Step | int, split: SplitName = "validation", replicate: int = 0, variable: Variable | None = None
    ) -> Metrics:
        """Score what a step ends with on a whole split, unless that is on record; examples that got no reply are asked again."""
        what = self.scorable(step, split, variable)
        return self.metrics_on((await background.here(self.runner.score(what, split, replicate, again=True))).question)

    async def arun(self, *, batches: int | None = None, epochs: int | None = None) -> Step:
        """Run steps until the current line of them is so many batches, or epochs, long.

        What is there already counts, so that the same line in a notebook goes on where it was interrupted. With a critic, each
        batch ends with the critic's step. `best` finds the step to keep.
        """
        if (batches is None) == (epochs is None):
            raise CaseError("run needs batches= or epochs=, one of them")
        length = (batches or 0) + plan.epoch_length(self.task, self.method) * (epochs or 0)
        return await background.here(self._run_to(length))

    async def _run_to(self, batches: int) -> Step:
        while not self.current.done or self._following(0).depth <= batches:
            await self.runner.finish(self.begin().id)
        await self.runner.track(self.current.id)  # it may have been interrupted there
        return self.current

    async def acompare(
        self,
        before: Step | int,
        after: Step | int,
        split: SplitName | None = None,
        *,
        replicates: int | None = None,
        until: Literal["decided"] | None = None,
        budget: Budget | None = None,
        margin: float | None = None,
        across_models: bool = False,
    ) -> Effect:
        """Judge a change by fresh draws of both arms on the same examples.

        A draw runs again what comes after the change, in both arms alike, with fresh samples, and answers the split with fresh samples;
        where the steps were not made in each other's place, it is their prompts answering the split again. Critics judge the same outputs
        in every draw. All scores are of the model at hand; what is on record costs nothing.

        Args:
            before, after: steps, or their ids.
            split: "train", "validation" or "test"; by default one that no selection has looked at.
            replicates: draws an arm, 5 unless said otherwise; with `until`, the most there may be, 20 unless said otherwise.
            until: "decided" looks after every draw from the third on and stops at a verdict. The looks share the error rate; so they do
                where a comparison that was undecided is asked for again with more draws.
            budget: stop before the draws of this comparison cost more.
            margin: the difference, a share, below which two arms count as equivalent, chosen before looking; 5 points by default.
            across_models: compare although different models made the two arms; the answer says so.

        Raises:
            CaseError: a step is not done, nothing was changed between the two (without draws, `replicates=0`, they are compared
                nonetheless), or the arms were made by different models.
            ModelError: something is not on record and the case has no model, or a call failed.
        """
        a, b, split = self[before], self[after], split or self.default_split(before, after)
        if self.models:
            comparable(self, a, b, across_models)
            most = replicates if replicates is not None else (MOST_DRAWS if until else DRAWS)
            if most:
                check_change(self, a, b, split)
            judging = Judging(self, a, b, split, most, until == "decided", budget, margin, across_models)
            await background.here(judging.run())
        return super().compare(a, b, split, replicates=replicates, margin=margin, across_models=across_models)

    step, perturb, replicate = blocking(astep), blocking(aperturb), blocking(areplicate)
    score, run = blocking(ascore), blocking(arun)
    anoise, atrace, aablate, aprevalence = findings.anoise, findings.atrace, findings.aablate, findings.aprevalence
    noise, trace, ablate, prevalence = blocking(anoise), blocking(atrace), blocking(aablate), blocking(aprevalence)
    compare = blocking(acompare)  # type: ignore[arg-type]  # mypy expects the parameters of Recording.compare and no more

    def begin(self) -> Step:
        """The step under way, or a new one at the current step, with no stage run yet."""
        return self._journal.begin(self._following) if self.current.done else self.current

    def _following(self, id: int) -> Step:
        return plan.following(self.current, self._state.steps, self.task, self.method, self.seed, id)

    def branch(self, step: Step | int, *changes: Edit, note: str = "") -> Step:
        """Record a branch of `step`, with `changes` and what depends on them still to run."""
        step = self[step]
        subject, method = self.subject(step), self.method_of(step)
        return self._journal.begin(lambda id: edits.branch(step, changes, id, subject, method), note)

    def use(self, method: Method) -> None:
        """Follow `method` from the next step on; a step under way, and branches of earlier steps, keep theirs."""
        if self.read_only:
            raise CaseError(f"{self.path} is read only, so its method cannot be changed: {self.read_only_because}")
        plan.check_labels(self.task, method)
        if method != self.method:
            background.uninterrupted(lambda: self._set(method))

    def _set(self, method: Method) -> None:
        self._journal.check()
        settings.write(self._folder, self.title, self.task, method)  # first, since the journal follows it on the next open
        self._journal.append(MethodSet(method=method.model_dump()))

    def write_note(self, step: Step | int, text: str) -> None:
        """Keep `text` as the note on a step, in place of what it read.

        Raises:
            CaseError: the case is read only by now, and why; or the note could not be kept.
        """
        if text != self.note(step):
            if self.read_only:
                raise CaseError(
                    f"the note on step {self[step].id} cannot be kept, since {self.path} is read only: {self.read_only_because}"
                )
            self._journal.append(Noted(step=self[step].id, text=text))

    def go(self, step: Step | int) -> Step:
        """Go to a step: the next one starts from there."""
        found = self[step]
        if found.id != self.current.id:
            self._journal.append(Moved(step=found.id))
        return found

    def undo(self) -> Step:
        """Go to the parent of the current step; nothing is deleted."""
        if self.current.parent is None:
            raise CaseError("step 0 holds the seed prompt: there is nothing before it to go back to")
        return self.go(self.current.parent)

    def close(self) -> None:
        """Give the folder up; this object can still be read."""
        self._give_up("it was closed")

    # --- the folder ----------------------------------------------------------------------------------------------------

    def _take(self, method: Method | None) -> None:
        """Take the right to write: one process has it, and in that process the object that asked last."""
        place = Path(os.path.realpath(self.path))
        with _opening:
            if (older := _held.get(place)) is not None:
                older._give_up("it was opened again in this kernel")
            try:
                if not self._journal.take():
                    self.read_only_because = "another kernel has it open"
                    warnings.warn(f"{self.path} is open in another kernel, so here it is for reading only", stacklevel=3)
                    return
            except CaseError as error:
                self.read_only_because = str(error)
                return
            _held[place] = self
        try:
            self._follow_settings(method)
        except BaseException:
            self._give_up("it could not be opened")
            raise

    def _follow_settings(self, method: Method | None) -> None:
        """Take over what a person has changed in `case.toml`, and another method where one is given."""
        stated, path = settings.read(self._folder), self.path / settings.NAME
        if "custom" not in stated["task"]:
            task = settings.task(path, stated["task"], self._state.splits)
            if (stated["title"], task.settings()) != (self.title, self.task.settings()):
                self._journal.append(TaskGiven(title=stated["title"], settings=task.settings()))
                self.task = self.runner.task = task
        self.use(method or settings.method(path, stated, self.method))

    def _give_up(self, why: str) -> None:
        if not self.read_only:
            self._journal.close()
            self.read_only_because = why

    def fork(self, path: str | Path, **options: Any) -> "Case":
        """Copy the case to a new folder and open the copy; `options` are those of `Case`."""
        return Case(self.copy(path), **options)


def _make(folder: Folder, task: Task, method: Method, seed: int, title: str, begun: Iterable[Any] = ()) -> None:
    """Write a new case, with the events of what it begins with after those of its root."""
    _check_seed(seed)
    plan.check_labels(task, method)
    root = Step(id=0, depth=0, prompt=task.seed_prompt)
    splits = {split: task.split(split) for split in SPLITS}
    told = TaskGiven(title=title, settings=task.settings(), splits=splits)
    journal = Journal.draft(folder, [Opened(seed=seed), told, MethodSet(method=method.model_dump()), StepBegun(step=root), *begun])
    folder.make()
    folder.check()
    settings.write(folder, title, task, method)
    if task.private:  # such data must not be published by an absent-minded commit
        folder.write(".gitignore", b"*\n")
    folder.write(NAME, journal)


def _check_seed(seed: int) -> None:
    if not -(2**63) <= seed < 2**63:
        raise CaseError("the seed of a case is a whole number of at most 18 digits, so that every tool can read it")
