"""StudyBook: the verdicts of a study in one cell; each opens its trials, and each trial its workbench."""

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets
from traitlets import Int, Unicode

from gradbook import page, tell
from gradbook.errors import GradbookError, StudyError
from gradbook.recording import Recording
from gradbook.ui.stepper import Stepper

if TYPE_CHECKING:
    from gradbook.studies import Study

_FRAME = """<header class="gb-head" data-region="head"></header>
<div class="gb-message" data-region="message" aria-live="polite"></div>
<p class="gb-error gb-silent" role="alert" hidden></p>
<section data-region="verdicts" aria-label="Verdicts"></section>"""


class Verdicts(anywidget.AnyWidget):
    """The verdicts of a study and the trials of one of them, as regions of HTML; see `Stepper`, whose page this is, too."""

    _esm = files("gradbook.ui").joinpath("stepper.js").read_text(encoding="utf-8")
    _css = page.style()
    frame = Unicode(_FRAME).tag(sync=True)
    head, message, verdicts = (Unicode("").tag(sync=True) for _ in range(3))
    shown, seen = Int(0).tag(sync=True), Int(0).tag(sync=True)
    look = Unicode("study").tag(sync=True)


class StudyBook(ipywidgets.VBox):
    """Read a study: its verdicts, of each the trials that it stands on, of each trial the workbench of its case.

    Args:
        study: the study. It is only read, and may be running.
    """

    def __init__(self, study: "Study") -> None:
        self.study = study
        self.row: int | None = None
        """Which verdict shows its trials."""
        self.stepper: Stepper | None = None
        """The workbench of the trial that is open."""
        self._at: dict[str, Any] | None = None
        self.verdicts = Verdicts()
        self.verdicts.on_msg(lambda _widget, message, _buffers: self.do(**message))
        super().__init__([self.verdicts])
        self._view = tell.study(study)
        self._draw()

    def do(self, do: str, n: int = 0, **how: Any) -> None:
        """Do what the page asks for, as a click there would: "open" a row, open a "trial", go "back", read "again"."""
        said = ""
        with self.verdicts.hold_sync():
            try:
                match do:
                    case "open":
                        self.row = None if how["row"] == self.row else how["row"]
                    case "trial":
                        self.show(*how["place"])
                    case "back":
                        self.back()
                    case "again":
                        self._view = tell.study(self.study)
            except GradbookError as error:
                said = str(error)
            self.verdicts.seen = max(self.verdicts.seen, n)
            self._draw(said)

    def show(self, task: str, model: str, arm: str, trial: int) -> None:
        """Show the workbench of a trial in place of the verdicts.

        Raises:
            CaseError: it has not begun, or its case cannot be read.
            StudyError: there is no such trial.
        """
        place = (task, model, arm, trial)
        found = next(((each, it) for each in self._view.arms for it in each.trials if it.place == place), None)
        if found is None:
            raise StudyError(f"{self.study.path} has no trial {trial} of {arm!r} on {task!r} with {model!r}")
        shown, it = found
        recording = Recording(self.study.path / it.folder, self.study.design.tasks[task])
        self._put_away()
        self.stepper = Stepper(recording)
        self._at = {"at": f"{shown.id} {trial}", "number": trial, "arm": arm, "where": shown.where, "folder": it.folder}
        self.children = [self.verdicts, self.stepper]
        self._draw()

    def back(self) -> None:
        """Show the verdicts again."""
        self.children = [self.verdicts]
        self._put_away()
        self._draw()

    def _put_away(self) -> None:
        if self.stepper is not None:
            self.stepper.layout.close()
            self.stepper.close()
        self.stepper = self._at = None

    def _draw(self, said: str = "") -> None:
        view, at = self._view, self.verdicts
        with at.hold_sync():
            at.head = page.render("study_head", study=view, trial=self._at)
            at.message = page.render("message", text=said, wrong=True)
            arms = {arm.id: arm for arm in view.arms}
            ids = dict.fromkeys(id for _, id in view.verdicts[self.row].arms) if self.row is not None else ()
            opened = [arms[id] for id in ids]  # in the order of the comparison
            told = {"study": view, "bench": self, "plain": False, "opened": opened}
            at.verdicts = "" if self._at else page.render("study_verdicts", **told)

    def __repr__(self) -> str:
        return f"StudyBook({self.study!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The verdicts to be pressed, and for where no kernel runs, as they were."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return None if bundle is None else bundle | {"text/html": str(page.study(self.study))}
