"""The workbench on critiques that were brought: they are marked, edited and gone on from; without labels nothing asks to be scored."""

import pandas as pd
import pytest

import gradbook as gb
from gradbook.ui.stepper import REGIONS
from small import reply
from stub import Stub
from ui.page import alert, card, click, edit, page, text, wait

ROWS = [
    (f"Item {n} is {colour}.", "K1", f"{colour} should be {code}", code)
    for n, (colour, code) in enumerate([("green", "K2"), ("blue", "K3")])
]


@pytest.fixture
def bench(tmp_path):
    """A workbench on a case of two critiques, with labels or without."""
    with Stub(reply=reply) as stub:

        def make(label: str | None) -> gb.Stepper:
            data = pd.DataFrame(
                ROWS + [(f"Item {n} is red.", "K1", None, "K1") for n in range(2, 6)], columns=["input", "output", "feedback", "label"]
            )
            model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
            options = {"labels": ["K1", "K2", "K3"]} if label else {}
            method = gb.Method(selection="naive", labels="correct" if label else "none")
            case = gb.Case.from_feedback(
                data, path=tmp_path / "case", prompt="Give codes.", label=label, model=model, method=method, **options
            )
            return gb.Stepper(case)

        yield make


@pytest.mark.parametrize("label", ["label", None])
def test_a_brought_critique_is_shown_edited_and_gone_on_from(bench, label):
    stepper = bench(label)
    assert "brought: row 0, feedback" in card(stepper, "output_critique") and "These outputs were brought" in card(stepper, "predict")
    click(stepper, "Run stage")
    wait(stepper)
    assert "green means K2" in card(stepper, "prompt_critique") and stepper.case[1].next_stage == "rewrite"
    click(stepper, "Run step")
    wait(stepper)
    assert stepper.case[1].done and [alert(stepper, region) for region in REGIONS] == [""] * len(REGIONS)
    scored = stepper.case.metrics(1, "validation")
    assert (scored is None) == (label is None)
    said = text(stepper)
    assert ("There are no labels, so no prompt is scored" in said) == (label is None)
    judged = [button.has_attr("disabled") for button in page(stepper, "effect").find_all("button") if button.get("data-at") == "judge"]
    assert judged == [label is None]
    edit(stepper, "Output critique", "green should be K3")
    click(stepper, "Branch")
    wait(stepper)
    branch = stepper.case[2]
    assert [bool(c.brought) for c in branch.output_critique] == [False, True] and "green means K3" in card(stepper, "prompt_critique")
