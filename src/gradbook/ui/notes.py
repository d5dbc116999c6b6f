"""The note on a step: kept as it is typed, drawn as Markdown beside it."""

import threading

import ipywidgets as w

from gradbook.errors import GradbookError
from gradbook.markdown import note_html
from gradbook.recording import Recording
from gradbook.ui.parts import box, esc, html

PAUSE = 0.7


class Notes(w.VBox):
    """A field for the note on the shown step; what is typed is journaled after a pause of 0.7 s, or at `flush`."""

    def __init__(self, case: Recording) -> None:
        self._case, self._step, self._timer = case, 0, None
        self.area = w.Textarea(description="Note:", rows=5, layout=w.Layout(width="auto"), disabled=case.read_only)
        self.area.placeholder = "What did you see? Markdown. Kept with the step as you type, and exported with it."
        self.area.observe(self._typed, "value")
        self._title, self._drawn, self._state = html(), html("", "gb-note-drawn"), html("", "gb-caption")
        super().__init__([self._title, box(box(self.area, self._state), self._drawn, row=True, classes=("gb-note-row",))])
        self.add_class("gb-notes")

    def show(self, step: int) -> None:
        """Show the note on `step`, keeping what was typed on the one before."""
        self.flush()
        self._step = step
        self._title.value = f"<h3>Note on step {step}</h3>"
        self.area.unobserve(self._typed, "value")
        self.area.value = self._case.note(step)
        self.area.observe(self._typed, "value")
        self._draw("")

    def flush(self) -> None:
        """Journal what has been typed, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            try:
                self._case.write_note(self._step, self.area.value)
            except GradbookError as error:  # what was typed stays in the field, to be copied
                self._draw(str(error), wrong=True)
            else:
                self._draw("kept")

    def _typed(self, _change: dict) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(PAUSE, self.flush)
        self._timer.daemon = True
        self._timer.start()
        self._draw("…")

    def _draw(self, state: str, wrong: bool = False) -> None:
        self._drawn.value = note_html(self.area.value)
        self._state.value = f'<span class="gb-error" role="alert">{esc(state)}</span>' if wrong else esc(state)
