"""A model in another process: copied, pickled, forked; never with its key."""

import copy
import logging
import multiprocessing
import pickle
import traceback
from concurrent.futures import ProcessPoolExecutor

import pytest

from gradbook import background
from gradbook.errors import ModelError
from gradbook.models import Budget, CallCache, ModelSpec, connect
from models.conftest import KEY, together, user
from stub import Said, Stub


def ask(model):
    return model.ask("from a worker")


def ask_of(spec):
    return spec.connect().ask("from a worker")


def test_a_spec_is_json_and_connects_again(stub, remote, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = remote(
        price=(1.0, 2.0), concurrency=3, seeded=False, merge_system=True, timeout=7.0, sampling={"top_k": 3}, budget=Budget(calls=1)
    )
    spec = ModelSpec.model_validate_json(model.spec.model_dump_json())
    assert spec == model.spec
    again = spec.connect()
    assert (again.spec, again.id, again.budget) == (model.spec, model.id, None)
    assert again.ask("a") == model.ask("a")
    assert len(stub.requests) == 1, "they share the call cache"


def test_a_copy_and_a_pickle_go_through_the_spec(stub, remote, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = remote()
    model.ask("a")
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert other is not model
        assert other.spec == model.spec
        assert other.ask("b").startswith("reply")


def test_no_key_and_no_password_is_in_a_pickle(stub):
    model = connect("stub", base_url=stub.url.replace("//", "//me:pass-word@") + "?api-key=query-key", api_key=KEY)
    for said in (pickle.dumps(model), repr(model).encode(), model.spec.model_dump_json().encode(), repr(vars(model)).encode()):
        assert not any(secret.encode() in said for secret in (KEY, "pass-word", "query-key"))
    assert model.spec.base_url == stub.url


def test_a_workers_url_has_the_password_of_its_environment(monkeypatch):
    with Stub() as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url.replace("//", "//me:pass-word@"))
        pickle.loads(pickle.dumps(connect("stub"))).ask("a")
    assert stub.requests[0].headers["authorization"] == "Basic bWU6cGFzcy13b3Jk"


@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_worker_asks_on_its_own(stub, remote, monkeypatch, way):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = remote()
    model.ask("a")
    with ProcessPoolExecutor(1, multiprocessing.get_context(way)) as pool:
        replies = [pool.submit(ask, model).result(60), pool.submit(ask_of, model.spec).result(60)]
    assert replies[0] == replies[1] == ask(model)
    assert len(stub.requests) == 2
    assert model.ask("b").startswith("reply")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_has_its_own_client_and_leaves_its_parents(stub, remote):
    model = remote()
    model.ask("a")
    child = multiprocessing.get_context("fork").Process(target=ask, args=(model,))  # inherited, not pickled
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert model.ask("from a worker") == model.ask("from a worker")
    assert model.ask("b").startswith("reply")
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("api_key", "sk-12345“67", "The key in api_key holds a curly quote as character 9"),
        ("api_key", "sk-123\n45", "The key in api_key holds a line break as character 7"),
        ("api_key", "sk-é", r"holds U\+00E9 as character 4"),
        ("OPENAI_API_KEY", "sk-1”", "The key in OPENAI_API_KEY holds a curly quote as character 5"),
        ("base_url", "http://h\n/v1", "The base URL in base_url holds a blank, a line break"),
        ("base_url", "me:pass-word@h/v1", "The base URL in base_url must begin with http:// or https://"),
        ("base_url", "http://h:port/v1", "The base URL in base_url has an address or a port that is none"),
        ("base_url", "http://h:99999/v1", "has an address or a port that is none"),
        ("base_url", "http://h:0/v1", "an impossible port"),
        ("base_url", "http://[::1/v1", "has an address or a port that is none"),
        ("base_url", "http:///v1", "names no host"),
        ("base_url", f"http://{'a' * 70}.org/v1", "has an address or a port that is none"),
        ("OPENAI_BASE_URL", "localhost:8000/v1", "The base URL in OPENAI_BASE_URL must begin with"),
    ],
)
def test_a_key_or_url_that_cannot_be_is_told_by_its_name(monkeypatch, name, value, sentence):
    settings = {"base_url": "http://127.0.0.1:9/v1", name: value}
    if name.isupper():
        monkeypatch.setenv(name, settings.pop(name))
        if name == "OPENAI_BASE_URL":
            del settings["base_url"]
    with pytest.raises(ModelError, match=sentence) as caught:
        connect("m", **settings)
    assert "pass-word" not in str(caught.value)
    assert caught.value.__context__ is None or not str(caught.value.__context__).count("pass-word")


def test_white_space_round_key_and_url_is_taken_off(stub):
    assert connect("stub", base_url=f" {stub.url}\n", api_key=f"{KEY} \n").ask("a").startswith("reply")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:9"),
        ("all_proxy", "socks://me:pass-word@127.0.0.1:9"),
        ("HTTPS_PROXY", "http://me:pass-word@[::1"),
        ("SSL_CERT_FILE", "/not/there.pem"),
        ("SSL_CERT_FILE", __file__),
    ],
)
def test_an_environment_that_cannot_be_used_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(
        ModelError, match=rf"No connection to https://example.invalid/v1 can be made \(.+\); check .*{name.upper()}"
    ) as caught:
        connect("m", base_url="https://example.invalid/v1", api_key=KEY, retries=0).ask("a")
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("port", [9, 99999])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:openai")  # of how it passes the proxy's password on
def test_a_proxy_that_cannot_be_reached_is_told_as_that_without_its_password(monkeypatch, port):
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass-word@127.0.0.1:{port}")
    with pytest.raises(
        ModelError, match=r"The proxy on the way to https://example.invalid/v1 (refused or could not be reached|has an impossible address)"
    ) as caught:
        connect("m", base_url="https://example.invalid/v1", api_key=KEY, retries=0).ask("a")
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_comes_between_this_machine_and_itself(monkeypatch, stub, remote, name):
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert remote().ask("a").startswith("reply")


def test_a_password_and_a_query_key_are_shown_and_logged_nowhere(stub, caplog):
    caplog.set_level(logging.INFO)
    echo = Said(400, {"error": {"message": f"you sent Basic bWU6cGFzcy13b3Jk me pass-word query-key {KEY}"}})
    stub.key = None
    stub.fail(echo)
    url = stub.url.replace("//", "//me:pass-word@") + "?api-key=query-key"
    with pytest.raises(ModelError) as caught:
        connect("stub", base_url=url, api_key=KEY, retries=0).ask("a")
    assert stub.requests[0].headers["authorization"] == "Basic bWU6cGFzcy13b3Jk"
    assert stub.requests[0].path.endswith("?api-key=query-key")
    assert any("HTTP Request" in record.getMessage() for record in caplog.records)
    for secret in (KEY, "pass-word", "query-key", "bWU6cGFzcy13b3Jk"):
        assert secret not in str(caught.value)
        assert secret not in caplog.text


def test_a_verbose_traceback_shows_no_key(stub, monkeypatch):
    """Every frame of gradbook's own, with its local variables; the caller's are the caller's."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    stub.fail(400)
    failures = [lambda: connect("stub", base_url=stub.url, concurrency=0), lambda: connect("stub", base_url=stub.url).ask("a")]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:pass-word@127.0.0.1:9/v1")
    failures += [connect]
    for fail in failures:
        with pytest.raises(ModelError) as caught:
            fail()
        told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert KEY not in told
        assert "pass-word" not in told


def test_an_untrusted_certificate_is_told_as_that(tmp_path):
    import ssl
    import subprocess
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "k.pem",
        "-out",
        "c.pem",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")

    class Quiet(HTTPServer):
        def handle_error(self, *_):
            pass

    server = Quiet(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ModelError, match=r"certificate of https://localhost:\d+/v1 is not trusted; .*SSL_CERT_FILE"):
            connect("m", base_url=f"https://localhost:{server.server_port}/v1", api_key=KEY, retries=0).ask("a")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_cache_that_another_program_locks_is_gone_without(stub, remote, lock):
    import sqlite3
    import time

    model = remote()
    model.ask("a")
    with sqlite3.connect(model.cache.path, isolation_level=None) as other:
        other.execute(f"BEGIN {lock}")
        began = time.monotonic()
        with pytest.warns(RuntimeWarning, match="locked by another program; going on without it") as told:
            calls = together(*[model.complete(user(str(n))) for n in range(10)])
        assert all(call.text.startswith("reply") for call in calls)
        assert time.monotonic() - began < 6, "they do not wait one after the other"
        assert len(told) == 1
        other.execute("ROLLBACK")
    other.close()
    assert model.ask("c") == model.ask("c")
    assert len(stub.requests) == 12, "and the cache is used again at once"


def test_a_path_of_a_cache_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CallCache("~/calls.sqlite").path == tmp_path / "calls.sqlite"


@pytest.mark.parametrize("name", ["a\0b.gguf", "hf:a/b/c\0.gguf"])
def test_a_path_that_cannot_be(name):
    with pytest.raises(ModelError, match=r"Cannot read the weights .*null byte|should look like hf:"):
        connect(name)
    with pytest.raises(ModelError, match="cannot be used"):
        CallCache("a\0b.sqlite")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"concurrency": 0}, "concurrency of the model cannot be 0: Input should be greater than or equal to 1."),
        ({"timeout": float("nan")}, "timeout of the model cannot be nan: Input should be a finite number."),
        ({"timeout": 0}, "timeout of the model cannot be 0: Input should be greater than 0."),
        ({"retries": -1}, "retries of the model cannot be -1"),
        ({"price": (1.0,)}, "price.1 of the model cannot be"),
        ({"price": (-1.0, 1.0)}, "price.0 of the model cannot be -1.0"),
        ({"sampling": {"temperature": float("nan")}}, "JSON cannot hold it"),
        ({"sampling": {"stop": {1}}}, "JSON cannot hold it"),
        ({"sampling": {"stop": "\ud83d"}}, "JSON cannot hold it"),
        ({"sampling": {"stream": True, "model": "other"}}, "model, stream must be left to gradbook"),
    ],
)
def test_a_setting_that_cannot_be_is_told_by_its_name(settings, sentence):
    with pytest.raises(ModelError) as caught:
        connect("m", base_url="http://127.0.0.1:9/v1", **settings)
    assert sentence in str(caught.value)
    str(caught.value).encode()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_what_its_parent_has_set_aside():
    with Stub(gate=True) as stub:
        model = connect("stub", base_url=stub.url, budget=Budget(tokens=6000))
        work = background.submit(model.complete(user("from the parent")))
        stub.wait_for(1)
        child = multiprocessing.get_context("fork").Process(target=ask, args=(model,))
        child.start()
        try:
            stub.wait_for(2, timeout=10)
        finally:
            stub.open_gate()
            child.join(10)
            child.kill()
        assert child.exitcode == 0
        assert work.result().text.startswith("reply")


def _put_in_child(cache):
    parents = cache._databases
    cache.put("b", {"text": "y"})
    assert cache._databases is not parents


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_writes_through_a_connection_of_its_own(tmp_path):
    cache = CallCache(tmp_path / "calls.sqlite")
    child = multiprocessing.get_context("fork").Process(target=_put_in_child, args=(cache,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert cache.get("b") == {"text": "y"}


def test_a_row_that_holds_no_reply_gives_way(stub, remote):
    model = remote()
    for key, row in (
        ("a", "no json"),
        ("b", "[]"),
        ("c", '{"text": ""}'),
        ("d", '{"text": "half", "finish_reason": "length"}'),
        ("e", '{"x": 1}'),
        ("f", '{"text": "half", "finish_reason": "MAX_TOKENS"}'),
        ("g", "[" * 100_000),
    ):
        address = model.key(user(key))
        model.cache._databases["write"].execute("INSERT INTO calls VALUES (?, ?)", (address, row))
        assert model.ask(key).startswith("reply")
        assert together(model.complete(user(key)))[0].cached
    assert isinstance(model.cache, CallCache)
