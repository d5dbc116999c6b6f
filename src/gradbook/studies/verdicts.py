"""The verdicts of a study: each registered hypothesis, judged by the trials that are done, on each task and model for itself."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradbook import stats
from gradbook.findings import ASKS
from gradbook.journal import NAME as JOURNAL
from gradbook.plan import epoch_length
from gradbook.recording import Recording
from gradbook.studies.design import Place
from gradbook.studies.questions import FIRST_EPOCH, LAST_EPOCH, Registration, arm_of
from gradbook.studies.trial import MARKS, Result

if TYPE_CHECKING:
    from gradbook.studies.study import Study

Scores = NDArray[np.float64]
FIRST_COLUMNS = ["task", "model", "property", "arms", "n", "effect", "low", "high", "p", "corrected_p", "power", "verdict", "reason"]
_RIGHT = ord(MARKS["right"])


class Judged(NamedTuple):
    """What a study says of one property on a task and model, the arms that its hypothesis compares, and the trials that it stands on."""

    task: str
    model: str
    found: stats.Property
    arms: tuple[str, ...]
    trials: tuple[Place, ...]


def judged(study: "Study") -> list[Judged]:
    """Judge each hypothesis as it is registered, by the trials that are done."""
    said, results = study.registered, study.store.results()
    found = []
    for task, model in ((task, model) for task in study.design.tasks for model in study.design.models):
        scores = scores_of(study, task, model, results)
        rows = stats.properties(
            scores,
            said.hypotheses,
            alpha=said.alpha,
            correction=said.correction,
            until="decided" if said.looks else None,
            draws=said.arrangements,
        )
        for row in rows:
            arms = tuple(map(arm_of, row.hypothesis.arms))
            places = (Place(task, model, arm, n) for arm in set(arms) for n in range(said.trials.get(arm, 0)))
            found.append(Judged(task, model, row, arms, tuple(sorted(place for place in places if place in results))))
    return found


def scores_of(study: "Study", task: str, model: str, results: Mapping[Place, Result]) -> dict[str, Scores]:
    """Of each arm what its trials ended with on the test split, trial × example, nan where one is not done; of arms whose training is
    asked for, the share that was right in the first and the last epoch, trial × 1."""
    found = {}
    for name, arm in study.design.arms.items():
        done = [results.get(Place(task, model, name, n)) for n in range(arm.trials or 0)]
        found[name] = _table([_answers(result) for result in done], len(study.design.tasks[task].test))
        if any(name + FIRST_EPOCH in h.arms for h in study.registered.hypotheses):
            length = epoch_length(study.design.tasks[task], arm.method)
            for end, part in ((FIRST_EPOCH, slice(None, length)), (LAST_EPOCH, slice(-length, None))):
                found[name + end] = _table([_right(result, part) for result in done], 1)
    return found


def _table(rows: list[Scores | None], width: int) -> Scores:
    table = np.full((len(rows), width), np.nan)
    for number, row in enumerate(rows):
        if row is not None:
            table[number] = row
    return table


def _answers(result: Result | None) -> Scores | None:
    if result is None or not result.answers:
        return None
    return _marks(result, "end test")


def _marks(result: Result, what: str) -> Scores:
    """1 for each right answer of a prompt on a split, else 0."""
    return (np.frombuffer(result.answers[what].marks.encode(), dtype=np.uint8) == _RIGHT).astype(float)


def _right(result: Result | None, part: slice) -> Scores | None:
    shares = [] if result is None else [point.right for point in result.points if point.right is not None][part]
    return np.array([np.mean(shares)]) if shares else None


def verdicts(study: "Study") -> pd.DataFrame:
    """One row a property of a gradient, on each task and model.

    Columns: task, model, property, arms (the comparison), n (trials of each), `effect` with `low` and `high`, in shares, `p` and
    `corrected_p`, `power` for twice the margin (or the hypothesis' own size), the `verdict` (holds, does not hold, cannot tell) with its
    `reason`; then what else there is to say, as in `gradbook.stats.Property`. Probes that were run on a trial have a row each.
    """
    rows = [{"task": one.task, "model": one.model, **one.found.row()} for one in study.judged()] + list(probed(study))
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[*FIRST_COLUMNS, *(name for name in frame if name not in FIRST_COLUMNS)])


def probed(study: "Study") -> Iterator[dict[str, Any]]:
    """The probes that a person has run on trials, a row each."""
    for place, result in study.store.results().items():
        folder = study.path / study.design.folder(place)
        journal = folder / JOURNAL
        if result.status != "done" or not journal.exists():
            continue
        for kind, step, verdict, sentence in _probes(folder, journal.stat().st_size):
            where = f"Trial {place.trial}, step {step}: {sentence}"
            said = {"property": ASKS[kind].record.title.lower(), "arms": place.arm, "n": "1"}
            yield {"task": place.task, "model": place.model, **said, "verdict": verdict, "reason": where}


@lru_cache(maxsize=100_000)
def _probes(folder: Any, _size: int) -> tuple[tuple[str, int, str, str], ...]:
    """Kind, step, verdict and sentence of each; a journal is only folded where one is in it."""
    if b'"event":"finding"' not in (data := (folder / JOURNAL).read_bytes()) and b'"event": "finding"' not in data:
        return ()
    found: list[Any] = Recording(folder).findings().to_dict("records")
    kept = [row for row in found if row["kind"] in ASKS and row["verdict"] in get_args(stats.PropertyVerdict)]
    return tuple((row["kind"], row["step"], row["verdict"], row["finding"]) for row in kept)


def optimism(study: "Study") -> pd.DataFrame:
    """By how much the validation split flatters what it chose: one row an arm that validates, of those with two trials or more.

    Columns: task, model, arm, trials, `optimism` with `low`, `high` and `p`, in shares: what the end prompts gained over the seed prompt on
    the validation split, less what they gained on the untouched test split.
    """
    rows = []
    for task, model, name in study.design.cells():
        done = [r for r in study.store.results().values() if r.place[:3] == (task, model, name) and "end validation" in r.answers]
        if len(done) < 2 or not study.design.arms[name].method.validates:
            continue
        ends, seeds = (
            [np.stack([_marks(result, f"{end} {split}") for result in done]) for split in ("validation", "test")] for end in ("end", "seed")
        )
        found = stats.optimism(ends[0], ends[1], seeds)
        told = {"optimism": found.value, "low": found.low, "high": found.high, "p": found.p}
        rows.append({"task": task, "model": model, "arm": name, "trials": found.trials, **told})
    return pd.DataFrame(rows, columns=["task", "model", "arm", "trials", "optimism", "low", "high", "p"])


def changes(study: "Study") -> tuple[str, ...]:
    """What was changed after the first call: hypotheses, margins, families, trials; a sentence each, empty where nothing was."""
    said: tuple[Registration, ...] = study.design.registered
    return said[-1].since(said[0]) if len(said) > 1 else ()
