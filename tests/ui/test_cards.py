"""What the step shows of each stage, under every kind of method."""

import json

import pytest

import gradbook as gb
from ui.page import card, choose, click, control, edit, enabled, options, page, press, put, text, value

STAGES = {
    "three-stage": ["predict", "evaluate", "output_critique", "prompt_critique", "rewrite", "select"],
    "one-step": ["predict", "evaluate", "rewrite", "select"],
    "rewrite": ["rewrite", "select"],
    "improve": ["rewrite", "select"],
}
SAYS = {
    "three-stage": "The critiques together become",
    "one-step": "straight from examples, outputs and evaluations, without a critique",
    "rewrite": "sees only the old prompt, and no data: it keeps the meaning",
    "improve": "sees only the old prompt, and no data: it is asked for better quality",
}


@pytest.mark.parametrize("update", STAGES)
def test_an_update_has_the_cards_of_its_stages_and_no_other(bench, update):
    stepper = bench(update=update)
    click(stepper, "Run step")
    stepper.do("look", look="stage")
    assert [found["data-key"] for found in page(stepper, "step").find_all("section")] == ["prompt", *STAGES[update]]
    assert SAYS[update] in card(stepper, "rewrite")
    assert ("without data" in text(stepper, "step")) == (update in ("rewrite", "improve"))


@pytest.mark.parametrize("update", STAGES)
def test_by_example_each_text_of_a_step_stands_once(bench, update):
    stepper = bench(update=update)
    click(stepper, "Run step")
    stepper.do("look", look="example")
    shown = page(stepper, "step")
    keys = [found["data-key"] for found in shown.find_all(attrs={"data-key": True})]
    records = [record.key for stage in stepper.desk.view.stages for record in stage.records]
    assert len(keys) == len(set(keys)) and set(records) <= set(keys)
    assert len(shown.find_all(class_="gb-example")) == len(stepper.case[1].batch)


def test_a_wrong_label_stands_beside_the_true_one(bench):
    stepper = bench(labels="wrong")
    click(stepper, "Run step")
    told = card(stepper, "evaluate")
    for evaluation in stepper.case[1].evaluate:
        assert f"Label shown {evaluation.label} · the true one is {evaluation.target} · ⚠ wrong on purpose" in told
    assert "set against a wrong label on purpose" in told


def test_a_true_label_stands_alone_and_a_swapped_one_says_so(stepper):
    click(stepper, "Run step")
    first = stepper.case[1].evaluate[0]
    assert f"Label shown {first.label} Edit" in card(stepper, "evaluate")
    other = next(label for label in stepper.case.task.labels if label != first.label)
    edit(stepper, "Label shown", other)
    click(stepper, "Run as a branch")
    told = card(stepper, "evaluate")
    assert f"{other} · the true one is {first.target} · ⚠ swapped by hand" in told and "wrong on purpose" not in told


@pytest.mark.parametrize("update", ["three-stage", "one-step"])
def test_where_no_label_is_shown_one_can_be_put_in(bench, update):
    stepper = bench(labels="none", update=update)
    click(stepper, "Run step")
    assert "no label shown" in card(stepper, "evaluate")
    press(stepper, "Edit Label shown")
    assert {"K1", "K2", "K3"} <= set(options(stepper, "Label shown")) and value(stepper, "Label shown") == ""
    put(stepper, "Label shown", "K2")
    click(stepper, "Run as a branch")
    branch = stepper.case[2]
    assert branch.evaluate[0].label == "K2" and "right answer is K2" in branch.evaluate[0].text
    assert branch.evaluate[1:] == stepper.case[1].evaluate[1:]
    assert "Label shown K2" in card(stepper, "evaluate") and "by hand" in card(stepper, "evaluate")


def test_an_evaluation_by_a_critic_says_what_it_is_worth(bench):
    stepper = bench(evaluation="critic-score", batch_size=6)
    click(stepper, "Run step")
    told = card(stepper, "evaluate")
    assert "It reads input and output, and no label" in told and "Label shown" not in told
    assert "The critic agrees with the gold answer on 4 of 6; 2 unusable (out of range)." in told
    assert "90 of 100, so right · gold: right · ✓ agrees" in told
    assert "no usable score: out of range · gold: wrong · ✗ disagrees" in told
    stepper.do("look", look="stage")
    held = page(stepper, "step").find(attrs={"data-fold": "held"})
    assert "The critic’s prompt in force" in held.get_text() and "Judge whether the output answers" in held.get_text()


def test_an_edited_evaluation_of_a_critic_is_read_again(bench):
    stepper = bench(evaluation="critic-score")
    click(stepper, "Run step")
    at = next(n for n, e in enumerate(stepper.case[1].evaluate) if e.unusable)
    edit(stepper, "Evaluation by the critic", "It is about green.\nScore: 12", at)
    click(stepper, "Run as a branch")
    found = stepper.case[2].evaluate[at]
    assert (found.score, found.unusable) == (0.12, None)
    assert "12 of 100, so wrong · gold: wrong · ✓ agrees" in card(stepper, "evaluate")
    assert "unusable" not in card(stepper, "evaluate")


@pytest.mark.parametrize("evaluation", ["critic-binary", "critic-score"])
def test_a_step_of_the_critic_is_told_as_such(bench, evaluation):
    stepper = bench(evaluation=evaluation)
    click(stepper, "Run step")
    click(stepper, "Run step")
    step = stepper.case[2]
    assert step.variable == "critic"
    assert "The critic’s prompt θ" in card(stepper, "prompt") and stepper.case[1].chosen_prompt in card(stepper, "prompt")
    assert stepper.case.subject(2).format_instruction.split('"')[0].split("\n")[0] in card(stepper, "prompt")
    told = card(stepper, "predict")
    assert "· the output is right · ✓ agrees" in told and "no label" in told
    stepper.do("look", look="example")
    rows = page(stepper, "step").find_all(class_="gb-example")
    assert all("Output judged" in row.get_text() for row in rows), "what it judged stands beside what it said"
    assert "critic’s prompt change so that the verdict follows" in card(stepper, "prompt_critique")
    assert "Agreement on validation" in card(stepper, "select")
    assert "⚖ critic" in text(stepper, "tree") and "⚖ of the critic: % that agree" in text(stepper, "tree")


def test_several_critiques_are_numbered_and_candidates_say_what_they_follow(bench):
    stepper = bench(errors_only=True, critiques=2, apart=True, candidates=1, paraphrases=1, batch_size=6)
    click(stepper, "Run step")
    for stage in ("output_critique", "prompt_critique"):
        told = card(stepper, stage)
        assert "critique 1 of 2" in told and "critique 2 of 2" in told and "critique 3" not in told
        assert "not criticised, since the evaluation calls it right" in told
    told = card(stepper, "rewrite")
    assert "prompt critique 2 of train-" in told and "candidate 0 in other words" in told
    assert "Each critique alone becomes one candidate prompt. Each is then said in other words." in told


def test_one_step_on_errors_alone_says_which_it_left_out(bench):
    stepper = bench(update="one-step", errors_only=True, batch_size=6)
    click(stepper, "Run step")
    assert "left out of the rewrite, since the evaluation calls it right" in card(stepper, "rewrite")
    stepper.do("look", look="example")
    assert "left out of the rewrite" in page(stepper, "step").find(class_="gb-example").get_text()


def test_a_batch_without_errors_rewrites_nothing_and_says_so(bench):
    stepper = bench(errors_only=True, batch_size=1)
    while stepper.case.current.id == 0 or stepper.case.current.rewrite:
        click(stepper, "Run step")
    assert "nothing was rewritten" in card(stepper, "rewrite") and "Chosen: the old prompt" in card(stepper, "select")


def test_momentum_and_add_only_are_explained(bench):
    stepper = bench(momentum=3)
    click(stepper, "Run step")
    assert "also reads the prompt critiques of up to 3 steps before" in card(stepper, "rewrite")
    choose(stepper, momentum="0", add_only=True)
    click(stepper, "Use from the next step on")
    click(stepper, "Run step")
    assert "added to the old prompt, which stays word for word" in card(stepper, "rewrite")


def test_a_selection_says_how_it_counted_and_what_it_kept(bench):
    stepper = bench(validation_labels="wrong", beam=2, apart=True)
    click(stepper, "Run step")
    told = card(stepper, "select")
    assert "Validation, as wrong labels count it" in told and "wrong labels count, on purpose" in told
    assert told.count("▹ kept") == len(stepper.case[1].select.kept) == 2
    click(stepper, "Run step")
    assert "prompt 1 of 2 in the beam" in text(stepper, "step")
    choose(stepper, validation_labels="correct", beam="1", selection="random")
    click(stepper, "Use from the next step on")
    click(stepper, "Run step")
    click(stepper, "Run step")
    assert "at random" in card(stepper, "select") and "Validation," not in card(stepper, "select")


def test_an_old_record_without_the_true_label_shows_that_of_the_example(bench, tmp_path):
    stepper = bench(labels="wrong")
    click(stepper, "Run step")
    stepper.case.close()
    journal = tmp_path / "case" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(_without_targets(line) for line in lines) + "\n")
    told = card(gb.Stepper(gb.Case(tmp_path / "case")), "evaluate")
    assert told.count("⚠ wrong on purpose") == 3 and told.count("the true one is K") == 3


def _without_targets(line: str) -> str:
    event = json.loads(line)
    for evaluation in event.get("evaluate") or ():
        del evaluation["target"]
    return json.dumps(event)


def test_the_effect_of_a_critic_is_measured_on_the_same_outputs(bench):
    stepper = bench(evaluation="critic-binary")
    for _ in range(3):
        click(stepper, "Run step")
    edit(stepper, "Candidate 0", "red means K1, green means K2, blue means K3.")
    click(stepper, "Run as a branch")
    click(stepper, "Run step")
    assert stepper.case.current.variable == "critic" and stepper.case.current.parent == 4
    assert options(stepper, "Before") == ["4"], "of all steps only this one has the same outputs"
    measures = [row.get_text() for row in page(stepper, "effect").find_all("th", attrs={"scope": "row"})]
    assert "agreement" in measures and "accuracy" not in measures and "recall of wrong" in measures
    split = stepper.desk.split
    assert stepper.case.metrics(5, split).accuracy.value == stepper.case.metrics(4, split, variable="critic").accuracy.value
    assert "end with the same prompt" in text(stepper, "effect") and not enabled(stepper, "Judge: 5 draws each")
    put(stepper, "Choose", "0")
    click(stepper, "Run as a branch")
    assert stepper.case.current.id == 6 and stepper.desk.before == 5
    click(stepper, "Judge: 5 draws each")
    assert text(stepper, "effect").count("5 draws, fresh") == 2
    stepper.go(3)
    assert options(stepper, "Before") == ["0", "1", "4"] and stepper.desk.before == 1
    assert enabled(stepper, "Score both") and control(stepper, "Judge: 5 draws each")
