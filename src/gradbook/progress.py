"""The progress bar of what blocks: it names what runs and counts its calls."""

import contextlib

from tqdm.auto import tqdm

from gradbook.runner import Runner


@contextlib.contextmanager
def bar(runner: Runner):
    """Show a bar for what `runner` does within the `with` block."""
    with tqdm(desc="starting", unit="call", leave=False, mininterval=0.2) as shown:

        def progress(stage: str, done: int, total: int) -> None:
            shown.set_description_str(stage.replace("_", " "), refresh=False)
            shown.total = total
            if done < shown.n:
                shown.reset(total)
            shown.update(done - shown.n)

        runner.progress, before = progress, runner.progress
        try:
            yield
        finally:
            runner.progress = before
