"""A recording goes on: a copy of it, on the model that it was recorded with."""

import shutil
import threading
from pathlib import Path

import pytest

import gradbook as gb
from gradbook.ui import waking
from small import small_task
from ui.page import alert, click, edit, enabled, press, text, wait

RECORDED = Path(__file__).resolve().parents[2] / "casestudies" / "first_step"
SMALL = "smollm2-135m"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with a recorded case in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RECORDED, tmp_path / "first_step", ignore=shutil.ignore_patterns("*.lock"))
    return tmp_path


@pytest.mark.parametrize(("there", "label"), [(True, "1.5b"), (False, "1.5b (1,117 MB to fetch first)")])
def test_a_recording_says_what_it_takes_to_perturb_it(here, monkeypatch, there, label):
    monkeypatch.setattr(waking, "installed", lambda name: there)
    replay = gb.Stepper(gb.Recording(here / "first_step"))
    assert text(replay, "head").endswith(f"Perturb a copy with qwen2.5-coder-{label}")
    assert not enabled(replay, "Run step")


def test_weights_that_cannot_be_had_are_told_and_the_recording_stays(here, monkeypatch):
    def refused(name, **_):
        raise gb.GradbookError("no network here")

    monkeypatch.setattr(waking, "connect", refused)
    replay = gb.Stepper(gb.Recording(here / "first_step"))
    before = files(here)
    click(replay, replay.desk.wake.label)
    assert alert(replay, "message") == "no network here" and isinstance(replay.case, gb.Recording) and not isinstance(replay.case, gb.Case)
    assert files(here) == before


def test_what_an_endpoint_recorded_says_the_line_of_python(stepper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    click(stepper, "Run step")
    stepper.case.close()
    (tmp_path / "cases" / "case").mkdir(parents=True)
    replay = gb.Stepper(gb.Recording(tmp_path / "case"))
    assert 'To perturb it: gb.Case(case.copy("cases/case-2"), model=gb.connect("small"))' in text(replay, "head")
    assert "To perturb it" not in text(stepper, "head"), "a case that was closed is not read again here"
    unopened = gb.Stepper(gb.Case(tmp_path / "case"))
    assert 'To perturb it: gb.Case("case", model=gb.connect("small"))' in text(unopened, "head")


def test_a_copy_of_a_trial_is_called_by_its_arm(here, monkeypatch):
    monkeypatch.setattr(waking, "connect", lambda name, **_: gb.connect("small", base_url="http://127.0.0.1:1/v1", api_key="k"))
    (here / "study" / "wrong-labels-0818f8d3").mkdir(parents=True)
    shutil.move(here / "first_step", here / "study" / "wrong-labels-0818f8d3" / "0")
    trial = gb.Recording(here / "study" / "wrong-labels-0818f8d3" / "0")
    case = waking.woken(trial, waking.models(trial))
    assert case.path == here / "cases" / "wrong-labels-0818f8d3-0" and "cases/wrong-labels-0818f8d3-0" in waking.said(case, trial)


def test_a_copy_that_is_stopped_while_it_opens_is_closed(here, monkeypatch):
    monkeypatch.setattr(waking, "connect", lambda name, **_: gb.connect("small", base_url="http://127.0.0.1:1/v1", api_key="k"))
    opens, go_on, opened, made = threading.Event(), threading.Event(), waking.woken, []

    def slow(*case):
        made.append(opened(*case))
        opens.set()
        assert go_on.wait(30)
        return made[-1]

    monkeypatch.setattr(waking, "woken", slow)
    replay = gb.Stepper(gb.Recording(here / "first_step"))
    press(replay, replay.desk.wake.label)
    assert opens.wait(30)
    press(replay, "Stop")
    wait(replay)
    assert text(replay, "message").startswith("Stopped") and replay.case.path == here / "first_step"
    go_on.set()
    click(replay, replay.desk.wake.label)
    assert replay.case.path == here / "cases" / "first_step-2"
    assert made[0].path == here / "cases" / "first_step" and made[0].read_only_because == "it was closed"


def test_a_case_without_anything_on_record_says_nothing(tmp_path):
    gb.Case(tmp_path / "case", task=small_task()).close()
    assert waking.wake(gb.Recording(tmp_path / "case")) is None


@pytest.mark.embedded
def test_a_copy_goes_on_where_the_recording_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADBOOK_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    model = gb.connect(SMALL, sampling={"max_tokens": 12}, cache=False)
    case = gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(selection="naive"))
    case.step()
    case.close()
    before = files(tmp_path / "case")
    replay = gb.Stepper(gb.Recording(tmp_path / "case"))
    replay.go(1)
    label = f"Perturb a copy with {SMALL}"
    click(replay, label)
    assert alert(replay, "message") == "" and "This is a copy, cases/case; the recording stays as it is." in text(replay, "message")
    assert isinstance(replay.case, gb.Case) and replay.case.path == tmp_path / "cases" / "case" and replay.shown == 1
    assert label not in text(replay, "head") and "embedded" in text(replay, "head")
    edit(replay, "Prompt critique", "Say which colour means which label.")
    click(replay, "Branch")
    assert len(replay.case) == 3 and replay.case[2].done and replay.case[2].rewrite != replay.case[1].rewrite
    assert {facts["id"] for facts in replay.case.model_facts.values()} == {model.id}, "it is the very model, with its sampling"
    assert files(tmp_path / "case") == before
    replay.case.close()
    again = gb.Stepper(gb.Case(tmp_path / "cases" / "case"))
    click(again, f"Go on with {SMALL}")
    assert again.case.path == replay.case.path and enabled(again, "Run step") and "copy" not in text(again, "message")
