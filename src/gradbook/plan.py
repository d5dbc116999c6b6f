"""Which step comes next: the next batch, the critic's turn, or the next member of a beam. It follows from the current step alone."""

from collections.abc import Mapping
from random import Random
from typing import Any

from gradbook.errors import MethodError
from gradbook.loop import Method
from gradbook.records import Step
from gradbook.tasks import Task


def check_labels(task: Task, method: Method) -> None:
    """Refuse a method that needs labels for a task that has none.

    Raises:
        MethodError: it evaluates, selects or tracks by labels; the setting is named.
    """
    needs = {
        "labels": method.labels if method.labels != "none" and method.sees_data else None,
        "selection": method.selection if method.validates else None,
        "train_every": method.train_every or None,
    }
    if not task.labelled and (found := next(((name, value) for name, value in needs.items() if value is not None), None)):
        raise MethodError(
            f"{found[0]}={found[1]!r} goes by labels, and task {task.name!r} has none: take labels='none' and selection='naive' or 'random'"
        )


def epoch_length(task: Task, method: Method) -> int:
    """How many batches an epoch has."""
    return -(-len(task.train) // method.batch_size)


def batch(task: Task, method: Method, seed: int, depth: int) -> tuple[str, ...]:
    """The ids of the training examples at `depth`: epochs shuffled by the case seed, cut into batches; none for a prompt-only update."""
    if not method.sees_data:
        return ()
    names, size = [example.id for example in task.train], method.batch_size
    epoch, position = divmod(depth - 1, epoch_length(task, method))
    Random(f"{seed}/{epoch}").shuffle(names)
    return tuple(names[position * size : (position + 1) * size])


def following(here: Step, steps: Mapping[int, Step], task: Task, method: Method, seed: int, new_id: int = 0) -> Step:
    """The step that follows `here`, with no stage run yet."""
    common: dict[str, Any] = {"id": new_id, "stages": method.stages}
    if here.variable == "prompt" and here.held and here.evaluate is not None and method.critic:
        turn: dict[str, Any] = {"variable": "critic", "prompt": here.held, "held": here.chosen_prompt, "batch": here.batch}
        return Step(parent=here.id, depth=here.depth, **turn, **common)
    if here.queue and method.beam > 1:
        (parent, candidate), *rest = here.queue
        turn = {"prompt": steps[parent].candidate(candidate), "fellows": (*here.fellows, here.id), "queue": tuple(rest)}
        return Step(parent=parent, depth=here.depth, batch=here.batch, **turn, **common)
    if method.selection == "pareto":
        start, depth = _drawn(here, steps), here.depth + 1
        drawn: dict[str, Any] = {"after": here.id, "prompt": start.ends_with("prompt"), "batch": batch(task, method, seed, depth)}
        return Step(parent=start.id, depth=depth, **drawn, **common)
    prompt, queue = here.ends_with("prompt"), list[tuple[int, int]]()
    parent = here.id
    if here.select is not None and (method.beam > 1 or here.select.kept):
        (parent, candidate), *queue = _beam([*(steps[i] for i in here.fellows), here], method.beam)
        prompt = steps[parent].candidate(candidate)
    depth = here.depth + 1
    held = (here.ends_with("critic") or method.templates.critic_seed) if method.critic else ""
    next_batch = batch(task, method, seed, depth)
    return Step(parent=parent, depth=depth, prompt=prompt, held=held, queue=tuple(queue), batch=next_batch, **common)


def _drawn(here: Step, steps: Mapping[int, Step]) -> Step:
    """The step that `here` drew from the Pareto front; itself where it drew none, as where a person has chosen by hand."""
    found = here.select.acceptance if here.select else None
    return here if found is None or found.next_from is None else steps[found.next_from]


def pool(step: Step, steps: Mapping[int, Step]) -> tuple[tuple[int, str], ...]:
    """The candidates that a run of GEPA had before a step, in the order in which it found them: the step that ends with each, and its text.

    The first is what the run began with; what was rejected is none.
    """
    line: list[Step] = []
    while step.after is not None:
        step = steps[step.after]
        line.append(step)
    return tuple((at.id, at.ends_with("prompt")) for at in reversed(line) if at.after is None or (at.select and at.select.chosen >= 0))


def _beam(fellows: list[Step], width: int) -> list[tuple[int, int]]:
    """The best different prompts that steps of one depth ended with, as (step, candidate), the best first."""
    chosen = [(step, step.select) for step in fellows if step.select is not None]
    ends = [(selection.scores.get(str(i), 0.0), step, i) for step, selection in chosen for i in (selection.kept or (selection.chosen,))]
    ranked = sorted(ends, key=lambda end: -end[0])
    best: dict[str, tuple[int, int]] = {}
    for _, step, index in ranked:
        best.setdefault(step.candidate(index), (step.id, index))
    return list(best.values())[:width]
