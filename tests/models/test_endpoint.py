"""What happens between a call and its reply: bounds, faults, cancelling, and what an error says."""

import asyncio
import gc
import random
import subprocess
import sys
import time
import traceback

import pytest

from gradbook import background
from gradbook.errors import ModelError
from gradbook.models import Budget, connect
from models.conftest import KEY, together, user
from stub import Stub


def test_a_call_records_what_was_sent_and_used(stub, remote):
    model = remote(price=(1.0, 2.0), sampling={"top_k": 3})
    call = together(model.complete(user("two words"), seed=7))[0]
    assert stub.requests[0].body == {"model": "stub", "messages": user("two words"), **model.sampling, "top_k": 3, "seed": 7}
    assert (call.prompt_tokens, call.completion_tokens, call.finish_reason) == (2, 2, "stop")
    assert call.cost == pytest.approx(6e-6)
    assert model.spent.cost == pytest.approx(6e-6)
    assert "1 calls" in repr(model)


def test_an_endpoint_without_seeds_is_sent_none_and_samples_differ(stub, remote):
    model = remote(seeded=False)
    together(model.complete(user("a"), seed=1), model.complete(user("a"), seed=2))
    assert ["seed" in request.body for request in stub.requests] == [False, False]


def test_complete_can_be_awaited_on_any_loop(remote):
    call = asyncio.run(remote().complete(user("a")))
    assert call.text.startswith("reply")


def test_concurrency_is_bounded_and_used():
    with Stub(gate=True) as stub:
        model = connect("stub", base_url=stub.url, concurrency=5)
        work = background.submit(_gather([model.complete(user(str(i))) for i in range(20)]))
        stub.wait_for(5)
        stub.open_gate()
        assert len(work.result()) == 20
    assert stub.most_in_flight == 5


async def _gather(calls):
    return await asyncio.gather(*calls)


@pytest.mark.parametrize("fault", [429, 500, 503, "cut", "cut_body"])
def test_a_passing_fault_is_tried_again(stub, remote, fault):
    stub.fail(fault)
    assert remote().ask("a").startswith("reply")
    assert [request.fault for request in stub.requests] == [fault, None]


def test_a_request_that_hangs_is_tried_again(stub, remote):
    stub.fail("hang")
    assert remote(timeout=0.3).ask("a").startswith("reply")


def _no_key_in(error: BaseException) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert KEY not in "".join(told.format())


def test_retries_used_up(stub, remote):
    stub.fail(429, times=3)
    with pytest.raises(ModelError, match="after 3 tries"):
        remote(retries=2).ask("a")
    assert len(stub.requests) == 3


def test_a_refused_key_names_the_variable(stub):
    with pytest.raises(ModelError, match=r"refused the key for stub \(401: .*\*\*\*\); check OPENAI_API_KEY") as caught:
        connect("stub", base_url=stub.url, api_key="sk-wrong-key").ask("a")
    assert "sk-wrong-key" not in str(caught.value)


def test_nothing_listens():
    with pytest.raises(ModelError, match=r"could not be reached .* check the base URL and its server"):
        connect("stub", base_url="http://127.0.0.1:9/v1", retries=0).ask("a")


def test_cancelling_keeps_what_was_sent_and_drops_what_was_not():
    landed = []
    with Stub(gate=True) as stub:
        model = connect("stub", base_url=stub.url, concurrency=2)
        work = background.submit(_gather([model.complete(user(str(i)), landed=landed.append) for i in range(6)]))
        stub.wait_for(2)
        work.cancel()
        background.run(asyncio.sleep(0))
        assert [flight.sent for flight in model._flights.values()] == [True, True], "what was not sent is forgotten"
        stub.open_gate()
        wait_until(lambda: model.spent.calls == 2)
        assert [call.cached for call in landed] == [False, False], "who was stopped has paid and is told so"
        wait_until(lambda: all(model.cache.get(call.key) for call in landed))
        again = together(*[model.complete(user(str(i))) for i in range(6)])
    assert len(stub.requests) == 6, "the two that were sent are not sent again"
    assert sorted(call.cached for call in again) == [False] * 4 + [True] * 2


def wait_until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_call_after_a_stop_does_not_join_what_hangs_and_has_its_slot(stub, remote):
    model = remote(concurrency=1, timeout=60.0)
    stub.fail("hang")
    work = background.submit(model.complete(user("a")))
    stub.wait_for(1)
    work.cancel()
    began = time.monotonic()
    assert model.ask("a").startswith("reply")
    assert time.monotonic() - began < 2
    assert len(stub.requests) == 2


def test_what_was_stopped_and_asked_for_again_is_paid_once():
    with Stub(gate=True) as stub:
        model = connect("stub", base_url=stub.url, concurrency=3, cache=False)
        work = background.submit(_gather([model.complete(user(str(i))) for i in range(6)]))
        stub.wait_for(3)
        work.cancel()
        again = background.submit(_gather([model.complete(user(str(i))) for i in range(6)]))
        background.run(asyncio.sleep(0.1))
        stub.open_gate()
        calls = again.result()
    assert len(stub.requests) == model.spent.calls == 6
    assert [call.cached for call in calls] == [True] * 3 + [False] * 3


def test_the_one_who_pays_is_told_once_and_before_the_cache_knows(stub, remote):
    model, seen = remote(), []

    def landed(call):
        seen.append((call.cached, model.cache.get(call.key) is not None))

    together(*[model.complete(user("a"), landed=landed) for _ in range(3)])
    together(model.complete(user("a"), landed=landed))
    assert seen == [(False, False), (True, False), (True, False), (True, True)]


def test_who_cannot_be_told_fails_alone(remote):
    def full(call):
        raise OSError("no room")

    model = remote()
    first, second = together(model.complete(user("a"), landed=full), model.complete(user("a")))
    assert isinstance(first, OSError)
    assert second.text.startswith("reply")


def test_a_payer_that_is_stopped_while_others_wait_has_paid():
    told = {"payer": [], "other": []}
    with Stub(gate=True) as stub:
        model = connect("stub", base_url=stub.url)
        payer = background.submit(model.complete(user("a"), landed=told["payer"].append))
        other = background.submit(model.complete(user("a"), landed=told["other"].append))
        stub.wait_for(1)
        payer.cancel()
        stub.open_gate()
        assert other.result().cached
    assert [[call.cached for call in calls] for calls in told.values()] == [[False], [True]]


def test_what_another_kernel_has_made_meanwhile_is_not_made_again():
    with Stub(gate=True) as stub:
        slow, other = (connect("stub", base_url=stub.url, concurrency=1) for _ in range(2))
        first = background.submit(slow.complete(user("first")))
        stub.wait_for(1)
        second = background.submit(slow.complete(user("second")))
        background.run(asyncio.sleep(0.05))
        other.cache.put(slow.key(user("second")), {"text": "from there", "finish_reason": "stop"})
        stub.open_gate()
        first.result()
        call = second.result()
    assert (call.text, call.cached, len(stub.requests)) == ("from there", True, 1)


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("", "stop"),
        ("", "content_filter"),
        ("half a sen", "length"),
        ("half", "max_tokens"),
        ("half", "content_filter"),
        ("half", "error"),
        ("<think>hm", "stop"),
        ("<think>hm</think> ", "stop"),
    ],
)
def test_what_is_no_reply_is_given_and_made_again(text, ending):
    body = {"choices": [{"message": {"content": text}, "finish_reason": ending}]}
    with Stub(reply=lambda *_: body) as stub:
        model = connect("stub", base_url=stub.url)
        calls = [together(model.complete(user("a")))[0] for _ in range(2)]
    assert [(call.text, call.finish_reason, call.cached) for call in calls] == [(text, ending, False)] * 2
    assert len(stub.requests) == 2


def test_a_failure_that_nobody_waits_for_is_quiet(stub, remote, caplog):
    model = remote(retries=0, timeout=0.2)
    stub.fail("hang")
    work = background.submit(model.complete(user("a")))
    stub.wait_for(1)
    work.cancel()
    while model._flights:
        background.run(asyncio.sleep(0.01))
    gc.collect()
    assert not caplog.records


def test_the_key_is_nowhere(stub, remote, tmp_path, capfd):
    model = remote()
    call = together(model.complete(user("a")))[0]
    print(model, vars(model), call)
    assert KEY not in capfd.readouterr().out
    assert call.model_dump_json().count(KEY) == 0
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_password_in_the_url_is_nowhere(stub, capfd):
    model = connect("stub", base_url=stub.url.replace("//", "//me:pass-word@"), api_key=KEY, retries=0)
    stub.fail(400)
    with pytest.raises(ModelError) as caught:
        model.ask("a")
    print(model, model.identity, vars(model), *traceback.format_exception(caught.value))
    assert "pass-word" not in capfd.readouterr().out
    assert model.identity == f"{stub.url} stub"


async def _stop_half(model, told, chance):
    """Ask for six calls forty times, stopping some at random; what each asker got."""

    async def ask(number):
        await asyncio.sleep(chance.random() * 0.02)
        return await model.complete(user(str(number % 6)), landed=told[number].append)

    asked = [asyncio.ensure_future(ask(number)) for number in range(len(told))]
    for task in chance.sample(asked, len(asked) // 2):
        asyncio.get_running_loop().call_later(chance.random() * 0.04, task.cancel)
    return await asyncio.gather(*asked, return_exceptions=True)


@pytest.mark.parametrize("seed", range(12))
def test_whoever_is_stopped_every_reply_is_told_as_paid_once(seed):
    chance, told = random.Random(seed), [[] for _ in range(40)]
    with Stub(latency=chance.choice([0.0, 0.003, 0.01])) as stub:
        stub.fail(*[429, 500][: seed % 3])
        budget = Budget(tokens=10**7)
        model = connect("stub", base_url=stub.url, concurrency=chance.choice([1, 3, 16]), budget=budget, cache=seed % 2 == 0)
        results = background.run(_stop_half(model, told, chance))
        wait_until(lambda: not budget._held)
        replies = sum(request.fault is None for request in stub.requests)
    assert sum(not call.cached for calls in told for call in calls) == replies == model.spent.calls == budget.spent.calls
    for calls, result in zip(told, results, strict=True):
        assert len(calls) <= 1
        assert isinstance(result, asyncio.CancelledError) or calls == [result]
    assert model._slots._value == model.concurrency


def test_a_script_that_ends_says_nothing_of_what_is_still_open(stub):
    connected = f"import gradbook as gb; model = gb.connect('stub', base_url={stub.url!r}, api_key={KEY!r}, cache=False)"
    ended = subprocess.run([sys.executable, "-c", f"{connected}; model.ask('hi')"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
