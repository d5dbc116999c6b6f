"""What a study is of: tasks × models × arms × trials, in Python and in the folder of the study."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from gradbook import settings
from gradbook.errors import StatsError, StudyError, TaskError
from gradbook.files import Folder
from gradbook.loop import Method
from gradbook.models import Model
from gradbook.models.cache import default_path
from gradbook.models.spec import ModelSpec
from gradbook.parse import json_line, toml
from gradbook.records import SPLITS, Example, Role, short_id
from gradbook.runner import seed_for
from gradbook.studies.arms import Arm
from gradbook.studies.questions import Registration
from gradbook.tasks import Task

NAME, EXAMPLES = "study.toml", "examples.jsonl"
SCHEMA = 1
ROLES: tuple[Role, ...] = ("task", "critic", "optimizer")
Roles = Mapping[Role, ModelSpec]


class Place(NamedTuple):
    """Which trial of a study: the names of its task, model and arm, and its number from 0."""

    task: str
    model: str
    arm: str
    trial: int


@dataclass(frozen=True)
class Design:
    """Everything that is fixed before the first call; `models` has a spec for each role."""

    tasks: Mapping[str, Task]
    models: Mapping[str, Roles]
    arms: Mapping[str, Arm]
    seed: int = 0
    registered: tuple[Registration, ...] = ()
    """What is to be decided: as it was said before the first call, and after each change of it since."""

    def __post_init__(self) -> None:
        for what in ("tasks", "models", "arms"):
            if not getattr(self, what):
                raise StudyError(f"a study needs {what}: gb.Study(path, tasks=…, models=…, arms=…, trials=…, steps=…)")

        if unlabelled := next((name for name, task in self.tasks.items() if not task.labelled), None):
            raise StudyError(f"task {unlabelled!r} has no labels, and trials are judged by scores: give a task with labels")

    def cells(self) -> Iterator[tuple[str, str, str]]:
        """The names of task, model and arm of each cell."""
        return itertools.product(self.tasks, self.models, self.arms)

    def places(self) -> list[Place]:
        """Every trial: the first ones of all cells, then the second ones, so that a study that is stopped has them all alike."""
        most = max(arm.trials or 0 for arm in self.arms.values())
        return [Place(*cell, n) for n in range(most) for cell in self.cells() if n < (self.arms[cell[2]].trials or 0)]

    def seed_of(self, trial: int) -> int:
        """The seed of a trial's case, the same in all arms, so that they share batches and what they ask alike."""
        return seed_for("study", self.seed, trial)

    @staticmethod
    def folder(place: Place) -> str:
        """The case of a trial, below the study's folder."""
        plain = re.sub(r"[^a-z0-9]+", "-", place.arm.lower()).strip("-")[:40]
        return f"trials/{plain or 'arm'}-{short_id(*place[:3])[:8]}/{place.trial}"

    def grown(self, other: "Design", path: Path) -> "Design":
        """This design with what another adds: further tasks, models, arms, and more trials; raises StudyError where it changes anything."""
        if self.seed != other.seed:
            raise StudyError(f"{path} was made with seed {self.seed}; a study keeps its seed, so make another one for seed {other.seed}")
        for what, same in (("tasks", _same_task), ("models", _same_model), ("arms", _same_arm)):
            ours, theirs = getattr(self, what), getattr(other, what)
            if changed := [name for name in ours if name in theirs and not same(ours[name], theirs[name])]:
                raise StudyError(f"{path} has another {what[:-1]} of the name {changed[0]!r}; give the new one a name of its own")
        arms = dict(other.arms)
        for name, arm in self.arms.items():
            wanted = arms.get(name, arm)
            arms[name] = wanted if (wanted.trials or 0) >= (arm.trials or 0) else arm
        order = [*self.arms, *(name for name in arms if name not in self.arms)]
        return replace(
            self,
            tasks={**other.tasks, **self.tasks},
            models={**self.models, **other.models},
            arms={name: arms[name] for name in order},
        )

    def register(self, said: Registration, begun: bool) -> "Design":
        """This design with what is said now in the place of what was, or after it where calls have been made since."""
        said.check(self.arms)
        if self.registered and self.registered[-1].id == said.id:
            return self
        before = self.registered if begun else ()
        return replace(self, registered=(*before, said.stamped()))

    # --- on disk -------------------------------------------------------------------------------------------------------

    def write(self, folder: Folder) -> None:
        """Write the settings and the examples; the settings last, since they make the folder a study."""
        folder.make()
        lines = [
            json.dumps({"task": name, "split": split, **example.model_dump()}, ensure_ascii=False)
            for name, task in self.tasks.items()
            for split in SPLITS
            for example in task.split(split)
        ]
        if any(task.private for task in self.tasks.values()):  # such data must not be published by an absent-minded commit
            folder.write(".gitignore", b"*\n")
        folder.write(EXAMPLES, "".join(f"{line}\n" for line in lines).encode())
        stated = {
            "schema": SCHEMA,
            "seed": self.seed,
            "arms": {name: arm.table() for name, arm in self.arms.items()},
            "models": {name: {role: _table(spec) for role, spec in roles.items()} for name, roles in self.models.items()},
            "tasks": {name: task.settings() for name, task in self.tasks.items()},
            "registered": [said.model_dump(mode="json", exclude_none=True) for said in self.registered],
        }
        folder.write(NAME, settings.as_toml(stated))

    @classmethod
    def read(cls, folder: Folder, known: Mapping[str, Task] | None = None) -> "Design":
        """The design in a folder; `known` tasks stand for those of their name that have code of their own.

        Raises:
            StudyError: there is none, it is damaged, or a task has a parser of its own and is not among the known.
        """
        path = folder.path / NAME
        if not folder.has(NAME):
            raise StudyError(f"{folder.path} is not a study: it holds no {NAME}; pass tasks=, models= and arms= to make one there")
        stated, examples = toml(folder.read(NAME), path), dict[tuple[str, str], list[Example]]()
        for number, line in enumerate(folder.read(EXAMPLES).splitlines(), start=1):
            row = json_line(line, folder.path / EXAMPLES, number)
            examples.setdefault((row.pop("task"), row.pop("split")), []).append(Example(**row))
        try:
            if stated["schema"] > SCHEMA:
                raise StudyError(f"{path} was written by a newer gradbook: install that")
            arms = {name: _arm_of(path, dict(table)) for name, table in stated["arms"].items()}
            models = {name: {role: _spec_of(spec) for role, spec in roles.items()} for name, roles in stated["models"].items()}
            found = dict[str, Task]()
            for name, table in stated["tasks"].items():
                splits: dict[str, Any] = {split: tuple(examples.get((name, split), ())) for split in SPLITS}
                own = (known or {}).get(name) if table.get("custom") else None
                if own and any(own.split(split) != splits[split] for split in SPLITS):
                    raise StudyError(f"{folder.path} has another task of the name {name!r}; give the new one a name of its own")
                found[name] = own or Task.from_settings(table, splits)
            return cls(found, models, arms, stated["seed"], tuple(Registration(**said) for said in stated["registered"]))
        except TaskError as error:
            raise StudyError(f"{path}: {error}") from None
        except (KeyError, TypeError, AttributeError, StatsError, ValidationError) as error:
            raise StudyError(f"{path} is damaged ({str(error).splitlines()[0][:120]}); restore it from a copy") from None


def _table(spec: ModelSpec) -> dict[str, Any]:
    """A spec without the place of the call cache, where it is the user's: that is another one on another machine."""
    table = spec.model_dump(mode="json", exclude_none=True)
    return table | {"cache": ""} if spec.cache == str(default_path().absolute()) else table


def _spec_of(table: dict[str, Any]) -> ModelSpec:
    return ModelSpec(**table | ({"cache": str(default_path().absolute())} if table.get("cache") == "" else {}))


def _arm_of(path: Path, table: dict[str, Any]) -> Arm:
    method = settings.method(path, {"method": table.pop("method")}, Method())
    return Arm(method=method, **table)


def _same_task(one: Task, other: Task) -> bool:
    stated = [json.dumps(task.settings(), sort_keys=True) for task in (one, other)]  # a file has lists where Python may have tuples
    return stated[0] == stated[1] and all(one.split(split) == other.split(split) for split in SPLITS)


def _same_model(one: Roles, other: Roles) -> bool:
    return all((one[role].identity, one[role].sampling) == (other[role].identity, other[role].sampling) for role in ROLES)


def _same_arm(one: Arm, other: Arm) -> bool:
    return one.model_copy(update={"trials": 0}) == other.model_copy(update={"trials": 0})


def named(given: Any, *kinds: type) -> dict[str, Any]:
    """One thing, several, or a mapping of names to them, by their names."""
    if isinstance(given, Mapping):
        return dict(given)
    several: list[Any] = [given] if isinstance(given, kinds) or not isinstance(given, Iterable) else list(given)
    if other := [each for each in several if not isinstance(each, kinds)]:
        raise StudyError(f"{other[0]!r:.60} is none of {', '.join(each.__name__ for each in kinds)}")
    found = {each.name: each for each in several}
    if len(found) < len(several):
        raise StudyError("two of a kind have the same name: give a mapping of names, as in {'a': …, 'b': …}")
    return found


def roles_of(given: "Model | ModelSpec | Mapping[Role, Any]") -> dict[Role, Any]:
    """What plays each role: one model for all, or one each, where a role that is left out falls to the task's."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(ROLES, given)
    if "task" not in given or given.keys() - set(ROLES):
        raise StudyError(f"the models of roles are task, critic and optimizer, and task is needed; there is {', '.join(given)}")
    return {role: given.get(role, given["task"]) for role in ROLES}
