"""A model as gradbook calls it: cached, bounded in concurrency and cost, each call made once."""

import asyncio
import atexit
import os
import random
import time
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gradbook import background
from gradbook.errors import ModelError
from gradbook.models.budget import Budget, longest, most
from gradbook.models.cache import CallCache, is_reply, key_of
from gradbook.models.faults import Fault, mended, scrubbed
from gradbook.models.spec import ModelSpec
from gradbook.records import Call, short_id
from gradbook.scores import Spent

if TYPE_CHECKING:  # the openai library takes half a second to import, and reading a case needs none of it
    import openai

    from gradbook.models.client import Address

Messages = list[dict[str, str]]
Landed = Callable[[Call], None]
_NOTHING = Spent()
_PATIENCE = 60.0  # seconds that are waited between the tries of one call, in all
_GRACE = 1.0  # seconds more than the slowest reply so far that a call which was stopped is worth waiting for
_BACKOFF = (0.5, 8.0)  # seconds before the second try, and at most


@dataclass(eq=False)
class _Asker:
    """Who waits for a call: `told` by `landed`, then given it in `done`."""

    landed: Landed
    done: "asyncio.Future[Call]"
    told: Call | None = None


@dataclass(eq=False)
class _Flight:
    """A call under way; the first of its `askers` pays.

    `sent` says whether its request has gone out, at `began`; `stopped` that nobody waits for it any more. `bound` is the most that it can
    use, `charge` what the budget has to be charged once it is over.
    """

    key: str
    messages: Messages
    sampling: dict[str, Any]
    replicate: int
    askers: list[_Asker] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None
    sent: bool = False
    began: float = 0.0
    stopped: bool = False
    holds: bool = False
    call: Call | None = None
    bound: Spent = _NOTHING
    charge: Spent = _NOTHING


class Model:
    """An LLM behind an OpenAI-compatible endpoint; made by `connect()`.

    A copy and a pickled model connect anew, with the key from the environment and without the budget. One in a forked child keeps
    both; what is left of the budget counts for the child apart from its parent.

    Args:
        spec: what `connect` has found out.
        address: gives the place to ask; called once, at the first call that is not in the cache.
        budget: a limit that may be shared with other models, or None.
        cache: of finished calls, or None for none.

    `spent` is what the requests that were really made have used, `cached` counts the calls that needed none.
    """

    def __init__(
        self, spec: ModelSpec, address: "Callable[[], Address]", budget: Budget | None = None, cache: CallCache | None = None
    ) -> None:
        self.spec, self.budget, self.cache = spec, budget, cache
        self.name, self.identity, self.kind, self.sampling = spec.name, spec.identity, spec.kind, spec.sampling
        self.concurrency, self.price = spec.concurrency, spec.price
        self.spent, self.cached, self._slowest = Spent(), 0, 0.0
        self._find_address = address
        self._closer: weakref.finalize[..., Model] | None = None
        self._start()
        _models.add(self)

    def _start(self) -> None:
        """Hold no connection and no call: at first, and in a forked child, which shares neither with its parent."""
        self._opened: asyncio.Future[tuple[Address, openai.AsyncOpenAI]] | None = None
        self._slots = asyncio.Semaphore(self.concurrency)
        self._flights: dict[str, _Flight] = {}

    def __reduce__(self) -> tuple[Callable[[ModelSpec], "Model"], tuple[ModelSpec]]:
        return ModelSpec.connect, (self.spec,)

    def __repr__(self) -> str:
        spent = self.spent
        where = "on this machine" if self.kind == "embedded" else f"at {self.spec.base_url}"
        cost = f", {spent.cost:.4f} spent" if spent.cost else ""
        tokens = spent.prompt_tokens + spent.completion_tokens
        return f"<Model {self.name} {where}: {spent.calls} calls, {tokens:,} tokens, {self.cached} calls from the cache{cost}>"

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
        return key_of(self.identity, self._as_sent(messages), self._with_seed(seed), replicate)

    async def complete(self, messages: Messages, *, seed: int | None = None, replicate: int = 0, landed: Landed | None = None) -> Call:
        """One call: from the cache, from an identical call that is under way, or from the endpoint.

        A reply that was cut off, or that says nothing beside its thoughts, is returned and not cached: asking again makes it again.
        Cancelling stops a local model at once. A request that has gone out to a remote one will be paid anyway: it ends in the
        background, is told to `landed` and cached, and its slot is free at once. Who asks for the same meanwhile is given it, unless
        it takes longer than any reply so far: then it is sent anew.

        Args:
            messages: of the chat, each with `role` and `content`.
            seed: makes the sample repeatable as far as the endpoint can; part of the call's address.
            replicate: number of an independent sample of the same call.
            landed: told the call once it has ended well, on the background loop and before it is cached; its `cached` is False for
                the one who pays, also where that one was cancelled meanwhile.

        Raises:
            BudgetExceeded: the call could pass the budget, so it was not made.
            ModelError: the endpoint refused, did not answer, or answered nonsense; retries are used up.
        """
        return await background.here(self._complete(messages, seed, replicate, landed or (lambda _: None)))

    def _as_sent(self, messages: Messages) -> Messages:
        """The messages as the endpoint gets them: whole characters, and the system's within the user's where it takes none."""
        sent = [{**message, "content": mended(message["content"])} for message in messages]
        if self.spec.merge_system and len(sent) > 1 and sent[0]["role"] == "system":
            system, first, *rest = sent
            return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]
        return sent

    def _with_seed(self, seed: int | None) -> dict[str, Any]:
        return self.sampling if seed is None else {**self.sampling, "seed": seed}

    async def _complete(self, messages: Messages, seed: int | None, replicate: int, landed: Landed) -> Call:
        sent, sampling = self._as_sent(messages), self._with_seed(seed)
        key = key_of(self.identity, sent, sampling, replicate)
        if (stopped := self._flights.get(key)) and stopped.stopped and (call := await self._overtaken(stopped)):
            landed(call)
            return call
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(key, sent, sampling, replicate)
            if call := self._look_up(flight):
                self.cached += 1
                landed(call)
                return call
            self._flights[key] = flight
            flight.task = asyncio.ensure_future(self._fly(flight))
        asker = _Asker(landed, asyncio.get_running_loop().create_future())
        flight.askers.append(asker)
        if flight.call is not None:  # it is being cached
            self._tell(flight, asker, paid=False)
        try:
            return await asker.done
        except asyncio.CancelledError:
            self._leave(flight, asker)
            raise

    async def _overtaken(self, flight: _Flight) -> Call | None:
        """What a call gives that nobody waited for any more; it is paid, so it is worth the wait, but not longer than any took so far."""
        assert flight.task is not None
        await asyncio.wait({flight.task}, timeout=max(0.0, flight.began + self._slowest - time.monotonic()) + _GRACE)
        if flight.call is None:
            self._land(flight)
            return None
        self.cached += 1
        return flight.call.model_copy(update={"cached": True})

    def _look_up(self, flight: _Flight) -> Call | None:
        """The call as it is in the cache; a row that holds no reply is as good as none."""
        value = self.cache.get(flight.key) if self.cache else None
        if value is None:
            return None
        try:
            call = self._call(flight, cached=True, **value)
        except (TypeError, ValueError):
            return None
        return call if is_reply(call) else None

    def _call(self, flight: _Flight, **value: Any) -> Call:
        prompt, completion, cost = value.get("prompt_tokens"), value.get("completion_tokens"), None
        if self.price and prompt is not None and completion is not None:
            cost = (prompt * self.price[0] + completion * self.price[1]) / 1e6
        messages = tuple(flight.messages)
        return Call(
            key=flight.key, model=self.name, messages=messages, sampling=flight.sampling, replicate=flight.replicate, cost=cost, **value
        )

    def _tell(self, flight: _Flight, asker: _Asker, paid: bool) -> None:
        """Let one asker know; what goes wrong on its side is its own affair and not the others'."""
        call = flight.call.model_copy(update={"cached": not paid}) if flight.call else None
        if call is None or (asker.done.cancelled() and not paid):
            return
        self.cached += not paid
        asker.told = call
        try:
            asker.landed(call)
        except Exception as error:
            if asker.done.done():
                warnings.warn(f"A call that was stopped and paid was not written down. {error}", RuntimeWarning, stacklevel=2)
            else:
                asker.done.set_exception(error)

    def _leave(self, flight: _Flight, asker: _Asker) -> None:
        """Stop waiting: a call that is not paid yet is forgotten, one that is goes on alone and gives its slot back."""
        goes_on = flight.sent and (self.kind == "remote" or flight.call is not None)
        if flight.askers[0] is not asker or not goes_on:
            flight.askers.remove(asker)
        if asker.done.done() and not asker.done.cancelled():
            asker.done.exception()  # it came in the moment of cancelling, and asyncio would complain that nobody has seen it
        if any(not each.done.cancelled() for each in flight.askers):
            return
        flight.stopped = True
        if goes_on:
            self._give_back(flight)
        elif flight.task:
            self._land(flight)
            flight.task.cancel()

    def _land(self, flight: _Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def _give_back(self, flight: _Flight) -> None:
        if flight.holds:
            flight.holds = False
            self._slots.release()

    async def _fly(self, flight: _Flight) -> None:
        """Make the call, tell all who ask for it, cache it."""
        failure: BaseException | None = None
        try:
            waited = self._slots.locked()
            await self._slots.acquire()
            flight.holds = True
            # another kernel may have made the call while this one waited
            known = self._look_up(flight) if waited else None
            flight.call = known or await self._within(flight)
            if not known:
                self.spent += Spent.of(flight.call)
            for number, asker in enumerate(list(flight.askers)):
                self._tell(flight, asker, paid=number == 0 and not known)
            self._give_back(flight)
            if not known and self.cache:
                await self._keep(self.cache, flight.call)
        except Exception as error:
            failure = error
        finally:
            self._give_back(flight)
            self._land(flight)
        for asker in flight.askers:
            if asker.told and not asker.done.done():
                asker.done.set_result(asker.told)
            elif not asker.done.done():
                asker.done.set_exception(failure or asyncio.CancelledError())

    async def _keep(self, cache: CallCache, call: Call) -> None:
        try:
            await asyncio.to_thread(cache.keep, call)
        except ModelError as error:  # the reply is paid and must not be lost with it
            warnings.warn(f"A reply was not cached. {error}", RuntimeWarning, stacklevel=2)

    async def _within(self, flight: _Flight) -> Call:
        """Make the call within the budget."""
        if self.budget is None:
            return await self._request(flight)
        flight.bound = most(flight.messages, flight.sampling, self.price, self.budget)
        await self.budget.reserve(flight.bound)
        try:
            return await self._request(flight)
        finally:
            self.budget.settle(flight.bound, flight.charge)

    async def _request(self, flight: _Flight) -> Call:
        address, client = await self._open()
        from gradbook.models.client import chat, prompt_tokens

        sampling = {key: value for key, value in flight.sampling.items() if key != "seed" or self.spec.seeded}
        failure: ModelError | None = None
        waited, tries, billed = 0.0, 0, False
        while failure is None:
            flight.sent, flight.began, tries = True, time.monotonic(), tries + 1
            try:
                if self.spec.context is not None:
                    self._check_fits(await prompt_tokens(client, flight.messages, sampling, self.spec.timeout), self.spec.context)
                reply = await chat(client, self.name, flight.messages, sampling, self.spec.timeout)
            except Fault as fault:
                billed |= fault.billed
                pause = fault.wait if fault.wait is not None else min(_BACKOFF[0] * 2 ** (tries - 1), _BACKOFF[1]) * random.uniform(0.75, 1)
                waited += pause
                if not fault.passing or tries > self.spec.retries or waited > _PATIENCE or flight.stopped:
                    failure = ModelError(fault.sentence(self.name, address.public, tries, address.secrets))
                    flight.charge = flight.bound if billed else _NOTHING
                else:
                    flight.sent = False
                    await asyncio.sleep(pause)
                continue
            reply = replace(reply, reason=scrubbed(reply.reason, address.secrets))
            call = self._call(flight, **vars(reply), seconds=round(time.monotonic() - flight.began, 4))
            self._slowest = max(self._slowest, call.seconds)
            spent = Spent.of(call)
            flight.charge = flight.bound if spent.unknown else spent  # an endpoint that counts nothing must not run on for ever
            return call
        raise failure  # out here, so that it is not chained to the fault

    def _check_fits(self, prompt: int, context: int) -> None:
        """Refuse a prompt that leaves no room for its reply, which llama.cpp would cut off without a word."""
        need = prompt + (reply := longest(self.sampling))
        if need > context:
            raise ModelError(
                f"The prompt has {prompt:,} tokens and its reply may have {reply:,}, but the context of {self.name} holds {context:,}; "
                f"shorten the prompt, use a smaller batch, lower max_tokens, or connect with context={need} or more."
            )

    async def _open(self) -> "tuple[Address, openai.AsyncOpenAI]":
        """The address and its client, found once; starting a local server takes seconds and must not stop the loop."""
        if self._opened is None or (self._opened.done() and (self._opened.cancelled() or self._opened.exception())):
            self._opened = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._opened)

    async def _connect(self) -> "tuple[Address, openai.AsyncOpenAI]":
        address = await asyncio.to_thread(self._find_address)
        opened = address.client(self.spec.timeout)
        # sockets that are collected in another thread leave the loop's selector with dead entries, and a new socket that gets
        # the same number then never wakes: the client has to be closed on its loop
        self._closer = weakref.finalize(self, _close, opened)
        self._closer.atexit = False
        return address, opened


_models: "weakref.WeakSet[Model]" = weakref.WeakSet()


_parents: list[Any] = []  # clients of the parent: closing one in the child would take its sockets from the parent's selector


def _start_anew() -> None:
    for model in _models:
        if model._closer is not None:
            _parents.append((model._closer.detach(), model._opened))
        model._start()
        if model.budget is not None:
            model.budget.start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def _close(client: "openai.AsyncOpenAI") -> "Future[None]":
    return background.submit(client.close())


def _close_all() -> None:
    """Close what is still open at the end of the process, of which aiohttp would complain."""
    opened = [found for model in list(_models) if model._closer is not None and (found := model._closer.detach())]
    closing = [_close(*args) for _, _, args, _ in opened]
    wait(closing, timeout=1)


atexit.register(_close_all)
