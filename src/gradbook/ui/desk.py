"""The desk behind the workbench: what is shown, what waits to be run, and what each thing that a person does comes to."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, Literal
from uuid import uuid4

from gradbook import tell
from gradbook.case import Case
from gradbook.edits import menu
from gradbook.errors import GradbookError, MethodError
from gradbook.events import Found
from gradbook.findings import ASKS
from gradbook.loop.table import EDIT_STAGE
from gradbook.recording import Recording
from gradbook.records import SPLITS, SplitName
from gradbook.tell.views import RecordView, StepView
from gradbook.ui import waking
from gradbook.ui.drafts import CHOICE, Draft, Drafts
from gradbook.ui.jobs import Job, Jobs
from gradbook.ui.panel import MethodPanel

MOST_STEPS = 1000


class Desk:
    """What a person has on the desk: a case, the step shown, edits begun, notes, settings, jobs. It knows no widget and no page.

    Args:
        case: the case, or a recording.
        changed: called, on any thread, when what runs has come further; with True where there is more to see than calls.
    """

    def __init__(self, case: Recording, changed: Callable[[bool], None]) -> None:
        self.case, self._changed = case, changed
        self.id = f"gb-{uuid4().hex[:8]}"  # what the ids of a page's fields begin with
        self.queue = Jobs(self._ended)
        self.at = case.current.id
        self.split: SplitName = case.default_split(case.current)
        scored = {question.split for question in case.recorded_questions()}
        if not getattr(case, "models", {}) and scored and self.split not in scored:  # there is nothing else to see
            self.split = next(split for split in ("validation", "train", "test") if split in scored)
        self.look, self.steps, self.scoring, self.panel = "example", 1, case.task.labelled, False
        self.pins: list[int] = []
        self._alone = self.look  # how a step by itself was looked at last
        self.text, self.wrong, self._follow = "", False, True
        self.notes: dict[int, tuple[str, str]] = {}  # what could not be kept, and why
        self.kept: int | None = None
        self.settings = MethodPanel(case.method)
        self.view: StepView = tell.step(case, case.current)
        self._drafts: defaultdict[int, Drafts] = defaultdict(Drafts)
        self.asking, self.opened, self.menu, self.begun = False, "", "", ""
        self._against: int | None = None
        self._others: tuple[tuple[int, int], list[int]] = (-1, -1), []
        self._wake: tuple[Recording | None, waking.Wake | None] = None, None

    def do(self, do: str, **how: Any) -> None:
        """Do what a page asks for; what cannot be done is said in `text`."""
        try:
            getattr(self, f"_do_{do}")(**how)
        except GradbookError as error:
            self.text, self.wrong = str(error), True
        except Exception as error:  # whatever it is, the person who waits must see it
            self.text, self.wrong = f"{type(error).__name__}: {error}", True

    def _ended(self, job: Job) -> None:
        if job.said or not self.queue.open:
            self.text, self.wrong = job.said, job.wrong
        self._changed(True)

    def _do_hello(self) -> None:
        """A page has come up: it is shown things as they stand."""

    def _do_go(self, step: int) -> None:
        self.at, self._against, self._follow, self.kept = self.case[step].id, None, False, None
        self.look, self.menu, self.begun = self._alone, "", ""
        if not (self.locked or self.busy or self.case[step].aside):
            self._case.go(step)

    def _do_undo(self) -> None:
        parent = self.case[self.at].parent
        if parent is not None:
            self._do_go(parent)

    def _do_look(self, look: str) -> None:
        if look in ("stage", "example"):
            self._alone = look
        self.look = "pinned" if look == "pinned" and len(self.pins) == 2 else self._alone

    def _do_pin(self) -> None:
        others = [step for step in self.pins if step != self.at]
        self.pins = others if len(others) < len(self.pins) else [*others, self.at][-2:]
        self._do_look("pinned")

    def _do_split(self, value: str) -> None:
        self.split = next(split for split in SPLITS if split == value)

    def _do_against(self, value: str) -> None:
        if not value.isdecimal() or int(value) not in self.others:
            raise GradbookError(f"step {self.at} cannot be compared with step {value}: they have to be steps of one variable")
        self._against = int(value)

    def _do_steps(self, value: str) -> None:
        self.steps = min(max(int(value), 1), MOST_STEPS) if str(value).isdecimal() else 1

    def _do_scoring(self, value: bool) -> None:
        self.scoring = value

    # --- edits ---------------------------------------------------------------------------------------------------------

    def _do_menu(self, key: str) -> None:
        """Show or hide what can be done by name at a text."""
        self.menu = "" if key == self.menu else key

    def _do_edit(self, key: str, kind: str) -> None:
        record, self.menu = self._record(key), ""
        named = menu.PERTURBATIONS.get(kind)
        if record.place is None or self.locked or (kind != "replace" and (named is None or record.place.field not in named.fields)):
            raise GradbookError(self.locked or f"{record.title}: nothing of the kind can be done there")
        waiting, step = self._drafts[self.at], self.case[self.at]
        if named is None:
            self._do_discard(*waiting.of(key))
            draft = Draft(key, record.place, kind, record.text, record.text)
        elif (draft := waiting.begun(self.case, step, record, kind)).wrong:
            raise GradbookError(f"{record.title}: {draft.wrong}")
        self.begun = waiting.add(draft)

    def refusal(self, record: RecordView, name: str) -> str:
        """Why a perturbation would come to nothing at a text, after those that wait there; empty where it would not."""
        return self._drafts[self.at].begun(self.case, self.case[self.at], record, name).wrong

    def drafts_of(self, record: RecordView) -> dict[str, Draft]:
        """The edits begun of a text of the step that is shown, by their ids, in their order."""
        return self._drafts[self.at].of(record.key)

    def _do_param(self, key: str, name: str, value: str) -> None:
        if key in self.drafts:
            self.drafts[key].set(name, str(value))
            self._drafts[self.at].look(self.case, self.case[self.at])

    def _do_type(self, key: str, value: str) -> None:
        if key in self.drafts:
            self.drafts[key].text = value
            self._drafts[self.at].look(self.case, self.case[self.at])

    def _do_discard(self, *keys: str, key: str = "") -> None:
        for each in (*keys, key):
            self.drafts.pop(each, None)
        self._drafts[self.at].look(self.case, self.case[self.at])

    def _do_why(self, value: str) -> None:
        self._drafts[self.at].why = value

    def _do_choose(self, value: str) -> None:
        choices = self.view.choices
        if choices is None or choices.place is None:
            raise GradbookError("there is nothing to choose from yet")
        self.drafts[CHOICE] = Draft(CHOICE, choices.place, "replace", str(choices.chosen), value)
        if not self.drafts[CHOICE].changes:
            del self.drafts[CHOICE]

    def _record(self, key: str) -> RecordView:
        choices = self.view.choices
        candidates = [row.record for row in choices.rows if row.record] if choices else []
        for record in (*(record for stage in self.view.stages for record in stage.records), *candidates):
            if record.key == key:
                return record
        raise GradbookError(f"step {self.view.id} holds nothing at {key} any more")

    # --- notes and the method ------------------------------------------------------------------------------------------

    def _do_note(self, step: int, value: str) -> None:
        self.kept = None
        try:
            self._case.write_note(step, value)
        except (GradbookError, OSError) as error:  # what was typed stays where it stands, to be copied
            self.notes[step] = value, str(error)
        else:
            self.notes.pop(step, None)
            self.kept = step

    def _do_panel(self) -> None:
        self.panel = not self.panel

    def _do_set(self, name: str, value: Any) -> None:
        self.settings.set(name, value)

    def _do_refill(self) -> None:
        self.settings.fill(self.case.method)

    def _do_use(self) -> None:
        wish = self.settings.wish
        if isinstance(wish, MethodError):
            raise wish
        self._case.use(wish)
        self.settings.fill(wish)

    # --- jobs ----------------------------------------------------------------------------------------------------------

    def _do_stage(self) -> None:
        start = self._start()
        self._run("Run stage", lambda job: self._advance(start))

    def _do_step(self) -> None:
        count, start = self.steps, self._start()
        self._run(f"Run {count} steps" if count > 1 else "Run step", lambda job: self._finish(job, start, count))

    def _do_branch(self) -> None:
        origin, waiting = self.at, self._drafts[self.at].edits(self.case)
        if not waiting:
            raise GradbookError("no edit waits: press Edit at a text of the step and change it")
        made = self._case.branch(origin, *waiting).id
        del self._drafts[origin]
        self._run(f"Branch of step {origin}", lambda job: self._to_the_end(made))

    def _do_score(self) -> None:
        before, after, split = self.before, self.at, self.split
        self._run(f"Score on {split}", lambda job: self._score(split, before, after))

    def _do_judge(self, until: Literal["decided"] | None = None) -> None:
        before, after, split = self.before, self.at, self.split
        if before is None:
            raise GradbookError("there is no step to compare this one with")
        self._run(f"Judge step {before} → step {after}", lambda job: self._case.acompare(before, after, split, until=until))

    # --- findings ------------------------------------------------------------------------------------------------------

    def _do_asking(self) -> None:
        """Show or hide what can be asked of the step."""
        self.asking = not self.asking

    def _do_open(self, id: str) -> None:
        """Show a finding, or hide it again."""
        self.opened = "" if id == self.opened else id

    def _do_ask(self, kind: str) -> None:
        ask, step = ASKS[kind], self.at

        async def work(job: Job) -> None:
            self.opened = (await ask.make(self._case, step)).id

        self._run(f"{ask.record.title}, step {step}", work)

    @property
    def findings(self) -> list[Found]:
        """What was found about the step that is shown, but for effects, which stand in their own panel."""
        return [found for found in self.case.found.values() if found.step == self.at and found.kind in ASKS]

    def _do_export(self, ending: str) -> None:
        target = self.case.path / f"{self.case.path.name}.{ending}"

        async def work(job: Job) -> None:
            job.doing = "writing"
            job.said = f"Exported to {await asyncio.to_thread(self.case.export, target)}"

        self.queue.add(f"Export .{ending}", work, apart=True)

    def _do_wake(self) -> None:
        """Go on with the case, or with a copy of a recording, on the model that it was recorded with."""

        async def work(job: Job) -> None:
            job.doing = self.wake.doing if self.wake else ""
            self._changed(False)
            self.case, job.said = await waking.awoken(self.case)
            self.settings.fill(self.case.method)

        self.queue.add("Get the model", work)

    def _do_stop(self, job: int | None = None) -> None:
        self.queue.stop(job)

    def _start(self) -> int | None:
        """The step to go on from; None for wherever the jobs before will have come to."""
        if self._drafts[self.at].waiting:
            raise GradbookError("An edit waits in the cards: run it as a branch, or discard it first.")
        return None if self.queue.open and self._follow else self.at

    def _run(self, what: str, work: Callable[[Job], Coroutine[Any, Any, Any]]) -> None:
        if self.locked:
            raise GradbookError(self.locked)
        self.text, self._follow = "", True

        async def listening(job: Job) -> None:
            def progress(name: str, done: int, total: int) -> None:
                self._changed(job.progress(name.replace("_", " "), done, total))

            with self._case.runner.listen(progress):
                await work(job)

        self.queue.add(what, listening)

    async def _advance(self, start: int | None) -> None:
        await self._case.runner.advance(self._begin(start))

    async def _finish(self, job: Job, start: int | None, count: int) -> None:
        for turn in range(1, count + 1):
            job.turn = f"step {turn} of {count}" if count > 1 else ""
            await self._to_the_end(self._begin(start if turn == 1 else None))

    def _begin(self, start: int | None) -> int:
        if start is not None:
            self._case.go(start)
        return self._follow_to(self._case.begin().id)

    def _follow_to(self, step: int) -> int:
        """Show a step that begins, unless the person went elsewhere or began an edit, which belongs to the step it was begun in."""
        self._follow = self._follow and not self._drafts[self.at].open
        if self._follow:
            self.at, self._against = step, None
        return step

    async def _to_the_end(self, step: int) -> None:
        await self._case.runner.finish(self._follow_to(step))
        if self.scoring:
            await self._score(self.split, tell.base(self.case, self.case[step]), step)

    async def _score(self, split: SplitName, *steps: int | None) -> None:
        """Score the prompts that steps end with, the same one once."""
        wanted = [self.case[step] for step in steps if step is not None]
        for prompt in dict.fromkeys(self.case.scorable(step, split, wanted[-1].variable) for step in wanted):
            await self._case.runner.score(prompt, split)

    # --- what the page asks ----------------------------------------------------------------------------------------------

    @property
    def drafts(self) -> dict[str, Draft]:
        """The edits begun in the step that is shown."""
        return self._drafts[self.at].open

    @property
    def foreseen(self) -> tuple[str, str]:
        """The line of Python that makes a branch of the edits that wait, and why they make none where they do not."""
        return self._drafts[self.at].foreseen(self.case, self.case[self.at])

    @property
    def why(self) -> str:
        """The reason that is kept with them."""
        return self._drafts[self.at].why

    @property
    def stages(self) -> set[str]:
        """The stages that an edit waits at."""
        return {EDIT_STAGE[draft.place.field] for draft in self._drafts[self.at].waiting}

    @property
    def rows(self) -> set[str | None]:
        """The examples that an edit waits at."""
        return {draft.place.example for draft in self._drafts[self.at].waiting}

    def choice(self, chosen: int) -> int:
        """The candidate that a person has chosen in the step that is shown, or else the one that is."""
        return int(self.drafts[CHOICE].text) if CHOICE in self.drafts else chosen

    @property
    def locked(self) -> str:
        """Why nothing can be edited and run; empty where it can."""
        if self.case.read_only:
            return f"Read only: {self.case.read_only_because}."
        return "" if self._case.models else "Open the case with a model to edit and re-run: gb.Case(path, model=gb.connect())."

    @property
    def wake(self) -> waking.Wake | None:
        """How to go on with a case that is only read."""
        if self._wake[0] is not self.case:
            self._wake = self.case, waking.wake(self.case)
        return self._wake[1]

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return bool(self.queue.open)

    @property
    def _case(self) -> "Case":
        """The case, where it can be written; callers have looked at `locked`."""
        if not isinstance(self.case, Case):
            raise GradbookError(f"nothing can be changed here: {self.case.read_only_because}")
        return self.case

    @property
    def before(self) -> int | None:
        """The step that the shown one is compared with."""
        others = self.others
        base = tell.base(self.case, self.case[self.at])
        return next((id for id in (self._against, base, *others[:1]) if id in others), None)

    @property
    def others(self) -> list[int]:
        """The steps that the shown one can be compared with."""
        of = self.case.version, self.at
        if self._others[0] != of:
            self._others = of, tell.comparable(self.case, self.case[self.at])
        return self._others[1]

    @property
    def measurable(self) -> bool:
        """Whether there is something to compare and a model to do it."""
        step = self.case[self.at]
        return not self.locked and step.done and step.parent is not None and self.before is not None and self.case.task.labelled
