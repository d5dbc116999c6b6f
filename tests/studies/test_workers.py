"""Studies whose workers, or which themselves, are killed: the table is that of one undisturbed, and nothing recorded is paid again."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pandas as pd
import pytest

import gradbook as gb
from gradbook import background
from gradbook.errors import StudyError
from small import reply, small_task
from stub import Stub
from studying import asked, connect, loud, make, recorded, table

KILLS = 5
LATENCY = 0.02
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 needs a POSIX system")]


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with Stub(reply=reply, latency=LATENCY) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pd.DataFrame:
    """The table of the study when nothing happens to it, in one process."""
    with Stub(reply=reply) as stub:
        study = make(tmp_path_factory.mktemp("whole"), stub.url)
        study.run()
        return table(study)


class Payments:
    """What may be asked again: only what was asked, and recorded nowhere, when a process was killed."""

    def __init__(self, folder: Path, stub: Stub) -> None:
        self.folder, self.stub, self.lost = folder, stub, Counter[str]()

    def killed(self) -> None:
        known = recorded(self.folder)  # now: another worker may soon ask again for what was lost, and record it
        time.sleep(0.1)  # what was in flight has come in by then, and its reply goes nowhere
        self.lost.update(asked(self.stub).keys() - known)

    def check(self) -> None:
        for key, times in asked(self.stub).items():
            assert times <= 1 + self.lost[key], "a call that was on record was paid again"


def processes(count: int = 2) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_end_with_the_same_table_and_pay_what_they_share_once(method, stub, tmp_path, undisturbed):
    study = make(tmp_path, stub.url)
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        study.run(executor=pool)
    pd.testing.assert_frame_equal(table(study), undisturbed)
    assert max(asked(stub).values()) == 1


def test_threads_and_all_at_once_give_the_same_table(stub, tmp_path, undisturbed):
    study = make(tmp_path, stub.url)
    with ThreadPoolExecutor(4) as pool:
        study.run(executor=pool, share=False)
    pd.testing.assert_frame_equal(table(study), undisturbed)


def test_failures_in_workers_are_isolated_and_retried(stub, tmp_path):
    stub.reply = lambda messages, body: 1 / (body["seed"] % 4) and reply(messages, body)
    study = make(tmp_path, stub.url, models=connect(tmp_path, stub.url, retries=0))
    with processes() as pool:
        found = study.run(executor=pool)
        assert 0 < len(study.failures()) < len(found) or set(found["status"]) == {"failed"}
        stub.reply = reply
        assert set(study.run(executor=pool)["status"]) == {"done"}


def test_a_budget_and_code_that_cannot_travel_are_told(stub, tmp_path):
    budgeted = make(tmp_path / "a", stub.url, models=connect(tmp_path, stub.url, budget=gb.Budget(calls=9)))
    with processes() as pool, pytest.raises(StudyError, match="a budget cannot be shared"):
        budgeted.run(executor=pool)
    own = make(tmp_path / "b", stub.url, tasks=replace(small_task(), parser=lambda text: text), trials=1)
    with processes(1) as pool:
        own.run(executor=pool)
    assert own.failures()["error"].str.contains("pickle").all() and len(own.failures()) == 3
    top = make(tmp_path / "c", stub.url, tasks=replace(small_task(), parser=loud), trials=1)
    with ThreadPoolExecutor(1) as pool:
        assert set(top.run(executor=pool)["status"]) == {"done"}


class Watched(Executor):
    """A pool that says which processes it has."""

    def __init__(self, pools: list["Watched"]) -> None:
        self.pool = processes()
        pools.append(self)

    def submit(self, *args, **named) -> Future:
        return self.pool.submit(*args, **named)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.pool.shutdown(wait, cancel_futures=cancel_futures)

    def pids(self) -> list[int]:
        return list(self.pool._processes or {})


def test_a_killed_process_breaks_its_pool_and_a_new_one_goes_on(stub, tmp_path, undisturbed):
    study, pools, payments = make(tmp_path, stub.url), list[Watched](), Payments(tmp_path, stub)
    running = background.submit(study.arun(executor=partial(Watched, pools)))
    for number in (1, 2):
        stub.wait_for(number * 60, timeout=120)
        victims = pools[-1].pids()
        for pid in victims:  # a broken pool ends its other workers as well
            os.kill(pid, signal.SIGKILL)
        payments.killed()
        while len(pools) == number and not running.done():
            time.sleep(0.02)
    running.result(300)
    assert len(pools) == 3
    pd.testing.assert_frame_equal(table(study), undisturbed)
    payments.check()


def test_a_broken_pool_that_was_given_is_told_and_nothing_failed(stub, tmp_path):
    class Broken(Executor):
        def submit(self, *args, **named):
            future = Future()
            future.set_exception(BrokenProcessPool("a worker died"))
            return future

    study = make(tmp_path, stub.url)
    with pytest.raises(StudyError, match="a worker was killed"):
        study.run(executor=Broken())
    with pytest.raises(StudyError, match="a worker was killed"):
        study.run(executor=Broken)
    assert study.failures().empty


def test_a_study_killed_five_times_ends_as_if_it_never_was(stub, tmp_path, undisturbed):
    random, payments, kills = Random(1), Payments(tmp_path, stub), 0
    script = [sys.executable, str(Path(__file__).parent.parent / "studying.py"), str(tmp_path), stub.url]
    while kills < KILLS:
        enough = len(stub.requests) + random.randint(1, 60)  # by requests and not by time, which a fast machine needs less of
        with subprocess.Popen(script, stderr=subprocess.DEVNULL) as worker:
            while worker.poll() is None and len(stub.requests) < enough:
                time.sleep(0.005)
            alive = worker.poll() is None
            worker.kill()
        assert alive, "it was done before it was killed, and the study is too short"
        payments.killed()
        kills += 1
    done = (tmp_path / "study" / "results.jsonl").read_bytes().count(b"\n")
    subprocess.run(script, check=True, capture_output=True)
    study = gb.Study(tmp_path / "study")
    pd.testing.assert_frame_equal(table(study), undisturbed)
    payments.check()
    told = f"{len(stub.requests)} requests, {kills} kills, {payments.lost.total()} calls under way"
    print(f"{told}; {done} of {len(undisturbed)} trials were done at the last")


@pytest.mark.bridges
def test_dask_with_a_worker_killed_twice(stub, tmp_path, undisturbed, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="no Dask: pip install gradbook[dask]")
    study, payments, killed = make(tmp_path, stub.url), Payments(tmp_path, stub), set[int]()
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)) as cluster,
        distributed.Client(cluster) as client,
    ):
        running = background.submit(study.arun(executor=client.get_executor()))
        for number in (1, 2):
            stub.wait_for(number * 60, timeout=120)
            pid = next(pid for pid in client.run(os.getpid).values() if pid not in killed)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
            payments.killed()
        running.result(300)
    assert len(killed) == 2
    pd.testing.assert_frame_equal(table(study), undisturbed)
    payments.check()
