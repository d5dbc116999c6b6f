"""Comparisons on record; each function here is a method of `Recording`."""

from itertools import count, takewhile
from typing import TYPE_CHECKING

from gradbook.effects import Comparison, flips, rerun_from
from gradbook.errors import CaseError
from gradbook.records import STAGES, SplitName, Stage, Step, Variable

if TYPE_CHECKING:
    from gradbook.recording import Recording


def default_split(case: "Recording", *steps: Step | int) -> SplitName:
    """The split to compare steps on: one that no selection on the way to them has looked at."""
    return "test" if any(case.chosen_on_validation(step) for step in steps) else "validation"


def chosen_on_validation(case: "Recording", step: Step | int) -> bool:
    """Whether a selection on the way to a step, or by its method, looks at the validation split."""
    here = case[step]
    if here.parent is None:
        return case.method.validates
    while here.parent is not None:
        if case.method_of(here).validates:
            return True
        here = case[here.parent]
    return False


def compare(
    case: "Recording",
    before: Step | int,
    after: Step | int,
    split: SplitName | None = None,
    *,
    replicates: int | None = None,
    across_models: bool = False,
) -> Comparison:
    """Compare two steps on the same examples, with the replicates that are on record.

    Args:
        before, after: steps, or their ids.
        split: "train", "validation" or "test"; by default one that no selection has looked at.
        replicates: at most so many runs without a change; by default all there are.
        across_models: compare although different models made the two arms; the verdict says so.

    Raises:
        CaseError: a step is not done, a score is missing, or the arms were made by different models.
    """
    split = split or case.default_split(before, after)
    found = case.comparison(before, after, split, replicates, across_models)
    if found is None:
        a, b = (case[step].id for step in (before, after))
        raise CaseError(
            f"steps {a} and {b} are not both scored on {split} by one model; open the case with gb.Case and a model to score them"
        )
    return found


def comparison(
    case: "Recording", before: Step | int, after: Step | int, split: SplitName, replicates: int | None = None, across_models: bool = False
) -> Comparison | None:
    """The comparison as far as it is on record, or None where a score is missing."""
    a, b = (case[step] for step in (before, after))
    mixed = comparable(case, a, b, across_models)
    first, second = (case.entry(step, split, 0, b.variable) for step in (a, b))
    if first is None or second is None:
        return None
    stage = rerun_from(a, b, case.method_of(b))
    floors = [_floor(case, step, b.variable, stage, split)[:replicates] for step in (a, b)]
    return Comparison(
        before_step=a.id,
        after_step=b.id,
        split=split,
        before=case.metrics_on(case.question(a, split, 0, b.variable)),
        after=case.metrics_on(case.question(b, split)),
        flips=tuple(flips(first.score, second.score)),
        floor=(first.accuracy, *floors[0]),
        after_floor=(second.accuracy, *floors[1]),
        resampled=stage,
        model=(case.shown_model(b.variable) or {"name": "unknown"})["name"],
        chosen_here=split == "validation" and (case.chosen_on_validation(a) or case.chosen_on_validation(b)),
        mixed=mixed,
    )


def _floor(case: "Recording", step: Step, variable: Variable, stage: Stage | None, split: SplitName) -> list[float]:
    """Accuracies of a step's replicates that are on record."""
    if stage is None:
        return [entry.accuracy for entry in takewhile(bool, (case.entry(step, split, number, variable) for number in count(1))) if entry]
    return [e.accuracy for number, again in case.replicates(step, stage).items() if (e := case.entry(again, split, number))]


def comparable(case: "Recording", before: Step, after: Step, across_models: bool) -> tuple[str, ...]:
    """The names of the models that made the two arms, where they are different ones.

    Raises:
        CaseError: a step is not done, a critic is set against none, or the models differ and `across_models` is not set.
    """
    for step in (before, after):
        if not step.done:
            raise CaseError(f"step {step.id} is not done; run its stages first")
    if after.variable == "critic" and not before.ends_with("critic"):
        raise CaseError(
            f"step {after.id} is of the critic, and step {before.id} has none: compare it with a step that was evaluated by a critic"
        )
    if before.parent != after.parent or before.id == after.id:
        return ()  # a step and one after it: the second was not made in place of the first
    made = [case.models_of(step) for step in (before, after)]
    differ = [stage for stage in STAGES if made[0].get(stage) and made[1].get(stage) and made[0][stage] != made[1][stage]]
    if not differ:
        return ()
    names = tuple(" and ".join(dict.fromkeys(facts["name"] for facts in arm[differ[0]].values())) for arm in made)
    if not across_models:
        raise CaseError(
            f"step {before.id} was made by {names[0]} and step {after.id} by {names[1]}, so they differ by that as well: make "
            f"both with one model, as with case.replicate({before.id}, {differ[0]!r}), or ask for just that with across_models=True"
        )
    return names
