"""`case.toml`: what a case is for and how its steps are made, in a file that a person may change by hand."""

import os
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from gradbook.errors import CaseError, MethodError, TaskError
from gradbook.journal import SCHEMA
from gradbook.loop import Method
from gradbook.records import Example
from gradbook.tasks import Task


def write(folder: Path, title: str, task: Task, method: Method) -> None:
    """Write `case.toml` in one go; of the templates, only those that differ from the default."""
    stated = method.model_dump(exclude={"templates"}) | {"templates": method.templates.model_dump(exclude_defaults=True)}
    settings = {"schema": SCHEMA, "title": title, "task": task.settings(), "method": stated}
    draft = folder / "case.toml.new"
    draft.write_text(tomli_w.dumps(settings, multiline_strings=True), encoding="utf-8")
    os.replace(draft, folder / "case.toml")


def read(folder: Path) -> dict[str, Any]:
    """What `case.toml` says; raises CaseError naming what is wrong with the file."""
    path = folder / "case.toml"
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaseError(f"{path} is missing; restore it from a copy of the case") from None
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{path} is not valid TOML ({error}); mend it or restore it from a copy") from None
    if not {"title", "task"} <= settings.keys():
        raise CaseError(f"{path} needs a title and a [task] table; restore it from a copy")
    return settings


def task(folder: Path, settings: dict[str, Any], examples: dict[str, tuple[Example, ...]]) -> Task:
    """The task that the settings describe, with its recorded examples."""
    try:
        return Task.from_settings(settings["task"], examples)
    except TaskError as error:
        raise CaseError(f"{folder / 'case.toml'}: {error}") from None


def method(folder: Path, settings: dict[str, Any], recorded: Method) -> Method:
    """The method that the settings state; templates that they do not name are as recorded."""
    stated = dict(settings.get("method", {}))
    templates = recorded.templates.model_dump() | stated.pop("templates", {})
    try:
        return Method(**stated, templates=templates)
    except MethodError as error:
        raise CaseError(f"{folder / 'case.toml'}, [method]: {error}") from None
