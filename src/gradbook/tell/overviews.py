"""What there is to see of a case as a whole, as frozen views: its tree, its effects, and what a report opens with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradbook.records import SplitName
from gradbook.tell.views import Mark, Words

if TYPE_CHECKING:
    from gradbook.effects import Effect


# --- the tree ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScoreView:
    """The score of a step on a split: `percent` is short ("62 %"), `share` in full ("62.0 % (31/50)"), `more` balanced, unparsed, lost.

    `name` is "accuracy", or "agreement" for a critic's. `best`: no prompt on this split has a better one.
    """

    split: SplitName
    name: str
    percent: str
    share: str
    more: tuple[str, ...]
    best: bool


@dataclass(frozen=True, slots=True)
class RerunView:
    """The replicates of a step in a row: what they are, and the span of their scores on each split of the tree ("–" where none is)."""

    line: str
    spans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A step in the tree: `level` is its indentation from 0, `scores` stand on each split of the tree, None where it is not scored.

    `tags` are what the tree can be filtered by: "edited", "noted", "best", "critic", "front" (GEPA's Pareto front), "unfinished".
    `landmark`: worth seeing first.
    `method` is the method's line where the case has several, `next` the stage that comes next in a step that is under way.
    """

    id: int
    level: int
    what: str
    line: str
    method: str
    scores: tuple[ScoreView | None, ...]
    note: str
    tags: frozenset[str]
    landmark: bool
    next: str
    reruns: tuple[RerunView, ...]


@dataclass(frozen=True)
class TreeView:
    """The steps in order, replicates left out, with scores on `splits`; `caption` explains the signs, and whose scores they are."""

    splits: tuple[SplitName, ...]
    rows: tuple[TreeRow, ...]
    caption: str


# --- effects -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as it is shown, and its 95 % interval ("" where there is none)."""

    text: str
    interval: str = ""


@dataclass(frozen=True)
class MetricsView:
    """Metrics of one prompt, or of two side by side: `heads` are empty or "before" and "after", `rows` a name with its figures.

    `confusion` has a row a true class: the counts of each answer in `answered`, each with what it is a share of as its interval.
    `others` says which classes are left out, where there are many.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Figure, ...]], ...]
    answered: tuple[str, ...]
    confusion: tuple[tuple[str, tuple[Figure, ...]], ...]
    others: str


@dataclass(frozen=True, slots=True)
class FlipView:
    """An example whose answer changed: before → after, the true label, and whether that fixed or broke it."""

    example: str
    input: str
    target: str
    before: str
    after: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class DrawnView:
    """An example that the draws of the two arms answer rightly in different shares ("2 of 5"); `mark` says which way it went."""

    example: str
    input: str
    target: str
    before: str
    after: str
    mark: Mark


@dataclass(frozen=True)
class EffectView:
    """A step beside another on a split. `found` is None where something is missing, and `verdict` then says what.

    `title` is "Step 1 → step 2", `about` what a critic's numbers are. `word` is the verdict in a word with a mark, None without
    draws; `verdict` the sentence, `floors` each arm's draws in words, `means` over the draws (name, before, after), `drawn` the examples
    that changed in them, which `moved` counts, `more` what it costs to judge, or to go on. `warnings` say what makes the numbers mean
    less. Of the two prompts as they ran: `ran` says it in a line, `flipped` counts `flips`, `metrics` are those of both, or of the step
    alone where there is nothing before it.
    """

    before: int | None
    after: int
    split: SplitName
    title: str
    word: Mark | None = None
    verdict: str = ""
    about: str = ""
    floors: tuple[str, ...] = ()
    means: tuple[tuple[str, str, str], ...] = ()
    drawn: tuple[DrawnView, ...] = ()
    moved: str = ""
    more: str = ""
    warnings: tuple[str, ...] = ()
    ran: str = ""
    metrics: MetricsView | None = None
    flips: tuple[FlipView, ...] = ()
    flipped: str = ""
    found: "Effect | None" = None


@dataclass(frozen=True)
class PairRow:
    """One text of two steps side by side: `left` with what the right one lacks struck, `right` with what it has besides; `same`: no
    difference."""

    title: str
    left: Words
    right: Words
    same: bool


@dataclass(frozen=True)
class PairView:
    """Two steps pinned: their prompts and critiques as differences side by side, and the effect between them."""

    left: int
    right: int
    left_what: str
    right_what: str
    parts: tuple[tuple[str, tuple[PairRow, ...]], ...]
    effect: EffectView


# --- the case ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """A named line of facts; `more` is what opens below it."""

    name: str
    lines: tuple[Words, ...]
    more: str = ""


@dataclass(frozen=True)
class HeadView:
    """What stands above a workbench: `models` are names, `kinds` badges ("replay", "embedded", "remote"), `closed` why nothing can be
    written."""

    title: str
    task: str
    models: str
    kinds: tuple[str, ...]
    spent: str
    closed: str


@dataclass(frozen=True)
class TaskView:
    """A task as a table: a row a split, with the shares of the first labels."""

    name: str
    about: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class TrainingView:
    """Accuracy on the whole training split, epoch by epoch: a table."""

    about: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class CaseView:
    """A case as a report opens it.

    `about` says what it is, `private` that its examples must not be published ("" where they may), `facts` the task, methods, models
    and costs, `reading` how to read what follows, `methods` is the paragraph for a paper's methods section, `versions` what wrote the
    report.
    """

    title: str
    task: str
    about: Words
    private: str
    facts: tuple[Fact, ...]
    reading: tuple[Words, ...]
    methods: str
    versions: str
    training: TrainingView | None
