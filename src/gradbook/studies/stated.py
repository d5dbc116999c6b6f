"""A study as a person writes it down: a TOML file with the arguments of `gb.Study`, tasks and models by how they are made."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gradbook import tasks
from gradbook.errors import StudyError
from gradbook.loop import Method
from gradbook.models import Budget, connect
from gradbook.parse import toml
from gradbook.stats import Hypothesis
from gradbook.studies.arms import LENGTHS, Arm, grid
from gradbook.tasks import Task

_PLAIN = ("path", "seed", "trials", *LENGTHS, "margin", "alpha", "correction", "looks")


def read_file(path: str | Path) -> dict[str, Any]:
    """The arguments of `gb.Study` in a TOML file that a person wrote.

        path = "../studies/mine"            # from the file's folder; by default the file's name without its ending
        trials = 5
        steps = 10
        [tasks.lies]
        loader = "web_of_lies"              # of gb.tasks, or from_csv and the like; what follows are its arguments
        people = 3
        [models.small]                      # arguments of gb.connect; or [models.small.task], .critic, .optimizer
        name = "qwen2.5-1.5b-instruct"
        [budget]                            # of gb.Budget, for all models together
        calls = 20000
        [grid]                              # arguments of gb.studies.grid
        update = ["three-stage", "one-step"]
        [arms.long]                         # or single arms: settings of gb.Method, and trials, steps, epochs, calls
        update = "one-step"
        steps = 100
        [[hypotheses]]                      # fields of gb.stats.Hypothesis; by default what the arms can decide
        name = "the loss matters"
        arms = ["three-stage", "wrong labels"]

    Beside path, trials and steps, it may have seed, epochs, calls, margin, alpha, correction and looks, as `gb.Study` has.

    Raises:
        StudyError: the file cannot be read, or something in it is unknown; it names what.
    """
    file = Path(path).expanduser().absolute()
    try:
        stated = toml(file.read_bytes(), file)
    except OSError as error:
        raise StudyError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    tables = {name: stated.pop(name, {}) for name in ("tasks", "models", "arms", "grid", "budget")}
    hypotheses = stated.pop("hypotheses", None)
    if unknown := [name for name in stated if name not in _PLAIN]:
        raise StudyError(f"{file} has {unknown[0]!r}, which no study has; it may have {', '.join([*_PLAIN, *tables, 'hypotheses'])}")
    try:
        budget = Budget(**tables["budget"]) if tables["budget"] else None
        return stated | {
            "hypotheses": None if hypotheses is None else [Hypothesis(**table) for table in hypotheses],
            "path": file.parent / stated.get("path", file.stem),
            "tasks": {name: _task_of(file, dict(table)) for name, table in tables["tasks"].items()},
            "models": {name: _model_of(table, budget) for name, table in tables["models"].items()} or {"default": connect(budget=budget)},
            "arms": {
                **(grid(**tables["grid"]) if tables["grid"] else {}),
                **{name: _stated_arm(dict(t)) for name, t in tables["arms"].items()},
            },
        }
    except (TypeError, ValueError, AttributeError, ValidationError) as error:
        raise StudyError(f"{file}: {str(error).splitlines()[0][:200]}") from None


def _task_of(file: Path, table: dict[str, Any]) -> Task:
    name = str(table.pop("loader", ""))
    made = getattr(Task, name, None) if name.startswith("from_") else getattr(tasks, name, None) if name in tasks.__all__ else None
    if made is None or isinstance(made, type):
        raise StudyError(f"{file}: loader = {name!r} of a task should be a generator or loader of gb.tasks, or from_csv and the like")
    where = "path" if name.startswith("from_") or name in ("bbeh", "gpqa") else None
    if where in table:
        table[where] = file.parent / Path(table[where]).expanduser()
    found: Task = made(**table)
    return found


def _model_of(table: dict[str, Any], budget: Budget | None) -> Any:
    if isinstance(table.get("task"), dict):
        return {role: _model_of(each, budget) for role, each in table.items()}
    if "api_key" in table:
        raise StudyError("a key belongs into the environment, as OPENAI_API_KEY, and not into a file")
    price = {"price": tuple(table["price"])} if "price" in table else {}
    return connect(**table | price, budget=budget)


def _stated_arm(table: dict[str, Any]) -> Arm:
    own = {name: table.pop(name) for name in ("trials", *LENGTHS) if name in table}
    return Arm(method=Method(**table), **own)
