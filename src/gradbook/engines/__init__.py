"""Whose code runs the stages: gradbook's own, or a library's, which is imported when a stage of its engine runs and not before.

To add one: its name in `Method.engine` with its refusals, and a module here of that name with an async function for each stage.
"""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from gradbook.errors import MethodError
from gradbook.loop import stages
from gradbook.loop.method import Method
from gradbook.loop.stages import Context
from gradbook.records import Prediction, Stage, Step, Variable

StageFunction = Callable[[Step, Context], Awaitable[Any]]


def stage_function(engine: str, stage: Stage) -> StageFunction:
    """The function that makes the records of `stage` from those of the stages before, as `engine` does it."""
    module = stages if engine == "native" else import_module(f"gradbook.engines.{engine}")
    function: StageFunction = getattr(module, stage)
    return function


def evaluation_text(method: Method, variable: Variable, prediction: Prediction, label: str | None, right: bool) -> str:
    """The direct evaluation as the method's engine says it; `right` says whether the answer equals the label that is shown."""
    if method.engine == "textgrad" and label is not None:
        return str(int(right))  # its string functions give a number
    return stages.evaluation_text(method, variable, prediction, label, right)


def missing(library: str, error: ImportError) -> MethodError:
    """The error to raise where the library of an engine cannot be imported."""
    if error.name == library:
        return MethodError(f'this runs {library} itself, which is not installed: pip install "gradbook[{library}]"')
    return MethodError(f'this runs {library} itself, which cannot be imported ({str(error)[:200]}): pip install "gradbook[{library}]"')
