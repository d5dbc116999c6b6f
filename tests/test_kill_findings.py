"""A finding that is killed at any call of its own goes on from what is on record: no call twice, and the same answer in the end."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import gradbook as gb
from small import reply, small_task
from stub import Stub
from test_record import connect

RULE = "red means K1. green means K2. blue means K3."
PROMPT = "Give each item its code.\n\n- red means K1.\n- green means K2.\n- Be polite."
ASKED = {
    "effect": "case.compare(1, 2, 'test', replicates=3)",
    "until": "case.compare(1, 2, 'test', until='decided', replicates=4)",
    "noise": "case.noise(1, split='test', critiques=2)",
    "trace": f"case.trace(1, {RULE!r}, split='test', replicates=2)",
    "ablate": "case.ablate(2, split='test', replicates=2)",
    "prevalence": "case.prevalence(2, split='test')",
    "sign": "gb.probes.sign(case, 1, split='test', replicates=2)",
    "step_size": "gb.probes.step_size(case, 1, split='test', replicates=2)",
    "additivity": "gb.probes.additivity(case, 1, split='test', replicates=2)",
    "locality": "gb.probes.locality(case, 1, reworded=4, others=2, examples=2)",
    "batch_noise": "gb.probes.noise(case, 1, sizes=(1, 3), split='test', replicates=4)",
    "negate": "case.perturb(1, *(gb.edits.negate('prompt_critique', example=n) for n in range(3)))",
}
SCRIPT = """import sys, gradbook as gb
folder, url, asked = sys.argv[1:]
case = gb.Case(folder, model=gb.connect("small", base_url=url, api_key="k", retries=0, concurrency=2, cache=False))
eval(asked)
"""
KILLS = 5


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A step and a branch of it, from which every finding starts."""
    folder = tmp_path_factory.mktemp("whole") / "case"
    with Stub(reply=reply) as stub:
        made = gb.Case(folder, task=small_task(), model=connect(stub, cache=False), method=gb.Method(selection="naive"))
        made.perturb(made.step(), gb.edits.replace("candidate", candidate=0, text=PROMPT))
        made.close()
    return made


def ask(folder: Path, stub: Stub, asked: str, kill_at: int | None = None) -> None:
    """Ask in a process of its own; it is killed when so many calls have been asked for."""
    stub.requests.clear()
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    worker = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), stub.url, asked], stderr=subprocess.PIPE, env=environment)
    if kill_at is not None:
        stub.wait_for(kill_at, timeout=60)
        worker.send_signal(signal.SIGKILL)
    said = worker.communicate(timeout=120)[1]
    assert worker.returncode == (0 if kill_at is None else -signal.SIGKILL), said.decode()[-2000:]


def events(folder: Path) -> list[str]:
    """What is on record without times, in an order that does not depend on which call ended first."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return sorted(json.dumps({k: v for k, v in line.items() if k not in ("time", "seconds")}, sort_keys=True) for line in lines)


@pytest.mark.parametrize("kind", ASKED)
def test_a_finding_survives_being_killed_at_any_call(kind, case, tmp_path):
    whole = case.copy(tmp_path / "whole")
    with Stub(reply=reply, latency=0.01) as stub:
        ask(whole, stub, ASKED[kind])
        bodies = [json.dumps(request.body, sort_keys=True) for request in stub.requests]
        calls = len(bodies)
        expected = gb.Recording(whole)
        once = Counter(bodies)
        for kill in sorted({max(1, round(calls * (n + 0.5) / KILLS)) for n in range(KILLS)}):
            folder = case.copy(tmp_path / f"killed at {kill}")
            ask(folder, stub, ASKED[kind], kill_at=kill)
            before = Counter(json.dumps(request.body, sort_keys=True) for request in stub.requests)
            kept = gb.Recording(folder).spent.calls - case.spent.calls
            ask(folder, stub, ASKED[kind])
            after = Counter(json.dumps(request.body, sort_keys=True) for request in stub.requests)
            assert after.total() == calls - kept, "what had finished is not asked for again"
            assert set(before) | set(after) == set(once) and before.total() - kept <= 2, "only what was under way is asked again"
            found = gb.Recording(folder)
            assert [f.sentence for f in found.found.values()] == [f.sentence for f in expected.found.values()]
            assert [f.result for f in found.found.values()] == [f.result for f in expected.found.values()]
            assert Counter(s.replicate_of for s in found) == Counter(s.replicate_of for s in expected)
