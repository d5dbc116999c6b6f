"""Recording: the read side of a case. It runs nothing and needs no model, no lock and no right to write."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradbook import asking, comparing, findings, settings, tables
from gradbook.edits import superseded
from gradbook.errors import CaseError, MethodError
from gradbook.events import Found
from gradbook.files import Folder
from gradbook.journal import NAME, Journal, ScoreEntry, State
from gradbook.ledger import Ledger, Work
from gradbook.loop import Method
from gradbook.loop.critic import CriticTask
from gradbook.loop.stages import Subject
from gradbook.metrics import Metrics
from gradbook.records import Edit, Role, SplitName, Stage, Step, Variable, sha256, short_id
from gradbook.scores import Question, Score, Spent
from gradbook.tasks import Task

if TYPE_CHECKING:
    from gradbook.tell import Annotations


@dataclass(frozen=True)
class Change:
    """An edit on the way to a step: `step` is where it was made, `superseded` says that what it wrote does not stand any more."""

    step: int
    edit: Edit
    superseded: bool


@dataclass(frozen=True)
class Scorable:
    """What can be scored on a split: a prompt of the task, or with `judged` and `method` a critic's on that prompt's outputs, by the model
    `judged_model`."""

    prompt: str
    judged: str | None = None
    judged_model: str | None = None
    method: Method | None = None

    def question(self, split: SplitName, replicate: int, model: str, task: Task) -> Question:
        """What its score is filed under, where the model with the id `model` answers."""
        asked: dict[str, Any] = {"prompt": sha256(self.prompt), "split": split, "replicate": replicate, "model": model}
        if self.judged is None or self.method is None:
            return Question(form=task.form, **asked)
        form = short_id(*CriticTask.form(self.method))
        return Question(judged=sha256(self.judged), judged_model=self.judged_model, form=form, **asked)


class Recording:
    """A recorded case, to be read: its tree of steps, scores, notes and tables.

    Args:
        path: the folder. It holds `journal.jsonl` (what happened), `calls.jsonl` (every call) and `case.toml` (settings).
        task: only for a task with a parser or a scorer of its own, which a case cannot keep.

    Raises:
        CaseError: the folder is no case, is damaged, or holds something else than plain files.
    """

    read_only_because = "it is open as a recording"

    def __init__(self, path: str | Path, task: Task | None = None) -> None:
        self._folder = Folder(path)
        if not self._folder.has(NAME):
            raise CaseError(f"{self.path} is not a case: it holds no journal.jsonl; pass task= to gb.Case to make one there")
        self._load(task)

    def _load(self, task: Task | None) -> None:
        self._folder.check()
        self._journal = Journal(self._folder, lambda: settings.read(self._folder))
        self.task = self._recorded_task() if task is None else task
        if any(tuple(self.task.split(split)) != examples for split, examples in self._state.splits.items()):
            raise CaseError(f"{self.path} was made with other examples than {self.task.name} has now; leave task= out, or make a new case")
        self._ledger = Ledger(self._folder, self._unfinished)
        self._methods: dict[int, Method] = {}
        self._metrics: dict[Question, tuple[ScoreEntry, Metrics]] = {}
        self._preferred: dict[Variable, str] = {}

    def _recorded_task(self) -> Task:
        return settings.task(self.path / NAME, self._state.task, self._state.splits)

    @property
    def _state(self) -> State:
        return self._journal.state

    @property
    def path(self) -> Path:
        """The folder, in full."""
        return self._folder.path

    @property
    def title(self) -> str:
        """The line that says what the case is about."""
        return self._state.title

    @property
    def read_only(self) -> bool:
        """Whether nothing can be recorded through this object; `read_only_because` says why."""
        return bool(self.read_only_because)

    @property
    def seed(self) -> int:
        """The case seed, which the seed of every call derives from."""
        return self._state.seed

    @property
    def version(self) -> int:
        """How many events are on record, moves apart: what was made of the case holds while this stays the same."""
        return self._state.events

    @property
    def current(self) -> Step:
        """The step that a person is at; the next one starts from its chosen prompt."""
        return self[self._state.current]

    @property
    def journal_sha256(self) -> str:
        """The SHA-256 of the journal as it is now."""
        return hashlib.sha256(self._folder.read(NAME)).hexdigest()

    def __getitem__(self, step: Step | int) -> Step:
        """The step with this id, or the present state of a step, as far as it has run."""
        id = step.id if isinstance(step, Step) else step
        try:
            return self._state.steps[id]
        except KeyError:
            raise CaseError(f"{self.path} has no step {id}; its steps are 0 to {len(self) - 1}") from None

    def __iter__(self) -> Iterator[Step]:
        """All steps, in the order in which they were begun; the root, step 0, first."""
        return iter(list(self._state.steps.values()))

    def __len__(self) -> int:
        return len(self._state.steps)

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(facts["name"] for facts in self.model_facts.values())) or "no model"
        return f"Recording({self.path.name!r}: {self.task.name}, {len(self) - 1} steps, at step {self.current.id}, recorded with {names})"

    # --- how it was made -----------------------------------------------------------------------------------------------

    @property
    def method(self) -> Method:
        """The method that steps from here on follow."""
        return self._method(len(self._state.methods) - 1)

    def method_of(self, step: Step | int) -> Method:
        """The method that a step follows, a branch that of its origin."""
        return self._method(self._state.method_of[self[step].id])

    def _method(self, place: int) -> Method:
        if place not in self._methods:
            try:
                self._methods[place] = Method(**self._state.methods[place])
            except (MethodError, TypeError) as error:
                raise CaseError(f"{self.path / NAME} holds a method that cannot be ({error}); restore the file from a copy") from None
        return self._methods[place]

    def subject(self, step: Step | int) -> Subject:
        """What a step's prompt is for: the task, or for a critic's step to judge the outputs of the step before."""
        step = self[step]
        if step.variable == "prompt" or step.parent is None:
            return self.task
        return CriticTask(self.task, self.method_of(step), {p.example: p for p in self[step.parent].predict or ()})

    @property
    def model_facts(self) -> dict[str, dict[str, Any]]:
        """Every model on record by its id (the hash of identity and sampling): id, name, identity, kind, sampling."""
        return self._state.models

    def models_of(self, step: Step | int) -> dict[Stage, dict[Role, dict[str, Any]]]:
        """The models that a step's stages asked, by stage and role; empty for a stage that asked none."""
        made = self._state.made_by[self[step].id]
        return {stage: {role: self._facts(id) for role, id in models.items()} for stage, models in made.items()}

    def shown_model(self, variable: Variable = "prompt") -> dict[str, Any] | None:
        """The one model whose scores are shown, in tables, tree and export: the one at hand where it has any, else the last that scored."""
        scored = self._state.scored_by.get(variable, {})
        preferred = self._preferred.get(variable)
        id = preferred if preferred in scored else next(reversed(scored), preferred)
        return None if id is None else self._facts(id)

    @property
    def other_models(self) -> list[str]:
        """The names of the models whose scores are on record and not shown."""
        shown = {facts["id"] for variable in ("prompt", "critic") if (facts := self.shown_model(variable))}  # type: ignore[arg-type]
        return [self._facts(id)["name"] for models in self._state.scored_by.values() for id in models if id not in shown]

    def _facts(self, id: str) -> dict[str, Any]:
        return self._state.models.get(id, {"id": id, "name": "unknown", "identity": "", "kind": "", "sampling": {}})

    def replicates(self, step: Step | int, stage: Stage) -> dict[int, Step]:
        """The replicates of a step that are fresh from a stage on, by their number."""
        found = self._state.replicates.get((self[step].id, stage), {})
        return {number: self[id] for number, id in sorted(found.items())}

    def changes(self, step: Step | int) -> list[Change]:
        """Every edit on the way from the first origin to a step, in order."""
        line = [self[step]]
        while (origin := line[-1].origin) is not None:
            line.append(self[origin])
        made = [(at, edit) for at in reversed(line) if at.replicate_of is None for edit in at.edits]
        return [Change(at.id, edit, superseded(edit, line[0], at)) for at, edit in made]

    # --- scores --------------------------------------------------------------------------------------------------------

    def scorable(self, step: Step | int, split: SplitName, variable: Variable | None = None) -> Scorable:
        """What a step ends with, to be scored on a split: its own variable's prompt, or that of the other one."""
        step = self[step]
        if (variable or step.variable) == "prompt":
            return Scorable(step.ends_with("prompt"))
        return Scorable(step.ends_with("critic"), step.ends_with("prompt"), self.outputs_by(step, split), self.method_of(step))

    def question(
        self, step: Step | int, split: SplitName, replicate: int = 0, variable: Variable | None = None, model: str | None = None
    ) -> Question:
        """What a score of the prompt that a step ends with is of; by default of the model whose scores are shown."""
        variable = variable or self[step].variable
        if model is None:
            model = (self.shown_model(variable) or {"id": ""})["id"]
        return self.scorable(step, split, variable).question(split, replicate, model, self.task)

    def outputs_by(self, step: Step | int, split: SplitName) -> str:
        """The id of the model whose outputs on a split a step's critic judges: the one whose outputs it learned from, where those of the
        split are on record, else the one whose scores are shown."""
        step = self[step]
        batch = step if step.variable == "prompt" or step.parent is None else self[step.parent]
        made = self._state.made_by[batch.id].get("predict", {}).get("task", "")
        on_record = Scorable(step.ends_with("prompt")).question(split, 0, made, self.task) in self._state.scores
        return made if on_record else self._preferred.get("prompt") or (self.shown_model() or {"id": made})["id"]

    def scored(
        self, step: Step | int, split: SplitName = "validation", replicate: int = 0, variable: Variable | None = None
    ) -> Score | None:
        """The recorded score of what a step ends with on a split, or None where it was never scored or nothing is chosen yet.

        A critic's step is scored by its verdicts on the outputs of its time; `variable` asks for the other prompt.
        """
        entry = self.entry(self[step], split, replicate, variable)
        return entry.score if entry else None

    def metrics(
        self, step: Step | int, split: SplitName = "validation", replicate: int = 0, variable: Variable | None = None
    ) -> Metrics | None:
        """The metrics of a recorded score, or None where it was never scored."""
        step = self[step]
        question = self.question(step, split, replicate, variable)
        return self.metrics_on(question) if step.done and question in self._state.scores else None

    def entry(self, step: Step, split: SplitName, replicate: int = 0, variable: Variable | None = None) -> ScoreEntry | None:
        """What is on record of a score, its answers on disk."""
        return self._state.scores.get(self.question(step, split, replicate, variable)) if step.done else None

    def recorded_questions(self) -> list[Question]:
        """What is scored, by any model, in the order in which it was."""
        return list(self._state.scores)

    def recorded(self, question: Question) -> Score:
        """The score of one of `recorded_questions`."""
        return self._state.scores[question].score

    def metrics_on(self, question: Question) -> Metrics:
        """The metrics of one of `recorded_questions`."""
        entry = self._state.scores[question]
        known = self._metrics.get(question)
        if known is None or known[0] is not entry:  # a score that was made again takes the place of the earlier one
            known = self._metrics[question] = entry, Metrics.of(entry.score.answers, self.task)
        return known[1]

    def prompt_text(self, sha: str) -> str:
        """The text of a prompt that was scored, by its SHA-256; raises CaseError where it is not on record."""
        try:
            return self._state.prompts[sha]
        except KeyError:
            raise CaseError(f"{self.path} holds no prompt whose SHA-256 is {sha}") from None

    def best(self, split: SplitName = "validation") -> Step:
        """The step whose prompt has the best recorded accuracy on a split, the earliest where several have.

        Raises:
            CaseError: no step is scored on the split.
        """
        found = {step.id: metrics.accuracy.value for step in self if not step.aside and (metrics := self.metrics(step, split, 0, "prompt"))}
        if not found:
            raise CaseError(f"no step of {self.path} is scored on {split}; score one with case.score(step, {split!r})")
        return self[max(found, key=lambda step: (found[step], -step))]

    # --- notes, time and money -----------------------------------------------------------------------------------------

    def note(self, step: Step | int) -> str:
        """The note on a step, in Markdown."""
        return self._state.notes.get(self[step].id, "")

    def seconds(self, step: Step | int) -> float:
        """The wall time of a step's stages so far, in seconds."""
        return self._state.seconds.get(self[step].id, 0.0)

    @property
    def spent(self) -> Spent:
        """What the calls of this case have cost so far."""
        return self._ledger.spent()

    def spent_on(self, step: Step | int) -> Spent:
        """What the stages of a step have cost so far."""
        return self._ledger.spent("step", self[step].id)

    def spent_like(self, stage: Stage) -> Spent:
        """What all calls of a stage have cost so far, those of scores as "predict"."""
        return self._ledger.spent_like(stage)

    def spent_for(self, found: Found) -> Spent:
        """What the steps and scores that a finding stands on have cost; those of others too, where they share them."""
        return self._ledger.spent_on({*(("step", step) for step in found.steps), *(("score", question) for question in found.questions)})

    at_once: int | None = None
    """How many calls run at the same time, where there is a model to say so."""

    def _unfinished(self, work: Work) -> bool:
        """Whether a stage or score is not on record yet."""
        if work[0] == "score":
            return work[1] not in self._state.question_ids
        step = self._state.steps.get(work[1])
        return step is not None and getattr(step, work[2]) is None

    # --- findings ------------------------------------------------------------------------------------------------------

    @property
    def found(self) -> dict[str, Found]:
        """What was found, by its id, in the order in which it was."""
        return self._state.findings

    finding, plan = asking.finding, asking.plan
    noise, trace = asking.reading(findings.anoise), asking.reading(findings.atrace)
    ablate, prevalence = asking.reading(findings.aablate), asking.reading(findings.aprevalence)

    # --- to keep and to pass on ----------------------------------------------------------------------------------------

    def copy(self, path: str | Path) -> Path:
        """Copy the case's own files, and nothing else that is there, to a new folder; returns its path.

        Raises:
            CaseError: the folder exists, or cannot be written.
        """
        to = Folder(path)
        if to.path.exists():
            raise CaseError(f"{path} exists already; copy to a folder that does not")
        self._folder.copy(to)
        return to.path

    def export(self, path: str | Path, annotations: "Annotations" = "all") -> Path:
        """Write the annotated case as `.ipynb` or as one `.html` file that reads without kernel and network, and return where to.

        Args:
            path: where to; a file that is there already is replaced in one go.
            annotations: "all" notes and reasons of edits, "mine" without the reasons of what a program asked for by name, or "none".

        Raises:
            ExportError: the path cannot be written or has another ending, or there are no such annotations.
        """
        from gradbook.export import export  # notebooks and plots take a second to import, which reading need not wait for

        return export(self, path, annotations)

    steps, predictions, training, scores = tables.steps, tables.predictions, tables.training, tables.scores
    findings, long = tables.findings, tables.long
    compare, comparison = comparing.compare, comparing.comparison
    default_split, chosen_on_validation = comparing.default_split, comparing.chosen_on_validation

    def calls(self) -> pd.DataFrame:
        """One row a call: what it was made for, role, model, whether this case paid it, messages, text, tokens, seconds, cost."""
        rows = [
            {"for": "/".join(map(str, line.place)), "role": line.role, "paid": line.paid, **line.call.model_dump()}
            for line in self._ledger.lines()
        ]
        return pd.DataFrame(rows)
