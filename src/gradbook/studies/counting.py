"""How many calls a method makes, from its settings alone: for plans, and for trials that end at so many calls."""

from dataclasses import dataclass

from gradbook.costs import Calls, times
from gradbook.loop import Method
from gradbook.plan import epoch_length
from gradbook.studies.arms import Arm
from gradbook.tasks import Task


def step_calls(method: Method, task: Task, depth: int = 1) -> Calls:
    """The calls that one batch asks for at most, all members of a beam and the critic's step included; scores of the training split not.

    It is exact where every candidate is new and the best of them is taken. It is less where candidates repeat, where a beam finds too
    few different prompts, and where `errors_only` leaves outputs out.

    Args:
        method, task: what runs.
        depth: number of the batch, from 1; the first one scores the seed prompt as well, and has one prompt whatever the beam.
    """
    each = epoch_length(task, method)
    batch = min(method.batch_size, len(task.train) - (depth - 1) % each * method.batch_size) if method.sees_data else 0
    critiques = batch * method.critiques if method.update == "three-stage" else 0
    rewrites = (critiques if method.apart else 1) * method.candidates
    candidates = rewrites * (1 + method.paraphrases)
    scored = len(task.validation) if method.validates else 0
    made = Calls({"output_critique": critiques, "prompt_critique": critiques, "rewrite": candidates})
    members = method.beam if depth > 1 else 1
    accepting = batch if method.selection == "pareto" else 0
    step = Calls({"predict": batch + accepting + candidates * scored, "evaluate": batch if method.critic else 0}) + made
    found = times(step, members)
    found["predict"] += scored if depth == 1 else 0
    if method.critic:  # its verdicts on the batch are there; what it is scored by are the outputs of the prompt just chosen
        found += made + Calls({"evaluate": (1 + candidates) * scored})
    return +found


@dataclass(frozen=True)
class Length:
    """How long a trial is: so many batches with so many calls, and calls of scores beside them."""

    batches: int
    training: Calls
    scoring: Calls
    seed: Calls
    """What scoring asks about the seed prompt, which is the same in all arms."""


def trial_calls(arm: Arm, task: Task) -> Length:
    """What one trial of an arm asks for at most."""
    batches, most, training = arm.batches(task), arm.calls or 0, Calls()
    depth = 0
    while depth < batches if batches is not None else (training + step_calls(arm.method, task, depth + 1)).total() <= most:
        depth += 1
        training += step_calls(arm.method, task, depth)
    test = len(task.test)
    epochs = depth // (arm.method.train_every * epoch_length(task, arm.method)) if arm.method.train_every else -1
    scoring = Calls({"predict": test + (epochs + 1) * len(task.train)})
    return Length(depth, training, scoring, Calls({"predict": test}))
