"""Did a gain in accuracy come from moving answers between classes? A check on labels alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from gradbook.errors import StatsError

Answers = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Prevalence:
    """Two sets of answers to the same questions, class by class; each pair is (before, after), all shares 0 to 1.

    `flagged`: accuracy rose, by more than balanced accuracy did (`p`, one-sided t over examples within classes), while the classes in
    `lost` are answered rightly less often than before (exact sign tests over examples). Both are asked for at `alpha`, so that a gain that
    takes nothing from any class is flagged in at most that share of cases.
    """

    accuracy: tuple[float, float]
    balanced: tuple[float, float]
    recall: Mapping[str, tuple[float, float]]
    true: Mapping[str, float]
    answered: Mapping[str, tuple[float, float]]
    lost: tuple[str, ...]
    p: float
    alpha: float

    @property
    def gain(self) -> tuple[float, float]:
        """The gain in accuracy, and that in balanced accuracy."""
        return self.accuracy[1] - self.accuracy[0], self.balanced[1] - self.balanced[0]

    @property
    def flagged(self) -> bool:
        """Whether the gain came, in part at least, from moving answers between classes."""
        return self.gain[0] > 0 and self.p <= self.alpha and bool(self.lost)

    @property
    def constant(self) -> tuple[str, float]:
        """The best answer to give always, and the accuracy that it has."""
        return max(self.true.items(), key=lambda item: item[1])


def prevalence(
    truth: Sequence[str], before: Answers, after: Answers, alpha: float = 0.05, examples: Sequence[int] | None = None
) -> Prevalence:
    """Check two prompts as they are, over the examples.

    Args:
        truth: the true class of each question.
        before, after: the classes answered, a row a time that all were asked; any other label where none was.
        alpha: how often a gain that takes nothing from any class may be flagged.
        examples: which example each question belongs to, where an example asks several; questions of one stand or fall together.

    Raises:
        StatsError: rows of another length than `truth`, none at all, or fewer than two classes or examples.
    """
    names = sorted(set(truth))
    if len(names) < 2:
        raise StatsError(f"A check on classes needs questions of two classes or more, not of {', '.join(names) or 'none'}.")
    if any(not rows or any(len(row) != len(truth) for row in rows) for rows in (before, after)):
        raise StatsError(f"Each row of answers must answer all {len(truth)} questions, before and after.")
    classes = np.array([names.index(label) for label in truth])
    groups = np.unique(range(len(truth)) if examples is None else examples, return_inverse=True)[1]
    if len(groups) != len(truth) or groups.max() < len(names):
        raise StatsError(f"Name the example of each of {len(truth)} questions, and have more examples than the {len(names)} classes.")
    right = [
        np.mean([[answer == label for answer, label in zip(row, truth, strict=True)] for row in rows], axis=0) for rows in (before, after)
    ]
    sizes = np.bincount(classes)
    recalls = [np.bincount(classes, hits) / sizes for hits in right]
    moved = right[1] - right[0]
    each = alpha / (len(names) - 1)  # where accuracy gains more than balanced accuracy, one class at least has gained
    lost = tuple(name for k, name in enumerate(names) if _fell(np.bincount(groups, moved * (classes == k))) <= each)
    return Prevalence(
        (float(right[0].mean()), float(right[1].mean())),
        (float(recalls[0].mean()), float(recalls[1].mean())),
        {name: (float(recalls[0][k]), float(recalls[1][k])) for k, name in enumerate(names)},
        {name: float(sizes[k] / len(truth)) for k, name in enumerate(names)},
        _answered(names, before, after),
        lost,
        _p_of_gap(moved, classes, groups, sizes),
        alpha,
    )


def _fell(by_example: np.ndarray) -> float:
    """The one-sided p that as many of the examples that changed went down by chance: an exact sign test."""
    down, up = int((by_example < 0).sum()), int((by_example > 0).sum())
    return float(scipy.special.bdtr(up, down + up, 0.5)) if down else 1.0


def _p_of_gap(moved: np.ndarray, classes: np.ndarray, groups: np.ndarray, sizes: np.ndarray) -> float:
    """The one-sided p that accuracy gained no more than balanced accuracy: stratified by class, clustered by example."""
    weights = 1 / len(moved) - 1 / len(sizes) / sizes[classes]
    gap, own = float(weights @ moved), (np.bincount(classes, moved) / sizes)[classes]
    df = int(groups.max()) + 1 - len(sizes)
    error = float(np.sqrt((np.bincount(groups, weights * (moved - own)) ** 2).sum() * (df + len(sizes)) / df))
    return float(scipy.special.stdtr(df, -gap / error)) if error else float(gap <= 0)


def _answered(names: Sequence[str], *arms: Answers) -> dict[str, tuple[float, float]]:
    counts = [Counter(answer for row in rows for answer in row) for rows in arms]
    labels = [*names, *sorted({*counts[0], *counts[1]} - {*names})]
    first, second = ({label: count[label] / count.total() for label in labels} for count in counts)
    return {label: (first[label], second[label]) for label in labels}
