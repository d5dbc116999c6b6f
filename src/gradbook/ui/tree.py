"""The tree of steps: a list that the arrow keys walk, branches indented below the step they were branched off."""

from collections.abc import Callable

import ipywidgets as w

from gradbook.case import Case
from gradbook.loop import Method
from gradbook.records import SplitName, Step
from gradbook.tree import walk
from gradbook.ui.parts import html

NBSP = "\N{NO-BREAK SPACE}"  # an option of a list folds plain blanks
SHORT = {"output_critique": "output critique", "prompt_critique": "prompt critique"}


class Tree(w.VBox):
    """The steps of a case with their scores; picking one calls `on_pick` with its id."""

    def __init__(self, case: Case, on_pick: Callable[[int], None]) -> None:
        self._case, self._on_pick, self._quiet = case, on_pick, False
        self._lines: list[tuple[str, int]] = []
        self.select = w.Select(options=[], rows=24, layout=w.Layout(width="auto"))
        self.select.add_class("gb-tree-list")
        self.select.observe(self._picked, "value")
        self._caption = html("", "gb-caption")
        super().__init__([html("<h3>Steps</h3>"), self.select, self._caption])
        self.add_class("gb-tree")

    def show(self, step: int, split: SplitName) -> None:
        """Draw the tree anew with `step` picked and scores on `split`."""
        lines = [(self._line(found, indent, split), found.id) for indent, found in walk(self._case)]
        replicates = sum(found.replicate_of is not None for found in self._case)
        self._quiet = True
        if lines != self._lines:  # else the list is left alone, so that the arrow keys keep their place in it
            self.select.options = self._lines = lines
        self.select.value = step if any(value == step for _, value in lines) else None
        self._quiet = False
        hidden = f"{replicates} replicates of the noise floor are not listed. " if replicates else ""
        critic = "⚖ of the critic: % that agree with the gold answers · " if any(s.variable == "critic" for s in self._case) else ""
        self._caption.value = f"% right on {split} · {critic}✎ branch by an edit · ◌ under way · ¶ has a note. {hidden}"

    def _line(self, step: Step, indent: int, split: SplitName) -> str:
        found = self._case.metrics(step, split)
        score = f"{found.accuracy.value:4.0%}" if found else "   –"
        noted = " ¶" if self._case.note(step) else ""
        branch = NBSP * 2 * (indent - 1) + "└ " if indent else ""
        return f"{score.replace(' ', NBSP)} {branch}{step.id}{noted} {what(step, self._case.method_of(step))}"

    def _picked(self, change: dict) -> None:
        if not self._quiet and change["new"] is not None:
            self._on_pick(change["new"])


def what(step: Step, method: Method) -> str:
    """What a step under `method` is, in a few words: the arm where it is not the usual one."""
    if step.parent is None:
        return "seed prompt"
    critic = step.variable == "critic"
    mark = ("" if step.done else "◌ ") + ("⚖ " if critic else "")
    if step.edits and step.replicate_of is None:
        kind, field = step.edits[0].kind, step.edits[0].field
        return f"{mark}✎ {'' if kind == 'replace' else f'{kind} '}{SHORT.get(field, field)}"
    return f"{mark}{'critic' if critic else _arm(method)}"


def _arm(method: Method) -> str:
    update = "" if method.update == "three-stage" else method.update
    labels = {"correct": "", "wrong": "wrong labels", "none": "no labels" if method.sees_data else ""}[method.labels]
    return ", ".join(filter(None, [update, labels])) or "step"


def prompt_step(case: Case, step: Step) -> Step:
    """The step of the task's prompt that `step` is, or that a critic's step belongs to."""
    return step if step.variable == "prompt" else case[step.parent]
