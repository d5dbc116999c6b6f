"""The Method panel: what is chosen there, the next step follows; what makes no sense is refused there."""

from html import unescape

import pytest
from ipywidgets import Button

import gradbook as gb
from gradbook.errors import MethodError
from gradbook.ui.settings import GROUPS, PRESETS
from ui.page import alert, button, choose, click, edit, page, walk

SENSIBLE = [
    *({"update": update} for update in ("one-step", "rewrite", "improve")),
    *({"labels": labels} for labels in ("wrong", "none")),
    *({"evaluation": evaluation} for evaluation in ("critic-binary", "critic-score")),
    *({"selection": selection} for selection in ("naive", "random", "guard")),
    *({"candidates": 1}, {"validation_labels": "wrong"}, {"batch_size": 2}, {"train_every": 1}),
    *({"errors_only": True}, {"critiques": 2}, {"apart": True}, {"paraphrases": 1}, {"beam": 2}, {"momentum": 1}, {"add_only": True}),
    {"selection": "guard", "validation_labels": "wrong"},
    {"update": "one-step", "errors_only": True, "batch_size": 1},
]
NONSENSE = [
    {"update": "rewrite", "evaluation": "critic-binary"},
    {"labels": "none", "evaluation": "critic-score"},
    {"selection": "naive", "validation_labels": "wrong"},
    {"selection": "guard", "candidates": 2},
    {"update": "one-step", "momentum": 2},
    {"update": "improve", "labels": "wrong"},
    {"add_only": True, "paraphrases": 1},
    {"beam": 2, "selection": "random"},
]


def test_every_setting_has_a_field_and_its_line_of_help(stepper):
    named = [name for _, names in GROUPS for name in names]
    assert sorted([*named, "templates"]) == sorted(gb.Method.model_fields)
    shown = page(stepper.settings)
    assert all(gb.Method.help(name) in shown for name in named) and "gb.Templates" in shown


@pytest.mark.parametrize("chosen", SENSIBLE, ids=lambda chosen: ",".join(map(str, chosen.values())))
def test_the_next_step_follows_what_is_chosen(stepper, chosen):
    choose(stepper, **chosen)
    assert alert(stepper) == ""
    assert "Not yet used" in page(stepper.settings) and stepper.case.method == gb.Method(candidates=2)
    click(stepper, "Use from the next step on")
    assert stepper.case.method.model_dump(include=set(chosen)) == chosen
    click(stepper, "Run step")
    step = stepper.case[1]
    assert step.done and stepper.case.method_of(1) == stepper.case.method
    assert len(stepper.cards.children) == 1 + len(step.stages)


@pytest.mark.parametrize("chosen", NONSENSE, ids=lambda chosen: ",".join(map(str, chosen.values())))
def test_nonsense_is_refused_in_a_sentence_and_changes_nothing(stepper, chosen):
    with pytest.raises(MethodError) as refused:
        gb.Method(**chosen)
    recorded = (stepper.case.path / "journal.jsonl").read_bytes()
    choose(stepper, **chosen)
    assert alert(stepper) == str(refused.value) and button(stepper, "Use from the next step on").disabled
    button(stepper, "Use from the next step on").click()
    assert (stepper.case.path / "journal.jsonl").read_bytes() == recorded and stepper.case.method == gb.Method(candidates=2)
    click(stepper, "Discard changes")
    assert alert(stepper) == "" and stepper.settings.fields["candidates"].value == 2


def test_what_a_choice_leaves_no_other_value_for_follows_it_and_comes_back(stepper):
    fields = stepper.settings.fields
    choose(stepper, labels="wrong", update="rewrite")
    assert (fields["labels"].value, alert(stepper)) == ("none", "")
    choose(stepper, update="improve")
    choose(stepper, update="one-step")
    assert fields["labels"].value == "wrong"
    choose(stepper, selection="guard")
    assert (fields["candidates"].value, alert(stepper)) == (1, "")
    choose(stepper, selection="validated")
    assert fields["candidates"].value == 2


@pytest.mark.parametrize("name", [name for name, made in PRESETS.items() if made])
def test_a_preset_fills_the_fields_and_says_whose_it_is(stepper, name):
    stepper.settings.preset.value = name
    assert PRESETS[name].__doc__.splitlines()[0] in unescape(page(stepper.settings))
    click(stepper, "Use from the next step on")
    assert stepper.case.method == PRESETS[name]()
    stepper.settings.preset.value = name
    choose(stepper, batch_size=2)
    assert stepper.settings.preset.value == "own settings"


def test_meta_prompts_of_the_case_are_kept(bench):
    templates = gb.Templates(improve="Improve {prompt}")
    stepper = bench(templates=templates)
    choose(stepper, update="improve")
    click(stepper, "Use from the next step on")
    assert stepper.case.method == gb.Method(update="improve", templates=templates)


def test_the_header_names_both_methods_until_the_next_step(stepper):
    click(stepper, "Run step")
    assert "From the next step on" not in page(stepper)
    choose(stepper, update="one-step")
    click(stepper, "Use from the next step on")
    assert "From the next step on: one-step" in page(stepper) and "batch 1 of 2 in epoch 1" in page(stepper)
    click(stepper, "Run step")
    assert "From the next step on" not in page(stepper) and "batch 2 of 2 in epoch 1" in page(stepper)
    click(stepper, "Run step")
    assert "batch 1 of 2 in epoch 2" in page(stepper)


def test_a_method_set_in_another_cell_is_shown_unless_changes_wait(stepper):
    click(stepper, "Run step")
    stepper.case.use(gb.Method(batch_size=2))
    stepper.go(0)
    assert stepper.settings.fields["batch_size"].value == 2
    choose(stepper, momentum=1)
    stepper.case.use(gb.Method(batch_size=1))
    stepper.go(1)
    assert stepper.settings.fields["momentum"].value == 1


def test_another_method_leaves_an_edit_that_waits(stepper):
    click(stepper, "Run step")
    edit(stepper, "prompt_critique", "blue means K3")
    choose(stepper, update="one-step")
    click(stepper, "Use from the next step on")
    assert [change.text for change in stepper.cards.pending] == ["blue means K3"]
    click(stepper, "Branch")
    assert stepper.case.method_of(2) == gb.Method(candidates=2), "a branch follows the method of its origin"


def test_a_read_only_case_shows_its_settings_and_takes_none(stepper, tmp_path):
    click(stepper, "Run step")
    replay = gb.Stepper(gb.Recording(tmp_path / "case"))
    assert all(field.disabled for field in (*replay.settings.fields.values(), replay.settings.preset))
    assert all(made.disabled for made in walk(replay.settings) if isinstance(made, Button))
    assert "it is open as a recording" in page(replay.settings)


def test_the_panel_is_folded_until_asked_for(stepper):
    assert stepper.settings.layout.display == "none"
    stepper.method_button.value = True
    assert stepper.settings.layout.display is None
