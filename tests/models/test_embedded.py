"""A real small model answers through the same path as a remote one."""

import asyncio

import pytest

from gradbook import background
from gradbook.errors import ModelError
from gradbook.models import Budget, connect, embedded
from models.conftest import together, user

pytestmark = pytest.mark.embedded


def test_it_answers_and_is_repeatable(small):
    model = connect(small, cache=False, sampling={"max_tokens": 12})
    calls = [together(model.complete(user("Say hello."), seed=5))[0] for _ in range(2)]
    assert calls[0].text == calls[1].text != ""
    assert calls[0].prompt_tokens > 5
    assert (calls[0].cost, model.spent.calls) == (0.0, 2)
    assert "on this machine" in repr(model)


def test_connections_share_one_server(small):
    connect(small, sampling={"max_tokens": 2}).ask("critic")
    before = dict(embedded._servers)
    connect(small, sampling={"max_tokens": 2}).ask("optimizer")
    assert embedded._servers == before
    address, _ = next(iter(embedded._servers.values()))
    assert address.public.startswith("http://127.0.0.1:")
    assert address.key.get_secret_value() not in repr(address)


def test_a_prompt_that_leaves_no_room_for_its_reply_is_told_before_it_is_sent(small):
    fitting = connect(small, context=512, cache=False, sampling={"max_tokens": 4})
    call = together(fitting.complete(user("word " * 100)))[0]
    longest = 512 - call.prompt_tokens
    budget = Budget(tokens=2000)
    full = connect(small, context=512, cache=False, sampling={"max_tokens": longest + 1}, budget=budget)
    with pytest.raises(ModelError) as caught:
        full.ask("word " * 100)
    assert str(caught.value) == (
        f"The prompt has {call.prompt_tokens} tokens and its reply may have {longest + 1}, but the context of smollm2-135m holds 512; "
        "shorten the prompt, use a smaller batch, lower max_tokens, or connect with context=513 or more."
    )
    assert (full.spent.calls, budget.spent.calls) == (0, 0)
    with pytest.raises(ModelError, match=r"The prompt has 9,0.. tokens and its reply may have 512, but the context .* holds 4,096"):
        connect(small).ask("word " * 9000)


def test_a_reply_may_fill_the_context(small):
    model = connect(small, context=512, cache=False, sampling={"max_tokens": 4})
    room = 512 - together(model.complete(user("word " * 460)))[0].prompt_tokens
    call = together(connect(small, context=512, cache=False, sampling={"max_tokens": room}).complete(user("word " * 460)))[0]
    assert call.prompt_tokens + call.completion_tokens <= 512


def test_cancelling_really_cancels(small):
    model = connect(small, sampling={"max_tokens": 3000})
    messages = user("Count to ten thousand.")
    background.run(_cancel_once_sent(model, messages))
    assert not model._flights
    assert (model.spent.calls, together(connect(small, sampling={"max_tokens": 2}).complete(messages))[0].cached) == (0, False)


async def _cancel_once_sent(model, messages):
    call = asyncio.ensure_future(model.complete(messages))
    while not any(flight.sent for flight in model._flights.values()):
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


def test_threads_can_be_set(monkeypatch):
    assert embedded.threads() == 1
    monkeypatch.setenv("GRADBOOK_THREADS", "many")
    with pytest.raises(ModelError, match="whole number above 0, not 'many'"):
        embedded.threads()
