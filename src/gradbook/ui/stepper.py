"""Stepper: the workbench of a case in one cell."""

import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from importlib.resources import files
from typing import Any

import ipywidgets as w

from gradbook import background
from gradbook.effects import str_share
from gradbook.errors import GradbookError
from gradbook.plan import epoch_length
from gradbook.recording import Recording
from gradbook.records import Step
from gradbook.tables import method_line
from gradbook.tree import walk
from gradbook.ui.cards import Cards
from gradbook.ui.effect import REPLICATES, Effect, base
from gradbook.ui.keys import Keys
from gradbook.ui.notes import Notes
from gradbook.ui.parts import box, button, esc, html
from gradbook.ui.settings import MethodPanel
from gradbook.ui.tree import Tree, what

STYLE = files("gradbook.ui").joinpath("style.css").read_text(encoding="utf-8")
MOST_STEPS = 1000


class Stepper(w.VBox):
    """Step through a case, edit what a stage gave, see what that did, keep a note, export.

    Args:
        case: the case to work on. Without a model, or read only, it is a replay: everything can be read and compared.

    Long work runs on gradbook's own event loop, so the page and the kernel stay free; `future` is the work under way.
    """

    def __init__(self, case: Recording) -> None:
        self.case = case
        self.future: Future | None = None
        self._drawing = threading.RLock()
        self._follow, self._stage, self._stage_began = True, "", 0.0
        self._turn = ""
        self._told: tuple[int, int] | None = None
        self._shown = case.current.id
        self._head = html("", "gb-head")
        self._message = html("", "gb-message")
        self.run_stage = button("Run stage", self._on_stage, "Run the next stage of the step", "gb-run-stage")
        self.run_step = button("Run step", self._on_step, "Run to the end of the step, then score it", "gb-run-step", "gb-primary")
        self.stop = button("Stop", self._on_stop, "Stop what runs; what has finished is kept", "gb-stop")
        self.undo = button("Undo", self._on_undo, "Go to the parent step; nothing is deleted", "gb-undo")
        self.branch = button("Branch", self._on_branch, "Run the edits as a branch of this step", "gb-branch")
        self.export_notebook = button("Export .ipynb", lambda: self._on_export("ipynb"), "Write an annotated notebook", "gb-export")
        self.export_html = button("Export .html", lambda: self._on_export("html"), "Write one HTML file", "gb-export")
        self.steps = w.BoundedIntText(value=1, min=1, max=MOST_STEPS, description="Steps", tooltip="How many steps Run step runs in a row")
        self.steps.add_class("gb-steps")
        self.method_button = w.ToggleButton(description="Method", icon="caret-right", tooltip="Show or hide the settings of the method")
        self.method_button.observe(self._on_method, "value")
        self._score_too = w.Checkbox(value=True, description="score each step on the split shown", indent=False)
        self._bar = w.IntProgress(min=0, max=1, layout=w.Layout(width="180px", visibility="hidden"))
        self._status = html("", "gb-status")
        self.tree = Tree(case, self.go)
        self.cards = Cards(case, self._enable, self._on_branch)
        self.effect = Effect(case, self._on_score, self._on_noise, self._on_split)
        self.notes = Notes(case)
        self.settings = MethodPanel(case, self._show)
        self.settings.layout.display = "none"
        run = [self.run_stage, self.run_step, self.steps, self.stop]
        buttons = [*run, self.undo, self.branch, self.method_button, self.export_notebook, self.export_html]
        super().__init__(
            [
                html(f"<style>{STYLE}</style>"),
                Keys(),
                self._head,
                box(*buttons, row=True, classes=("gb-toolbar",)),
                box(self._bar, self._status, self._score_too, row=True, classes=("gb-progress",)),
                self._message,
                self.settings,
                box(self.tree, self.cards, self.effect, row=True, classes=("gb-panels",)),
                self.notes,
            ]
        )
        self.add_class("gradbook-stepper")
        self._show()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """The widget, and the tree as plain HTML for where no kernel runs: stored notebooks, code hosts, after a restart."""
        rows = "".join(
            f"<tr><td>{'&nbsp;' * 4 * indent}step {step.id}, {esc(what(step, self.case.method_of(step)))}</td>"
            f"<td>{_accuracy(self.case, step)}</td><td><pre>{esc(step.chosen_prompt)}</pre></td></tr>"
            for indent, step in walk(self.case)
        )
        head = f"<p><b>{esc(self.case.title)}</b>: run this cell to work on the case. Its steps when this was stored:</p>"
        critic = " (⚖: agrees with the gold answers)" if any(step.variable == "critic" for step in self.case) else ""
        table = f"<table><tr><th>step</th><th>right on validation{critic}</th><th>prompt it ends with</th></tr>{rows}</table>"
        return super()._repr_mimebundle_(**kwargs) | {"text/html": head + table}

    # --- what a person does --------------------------------------------------------------------------------------------

    def go(self, step: int) -> None:
        """Show a step; the next one starts from there."""
        self._follow = False
        self._shown = step
        if not self.case.read_only and not self._busy:
            self.case.go(step)
        self._show()

    def _on_stage(self) -> None:
        self._start(self._advance)

    def _on_step(self) -> None:
        self._start(self._finish)

    def _on_branch(self) -> None:
        self._start(self._branch)

    def _on_score(self) -> None:
        self._start(self._score_both)

    def _on_noise(self) -> None:
        self._start(self._measure)

    def _on_stop(self) -> None:
        if self.future is not None:
            self.future.cancel()

    def _on_method(self, change: dict) -> None:
        self.settings.layout.display = None if change["new"] else "none"
        self.method_button.icon = "caret-down" if change["new"] else "caret-right"

    def _on_undo(self) -> None:
        self.go(self.case[self._shown].parent)

    def _on_split(self) -> None:
        self.effect.draw()
        self.tree.show(self._shown, self.effect.split)

    def _on_export(self, ending: str) -> None:
        self.notes.flush()
        target = self.case.path / f"{self.case.path.resolve().name}.{ending}"
        try:
            self._say(f"Exported to {self.case.export(target)}")
        except (GradbookError, OSError) as error:
            self._say(str(error), wrong=True)

    # --- work on the background loop -----------------------------------------------------------------------------------

    async def _advance(self) -> int:
        self.case.go(self._shown)
        self._shown = self.case.begin().id
        await self.case.runner.advance(self._shown)
        return self._shown

    async def _finish(self) -> int:
        self.case.go(self._shown)
        count = self.steps.value
        for turn in range(1, count + 1):
            self._turn = f"step {turn} of {count}" if count > 1 else ""
            step = await self._to_the_end(self.case.begin().id)
        return step

    async def _branch(self) -> int:
        origin = self._shown
        made = self.case.branch(origin, *self.cards.pending)
        self.cards.forget(origin)
        return await self._to_the_end(made.id)

    async def _to_the_end(self, step: int) -> int:
        if self.cards.pending:  # an edit that was begun while steps run belongs to the step it was begun in
            self._follow = False
        if self._follow:
            self._shown = step
        await self.case.runner.finish(step)
        if self._score_too.value:
            await self._score(base(self.case, self.case[step]), step)
        if not self._follow:
            with self._drawing:
                self.tree.show(self._shown, self.effect.split)
        return step

    async def _score_both(self) -> int:
        await self._score(self.effect.against, self._shown)
        return self._shown

    async def _score(self, *steps: int) -> None:
        variable = self.case[steps[-1]].variable
        for prompt in dict.fromkeys(self.case.runner.scorable(self.case[step], self.effect.split, variable) for step in steps):
            await self.case.runner.score(prompt, self.effect.split)

    async def _measure(self) -> int:
        shown = self._shown
        await self.case.acompare(self.effect.against, shown, self.effect.split, replicates=REPLICATES)
        return shown

    def _start(self, work: Callable[[], Coroutine[Any, Any, int]]) -> None:
        """Start `work` on the background loop; it returns the step to show when it ends."""
        if self._busy:
            return
        if self.cards.pending and work != self._branch:
            self._say("An edit waits in the cards: run it as a branch, or discard it first.", wrong=True)
            return
        self._say("")
        self.notes.flush()
        self._follow, self._stage, self._turn = True, "", ""
        self.future = background.submit(self._listening(work))
        self._enable()
        self.future.add_done_callback(self._ended)

    async def _listening(self, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
        with self.case.runner.listen(self._progress):
            return await work()

    def _ended(self, future: "Future[int]") -> None:
        try:
            step = future.result()
            self._say("")
        except CancelledError:
            step = None
            self._say(f"Stopped{f' in {self._turn}' if self._turn else ''}. What had finished is kept; press Run step to go on.")
        except GradbookError as error:
            step = None
            self._say(str(error), wrong=True)
        except Exception as error:  # whatever it is, the person who waits must see it
            step = None
            self._say(f"{type(error).__name__}: {error}", wrong=True)
        self.future = None
        if step is not None and self._follow:
            self._shown = step
        self._bar.layout.visibility, self._status.value = "hidden", ""
        self._show()

    def _progress(self, name: str, done: int, total: int) -> None:
        """Called on the background loop for every call that begins or ends; drawn ten times a second at most."""
        if name != self._stage:
            self._stage, self._stage_began = name, time.monotonic()
            if self._follow and not self.cards.pending:
                self._show()
        if self._told is None:
            background.loop().call_later(0.1, self._tell)
        self._told = (done, total)

    def _tell(self) -> None:
        """Name what runs, count its calls, estimate the time left from the calls that are done."""
        (done, total), self._told = self._told, None
        if not self._busy:
            return
        left = (time.monotonic() - self._stage_began) / done * (total - done) if done else None
        self._bar.max, self._bar.value, self._bar.layout.visibility = total, done, "visible"
        about = "" if left is None or done == total else f", about {_duration(left)} left"
        turn = f"{self._turn} · " if self._turn else ""
        self._status.value = f"{turn}{esc(self._stage.replace('_', ' '))}: {done} of {total} calls{about}"

    # --- drawing -------------------------------------------------------------------------------------------------------

    @property
    def _models(self) -> dict[Any, Any]:
        return getattr(self.case, "models", {})

    @property
    def _busy(self) -> bool:
        return self.future is not None and not self.future.done()

    def _show(self) -> None:
        with self._drawing:  # the kernel's thread and the background loop's both come here
            step = self.case[self._shown]
            self._head.value = self._header(step)
            self.cards.show(step)
            self.effect.show(step)
            self.tree.show(step.id, self.effect.split)
            self.notes.show(step.id)
            self.settings.show()
            self._enable()

    def _enable(self) -> None:
        """Enable just the buttons that make sense now."""
        locked = self.case.read_only or not self._models
        step = self.case[self._shown]
        for each in (self.run_stage, self.run_step, self.steps):
            each.disabled = self._busy or locked
        self.stop.disabled = not self._busy
        self.undo.disabled = self._busy or step.parent is None
        self.branch.disabled = self._busy or locked or not self.cards.pending
        self.effect.enable(not self._busy and not locked)
        self.settings.enable(not self._busy)

    def _header(self, step: Step) -> str:
        case, spent = self.case, self.case.spent
        kinds = {model.kind for model in self._models.values()} or {"replay"}
        badges = "".join(f'<span class="gb-badge gb-{kind}">{kind}</span>' for kind in sorted(kinds))
        names = dict.fromkeys([model.name for model in self._models.values()] or [m["name"] for m in case.model_facts.values()])
        closed = f'<p class="gb-said" role="status">Read only: {esc(case.read_only_because)}.</p>' if case.read_only else ""
        return (
            f"<h2>{esc(case.title)}</h2><p>{esc(case.task.name)} · {esc(', '.join(names) or 'no model')} {badges}"
            f" · {esc(str(spent))}{self._scored_by()}</p>"
            f'<p class="gb-method-line">{self._methods(step)}</p>'
            f"<p><b>Step {step.id}: {esc(what(step, case.method_of(step)))}</b>{_position(case, step)}</p>{closed}"
        )

    def _scored_by(self) -> str:
        """Whose scores are shown, where several models have scored."""
        shown = self.case.shown_model()
        others = self.case.other_models
        return f" · scores by {esc(shown['name'])}, not by {esc(', '.join(others))}" if shown and others else ""

    def _methods(self, step: Step) -> str:
        """The method that a step follows, and the one from the next step on where it is another."""
        current = self.case.method
        followed = current if step.parent is None else self.case.method_of(step)
        if followed == current:
            return esc(method_line(followed))
        other = method_line(current)
        same = " (other meta-prompts)" if other == method_line(followed) else ""
        return f"{esc(method_line(followed))}<br>From the next step on: {esc(other)}{same}"

    def _say(self, text: str, wrong: bool = False) -> None:
        look, role = ("gb-error", "alert") if wrong else ("gb-said", "status")
        self._message.value = f'<p class="{look}" role="{role}">{esc(text)}</p>' if text else ""


def _position(case: Recording, step: Step) -> str:
    """Where a step stands: its epoch and batch, and its place in a beam."""
    if step.parent is None:
        return ""
    method = case.method_of(step)
    if method.sees_data:
        length = epoch_length(case.task, method)
        epoch, batch = divmod(step.depth - 1, length)
        place = f"batch {batch + 1} of {length} in epoch {epoch + 1}"
    else:
        place = f"update {step.depth}, without data"
    width = len(step.fellows) + 1 + len(step.queue)
    return f" · {place}" + (f" · prompt {len(step.fellows) + 1} of {width} in the beam" if width > 1 else "")


def _accuracy(case: Recording, step: Step) -> str:
    metrics = case.metrics(step)
    return str_share(metrics.accuracy) if metrics else "not scored"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
