"""The workbench without a browser: what its controls do, and what it shows."""

import re
import time

import pandas as pd
import pytest
from ipywidgets.widgets.widget import _instances

import gradbook as gb
from gradbook import edits
from gradbook.edits import menu
from gradbook.loop.table import EDIT_STAGE as STAGE
from gradbook.ui.stepper import REGIONS
from small import reply, small_task
from stub import Stub
from ui.page import alert, card, click, control, drafts, edit, enabled, options, page, press, put, steps, text, value, wait

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"
NOTE = "Note on step"


# --- running -----------------------------------------------------------------------------------------------------------


def test_run_stage_runs_one_stage(stepper):
    click(stepper, "Run stage")
    step = stepper.case.current
    assert step.id == stepper.shown == 1 and step.predict is not None and step.next_stage == "evaluate"
    click(stepper, "Run stage")
    assert stepper.case.current.next_stage == "output_critique"


def test_run_step_scores_it_and_says_so(bench):
    stepper = bench(selection="naive")
    click(stepper, "Run step")
    case = stepper.case
    assert case.current.done and case.metrics(1) is not None and case.metrics(0) is not None
    assert f"{case.metrics(1).accuracy.value:.1%}" in text(stepper, "effect")
    assert steps(stepper) == [0, 1]


def test_a_step_is_not_scored_where_a_person_wants_none(stepper):
    put(stepper, "score each step", False)
    click(stepper, "Run step")
    assert stepper.case.current.done and not any(q.split == "test" for q in stepper.case.recorded_questions())


def test_several_steps_run_in_a_row(stepper):
    put(stepper, "Steps", "3")
    click(stepper, "Run step")
    assert stepper.case.current.id == stepper.shown == 3 and all(step.done for step in stepper.case)
    assert all(stepper.case.metrics(step, "test") for step in stepper.case), "each is scored, where no selection has looked"


def test_a_row_of_steps_takes_the_critics_turns_too(bench):
    stepper = bench(evaluation="critic-score", candidates=1)
    put(stepper, "Steps", "4")
    click(stepper, "Run step")
    assert [step.variable for step in stepper.case][1:] == ["prompt", "critic", "prompt", "critic"]
    assert stepper.case.metrics(4, "test").recall.keys() == {"right", "wrong"}
    assert "⚖ critic" in text(stepper, "tree") and "⚖ of the critic: % that agree" in text(stepper, "tree")


def test_undo_goes_to_the_parent(stepper):
    click(stepper, "Run step")
    click(stepper, "Undo")
    assert stepper.case.current.id == stepper.shown == 0 and not enabled(stepper, "Undo")


def test_a_failure_is_shown_and_the_step_goes_on_afterwards(stepper, stub):
    stub.fail(500)
    click(stepper, "Run step")
    assert "500" in alert(stepper, "message")
    click(stepper, "Run step")
    assert stepper.case.current.done and not alert(stepper, "message")


@pytest.fixture
def gated(tmp_path):
    with Stub(reply=reply, gate=True) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", retries=0)
        yield gb.Stepper(gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(candidates=1))), stub
        stub.open_gate()


def test_stop_keeps_what_has_finished_and_answers_at_once(gated):
    stepper, stub = gated
    press(stepper, "Run step")
    stub.wait_for(3)
    began = time.monotonic()
    press(stepper, "Stop")
    wait(stepper)
    assert time.monotonic() - began < 1 and "Stopped" in text(stepper, "message")
    stub.open_gate()
    click(stepper, "Run step")
    assert stepper.case.current.done
    asked = [(r.body["messages"][-1]["content"], r.body["seed"], str(r.body["messages"][0])) for r in stub.requests]
    assert len(asked) == len(set(asked)), "the calls that were under way at Stop were kept"


def test_jobs_stand_in_a_queue_and_are_stopped_one_by_one(gated):
    stepper, stub = gated
    press(stepper, "Run step")
    stub.wait_for(3)
    press(stepper, "Run step")
    put(stepper, "Steps", "3")
    press(stepper, "Run step")
    stepper.draw()
    assert [told["data-key"] for told in page(stepper, "jobs").find_all(class_="gb-job")] == ["job 1", "job 2", "job 3"]
    assert "predict: 0 of 3 calls" in text(stepper, "jobs") and text(stepper, "jobs").count("waits") == 2
    assert {"Stop Run step", "Do not run Run step", "Do not run Run 3 steps"} <= names(stepper)
    press(stepper, "Do not run Run step")
    assert [job.what for job in stepper.desk.queue.open] == ["Run step", "Run 3 steps"]
    assert "Taken out of the queue: Run step" in text(stepper, "message")
    press(stepper, "Stop Run step")
    stub.open_gate()
    wait(stepper)
    assert len(stepper.case) == 4 and stepper.case.current.done, "the third went on, from where the first had stopped"


def names(stepper) -> set[str]:
    return {made.get("aria-label") for made in page(stepper, "jobs").find_all("button")}


def test_a_case_is_exported_while_a_step_runs(gated):
    stepper, stub = gated
    press(stepper, "Run step")
    stub.wait_for(3)
    press(stepper, "Export .html")
    deadline = time.monotonic() + 20
    while not (stepper.case.path / "case.html").exists() or len(stepper.desk.queue.open) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stepper.draw()
    assert "Exported to" in text(stepper, "message") and stepper.desk.busy
    stub.open_gate()
    wait(stepper)


def test_a_row_of_steps_says_where_it_is_and_stops(tmp_path):
    with Stub(reply=reply, latency=0.2) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k")
        stepper = gb.Stepper(gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(candidates=1)))
        put(stepper, "Steps", "1000")
        press(stepper, "Run step")
        deadline = time.monotonic() + 30
        while "step 2 of 1000" not in stepper.jobs:
            assert time.monotonic() < deadline, stepper.jobs
            time.sleep(0.01)
        press(stepper, "Stop")
        wait(stepper)
        assert re.search(r"Stopped in .*step 2 of 1000", text(stepper, "message"))
        assert stepper.case[1].done and not stepper.case[2].done and len(stepper.case) == 3
        put(stepper, "Steps", "1")
        click(stepper, "Run step")
        assert stepper.case.current.id == 2 and stepper.case.current.done


def test_who_goes_elsewhere_while_a_step_runs_stays_there(gated):
    stepper, stub = gated
    press(stepper, "Run step")
    stub.wait_for(3)
    stepper.go(0)
    stub.open_gate()
    wait(stepper)
    assert stepper.shown == 0 and stepper.case.current.id == 1


# --- edits ---------------------------------------------------------------------------------------------------------------


def test_an_edit_becomes_a_branch_and_is_marked(stepper):
    click(stepper, "Run step")
    edit(stepper, "Prompt critique", "blue means K3 and red means K1")
    assert page(stepper, "step").find("ins")
    put(stepper, "Reason", "two rules at once")
    click(stepper, "Run as a branch")
    branch = stepper.case.current
    assert branch.origin == 1 and branch.edits[0].text == "blue means K3 and red means K1" and branch.edits[0].why == "two rules at once"
    assert "edited by hand: two rules at once" in text(stepper, "step")
    assert drafts(stepper) == [] and stepper.desk.before == 1


@pytest.mark.parametrize("look", ["stage", "example"])
def test_text_is_edited_where_it_stands_in_either_look(stepper, look):
    click(stepper, "Run step")
    stepper.do("look", look=look)
    for title in ("Output", "Label shown", "Evaluation", "Output critique", "Prompt critique", "Candidate 0"):
        press(stepper, f"Edit {title}")
        place = control(stepper, title, "field").find_parent(attrs={"data-key": True})
        assert place["data-key"].startswith("draft ") and value(stepper, title)
        press(stepper, f"Discard the edit of {title}")
    assert stepper.desk.drafts == {}


def test_the_way_of_an_edit_is_marked_by_example(stepper):
    click(stepper, "Run step")
    edit(stepper, "Output critique", "say K3")
    click(stepper, "Run as a branch")
    rows = page(stepper, "step").find_all(class_="gb-example")
    assert [("gb-way" in row["class"]) for row in rows] == [True, False, False]
    on = [("gb-on" in cell["class"]) for cell in rows[0].find_all(class_="gb-cell")]
    assert on == [False, False, False, True, True], "input, output and evaluation are as they were"


@pytest.mark.parametrize(("name", "kind"), [("Leave out", "drop"), ("Say several times", "double"), ("Negate", "reword")])
def test_a_named_perturbation_is_two_presses_and_a_run(stepper, name, kind):
    click(stepper, "Run step")
    press(stepper, "Perturb Prompt critique")
    press(stepper, name)
    assert name in text(stepper, "step") and not page(stepper, "step").find(class_="gb-menu")
    click(stepper, "Run as a branch")
    assert [edit.kind for edit in stepper.case.current.edits] == [kind] and stepper.case.current.done
    assert f"branch = case.perturb(1, {gb.edits.code(stepper.case.current.edits[0])})" in text(stepper, "step")


def test_the_menu_offers_what_there_is_in_python():
    helpers = {"branch", "code", "execute", "place_of", "preview", "replace", "replicate", "superseded", "text_at"}
    assert set(menu.PERTURBATIONS) == set(gb.edits.__all__) - helpers
    asking = {name for name, named in menu.PERTURBATIONS.items() if named.asks}
    assert asking == {"negate", "paraphrase"}


@pytest.mark.parametrize("field", ["prediction", "label", "evaluation", "output_critique", "prompt_critique", "candidate"])
def test_every_perturbation_of_every_text_makes_its_branch(bench, field):
    stepper = bench(selection="naive", batch_size=3)
    click(stepper, "Run step")
    click(stepper, "Run step")
    for name, named in [each for group in menu.offered(field).values() for each in group.items()]:
        stepper.go(2)
        key = {"candidate": "candidate-0"}.get(field, f"{field}-0-0")
        key = next(
            record.key for record in records(stepper) if record.key.startswith(key.rsplit("-", 1)[0]) and record.place.field == field
        )
        stepper.do("menu", key=key)
        item = next(item for item in page(stepper, "step").find_all(role="menuitem") if item.get_text().startswith(named.words))
        stepper.do("edit", key=key, kind=name)
        if item.get("aria-disabled"):  # on one short sentence some come to nothing, which the list says, and pressing it all the same
            assert item.small.get_text() in alert(stepper, "message") and not stepper.desk.drafts
            continue
        draft = stepper.desk.drafts[key]
        for one in draft.fields:
            stepper.do("param", key=key, name=one.name, value=str(one.options[-1][0] if one.options else one.value))
        before, said = len(stepper.case), draft.words
        click(stepper, "Branch")
        if draft.wrong:  # the last value of a parameter may come to nothing, where the first does not
            assert draft.wrong in alert(stepper, "message") and len(stepper.case) == before
            stepper.do("discard", key=key)
            continue
        edit = stepper.case.current.edits[0]
        if said:
            assert "".join(s.text for s in said if s.kind != "struck") == edits.text_at(getattr(stepper.case.current, STAGE[field]), edit)


def test_what_makes_no_branch_is_refused_where_the_person_looks_before_it_is_run(stepper):
    click(stepper, "Run step")
    press(stepper, "Perturb Prompt critique")
    press(stepper, "Say several times")
    put(stepper, "How many times", "1")
    assert "times must be 2 to 20, not 1" in text(stepper, "step") and "Output critique" in text(stepper, "step")
    put(stepper, "How many times", "3")
    assert "branch = case.perturb(1, gb.edits.double(" in text(stepper, "step")
    edit(stepper, "Output critique", "changed")
    assert "one branch changes one stage" in text(stepper, "step") and "case.perturb(" not in text(stepper, "step")
    step = stepper.case[1]
    with pytest.raises(gb.GradbookError, match="words that a model is yet to write"):
        stepper.case.branch(step, edits.negate("prompt_critique", example=0), edits.drop_sentence("prompt_critique", 0, example=0))


def test_a_second_perturbation_is_made_of_what_the_first_leaves(stepper):
    click(stepper, "Run step")
    press(stepper, "Perturb Output critique")
    press(stepper, "Weaken or strengthen")
    press(stepper, "Perturb Output critique")
    press(stepper, "Say several times")
    press(stepper, "Perturb Output critique")
    press(stepper, "Leave a sentence out")
    put(stepper, "Sentence", "0")
    strong, double, cut = stepper.desk.drafts.values()
    assert double.before == strong.text == f"{strong.before} Change the output strongly."
    assert (cut.before, cut.text) == (strong.text, "Change the output strongly."), "cut from what the first put there"
    put(stepper, "How strongly", "4")
    assert cut.before.endswith("Change the output drastically.") and cut.text == "Change the output drastically."
    press(stepper, "Take Say several times off Output critique")
    assert [draft.kind for draft in stepper.desk.drafts.values()] == ["strength", "drop_sentence"]
    click(stepper, "Run as a branch")
    assert [edit.kind for edit in stepper.case.current.edits] == ["strength", "cut"]
    assert stepper.case.current.output_critique[0].text == "Change the output drastically."


def test_taking_the_first_off_shows_anew_what_the_second_makes(stepper):
    click(stepper, "Run step")
    edit(stepper, "Output critique", "One. Two.")
    press(stepper, "Perturb Output critique")
    press(stepper, "Leave a sentence out")
    press(stepper, "Take the words by hand off Output critique")
    (cut,) = stepper.desk.drafts.values()
    assert cut.before == stepper.case.current.output_critique[0].text and cut.text == "", "it has one sentence"
    press(stepper, "Discard the edit of Output critique")
    assert stepper.desk.drafts == {}


def test_what_a_model_is_yet_to_write_cannot_be_cut_but_blanked(stepper):
    click(stepper, "Run step")
    press(stepper, "Perturb Output critique")
    press(stepper, "Paraphrase")
    press(stepper, "Perturb Output critique")
    refused = {item.contents[0].strip() for item in page(stepper, "step").find_all(role="menuitem") if item.get("aria-disabled")}
    assert {"Leave a sentence out", "Keep only a sentence"} <= refused and "Weaken or strengthen" not in refused
    press(stepper, "Weaken or strengthen")
    assert "of the words that the model will have written" in text(stepper, "step")
    click(stepper, "Run as a branch")
    assert stepper.case.current.output_critique[0].text.endswith("Please. Change the output strongly.")


def test_the_menu_says_what_would_come_to_nothing_before_it_is_chosen(stepper):
    click(stepper, "Run step")
    press(stepper, "Perturb Label shown")
    items = {item.contents[0].strip(): item.get("aria-disabled") for item in page(stepper, "step").find_all(role="menuitem")}
    assert items == {"A wrong label": None, "No label": None, "Another example’s label": None}
    assert [group["aria-label"] for group in page(stepper, "step").find(role="menu").find_all(role="group")] == ["Label"]
    press(stepper, "No label")
    press(stepper, "Perturb Label shown")
    refused = next(item for item in page(stepper, "step").find_all(role="menuitem") if item.get_text().startswith("No label"))
    assert refused["aria-disabled"] == "true" and "the same would stand there" in refused.small.get_text()
    stepper.do("edit", key=stepper.desk.menu, kind="no_label")
    assert "the same would stand there" in alert(stepper, "message") and len(stepper.desk.drafts) == 1


def records(stepper):
    view = stepper.desk.view
    candidates = [row.record for row in view.choices.rows if row.record] if view.choices else []
    return [*(record for stage in view.stages for record in stage.records if record.place), *candidates]


def test_a_parameter_is_chosen_where_it_stands_and_shows_what_it_makes(stepper):
    click(stepper, "Run step")
    press(stepper, "Perturb Output critique")
    press(stepper, "Weaken or strengthen")
    assert "strongly" in text(stepper, "step") and page(stepper, "step").find("ins")
    put(stepper, "How strongly", "4")
    assert "drastically." in page(stepper, "step").find("ins").get_text()
    press(stepper, "Discard the edit of Output critique")
    press(stepper, "Perturb Output critique")
    press(stepper, "Swap with another example")
    assert "example 1 (" in text(stepper, "step")


def test_an_edit_that_waits_survives_going_elsewhere(stepper):
    click(stepper, "Run step")
    edit(stepper, "Output critique", "half a tho")
    stepper.go(0)
    stepper.go(1)
    assert value(stepper, "Output critique") == "half a tho"
    click(stepper, "Run step")
    assert "An edit waits" in alert(stepper, "message") and len(stepper.case) == 2, "a run would not take the edit with it"
    press(stepper, "Discard the edit of Output critique")
    assert stepper.desk.drafts == {} and not stepper.desk.stages


def test_edits_at_two_stages_are_refused_where_the_person_looks(stepper):
    click(stepper, "Run step")
    edit(stepper, "Output critique", "changed")
    edit(stepper, "Prompt critique", "changed")
    click(stepper, "Branch")
    assert "one branch changes one stage" in alert(stepper, "message") and len(stepper.case) == 2
    assert drafts(stepper) == ["changed", "changed"], "what was typed is still there"


def test_an_edit_begun_while_steps_run_stays_with_its_step(gated):
    stepper, stub = gated
    click_before(stepper, stub)
    put(stepper, "Steps", "2")
    before = len(stub.requests)
    press(stepper, "Run step")
    stub.wait_for(before + 1)
    stepper.draw()
    stepper.go(1)
    edit(stepper, "Output", "K2")
    stub.open_gate()
    wait(stepper)
    assert stepper.shown == 1 and drafts(stepper) == ["K2"] and len(stepper.case) == 4
    click(stepper, "Branch")
    assert stepper.case.current.origin == 1


def click_before(stepper, stub) -> None:
    """One step that is done, and the gate shut again."""
    stub.open_gate()
    click(stepper, "Run step")
    stub.shut_gate()


def test_a_choice_that_waits_survives_going_elsewhere(stepper):
    click(stepper, "Run step")
    other = next(option for option in options(stepper, "Choose") if option != value(stepper, "Choose"))
    put(stepper, "Choose", other)
    stepper.go(0)
    stepper.go(1)
    assert value(stepper, "Choose") == other
    click(stepper, "Branch")
    assert stepper.case[2].select.chosen == int(other) and "edited by hand" in card(stepper, "select")


def test_what_is_gone_cannot_be_edited(stepper):
    click(stepper, "Run step")
    stepper.do("edit", key="output_critique-9-0", kind="replace")
    assert "holds nothing at output_critique-9-0" in alert(stepper, "message")
    stepper.do("edit", key="label-0-0", kind="double")
    assert "nothing of the kind" in alert(stepper, "message") and stepper.desk.drafts == {}


# --- comparing -----------------------------------------------------------------------------------------------------------


def test_an_effect_is_judged_and_drawn(bench):
    stepper = bench(selection="naive")
    click(stepper, "Run step")
    assert "Five draws of each: 60 calls at most" in text(stepper, "effect"), "what it costs is said before"
    click(stepper, "Judge: 5 draws each")
    assert "Step 0, 5 draws, fresh answers of the same prompt" in text(stepper, "effect")
    assert len(page(stepper, "effect").find_all(class_="gb-rerun")) == 10
    assert stepper.case.compare(0, 1).verdict in text(stepper, "effect")


def test_where_nothing_was_changed_the_panel_says_so_and_judges_nothing(bench, stub):
    stepper = bench(selection="naive")
    click(stepper, "Run step")
    again = stepper.case.replicate(1, "rewrite", 1)
    stepper.go(again.id)
    click(stepper, "Score both")
    told = text(stepper, "effect")
    assert f"Step {again.id} is another draw of step 1: nothing was changed between them" in told and "Five draws of each" not in told
    assert not enabled(stepper, "Judge: 5 draws each") and not enabled(stepper, "Until decided") and enabled(stepper, "Score both")
    since = len(stub.requests)
    stepper.do("judge")
    wait(stepper)
    assert len(stub.requests) == since and not stepper.case.found


def test_two_steps_are_pinned_and_compared(stepper):
    click(stepper, "Run step")
    click(stepper, "Run step")
    assert not enabled(stepper, "Pinned")
    stepper.go(1)
    press(stepper, "Pin")
    stepper.go(2)
    press(stepper, "Pin (1)")
    assert stepper.look == "pinned" and "Step 1 → step 2" in text(stepper, "effect")
    shown = page(stepper, "step")
    assert all(title in text(stepper, "step") for title in ("The prompt it began with", "The prompt it ends with", "Prompt critiques"))
    assert shown.find("ins") and shown.find("del")
    press(stepper, "Unpin (1, 2)")
    assert stepper.look == "example" and stepper.desk.pins == [1]


def test_any_step_is_compared_with_any_other(stepper):
    put(stepper, "Steps", "3")
    click(stepper, "Run step")
    assert options(stepper, "Before") == ["0", "1", "2"] and value(stepper, "Before") == "2"
    put(stepper, "Before", "0")
    assert "Step 0 → step 3" in text(stepper, "effect")
    put(stepper, "Split", "train")
    assert "Not yet scored on train" in text(stepper, "effect")
    click(stepper, "Score both")
    assert stepper.case.comparison(0, 3, "train").finding in text(stepper, "effect")
    stepper.do("against", value="17")
    assert "cannot be compared with step 17" in alert(stepper, "message")


# --- notes -----------------------------------------------------------------------------------------------------------------


def test_notes_are_kept_as_they_are_typed(stepper):
    click(stepper, "Run step")
    put(stepper, NOTE, "The **edit** did it.")
    assert stepper.case.note(1) == "The **edit** did it." and page(stepper, "notes").find("strong").get_text() == "edit"
    assert "kept" in text(stepper, "notes")
    stepper.go(0)
    assert value(stepper, NOTE) == ""


def test_a_note_that_cannot_be_kept_says_so_and_its_text_is_not_lost(stepper, tmp_path):
    click(stepper, "Run step")
    put(stepper, NOTE, "first")
    again = gb.Case(tmp_path / "case")
    put(stepper, NOTE, "second, and much to say")
    assert "cannot be kept" in alert(stepper, "notes") and "opened again in this kernel" in alert(stepper, "notes")
    assert value(stepper, NOTE) == "second, and much to say" and again.note(1) == "first"
    stepper.go(0)
    stepper.go(1)
    assert value(stepper, NOTE) == "second, and much to say", "it waits there to be copied"
    assert gb.Recording(tmp_path / "case").note(1) == "first"


# --- replay, what is stored, hostile texts ---------------------------------------------------------------------------------


def test_replay_needs_no_model(stepper, tmp_path):
    click(stepper, "Run step")
    replay = gb.Stepper(gb.Case(tmp_path / "case"))
    assert page(replay, "head").find(class_="gb-badge").get_text() == "replay" and not enabled(replay, "Run step")
    assert not page(replay, "step").find(class_="gb-acts")
    replay.go(0)
    replay.go(1)
    assert replay.case.current.id == 1
    put(replay, NOTE, "read without a model")
    assert replay.case.note(1) == "read without a model"


def test_a_read_only_case_says_why_and_can_be_walked(stepper, tmp_path):
    click(stepper, "Run step")
    replay = gb.Stepper(gb.Recording(tmp_path / "case"))
    replay.go(0)
    assert "Read only: it is open as a recording" in text(replay, "head") and replay.shown == 0
    assert control(replay, NOTE, "field").has_attr("readonly")
    for do in ("step", "stage", "branch", "score", "judge"):
        replay.do(do)
        assert alert(replay, "message") and not replay.desk.busy
    replay.do("note", step=0, value="x")
    assert alert(replay, "notes")


def test_a_region_that_cannot_be_drawn_says_why_and_the_others_are(bench):
    stepper = bench(selection="naive")
    click(stepper, "Run step")
    journal = stepper.case.path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"answer"', b'"ans"  ,'))  # somebody else's hand, while it is open
    stepper.go(0)
    stepper.go(1)
    assert (
        "journal.jsonl was changed by another hand" in alert(stepper, "effect")
        and stepper.shown == 1
        and "Prompt critique" in text(stepper, "step")
    )


def test_export_says_where_it_went(stepper):
    click(stepper, "Run step")
    click(stepper, "Export .html")
    assert "Exported to" in text(stepper, "message") and (stepper.case.path / "case.html").exists()


def test_what_is_stored_reads_without_a_kernel_and_is_small(stepper):
    click(stepper, "Run step")
    put(stepper, NOTE, "Look **here**.")
    stored = stepper._repr_mimebundle_()[0]["text/html"]
    for words in ("Run this cell to work on the case", "Give each item its code.", "K1", "<strong>here</strong>", "Step 1"):
        assert words.casefold() in stored.casefold()
    assert not re.search(r"<(button|input|textarea|select|script)", stored)
    assert len(stored) + len(str(stepper.get_state())) < 300_000


@pytest.mark.parametrize("settings", [{}, {"evaluation": "critic-score"}, {"labels": "wrong", "update": "one-step"}], ids=str)
def test_what_models_and_people_wrote_stays_text(tmp_path, settings):
    def hostile(messages, body):
        return ATTACK if messages[0]["role"] == "system" else f"<prompt>red means K1 {ATTACK}</prompt>"

    with Stub(reply=hostile) as stub:
        rows = [{"input": f"{n} {ATTACK}", "target": f"{'a' if n % 2 else 'b'} {ATTACK}"} for n in range(12)]
        frame, splits = pd.DataFrame(rows), {"sizes": (4, 4, 4), "seed_prompt": ATTACK, "format_instruction": ATTACK}
        task = gb.Task.from_frame(frame, input="input", target="target", **splits)
        model, method = gb.connect("small", base_url=stub.url, api_key="k"), gb.Method(**settings)
        stepper = gb.Stepper(gb.Case(tmp_path / "case", task=task, model=model, method=method, title=ATTACK))
        shown = ""
        for look in ("stage", "example"):
            click(stepper, "Run step")
            stepper.do("look", look=look)
            shown += str([getattr(stepper, name) for name in REGIONS])
        put(stepper, NOTE, ATTACK)
        press(stepper, "Pin")
        stepper.go(1)
        press(stepper, "Pin (2)")
        shown += str([getattr(stepper, name) for name in REGIONS]) + stepper._repr_mimebundle_()[0]["text/html"]
    assert shown.count("&lt;script&gt;") > 10
    assert not re.search(r"<(script|img)", shown)


def test_one_widget_is_all_there_is(stepper):
    click(stepper, "Run step")
    before = len(_instances)
    for _ in range(5):
        stepper.go(0)
        stepper.go(1)
        edit(stepper, "Output", "changed")
        press(stepper, "Discard the edit of Output")
    assert len(_instances) == before


def test_a_step_and_its_text_are_sent_only_where_they_changed(stepper):
    click(stepper, "Run step")
    sent = []
    stepper.observe(lambda change: sent.append(change["name"]), list(REGIONS))
    put(stepper, NOTE, "seen")
    assert set(sent) <= {"notes", "tree"}
    sent.clear()
    edit(stepper, "Output", "changed")
    assert set(sent) <= {"step", "tools"}
    sent.clear()
    stepper.go(0)
    assert "tree" not in sent, "a thousand rows are not drawn anew for a click"
