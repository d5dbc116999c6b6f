"""`case.toml`: what a case is for and how its steps are made, in a file that a person may change by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from gradbook.errors import CaseError, MethodError, TaskError
from gradbook.files import Folder
from gradbook.loop import Method
from gradbook.migrations import SCHEMA
from gradbook.parse import toml, whole
from gradbook.records import Example, SplitName
from gradbook.tasks import Task

NAME = "case.toml"
_MOST = 1 << 24  # bytes


def write(folder: Folder, title: str, task: Task, method: Method) -> None:
    """Write `case.toml` in one go."""
    folder.write(NAME, as_toml({"schema": SCHEMA, "title": title, "task": task.settings(), "method": table_of(method)}))


def table_of(method: Method) -> dict[str, Any]:
    """The settings of a method; of the templates, only those that differ from the default."""
    return method.model_dump(exclude={"templates"}) | {"templates": method.templates.model_dump(exclude_defaults=True)}


def as_toml(settings: dict[str, Any]) -> bytes:
    """Settings as a TOML file, with whole characters only, as the journal has them."""
    settings = json.loads(whole(json.dumps(settings, ensure_ascii=False)))
    escaped = tomli_w.dumps(settings)
    # written over several lines, a line break of any kind would be read as a line feed
    return (escaped if "\\r" in escaped else tomli_w.dumps(settings, multiline_strings=True)).encode()


def read(folder: Folder) -> dict[str, Any]:
    """What `case.toml` says; raises CaseError naming what is wrong with the file."""
    path = folder.path / NAME
    if not folder.has(NAME):
        raise CaseError(f"{path} is missing; restore it from a copy of the case")
    settings = toml(folder.read(NAME, _MOST), path)
    if not isinstance(settings.get("title"), str) or not isinstance(settings.get("task"), dict):
        raise CaseError(f"{path} needs a title and a [task] table; restore it from a copy")
    if not isinstance(settings.get("method", {}), dict):
        raise CaseError(f"{path}: method should be a [method] table; mend it or restore it from a copy")
    return settings


def task(path: Path, settings: dict[str, Any], examples: Mapping[SplitName, tuple[Example, ...]]) -> Task:
    """The task that the settings describe, with its recorded examples; `path` is the file that they are from."""
    try:
        return Task.from_settings(settings, {split: examples[split] for split in examples})
    except TaskError as error:
        raise CaseError(f"{path}: {error}") from None


def method(path: Path, settings: dict[str, Any], recorded: Method) -> Method:
    """The method that the settings state; templates that they do not name are as recorded."""
    stated = dict(settings.get("method", {}))
    own = stated.pop("templates", {})
    if not isinstance(own, dict):
        raise CaseError(f"{path}, [method]: templates should be a table of meta-prompts")
    try:
        return Method(**stated, templates=recorded.templates.model_dump() | own)
    except MethodError as error:
        raise CaseError(f"{path}, [method]: {error}") from None
