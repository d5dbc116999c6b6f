"""Data that must not be published stays out of commits until the user says otherwise."""

import subprocess
from pathlib import Path

import pandas as pd

import gradbook as gb
from small import reply, small_task
from stub import Stub


def added(folder: Path) -> list[str]:
    """What `git add .` would commit."""
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    listed = subprocess.run(["git", "add", "--dry-run", "."], cwd=folder, check=True, capture_output=True, text=True).stdout
    return [line.split("'")[1] for line in listed.splitlines()]


def test_a_case_on_gpqa_is_not_committed_without_a_word(tmp_path):
    rows = [
        {"Question": f"Question {n}?", "Correct Answer": "yes"} | {f"Incorrect Answer {i}": f"no {i}" for i in (1, 2, 3)} for n in range(12)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "main.csv", index=False)
    repository = tmp_path / "repository"
    (repository / "cases").mkdir(parents=True)
    with Stub(reply=lambda messages, body: "Answer: A") as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k")
        method = gb.Method(selection="naive", labels="wrong")
        case = gb.Case(repository / "cases" / "gpqa", task=gb.tasks.gpqa(tmp_path / "main.csv"), model=model, method=method)
        step = case.step()
        case.export(case.path / "story.html")
        case.fork(repository / "cases" / "fork")
    letters = "ABCD"
    shown = {e.label: e.target for e in step.evaluate}
    assert all(letters[(letters.index(true) + 1) % 4] == label for label, true in shown.items()), "the next choice, as in the paper"
    assert "Question" in (case.path / "journal.jsonl").read_text() and added(repository) == []
    (case.path / ".gitignore").unlink()
    assert "cases/gpqa/journal.jsonl" in added(repository), "the user's word"


def test_a_case_on_public_data_is_committed_whole(tmp_path):
    with Stub(reply=reply) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k")
        gb.Case(tmp_path / "repository" / "open", task=small_task(), model=model).step()
    assert {"open/case.toml", "open/journal.jsonl", "open/calls.jsonl"} <= set(added(tmp_path / "repository"))
