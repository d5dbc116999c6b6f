"""What a score says: accuracy never without balanced accuracy and per-class recall, since prevalence hacking hides behind it."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest

from gradbook.records import Answer
from gradbook.scores import Score
from gradbook.stats import mean_interval, mean_of_shares, wilson
from gradbook.tasks import Task


@dataclass(frozen=True)
class Share:
    """A count out of a total, with its Wilson interval at 95 %. All shares are 0 to 1, and nan where the total is 0."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval at 95 %."""
        return wilson(self.count, self.total)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({self.count}/{self.total}, 95 % interval {low:.1%} to {high:.1%})"


UNPARSED = "(unparsed)"
"""The class that an answer counts as that could not be read, whether the reply was whole or lost."""
VERDICTS = ("right", "wrong")
"""The classes of a critic's verdicts: whether the output that it judges is right."""


@dataclass(frozen=True)
class Mean:
    """A mean over examples, with its t interval at 95 %; nan where there is nothing to average."""

    value: float
    interval: tuple[float, float]
    total: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """The mean of `values`."""
        return cls(sum(values) / len(values) if values else math.nan, mean_interval(values), len(values))


@dataclass(frozen=True)
class Metrics:
    """Metrics of one prompt on one set of examples; of a critic's prompt, of its agreement with the gold answers.

    `accuracy` and `unparsed` are shares of the examples, and so are `cut_off` and `no_reply`, the replies that were lost (a reply that was
    cut off may have stated its answer before). `recall` holds a share for each class that the labels contain.
    Where an answer is a sequence, each of its items counts in `recall`. `confusion` counts (true class, answered class),
    with `UNPARSED` for an answer that could not be read. `length` and `tokens` are the mean length of an output in
    characters and in tokens.
    """

    accuracy: Share
    unparsed: Share
    cut_off: Share
    no_reply: Share
    recall: dict[str, Share]
    confusion: Counter[tuple[str, str]]
    length: Mean
    tokens: Mean
    judged: bool = False

    @property
    def name(self) -> str:
        """What `accuracy` is called: a critic's is its agreement with the gold answers."""
        return "agreement" if self.judged else "accuracy"

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean recall of the classes that occur; nan for tasks without classes."""
        occurring = [share.value for share in self.recall.values() if share.total]
        return sum(occurring) / len(occurring) if occurring else math.nan

    @property
    def balanced_interval(self) -> tuple[float, float]:
        """The 95 % interval of `balanced`, from the Wilson interval of each class (Newcombe 1998; Zou and Donner 2008)."""
        return mean_of_shares([(s.value, *s.interval) for s in self.recall.values() if s.total])

    def shown(self, most: int = 30) -> tuple[list[str], str]:
        """The classes to show, all or of more than `most` those with the most examples, and a sentence on the others ("" for none)."""
        if len(self.recall) <= most:
            return list(self.recall), ""
        common = nlargest(most, (label for label, share in self.recall.items() if share.total), key=lambda label: self.recall[label].total)
        return common, f"Of {len(self.recall):,} classes the {len(common)} with the most examples are shown."

    def confused(self, true: str, answered: str) -> Share:
        """How often class `true` was answered `answered`, out of all that are `true`."""
        return Share(self.confusion[true, answered], self.recall[true].total)

    @classmethod
    def of(cls, answers: Sequence[Answer], task: Task) -> "Metrics":
        """Metrics of answers (of a `Score` or of a step's predictions) against the task's true labels."""
        confusion = Counter(pair for answer in answers for pair in class_pairs(answer, task))
        judged = any(answer.target for answer in answers)
        totals: Counter[str] = Counter()
        for (true, _), count in confusion.items():
            totals[true] += count
        none, labels = Share(0, 0), VERDICTS if judged else task.labels
        recall = {label: Share(confusion[label, label], totals[label]) if label in totals else none for label in labels}
        return cls(
            accuracy=Share(sum(answer.correct for answer in answers), len(answers)),
            unparsed=Share(sum(answer.answer is None and answer.lost is None for answer in answers), len(answers)),
            cut_off=Share(sum(answer.lost == "cut off" for answer in answers), len(answers)),
            no_reply=Share(sum(answer.lost == "no reply" for answer in answers), len(answers)),
            recall=recall,
            confusion=confusion,
            length=Mean.of([answer.length for answer in answers if answer.length is not None]),
            tokens=Mean.of([answer.tokens for answer in answers if answer.tokens is not None]),
            judged=judged,
        )


@dataclass(frozen=True)
class Flip:
    """An example whose answer changed between two scores; `kind` is "fixed", "broken", "still wrong"."""

    example: str
    before: str | None
    after: str | None
    kind: str


def flips(before: Score, after: Score) -> list[Flip]:
    """The examples that two scores of the same split answer differently, fixed and broken ones first."""
    later = {answer.example: answer for answer in after.answers}
    pairs = [(a, later[a.example]) for a in before.answers if a.example in later]
    found = [Flip(a.example, a.answer, b.answer, _kind(a.correct, b.correct)) for a, b in pairs if a.answer != b.answer]
    return sorted(found, key=lambda flip: ["fixed", "broken", "still wrong", "still right"].index(flip.kind))


def _kind(before: bool, after: bool) -> str:
    if before != after:
        return "fixed" if after else "broken"
    return "still right" if after else "still wrong"


def class_pairs(answer: Answer, task: Task) -> list[tuple[str, str]]:
    """The true class and the answered one, or UNPARSED, of each item of an answer; none for a task without classes."""
    if answer.target:  # a verdict: what it says follows from whether it agrees
        other = next(verdict for verdict in VERDICTS if verdict != answer.target)
        return [(answer.target, UNPARSED if answer.answer is None else (answer.target if answer.correct else other))]
    true = task.classes(task.example(answer.example).target)
    given = task.classes(answer.answer) if answer.answer is not None else ()
    padded = (*given, *[UNPARSED] * len(true))[: len(true)]
    return list(zip(true, padded, strict=True))
