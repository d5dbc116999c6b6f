"""A small study for tests, and `python tests/studying.py FOLDER URL`, which runs it in a process that may be killed."""

import json
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pandas as pd

import gradbook as gb
from gradbook.models.cache import key_of
from gradbook.models.client import public_url
from small import small_task
from stub import Request, Stub

VARYING = ["seconds", "paid", "paid_cost", "path"]  # what a trial had to pay depends on which of two that share a call came first
ARMS = {
    "three-stage": gb.Method(selection="naive"),
    "one-step": gb.Method(update="one-step", candidates=2),
    "critic": gb.Method(evaluation="critic-binary", candidates=1),
}


def connect(folder: Path, url: str, **options) -> gb.Model:
    """The stub's model, with a call cache beside the study."""
    return gb.connect("small", base_url=url, api_key="k", cache=folder / "cache" / "calls.sqlite", **options)


def make(folder: Path, url: str, *, arms=None, trials: int = 3, steps: int | None = 2, **options) -> gb.Study:
    """A study in `folder/study`."""
    given = {"tasks": small_task(), "models": connect(folder, url), **options}
    return gb.Study(folder / "study", arms=ARMS if arms is None else arms, trials=trials, steps=steps, **given)


def table(study: gb.Study) -> pd.DataFrame:
    """What must be the same however often a study was interrupted."""
    return study.trials().drop(columns=VARYING)


def content(stub: Stub, request: Request) -> str:
    """What a request asks, as the cache's address of it."""
    sampling = {name: value for name, value in request.body.items() if name not in ("model", "messages")}
    return key_of(f"{public_url(stub.url)} {request.body['model']}", request.body["messages"], sampling, 0)


def asked(stub: Stub, since: int = 0) -> Counter[str]:
    """How often each content was asked."""
    return Counter(content(stub, request) for request in list(stub.requests)[since:])


def recorded(folder: Path) -> set[str]:
    """The keys of the calls that are written down anywhere: in the cache or in the ledger of a case."""
    found = set()
    cache = folder / "cache" / "calls.sqlite"
    if cache.exists():
        with closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as database:
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchall():
                found |= {key for (key,) in database.execute("SELECT key FROM calls")}
    for calls in folder.glob("study/**/calls.jsonl"):
        lines = calls.read_bytes().split(b"\n")[:-1]
        found |= {json.loads(line)["key"] for line in lines}
    return found


def loud(text: str) -> str | None:
    """A parser of a task's own, which travels to other processes by its name."""
    return text.strip().upper() or None


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2]).run(concurrency=2)
