"""The one way in which a method blocks: its work runs on gradbook's loop behind a progress bar that names what runs and counts calls."""

import warnings
from collections.abc import Coroutine
from typing import Any, TypeVar

from tqdm.auto import tqdm

from gradbook import background
from gradbook.runner import Runner

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
