"""From replay to work: a copy of a recorded case goes on with the model that the case was recorded with."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gradbook import background
from gradbook.case import Case
from gradbook.errors import GradbookError
from gradbook.models import Model, connect
from gradbook.models.registry import MODELS
from gradbook.models.weights import installed
from gradbook.recording import Recording
from gradbook.records import Role


@dataclass(frozen=True)
class Wake:
    """How a case that is only read can be perturbed: by a press where `models` are known weights, else by a line of Python.

    `fetch` is the megabytes that have to be fetched first, `copies` whether a copy is made, which the recording of somebody else needs.
    """

    models: tuple[str, ...]
    fetch: int
    copies: bool
    code: str

    @property
    def label(self) -> str:
        """What stands on the button."""
        first = f" ({self.fetch:,} MB to fetch first)" if self.fetch else ""
        return f"{'Perturb a copy' if self.copies else 'Go on'} with {' and '.join(self.models)}{first}"

    @property
    def doing(self) -> str:
        """What takes the time."""
        return f"fetching {self.fetch:,} MB" if self.fetch else "opening the model"


def wake(case: Recording) -> Wake | None:
    """How to go on with a case, by the models that played its roles; None where it can be worked on, or nothing says which they were."""
    if isinstance(case, Case) and (case.models or case.read_only):
        return None
    found = {facts["name"]: facts["kind"] for facts in _roles(case).values()}
    if not found:
        return None
    copies = not isinstance(case, Case)
    if any(name not in MODELS or kind != "embedded" for name, kind in found.items()):
        path = f'case.copy("cases/{_free(case).name}")' if copies else json.dumps(case.path.name, ensure_ascii=False)
        return Wake((), 0, copies, f"gb.Case({path}, model=gb.connect({json.dumps(next(iter(found)), ensure_ascii=False)}))")
    missing = sum(MODELS[name].size for name in found if not installed(name))
    return Wake(tuple(found), round(missing / 1e6), copies, "")


async def awoken(case: Recording) -> tuple[Case, str]:
    """The case that goes on, and a sentence on it. Stopped while weights are fetched, none is made; while it opens, it is closed.

    Raises:
        GradbookError: as `models` and `woken`.
    """
    played = await asyncio.to_thread(models, case)
    made = await background.opened(lambda: woken(case, played))
    return made, said(made, case)


def models(case: Recording) -> dict[Role, Model]:
    """The models of a case, by the roles that they played. May fetch weights.

    Raises:
        ModelError: the weights cannot be had.
        GradbookError: the case was recorded with other models than known weights.
    """
    how = wake(case)
    if how is None or not how.models:
        raise GradbookError(f"{case.path.name} was not recorded with a model that can be fetched: open it with one of yours")
    roles = _roles(case)
    found = {facts["id"]: connect(facts["name"], sampling=facts["sampling"]) for facts in roles.values()}
    return {role: found[facts["id"]] for role, facts in roles.items()}


def woken(case: Recording, models: dict[Role, Model]) -> Case:
    """The case that goes on with `models`: itself, or a copy in `cases` of the working folder where it is a recording.

    Raises:
        CaseError: the copy cannot be written.
    """
    path = case.path if isinstance(case, Case) else case.copy(_free(case))
    task, *others = (models.get(role) for role in get_args(Role))
    return Case(path, task=case.task, model=task, **dict(zip(get_args(Role)[1:], others, strict=True)))


def said(case: Case, before: Recording) -> str:
    """A sentence on the case that goes on."""
    copy = f"This is a copy, {case.path.relative_to(Path.cwd())}; the recording stays as it is. " if case.path != before.path else ""
    return f"{copy}In Python it is the workbench's .case."


def _roles(case: Recording) -> dict[Role, dict[str, Any]]:
    """The facts of the model that played each role last."""
    found: dict[Role, dict[str, Any]] = {}
    if shown := case.shown_model():
        found["task"] = shown
    for step in case:
        for made in case.models_of(step).values():
            found |= made
    first = next(iter(found.values()), None)
    return found if "task" in found or first is None else {"task": first, **found}


def _free(case: Recording) -> Path:
    """A folder for the copy that is not there yet."""
    folder = cases()
    name = plain_name(case)
    names = (name if n == 1 else f"{name}-{n}" for n in range(1, 10_000))
    return next(folder / name for name in names if not (folder / name).exists())


def plain_name(case: Recording) -> str:
    """What a case is called elsewhere: its folder, and for a trial of a study, which is a number, its arm before it."""
    return f"{case.path.parent.name}-{case.path.name}" if case.path.name.isdecimal() else case.path.name


def cases() -> Path:
    """Where a person's own cases are."""
    here = Path.cwd()
    return here if here.name == "cases" else here / "cases"
