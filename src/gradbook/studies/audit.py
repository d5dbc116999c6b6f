"""An audit: the smallest honest study of a task and a model within a budget. It looks after every round of trials and stops when it knows.

Arms are those that bear the metaphor: three-stage by correct labels, against wrong labels (the loss), against one-step at the same calls
(the chain rule) and against *improve* at the same calls (data). Where the budget is small, steps are fewer, then examples, then arms.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd

from gradbook import background
from gradbook.errors import BudgetExceeded, StudyError
from gradbook.files import Folder
from gradbook.loop import Method
from gradbook.models import Budget, Model
from gradbook.models.spec import ModelSpec
from gradbook.parse import json_line, toml
from gradbook.scores import Spent
from gradbook.stats.looks import FIRST
from gradbook.studies.arms import Arm
from gradbook.studies.counting import trial_calls
from gradbook.studies.design import EXAMPLES as FILE
from gradbook.studies.design import NAME
from gradbook.studies.questions import MARGIN, arm_of, standard
from gradbook.studies.study import Study
from gradbook.tasks import Task

WANTED, ROUNDS = 8, 20
"""Rounds that a design should be affordable for, since with fewer little can be told, and the most that there are."""
STEPS, EXAMPLES = (10, 5, 3, 2, 1), (120, 60, 30, 20)
_BYTES, _REPLY = 3.5, 150  # bytes a token, and tokens of a usual reply
MAIN = "three-stage"
_AGAINST = (
    ("wrong labels", {"labels": "wrong"}, False),
    ("one-step, same calls", {"update": "one-step"}, True),
    ("improve, same calls", {"update": "improve"}, True),
)


@dataclass(frozen=True)
class Choice:
    """A design that an audit could have: `round` is how many calls one trial of each arm makes at most."""

    task: Task
    arms: Mapping[str, Arm]
    round: int


async def aaudit(
    task: Task, model: Any, budget: Budget | int, *, path: str | Path | None = None, margin: float = MARGIN, seed: int = 0
) -> pd.DataFrame:
    """Ask whether the gradient metaphor holds on a task and a model, for as much as a budget allows, and give the verdicts.

    Every round is a trial of each arm that is still needed; after every one from the third on all hypotheses are looked at, and alpha
    is kept over all looks. It ends when each holds or does not, after 20 rounds, or when the next would not fit; what is left then
    *cannot be told*, with the trials that would tell. Run it again to go on: after a stop, or with a larger budget.

    Args:
        task, model: as in `gb.Study`.
        budget: a `gb.Budget`, or how many calls, for the whole audit and not for each time that it is run.
        path: the study's folder, where all of it is kept; by default `studies/audit-TASK-MODEL`.
        margin: the difference in accuracy below which arms count as equivalent.
        seed: of the study.

    Raises:
        StudyError: the budget is too small for three rounds of the least design; it says what that takes.
    """
    budget = Budget(calls=budget) if isinstance(budget, int) else budget
    spec = model.spec if isinstance(model, Model) else model
    if not isinstance(spec, ModelSpec):
        raise StudyError(f"an audit takes a model, as gb.connect() gives it, and not {type(model).__name__}")
    folder = Path(path) if path else Path("studies") / f"audit-{task.name}-{spec.name.replace('/', '-')}"
    study = _study(folder, task, model, budget, margin, seed)
    arms, task = study.design.arms, study.design.tasks[task.name]
    round_calls = {name: _calls(arm, task) for name, arm in arms.items()}
    begun = sum(place.arm == MAIN for place in study.store.results())
    for number in range(max(begun - 1, 0), ROUNDS):
        wanted = _undecided(study) if number >= FIRST else set(arms)
        if not wanted or (number and not _affords(study, budget, sum(round_calls[name] for name in wanted))):
            break
        try:
            await study.arun(arms=wanted, trials=number + 1, retry=number < begun)
        except BudgetExceeded:  # of the model itself: what is done is judged
            break
    return study.verdicts()


@wraps(aaudit)
def audit(task: Task, model: Any, budget: Budget | int, **options: Any) -> pd.DataFrame:
    return background.run(aaudit(task, model, budget, **options))


def _study(folder: Path, task: Task, model: Any, budget: Budget, margin: float, seed: int) -> Study:
    """The study of an audit: as it was begun, or of the richest design that the budget allows."""
    spec = model.spec if isinstance(model, Model) else model
    if Folder(folder).has(NAME):
        return Study(folder, tasks=_as_begun(Folder(folder), task, spec, margin), models=model, seed=seed)
    chosen = choose(task, budget, spec)
    asks = [h for h in standard(chosen.arms, chosen.task, margin) if h.arms[0] == MAIN and h.arms[1] in chosen.arms]
    given = {"tasks": chosen.task, "models": model, "arms": chosen.arms, "trials": ROUNDS, "seed": seed}
    return Study(folder, **given, hypotheses=asks, looks=True)


def _as_begun(folder: Folder, task: Task, model: ModelSpec, margin: float) -> Task:
    """The task with as many test examples as an audit was begun with; raises StudyError where that was another audit."""
    stated = toml(folder.read(NAME), folder.path / NAME)
    margins = {h["margin"] for h in stated["registered"][-1]["hypotheses"]}
    if list(stated["models"]) != [model.name] or list(stated["tasks"]) != [task.name] or margins != {margin}:
        raise StudyError(f"{folder.path} holds an audit of another task or model, or with another margin: give this one a path of its own")
    lines = enumerate(folder.read(FILE).splitlines(), start=1)
    return replace(task, test=task.test[: sum(json_line(line, folder.path / FILE, n)["split"] == "test" for n, line in lines)])


def choose(task: Task, budget: Budget, model: ModelSpec) -> Choice:
    """The richest design that a budget allows for `WANTED` rounds, or else the richest for three.

    Tokens and money are taken for calls of a usual length; once calls are made, their mean is known.

    Raises:
        StudyError: not even the least is affordable.
    """
    designs = list(_designs(task))
    calls = _calls_of(budget, task, model)
    for rounds in (WANTED, FIRST):
        if found := next((choice for choice in designs if choice.round * rounds <= calls), None):
            return found
    least = designs[-1]
    raise StudyError(
        f"{calls:,.0f} calls are too few for an audit of {task.name}: {FIRST} trials each of {' and '.join(least.arms)} take "
        f"{least.round * FIRST:,}, and {least.round * WANTED:,} should tell more"
    )


def _calls_of(budget: Budget, task: Task, model: ModelSpec) -> float:
    """How many calls a budget should be good for."""
    prompt = (len(task.system(task.seed_prompt)) + sum(len(example.input) for example in task.test) / len(task.test)) / _BYTES
    limits = [math.inf if budget.calls is None else budget.calls]
    if budget.tokens is not None:
        limits.append(budget.tokens / (prompt + _REPLY))
    if budget.cost is not None and model.price:
        limits.append(budget.cost * 1e6 / (prompt * model.price[0] + _REPLY * model.price[1]))
    return min(limits)


def _designs(task: Task) -> Iterator[Choice]:
    """All designs, the richest first: arms are given up last, since each is a question."""
    examples = [n for n in EXAMPLES if n < len(task.test)]
    for against in range(len(_AGAINST), 0, -1):
        for count in (len(task.test) if len(task.test) <= EXAMPLES[0] else EXAMPLES[0], *examples):
            for steps in STEPS:
                arms = _arms(task, steps, against)
                fewer = replace(task, test=task.test[:count])
                yield Choice(fewer, arms, sum(_calls(arm, fewer) for arm in arms.values()))


def _arms(task: Task, steps: int, against: int) -> dict[str, Arm]:
    main = Arm(method=Method(selection="naive"), steps=steps)
    calls = trial_calls(main, task).training.total()
    arms = {MAIN: main}
    for name, settings, same_calls in _AGAINST[:against]:
        length = {"calls": calls} if same_calls else {"steps": steps}
        arms[name] = Arm(method=Method(**{"selection": "naive", **settings}), **length)
    return arms


def _calls(arm: Arm, task: Task) -> int:
    length = trial_calls(arm, task)
    return length.training.total() + length.scoring.total()


def _undecided(study: Study) -> set[str]:
    """The arms that a hypothesis still needs."""
    return {arm_of(name) for one in study.judged() if one.found.verdict == "cannot tell" for name in one.found.hypothesis.arms}


def _affords(study: Study, budget: Budget, calls: int) -> bool:
    """Whether so many more calls fit into what is left: tokens and money as they were on the mean."""
    table = study.trials()
    done = table[table["status"] == "done"]
    paid, costs = int(done["paid"].sum()), done["paid_cost"].dropna()
    share = calls / max(int(done["calls"].sum()), 1)
    spent = Spent(calls=paid, prompt_tokens=int(done["prompt_tokens"].sum() + done["completion_tokens"].sum()))
    more = Spent(calls=calls, prompt_tokens=round(spent.prompt_tokens * share))
    cost = float(costs.sum()) if len(costs) else None
    return not budget.passed(spent + more + Spent(cost=None if cost is None else cost * (1 + calls / max(paid, 1))))
