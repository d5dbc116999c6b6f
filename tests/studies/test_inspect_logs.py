"""Trials as logs of Inspect: what its reader needs is there, and says what the case says."""

import json

import pytest

import gradbook as gb
from gradbook.errors import StudyError
from small import reply
from stub import Stub
from studying import ARMS, make


@pytest.fixture
def study(tmp_path):
    with Stub(reply=reply) as stub:
        study = make(tmp_path, stub.url, arms={"three-stage": ARMS["three-stage"], "critic": ARMS["critic"]}, trials=2, steps=1)
        study.run()
        yield study


def test_a_log_a_trial_says_what_the_trial_answered(study, tmp_path):
    files = study.inspect_logs(tmp_path / "logs")
    table = study.trials().set_index(["arm", "trial"])
    assert len(files) == 4 == len(set(files))
    for file in files:
        log = json.loads(file.read_text())
        row = table.loc[(log["eval"]["metadata"]["arm"], log["eval"]["metadata"]["trial"])]
        assert log["version"] == 2 and log["status"] == "success" and log["eval"]["model"] == "small"
        assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == row["test"]
        case = gb.Recording(row["path"])
        answered = {answer.example: answer for answer in case.recorded(case.question(case.current, "test", variable="prompt")).answers}
        texts = set(case.calls()["text"])
        for sample, example in zip(log["samples"], study.design.tasks["colours"].test, strict=True):
            answer = answered[sample["id"]]
            assert (sample["id"], sample["input"], sample["target"]) == (example.id, example.input, example.target)
            assert sample["scores"]["gradbook"]["value"] == ("C" if answer.correct else "I")
            assert sample["output"]["completion"] in texts and sample["messages"][-1]["content"] == sample["output"]["completion"]
            assert [message["role"] for message in sample["messages"]] == ["system", "user", "assistant"]
        used = [usage for sample in log["samples"] for usage in sample["model_usage"].values()]
        assert log["stats"]["model_usage"]["small"]["total_tokens"] == sum(usage["total_tokens"] for usage in used) > 0


def test_inspect_reads_the_logs(study, tmp_path):
    inspect_log = pytest.importorskip("inspect_ai.log", reason="no Inspect: pip install inspect-ai")
    for file in study.inspect_logs(tmp_path / "logs"):
        log = inspect_log.read_eval_log(str(file))
        assert log.status == "success" and len(log.samples) == 6


def test_a_log_that_cannot_be_written_is_said(study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot be written"):
        study.inspect_logs(tmp_path / "file" / "logs")
