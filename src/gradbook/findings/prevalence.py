"""Did a gain come from moving answers between classes? The check of `stats.prevalence` on a step and what it began with."""

from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from pydantic import model_validator

from gradbook import background, stats
from gradbook.costs import Calls, answers
from gradbook.errors import CaseError
from gradbook.findings.base import Finding
from gradbook.findings.bench import Bench, reads_only
from gradbook.loop.stages import together
from gradbook.metrics import class_pairs
from gradbook.records import Answer, SplitName, Step
from gradbook.stats.effect import MOST_REPLICATES, points

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording, Scorable

Rows = tuple[tuple[int, ...], ...]
"""The classes answered, by their place in the labels: a row a time that all questions were asked."""


class PrevalenceCheck(Finding):
    """The classes that two prompts answer the same questions with.

    `before` is the step whose prompt the first is, None for the one that the step began with. `truth`, `answered_before` and
    `answered_after` name classes by their place in `labels`; the first row of each is the score on record. `examples` says which example
    each question belongs to, where one asks several.
    """

    kind = "prevalence"
    title = "Prevalence check"
    hypothesis = "The gain takes nothing from any class: no answers were moved from a rare class to a common one."

    before: int | None
    labels: tuple[str, ...]
    truth: tuple[int, ...]
    answered_before: Rows
    answered_after: Rows
    examples: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "PrevalenceCheck":
        """That every class is named and every question answered: a journal may come from a stranger."""
        rows = [self.truth, *self.answered_before, *self.answered_after]
        lengths = {len(row) for row in ([*rows, self.examples] if self.examples is not None else rows)}
        if len(lengths) != 1 or not all(0 <= k < len(self.labels) for row in rows for k in row):
            raise ValueError("a prevalence check needs an answer to each question, of a class that is named")
        return self

    @cached_property
    def check(self) -> stats.Prevalence:
        """The check, with shares and recall of each class."""
        truth = [self.labels[k] for k in self.truth]
        before, after = ([[self.labels[k] for k in row] for row in rows] for rows in (self.answered_before, self.answered_after))
        return stats.prevalence(truth, before, after, examples=self.examples)

    @property
    def verdict(self) -> str:
        """ "flagged", "not flagged", or "no gain" where accuracy did not rise."""
        if self.check.gain[0] <= 0:
            return "no gain"
        return "flagged" if self.check.flagged else "not flagged"

    def __str__(self) -> str:
        found = self.check
        accuracy, balanced = map(points, found.gain)
        told = f"accuracy {accuracy} points, balanced accuracy {balanced}"
        if self.verdict == "no gain":
            return f"There is no gain to explain: {told}."
        if self.verdict == "not flagged":
            return f"No class is shown to have paid for the gain: {told}."
        moved = "; ".join(
            f"{label} is answered in {found.answered[label][1]:.0%} of cases in place of {found.answered[label][0]:.0%}, "
            f"and rightly in {found.recall[label][1]:.0%} of those that are {label} in place of {found.recall[label][0]:.0%}"
            for label in found.lost
        )
        label, share = found.constant
        return f"The gain came from moving answers between classes: {told}; {moved}. Always to say {label} would be right in {share:.0%}."

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes it mean less: a class so small that no loss of its could be shown."""
        sizes = {label: len({self._example(n) for n, k in enumerate(self.truth) if self.labels[k] == label}) for label in self.check.true}
        few = [label for label, size in sizes.items() if 0.5**size > self.check.alpha / (len(sizes) - 1)]
        return (f"Too few examples are {' or '.join(few)} for a loss there to be shown.",) if few and self.verdict == "not flagged" else ()

    def _example(self, question: int) -> int:
        return question if self.examples is None else self.examples[question]


class _Asked(NamedTuple):
    step: Step
    before: int | None
    split: SplitName
    prompts: tuple["Scorable", "Scorable"]


async def aprevalence(
    case: "Case",
    step: Step | int,
    before: Step | int | None = None,
    *,
    split: SplitName | None = None,
    replicates: int = 3,
) -> PrevalenceCheck:
    """Check whether a step's gain came from moving answers between classes.

    Both prompts answer the split as on record, and afresh until there are `replicates` of each; further draws on record count as well.

    Args:
        step: the step, or its id.
        before: the step that it is set against; by default the prompt that it began with.
        split: by default one that no selection has looked at.
        replicates: how often each prompt answers, 1 to 100. Where 14 in 120 are of a class that is given up, once shows it in 88 to
            94 %, thrice in 99 %.

    Raises:
        CaseError: the task has no classes, a step is not done, or scores are not on record and there is no model to make them.
    """
    asked = _asked(case, step, before, split)
    if not 1 <= replicates <= MOST_REPLICATES:
        raise CaseError(f"replicates must be 1 to {MOST_REPLICATES}, not {replicates}")
    if reads_only(case):
        return _scored(case, asked)
    return await background.here(_prevalence(case, asked, replicates))


def prevalence_calls(
    case: "Recording", step: Step | int, before: Step | int | None = None, *, split: SplitName | None = None, replicates: int = 3
) -> Calls:
    """How many calls `Case.prevalence` makes at most, with the same arguments."""
    asked = _asked(case, step, before, split)
    return answers(case, asked.split, sum(max(replicates - len(_on_record(case, what, asked.split)), 0) for what in asked.prompts))


def _asked(case: "Recording", step: Step | int, before: Step | int | None, split: SplitName | None) -> _Asked:
    step, first = case[step], None if before is None else case[before]
    steps = [step] if first is None else [step, first]
    for one in steps:
        if not one.done:
            raise CaseError(f"step {one.id} is not done; run its stages first")
    if step.parent is None:
        raise CaseError("step 0 holds the seed prompt, which gained nothing over another: check a step")
    split = split or case.default_split(*steps)
    classes = {label for example in case.task.split(split) for label in case.task.classes(example.target)}
    if step.variable == "prompt" and not 2 <= len(classes) < len(case.task.split(split)):
        raise CaseError(
            f"{case.task.name} has no classes to move answers between: {split} needs labels of two or more, and more examples than that"
        )
    after = case.scorable(step, split)
    start = replace(after, prompt=step.prompt) if first is None else case.scorable(first, split, step.variable)
    if start.judged != after.judged or not start.prompt:
        raise CaseError(f"step {step.id} is of the critic, and step {before} has none that judges the same outputs")
    return _Asked(step, None if first is None else first.id, split, (start, after))


async def _prevalence(case: "Case", asked: _Asked, replicates: int) -> PrevalenceCheck:
    bench = Bench(case, PrevalenceCheck.kind, asked.step, asked.split, before=asked.before)

    async def rows(what: "Scorable") -> list[tuple[Answer, ...]]:
        known = len(_on_record(case, what, asked.split))
        return await together(bench.answers(what, asked.split, number) for number in range(max(replicates, known)))

    return bench.record(_found(case, asked, *await together(map(rows, asked.prompts))), replicates=replicates)


def _scored(case: "Recording", asked: _Asked) -> PrevalenceCheck:
    """The check of the scores on record."""
    rows = [_on_record(case, what, asked.split) for what in asked.prompts]
    if not all(rows):
        raise CaseError(f"the prompts before and after step {asked.step.id} are not scored on {asked.split}: open the case with a model")
    return _found(case, asked, *rows)


def _on_record(case: "Recording", what: "Scorable", split: SplitName) -> list[tuple[Answer, ...]]:
    """The answers of a prompt that are on record, of the model whose scores are shown, up to the first draw that is not."""
    found: list[tuple[Answer, ...]] = []
    model = (case.shown_model("prompt" if what.judged is None else "critic") or {"id": ""})["id"]
    for number in count():
        question = what.question(split, number, model, case.task)
        if question not in case._state.scores:
            return found
        found.append(case.recorded(question).answers)
    return found


def _found(case: "Recording", asked: _Asked, before: list[tuple[Answer, ...]], after: list[tuple[Answer, ...]]) -> PrevalenceCheck:
    """The record of two prompts' answers, each asked once or several times."""
    places: dict[str, int] = {}

    def row(answered: tuple[Answer, ...], side: int) -> tuple[int, ...]:
        pairs = (pair for answer in answered for pair in class_pairs(answer, case.task))
        return tuple(places.setdefault(pair[side], len(places)) for pair in pairs)

    examples = tuple(n for n, answer in enumerate(after[0]) for _ in class_pairs(answer, case.task))
    truth = row(after[0], 0)
    rows = [tuple(row(answered, 1) for answered in arm) for arm in (before, after)]
    return PrevalenceCheck(
        step=asked.step.id,
        split=asked.split,
        before=asked.before,
        truth=truth,
        answered_before=rows[0],
        answered_after=rows[1],
        examples=examples if len(set(examples)) < len(examples) else None,
        labels=tuple(places),
    )
