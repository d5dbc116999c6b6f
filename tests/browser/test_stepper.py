"""The main job, end to end, in real JupyterLab on a model that runs on this machine."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from browser.lab import LabPage, write_notebook
from small import reply
from stub import Stub

CELL = """
import gradbook as gb

task = gb.tasks.ticket_routing(codes=3, sizes=(6, 6, 6))
model = gb.connect("smollm2-135m", sampling={"max_tokens": 40})
case = gb.Case("mine", task=task, model=model, method=gb.Method(selection="naive"))
stepper = gb.Stepper(case)
stepper
"""
WORDS = "Inputs about parcels and couriers get the answer K1. <b>bold</b>"
LONG = 180_000  # milliseconds: a step of the smallest model, on a busy machine


def events(page: LabPage, kind: str) -> list[dict]:
    """The events of one kind in the journal that the kernel writes."""
    lines = (page.lab.root / "mine" / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def accuracy(page: LabPage, index: int) -> str:
    """The accuracy of the score event at `index`, as the page writes it."""
    answers = events(page, "score")[index]["score"]["answers"]
    right = sum(answer["correct"] for answer in answers)
    return f"{right / len(answers):.1%} ({right}/{len(answers)})"


def test_step_edit_rerun_note_export(open_lab: Callable[..., LabPage], tmp_path: Path) -> None:
    page = open_lab(write_notebook(tmp_path / "main.ipynb", CELL), env={"GRADBOOK_THREADS": "1"})
    page.open("main.ipynb")
    assert page.run_all() == []
    stepper = page.locator(".gradbook-stepper")
    expect(stepper.get_by_text("seed prompt").first).to_be_visible()

    stop = stepper.get_by_role("button", name="Stop")
    stepper.get_by_role("button", name="Run step").click()
    expect(stop).to_be_enabled()
    expect(stepper.locator(".gb-status")).to_contain_text("calls")
    page.screenshot("main-1-running")
    expect(stop).to_be_disabled(timeout=LONG)
    expect(stepper.locator(".gb-error")).to_have_count(0)
    assert [stage["stage"] for stage in events(page, "stage")][-1] == "select"
    effect = stepper.locator(".gb-effect")
    expect(effect).to_contain_text(accuracy(page, -1))
    critique = events(page, "stage")[3]["prompt_critique"][0]["text"]
    card = stepper.locator(".gb-stage-prompt_critique")
    expect(card).to_contain_text(" ".join(critique.split())[:40])
    page.screenshot("main-2-step")

    card.get_by_role("button", name="Edit").first.click()
    card.locator("textarea").first.fill(WORDS)
    expect(card.locator("ins").first).to_be_visible()
    card.get_by_label("Reason").fill("what the labels say")
    stages = len(events(page, "stage"))
    card.get_by_role("button", name="Run as a branch").click()
    expect(stepper.locator(".gb-byhand")).to_contain_text("what the labels say", timeout=LONG)
    expect(stop).to_be_disabled(timeout=LONG)
    branch = events(page, "step")[-1]["step"]
    assert branch["origin"] == 1 and branch["edits"][0]["text"] == WORDS and branch["edits"][0]["before"] == critique
    assert [stage["stage"] for stage in events(page, "stage")[stages:]] == ["prompt_critique", "rewrite", "select"], (
        "nothing else ran again"
    )
    expect(effect).to_contain_text(accuracy(page, -1))
    expect(stepper.locator(".gb-tree option")).to_have_count(3)
    expect(stepper.locator(".gb-tree option").nth(2)).to_contain_text("✎ prompt critique")
    expect(card.locator(".gb-byhand + .gb-text ins").first).to_be_visible()
    assert card.locator("b").count() == 0, "what was typed stays text"
    page.screenshot("main-3-branch")

    note = stepper.locator(".gb-notes textarea")
    note.fill("The edit **named** the parcels.")
    expect(stepper.locator(".gb-notes strong")).to_have_text("named")
    expect(stepper.locator(".gb-notes .gb-caption")).to_contain_text("kept")
    assert events(page, "note")[-1] | {"time": ""} == {"event": "note", "step": 2, "text": "The edit **named** the parcels.", "time": ""}

    for ending in ("ipynb", "html"):
        stepper.get_by_role("button", name=f"Export .{ending}").click()
        expect(stepper.locator(".gb-message .gb-said")).to_contain_text(f"mine.{ending}", timeout=LONG)
    exported = (page.lab.root / "mine" / "mine.html").read_text()
    told = re.sub(r"<del>.*?</del>|<[^>]+>", "", exported)
    assert "<strong>named</strong>" in exported and "parcels and couriers" in told and "<b>bold</b>" not in exported
    assert json.loads((page.lab.root / "mine" / "mine.ipynb").read_text())["nbformat"] == 4

    page.theme("dark")
    page.screenshot("main-4-dark")
    assert page.foreign == []
    assert not [error for error in page.errors if not re.search(r"favicon|404", error)]


def test_a_person_walks_a_recorded_case_with_the_keyboard(open_lab: Callable[..., LabPage], tmp_path: Path) -> None:
    recorded = Path(__file__).resolve().parents[2] / "casestudies"
    cell = 'import gradbook as gb\nstepper = gb.Stepper(gb.Recording("first_step"))\nstepper'
    page = open_lab(recorded, write_notebook(tmp_path / "replay.ipynb", cell))
    page.open("replay.ipynb")
    assert page.run_all() == []
    stepper = page.locator(".gradbook-stepper")
    expect(stepper.locator(".gb-badge")).to_have_text("replay")
    expect(stepper.get_by_role("button", name="Run step")).to_be_disabled()
    tree = stepper.locator(".gb-tree select")
    tree.focus()
    page.keyboard.press("Home")
    expect(stepper.locator(".gb-notes h3")).to_have_text("Note on step 0")
    page.keyboard.press("ArrowDown")
    expect(stepper.locator(".gb-notes h3")).to_have_text("Note on step 1")
    expect(stepper.locator(".gb-stage-rewrite ins").first).to_be_visible()
    stepper.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    expect(stepper.locator(".gb-notes h3")).to_have_text("Note on step 0")
    page.screenshot("replay")


SMALL = """
import gradbook as gb
from small import small_task

stepper = gb.Stepper(gb.Case("mine", task=small_task(), model=gb.connect("small", api_key="k")))
stepper
"""


def test_another_method_is_chosen_in_the_panel(open_lab: Callable[..., LabPage], tmp_path: Path) -> None:
    with Stub(reply=reply) as stub:
        env = {"OPENAI_BASE_URL": stub.url, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        page = open_lab(write_notebook(tmp_path / "method.ipynb", SMALL), env=env)
        page.open("method.ipynb")
        assert page.run_all() == []
        stepper = page.locator(".gradbook-stepper")
        update = stepper.get_by_label("update")
        expect(update).to_be_hidden()
        stepper.get_by_role("button", name="Method").focus()
        page.keyboard.press("Enter")
        expect(update).to_be_visible()
        use = stepper.get_by_role("button", name="Use from the next step on")

        stepper.get_by_label("critiques").fill("2")
        page.keyboard.press("Tab")
        update.select_option("one-step")
        expect(stepper.get_by_role("alert")).to_contain_text("critiques=2")
        expect(use).to_be_disabled()
        page.screenshot("method-1-refused")
        stepper.get_by_role("button", name="Discard changes").click()
        expect(stepper.get_by_role("alert")).to_have_count(0)
        update.select_option("one-step")
        use.click()
        expect(stepper.locator(".gb-method-line")).to_contain_text("one-step")
        assert events(page, "method")[-1]["method"]["update"] == "one-step"

        stepper.get_by_role("button", name="Method").click()
        expect(update).to_be_hidden()
        stepper.get_by_role("button", name="Run step").click()
        stages = ("predict", "evaluate", "rewrite", "select")
        expect(stepper.locator("[class*=gb-stage-]")).to_have_count(len(stages))
        expect(stepper.locator(".gb-stage-select")).to_contain_text("chosen")
        for number, stage in enumerate(stages, start=1):
            expect(stepper.locator(f".gb-stage-{stage} h3")).to_contain_text(f"{number} {stage.title()}")
        page.screenshot("method-2-one-step")
        assert page.foreign == []
