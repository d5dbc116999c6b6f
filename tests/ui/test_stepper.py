"""The workbench without a browser: what its buttons do, and what it shows."""

import re
import threading

import pandas as pd
import pytest
from ipywidgets import Button
from ipywidgets.widgets.widget import _instances

import gradbook as gb
from small import reply, small_task
from stub import Stub
from ui.page import button, click, edit, page, wait, walk

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_run_stage_runs_one_stage(stepper):
    click(stepper, "Run stage")
    step = stepper.case.current
    assert step.id == 1 and step.predict is not None and step.next_stage == "evaluate"
    click(stepper, "Run stage")
    assert stepper.case.current.next_stage == "output_critique"


def test_run_step_scores_it_and_says_so(stepper):
    click(stepper, "Run step")
    case = stepper.case
    assert case.current.done and case.metrics(1) is not None and case.metrics(0) is not None
    assert f"{case.metrics(1).accuracy.value:.1%}" in page(stepper)
    assert [value for _, value in stepper.tree.select.options] == [0, 1]


def test_an_edit_becomes_a_branch_and_is_marked(stepper):
    click(stepper, "Run step")
    place = next(key for key in stepper.cards.editables if key[0] == "prompt_critique")
    editable = stepper.cards.editables[place]
    editable.edit.click()
    editable.area.value = "blue means K3 and red means K1"
    assert "<ins>" in page(stepper)
    stepper.cards.why.value = "two rules at once"
    click(stepper, "Run as a branch")
    branch = stepper.case.current
    assert branch.origin == 1 and branch.edits[0].text == "blue means K3 and red means K1" and branch.edits[0].why == "two rules at once"
    assert "edited by hand: two rules at once" in page(stepper)
    assert stepper.cards.pending == []
    assert stepper.effect.against == 1


def test_an_edit_that_waits_survives_going_elsewhere(stepper):
    click(stepper, "Run step")
    place = next(key for key in stepper.cards.editables if key[0] == "output_critique")
    stepper.cards.editables[place].edit.click()
    stepper.cards.editables[place].area.value = "half a tho"
    stepper.go(0)
    stepper.go(1)
    assert stepper.cards.editables[place].area.value == "half a tho"
    button(stepper, "Run step").click()
    assert "An edit waits" in page(stepper), "a run would not take the edit with it, so it is refused"
    button(stepper, "Discard edit").click()
    assert stepper.cards.pending == []


def test_edits_at_two_stages_are_refused_where_the_person_looks(stepper):
    click(stepper, "Run step")
    for field in ("output_critique", "prompt_critique"):
        place = next(key for key in stepper.cards.editables if key[0] == field)
        stepper.cards.editables[place].edit.click()
        stepper.cards.editables[place].area.value = "changed"
    click(stepper, "Branch")
    assert "one branch changes one stage" in page(stepper) and len(stepper.case) == 2
    assert len(stepper.cards.pending) == 2, "what was typed is still there"


def test_the_noise_floor_is_run_and_drawn(stepper):
    click(stepper, "Run step")
    click(stepper, "Noise floor × 5")
    assert "6 runs without a change" in page(stepper)
    assert len(stepper.effect.figure.data) >= 3


def test_undo_goes_to_the_parent(stepper):
    click(stepper, "Run step")
    click(stepper, "Undo")
    assert stepper.case.current.id == 0 and button(stepper, "Undo").disabled


def test_a_failure_is_shown_and_the_step_goes_on_afterwards(stepper, stub):
    stub.fail(500)
    click(stepper, "Run step")
    assert 'role="alert"' in page(stepper) and "500" in page(stepper)
    click(stepper, "Run step")
    assert stepper.case.current.done and 'role="alert"' not in page(stepper)


def test_stop_keeps_what_has_finished(tmp_path):
    with Stub(reply=reply, gate=True) as stub:
        case = gb.Case(tmp_path / "case", task=small_task(), model=gb.connect("small", base_url=stub.url, api_key="k"))
        stepper = gb.Stepper(case)
        button(stepper, "Run step").click()
        stub.wait_for(3)
        assert not button(stepper, "Stop").disabled and button(stepper, "Run step").disabled
        future = stepper.future
        button(stepper, "Stop").click()
        assert future.cancelled()
        stub.open_gate()
        assert "Stopped" in page(stepper)
        click(stepper, "Run step")
        assert case.current.done
        asked = [(r.body["messages"][-1]["content"], r.body["seed"], str(r.body["messages"][0])) for r in stub.requests]
        assert len(asked) == len(set(asked)), "the calls that were under way at Stop were kept"


def test_notes_are_kept_as_they_are_typed(stepper):
    click(stepper, "Run step")
    stepper.notes.area.value = "The **edit** did it."
    stepper.notes._timer.join(5)
    assert stepper.case.note(1) == "The **edit** did it." and "<strong>edit</strong>" in page(stepper)
    stepper.notes.area.value += " Or not."
    stepper.go(0)
    assert stepper.case.note(1).endswith("Or not."), "going elsewhere keeps what was typed last"
    assert stepper.notes.area.value == ""


def test_replay_needs_no_model(stepper, tmp_path):
    click(stepper, "Run step")
    replay = gb.Stepper(gb.Case(tmp_path / "case"))
    assert ">replay<" in page(replay) and button(replay, "Run step").disabled
    assert all(made.disabled for made in walk(replay) if isinstance(made, Button) and made.description == "Edit")
    replay.go(0)
    replay.go(1)
    assert replay.case.current.id == 1


def test_a_read_only_case_says_why_and_can_be_walked(stepper, tmp_path):
    click(stepper, "Run step")
    replay = gb.Stepper(gb.Recording(tmp_path / "case"))
    replay.go(0)
    assert "Read only: it is open as a recording" in page(replay) and "Note on step 0" in page(replay)


def test_export_says_where_it_went(stepper):
    click(stepper, "Run step")
    click(stepper, "Export .html")
    assert "Exported to" in page(stepper) and (stepper.case.path / "case.html").exists()


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
        for _ in range(2):
            click(stepper, "Run step")
            shown += page(stepper)
        stepper.notes.area.value = ATTACK
        stepper.notes.flush()
        shown += page(stepper) + stepper._repr_mimebundle_()["text/html"]
    assert shown.count("&lt;script&gt;") > 10
    assert not re.search(r"<(script|img)", shown)


def test_closed_widgets_do_not_pile_up(stepper):
    click(stepper, "Run step")

    def round_trip() -> int:
        stepper.go(0)
        stepper.go(1)
        return len(_instances)

    round_trip()
    assert round_trip() == round_trip()


def test_several_steps_run_in_a_row(stepper):
    stepper.steps.value = 3
    click(stepper, "Run step")
    assert stepper.case.current.id == 3 and all(step.done for step in stepper.case)
    assert all(stepper.case.metrics(step) for step in stepper.case), "each is scored"
    assert "Note on step 3" in page(stepper)


def test_a_row_of_steps_takes_the_critics_turns_too(bench):
    stepper = bench(evaluation="critic-score", candidates=1)
    stepper.steps.value = 4
    click(stepper, "Run step")
    assert [step.variable for step in stepper.case][1:] == ["prompt", "critic", "prompt", "critic"]
    assert stepper.case.metrics(4).recall.keys() == {"right", "wrong"}
    told = stepper._repr_mimebundle_()["text/html"]
    assert "step 4, ⚖ critic" in told and "⚖: agrees with the gold answers" in told


def test_a_row_of_steps_says_where_it_is_and_stops(tmp_path):
    seen = []
    with Stub(reply=reply, latency=0.2) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k")
        stepper = gb.Stepper(gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(candidates=1)))
        stepper.steps.value = 1000
        second = threading.Event()

        def watch(change):
            seen.append(change["new"])
            if change["new"].startswith("step 2 of 1000"):
                second.set()

        stepper._status.observe(watch, "value")
        button(stepper, "Run step").click()
        assert second.wait(20), seen
        assert stepper.steps.disabled and button(stepper, "Use from the next step on").disabled
        button(stepper, "Stop").click()
        wait(stepper)
        assert "Stopped in step 2 of 1000" in page(stepper) and not stepper.steps.disabled
        assert stepper.case[1].done and not stepper.case[2].done and len(stepper.case) == 3
        stepper.steps.value = 1
        click(stepper, "Run step")
        assert stepper.case.current.id == 2 and stepper.case.current.done


def test_an_edit_begun_while_steps_run_stays_with_its_step(tmp_path):
    with Stub(reply=reply, latency=0.05) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k")
        stepper = gb.Stepper(gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(candidates=1)))
        stepper.steps.value = 2
        answered = threading.Event()
        stepper.cards.observe(lambda _: answered.set() if "prediction" in str(stepper.cards.editables.keys()) else None, "children")
        button(stepper, "Run step").click()
        assert answered.wait(20)
        edit(stepper, "prediction", "K2")
        wait(stepper)
        assert len(stepper.case) == 3 and [change.text for change in stepper.cards.pending] == ["K2"]
        assert "Note on step 1" in page(stepper)
        click(stepper, "Branch")
        assert stepper.case.current.origin == 1
