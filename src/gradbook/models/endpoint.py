"""A model as gradbook calls it: cached, bounded in concurrency and cost, each call made once."""

import asyncio
import time
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradbook import background
from gradbook.errors import ModelError
from gradbook.models.budget import Budget, most, used
from gradbook.models.cache import CallCache, key_of
from gradbook.records import Call, Spent, short_id

if TYPE_CHECKING:  # the openai library takes half a second to import, and reading a case needs none of it
    import openai

    from gradbook.models.client import Address

Messages = list[dict[str, str]]
_NOTHING = Spent()


@dataclass(eq=False)
class _Flight:
    """A call under way.

    `waiting` counts the callers that wait for it, `claimed` says whether one has had the reply; `sent` says whether its
    request has gone out. `bound` is the most that it can use, `charge` what the budget has to be charged once it is over.
    """

    task: "asyncio.Task[dict[str, Any]]"
    waiting: int = 0
    claimed: bool = False
    sent: bool = False
    bound: Spent = _NOTHING
    charge: Spent = _NOTHING


class Model:
    """An LLM behind an OpenAI-compatible endpoint; made by `connect()`.

    Args:
        name: as the endpoint knows it.
        identity: what calls are cached under: base URL and name, or "sha256:…" of local weights.
        kind: "embedded" or "remote".
        address: gives the place to ask; called once, at the first call that is not in the cache.
        sampling: sent with every request as it is; None values are left out.
        concurrency: how many requests may be under way at the same time.
        price: for a million tokens of prompt and of reply, or None.
        budget: a limit that may be shared with other models, or None.
        cache: of finished calls, or None for none.
        retries: how often a request is tried again.
        timeout: for one try, in seconds.
        seeded: whether the endpoint is sent the seed.
    """

    def __init__(
        self,
        name: str,
        *,
        identity: str,
        kind: Literal["embedded", "remote"],
        address: "Callable[[], Address]",
        sampling: dict[str, Any],
        concurrency: int,
        price: tuple[float, float] | None = None,
        budget: Budget | None = None,
        cache: CallCache | None = None,
        retries: int = 5,
        timeout: float = 300.0,
        seeded: bool = True,
    ) -> None:
        self.name, self.identity, self.kind = name, identity, kind
        self.sampling = {key: value for key, value in sampling.items() if value is not None}
        self.concurrency, self.price, self.budget, self.cache = concurrency, price, budget, cache
        self.retries, self.timeout, self.seeded = retries, timeout, seeded
        self.cached = 0
        self._spent = _NOTHING
        self._find_address = address
        self._opened: asyncio.Future[tuple[Address, openai.AsyncOpenAI]] | None = None
        self._slots = asyncio.Semaphore(concurrency)
        self._flights: dict[str, _Flight] = {}
        self._unclaimed: set[str] = set()  # calls that were paid after whoever asked had been stopped: the next to ask has paid

    def __repr__(self) -> str:
        spent = self._spent
        where = "on this machine" if self.kind == "embedded" else f"at {self.identity.removesuffix(self.name).rstrip()}"
        cost = f", {spent.cost:.4f} spent" if self.price and self.kind == "remote" else ""
        tokens = spent.prompt_tokens + spent.completion_tokens
        return f"<Model {self.name} {where}: {spent.calls} calls, {tokens:,} tokens, {self.cached} calls from the cache{cost}>"

    @property
    def spent(self) -> Spent:
        """What the requests that were really made have used; `cached` counts the calls that needed none."""
        return self._spent

    def ask(self, text: str, system: str | None = None, *, seed: int | None = None, replicate: int = 0) -> str:
        """Ask and wait for the reply's text: for a person at the keyboard.

        Raises:
            ModelError: see `complete`.
        """
        messages = [{"role": "system", "content": system}] if system is not None else []
        return background.run(self.complete([*messages, {"role": "user", "content": text}], seed=seed, replicate=replicate)).text

    @property
    def id(self) -> str:
        """What its numbers are filed under: the hash of identity and sampling."""
        return short_id(self.identity, self.sampling)

    def key(self, messages: Messages, *, seed: int | None = None, replicate: int = 0) -> str:
        """The content address of a call."""
        sampling = self.sampling if seed is None else {**self.sampling, "seed": seed}
        return key_of(self.identity, messages, sampling, replicate)

    async def complete(
        self, messages: Messages, *, seed: int | None = None, replicate: int = 0, landed: Callable[[Call], None] = lambda _: None
    ) -> Call:
        """One call: from the cache, from an identical call that is under way, or from the endpoint.

        Cancelling stops a local model at once. A request that has gone out to a remote one will be paid anyway: it
        finishes in the background and its reply is cached, so asking again finds it.

        Args:
            messages: of the chat, each with `role` and `content`.
            seed: makes the sample repeatable as far as the endpoint can; part of the call's address.
            replicate: number of an independent sample of the same call.

        Raises:
            BudgetExceeded: the call could pass the budget, so it was not made.
            ModelError: the endpoint refused, did not answer, or answered nonsense; retries are used up.
        """
        work = self._complete(messages, seed, replicate, landed)
        if asyncio.get_running_loop() is background.loop():
            return await work
        return await asyncio.wrap_future(background.submit(work))

    async def _complete(self, messages: Messages, seed: int | None, replicate: int, landed: Callable[[Call], None]) -> Call:
        sampling = self.sampling if seed is None else {**self.sampling, "seed": seed}
        key = key_of(self.identity, messages, sampling, replicate)
        looked_up = self.cache is not None and key not in self._flights  # a flight may have cached its reply and not landed yet
        value, fresh = self.cache.get(key) if looked_up else None, False
        if value is None:
            value, fresh = await self._join(key, messages, sampling)
        elif key in self._unclaimed:
            self._unclaimed.discard(key)
            fresh = True
        self.cached += not fresh
        call = Call(
            key=key,
            model=self.name,
            messages=tuple(messages),
            sampling=sampling,
            replicate=replicate,
            cost=used(value["prompt_tokens"], value["completion_tokens"], self.price).cost if self.price else None,
            cached=not fresh,
            **value,
        )
        landed(call)
        return call

    async def _join(self, key: str, messages: Messages, sampling: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The reply of the one flight for `key`, and whether this caller is the first to get it, and so has paid for it."""
        flight = self._flights.get(key) or self._take_off(key, messages, sampling)
        flight.waiting += 1
        try:
            value = await asyncio.shield(flight.task)
            first, flight.claimed = not flight.claimed, True
            return value, first
        finally:
            flight.waiting -= 1
            self._keep_unclaimed(key, flight)
            if not flight.waiting and not flight.task.done() and not (flight.sent and self.kind == "remote"):
                flight.task.cancel()
                self._land(key, flight)

    def _take_off(self, key: str, messages: Messages, sampling: dict[str, Any]) -> _Flight:
        async def fly() -> dict[str, Any]:
            return await self._make(key, messages, sampling, flight)

        flight = self._flights[key] = _Flight(asyncio.ensure_future(fly()))
        flight.task.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def _land(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # nobody may be waiting any more, and asyncio would complain in the notebook
            self._keep_unclaimed(key, flight)

    def _keep_unclaimed(self, key: str, flight: _Flight) -> None:
        """Remember a reply that is there and that nobody has had, or waits for any more."""
        task = flight.task
        if not flight.waiting and not flight.claimed and task.done() and not task.cancelled() and not task.exception():
            self._unclaimed.add(key)

    async def _make(self, key: str, messages: Messages, sampling: dict[str, Any], flight: _Flight) -> dict[str, Any]:
        """Make the request within the bounds and put its reply into the cache."""
        async with self._slots:
            if self.budget is None:
                value = await self._request(messages, sampling, flight)
            else:
                value = await self._within(self.budget, messages, sampling, flight)
        if self.cache:
            try:
                self.cache.put(key, value)
            except ModelError as error:  # the reply is paid and must not be lost with it
                warnings.warn(f"A reply was not cached. {error}", RuntimeWarning, stacklevel=2)
        return value

    async def _within(self, budget: Budget, messages: Messages, sampling: dict[str, Any], flight: _Flight) -> dict[str, Any]:
        flight.bound = most(messages, sampling, self.price, budget)
        await budget.reserve(flight.bound)
        try:
            return await self._request(messages, sampling, flight)
        finally:
            budget.settle(flight.bound, flight.charge)

    async def _request(self, messages: Messages, sampling: dict[str, Any], flight: _Flight) -> dict[str, Any]:
        import openai

        from gradbook.models.client import chat, explain, unbilled

        address, client = await self._open()
        sent = {key: value for key, value in sampling.items() if key != "seed" or self.seeded}
        flight.sent = True
        started = time.monotonic()
        failure = None
        try:
            reply = await chat(client, self.name, messages, sent)
        except (openai.OpenAIError, ValueError) as error:
            failure = explain(error, self.name, address, timeout=self.timeout, retries=self.retries)
            flight.charge = _NOTHING if unbilled(error) else flight.bound
        if failure:  # raised out here, so that it is not chained to an error that holds the headers
            raise failure
        spent = used(reply.prompt_tokens, reply.completion_tokens, self.price)
        self._spent += spent
        flight.charge = spent if reply.prompt_tokens else flight.bound  # an endpoint that counts nothing must not run on for ever
        return {**reply.model_dump(), "seconds": round(time.monotonic() - started, 4)}

    async def _open(self) -> "tuple[Address, openai.AsyncOpenAI]":
        """The address and its client, found once; starting a local server takes seconds and must not stop the loop."""
        if self._opened is None or (self._opened.done() and (self._opened.cancelled() or self._opened.exception())):
            self._opened = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._opened)

    async def _connect(self) -> "tuple[Address, openai.AsyncOpenAI]":
        from gradbook.models.client import client

        address = await asyncio.to_thread(self._find_address)
        opened = client(address, timeout=self.timeout, retries=self.retries)
        # sockets that are collected in another thread leave the loop's selector with dead entries, and a new socket that gets
        # the same number then never wakes: the client has to be closed on its loop
        weakref.finalize(self, _close, opened).atexit = False
        return address, opened


def _close(client: "openai.AsyncOpenAI") -> None:
    background.submit(client.close())
