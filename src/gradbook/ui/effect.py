"""The effect panel: before and after on each split, recall by class, the examples that flipped, the noise floor."""

from collections.abc import Callable

import ipywidgets as w
import nbformat  # noqa: F401  plotly imports it lazily, which costs the first figure widget seconds in a kernel
import plotly.graph_objects as go

from gradbook import effects
from gradbook.errors import CaseError
from gradbook.metrics import Flip
from gradbook.recording import Recording
from gradbook.records import SPLITS, SplitName, Step
from gradbook.ui import figures
from gradbook.ui.parts import box, button, esc, html
from gradbook.ui.tree import prompt_step

REPLICATES = 5


class Effect(w.VBox):
    """Compares the shown step with another one.

    Args:
        case: the case.
        on_score: called to score both steps on the chosen split.
        on_noise: called to run the noise floor.
        on_split: called when another split is chosen.
    """

    def __init__(self, case: Recording, on_score: Callable[[], None], on_noise: Callable[[], None], on_split: Callable[[], None]) -> None:
        self._case, self._on_split, self._quiet = case, on_split, False
        self._split = w.Dropdown(options=SPLITS, value=case.default_split(case.current), description="Split", layout=w.Layout(width="auto"))
        self._against = w.Dropdown(options=[("step 0", 0)], description="Before", layout=w.Layout(width="auto"))
        self.score = button("Score both", on_score, "Answer the split with both prompts", "gb-score")
        self.noise = button(f"Noise floor × {REPLICATES}", on_noise, "Run the first step again, unchanged, with fresh samples", "gb-noise")
        self.figure = go.FigureWidget()
        self.figure._config = self.figure._config | {"displayModeBar": False}
        self._plot_box = box(self.figure)
        self._head, self._tables = html("", "gb-verdict"), html("", "gb-tables")
        for chooser in (self._split, self._against):
            chooser.observe(self._chosen, "value")
        choosers = [self._against, self._split, box(self.score, self.noise, row=True)]
        super().__init__([html("<h3>Effect</h3>"), *choosers, self._head, self._plot_box, self._tables])
        self.add_class("gb-effect")

    def enable(self, on: bool) -> None:
        """Enable the buttons that run something, where there is something to compare."""
        self.score.disabled = self.noise.disabled = not (on and self._comparable)

    @property
    def split(self) -> SplitName:
        """The split that scores are shown for."""
        return self._split.value

    @property
    def against(self) -> int:
        """The id of the step that the shown one is compared with."""
        return self._against.value

    def show(self, step: Step) -> None:
        """Compare `step` with the step it was branched off, or else with its parent."""
        self._step = step
        others = [(f"step {other.id}", other.id) for other in self._case if other.done and comparable(other, step)]
        wanted = base(self._case, step)
        self._quiet = True
        self._against.options = others or [("no other step", step.id)]
        if wanted in [value for _, value in others]:
            self._against.value = wanted
        self._quiet = False
        self.draw()

    def _found(self) -> effects.Comparison | None:
        try:
            return self._case.comparison(self.against, self._step, self.split)
        except CaseError as error:  # the two were made by different models
            self._refused = str(error)
            return None

    @property
    def _comparable(self) -> bool:
        return self._step.done and self._step.parent is not None and self.against != self._step.id

    def draw(self) -> None:
        """Draw what is on record about the two steps."""
        self._refused = ""
        step, split = self._step, self.split
        found = self._found() if self._comparable else None
        if found is not None:
            said, tables = self._measured(found), effects.metrics_table(found.before, found.after) + self._flips(found.flips)
        elif self._comparable:
            both = (self.against, step.id)
            missing = " and ".join(f"step {i}" for i in both if self._case.scored(i, split, variable=step.variable) is None)
            said, tables = esc(self._refused) or f"Not yet scored on {split}: {missing}. Press <b>Score both</b>.", ""
        elif not step.done:
            said, tables = "The step has not run to its end yet.", ""
        else:
            metrics = self._case.metrics(step, split)
            said = f"The seed prompt on {split}:" if metrics else "The seed prompt: nothing comes before it. Press <b>Run step</b>."
            tables = effects.metrics_table(metrics) if metrics else ""
        self._head.value, self._tables.value = f"<p>{said}</p>", tables
        self._plot(found)

    def _measured(self, found: effects.Comparison) -> str:
        if self._step.variable == "prompt":
            return esc(found.verdict)
        same = f"The critic before and after, on the same outputs of step {self._step.parent}’s prompt"
        return f"{same}. Agreement with the gold answer: {esc(found.verdict)}"

    def _plot(self, found: effects.Comparison | None) -> None:
        if found is not None:
            figures.effect(self.figure, found)
        self._plot_box.layout.display = None if found is not None else "none"

    def _flips(self, flips: tuple[Flip, ...]) -> str:
        if not flips:
            return f'<p class="gb-help">No {self._unit} changed.</p>'
        scored = self._case.scored(self._step, self.split).answers
        verdicts = {answer.example: answer.target for answer in scored if answer.target}
        rows = "".join(self._flip(flip, verdicts.get(flip.example)) for flip in flips)
        count = f"{len(flips)} {self._unit}{'s' * (len(flips) > 1)} changed"
        return f"<details open><summary>{count}</summary><table class='gb-table gb-flips'>{rows}</table></details>"

    @property
    def _unit(self) -> str:
        return "verdict" if self._step.variable == "critic" else "answer"

    def _flip(self, flip: Flip, verdict: str | None) -> str:
        example = self._case.task.example(flip.example)
        mark = {"fixed": "✓ fixed", "broken": "✗ broken"}.get(flip.kind, flip.kind)
        answers = f"{esc(flip.before or 'unparsed')} → {esc(flip.after or 'unparsed')}, true {esc(verdict or example.target)}"
        return f"<tr><td>{mark}</td><td>{answers}<details><summary>{esc(example.id)}</summary>{esc(example.input)}</details></td></tr>"

    def _chosen(self, _change: dict) -> None:
        if not self._quiet:
            self._on_split()


def comparable(other: Step, step: Step) -> bool:
    """Whether it makes sense to set `step` against `other`: steps of one variable, critics on the same outputs, no replicates."""
    if other.id == step.id or other.replicate_of is not None:
        return False
    if step.variable == "prompt":
        return other.variable == "prompt"
    return bool(other.ends_with("critic")) and other.ends_with("prompt") == step.ends_with("prompt")


def base(case: Recording, step: Step) -> int | None:
    """The step that `step` is first compared with: its origin, or else the one whose prompt it began with."""
    if step.origin is not None or step.parent is None or step.variable == "critic":
        return step.parent if step.origin is None else step.origin
    return prompt_step(case, case[step.parent]).id
