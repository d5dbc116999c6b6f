"""What is kept of answers in memory: nothing that grows with them, whether they are scored, judged by a critic, or opened and read.

Each runs in a process of its own, which says the most memory that it had after each round; `python test_memory.py WHAT FOLDER URL`.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import gradbook as gb
from small import small_task

EXAMPLES, ROUNDS = 1000, 10
EARLY = 6  # after so many rounds all is there that is kept for the next: threads, connections, sets of outputs
METHOD = gb.Method(selection="naive", candidates=1, batch_size=1)


def scored(folder: Path, url: str, method: gb.Method = METHOD) -> Iterator[int]:
    """Score a new prompt each round, and with a critic its verdicts on the outputs; the answers of each."""
    model = gb.connect("stub", base_url=url, api_key="k", concurrency=32, cache=folder / "calls.sqlite")
    case = gb.Case(folder / "case", task=small_task(3, EXAMPLES, 3), model=model, method=method)
    case.step()
    for number in range(ROUNDS):
        step = case.perturb(1, gb.edits.replace("candidate", candidate=0, text=f"Answer K{number}."))
        asked = ["prompt", "critic"] if method.critic else ["prompt"]
        yield sum(case.score(step, variable=variable).accuracy.total for variable in asked)


def judged(folder: Path, url: str) -> Iterator[int]:
    """As `scored`, with a critic."""
    return scored(folder, url, METHOD.model_copy(update={"evaluation": "critic-binary"}))


def read(folder: Path, _: str) -> Iterator[int]:
    """Open what `scored` has recorded and read it, again and again."""
    for _ in range(ROUNDS):
        case = gb.Recording(folder / "case")
        table = case.scores()
        assert all(case.metrics(step) for step in list(case)[2:]) and case.spent.calls
        yield table["n"].sum()


def peak() -> float:
    """The most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def measured(what: str, folder: Path, url: str) -> tuple[float, float]:
    """MB of growth per 10,000 answers, and the most that was used."""
    said = subprocess.run([sys.executable, __file__, what, str(folder), url], stdout=subprocess.PIPE, text=True, check=True)
    answers, peaks = zip(*json.loads(said.stdout), strict=True)
    return (peaks[-1] - peaks[EARLY - 1]) / sum(answers[EARLY:]) * 10_000, peaks[-1]


def test_memory_stays_flat(serve, tmp_path, report):
    url = serve(0.0).url
    for what, folder, told in (("scored", "a", "scored"), ("judged", "b", "scored and judged"), ("read", "a", "opened and read")):
        (tmp_path / folder).mkdir(exist_ok=True)
        growth, most = measured(what, tmp_path / folder, url)
        report(f"memory for 10,000 more answers that are {told}", f"{growth:5.2f} MB ({most:.0f} MB at most)")
        assert growth < 1, "2,000 answers alone take some 3 MB"


if __name__ == "__main__":
    what, folder, url = sys.argv[1:]
    print(json.dumps([(int(answers), peak()) for answers in globals()[what](Path(folder), url)]))
