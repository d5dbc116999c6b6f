"""What every finding has."""

from typing import ClassVar, Literal

from gradbook import displays
from gradbook.costs import Calls, Plan, answers, plan, run_again, times
from gradbook.records import Record, SplitName

__all__ = ["Calls", "Finding", "Plan", "Property", "answers", "plan", "run_again", "times"]

Property = Literal["holds", "does not hold", "cannot tell"]
"""What a probe can come to, as a word."""


class Finding(Record):
    """What was found about a step: the numbers it stands on are kept whole, verdict and sentence follow from them.

    `step` is what it is about, `split` where it was measured (None where no split was), `margin` the difference, a share, that was said to
    matter before anything ran. `id` is that of its event.
    """

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    hypothesis: ClassVar[str] = ""

    step: int
    split: SplitName | None = None
    margin: float = 0.05
    id: str = ""

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
