"""One event loop of gradbook's own, in a daemon thread: long work runs there, so a notebook's own loop stays free."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Protocol, TypeVar

from gradbook.errors import GradbookError

T = TypeVar("T")


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The event loop, started on first use; every model client lives on it and nowhere else."""
    new = asyncio.new_event_loop()
    threading.Thread(target=new.run_forever, name="gradbook", daemon=True).start()
    return new


@cache
def _steady() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="gradbook-record")


if hasattr(os, "register_at_fork"):  # the parent's threads are not in a forked child, which gets its own
    os.register_at_fork(after_in_child=loop.cache_clear)
    os.register_at_fork(after_in_child=_steady.cache_clear)


def uninterrupted(work: Callable[[], T]) -> T:
    """Do `work` to its end whatever is pressed meanwhile: Python interrupts the main thread alone, so it is done in another."""
    return _steady().submit(work).result() if threading.current_thread() is threading.main_thread() else work()


def submit(work: Coroutine[Any, Any, T]) -> "Future[T]":
    """Start `work` and return its future at once; `future.cancel()` stops the work where it awaits."""
    return asyncio.run_coroutine_threadsafe(work, loop())


async def here(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, which runs on gradbook's loop, from any loop; cancelling stops it."""
    if asyncio.get_running_loop() is loop():
        return await work
    return await asyncio.wrap_future(submit(work))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` and wait for its result; an interrupt of the waiting thread cancels the work first.

    Raises:
        GradbookError: it was called on gradbook's own loop, which would wait for itself for ever.
    """
    try:
        current = asyncio.get_running_loop()
    except RuntimeError:
        current = None
    if current is loop():
        work.close()
        raise GradbookError("this call blocks, and it was made on gradbook's own loop: await its twin there, as in `await case.astep()`")
    future = submit(work)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


class _Closes(Protocol):
    def close(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closes)


async def opened(make: Callable[[], _Opened]) -> _Opened:
    """What `make` opens, in a thread; cancelled meanwhile, it is closed, since its thread goes on and would leave it open.

    Raises:
        Exception: whatever `make` raises.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(make))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):  # what cannot be opened need not be closed
            (await opening).close()
        raise
