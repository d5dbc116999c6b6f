"""Progress of a running study, with the time left by arm: bars in a terminal, in a notebook a picture of what trials ended with so far."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from gradbook.costs import duration
from gradbook.studies.design import Place
from gradbook.studies.trial import Result

if TYPE_CHECKING:
    from gradbook.studies.study import Study

_MOST = 12  # bars; more arms than that share one
_WHOLE = 100  # parts of a trial, in whole numbers, since a bar does not forgive a rounding error
_OFTEN = 1.0  # seconds between two pictures
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total:.0f} trials, {remaining} left{postfix}"


class Bars(ExitStack):
    """A bar for each arm, or one for all where there are many; a trial under way counts by its share.

    Args:
        study: that runs.
        todo: its trials that are to be run.
    """

    def __init__(self, study: "Study", todo: Iterable[Place]) -> None:
        super().__init__()
        places = list(todo)
        self._done: dict[Place, int] = {}
        self._failed = Counter[Any]()
        cells = dict.fromkeys(place[:3] for place in places)
        self._whole = len(cells) > _MOST
        self._bars: dict[Any, Any] = {}
        for number, (key, total) in enumerate(Counter(map(self._key, places)).items()):
            told = () if key is None else zip(key, self._several(study), strict=True)
            label = " · ".join(name for name, several in told if several) or "all arms"
            self._bars[key] = self.enter_context(
                tqdm(total=total * _WHOLE, desc=label, position=number, smoothing=0, unit_scale=1 / _WHOLE, bar_format=_FORMAT)
            )

    @staticmethod
    def _several(study: "Study") -> tuple[bool, bool, bool]:
        """Which names tell bars apart; the arm's is always told."""
        return len(study.design.tasks) > 1, len(study.design.models) > 1, True

    def _key(self, place: Place) -> Any:
        return None if self._whole else place[:3]

    def moved(self, place: Place, share: float) -> None:
        """So much of a trial is done, 0 to 1."""
        done = round(share * _WHOLE)
        self._bars[self._key(place)].update(max(0, done - self._done.get(place, 0)))
        self._done[place] = done

    def ended(self, result: Result) -> None:
        """A trial has ended."""
        self.moved(result.place, 1.0)
        key = self._key(result.place)
        self._failed[key] += result.status == "failed"
        if self._failed[key]:
            self._bars[key].set_postfix_str(f"{self._failed[key]} failed")


class Live(ExitStack):
    """A picture in a notebook, put out once and drawn again in its place as trials go on: what they ended with, and the time left by arm.

    Args:
        study: that runs.
        todo: its trials that are to be run.
    """

    def __init__(self, study: "Study", todo: Iterable[Place]) -> None:
        super().__init__()
        from IPython.display import HTML, display

        self._study, self._html, self._began = study, HTML, time.monotonic()
        self._todo = dict.fromkeys(todo, 0.0)
        self._cells: dict[Any, list[Place]] = {cell: [] for cell in study.design.cells()}
        for place in study.design.places():
            self._cells[place[:3]].append(place)
        self._next = 0.0
        self._shown: Any = display(HTML(self.html()), display_id=True)
        self.callback(lambda: self._draw(last=True))

    def moved(self, place: Place, share: float) -> None:
        """So much of a trial is done, 0 to 1."""
        self._todo[place] = share
        self._draw()

    def ended(self, result: Result) -> None:
        """A trial has ended."""
        self.moved(result.place, 1.0)

    def _draw(self, last: bool = False) -> None:
        began = time.monotonic()
        if last or began >= self._next:
            with contextlib.suppress(Exception):  # a picture that cannot be drawn or sent must not fail a trial
                self._shown.update(self._html(self.html()))
            self._next = time.monotonic() + max(_OFTEN, 20 * (time.monotonic() - began))  # of many trials a picture takes a while

    def html(self) -> str:
        """The picture as it is now."""
        from gradbook import page  # templates are loaded where something is shown
        from gradbook.page import charts, study_figures

        study, results = self._study, self._study.store.results()
        notes = [self._counted(places, results) for places in self._cells.values()]
        chart = study_figures.arms(study, notes, empty=True)
        said = self._counted([place for places in self._cells.values() for place in places], results)
        return str(page.render("study_live", style=page.style(), title=study.path.name, said=said, picture=charts.draw(chart)))

    def _counted(self, places: list[Place], results: Mapping[Place, Result]) -> str:
        ended = Counter(results[place].status for place in places if place in results)
        failed = [f"{ended['failed']:,} failed"] * (ended["failed"] > 0)
        return ", ".join([f"{ended['done']:,} of {len(places):,} done", *failed, *self._left([p for p in places if p in self._todo])])

    def _left(self, places: list[Place]) -> list[str]:
        """The time until these trials are done, at the speed that they have had so far."""
        done = sum(self._todo[place] for place in places)
        left = len(places) - done
        return [f"{duration((time.monotonic() - self._began) / done * left)} left"] if done and left else []


def watch(study: "Study", todo: Iterable[Place]) -> Bars | Live:
    """What tells how far a study is: a picture where a notebook's kernel shows things, else bars."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return Bars(study, todo) if getattr(shell, "kernel", None) is None else Live(study, todo)
