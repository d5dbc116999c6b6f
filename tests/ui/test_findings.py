"""The panel of findings: what can be asked and what it costs, what was found, and where its arms are."""

import pytest

import gradbook as gb
from ui.page import alert, click, enabled, page, press, text


def test_what_can_be_asked_is_offered_with_its_price_and_opens_when_it_is_found(bench, stub):
    stepper = bench(selection="naive")
    assert "Ask" not in text(stepper, "findings"), "the seed prompt holds nothing to ask of"
    click(stepper, "Run step")
    press(stepper, "Ask ▸")
    said = stepper.case.plan("noise", 1).calls
    assert f"{said:,} calls at most" in text(stepper, "findings")
    since = len(stub.requests)
    click(stepper, "Ask: Noise budget")
    assert 0 < len(stub.requests) - since <= said
    found = next(iter(stepper.case.found.values()))
    assert found.sentence[1:] in text(stepper, "findings") and found.verdict in text(stepper, "findings")
    assert page(stepper, "findings").find("table") and "case.noise(1, split='validation', critiques=3" in text(stepper, "findings")
    press(stepper, f"Noise budget on validation: {found.verdict}")
    assert found.sentence[1:] not in text(stepper, "findings")
    stepper.go(0)
    assert "1 on other steps" in text(stepper, "findings") and found.sentence[1:] not in text(stepper, "findings")


def test_what_cannot_be_asked_says_why(bench):
    stepper = bench(selection="naive")
    click(stepper, "Run step")
    stepper.case.close()
    stepper.do("asking")
    assert not enabled(stepper, "Ask: Noise budget")
    stepper.do("ask", kind="noise")
    assert "Read only" in alert(stepper, "message")


def test_a_finding_opens_again_without_a_model_and_its_arms_can_be_looked_at(bench):
    stepper = bench(selection="naive")
    click(stepper, "Run step")
    stepper.case.noise(1, critiques=2)
    recording = gb.Recording(stepper.case.path)
    again = gb.Stepper(recording)
    again.go(1)
    found = next(iter(recording.found.values()))
    again.do("open", id=found.id)
    assert found.sentence[1:] in text(again, "findings")
    arm = found.steps[0]
    stepper.go(arm)
    assert stepper.desk.view.id == arm and stepper.case.current.id == 1, "a step that was made to measure is no place to go on from"
    assert "Replicate 1 of step 1" in text(stepper, "step")
    assert str(arm) not in [row["data-step-id"] for row in page(stepper, "tree").find_all(attrs={"data-step-id": True})]


@pytest.mark.parametrize("ending", ["html", "ipynb"])
def test_the_export_tells_what_was_found(bench, tmp_path, ending):
    stepper = bench(selection="naive")
    click(stepper, "Run step")
    assert "Findings" not in stepper.case.export(tmp_path / f"before.{ending}").read_text()
    found = stepper.case.noise(1, critiques=2)
    told = stepper.case.export(tmp_path / f"after.{ending}").read_text()
    assert "Noise budget, step 1" in told and "share of the variance" in told
    assert str(found)[1:].split(";")[0] in told
