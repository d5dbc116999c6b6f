"""A first step whose outputs and output critiques a person brought: its events, which no model made and nobody paid for."""

from collections.abc import Iterator
from typing import Any

from gradbook import background
from gradbook.engines import stage_function
from gradbook.errors import MethodError
from gradbook.events import StageDone, StepBegun
from gradbook.loop import Method
from gradbook.loop.stages import Context
from gradbook.records import Critique, Evaluation, Prediction, Step
from gradbook.tasks import Task
from gradbook.tasks.feedback import Feedback


def brought_method(feedback: Feedback, method: Method | None) -> Method:
    """The method that goes on from critiques; without one, the default, or where there are no labels, naive selection without them.

    Raises:
        MethodError: it makes no output critiques, or a critic's evaluation would have to stand before those that were brought.
    """
    if method is None:
        return Method() if feedback.task.labelled else Method(labels="none", selection="naive")
    if "output_critique" not in method.stages:
        run = ", ".join(method.stages).replace("_", " ")
        raise MethodError(f"a method of the stages {run} reads no output critiques, and these were brought: take update='three-stage'")
    if method.critic:
        raise MethodError(
            f"evaluation={method.evaluation!r} asks a critic before the critiques, and these are here already: take evaluation='direct', "
            "and another method from the next step on with case.use"
        )
    return method


def first_step(feedback: Feedback, method: Method) -> Iterator[Any]:
    """The events of step 1: its batch, the outputs, their evaluations by template, and the critiques; a prompt critique comes next."""
    task = feedback.task
    begun: dict[str, Any] = {"prompt": task.seed_prompt, "batch": tuple(feedback.outputs), "stages": method.stages}
    begun |= {"id": 1, "parent": 0, "depth": 1}
    yield StepBegun(step=Step(**begun))
    predictions = tuple(_prediction(feedback, name) for name in feedback.outputs)
    evaluations = background.run(_evaluated(Step(**begun | {"predict": predictions}), task, method))
    critiques = tuple(
        Critique(example=name, index=index, text=critique.text, brought=critique.place)
        for name, several in feedback.critiques.items()
        for index, critique in enumerate(several)
    )
    yield StageDone(step=1, stage="predict", seconds=0.0, predict=predictions)
    yield StageDone(step=1, stage="evaluate", seconds=0.0, evaluate=evaluations)
    yield StageDone(step=1, stage="output_critique", seconds=0.0, output_critique=critiques)


async def _evaluated(step: Step, task: Task, method: Method) -> tuple[Evaluation, ...]:
    """The evaluations of the outputs by the method's templates, which ask nobody."""

    async def nobody(*_: Any, **__: Any) -> Any:
        raise MethodError("an evaluation of what was brought may ask no model: take evaluation='direct'")

    context = Context(task=task, critic=None, method=method, verdicts={}, origin=None, past=(), ask=nobody, score=nobody)
    return await stage_function(method.engine, "evaluate")(step, context)


def _prediction(feedback: Feedback, name: str) -> Prediction:
    """An output that was brought, read as a model's would be."""
    task, (output, place) = feedback.task, feedback.outputs[name]
    answer = task.parse(output)
    right = task.correct(answer, task.example(name).target)
    return Prediction(example=name, output=output, answer=answer, correct=right, length=len(output), brought=place)
