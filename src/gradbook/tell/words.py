"""The small words that all that is told shares, and the difference of two texts, word by word."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

from gradbook.diff import segments
from gradbook.metrics import Mean, Share
from gradbook.records import Stage
from gradbook.stats import points as points
from gradbook.tell.overviews import Figure
from gradbook.tell.views import Segment, Words

NOTHING = "–"
_PLURALS = {"ch": "ches", "sis": "ses", "family": "families"}
_KINDS: dict[str, Literal["same", "struck", "added"]] = {"same": "same", "removed": "struck", "added": "added"}


def count(number: int, thing: str) -> str:
    """A number with its noun: "1 step", "2 branches"."""
    ending = next((end for end in _PLURALS if thing.endswith(end)), "")
    plural = thing.removesuffix(ending) + _PLURALS.get(ending, "s")
    return f"{number:,} {thing if number == 1 else plural}"


def ranges(ids: Iterable[int]) -> str:
    """Whole numbers in short: "1 to 3, 5"."""
    runs: list[list[int]] = []
    for id in ids:
        if runs and id == runs[-1][-1] + 1:
            runs[-1].append(id)
        else:
            runs.append([id])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}{' to ' if len(run) > 2 else ', '}{run[-1]}" for run in runs)


def of_steps(ids: list[int]) -> str:
    """Steps by their ids: "step 1", "steps 1 to 3"; those to come where there are none."""
    return f"step{'s' * (len(ids) > 1)} {ranges(sorted(ids))}" if ids else "the steps to come"


def spaced(name: str) -> str:
    """The name of a stage, field or setting in words."""
    return name.replace("_", " ")


def sampled(sampling: Mapping[str, Any]) -> str:
    """How a model samples, in words."""
    return ", ".join(f"{spaced(name)} {value}" for name, value in sampling.items()) or "default sampling"


def candidate_name(index: int) -> str:
    """A candidate in words; -1 is the prompt that the step began with."""
    return "the old prompt" if index < 0 else f"candidate {index}"


def rerun_from(stage: Stage | None) -> str:
    """What a replicate sampled anew."""
    return f"fresh samples from the {spaced(stage)} on" if stage else "fresh answers of the same prompt"


def brief(text: str, width: int = 60) -> str:
    """The beginning of a text in one line."""
    line = " ".join(text[: 4 * width].split())
    return line if len(line) <= width else f"{line[: width - 2].rpartition(' ')[0] or line[: width - 2]} …"


def rich(template: str, **data: Any) -> Words:
    """Our own words with what stands between ** made strong; `data` fills the {fields} and is taken as it stands."""
    parts = re.split(r"\*\*(.+?)\*\*", template)
    return tuple(Segment("strong" if n % 2 else "same", part.format(**data)) for n, part in enumerate(parts) if part)


# --- numbers -------------------------------------------------------------------------------------------------------------


def share(found: Share) -> str:
    """A share as "62.0 % (31/50)"; a dash where there was nothing to count."""
    return f"{found.value:.1%} ({found.count}/{found.total})" if found.total else NOTHING


def interval(low: float, high: float) -> str:
    """Two shares as a range."""
    return f"{low:.1%} to {high:.1%}"


def share_figure(found: Share) -> Figure:
    """A share with its interval."""
    return Figure(share(found), interval(*found.interval)) if found.total else Figure(NOTHING)


def mean_figure(found: Mean) -> Figure:
    """A mean with its interval, where there is more than one value."""
    if not found.total:
        return Figure(NOTHING)
    low, high = found.interval
    return Figure(f"{found.value:.1f}", f"{low:.1f} to {high:.1f}" if found.total > 1 else "")


# --- differences ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2000)
def difference(before: str, after: str) -> Words:
    """`after` with what was taken away and what was put in beside what is the same."""
    return tuple(Segment(_KINDS[found.kind], found.text, found.compared) for found in segments(before, after))


def sides(left: str, right: str) -> tuple[Words, Words]:
    """Two texts side by side: the left one with what the right one lacks struck, the right one with what it has besides."""
    found = difference(left, right)
    return tuple(s for s in found if s.kind != "added"), tuple(s for s in found if s.kind != "struck")
