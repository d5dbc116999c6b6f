"""A prevalence check in words: both gains, and class by class what is true, answered and answered rightly."""

from typing import TYPE_CHECKING

from gradbook.findings.prevalence import PrevalenceCheck
from gradbook.tell.findings.views import BarView, FindingView, GridView
from gradbook.tell.overviews import Figure
from gradbook.tell.words import NOTHING, count

if TYPE_CHECKING:
    from gradbook.recording import Recording

_MOST = 30  # classes in the table


def prevalence(rec: "Recording | None", found: PrevalenceCheck) -> FindingView:
    """A check, flagged or not."""
    check = found.check
    before = "the prompt that it began with" if found.before is None else f"that of step {found.before}"
    times = " and ".join(count(len(rows), "time") for rows in (found.answered_before, found.answered_after))
    label, share = check.constant
    given = [str(found.step), *([] if found.before is None else [str(found.before)]), f"split={found.split!r}"]
    return FindingView(
        id=found.id,
        kind=found.kind,
        title=found.title,
        step=found.step,
        split=found.split or "",
        asked=f"{found.hypothesis} The prompt of step {found.step} was set against {before}: they answered {times}. A gain that takes "
        f"nothing from any class is flagged in at most {check.alpha:.0%} of cases.",
        verdict=found.verdict,
        good=False if found.verdict == "flagged" else None,  # what is not shown is not good yet
        sentence=str(found),
        bars=tuple(
            BarView(name, gain, None, None, f"{pair[0]:.1%} → {pair[1]:.1%}", "bad" if gain < 0 else "quiet")
            for name, gain, pair in zip(("accuracy", "balanced accuracy"), check.gain, (check.accuracy, check.balanced), strict=True)
        ),
        axis="points gained",
        grids=(_classes(found),),
        remarks=(*found.remarks, f"The best answer to give always, {label}, would be right in {share:.1%}."),
        code=f"case.prevalence({', '.join(given)})",
    )


def _classes(found: PrevalenceCheck) -> GridView:
    check = found.check
    names = sorted(check.answered, key=lambda name: -check.true.get(name, 0))

    def row(name: str) -> tuple[Figure, ...]:
        true, recall, (was, now) = check.true.get(name), check.recall.get(name), check.answered[name]
        fell = " ↓ fewer" if name in check.lost else ""
        return (
            Figure(name),
            Figure(NOTHING if true is None else f"{true:.1%}"),
            Figure(f"{was:.1%} → {now:.1%}"),
            Figure(NOTHING if recall is None else f"{recall[0]:.1%} → {recall[1]:.1%}{fell}"),
        )

    more = f"; the {_MOST} with the most examples of {len(names):,}" if len(names) > _MOST else ""
    heads = ("class", "of the true labels", "of the answers", "recall: of its examples, answered rightly")
    return GridView(f"Each class and its shares, before → after{more}", heads, tuple(map(row, names[:_MOST])))
