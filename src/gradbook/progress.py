"""The one way in which a method blocks: its work runs on gradbook's loop behind a progress bar that names what runs and counts calls."""

import warnings
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from tqdm.auto import tqdm

from gradbook import background
from gradbook.runner import Runner

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


def wait(runner: Runner, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end and give its result; what the runner has noticed meanwhile is said as a warning."""
    with tqdm(desc="starting", unit="call", leave=False, mininterval=0.2) as shown:

        def progress(stage: str, done: int, total: int) -> None:
            shown.set_description_str(stage.replace("_", " "), refresh=False)
            shown.total = total
            if done < shown.n:
                shown.reset(total)
            shown.update(done - shown.n)

        with runner.listen(progress):
            result = background.run(work)
    while runner.notices:
        warnings.warn(runner.notices.pop(0), stacklevel=3)
    return result


def blocking(twin: Callable[Concatenate[S, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[S, P], T]:
    """The method of a case that waits for its coroutine twin."""

    @wraps(twin)
    def method(case: Any, *args: P.args, **named: P.kwargs) -> T:
        return wait(case.runner, twin(case, *args, **named))

    method.__name__ = twin.__name__.removeprefix("a")
    method.__qualname__ = twin.__qualname__.replace(twin.__name__, method.__name__)
    return method
