"""Comparisons on record; each function here is a method of `Recording`."""

from itertools import count
from typing import TYPE_CHECKING

from gradbook.costs import Calls, answers, plan, run_again
from gradbook.effects import Arm, Effect, fresh_from
from gradbook.errors import ComparisonError
from gradbook.findings.bench import finding_id
from gradbook.loop.table import EDIT_STAGE, upstream
from gradbook.metrics import flips
from gradbook.records import STAGES, SplitName, Stage, Step, Variable
from gradbook.scores import Score

if TYPE_CHECKING:
    from gradbook.recording import Recording

MARGIN = 0.05
"""The difference below which two arms count as equivalent, unless said otherwise."""


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
    margin: float | None = None,
    across_models: bool = False,
) -> Effect:
    """Judge a change by the draws of both arms that are on record.

    Args:
        before, after: steps, or their ids.
        split: "train", "validation" or "test"; by default one that no selection has looked at.
        replicates: at most so many draws an arm; by default all there are.
        margin: the difference, a share, below which two arms count as equivalent; by default that of the last comparison, else 5 points.
        across_models: compare although different models made the two arms; the answer says so.

    Raises:
        ComparisonError: a step is not done, a score is missing, or the arms were made by different models.
    """
    split = split or case.default_split(before, after)
    found = case.comparison(before, after, split, replicates, across_models, margin)
    if found is None:
        a, b = (case[step].id for step in (before, after))
        raise ComparisonError(
            f"steps {a} and {b} are not both scored on {split} by one model; open the case with gb.Case and a model to score them"
        )
    return found


def comparison(
    case: "Recording",
    before: Step | int,
    after: Step | int,
    split: SplitName,
    replicates: int | None = None,
    across_models: bool = False,
    margin: float | None = None,
) -> Effect | None:
    """The effect as far as it is on record, or None where a score is missing."""
    a, b = (case[step] for step in (before, after))
    mixed = comparable(case, a, b, across_models)
    entries = [case.entry(step, split, 0, b.variable) for step in (a, b)]
    if entries[0] is None or entries[1] is None:
        return None
    first, second = entries[0].score, entries[1].score
    stages = fresh_from(a, b, [case.method_of(step) for step in (a, b)])
    same = nothing_changed(case, a, b, split)
    replicates = 0 if same else replicates  # draws that cannot but agree say nothing
    looked = case.found.get(effect_id(a, b, split))
    told = looked.params if looked else {}
    wanted = told.get("margin", MARGIN) if margin is None else margin
    return Effect(
        before=_arm(case, a, b.variable, stages[0], split, replicates),
        after=_arm(case, b, b.variable, stages[1], split, replicates),
        split=split,
        examples=tuple(answer.example for answer in first.answers),
        run=(_right(first), _right(second)),
        flips=tuple(flips(first, second)),
        each=plan(case, draw_calls(case, a, b, split)),
        margin=wanted,
        watched=bool(told.get("watched")),
        model=(case.shown_model(b.variable) or {"name": "unknown"})["name"],
        chosen_here=split == "validation" and (case.chosen_on_validation(a) or case.chosen_on_validation(b)),
        mixed=mixed,
        margins=(*told.get("margins", ()), wanted),
        same=same,
    )


def draw_calls(case: "Recording", before: Step, after: Step, split: SplitName) -> Calls:
    """The calls of one draw of both arms."""
    found = answers(case, split, 2)
    for step, stage in zip((before, after), fresh_from(before, after, map(case.method_of, (before, after))), strict=True):
        found += run_again(case, step, stage) if stage else Calls()
    return found


def nothing_changed(case: "Recording", before: Step, after: Step, split: SplitName) -> str:
    """In words, that both steps would make the very same draws, since nothing was changed between them; empty where something was."""
    a, b = before.id, after.id
    first, second = (_repeated(case, step) for step in (before, after))
    stages = fresh_from(before, after, map(case.method_of, (before, after)))
    if a == b:
        said = f"step {a} is compared with itself"
    elif first == second:
        said = f"steps {a} and {b} are draws of step {first}"
        said = {a: f"step {b} is another draw of step {a}", b: f"step {a} is another draw of step {b}"}.get(first, said)
    elif len({_drawn_from(case, *arm, split, after.variable) for arm in zip((before, after), stages, strict=True)}) > 1:
        return ""
    else:
        said = f"what differs in step {b} is read by none of its draws" if stages[1] else f"steps {a} and {b} end with the same prompt"
    return f"{said}: nothing was changed between them, so there is no effect to judge; replicates=0 compares them as they ran"


def check_change(case: "Recording", before: Step, after: Step, split: SplitName) -> None:
    """Refuse to judge a change that is none.

    Raises:
        ComparisonError: nothing was changed between the two steps.
    """
    if same := nothing_changed(case, before, after, split):
        raise ComparisonError(same)


def _repeated(case: "Recording", step: Step) -> int:
    """The step that a replicate repeats, itself where it is none."""
    while step.replicate_of is not None:
        step = case[step.replicate_of]
    return step.id


def _drawn_from(case: "Recording", step: Step, stage: Stage | None, split: SplitName, variable: Variable) -> str:
    """All that draws of a step depend on: what is scored, or what the stages from the first fresh one on read, with their edits."""
    if stage is None:
        return case.question(step, split, 1, variable).id
    fresh = step.stages[step.stages.index(stage) :]
    read = {before for each in fresh for before in upstream(step, each)}.difference(fresh)
    edits = [edit.model_copy(update={"at": "", "by": "hand", "why": ""}) for edit in step.edits if EDIT_STAGE[edit.field] in fresh]
    records = [record.model_copy(update={"call": None, "why": ""}) for each in sorted(read) for record in getattr(step, each) or ()]
    return repr((stage, case.method_of(step), edits, records))


def effect_id(before: Step, after: Step, split: SplitName) -> str:
    """The id under which looks at a comparison are on record."""
    return finding_id("effect", after, split, before=before.id)


def _arm(case: "Recording", step: Step, variable: Variable, stage: Stage | None, split: SplitName, most: int | None) -> Arm:
    """A step with its draws that are on record."""
    again = case.replicates(step, stage).items() if stage else ((number, step) for number in count(1))
    drawn = []
    for number, draw in again:
        if case.entry(draw, split, number, variable) is not None:
            drawn.append(case.question(draw, split, number, variable))
        elif stage is None:
            break
    drawn = drawn[:most]
    right = tuple(_right(case.recorded(question)) for question in drawn)
    metrics = case.metrics_on(case.question(step, split, 0, variable))
    return Arm(step.id, metrics, stage, right, tuple(map(case.metrics_on, drawn)))


def _right(score: Score) -> tuple[bool, ...]:
    return tuple(answer.correct for answer in score.answers)


def comparable(case: "Recording", before: Step, after: Step, across_models: bool) -> tuple[str, ...]:
    """The names of the models that made the two arms, where they are different ones.

    Raises:
        ComparisonError: a step is not done, a critic is set against none, or the models differ and `across_models` is not set.
    """
    for step in (before, after):
        if not step.done:
            raise ComparisonError(f"step {step.id} is not done; run its stages first")
    if after.variable == "critic" and not before.ends_with("critic"):
        raise ComparisonError(
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
        raise ComparisonError(
            f"step {before.id} was made by {names[0]} and step {after.id} by {names[1]}, so they differ by that as well: make "
            f"both with one model, as with case.replicate({before.id}, {differ[0]!r}), or ask for just that with across_models=True"
        )
    return names
