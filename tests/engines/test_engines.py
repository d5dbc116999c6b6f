"""Whose code runs the stages: what holds without the library of any engine."""

import sys

import pytest

import gradbook as gb
from gradbook.engines import evaluation_text, missing, stage_function
from gradbook.engines import textgrad as engine
from gradbook.errors import MethodError
from gradbook.loop import stages
from gradbook.records import STAGES, Prediction
from stub import Stub
from textgrad_small import connect, task, theirs


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_its_function_and_asking_for_it_imports_no_library(stage):
    before = set(sys.modules)
    assert stage_function("native", stage) is getattr(stages, stage)
    assert stage_function("textgrad", stage) is getattr(engine, stage)
    assert not {"textgrad", "litellm"} & (set(sys.modules) - before)


def test_a_missing_library_is_one_sentence_that_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "textgrad", None)
    monkeypatch.delitem(sys.modules, "gradbook.engines.textgrad_graph", raising=False)
    monkeypatch.setattr(engine, "_loaded", [])
    with Stub(reply=theirs) as stub:
        mine = gb.Case(tmp_path / "case", task=task(), model=connect(stub), method=gb.presets.textgrad())
        with pytest.raises(MethodError, match=r'pip install "gradbook\[textgrad\]"') as caught:
            mine.step()
        assert "\n" not in str(caught.value) and not stub.requests
    with pytest.raises(MethodError, match=r'pip install "gradbook\[textgrad\]"'), gb.record(tmp_path / "theirs", task=task()):
        pytest.fail("the loop ran")
    assert not (tmp_path / "theirs").exists()


def test_a_library_that_is_there_in_part_is_told_apart_from_one_that_is_not():
    said = str(missing("textgrad", ImportError("cannot import name 'x' from 'litellm'", name="litellm")))
    assert "cannot import name" in said and 'pip install "gradbook[textgrad]"' in said


@pytest.mark.parametrize(
    ("settings", "label", "right", "said"),
    [
        ({}, "K1", True, "The answer K1 is right."),
        ({"engine": "textgrad"}, "K1", True, "1"),
        ({"engine": "textgrad"}, "K2", False, "0"),
        ({"engine": "textgrad"}, None, False, "No evaluation is given."),
    ],
)
def test_the_evaluation_is_said_as_the_engine_says_it(settings, label, right, said):
    prediction = Prediction(example="train-0", output="K1", answer="K1", correct=True)
    assert evaluation_text(gb.Method(**settings), "prompt", prediction, label, right) == said
