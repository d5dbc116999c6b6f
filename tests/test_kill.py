"""kill -9 at 50 random moments of a run: nothing finished is lost or paid again, and the case ends as if it had never been killed.

`python tests/test_kill.py` is the process that is killed. It imports gradbook once and forks a worker for each folder it reads from
its input, so that a life costs milliseconds; it has a single thread when it forks.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import gradbook as gb
from gradbook.models.cache import key_of
from gradbook.models.client import public_url
from gradbook.records import STAGES
from small import reply, small_task
from stub import Request, Stub

KILLS = 200
LATENCY = 0.004
CONCURRENCY = 4  # so many replies at most are under way at a kill, and only those may be paid again
GOOD = "red means K1. green means K2. blue means K3."
VARYING = {"time", "seconds"}
BOILERPLATE = {"model", "messages"}

Ran = tuple[Any, ...]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 of forked workers needs a POSIX system"),
]


def work(folder: Path, url: str) -> None:
    """The script of a user who expects to be killed: open or make the case, and go on from what it holds."""
    model = gb.connect("small", base_url=url, api_key="k", concurrency=CONCURRENCY, cache=folder / "cache" / "calls.sqlite")
    method = gb.Method(candidates=2, evaluation="critic-binary")
    case = gb.Case(folder / "case", task=small_task(), model=model, method=method, seed=3)
    while len(case) < 3 or not case.current.done:
        case.step()
    if len(case) < 4:
        said = gb.edits.replace("prompt_critique", example=1, text=GOOD, why="all rules at once")
        case.perturb(1, said, gb.edits.paraphrase("prompt_critique", example=0), gb.edits.paraphrase("prompt_critique", example=2))
    while not case.current.done:
        case.step()
    case.write_note(3, "what if a critique knew *every* rule?")
    case.compare(1, 3, "test", replicates=2)
    case.close()


def serve(work: Callable[..., None]) -> None:
    """Fork a worker for each `[folder, url]` that is read, and say its process id and how it ended."""
    import openai.resources.chat  # noqa: F401  which a worker would import at its first call

    print(0, flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            folder, *more = json.loads(line)
            with contextlib.redirect_stderr(open(Path(folder) / "stderr.txt", "a")):
                work(Path(folder), *more)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


class Workers:
    """The process that forks workers, and the one worker that runs."""

    def __init__(self, script: str = __file__) -> None:
        # a library of linear algebra would start threads, and forking those is not what a killed script looks like
        alone = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._zygote = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=alone)
        assert self._line() == 0, "it did not start"

    def start(self, folder: Path, url: str, *more: str) -> int:
        """Start a worker and return its process id."""
        self._zygote.stdin.write(json.dumps([str(folder), url, *more]).encode() + b"\n")
        return self._line()

    def ended(self, within: float) -> int | None:
        """How the worker ended, or None where it still runs after so many seconds."""
        ready, _, _ = select.select([self._zygote.stdout], [], [], within)
        return self._line() if ready else None

    def close(self) -> None:
        self._zygote.stdin.close()
        self._zygote.wait(30)
        self._zygote.stdout.close()

    def _line(self) -> int:
        return int(self._zygote.stdout.readline())


@pytest.fixture
def workers() -> Iterator[Workers]:
    running = Workers()
    yield running
    running.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(reply=reply, latency=LATENCY) as running:
        yield running


class Run:
    """One folder in which a case is made, and what was seen there at each kill.

    A call's key is known from what the stub was asked: the cache's address of it. `needs` says which stages must be on record
    before a call may be asked for, as `stages_before` reads them off an uninterrupted run.
    """

    def __init__(self, folder: Path, stub: Stub, needs: dict[str, set[Ran]]) -> None:
        folder.mkdir()
        self.folder, self.stub, self.needs = folder, stub, needs
        self.files = [folder / "case" / name for name in ("journal.jsonl", "calls.jsonl")]
        self.whole = dict.fromkeys(self.files, b"")
        self.stored: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self._seen = len(stub.requests)

    def after_a_life(self, killed: bool) -> None:
        """Check what must hold whenever the worker has died."""
        asked = [address(self.stub, request) for request in self.stub.requests[self._seen :]]
        self._seen += len(asked)
        self.asked.update(asked)
        assert not self.stored.intersection(asked), "a call that had finished was paid again"
        for file in self.files:
            self._kept(file)
        keys = in_cache(self.folder) | {line["key"] for line in self.lines(1)}
        stored = {each for each in self.asked if not keys.isdisjoint(self.keys(each))}
        assert self.stored <= stored, "cache and ledger lost a reply"
        self.stored = stored
        unfinished = set(asked) - stored
        assert len(unfinished) <= (CONCURRENCY if killed else 0), "more replies were lost than were under way"
        self.in_flight.update(unfinished)
        finished = set(map(ran, self.lines(0)))
        assert all(self.needs.get(key, set()) <= finished for key in asked), "a stage that had finished was not on record"
        self._reads()

    def keys(self, address: str) -> set[str]:
        """What a call with this content may be filed under: the stub is not told which replicate it answers."""
        return {key_of(*json.loads(address), replicate) for replicate in range(3)}

    def lines(self, file: int) -> list[dict[str, Any]]:
        """The whole lines of the journal (0) or of the log of calls (1)."""
        return [json.loads(line) for line in self.whole[self.files[file]].splitlines()]

    def _kept(self, file: Path) -> None:
        data = file.read_bytes() if file.exists() else b""
        assert data.startswith(self.whole[file]), f"{file.name} lost a whole line"
        self.whole[file] = data[: data.rfind(b"\n") + 1]

    def _reads(self) -> None:
        if self.files[0].exists():
            case = gb.Recording(self.folder / "case")
            case.steps(), case.calls()

    def finished(self) -> tuple[list[Any], list[Any]]:
        """Check the finished case, and give its events and its calls without what depends on time."""
        for key, times in self.asked.items():
            assert times <= 1 + self.in_flight[key], "a call was paid again that no kill can have interrupted"
        events, calls = self.lines(0), self.lines(1)
        for count in (Counter(filter(None, map(ran, events))), Counter(json.dumps([c["for"], c["key"]]) for c in calls)):
            assert max(count.values()) == 1, "a stage, a score or a call is on record twice"
        paid = [line["key"] for line in calls if line["paid"]]
        asked = {key for each in self.asked for key in self.keys(each)}
        assert len(set(paid)) == len(paid) and set(paid) <= asked, "the ledger names a call that was paid twice, or never asked for"
        return sorted(map(without_time, events)), sorted(map(call, calls))


def address(stub: Stub, request: Request) -> str:
    """The content of a request, as the cache has it."""
    sampling = {name: value for name, value in request.body.items() if name not in BOILERPLATE}
    return json.dumps([f"{public_url(stub.url)} {request.body['model']}", request.body["messages"], sampling], sort_keys=True)


def in_cache(folder: Path) -> set[str]:
    """The keys in a copy of the cache: the next worker is to mend the cache itself, not to find it mended."""
    if not (folder / "cache" / "calls.sqlite").exists():
        return set()
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "cache", copy)
    with contextlib.closing(sqlite3.connect(copy / "calls.sqlite")) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        return {key for (key,) in database.execute("SELECT key FROM calls")} if "calls" in tables else set()


def stages_before(run: Run) -> dict[str, set[Ran]]:
    """For the key of each call that a step made, the stages of the same step that had to be on record before."""
    stages = [place for place in map(ran, run.lines(0)) if place and place[1] in STAGES]
    places = {line["key"]: tuple(line["for"][1:3]) for line in reversed(run.lines(1)) if line["for"][0] == "step"}
    before = {key: {s for s in stages[: stages.index(place)] if s[0] == place[0]} for key, place in places.items()}
    return {each: before[key] for each in run.asked for key in run.keys(each) & before.keys()}


def ran(event: dict[str, Any]) -> Ran | None:
    """What must be on record once: a step's stage, or a prompt's score."""
    match event["event"]:
        case "stage":
            return event["step"], event["stage"]
        case "score":
            return "score", json.dumps(event["score"]["question"], sort_keys=True)
    return None


def without_time(event: dict[str, Any]) -> str:
    """An event as text, without what depends on time; events of work that runs at the same time come in any order."""
    kept = {name: value for name, value in event.items() if name not in VARYING}
    if event["event"] == "finding":  # its sentence tells what more draws would take, in time too
        kept["sentence"] = re.sub(r", [\d.]+ (s|min)\.$", "", kept["sentence"])
    if event["event"] == "step":
        edits = [{name: value for name, value in edit.items() if name != "at"} for edit in kept["step"]["edits"]]
        kept["step"] = kept["step"] | {"edits": edits}
    return json.dumps(kept, sort_keys=True)


def call(line: dict[str, Any]) -> str:
    """A logged call without the seconds it took and whether it was read back from the cache."""
    kept = {name: value for name, value in line["call"].items() if name != "seconds"}
    return json.dumps({**line, "paid": None, "call": kept}, sort_keys=True)


def test_killing_the_process_loses_nothing_finished_and_changes_nothing(workers, stub, tmp_path):
    whole = Run(tmp_path / "whole", stub, {})
    seconds = one_life(whole, workers, stub)
    wanted, needs = whole.finished(), stages_before(whole)
    assert max(whole.asked.values()) == 1 and len(wanted[1]) == len(whole.asked)

    random, lengths, lost, runs = Random(0), [], 0, 0
    while len(lengths) < KILLS:
        run, lives = Run(tmp_path / str(runs), stub, needs), 0
        while kill(run, workers, stub, seconds * moment(random, opening=runs % 2 == lives)):
            run.after_a_life(killed=True)
            lengths.append(len(run.lines(0)))
            lives += 1
        run.after_a_life(killed=False)
        assert run.finished() == wanted
        lost += run.in_flight.total()
        runs += 1
    print(f"{len(lengths)} kills in {runs} runs of {seconds:.2f} s, {lost} calls under way; journal lines at a kill: {sorted(lengths)}")
    assert 0 in lengths and len(set(lengths)) >= 8, "the kills were not spread over the run"


def moment(random: Random, opening: bool) -> float:
    """A random share of the whole run, or of its first tenth, in which a case is made or opened."""
    return random.random() * (0.1 if opening else 1)


def one_life(run: Run, workers: Workers, stub: Stub) -> float:
    """Run to the end and return the seconds it took."""
    began = time.monotonic()
    workers.start(run.folder, stub.url)
    check_end(run, workers.ended(60))
    run.after_a_life(killed=False)
    return time.monotonic() - began


def kill(run: Run, workers: Workers, stub: Stub, after: float) -> bool:
    """Start the worker and kill it after so many seconds; whether it was still at work."""
    worker = workers.start(run.folder, stub.url)
    ended = workers.ended(after)
    if ended is None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended just now
            os.kill(worker, signal.SIGKILL)
        ended = workers.ended(60)
    if ended != -signal.SIGKILL:
        check_end(run, ended)
    return ended == -signal.SIGKILL


def check_end(run: Run, ended: int | None) -> None:
    assert ended == 0, (run.folder / "stderr.txt").read_text()


if __name__ == "__main__":
    serve(work)
