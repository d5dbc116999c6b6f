"""Small parts that the panels share. Whatever a model or a person wrote goes through `esc` on its way to the page."""

from collections.abc import Callable
from html import escape as esc

import ipywidgets as w

from gradbook.diff import words_html

__all__ = ["Editable", "box", "button", "close_all", "esc", "html"]


def html(value: str = "", *classes: str) -> w.HTML:
    """An HTML widget; `value` must be escaped already."""
    return _classed(w.HTML(value), *classes)


def button(text: str, act: Callable[[], None], tip: str = "", *classes: str) -> w.Button:
    """A button with a visible name, so that it needs no icon to be understood."""
    made = _classed(w.Button(description=text, tooltip=tip or text), "gb-button", *classes)
    made.on_click(lambda _: act())
    return made


def box(*children: w.Widget, row: bool = False, classes: tuple[str, ...] = ()) -> w.Box:
    """A column of widgets, or with `row` a row."""
    return _classed((w.HBox if row else w.VBox)(children), "gb-row" if row else "gb-column", *classes)


def close_all(widget: w.Widget) -> None:
    """Close a widget and all it holds, so that a long session leaves no dead models behind."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    for own in (widget.layout, getattr(widget, "style", None)):  # widgets too, which close() leaves behind
        if isinstance(own, w.Widget):
            own.close()
    widget.close()


def _classed(widget: w.Widget, *classes: str) -> w.Widget:
    for name in classes:
        widget.add_class(name)
    return widget


class Editable(w.VBox):
    """A text that is read until a person presses Edit, then changed where it stands.

    Args:
        label: what the text is, for the button's and the field's accessible names.
        text: how it reads now.
        shown: how it is drawn while it is only read (HTML); by default the text itself.
        on_change: called with the new text at every key; with None when the edit is given up.
        locked: why it cannot be edited now, or "".
        hint: what may be put in, shown while the field is empty.
    """

    def __init__(
        self, label: str, text: str, on_change: Callable[[str | None], None], shown: str = "", locked: str = "", hint: str = ""
    ) -> None:
        self.label, self.text, self._on_change, self._hint = label, text, on_change, hint
        self._view = html(shown or f'<div class="gb-text">{esc(text) or "<i>empty</i>"}</div>', "gb-view")
        self.edit = button("Edit", self.begin, locked or f"Edit {label}", "gb-edit")
        self.edit.disabled = bool(locked)
        super().__init__([box(self._view, self.edit, row=True)])
        self.add_class("gb-editable")

    def begin(self) -> None:
        """Show the text in a field, with what is struck and added below it."""
        self.area = w.Textarea(self.text, description=f"{self.label}:", layout=w.Layout(width="auto"), rows=_rows(self.text))
        self.area.placeholder = self._hint
        self.area.add_class("gb-area")
        self._marks = html("", "gb-marks")
        self.cancel = button("Discard edit", self.discard, f"Discard the edit of {self.label}", "gb-quiet")
        self.area.observe(self._typed, "value")
        self.children = [self.area, self._marks, self.cancel]

    def discard(self) -> None:
        """Give the edit up."""
        self.children = [box(self._view, self.edit, row=True)]
        self._on_change(None)

    def _typed(self, change: dict) -> None:
        new = change["new"]
        self._marks.value = "" if new == self.text else f'<div class="gb-text">{words_html(self.text, new)}</div>'
        self._on_change(new if new != self.text else None)


def _rows(text: str) -> int:
    return min(max(2, sum(1 + len(line) // 60 for line in text.split("\n"))), 18)
