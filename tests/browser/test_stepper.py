"""The main job, end to end, in real JupyterLab and Notebook 7: with a mouse, with keys alone, on a model that runs on this machine."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from browser.lab import LabPage, write_notebook
from browser.states import Shown, shown, stored

CELL = """
import gradbook as gb

task = gb.tasks.ticket_routing(codes=3, sizes=(6, 6, 6))
model = gb.connect("smollm2-135m", sampling={"max_tokens": 40})
case = gb.Case("mine", task=task, model=model, method=gb.Method(selection="naive"))
gb.Stepper(case)
"""
WORDS = "Inputs about parcels and couriers get the answer K1. <b>bold</b>"
BRANCHES = 120
LONG = 180_000  # milliseconds: a step of the smallest model, on a busy machine


def events(page: LabPage, case: str, kind: str) -> list[dict[str, Any]]:
    """The events of one kind in the journal that the kernel writes."""
    lines = (page.lab.root / case / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def quiet(page: LabPage) -> None:
    """Nothing was asked of anybody but the server, and no script failed; "schema" is Notebook 7's own, with a notebook of any kind."""
    assert page.foreign == []
    assert not [error for error in page.errors if not re.search(r"favicon|404|reading 'schema'", error)]


@pytest.fixture
def bench(browser: Browser) -> Iterator[Shown]:
    with shown(browser, BRANCHES) as made:
        yield made


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_step_edit_branch_note_export(bench: Shown, app: str) -> None:
    bench.open("work.ipynb", app)
    bench.press("Run step")
    bench.at(1)
    bench.idle()
    critique = events(bench.page, "work", "stage")[3]["prompt_critique"][0]["text"]
    bench.press("Edit Prompt critique")
    field = bench.root.get_by_label("Prompt critique", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_value(critique)
    field.fill(WORDS)
    expect(bench.root.locator(".gb-draft ins").first).to_be_visible()
    bench.root.get_by_label("Reason").first.fill("what the labels say")
    stages = len(events(bench.page, "work", "stage"))
    bench.press("Run as a branch")
    bench.at(2)
    bench.idle()
    branch = events(bench.page, "work", "step")[-1]["step"]
    edit = branch["edits"][0]
    assert (branch["origin"], edit["text"], edit["before"], edit["why"]) == (1, WORDS, critique, "what the labels say")
    ran = [stage["stage"] for stage in events(bench.page, "work", "stage")[stages:]]
    assert ran == ["prompt_critique", "rewrite", "select"], "nothing else ran again"
    expect(bench.root.locator(".gb-byhand").first).to_contain_text("what the labels say")
    assert bench.root.locator("b", has_text="bold").count() == 0, "what was typed stays text"
    bench.root.get_by_label("Note on step 2").fill("The edit **named** the parcels.")
    expect(bench.root.locator(".gb-notes strong")).to_have_text("named")
    expect(bench.root.locator(".gb-notes .gb-state")).to_have_text("kept")
    assert events(bench.page, "work", "note")[-1]["text"] == "The edit **named** the parcels."
    for ending in ("ipynb", "html"):
        bench.press(f"Export .{ending}")
        expect(bench.root.locator(".gb-message")).to_contain_text(f"work.{ending}")
    exported = (bench.page.lab.root / "work" / "work.html").read_text()
    assert "<strong>named</strong>" in exported and "<b>bold</b>" not in exported
    quiet(bench.page)


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_keys_alone(bench: Shown, app: str) -> None:
    bench.open("work.ipynb", app)
    bench.root.locator("[role=treeitem]").first.focus()  # from here on, keys
    keys = bench.page.keyboard
    _tab(bench, "Run step", back=True)
    keys.press("Enter")
    bench.at(1)
    bench.idle()
    _tab(bench, "Edit Prompt critique")
    keys.press("Enter")
    expect(bench.root.get_by_label("Prompt critique", exact=True)).to_be_focused()
    keys.press("Control+A")
    keys.type("Say K1, not K2. a b x y m")  # letters that JupyterLab would take for commands
    _tab(bench, "Reason")
    keys.type("a test of dd keys")
    _tab(bench, "Run as a branch")
    keys.press("Enter")
    bench.at(2)
    bench.idle()
    edit = events(bench.page, "work", "step")[-1]["step"]["edits"][0]
    assert (edit["text"], edit["why"]) == ("Say K1, not K2. a b x y m", "a test of dd keys")
    _tab(bench, "Note on step 2")
    keys.type("Written with keys.")
    expect(bench.root.locator(".gb-notes .gb-state")).to_have_text("kept")
    _tab(bench, "2", back=True)  # the step in the tree
    keys.press("ArrowUp")
    bench.at(1)
    keys.press("ArrowLeft")
    expect(bench.root.locator('[data-step-id="1"]')).to_have_attribute("aria-expanded", "false")
    expect(bench.root.locator('[data-step-id="2"]')).to_be_hidden()
    keys.press("ArrowRight")
    keys.press("ArrowDown")
    bench.at(2)
    _tab(bench, "Export .html", back=True)
    keys.press("Enter")
    expect(bench.root.locator(".gb-message")).to_contain_text("work.html")
    assert (bench.page.lab.root / "work" / "work.html").exists() and bench.page.locator(".jp-Cell").count() == 1
    assert events(bench.page, "work", "note")[-1]["text"] == "Written with keys."
    quiet(bench.page)


FOCUSED = """() => { const at = document.activeElement, label = at.labels?.[0]?.innerText ?? '';
    return at.closest('.gradbook-stepper') ? (at.ariaLabel || label || at.dataset.stepId || at.innerText).trim() : ''; }"""


def _tab(bench: Shown, name: str, back: bool = False) -> None:
    """Press Tab until the control of this name has the focus."""
    passed = []
    for _ in range(120):
        bench.page.keyboard.press("Shift+Tab" if back else "Tab")
        passed.append(bench.page.evaluate(FOCUSED))
        if passed[-1] == name:
            return
    raise AssertionError(f"Tab never came to {name}, but to {passed}")


def test_a_menu_is_walked_with_keys_and_gives_the_focus_back(bench: Shown) -> None:
    bench.open("work.ipynb")
    bench.press("Run step")
    bench.at(1)
    bench.idle()
    opener = bench.root.get_by_role("button", name="Perturb Label shown").first
    item = lambda name: bench.root.get_by_role("menuitem", name=name)  # noqa: E731
    opener.press("Enter")
    expect(item("A wrong label")).to_be_focused()
    for key, name in (
        ("ArrowDown", "No label"),
        ("ArrowUp", "A wrong label"),
        ("ArrowUp", "Another example"),
        ("ArrowDown", "A wrong label"),
    ):
        bench.page.keyboard.press(key)
        expect(item(name)).to_be_focused()
    bench.page.keyboard.press("Escape")
    expect(bench.root.get_by_role("menu")).to_have_count(0)
    expect(opener).to_be_focused()
    opener.press("Enter")
    expect(item("A wrong label")).to_be_focused()
    bench.page.keyboard.press("ArrowDown")
    bench.page.keyboard.press("Enter")
    expect(bench.root.get_by_role("button", name="Discard the edit of Label shown")).to_be_focused()
    opener.press("Enter")
    expect(item("A wrong label")).to_be_focused()
    expect(item("No label")).to_have_attribute("aria-disabled", "true")
    bench.page.keyboard.press("ArrowDown")
    bench.page.keyboard.press("Enter")
    expect(bench.root.get_by_role("menu")).to_be_visible()
    bench.page.keyboard.press("Tab")
    expect(bench.root.get_by_role("menu")).to_have_count(0)


def test_drafts_scroll_and_folds_stay_where_they_are(bench: Shown) -> None:
    bench.open("eight.ipynb")
    bench.widen(1200)
    bench.go(1)
    step = bench.root.locator(".gb-step")
    step.get_by_text("What stands in the columns").click()
    bench.press("Edit Output critique", at=3)
    field = bench.root.get_by_label("Output critique", exact=True)
    field.fill("half a tho")
    expect(bench.root.locator(".gb-draft ins").first).to_be_visible()
    before = step.evaluate("at => at.scrollTop")
    assert before > 100
    expect(field).to_be_focused()
    bench.root.get_by_label("Note on step 1").fill("elsewhere")
    expect(bench.root.locator(".gb-notes .gb-state")).to_have_text("kept")
    assert step.evaluate("at => at.scrollTop") == before
    expect(step.locator("[data-fold=columns]")).to_have_attribute("open", "")
    bench.go(2)
    bench.go(1)
    expect(field).to_have_value("half a tho")
    expect(step.locator("[data-fold=columns]")).to_have_attribute("open", "")


def test_a_tree_is_folded_by_its_arrow(bench: Shown) -> None:
    bench.open("replay.ipynb")
    rows = bench.root.locator("[role=treeitem]:visible")
    everything = rows.count()
    first = bench.root.locator('[data-step-id="1"]')
    assert first.get_attribute("aria-level") == "1"
    first.click(position={"x": 8, "y": 8})
    expect(first).to_have_attribute("aria-expanded", "false")
    expect(rows).to_have_count(everything - 1)
    assert bench.root.get_attribute("data-step") != "1", "the arrow folds and does not go there"
    first.click(position={"x": 8, "y": 8})
    expect(rows).to_have_count(everything)


def test_a_long_tree_is_filtered_and_searched_and_shows_where_one_is(bench: Shown) -> None:
    bench.open("many.ipynb")
    rows = bench.root.locator("[role=treeitem]:visible")
    here = bench.root.locator("[role=treeitem][aria-selected=true]")
    expect(here).to_have_attribute("data-step-id", str(BRANCHES + 2))
    expect(here).to_be_in_viewport()
    bench.root.get_by_label("Show which steps").select_option("noted")
    expect(rows).to_have_count(2)  # the branch with a note, and the step that it is a branch of
    expect(bench.root.get_by_role("status").filter(has_text="shown")).to_have_text(f"2 of {BRANCHES + 3} shown")
    bench.root.get_by_label("Show which steps").select_option("")
    expect(rows).to_have_count(BRANCHES + 3)
    bench.root.get_by_label("Search the steps").fill("the 100TH way")
    expect(rows).to_have_count(2)
    bench.root.get_by_label("Search the steps").fill("seed")
    expect(rows).to_have_count(1)


def test_a_stored_notebook_reads_without_a_kernel(bench: Shown) -> None:
    kept = stored(bench)
    assert "Route the support ticket" in kept and len(kept) < 100_000
    read = bench.page.locator(".gradbook")
    expect(read.get_by_text("Run this cell to work on the case")).to_be_visible()
    assert read.locator(".gb-text").first.evaluate("at => getComputedStyle(at).textAlign") in ("left", "start")
    quiet(bench.page)


@pytest.mark.embedded
@pytest.mark.slow
def test_a_step_of_a_model_that_runs_here(open_lab: Callable[..., LabPage], tmp_path: Path) -> None:
    page = open_lab(write_notebook(tmp_path / "main.ipynb", CELL), env={"GRADBOOK_THREADS": "1"})
    page.open("main.ipynb")
    assert page.run_all() == []
    stepper = page.locator(".gradbook-stepper")
    stop = stepper.get_by_role("button", name="Stop", exact=True)
    stepper.get_by_role("button", name="Run step").click()
    expect(stop).to_be_enabled()
    expect(stepper.locator(".gb-status").first).to_contain_text("calls")
    expect(stop).to_be_disabled(timeout=LONG)
    expect(stepper.locator(".gb-error:visible")).to_have_count(0)
    assert [stage["stage"] for stage in events(page, "mine", "stage")][-1] == "select"
    answers = events(page, "mine", "score")[-1]["score"]["answers"]
    right = sum(answer["correct"] for answer in answers)
    expect(stepper.locator(".gb-effect")).to_contain_text(f"{right / len(answers):.1%} ({right}/{len(answers)})")
    quiet(page)
