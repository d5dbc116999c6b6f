"""The Method panel: what is chosen there, the next step follows; what makes no sense is refused there."""

import pytest

import gradbook as gb
from gradbook.errors import MethodError
from gradbook.ui.panel import GROUPS, PRESETS
from ui.page import alert, choose, click, control, drafts, edit, enabled, page, press, text, value

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


USE = "Use from the next step on"


def test_every_setting_has_a_field_and_its_line_of_help(stepper):
    named = [name for _, names in GROUPS for name in names]
    assert sorted([*named, "templates"]) == sorted(gb.Method.model_fields)
    press(stepper, "Method ▸")
    shown = text(stepper, "method")
    assert all(" ".join(gb.Method.help(name).split()) in shown for name in named) and "gb.Templates" in shown
    assert all(control(stepper, name.replace("_", " "), "field").get("aria-describedby") for name in named)


@pytest.mark.parametrize("chosen", SENSIBLE, ids=lambda chosen: ",".join(map(str, chosen.values())))
def test_the_next_step_follows_what_is_chosen(stepper, chosen):
    choose(stepper, **chosen)
    assert alert(stepper, "method") == ""
    assert "Not yet used" in text(stepper, "method") and stepper.case.method == gb.Method(candidates=2)
    press(stepper, USE)
    assert stepper.case.method.model_dump(include=set(chosen)) == chosen
    click(stepper, "Run step")
    step = stepper.case[1]
    assert step.done and stepper.case.method_of(1) == stepper.case.method
    stepper.do("look", look="stage")
    assert len(page(stepper, "step").find_all("section")) == 1 + len(step.stages)


@pytest.mark.parametrize("chosen", NONSENSE, ids=lambda chosen: ",".join(map(str, chosen.values())))
def test_nonsense_is_refused_in_a_sentence_and_changes_nothing(stepper, chosen):
    with pytest.raises(MethodError) as refused:
        gb.Method(**chosen)
    recorded = (stepper.case.path / "journal.jsonl").read_bytes()
    choose(stepper, **chosen)
    assert alert(stepper, "method") == " ".join(str(refused.value).split()) and not enabled(stepper, USE)
    stepper.do("use")
    assert (stepper.case.path / "journal.jsonl").read_bytes() == recorded and stepper.case.method == gb.Method(candidates=2)
    press(stepper, "Discard changes")
    assert alert(stepper, "method") == "" and value(stepper, "candidates") == "2"


@pytest.mark.parametrize("typed", ["", "many", "-1", "1e9", "0"])
def test_a_number_that_cannot_be_is_refused_where_it_is_typed(stepper, typed):
    choose(stepper, batch_size=typed)
    assert "batch_size" in alert(stepper, "method") and value(stepper, "batch size") == typed and not enabled(stepper, USE)


def test_texts_are_typed_one_a_line_and_refused_where_nothing_reads_them(stepper):
    choose(stepper, constraints=" Stay short.\n\nBe polite. ")
    assert "constraints" in alert(stepper, "method") and not enabled(stepper, USE)
    choose(stepper, engine="textgrad")
    assert (alert(stepper, "method"), value(stepper, "constraints")) == ("", "Stay short.\nBe polite.")
    press(stepper, USE)
    assert (stepper.case.method.engine, stepper.case.method.constraints) == ("textgrad", ("Stay short.", "Be polite."))
    assert "constraints Stay short. · Be polite." in text(stepper, "head")


def test_what_a_choice_leaves_no_other_value_for_follows_it_and_comes_back(stepper):
    choose(stepper, labels="wrong", update="rewrite")
    assert (value(stepper, "labels"), alert(stepper, "method")) == ("none", "")
    choose(stepper, update="improve")
    choose(stepper, update="one-step")
    assert value(stepper, "labels") == "wrong"
    choose(stepper, selection="guard")
    assert (value(stepper, "candidates"), alert(stepper, "method")) == ("1", "")
    choose(stepper, selection="validated")
    assert value(stepper, "candidates") == "2"


@pytest.mark.parametrize("name", [name for name, made in PRESETS.items() if made])
def test_a_preset_fills_the_fields_and_says_whose_it_is(stepper, name):
    choose(stepper, Preset=name)
    assert " ".join(PRESETS[name].__doc__.splitlines()[0].split()) in text(stepper, "method")
    press(stepper, USE)
    assert stepper.case.method == PRESETS[name]()
    choose(stepper, Preset=name, batch_size=2)
    assert value(stepper, "Preset") == "own settings"


def test_meta_prompts_of_the_case_are_kept(bench):
    templates = gb.Templates(improve="Improve {prompt}")
    stepper = bench(templates=templates)
    choose(stepper, update="improve")
    press(stepper, USE)
    assert stepper.case.method == gb.Method(update="improve", templates=templates)


def test_the_header_names_both_methods_until_the_next_step(stepper):
    click(stepper, "Run step")
    assert "From the next step on" not in text(stepper, "head")
    choose(stepper, update="one-step")
    press(stepper, USE)
    assert "From the next step on: one-step" in text(stepper, "head") and "batch 1 of 2 in epoch 1" in text(stepper, "step")
    click(stepper, "Run step")
    assert "From the next step on" not in text(stepper, "head") and "batch 2 of 2 in epoch 1" in text(stepper, "step")
    click(stepper, "Run step")
    assert "batch 1 of 2 in epoch 2" in text(stepper, "step")


def test_a_method_set_in_another_cell_is_shown_unless_changes_wait(stepper):
    click(stepper, "Run step")
    stepper.case.use(gb.Method(batch_size=2))
    stepper.do("panel")
    assert value(stepper, "batch size") == "2"
    choose(stepper, momentum=1)
    stepper.case.use(gb.Method(batch_size=1))
    stepper.go(1)
    assert value(stepper, "momentum") == "1"


def test_another_method_leaves_an_edit_that_waits(stepper):
    click(stepper, "Run step")
    edit(stepper, "Prompt critique", "blue means K3")
    choose(stepper, update="one-step")
    press(stepper, USE)
    assert drafts(stepper) == ["blue means K3"]
    click(stepper, "Branch")
    assert stepper.case.method_of(2) == gb.Method(candidates=2), "a branch follows the method of its origin"


def test_a_read_only_case_shows_its_settings_and_takes_none(stepper, tmp_path):
    click(stepper, "Run step")
    replay = gb.Stepper(gb.Recording(tmp_path / "case"))
    replay.do("panel")
    fields = page(replay, "method").find_all(("input", "select", "button"))
    assert len(fields) > 14 and all(field.has_attr("disabled") for field in fields)
    assert "it is open as a recording" in text(replay, "method")


def test_the_panel_is_folded_until_asked_for(stepper):
    assert stepper.method == "" and control(stepper, "Method ▸")["aria-expanded"] == "false"
    press(stepper, "Method ▸")
    assert stepper.method and control(stepper, "Method ▾")["aria-expanded"] == "true"
