"""What every finding has."""

from typing import ClassVar

import scipy
from pydantic import Field

from gradbook import displays
from gradbook.costs import Calls, Plan, answers, plan, run_again, times
from gradbook.records import Record, SplitName
from gradbook.stats import PropertyVerdict as Property
from gradbook.stats.looks import share_of_look

__all__ = ["ALPHA", "Calls", "Finding", "Plan", "Property", "answers", "plan", "run_again", "times"]

ALPHA = 0.05
"""How often a finding may be wrong, over all looks at it."""
MOST_LOOKS = 50


class Finding(Record):
    """What was found about a step: the numbers it stands on are kept whole, verdict and sentence follow from them.

    `step` is what it is about, `split` where it was measured (None where no split was), `margin` the difference, a share, that was said to
    matter before anything ran. `id` is that of its event. `look` counts the times that it was looked at, each with other draws.
    """

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    hypothesis: ClassVar[str] = ""

    step: int
    split: SplitName | None = None
    margin: float = 0.05
    id: str = ""
    look: int = Field(default=1, ge=1, le=MOST_LOOKS)

    @property
    def alpha(self) -> float:
        """What of `ALPHA` this look may use."""
        return share_of_look(self.look, ALPHA)

    @property
    def stricter(self) -> float:
        """How many times as wide the interval of the next look is, with the same draws."""
        return float(scipy.special.ndtri(share_of_look(self.look + 1, ALPHA) / 2) / scipy.special.ndtri(self.alpha / 2))

    @property
    def looked(self) -> str:
        """That it was looked at before, in words; empty where it was not."""
        if self.look == 1:
            return ""
        return f"This is look {self.look}: all looks together err in {ALPHA:.0%} at most, so this one may in {self.alpha:.2g}."

    @property
    def verdict(self) -> str:
        """The finding in a word."""
        raise NotImplementedError

    def __str__(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        where = f", {self.split}" if self.split else ""
        return f"{self.title}, step {self.step}{where}: {self}"

    def _repr_html_(self) -> str:
        return displays.html(self)
