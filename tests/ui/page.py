"""The workbench without a browser: press what its page has, as its script would, and read what it shows."""

import asyncio
import json
import time
from typing import Any

from bs4 import BeautifulSoup, Tag

import gradbook as gb
from gradbook import background
from gradbook.ui.stepper import REGIONS


def wait(stepper: gb.Stepper, seconds: float = 30) -> None:
    """Return when nothing runs or waits any more, and that is drawn."""
    deadline = time.monotonic() + seconds
    while stepper.desk.busy:
        assert time.monotonic() < deadline, stepper.jobs
        time.sleep(0.005)
    background.submit(asyncio.sleep(0)).result()  # what the loop had begun to say is said
    stepper.draw()


def page(stepper: gb.Stepper, *regions: str) -> BeautifulSoup:
    """Everything that is shown, or some regions of it."""
    return BeautifulSoup("\n".join(getattr(stepper, name) for name in regions or REGIONS), "html.parser")


def text(stepper: gb.Stepper, *regions: str) -> str:
    """What is shown, without marks, runs of spaces as one."""
    return told(page(stepper, *regions))


def told(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())


def card(stepper: gb.Stepper, key: str) -> str:
    """What one card of the step says, looked at by stage, by its key: "prompt" or the stage."""
    if stepper.look != "stage":
        stepper.do("look", look="stage")
    return told(page(stepper, "step").find(attrs={"data-key": key}))


def name_of(control: Tag, shown: Tag) -> str:
    """The name by which a person finds a control: its own, its label's, or what stands in it."""
    label = shown.find("label", attrs={"for": control.get("id")}) if control.get("id") else control.find_parent("label")
    return control.get("aria-label") or (told(label) if label else control.get_text(" ", strip=True)) or control.get("title", "")


def control(stepper: gb.Stepper, name: str, tag: str = "button", at: int = 0) -> Tag:
    """The control of this name, the first by default; names of buttons have to fit in full."""
    shown = page(stepper)
    tags = ("button",) if tag == "button" else ("input", "select", "textarea")
    found = [each for each in shown.find_all(tags) if (said := name_of(each, shown)) == name or (tag != "button" and said.startswith(name))]
    assert len(found) > at, f"nothing is named {name} but {[name_of(each, shown) for each in shown.find_all(tags)]}"
    return found[at]


def enabled(stepper: gb.Stepper, name: str, tag: str = "button") -> bool:
    return not control(stepper, name, tag).has_attr("disabled")


def press(stepper: gb.Stepper, name: str, at: int = 0) -> None:
    """Press a button, as the page does."""
    made = control(stepper, name, at=at)
    assert not made.has_attr("disabled"), f"{name} is disabled"
    stepper._heard(stepper, {**json.loads(made["data-do"]), "n": stepper.seen + 1})


def click(stepper: gb.Stepper, name: str, at: int = 0) -> None:
    """Press a button and wait for what it begins."""
    press(stepper, name, at)
    wait(stepper)


def put(stepper: gb.Stepper, name: str, value: Any, at: int = 0) -> None:
    """Put a value into a field."""
    field = control(stepper, name, "field", at)
    assert not field.has_attr("disabled") and not field.has_attr("readonly"), f"{name} takes nothing"
    if field.name == "select":
        options = [option.get("value", option.get_text()) for option in field.find_all("option")]
        assert value in options, f"{name} has {options}"
    stepper._heard(stepper, {**json.loads(field["data-do"]), "value": value, "n": stepper.seen + 1})


def value(stepper: gb.Stepper, name: str, at: int = 0) -> Any:
    """What a field shows."""
    field = control(stepper, name, "field", at)
    if field.get("type") == "checkbox":
        return field.has_attr("checked")
    if field.name == "select":
        chosen = field.find("option", selected=True) or field.find("option")
        return chosen.get("value", chosen.get_text())
    return field.get("value") if field.name == "input" else field.get_text().removeprefix("\n")


def edit(stepper: gb.Stepper, title: str, words: str, at: int = 0) -> None:
    """Type over a text that the cards show, by its title."""
    press(stepper, f"Edit {title}", at)
    put(stepper, title, words)


def drafts(stepper: gb.Stepper) -> list[str]:
    """The texts of the edits that wait in the step that is shown."""
    return [draft.text for draft in stepper.desk.drafts.values() if draft.changes]


def alert(stepper: gb.Stepper, region: str) -> str:
    """The sentence by which a region says that something is wrong, or ""."""
    found = page(stepper, region).find(attrs={"role": "alert"})
    return told(found) if found else ""


def steps(stepper: gb.Stepper) -> list[int]:
    """The steps that the tree lists."""
    return [int(row["data-step-id"]) for row in page(stepper, "tree").find_all(attrs={"data-step-id": True})]


def options(stepper: gb.Stepper, name: str) -> list[str]:
    return [option.get("value", option.get_text()) for option in control(stepper, name, "field").find_all("option")]


def choose(stepper: gb.Stepper, **settings: Any) -> None:
    """Set fields of the Method panel, in the order given; opens it."""
    if not stepper.desk.panel:
        stepper.do("panel")
    for name, chosen in settings.items():
        put(stepper, name.replace("_", " "), chosen if isinstance(chosen, bool) else str(chosen))
