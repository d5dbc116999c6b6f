"""The faults of endpoints: what one sends, what the user reads, and whether it is tried again."""

import gc
import gzip
import itertools
import json
import re
import socket
import threading
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook import background
from gradbook.errors import ModelError
from gradbook.models import Budget, client, connect
from gradbook.models.completion import Reply, read
from gradbook.models.faults import Fault, answered, clean, mended, parsed, scrubbed
from models.conftest import KEY, together, user
from stub import Said, Stub


def error(status, message, headers=None, **more):
    return Said(status, {"error": {"message": message, **more}}, headers or {})


def whole(content="hello", **choice):
    return {"choices": [{"message": {"content": content}, "finish_reason": "stop", **choice}]}


# what the endpoint sends, what the user reads, how many requests are made with two retries
FAULTS = [
    (error(401, "Bad key " + KEY), r"refused the key for stub \(401: Bad key \*\*\*\); check OPENAI_API_KEY\.", 1),
    (error(402, "Insufficient credits"), r"wants to be paid .*\(402: Insufficient credits\); check the account's credit", 1),
    (error(403, "Country not supported"), r"does not let this key use stub \(403: Country not supported\); check", 1),
    (error(404, "No model stub"), r"does not know stub \(404: No model stub\); check the name of the model and the base URL", 1),
    (error(408, "slow"), r"gave up waiting on stub in 3 tries \(408: slow\)", 3),
    (error(409, "busy"), r"in conflict with another in 3 tries \(409: busy\)", 3),
    (error(413, "Body over 1 MB"), r"larger than \S+ takes \(413: Body over 1 MB\); shorten", 1),
    (error(400, "no\x00 \x1b[31mway\r\nout \ud83d\u202e."), r"refused the request to stub \(400: no \[31mway out \); check", 1),
    (error(400, "x" * 5000), r"\(400: x{299}…\); check", 1),
    (error(400, "{name} {0} %s"), r"\(400: \{name\} \{0\} %s\); check", 1),
    (error(400, f"sent {KEY}, {KEY[:-1]} and http://me:pass-word@h/"), r"400: sent \*\*\*, .* and http://\*\*\*@h/\)", 1),
    (error(400, "top_p is odd"), r"refused the request to stub \(400: top_p is odd\); check the sampling parameters", 1),
    (
        Said(422, {"detail": [{"loc": ["body", "top_k"], "msg": "Input should be an integer"}]}),
        r"\(422: top_k Input should be an integer\)",
        1,
    ),
    (Said(400, [{"error": {"code": 400, "message": "Gemini says no", "status": "INVALID_ARGUMENT"}}]), "400: Gemini says no", 1),
    (Said(400, {"object": "error", "message": "vLLM says no", "code": 400}), "400: vLLM says no", 1),
    (Said(500, {"error": "plain words"}), r"failed on stub after 3 tries \(500: plain words\); try again later", 3),
    (Said(502, b"<html><title>502 Bad Gateway</title><body>x</body></html>"), r"\(502: 502 Bad Gateway\)", 3),
    (Said(503, b""), r"after 3 tries \(503\)", 3),
    (error(529, "Overloaded", type="overloaded_error"), r"after 3 tries \(529: Overloaded\)", 3),
    (error(429, "slow down"), r"still limits stub after 3 tries \(429: slow down\); wait, lower concurrency", 3),
    (error(429, "slow down", {"Retry-After": "Fri, 31 Dec 99999 23:59:59 GMT"}), r"after 3 tries \(429: slow down\)", 3),
    (error(429, "slow down", {"Retry-After": "3600"}), r"limits stub after 1 try and asks to wait 3,600 s \(429", 1),
    (error(429, "slow down", {"Retry-After": "1000000000"}), r"after 1 try and asks to wait 1,000,000,000 s", 1),
    (error(429, "You exceeded your quota", code="insufficient_quota"), r"wants to be paid .*exceeded your quota", 1),
    (error(500, "no", {"x-should-retry": "false"}), r"after 1 try \(500: no\)", 1),
    (
        Said(200, {"error": {"message": "Rate limit exceeded", "code": 429}, "choices": None}),
        r"limits stub after 3 tries \(429: Rate limit",
        3,
    ),
    (Said(200, {"error": {"message": "down", "type": "server_error"}}), r"failed on stub after 3 tries \(500: down\)", 3),
    (Said(200, {"error": {"message": "Overloaded", "type": "overloaded_error"}}), r"failed on stub after 3 tries \(503: Overloaded", 3),
    (Said(200, {"error": "no such thing"}), r"refused the request to stub \(400: no such thing\)", 1),
    (Said(200, {"choices": [{"error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]}), r"\(502: upstream\)", 3),
    (Said(200, whole("half", error={"code": 502, "message": "upstream"}, finish_reason="error")), r"\(502: upstream\)", 3),
    (Said(200, b"[1, 2"), "not a chat completion; check that the base URL", 1),
    (Said(200, b"<html>sign in</html>"), "not a chat completion", 1),
    (Said(200, b"[" * 200_000), "not a chat completion", 1),
    (Said(200, {}), "not a chat completion", 1),
    (Said(200, whole(content=5)), "not a chat completion", 1),
    (Said(200, b" " * (9 << 20)), "more than 8 MB to stub", 1),
    (Said(200, gzip.compress(b" " * (200 << 20)), {"Content-Encoding": "gzip"}), "more than 8 MB to stub", 1),
    (Said(500, gzip.compress(b" " * (200 << 20)), {"Content-Encoding": "gzip"}), r"failed on stub after 3 tries \(500\)", 3),
    (Said(200, b"xx", {"Content-Encoding": "br"}), "packed in a way that was not asked for; check any proxy", 1),
    (Said(200, b"xx", {"Content-Encoding": "{x}"}), "packed in a way that was not asked for", 1),
    (
        Said(307, b"", {"Location": "ftp://elsewhere/v1"}),
        "passes the request for stub on to where it is not answered; check the base URL",
        1,
    ),
    (Said(307, b"", {"Location": "http://elsewhere:99999/v1"}), "passes the request for stub on to where it is not answered", 1),
    (Said(200, b"xx", {"Content-Encoding": "gzip"}), "packed and damaged, in 3 tries", 3),
    ("hang", "did not answer in full within 0.5 s in 3 tries; connect with a larger timeout", 3),
    ("drip", "did not answer in full within 0.5 s in 3 tries", 3),
    ("endless", "more than 8 MB to stub", 1),
    ("cut", r"cut the connection before the reply of stub was whole, in 3 tries", 3),
    ("cut_body", "cut the connection before the reply of stub was whole, in 3 tries", 3),
    ("malformed", "not a chat completion", 1),
    # too long a prompt, in everybody's words
    (error(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"), "The prompt is too long .*8192", 1),
    (error(400, "the request exceeds the available context size", type="exceed_context_size_error"), "The prompt is too long", 1),
    (error(500, "the request exceeds the available context size"), "The prompt is too long", 1),
    (error(400, "prompt is too long: 210000 tokens > 200000 maximum"), "The prompt is too long", 1),
    (error(400, "input length and `max_tokens` exceed context limit: 1 + 2 > 2"), "The prompt is too long", 1),
    (error(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), "The prompt is too long", 1),
    (error(400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."), "The prompt is too long", 1),
    # what an endpoint does not take names the setting that leaves it out
    (error(400, "System role not supported"), r"stub takes no system message \(400: System role not supported\); .*merge_system=True", 1),
    (error(500, "Jinja Exception: System role not supported"), "merge_system=True", 1),
    (error(400, "'messages[0].role' does not support 'system' with this model."), "merge_system=True", 1),
    (error(400, "Developer instruction is not enabled for models/gemma"), "merge_system=True", 1),
    (error(400, "seed not supported"), r"stub takes no seed \(400: seed not supported\); connect with seeded=False", 1),
    (Said(422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}), "seeded=False", 1),
]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr("gradbook.models.endpoint._BACKOFF", (0.0, 0.0))


@pytest.mark.parametrize(("fault", "sentence", "requests"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_one_sentence(stub, remote, fault, sentence, requests):
    stub.fail(fault, times=3)
    with pytest.raises(ModelError, match=sentence) as caught:
        remote(retries=2, timeout=0.5 if isinstance(fault, str) and fault in ("hang", "drip") else 20.0).ask("a")
    assert len(stub.requests) == requests
    told = str(caught.value)
    assert told.endswith(".")
    assert KEY not in told
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


PASSING = [fault for fault, _, requests in FAULTS if requests == 3]


@pytest.mark.parametrize("fault", PASSING, ids=range(len(PASSING)))
def test_a_passing_fault_passes(stub, remote, fault):
    stub.fail(fault)
    assert remote(timeout=0.5).ask("a").startswith("reply")


# what a 200 holds, and what is read of it: text, ending, reason
REPLIES = [
    (whole("x"), "x", "stop", ""),
    ({"choices": [{"message": {"content": "x"}}]}, "x", "stop", ""),
    (whole([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab", "stop", ""),
    ({"choices": [{"message": {"content": "x", "reasoning_content": "hm"}, "finish_reason": "stop"}]}, "x", "stop", ""),
    (whole(None, finish_reason="length"), "", "length", ""),
    (whole(None, finish_reason="content_filter"), "", "content_filter", "held back by the endpoint's content filter"),
    (whole(""), "", "stop", ""),
    ({"choices": [{"message": {"content": None, "refusal": "I won't."}, "finish_reason": "stop"}]}, "", "stop", "I won't."),
    (whole([{"type": "refusal", "refusal": "No."}]), "", "stop", "No."),
    (
        {"choices": [{"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"}]},
        "",
        "tool_calls",
        "the reply only calls tools",
    ),
    ({"choices": None}, "", "error", "the endpoint sent no choices"),
    ({"choices": [], "promptFeedback": {"blockReason": "SAFETY"}}, "", "error", "blocked: SAFETY"),
    ({"choices": [{"finish_reason": "recitation"}]}, "", "recitation", "ended with 'recitation'"),
    (whole("x", finish_reason="st\ud83dop\u202e" + "!" * 1000), "x", "st op " + "!" * 34, ""),
    (whole("half \ud83d an emoji"), "half � an emoji", "stop", ""),
]


@pytest.mark.parametrize(("body", "text", "ending", "reason"), REPLIES, ids=range(len(REPLIES)))
def test_a_reply_is_read_as_it_is(body, text, ending, reason):
    with Stub(reply=lambda *_: body) as stub:
        call = together(connect("stub", base_url=stub.url).complete(user("a")))[0]
    assert (call.text, call.finish_reason, call.reason) == (text, ending, reason)
    assert (call.prompt_tokens, call.completion_tokens, call.cost) == (None, None, None)


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": -5, "completion_tokens": -4800}, {"prompt_tokens": "7", "completion_tokens": None}, 3]
)
def test_usage_that_is_none_is_unknown_and_the_budget_is_charged_the_most(usage):
    budget = Budget(tokens=10_000, cost=1)
    with Stub(reply=lambda *_: {**whole(), "usage": usage}) as stub:
        model = connect("stub", base_url=stub.url, budget=budget, price=(1.0, 1.0), sampling={"max_tokens": 50})
        model.ask("a")
    assert (model.spent.calls, model.spent.unknown, model.spent.cost) == (1, 1, None)
    assert budget.spent.completion_tokens == 50
    assert budget.spent.cost > 0


def test_a_packed_reply_is_read(stub, remote):
    stub.fail(
        *(
            Said(200, pack(json.dumps(whole("x")).encode()), {"Content-Encoding": n})
            for pack, n in ((gzip.compress, "gzip"), (zlib.compress, "deflate"))
        )
    )
    assert [remote(cache=False).ask("a") for _ in range(2)] == ["x", "x"]


@pytest.mark.parametrize(
    "said", [Said(200, {**whole("x"), "more": [[]] * 1_500_000}), Said(500, b"[" + b"[]," * 2_600_000 + b"[]]")], ids=["reply", "error"]
)
def test_a_body_of_some_megabytes_does_not_hold_the_loop(stub, remote, said):
    model = remote(retries=0, cache=False)
    model.ask("wake up")
    gc.collect()
    gc.freeze()  # to go through what other tests have left is not the loop's work
    stub.fail(said)
    work = background.submit(model.complete(user("a")))
    times = [background.run(_worked())]
    while not work.done():
        times.append(background.run(_worked()))
        time.sleep(0.002)
    times.append(background.run(_worked()))
    gc.unfreeze()
    assert (work.exception() is None) == (said.status == 200)

    assert max(after - before for before, after in itertools.pairwise(times)) < 0.1


async def _worked():
    return time.thread_time()  # of the loop's thread, whatever else keeps the machine busy


def test_a_wait_that_is_asked_for_is_kept(stub, remote):
    stub.retry_after = 0.3
    stub.fail(429)
    began = time.monotonic()
    remote().ask("a")
    assert 0.3 <= time.monotonic() - began < 2


def test_the_system_message_goes_into_the_users(stub, remote):
    remote(merge_system=True).ask("Q", system="S")
    assert stub.requests[0].body["messages"] == user("S\n\nQ")


def test_half_an_emoji_is_sent_mended(stub, remote):
    remote().ask("a \ud83d b")
    assert stub.requests[0].body["messages"] == user("a � b")


@given(st.text())
def test_clean_text_can_be_shown(text):
    shown = clean(text)
    shown.encode()
    assert shown.isprintable()
    assert "\u202e" not in shown


@given(st.text(st.characters(codec=None), max_size=20))
def test_mended_text_can_be_stored(text):
    mended(text).encode()


def test_only_whole_secrets_are_scrubbed():
    assert scrubbed("try ollama pull; sk-12345678x and sk-12345678", ["sk-12345678"]) == "try ollama pull; sk-12345678x and ***"


def test_a_short_key_is_a_word(stub):
    with Stub() as open_stub:
        open_stub.fail(error(404, "try ollama pull"))
        with pytest.raises(ModelError, match="try ollama pull"):
            connect("stub", base_url=open_stub.url, api_key="ollama").ask("a")


def test_a_reason_that_repeats_the_key_is_kept_without_it(stub, remote):
    stub.fail(Said(200, {"choices": [{"message": {"content": None, "refusal": f"{'No. ' * 20}You sent {KEY}."}}]}))
    call = together(remote().complete(user("a")))[0]
    assert call.reason.startswith("No. No. ")
    assert KEY[:12] not in call.model_dump_json()


def test_a_connection_that_is_never_made_is_told_as_that(monkeypatch):
    monkeypatch.setattr(client, "_CONNECT_TIMEOUT", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        with pytest.raises(ModelError, match=r"could not be reached in 1 try"):
            connect("stub", base_url=f"http://127.0.0.1:{full.getsockname()[1]}/v1", retries=0, timeout=20).ask("a")
        for each in waiting:
            each.close()


def test_https_where_plain_http_is_spoken():
    def answer(server):
        with server.accept()[0] as plain:
            plain.recv(1000)
            plain.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        with pytest.raises(ModelError, match="makes no secure connection; check whether the base URL begins with https:// or http://"):
            connect("stub", base_url=f"https://127.0.0.1:{server.getsockname()[1]}/v1").ask("a")


def test_what_cannot_be_sent_is_told(monkeypatch, remote):
    monkeypatch.setenv("OPENAI_ORG_ID", "é")
    with pytest.raises(ModelError, match=r"cannot be made .*check sampling and the OPENAI_ variables"):
        remote().ask("a")


_names = st.sampled_from(
    [
        "error",
        "choices",
        "message",
        "content",
        "finish_reason",
        "usage",
        "detail",
        "loc",
        "msg",
        "text",
        "type",
        "code",
        "refusal",
        "metadata",
        "raw",
    ]
)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(["text", "429"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
)


@given(_json | st.fixed_dictionaries({"choices": st.lists(_json, max_size=2)}), st.sampled_from([200, 400, 422, 429, 500]))
def test_whatever_a_body_holds_is_a_reply_or_one_sentence(body, status):
    content = json.dumps(body).encode()
    fault = answered(status, parsed(content))
    try:
        if status == 200:
            reply = read(content)
            assert isinstance(reply, Reply)
            (reply.text + reply.finish_reason).encode()
            return
    except Fault as found:
        fault = found
    told = fault.sentence("stub", "http://h/v1", 2, ["secret-key"])
    assert told.isprintable()
    assert told.endswith(".")
    assert not re.search(r"\{\w*\}", told.replace(scrubbed(fault.said), ""))
