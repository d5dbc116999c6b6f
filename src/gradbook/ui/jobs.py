"""What a person asked for, one after the other on the background loop: seen while it waits and runs, and stopped one by one."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from gradbook import background
from gradbook.errors import GradbookError


@dataclass(eq=False)
class Job:
    """One thing asked for: `what` says it in words, `turn` which of several, `doing` what it is at, with `done` of `total` calls.

    `said` is how it ended where there is something to say, `wrong` whether that is an error.
    """

    id: int
    what: str
    turn: str = ""
    doing: str = ""
    done: int = 0
    total: int = 0
    running: bool = False
    said: str = ""
    wrong: bool = False
    began: float = field(default_factory=time.monotonic)
    future: "Future[Any] | None" = None

    @property
    def left(self) -> str:
        """The time left, in words, estimated from the calls that are done; empty while nothing can be said."""
        if not self.done or self.done >= self.total:
            return ""
        seconds = (time.monotonic() - self.began) / self.done * (self.total - self.done)
        return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"

    def progress(self, doing: str, done: int, total: int) -> bool:
        """Take note of what runs, and whether it is something new; the clock starts anew with each kind of work."""
        new = doing != self.doing
        if new:
            self.doing, self.began = doing, time.monotonic()
        self.done, self.total = done, total
        return new


class Jobs:
    """A queue of jobs.

    Args:
        on_end: called with each job that has ended, on any thread.
    """

    def __init__(self, on_end: Callable[[Job], None]) -> None:
        self._on_end, self._ids = on_end, itertools.count(1)
        self._turn = asyncio.Lock()
        self.open: list[Job] = []
        """Those that run or wait, in order."""

    def add(self, what: str, work: Callable[[Job], Coroutine[Any, Any, None]], apart: bool = False) -> Job:
        """Put a job at the end of the queue and return at once; one that stands `apart` does not wait for its turn."""
        job = Job(next(self._ids), what)
        self.open.append(job)
        job.future = background.submit(self._run(job, work, contextlib.nullcontext() if apart else self._turn))
        job.future.add_done_callback(lambda future: self._ended(job, future))
        return job

    def stop(self, id: int | None = None) -> None:
        """Stop a job that runs or waits, by default the first; what it has finished is kept."""
        for job in self.open:
            if id in (None, job.id) and job.future is not None:
                job.future.cancel()
                return

    async def _run(self, job: Job, work: Callable[[Job], Coroutine[Any, Any, None]], turn: AbstractAsyncContextManager[Any]) -> None:
        async with turn:
            job.running, job.began = True, time.monotonic()
            await work(job)

    def _ended(self, job: Job, future: "Future[None]") -> None:
        try:
            future.result()
        except CancelledError:
            where = " of ".join(filter(None, [job.doing, job.turn]))
            kept = f"Stopped{f' in {where}' if where else ''}. What had finished is kept; press Run step to go on."
            job.said = kept if job.running else f"Taken out of the queue: {job.what}."
        except GradbookError as error:
            job.said, job.wrong = str(error), True
        except Exception as error:  # whatever it is, the person who waits must see it
            job.said, job.wrong = f"{type(error).__name__}: {error}", True
        self.open.remove(job)
        self._on_end(job)
