"""What a long case costs: to open, and to add a step to. Its journal is written event by event from one real step, not run."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gradbook as gb
from gradbook import files, settings
from gradbook.events import Scored, StageDone
from gradbook.files import Folder
from gradbook.journal import Journal
from small import small_task

VALIDATION = 10
SAMPLES = 7
OPEN = """
import json, sys, time
began = time.perf_counter()
import gradbook as gb
imported = time.perf_counter()
case = gb.Case(sys.argv[1])
print(json.dumps([imported - began, time.perf_counter() - imported, len(case)]))
"""


@pytest.fixture
def long_case(serve: Callable[[float], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], gb.Case]:
    """Make a case of so many steps; each has the records of a real one, the calls of its stages and three scores of its own."""
    model = serve(0.0).model(tmp_path, 16)

    def make(steps: int) -> gb.Case:
        path = tmp_path / str(steps)
        options = {"task": small_task(validation=VALIDATION), "model": model, "method": gb.Method(candidates=2)}
        case = gb.Case(path, **options)
        case.step()
        case.close()
        with monkeypatch.context() as quick:  # thousands of lines that need not survive a power cut
            quick.setattr(files.os, "fsync", lambda _: None)
            lengthen(path, steps)
        return gb.Case(path, **options)

    return make


def lengthen(path: Path, steps: int) -> None:
    """Repeat step 1 and its calls until the case has so many steps."""
    folder = Folder(path)
    written = Journal(folder, lambda: settings.read(folder))
    assert written.take()
    first, scores = written.state.steps[1], [entry.score for entry in written.state.scores.values()]
    log = path / "calls.jsonl"
    lines = log.read_bytes().splitlines()
    for number in range(2, steps + 1):
        step = {"id": number, "parent": number - 1, "depth": number} | dict.fromkeys(first.stages)
        written.begin(lambda _, step=step: first.model_copy(update=step))
        for stage in first.stages:
            written.append(StageDone(step=number, stage=stage, seconds=0.1, **{stage: getattr(first, stage)}))
        for index, score in enumerate(scores):
            question = score.question.model_copy(update={"prompt": f"{number:032}{index:032}"})
            written.append(Scored(score=score.model_copy(update={"question": question}), seconds=0.1))
    written.close()
    with log.open("ab") as file:
        for number in range(2, steps + 1):
            file.writelines(line.replace(b'"for": ["step", 1', b'"for": ["step", %d' % number) + b"\n" for line in lines)


def test_opening_a_case_of_100_steps(long_case, report):
    case = long_case(100)
    case.close()
    runs = [opened(case.path) for _ in range(3)]
    imported, opening = (statistics.median(run[n] for run in runs) for n in (0, 1))
    size = (case.path / "journal.jsonl").stat().st_size / 1e6
    report("open a recorded case of 100 steps", f"{opening:5.2f} s ({size:.1f} MB of journal), after import gradbook in {imported:.2f} s")
    assert runs[0][2] == 101


def opened(path: Path) -> list[Any]:
    """Seconds to import and to open in a fresh process, and how many steps were found."""
    said = subprocess.run([sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=True)
    return json.loads(said.stdout)


def test_one_more_step_at_1000(long_case, report):
    case = long_case(1000)
    log = (case.path / "calls.jsonl").read_bytes()
    size = f"{len(log.splitlines()):,} calls, {len(log) / 1e6:.0f} MB in calls.jsonl"
    later, first_later = steps_from(case)
    early, first_early = steps_from(long_case(1))
    report("one more step at 1,000 against step 1", f"{later / early:5.2f} × ({later:.3f} s and {early:.3f} s, median of {SAMPLES})")
    report("the first step after opening, at 1,000 and at 1", f"{first_later:5.2f} s ({size}) and {first_early:.2f} s")


def steps_from(case: gb.Case) -> tuple[float, float]:
    """The median seconds of a further step, all calls new on a stub without latency, and those of the first after opening."""
    seconds = []
    for _ in range(1 + SAMPLES):
        began, length = time.perf_counter(), len(case)
        case.step()
        seconds.append(time.perf_counter() - began)
        assert len(case) == length + 1
    case.close()
    return statistics.median(seconds[1:]), seconds[0]
