"""How each recorded case was made is a script; run on a stub that says what the model said then, it makes the same record."""

import importlib.util
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import gradbook as gb
from stub import Stub

ROOT = Path(__file__).resolve().parent.parent / "casestudies"
NAMES = sorted(place.parent.name for place in ROOT.glob("*/journal.jsonl"))
REFERS = ("id", "parent", "origin", "replicate_of")
"""The fields of a step that name a step."""
OF_OTHERS = {"three_engines": ("textgrad", "gepa")}


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"casestudies_{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script, on_bbeh = loaded("record"), loaded("bbeh")


def said_then(case: gb.Recording) -> dict[str, dict[str, Any]]:
    """Every reply on record, by messages and seed, as an endpoint sends it; those that were cut off, too."""
    return {
        _asked(row.messages, row.sampling.get("seed")): {
            "id": "then",
            "object": "chat.completion",
            "created": 0,
            "model": row.model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": row.text}, "finish_reason": row.finish_reason}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        for row in case.calls().itertuples()
    }


def _asked(messages: Any, seed: int | None) -> str:
    return json.dumps([list(messages), seed])


def said(value: Any) -> Any:
    """A record without what depends on who was asked and when, and without what the first schema did not keep."""
    if isinstance(value, dict):
        left_out = ("call", "tokens", "length", "target", "at", "templates", "rule", "false_rule")
        return {key: said(inner) for key, inner in value.items() if key not in left_out}
    return [said(inner) for inner in value] if isinstance(value, list | tuple) else value


def shape(case: gb.Recording) -> dict[str, Any]:
    """All that a record says, but for what its notes quote, and for the order in which the arms of one finding came by their steps."""
    names = {step.id: f"{step.arm}, draw {step.replicate}" if step.finding else str(step.id) for step in case}
    assert len(set(names.values())) == len(names)
    scores = Counter(
        (q.variable, q.prompt, q.judged, q.split, q.replicate, tuple(answer.answer for answer in case.recorded(q).answers))
        for q in case.recorded_questions()
    )
    calls = Counter((line.place, _asked(line.call.messages, line.call.sampling["seed"])) for line in case._ledger.lines())
    return {
        "head": (case.title, said(case.task.settings()), case.seed, case.current.id),
        "steps": {names[step.id]: said(step.model_dump() | {to: names.get(getattr(step, to)) for to in REFERS}) for step in case},
        "methods": {names[step.id]: said(case.method_of(step).model_dump()) for step in case},
        "notes": {names[step.id]: bool(case.note(step)) for step in case},
        "scores": scores,
        "calls": Counter({(place[0], place[-4:], asked): n for (place, asked), n in calls.items()}),
    }


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.bridges] * (name in OF_OTHERS)) for name in NAMES])
def test_one_command_records_a_case_anew(name, tmp_path, monkeypatch, capsys):
    for library in OF_OTHERS.get(name, ()):
        if importlib.util.find_spec(library) is None:  # not imported here: TextGrad would make a folder of logs
            pytest.skip(f"no {library}: pip install gradbook[{library}]")
    recorded = gb.Recording(ROOT / name)
    replies, connect = said_then(recorded), gb.connect
    with Stub(reply=lambda messages, body: replies[_asked(messages, body["seed"])]) as stub:
        where, embedded = {"base_url": stub.url, "api_key": "k", "cache": False}, {"max_tokens": 512}
        monkeypatch.setattr(gb, "connect", lambda name, sampling=None: connect(name, **where, sampling=embedded | (sampling or {})))
        monkeypatch.setattr(sys, "argv", ["record.py", name, "--into", str(tmp_path / "anew")])
        script.main()
    assert "steps" in capsys.readouterr().out
    anew = gb.Recording(tmp_path / "anew")
    assert shape(anew) == shape(recorded)
    with pytest.raises(SystemExit, match="is there already"):
        script.main()


def test_each_recorded_case_has_its_command():
    assert sorted(script.CASES) == NAMES
    for name in NAMES:
        assert f"python casestudies/record.py {name}" in (ROOT / name / "README.md").read_text()


def test_the_recorded_study_is_whole_and_gives_its_verdicts(tmp_path):
    shutil.copytree(ROOT / "small_model", tmp_path / "small_model")
    before = {path: path.read_bytes() for path in (tmp_path / "small_model").rglob("*") if path.is_file()}
    study = gb.Study(tmp_path / "small_model")
    trials, verdicts = study.trials(), study.verdicts()
    assert len(trials) == 40 and set(trials["status"]) == {"done"} and study.changes() == () and study.plan().left["calls"] == 0
    assert dict(verdicts["verdict"].value_counts()) == {"cannot tell": 7, "holds": 1} and all(verdicts["reason"].str.len() > 50)
    for path in trials["path"][::7]:
        case = gb.Recording(path)
        assert case.current.done and {facts["name"] for facts in case.model_facts.values()} == {"qwen2.5-coder-0.5b"}
    assert {path: path.read_bytes() for path in (tmp_path / "small_model").rglob("*") if path.is_file()} == before, (
        "reading changes nothing"
    )
    stated = gb.studies.read_file(ROOT / "small_model.toml")
    assert gb.Study(**{**stated, "path": tmp_path / "small_model"}).design == study.design, "the file beside it states this very study"


def test_a_step_on_bbeh_is_recorded_by_one_command_and_told_without_a_word_of_it(bbeh, tmp_path, monkeypatch, capsys):
    kept = json.loads((ROOT / "bbeh" / "figures.json").read_text())
    data, connect = bbeh / f"{kept['task']['name']}.json", gb.connect
    with Stub(reply=lambda messages, body: f"It says so. Answer: {('Yes', 'No', 'Ambiguous')[body['seed'] % 3]}") as stub:
        monkeypatch.setattr(gb, "connect", lambda name: connect(name, base_url=stub.url, api_key="k", cache=False))
        monkeypatch.setattr(sys, "argv", ["bbeh.py", str(data), "--into", str(tmp_path / "anew")])
        on_bbeh.main()
    made = json.loads((tmp_path / "anew" / "figures.json").read_text())
    assert made["task"] == kept["task"] and made.keys() == kept.keys()
    for figures in (kept, made):
        draws = [row for arm in figures["test"].values() for row in arm]
        assert len(draws) == 6 and {len(row) for row in draws} == {figures["task"]["sizes"][2]}
        assert {total for shares in figures["validation"].values() for _, total in (shares["right"], shares["cut off"])} == {20}
    words = [example["input"].split() for example in json.loads(data.read_text())["examples"]]
    theirs = {" ".join(text[at : at + 5]) for text in words for at in range(len(text) - 4)}
    for path in (ROOT / "bbeh").iterdir():
        ours = path.read_text().split()
        assert not theirs & {" ".join(ours[at : at + 5]) for at in range(len(ours) - 4)}, f"{path.name} quotes the task"
    with pytest.raises(SystemExit, match="is there already"):
        on_bbeh.main()
