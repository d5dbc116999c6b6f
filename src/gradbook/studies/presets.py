"""Whole studies: the paper's, with what it lacked."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from gradbook.errors import StudyError
from gradbook.loop import Method
from gradbook.studies.arms import Arm
from gradbook.studies.counting import trial_calls
from gradbook.studies.study import Study
from gradbook.tasks import Task

BATCHES, LONG = 10, 100
TRIALS = {"naive": 30, "validated": 5, "long": 5, "candidates": 15, "many": 40}
UPDATES, LABELS, SELECTIONS = ("three-stage", "one-step"), ("correct", "wrong", "none"), ("naive", "validated")
FAMILIES = ("main", "critic", "long", "validation labels", "candidates", "budget")


def paper(
    task: Task, model: Any, path: str | Path | None = None, *, families: Collection[str] = FAMILIES, trials: float = 1, seed: int = 0
) -> Study:
    """The series of experiments of arXiv 2512.13598 on one task and model, and what it lacked.

    Batches of 3; 10 batches a trial, 100 in the long ones; 30 trials of a naive arm, 5 of a validated or long one. The paper's sampling
    (temperature 0.5, top-p 0.95, at most 5,000 tokens) is what `gb.connect` has by default for an endpoint; its splits come with
    `gb.tasks.gpqa`, `web_of_lies` and `multistep_arithmetic`.

    Args:
        task, model: as in `gb.Study`.
        path: of the study's folder; by default `studies/paper-TASK`.
        families: which parts of it:
            "main": three-stage and one-step × correct, wrong and no labels × naive and validated, rewrite and improve, naive and validated;
            "critic": binary and score × correct and wrong labels × naive and validated;
            "long": 100 batches, three-stage and one-step × correct and wrong labels;
            "validation labels": validated by wrong labels, three-stage and one-step;
            "candidates": the score critic, naive (40 trials) and with 1 to 5 candidates (15 each);
            "budget", which the paper lacked: one-step at the calls of three-stage, and beside each of the main arms with labels *improve*
            and a random one of three candidates at the same calls.
        trials: what the paper's numbers of trials are multiplied by, as in 0.2 for a fifth; at least 2 remain.
        seed: of the study.

    The digest that this follows does not say which update the critic arms used, nor how long runs selected: here both are three-stage,
    and naive.

    Raises:
        StudyError: there is no such family.
    """
    if unknown := set(families) - set(FAMILIES):
        raise StudyError(f"the paper's study has no family {min(unknown)!r}; there are {', '.join(FAMILIES)}")
    arms = {
        name: arm.model_copy(update={"trials": max(2, round((arm.trials or 0) * trials))})
        for family in FAMILIES
        if family in families
        for name, arm in _family(family, task).items()
    }
    return Study(path or f"studies/paper-{task.name}", tasks=task, models=model, arms=arms, seed=seed)


def _arm(trials: str, steps: int = BATCHES, calls: int | None = None, **settings: Any) -> Arm:
    length = {"steps": steps} if calls is None else {"calls": calls}
    return Arm(method=Method(**settings), trials=TRIALS[trials], **length)


def _family(family: str, task: Task) -> dict[str, Arm]:
    match family:
        case "main":
            shown = {
                f"{update} {labels} {selection}": _arm(selection, update=update, labels=labels, selection=selection)
                for update in UPDATES
                for labels in LABELS
                for selection in SELECTIONS
            }
            blind = {f"{update} {s}": _arm(s, update=update, selection=s) for update in ("rewrite", "improve") for s in SELECTIONS}
            return shown | blind
        case "critic":
            return {
                f"{evaluation} {labels} {selection}": _arm(selection, evaluation=evaluation, labels=labels, selection=selection)
                for evaluation in ("critic-binary", "critic-score")
                for labels in ("correct", "wrong")
                for selection in SELECTIONS
            }
        case "long":
            return {
                f"{update} {labels} long": _arm("long", LONG, update=update, labels=labels, selection="naive")
                for update in UPDATES
                for labels in ("correct", "wrong")
            }
        case "validation labels":
            return {f"{update} wrong validation": _arm("validated", update=update, validation_labels="wrong") for update in UPDATES}
        case "candidates":
            # two of them are arms of the critic family as well, and have their names, so that they are run once
            counts = {n: "critic-score correct validated" if n == 3 else f"critic-score correct validated of {n}" for n in range(1, 6)}
            several = {name: _arm("candidates", evaluation="critic-score", candidates=n) for n, name in counts.items()}
            return several | {"critic-score correct naive": _arm("many", evaluation="critic-score", selection="naive")}
    return _budgets(task)


def _budgets(task: Task) -> dict[str, Arm]:
    """What has the calls of the main arms with correct labels: one-step those of three-stage, and two controls those of each."""
    found = {}
    for update in UPDATES:
        for selection in SELECTIONS:
            main = _arm(selection, update=update, selection=selection)
            calls = trial_calls(main, task).training.total()
            at = f"at the calls of {update} {selection}"
            if update == "three-stage":
                found[f"one-step {selection} {at}"] = _arm(selection, calls=calls, update="one-step", selection=selection)
            found[f"improve {selection} {at}"] = _arm(selection, calls=calls, update="improve", selection=selection)
            found[f"random of 3 {at}"] = _arm(selection, calls=calls, update=update, selection="random", candidates=3)
    return found
