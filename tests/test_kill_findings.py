"""A finding that is killed at any call of its own goes on from what is on record: no call twice, and the same answer in the end."""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradbook as gb
from small import reply, small_task
from stub import Stub
from test_kill import Workers, serve
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
}
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


def work(folder: Path, url: str, asked: str) -> None:
    """Open the case and ask, as the script of a user would."""
    case = gb.Case(
        folder / "case", model=gb.connect("small", base_url=url, api_key="k", retries=0, concurrency=2, cache=folder / "calls.sqlite")
    )
    eval(asked, {"case": case, "gb": gb})
    case.close()


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    running = Workers(__file__)
    yield running
    running.close()


def ask(workers: Workers, folder: Path, stub: Stub, asked: str, kill_at: int | None = None) -> None:
    """Ask in a process of its own; it is killed when so many calls have been asked for."""
    stub.requests.clear()
    process = workers.start(folder.parent, stub.url, asked)
    if kill_at is not None:
        stub.wait_for(kill_at, timeout=60)
        os.kill(process, signal.SIGKILL)
    assert workers.ended(120) == (0 if kill_at is None else -signal.SIGKILL), (folder.parent / "stderr.txt").read_text()[-2000:]


def asked_for(stub: Stub) -> Counter[str]:
    """What was asked for since the last worker began, by content."""
    return Counter(json.dumps(request.body, sort_keys=True) for request in stub.requests)


@pytest.mark.parametrize("kind", ASKED)
def test_a_finding_survives_being_killed_at_any_call(kind, case, workers, tmp_path):
    whole = case.copy(tmp_path / "whole" / "case")
    with Stub(reply=reply, latency=0.01) as stub:
        ask(workers, whole, stub, ASKED[kind])
        once = asked_for(stub)
        assert max(once.values()) == 1, "the same is never asked for twice"
        expected = gb.Recording(whole)
        for kill in sorted({max(1, round(len(once) * (n + 0.5) / KILLS)) for n in range(KILLS)}):
            folder = case.copy(tmp_path / f"killed at {kill}" / "case")
            ask(workers, folder, stub, ASKED[kind], kill_at=kill)
            before = asked_for(stub)
            kept = gb.Recording(folder).spent.calls - case.spent.calls
            assert before.total() - kept <= 2, "a call that finished is on record at once"
            ask(workers, folder, stub, ASKED[kind])
            after = asked_for(stub)
            assert set(before) | set(after) == set(once) and (before + after).total() - len(once) <= 2, (
                "only what was under way is asked again"
            )
            found = gb.Recording(folder)
            told = [[re.sub(r", [\d,]+ (s|min)\b", "", f.sentence) for f in each.found.values()] for each in (found, expected)]
            assert told[0] == told[1], "the same words, but for how long a call took"
            assert [f.result for f in found.found.values()] == [f.result for f in expected.found.values()]
            assert Counter(s.replicate_of for s in found) == Counter(s.replicate_of for s in expected)


if __name__ == "__main__":
    serve(work)
