"""Ten thousand trials of ten steps: they load and give their verdicts, in a process of its own: `python test_study_size.py FOLDER`."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import gradbook as gb
from gradbook.models.spec import ModelSpec
from gradbook.studies.trial import Answered, Point, Result
from small import small_task

STEPS, EXAMPLES, SIZES = 10, 120, (1000, 10_000)
ARMS = {
    "three-stage": gb.Method(selection="naive"),
    "wrong labels": gb.Method(labels="wrong", selection="naive"),
    "one-step": gb.Method(update="one-step", selection="naive"),
    "validated": gb.Method(),
}


def write(folder: Path, trials: int) -> None:
    """The results of so many trials, in four arms; their cases are not there."""
    task = small_task(test=EXAMPLES)
    model = ModelSpec(kind="remote", name="m", identity="stub m", sampling={}, concurrency=8)
    study = gb.Study(folder, tasks=task, models=model, arms=ARMS, trials=trials // len(ARMS), steps=STEPS)
    rng = np.random.default_rng(0)
    lines = []
    for place in study.design.places():
        marks = {
            f"{end} {split}": Answered(marks="".join("10"[int(right)] for right in rng.random(len(task.split(split))) < 0.4))
            for end in ("seed", "end")
            for split in (("validation", "test") if place.arm == "validated" else ("test",))
        }
        points = tuple(Point(batch=n, right=float(rng.random()), changed=True) for n in range(1, STEPS + 1))
        result = Result(**place._asdict(), status="done", seed=0, answers=marks, points=points, calls=200, seconds=60.0)
        lines.append(result.model_dump_json(exclude_defaults=True) + "\n")
    (folder / "results.jsonl").write_text("".join(lines))  # at once: what is measured is reading


def judge(folder: Path) -> dict[str, float]:
    """Open the study, read its tables and verdicts; seconds of each and the most memory, in MB."""
    told, began = {}, time.perf_counter()
    study = gb.Study(folder)
    for name in ("trials", "points", "scores", "verdicts", "optimism"):
        table = getattr(study, name)()
        assert len(table)
        told[name], began = time.perf_counter() - began, time.perf_counter()
    return {**told, "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


@pytest.mark.alone
def test_ten_thousand_trials_give_their_verdicts(tmp_path, report):
    found = {}
    for trials in SIZES:
        write(tmp_path / str(trials), trials)
        done = subprocess.run([sys.executable, __file__, str(tmp_path / str(trials))], capture_output=True, text=True, check=True)
        found[trials] = json.loads(done.stdout)
        parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found[trials].items() if name != "MB")
        report(f"{trials:,} trials of {STEPS} steps, {EXAMPLES} examples", f"{parts}; {found[trials]['MB']:,.0f} MB at most")
    most = found[SIZES[-1]]
    assert sum(most.values()) - most["MB"] < 30 and most["MB"] < 2000


if __name__ == "__main__":
    print(json.dumps(judge(Path(sys.argv[1]))))
