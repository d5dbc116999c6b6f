"""What the cards say of each stage, under every kind of method."""

import json

import pytest

import gradbook as gb
from ui.page import button, card, choose, click, edit, page

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
    shown = [name for child in stepper.cards.children for name in child._dom_classes if name.startswith("gb-stage-")]
    assert shown == [f"gb-stage-{stage}" for stage in STAGES[update]]
    assert SAYS[update] in card(stepper, "gb-stage-rewrite")
    assert ("without data" in page(stepper)) == (update in ("rewrite", "improve"))


def test_a_wrong_label_stands_beside_the_true_one(bench):
    stepper = bench(labels="wrong")
    click(stepper, "Run step")
    told = card(stepper, "gb-stage-evaluate")
    for evaluation in stepper.case[1].evaluate:
        assert f"Label shown: {evaluation.label} · true: {evaluation.target} · ⚠ wrong on purpose" in told
    assert "set against a wrong label on purpose" in told


def test_a_true_label_stands_alone_and_a_swapped_one_does_not(stepper):
    click(stepper, "Run step")
    first = stepper.case[1].evaluate[0]
    assert f"Label shown: {first.label}\n" in card(stepper, "gb-stage-evaluate")
    other = next(label for label in stepper.case.task.labels if label != first.label)
    edit(stepper, "label", other)
    click(stepper, "Run as a branch")
    told = card(stepper, "gb-stage-evaluate")
    assert f"{other} · true: {first.target} · ⚠ not the true one" in told and "wrong on purpose" not in told


@pytest.mark.parametrize("update", ["three-stage", "one-step"])
def test_where_no_label_is_shown_one_can_be_put_in(bench, update):
    stepper = bench(labels="none", update=update)
    click(stepper, "Run step")
    first = stepper.case[1].batch[0]
    assert "no label shown" in card(stepper, "gb-stage-evaluate")
    edit(stepper, "label", "K2", first)
    assert stepper.cards.editables["label", first, 0].area.placeholder == "One of K1, K2, K3"
    click(stepper, "Run as a branch")
    branch = stepper.case[2]
    assert branch.evaluate[0].label == "K2" and "right answer is K2" in branch.evaluate[0].text
    assert branch.evaluate[1:] == stepper.case[1].evaluate[1:]
    assert "Label shown: K2" in card(stepper, "gb-stage-evaluate")


def test_an_evaluation_by_a_critic_says_what_it_is_worth(bench):
    stepper = bench(evaluation="critic-score", batch_size=6)
    click(stepper, "Run step")
    told = card(stepper, "gb-stage-evaluate")
    assert "It reads input and output, and no label" in told and "Label shown" not in told
    assert "The critic agrees with the gold answer on 4 of 6; 2 unusable (out of range)." in told
    assert "score 90: right · gold: right · ✓ agrees" in told
    assert "no usable score (out of range) · gold: wrong · ✗ disagrees" in told
    assert "Judge whether the output answers" in card(stepper, "gb-prompt"), "the critic's prompt in force"
    assert not any(place[0] == "label" for place in stepper.cards.editables)


def test_an_edited_evaluation_of_a_critic_is_read_again(bench):
    stepper = bench(evaluation="critic-score")
    click(stepper, "Run step")
    lost = next(e for e in stepper.case[1].evaluate if e.unusable)
    edit(stepper, "evaluation", "It is about green.\nScore: 12", lost.example)
    click(stepper, "Run as a branch")
    found = next(e for e in stepper.case[2].evaluate if e.example == lost.example)
    assert (found.score, found.unusable) == (0.12, None)
    assert "score 12: wrong · gold: wrong · ✓ agrees" in card(stepper, "gb-stage-evaluate")
    assert "unusable" not in card(stepper, "gb-stage-evaluate")


@pytest.mark.parametrize("evaluation", ["critic-binary", "critic-score"])
def test_a_step_of_the_critic_is_told_as_such(bench, evaluation):
    stepper = bench(evaluation=evaluation)
    click(stepper, "Run step")
    click(stepper, "Run step")
    step = stepper.case[2]
    assert step.variable == "critic"
    assert "The critic’s prompt θ" in card(stepper, "gb-prompt") and stepper.case[1].chosen_prompt in card(stepper, "gb-prompt")
    assert stepper.case.subject(2).format_instruction.split('"')[0] in card(stepper, "gb-prompt")
    told = card(stepper, "gb-stage-predict")
    assert "Output:\n<output>\nK1" in told and "· true label right · ✓ agrees" in told
    assert "no label" in told and stepper.case[1].evaluate[0].text.split("\n")[0] in told
    assert "critic’s prompt change so that the verdict follows" in card(stepper, "gb-stage-prompt_critique")
    assert "agreement on validation" in card(stepper, "gb-stage-select")
    assert any("⚖ critic" in name for name, _ in stepper.tree.select.options)
    assert "⚖ of the critic: % that agree" in page(stepper.tree)


def test_several_critiques_are_numbered_and_candidates_say_what_they_follow(bench):
    stepper = bench(errors_only=True, critiques=2, apart=True, candidates=1, paraphrases=1, batch_size=6)
    click(stepper, "Run step")
    for stage in ("output_critique", "prompt_critique"):
        told = card(stepper, f"gb-stage-{stage}")
        assert "critique 1 of 2" in told and "critique 2 of 2" in told and "critique 3" not in told
        assert "Not criticised: examples" in told and "which the evaluation calls right" in told
    told = card(stepper, "gb-stage-rewrite")
    assert "follows critique 2 of example" in told and "candidate 0 in other words" in told
    assert "Each critique alone becomes one candidate prompt. Each is then said in other words." in told


def test_one_step_on_errors_alone_says_which_it_left_out(bench):
    stepper = bench(update="one-step", errors_only=True, batch_size=6)
    click(stepper, "Run step")
    assert "Not criticised: examples" in card(stepper, "gb-stage-rewrite")


def test_a_batch_without_errors_rewrites_nothing_and_says_so(bench):
    stepper = bench(errors_only=True, batch_size=1)
    while stepper.case.current.id == 0 or stepper.case.current.rewrite:
        click(stepper, "Run step")
    assert "nothing was rewritten" in card(stepper, "gb-stage-rewrite") and "nothing was rewritten" in card(stepper, "gb-stage-select")


def test_momentum_and_add_only_are_explained(bench):
    stepper = bench(momentum=3)
    click(stepper, "Run step")
    assert "also reads the prompt critiques of up to 3 steps before" in card(stepper, "gb-stage-rewrite")
    choose(stepper, momentum=0, add_only=True)
    click(stepper, "Use from the next step on")
    click(stepper, "Run step")
    assert "added to the old prompt, which stays word for word" in card(stepper, "gb-stage-rewrite")


def test_a_selection_says_how_it_counted_and_what_it_kept(bench):
    stepper = bench(validation_labels="wrong", beam=2, apart=True)
    click(stepper, "Run step")
    told = card(stepper, "gb-stage-select")
    assert "right on validation, as wrong labels count it" in told and "wrong labels count, on purpose" in told
    assert told.count("▹ carried on") == len(stepper.case[1].select.kept) - 1 == 1
    click(stepper, "Run step")
    assert "prompt 1 of 2 in the beam" in page(stepper)
    choose(stepper, validation_labels="correct", beam=1, selection="random")
    click(stepper, "Use from the next step on")
    click(stepper, "Run step")
    click(stepper, "Run step")
    assert "at random" in card(stepper, "gb-stage-select") and "on validation" not in card(stepper, "gb-stage-select")


def test_a_choice_that_waits_survives_going_elsewhere(stepper):
    click(stepper, "Run step")
    other = next(value for _, value in stepper.cards._pick.options if value != stepper.cards._pick.value)
    stepper.cards._pick.value = other
    stepper.go(0)
    stepper.go(1)
    assert stepper.cards._pick.value == other
    click(stepper, "Branch")
    assert stepper.case[2].select.chosen == int(other) and "edited by hand" in card(stepper, "gb-stage-select")


def test_an_old_record_without_the_true_label_shows_that_of_the_example(bench, tmp_path):
    stepper = bench(labels="wrong")
    click(stepper, "Run step")
    stepper.case.close()
    journal = tmp_path / "case" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(_without_targets(line) for line in lines) + "\n")
    told = card(gb.Stepper(gb.Case(tmp_path / "case")), "gb-stage-evaluate")
    assert told.count("⚠ wrong on purpose") == 3 and told.count("· true: K") == 3


def _without_targets(line: str) -> str:
    event = json.loads(line)
    for evaluation in event.get("evaluate") or ():
        del evaluation["target"]
    return json.dumps(event)


def test_the_effect_of_a_critic_is_measured_on_the_same_outputs(bench):
    stepper = bench(evaluation="critic-binary")
    for _ in range(3):
        click(stepper, "Run step")
    edit(stepper, "candidate", "red means K1, green means K2, blue means K3.")
    click(stepper, "Run as a branch")
    click(stepper, "Run step")
    assert stepper.case.current.variable == "critic" and stepper.case.current.parent == 4
    assert [value for _, value in stepper.effect._against.options] == [4], "of all steps only this one has the same outputs"
    shown = page(stepper.effect)
    assert "<th>agreement</th>" in shown and "<th>accuracy</th>" not in shown and "recall of wrong" in shown
    assert stepper.case.metrics(5).accuracy.value == stepper.case.metrics(4, variable="critic").accuracy.value
    click(stepper, "Noise floor × 5")
    assert "6 runs without a change" in page(stepper.effect)
    stepper.go(3)
    assert [value for _, value in stepper.effect._against.options] == [0, 1, 4] and stepper.effect.against == 1
    assert not button(stepper, "Score both").disabled
