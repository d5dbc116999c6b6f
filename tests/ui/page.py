"""The workbench without a browser: press its buttons, read what it shows."""

import re
import threading
from html import unescape

from ipywidgets import HTML, Button, Widget

import gradbook as gb


def wait(stepper: gb.Stepper) -> None:
    """Return when the work under way has ended and has been drawn."""
    future = stepper.future
    if future is not None:
        drawn = threading.Event()
        future.add_done_callback(lambda _: drawn.set())
        assert drawn.wait(30)
    with stepper._drawing:
        pass


def walk(widget: Widget):
    """A widget and all it holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def page(shown: Widget) -> str:
    """Everything that the page is given as HTML for a workbench, or for a part of it."""
    return "\n".join(widget.value for widget in walk(shown) if isinstance(widget, HTML))


def button(stepper: gb.Stepper, name: str) -> Button:
    return next(w for w in walk(stepper) if isinstance(w, Button) and w.description == name)


def click(stepper: gb.Stepper, name: str) -> None:
    made = button(stepper, name)
    assert not made.disabled, f"{name} is disabled"
    made.click()
    wait(stepper)


def edit(stepper: gb.Stepper, field: str, text: str, position: str | None = None) -> None:
    """Type `text` over the first text of a field that the cards show, or that of an example."""
    place = next(p for p in stepper.cards.editables if p[0] == field and position in (None, p[1]))
    stepper.cards.editables[place].edit.click()
    stepper.cards.editables[place].area.value = text


def card(stepper: gb.Stepper, name: str) -> str:
    """What one card says, without marks, by its class: "gb-prompt" or "gb-stage-" and the stage."""
    made = next(widget for widget in stepper.cards.children if name in widget._dom_classes)
    return unescape(re.sub(r"<[^>]+>", "", page(made)))


def choose(stepper: gb.Stepper, **settings: object) -> None:
    """Set fields of the Method panel, in the order given."""
    for name, value in settings.items():
        stepper.settings.fields[name].value = value


def alert(stepper: gb.Stepper) -> str:
    """The sentence by which the Method panel refuses its settings, or ""."""
    found = re.search(r'role="alert">(.*?)</p>', page(stepper.settings))
    return unescape(found[1]) if found else ""
