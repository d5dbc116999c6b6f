"""Stepper: the workbench of a case in one cell, one widget whose regions Python lays out."""

import threading
from dataclasses import replace
from importlib.resources import files
from typing import Any

import anywidget
from traitlets import Int, Unicode

from gradbook import page, tell
from gradbook.errors import GradbookError, MethodError
from gradbook.findings import ASKS, Finding
from gradbook.recording import Recording
from gradbook.tables import method_line
from gradbook.ui.desk import Desk
from gradbook.ui.panel import PRESETS

PAUSE = 0.1
"""Seconds between two drawings of what runs."""
STORED_ROWS = 50
"""Steps that a stored notebook lists."""
REGIONS = ("step", "head", "tools", "jobs", "message", "method", "tree", "effect", "findings", "notes")
_RUNS = ("jobs", "tools", "message")
_TOUCHES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("type", "param", "menu"), ("step", "tools")),
    "why": (),
    "note": ("notes", "tree"),
    "panel": ("tools", "method"),
    **dict.fromkeys(("set", "refill"), ("method",)),
    **dict.fromkeys(("steps", "scoring"), ("tools",)),
    **dict.fromkeys(("stage", "step", "score", "judge", "ask", "export", "stop"), _RUNS),
    **dict.fromkeys(("asking", "open"), ("findings",)),
}
"""What is drawn at once after something was done, where that is not all: a job is drawn once its first calls are out."""


def _region() -> Unicode:
    return Unicode("").tag(sync=True)


class Stepper(anywidget.AnyWidget):
    """Step through a case, edit what a stage gave, see what that did, keep a note, export.

    Args:
        case: the case to work on, or a recording to read. Without a model, or read only, it is a replay: everything can be
            read and compared.

    Each region of the page is a trait that holds its HTML, so that only what changed is sent. What a person does arrives as a
    message `{"do": ..., ...}` and is done at the `desk`. Long work runs there as jobs on gradbook's own loop, and is drawn on a
    thread of its own, so that page, kernel and loop do not wait for each other.
    """

    _esm = files("gradbook.ui").joinpath("stepper.js").read_text(encoding="utf-8")
    _css = page.style()
    head, tools, jobs, message, method = _region(), _region(), _region(), _region(), _region()
    tree, step, effect, findings, notes = _region(), _region(), _region(), _region(), _region()
    shown, seen = Int(0).tag(sync=True), Int(0).tag(sync=True)
    look = Unicode("stage").tag(sync=True)

    def __init__(self, case: Recording) -> None:
        self._lock, self._waiting = threading.RLock(), threading.Lock()
        self._timer: threading.Timer | None = None
        self._whole = False
        self._tree_drawn_for: tuple[int, str] | None = None
        self.desk = Desk(case, self._soon)
        super().__init__()
        self.on_msg(self._heard)
        self.draw()

    @property
    def case(self) -> Recording:
        """The case that is worked on."""
        return self.desk.case

    def do(self, do: str, n: int = 0, **how: Any) -> None:
        """Do what the page asks for, as a click there would, and draw what changed; `n` counts the page's messages."""
        with self._lock, self.hold_sync():
            said = self.desk.text
            self.desk.do(do, **how)
            self.seen = max(self.seen, n)
            only = _TOUCHES.get(do, REGIONS)
            self.draw(only if self.desk.text == said else REGIONS)

    def go(self, step: int) -> None:
        """Show a step; the next one starts from there."""
        self.do("go", step=step)

    def _heard(self, _widget: Any, message: dict[str, Any], _buffers: Any = None) -> None:
        self.do(**message)

    def _soon(self, whole: bool) -> None:
        """Draw before long, on a thread of its own: what runs is told of often, and must not wait for the page."""
        with self._waiting:
            self._whole = self._whole or whole
            if self._timer is None:
                self._timer = threading.Timer(PAUSE, self._draw_now)
                self._timer.daemon = True
                self._timer.start()

    def _draw_now(self) -> None:
        with self._waiting:
            self._timer, whole, self._whole = None, self._whole, False
        self.draw(REGIONS if whole else ("jobs",))

    def draw(self, regions: tuple[str, ...] = REGIONS) -> None:
        """Lay out these regions, and send those that changed; one that cannot be laid out says why."""
        with self._lock, self.hold_sync():
            for name in regions:
                try:
                    laid = getattr(self, f"_draw_{name}")()
                except Exception as error:  # a record that was damaged meanwhile must not leave the page without an answer
                    said = str(error) if isinstance(error, GradbookError) else f"{type(error).__name__}: {error}"
                    laid = page.render("message", text=f"This cannot be shown: {said}", wrong=True)
                setattr(self, name, laid)
            self.shown, self.look = self.desk.view.id, self.desk.look

    def __repr__(self) -> str:
        return f"Stepper({self.desk.case!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The workbench, and for where no kernel runs, what it shows, as a page to be read."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        with self._lock:
            self.draw()
            desk, seen = self.desk, self.desk.view
            tree = tell.tree(desk.case, (desk.split,))
            rows = tree.rows[:STORED_ROWS]
            more = f"Of {len(tree.rows):,} steps, the first {len(rows)} are listed." if len(rows) < len(tree.rows) else ""
            effect = tell.effect(desk.case, desk.before, desk.at, desk.split)
            told = {"head": tell.head(desk.case), "tree": replace(tree, rows=rows), "more": more, "step": seen, "effect": effect}
            stored = page.render("stored", style=page.style(), look="example", bench=None, **told)
        return bundle[0] | {"text/html": stored}, bundle[1]

    def _draw_step(self) -> str:
        desk = self.desk
        desk.view = view = tell.step(desk.case, desk.case[desk.at])
        pair = tell.pair(desk.case, min(desk.pins), max(desk.pins), desk.split) if desk.look == "pinned" else None
        return page.render("bench_step", step=view, look=desk.look, pair=pair, bench=desk)

    def _draw_head(self) -> str:
        desk = self.desk
        return page.render("head", head=tell.head(desk.case), step=desk.view, locked=desk.locked, wake=desk.wake, busy=desk.busy)

    def _draw_tools(self) -> str:
        desk = self.desk
        return page.render("tools", bench=desk, step=desk.view)

    def _draw_jobs(self) -> str:
        desk = self.desk
        return page.render("jobs", jobs=desk.queue.open)

    def _draw_message(self) -> str:
        desk = self.desk
        return page.render("message", text=desk.text, wrong=desk.wrong)

    def _draw_tree(self) -> str:
        desk = self.desk
        drawn_for = desk.case.version, desk.split
        if drawn_for != self._tree_drawn_for:  # a thousand steps take a while to lay out, and a click changes none of them
            self._tree_drawn_for = drawn_for
            return page.render("tree", tree=tell.tree(desk.case, (desk.split,)), bench=desk)
        return self.tree

    def _draw_effect(self) -> str:
        desk = self.desk
        before, after = sorted(desk.pins) if desk.look == "pinned" else (desk.before, desk.at)
        return page.render("effect", effect=tell.effect(desk.case, before, after, desk.split), bench=desk)

    def _draw_findings(self) -> str:
        desk = self.desk
        found = desk.findings
        record = desk.case.finding(desk.opened) if desk.opened in [one.id for one in found] else None
        shown = tell.finding(desk.case, record) if isinstance(record, Finding) else None
        asks = tell.asks(desk.case, desk.view.id, desk.locked) if desk.asking else None
        elsewhere = sum(one.kind in ASKS for one in desk.case.found.values()) - len(found)
        others = f"{elsewhere} on other steps" if elsewhere else ""
        listed = [tell.FoundRow(one.id, ASKS[one.kind].record.title, one.split or "", one.verdict) for one in found]
        return page.render("findings", bench=desk, step=desk.view, findings=listed, shown=shown, asks=asks, others=others)

    def _draw_notes(self) -> str:
        desk = self.desk
        text, why = desk.notes.get(desk.at, (desk.case.note(desk.at), ""))
        state = why[:1].upper() + why[1:] or ("kept" if desk.kept == desk.at else "")
        return page.render("notes", step=desk.at, text=text, state=state, wrong=bool(why), closed=desk.case.read_only)

    def _draw_method(self) -> str:
        desk = self.desk
        if not desk.panel:
            return ""
        desk.settings.follow(desk.case.method)
        wish, closed = desk.settings.wish, desk.case.read_only
        refused, changed = isinstance(wish, MethodError), wish != desk.case.method
        if isinstance(wish, MethodError):
            said = str(wish)
        elif closed:
            said = f"Read only: {desk.case.read_only_because}."
        else:
            said = f"{'Not yet used' if changed else 'Holds from the next step on'}: {method_line(wish)}."
        usable = changed and not (refused or closed or desk.queue.open)
        views = {"panel": desk.settings, "presets": PRESETS, "said": said, "refused": refused, "usable": usable, "changed": changed}
        return page.render("method", bench=desk, closed=closed, **views)
