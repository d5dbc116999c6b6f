"""What is kept of answers in memory: nothing that grows with them, whether they are scored, judged by a critic, or opened and read.

Each runs in a process of its own, which says the most memory that it had after each round: `python test_memory.py WHAT FOLDER [URL]`.
"""

import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import gradbook as gb
from gradbook import settings
from gradbook.events import Scored
from gradbook.files import Folder
from gradbook.journal import Journal
from gradbook.records import Answer, Step, sha256
from gradbook.scores import Question, Score
from small import small_task

EXAMPLES, ROUNDS = 1000, 16
EARLY = 9  # after so many rounds all is there that is kept for the next: threads, connections, two sets of outputs
MANY, FEW_PROMPTS, PROMPTS = 10_000, 5, 50
METHOD = gb.Method(selection="naive", candidates=1, batch_size=1)
CALL = {"model": "m", "messages": [{"role": "user", "content": "Item 7 is green."}], "sampling": {"seed": 7}, "text": "K1", "seconds": 0.1}


def scored(folder: Path, url: str, method: gb.Method = METHOD) -> Iterator[int]:
    """Score a new prompt each round, and with a critic its verdicts on the outputs; the answers of each round."""
    model = gb.connect("stub", base_url=url, api_key="k", concurrency=32, cache=folder.with_suffix(".sqlite"))
    case = gb.Case(folder, task=small_task(3, EXAMPLES, 3), model=model, method=method)
    case.step()
    for number in range(ROUNDS):
        step = case.perturb(1, gb.edits.replace("candidate", candidate=0, text=f"Answer K{number}."))
        asked = ["prompt", "critic"] if method.critic else ["prompt"]
        yield sum(case.score(step, variable=variable).accuracy.total for variable in asked)


def judged(folder: Path, url: str) -> Iterator[int]:
    """As `scored`, with a critic."""
    return scored(folder, url, METHOD.model_copy(update={"evaluation": "critic-binary"}))


def read(folder: Path) -> Iterator[int]:
    """Open a case and read its scores, metrics and what it has cost."""
    case = gb.Recording(folder)
    answers = int(case.scores()["n"].sum())
    assert all(case.metrics(step) for step in list(case)[1:]) and case.spent.calls == answers
    yield answers


def write(folder: Path, prompts: int) -> None:
    """A case of `MANY` examples and so many scored prompts, its records written and not run."""
    task = small_task(3, MANY, 3)
    gb.Case(folder, task=task).close()
    answers = tuple(Answer(example=e.id, answer=e.target, correct=True, call=64 * "0", tokens=3, length=9) for e in task.validation)
    place = Folder(folder)
    journal = Journal(place, lambda: settings.read(place))
    assert journal.take()
    with open(folder / "calls.jsonl", "w") as ledger:
        for number in range(prompts):
            step = journal.begin(lambda id: Step(id=id, parent=0, depth=1, prompt=f"Prompt {id}."))
            question = Question(prompt=sha256(step.prompt), split="validation", model="m", form=task.form)
            journal.append(Scored(score=Score(question=question, answers=answers), seconds=1.0))
            for example in task.validation:
                at = ["score", question.id, "validation", "predict", example.id, 0, 0]
                line = {"for": at, "key": f"{number}/{example.id}", "role": "task", "model": "m", "paid": True, "call": CALL}
                ledger.write(json.dumps(line) + "\n")
    journal.close()


def peak() -> float:
    """The most memory that this process ever had, in MB; the figure of `getrusage` is a parent's where that had more."""
    with contextlib.suppress(OSError):
        kilobytes = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
        return int(kilobytes) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def peaks(what: str, *args: str | Path) -> list[tuple[int, float]]:
    """The answers of each round and the peak after it, in a process of its own."""
    said = subprocess.run([sys.executable, __file__, what, *map(str, args)], stdout=subprocess.PIPE, text=True, check=True)
    return [(answers, peak) for answers, peak in json.loads(said.stdout)]


@pytest.mark.timeout(1800)  # 30,000 calls: a minute on a machine of its own
def test_memory_stays_flat_over_what_is_scored(serve, tmp_path, report):
    url = serve(0.0).url
    for what in ("scored", "judged"):
        rounds = peaks(what, tmp_path / what, url)
        growth = (rounds[-1][1] - rounds[EARLY - 1][1]) / sum(answers for answers, _ in rounds[EARLY:]) * 10_000
        report(f"memory for 10,000 more answers, {what}", f"{growth:5.2f} MB ({rounds[-1][1]:.0f} MB at most)")
        assert growth < 7, "10,000 answers take some 15 MB"


def test_memory_stays_flat_over_what_is_read(tmp_path, report):
    found = []
    for prompts in (FEW_PROMPTS, PROMPTS):
        write(tmp_path / str(prompts), prompts)
        found += peaks("read", tmp_path / str(prompts))
    growth = (found[1][1] - found[0][1]) / (found[1][0] - found[0][0]) * 10_000
    report(f"memory for 10,000 more answers, opened and read to {PROMPTS * MANY:,}", f"{growth:5.2f} MB ({found[1][1]:.0f} MB at most)")
    assert growth < 1


if __name__ == "__main__":
    what, folder, *url = sys.argv[1:]
    print(json.dumps([(answers, peak()) for answers in globals()[what](Path(folder), *url)]))
