"""The Method panel: every setting with its line of help; what makes no sense together is refused where it is set."""

from collections.abc import Callable
from inspect import getdoc
from typing import Any, get_args

from gradbook import presets
from gradbook.errors import MethodError
from gradbook.loop import Method
from gradbook.loop.method import ONE_CANDIDATE, PROMPT_ONLY

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("The paper’s arms", ("update", "labels", "evaluation", "selection", "candidates", "validation_labels")),
    ("Length", ("batch_size", "train_every")),
    ("Others of the family", ("errors_only", "critiques", "apart", "paraphrases", "beam", "momentum", "add_only")),
    ("The code that runs", ("engine", "constraints", "in_context")),
)
OWN = "own settings"
PRESETS: dict[str, Callable[..., Method] | None] = {
    OWN: None,
    "ProTeGi": presets.protegi,
    "momentum": presets.momentum,
    "TextGrad": presets.textgrad,
    "GEPA": presets.gepa,
    "add-only": presets.add_only,
}
_FOLLOWS = (
    ("update", PROMPT_ONLY, "labels", "none"),
    ("selection", ONE_CANDIDATE, "candidates", 1),
    ("engine", ("gepa",), "update", "one-step"),
    ("engine", ("gepa",), "selection", "pareto"),
    ("engine", ("gepa",), "candidates", 1),
)
"""Where the first setting takes one of these values, the second has only this one; it comes back when the first changes again."""


class MethodPanel:
    """The settings that a person is putting together, `values` by name, before the case takes them.

    Args:
        method: the method that holds from the next step on.
    """

    def __init__(self, method: Method) -> None:
        self.fill(method)

    def fill(self, method: Method) -> None:
        """Show a method as it is, with no change made to it."""
        self.base, self.preset = method, OWN
        self.values: dict[str, Any] = {name: getattr(method, name) for _, names in GROUPS for name in names}
        self._former: dict[str, Any] = {}

    def follow(self, method: Method) -> None:
        """Show a method that was set elsewhere, unless changes wait here."""
        if method != self.base and self.wish == self.base:
            self.fill(method)

    @property
    def wish(self) -> Method | MethodError:
        """The method that the settings make, or why they make none."""
        try:
            return Method(**self.values, templates=self.base.templates)
        except MethodError as refused:
            return refused

    def set(self, name: str, value: Any) -> None:
        """Take a value for a setting, or for "preset"; a number that cannot be read is left to the method to refuse."""
        if name == "preset":
            made = PRESETS[value]
            base, chosen = self.base, made() if made else self.base
            self.fill(chosen)
            self.base, self.preset = base, value
            return
        before, self.values[name] = self.values[name], _typed(name, value)
        for leader, only_where, follower, only in _FOLLOWS:
            if name == leader:
                self._drag(follower, only, before in only_where, value in only_where)
        self.preset = OWN

    def _drag(self, follower: str, only: Any, was: bool, now: bool) -> None:
        if now and not was:
            self._former[follower] = self.values[follower]
            self.values[follower] = only
        elif was and not now and self.values[follower] == only:
            self.values[follower] = self._former.pop(follower, Method.model_fields[follower].default)

    @property
    def preset_help(self) -> str:
        """The line on the preset chosen."""
        made = PRESETS[self.preset]
        return (getdoc(made) or "").splitlines()[0] if made else "A preset fills in the settings of a published method."

    @property
    def groups(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """The fields as a page lays them out: name, value, help, and the choices or the bounds that the setting has."""
        return [(title, [self._field(name) for name in names]) for title, names in GROUPS]

    def _field(self, name: str) -> dict[str, Any]:
        setting = Method.model_fields[name]
        kind = {bool: "flag", int: "number", tuple[str, ...]: "lines"}.get(setting.annotation, "choice")  # type: ignore[arg-type]
        bounds = {key: getattr(rule, key) for rule in setting.metadata for key in ("ge", "le") if hasattr(rule, key)}
        options = get_args(setting.annotation)
        return {"name": name, "kind": kind, "value": self.values[name], "help": Method.help(name), "options": options, **bounds}


def _typed(name: str, value: Any) -> Any:
    kind = Method.model_fields[name].annotation
    if kind == tuple[str, ...] and isinstance(value, str):
        return tuple(filter(None, map(str.strip, value.split("\n"))))
    if kind is int and isinstance(value, str):
        return int(value) if value.strip().lstrip("-").isdecimal() else value
    return value
