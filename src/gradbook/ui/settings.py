"""The Method panel: every setting with its line of help; what makes no sense together is refused where it is set."""

from collections.abc import Callable
from inspect import getdoc
from typing import Any, get_args

import ipywidgets as w

from gradbook import presets
from gradbook.case import Case
from gradbook.errors import GradbookError, MethodError
from gradbook.loop import Method
from gradbook.loop.method import ONE_CANDIDATE, PROMPT_ONLY
from gradbook.tables import method_line
from gradbook.ui.parts import box, button, esc, html

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("The paper’s arms", ("update", "labels", "evaluation", "selection", "candidates", "validation_labels")),
    ("Length", ("batch_size", "train_every")),
    ("Others of the family", ("errors_only", "critiques", "apart", "paraphrases", "beam", "momentum", "add_only")),
)
PRESETS: dict[str, Callable[..., Method] | None] = {
    "own settings": None,
    "ProTeGi": presets.protegi,
    "momentum": presets.momentum,
    "add-only": presets.add_only,
}
MOST = 100_000
"""The upper bound of a number whose field has none: a field of the page needs one."""

_FOLLOWS = (("update", PROMPT_ONLY, "labels", "none"), ("selection", ONE_CANDIDATE, "candidates", 1))
"""Where the first setting takes one of these values, the second has only this one; it comes back when the first changes again."""


class MethodPanel(w.VBox):
    """The settings of the method that holds from the next step on.

    Args:
        case: the case.
        on_used: called after the case has taken another method.
    """

    def __init__(self, case: Case, on_used: Callable[[], None]) -> None:
        self._case, self._on_used = case, on_used
        self._quiet, self._idle = False, True
        self._base = case.method
        self._former: dict[str, Any] = {}
        self.fields = {name: _field(name) for _, names in GROUPS for name in names}
        for name, field in self.fields.items():
            field.observe(lambda change, name=name: self._changed(name, change), "value")
        self.preset = w.Dropdown(options=list(PRESETS), description="Preset")
        self.preset.observe(self._preset_chosen, "value")
        self._preset_help, self._said = html("", "gb-help"), html("", "gb-method-said")
        self.use = button("Use from the next step on", self._on_use, "A step under way, and branches of earlier steps, keep theirs")
        self.use.add_class("gb-primary")
        self.discard = button("Discard changes", self.fill, "Show again what holds from the next step on", "gb-quiet")
        head = box(self.preset, self._preset_help, row=True, classes=("gb-preset",))
        settings = box(*(part for title, names in GROUPS for part in self._group(title, names)), classes=("gb-settings",))
        super().__init__([head, settings, box(self.use, self.discard, self._said, row=True, classes=("gb-use",))])
        self.add_class("gb-method")
        self.fill()

    def _group(self, title: str, names: tuple[str, ...]) -> list[w.Widget]:
        cells = [box(self.fields[name], html(esc(Method.help(name)), "gb-help"), classes=("gb-setting",)) for name in names]
        return [html(f"<h4>{title}</h4>"), box(*cells, classes=("gb-grid",))]

    def fill(self) -> None:
        """Show the method that holds from the next step on."""
        self._base = self._case.method
        self._former = {}
        self._set(self._base, "own settings")
        self._judge()

    def show(self) -> None:
        """Follow a method that was set elsewhere, unless changes wait here."""
        if self._case.method != self._base and self._wish == self._base:
            self.fill()

    def enable(self, idle: bool) -> None:
        """Take changes while nothing runs."""
        self._idle = idle
        self._judge()

    @property
    def _wish(self) -> Method | MethodError:
        """The method that the panel shows, or why there is none."""
        try:
            return Method(**{name: field.value for name, field in self.fields.items()}, templates=self._case.method.templates)
        except MethodError as refused:
            return refused

    def _set(self, method: Method, preset: str) -> None:
        self._quiet = True
        for name, field in self.fields.items():
            field.value = getattr(method, name)
        self.preset.value = preset
        self._quiet = False
        made = PRESETS[preset]
        said = getdoc(made).splitlines()[0] if made else "A preset fills in the settings of a published method."
        self._preset_help.value = f"{esc(said)} The meta-prompts are replaced with <code>gb.Method(templates=gb.Templates(...))</code>."

    def _preset_chosen(self, change: dict) -> None:
        if not self._quiet:
            made = PRESETS[change["new"]]
            self._set(made() if made else self._case.method, change["new"])
            self._judge()

    def _changed(self, name: str, change: dict) -> None:
        if self._quiet:
            return
        self._quiet = True
        for leader, values, follower, only in _FOLLOWS:
            if name == leader:
                self._drag(follower, only, change["old"] in values, change["new"] in values)
        self.preset.value = "own settings"
        self._quiet = False
        self._judge()

    def _drag(self, follower: str, only: Any, was: bool, now: bool) -> None:
        field = self.fields[follower]
        if now and not was:
            self._former[follower] = field.value
            field.value = only
        elif was and not now and field.value == only:
            field.value = self._former.pop(follower, Method.model_fields[follower].default)

    def _judge(self) -> None:
        """Say what the settings shown would do, and enable just what makes sense now."""
        wish, closed = self._wish, self._case.read_only
        changed = wish != self._case.method
        for field in (*self.fields.values(), self.preset):
            field.disabled = closed
        self.use.disabled = closed or not self._idle or not changed or isinstance(wish, MethodError)
        self.discard.disabled = closed or not changed
        if isinstance(wish, MethodError):
            self._say(str(wish), wrong=True)
        elif closed:
            self._say(f"Read only: {self._case.read_only_because}.")
        elif changed:
            self._say(f"Not yet used: {method_line(wish)}.")
        else:
            self._say(f"Holds from the next step on: {method_line(wish)}.")

    def _on_use(self) -> None:
        wish = self._wish
        try:
            if isinstance(wish, MethodError):
                raise wish
            self._case.use(wish)
        except GradbookError as error:
            self._say(str(error), wrong=True)
            return
        self.fill()
        self._on_used()

    def _say(self, text: str, wrong: bool = False) -> None:
        look, role = ("gb-error", "alert") if wrong else ("gb-said", "status")
        self._said.value = f'<p class="{look}" role="{role}">{esc(text)}</p>'


def _field(name: str) -> w.Widget:
    """The widget of a setting, named as it is, with its help as the description that a screen reader adds."""
    setting = Method.model_fields[name]
    named = {"description": name.replace("_", " "), "tooltip": Method.help(name)}
    if setting.annotation is bool:
        return w.Checkbox(indent=False, **named)
    if setting.annotation is int:
        bounds = {key: getattr(rule, key) for rule in setting.metadata for key in ("ge", "le") if hasattr(rule, key)}
        return w.BoundedIntText(min=bounds["ge"], max=bounds.get("le", MOST), value=setting.default, **named)
    return w.Dropdown(options=get_args(setting.annotation), **named)
