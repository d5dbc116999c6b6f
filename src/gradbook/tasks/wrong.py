"""Deterministic wrong labels, as in the paper: the question's text chooses, so every process and every run agrees."""

import hashlib
import random
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from gradbook.errors import TaskError
from gradbook.records import Example
from gradbook.tasks.answers import LabelAnswer, NoAnswer, NumberAnswer, SequenceAnswer
from gradbook.tasks.number import value

if TYPE_CHECKING:
    from gradbook.tasks.task import Task


def wrong_label(task: "Task", example: Example) -> str:
    """A label for `example` that is never right, from the SHA-256 of its input; see Task.wrong_label for the rules."""
    rng = random.Random(hashlib.sha256(example.input.encode("utf-8", "surrogatepass")).digest())
    match task.answer:
        case NoAnswer():
            raise TaskError(f"There is no wrong label for {example.id}: task {task.name!r} has no labels.")
        case LabelAnswer(labels=labels):
            return _next(labels, example) if task.wrong_rule == "next" else _pick(rng, [x for x in labels if x != example.target], example)
        case SequenceAnswer() as answer:
            return _other_sequence(rng, answer, example)
        case NumberAnswer() as answer:
            return _offset(rng, answer, example)
        case _:
            targets = sorted({other.target for other in task.train})
            return _pick(rng, [target for target in targets if not task.correct(target, example.target)], example)


def _pick(rng: random.Random, choices: list[str], example: Example) -> str:
    if not choices:
        raise TaskError(f"There is no wrong label for {example.id}: every answer that is known is the right one.")
    return rng.choice(choices)


def _next(labels: tuple[str, ...], example: Example) -> str:
    following = labels[(labels.index(example.target) + 1) % len(labels)]
    return _pick(random.Random(0), [label for label in (following,) if label != example.target], example)


def _other_sequence(rng: random.Random, answer: SequenceAnswer, example: Example) -> str:
    true = list(answer.classes(example.target))
    if len(answer.labels) < 2:
        return _pick(rng, [], example)
    other = true
    while other == true:
        other = [rng.choice(answer.labels) for _ in true]
    return ", ".join(other)


def _offset(rng: random.Random, answer: NumberAnswer, example: Example) -> str:
    offsets = [offset for offset in range(-10, 11) if abs(offset) > answer.tolerance]
    if not offsets:
        raise TaskError(f"There is no wrong label for {example.id} within 10 of it: the tolerance is {answer.tolerance:g}; lower it.")
    with localcontext(prec=20_000):  # exact, also where a target has more digits than Decimal keeps by default
        return format((value(example.target) or Decimal(0)) + rng.choice(offsets), "f")
