"""A call that was paid for is not paid again, by any kernel."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gradbook.errors import ModelError
from gradbook.models import CallCache
from models.conftest import together, user


def test_the_same_call_is_made_once(stub, remote):
    first = together(remote().complete(user("a"), seed=1))[0]
    again = together(remote().complete(user("a"), seed=1))[0]
    assert len(stub.requests) == 1
    assert (first.cached, again.cached) == (False, True)
    assert again == first.model_copy(update={"cached": True})


def test_a_replicate_a_seed_and_a_parameter_make_another_call(stub, remote):
    model, warmer = remote(), remote(sampling={"temperature": 1.0})
    together(*[m.complete(user("a"), seed=s, replicate=r) for m, s, r in [(model, 1, 0), (model, 1, 1), (model, 2, 0), (warmer, 1, 0)]])
    assert len(stub.requests) == 4


def test_without_a_cache_every_call_is_made(stub, remote):
    model = remote(cache=False)
    for _ in range(2):
        model.ask("a")
    assert len(stub.requests) == 2
    assert not any(call.cached for call in together(model.complete(user("a"))))


def test_identical_calls_at_the_same_time_make_one_request(stub, remote):
    model = remote()
    calls = together(*[model.complete(user("a")) for _ in range(8)])
    assert len(stub.requests) == 1
    assert len({call.text for call in calls}) == 1
    assert sorted(call.cached for call in calls) == [False] + [True] * 7
    assert (model.spent.calls, model.cached) == (1, 7)


def test_a_failure_is_not_cached(stub, remote):
    model = remote(retries=0)
    stub.fail(500, "malformed")
    for _ in range(2):
        with pytest.raises(ModelError):
            model.ask("a")
    assert model.ask("a").startswith("reply")
    assert len(stub.requests) == 3


def test_a_cache_that_cannot_be_used_says_so(tmp_path):
    damaged = tmp_path / "calls.sqlite"
    damaged.write_bytes(b"not a database" * 100)
    with pytest.raises(ModelError, match=r"calls.sqlite cannot be used .*GRADBOOK_CACHE, or connect with cache=False"):
        CallCache(damaged)
    with pytest.raises(ModelError, match="cannot be used"):
        CallCache(damaged / "below" / "calls.sqlite")


def test_a_reply_that_cannot_be_cached_is_not_lost(stub, remote, monkeypatch):
    def full(self, key, value):
        raise ModelError("The disk is full.")

    monkeypatch.setattr(CallCache, "put", full)
    with pytest.warns(RuntimeWarning, match="not cached. The disk is full"):
        assert remote().ask("a").startswith("reply")


WRITER = """
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from gradbook.models.cache import CallCache
cache = CallCache(sys.argv[1])
for i in range(200):
    cache.put(f"shared {i}", {"text": str(i)})
    cache.put(f"{sys.argv[2]} {i}", {"text": sys.argv[2]})
assert cache.get("shared 199") == {"text": "199"}
"""


def test_several_processes_write_at_once(tmp_path):
    path = str(tmp_path / "calls.sqlite")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, str(n)], stderr=subprocess.PIPE, text=True) for n in range(2)]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    cache = CallCache(path)
    assert all(cache.get(f"{n} {i}") == {"text": str(n)} for n in range(2) for i in range(200))


def test_a_new_file_may_be_made_by_several_at_once(tmp_path):
    for n in range(60):
        start = threading.Barrier(6)

        def make(place, start=start):
            start.wait()
            CallCache(place).put("a", {"text": "b"})

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(make, [tmp_path / f"{n}.sqlite"] * 6))


def test_keys_differ_by_content_and_not_by_order(remote):
    first, other = remote(sampling={"a": 1, "b": 2}), remote(sampling={"b": 2, "a": 1})
    keys = {call.key for call in together(first.complete(user("é")), other.complete(user("é")))}
    assert len(keys) == 1
