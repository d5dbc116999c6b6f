"""Progress of a running study, with the time left by arm: in a terminal and in a notebook."""

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from gradbook.studies.design import Place
from gradbook.studies.trial import Result

if TYPE_CHECKING:
    from gradbook.studies.study import Study

_MOST = 12  # bars; more arms than that share one
_WHOLE = 100  # parts of a trial, in whole numbers, since a bar does not forgive a rounding error
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
