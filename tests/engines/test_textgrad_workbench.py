"""TextGrad stepped by hand in the workbench: what a person writes in a critique is in the next message that TextGrad's code sends."""

from importlib.util import find_spec

import pytest

import gradbook as gb
from stub import Stub
from textgrad_small import connect, sent, task, theirs
from ui.page import card, click, edit, text

pytestmark = pytest.mark.bridges
if find_spec("textgrad") is None:
    pytest.skip('textgrad is missing: pip install "gradbook[textgrad]"', allow_module_level=True)

WORDS = "Here it should be K9, whatever <b>it</b> says."


@pytest.fixture
def stub():
    with Stub(reply=theirs) as running:
        yield running


def test_a_critique_that_a_person_edits_before_the_next_stage_is_in_its_message(stub, tmp_path):
    method = gb.presets.textgrad(constraints=["Stay short."])
    stepper = gb.Stepper(gb.Case(tmp_path / "case", task=task(), model=connect(stub), method=method))
    for _ in range(3):
        click(stepper, "Run stage")
    assert "backward function of the loss" in card(stepper, "output_critique") and "agrees with the true label" in card(stepper, "evaluate")
    edit(stepper, "Output critique", WORDS)
    before = len(stub.requests)
    click(stepper, "Run as a branch")
    asked = sent(stub, before)
    example = stepper.case.task.example(stepper.case[1].batch[0])
    (told,) = [user for _, user in asked if WORDS in user and "<OBJECTIVE_FUNCTION>" in user]
    assert f"<LM_INPUT> {example.input} </LM_INPUT>" in told
    assert stepper.case[2].done and "means K9" in stepper.case[2].chosen_prompt
    assert "TextGrad" in text(stepper, "tree") and "<b>it</b>" not in stepper.step
