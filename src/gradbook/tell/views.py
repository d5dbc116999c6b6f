"""What there is to see of a case, as frozen views: rows, words, differences as segments. No HTML, no widget.

Every text is plain, as it stands: whoever lays it out escapes it. Words with marks in them are `Segment`s. A view is made by the function
of its name in `tell`, from a recording, and never changes.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from gradbook.records import EditField, Stage, Variable


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text: "same" stands as it is, "struck" was taken away, "added" was put in; "strong" is emphasised.

    `compared` is False where two passages were too long to be compared, and stand as struck and added whole.
    """

    kind: Literal["same", "struck", "added", "strong"]
    text: str
    compared: bool = True


Words = tuple[Segment, ...]
"""Text with marks in it, in reading order."""
Annotations = Literal["all", "mine", "none"]
"""Which annotations are told: notes and the reasons of all edits; "mine", without the reasons of what a program
asked for by name; or none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A short remark, as "✓ right" or "answer left"; `good` says whether that is good or bad, None where it is neither."""

    text: str
    good: bool | None = None


# --- what can be changed, and what was ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands that can be edited: the fields are the arguments of `gb.edits.replace(**place.where, text=…)`."""

    field: EditField
    example: str | None = None
    index: int = 0
    candidate: int | None = None

    @property
    def where(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class ChangeView:
    """A perturbation on the way to a step.

    `step` is where it was made, `line` says it in a line ("output critique of example 2 edited by hand").
    `difference` is `after` with its differences from `before`, empty where it is no replacement. `superseded`: what it wrote does not
    stand any more.
    """

    step: int
    stage: Stage
    place: Place
    kind: str
    line: str
    sign: str  # "edited by hand", "dropped", …: short enough to stand above a text
    why: str
    at: str
    by: Literal["hand", "name"]
    difference: Words
    superseded: bool


# --- the step --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordView:
    """One text that a stage gave, or a label, as it stands in a step.

    `key` names it within the step and is safe in an id. `example` and `position` (from 0) say whose it is, None for a candidate. `text` is
    what stands there, "" where nothing does, and `empty` what to say then. `words` is the text with its differences: from what stood there
    before a change, for a candidate from the old prompt (`against` says which, "" where there are none). `marks` is what was read from it,
    to stand in a line above. `lost` says that the reply was cut off or never came. `change` wrote it. `place` is where an edit of it goes,
    None where it cannot be edited, `options` what may stand there where that is not any text. `kept`: a branch has it from its origin.
    `changed`: it was edited or made anew since the origin, so it lies on the way of the edit.
    """

    key: str
    stage: Stage
    title: str
    text: str
    words: Words
    against: str
    empty: str
    marks: tuple[Mark, ...]
    example: str | None
    position: int | None
    lost: str
    change: ChangeView | None
    place: Place | None
    options: tuple[str, ...]
    kept: bool
    changed: bool


@dataclass(frozen=True)
class StageView:
    """A stage as a card. `help` says what it does in this step, `summary` what came of it, `remarks` what is to be known besides.

    `records` stand in the order of the batch; a label stands before the evaluation that shows it. `model` is the name of what was asked.
    """

    stage: Stage
    number: int
    title: str
    help: str
    state: Literal["done", "next", "not yet run"]
    model: str
    summary: str
    remarks: tuple[str, ...]
    records: tuple[RecordView, ...]
    kept: bool


@dataclass(frozen=True)
class CellView:
    """What a stage gave for one example; `remark` says why there is nothing ("not criticised: the evaluation calls it right")."""

    stage: Stage
    title: str
    records: tuple[RecordView, ...]
    remark: str
    changed: bool


@dataclass(frozen=True)
class ExampleView:
    """One example of a batch across the stages: the row of the layout by example, and the head of its records by stage.

    `input` is what was asked; for a critic `judged` is the output that it read besides. `target` is the true label (of a verdict:
    whether the output is right). `cells` hold the stages up to the prompt critique that have run. `changed`: an edit or what came of it
    is here.
    """

    position: int
    id: str
    input: str
    judged: str | None
    target: str
    marks: tuple[Mark, ...]
    cells: tuple[CellView, ...]
    kept: bool
    changed: bool


@dataclass(frozen=True)
class ChoiceView:
    """A prompt that the selection could choose; `index` is -1 for the old one, which has no record.

    `made_from` says which critique or candidate it follows, `same_as` whose words it has ("the old prompt", "candidate 0"; "" where
    they are its own). `scores` fill the columns of `ChoicesView.columns`, `marks` say whether it was chosen or carried on. `open`:
    worth seeing at once. `selectable`: a person may choose it; `why_not` says why not.
    """

    index: int
    name: str
    record: RecordView | None
    made_from: str
    same_as: str
    scores: tuple[str, ...]
    marks: tuple[Mark, ...]
    open: bool
    selectable: bool
    why_not: str


@dataclass(frozen=True)
class ChoicesView:
    """The rewrite and the selection: what there was to choose from. `chosen` is None, `reason` and `place` empty, while nothing is."""

    columns: tuple[str, ...]
    rows: tuple[ChoiceView, ...]
    chosen: int | None
    reason: str
    change: ChangeView | None
    place: Place | None
    kept: bool


@dataclass(frozen=True)
class PromptView:
    """The prompt that a step began with: its name, where it comes from, the instruction that always follows it, the other one in force."""

    name: str
    begun: str
    text: str
    fixed: str
    held_name: str
    held: str
    kept: bool


@dataclass(frozen=True)
class NoteView:
    """The note on a step in Markdown; `first` is its first line without marks, "" where there is none."""

    step: int
    text: str
    first: str


@dataclass(frozen=True)
class StepView:
    """A step in full.

    `what` says it in a few words, as the tree does, `line` in a sentence ("branch of step 1: output critique of … edited by hand").
    `where` is its place in epoch and beam, `status` what its batch came to, `outcome` what the step came to, in one line for a folded one.
    `method` is the method's line, `method_differs` whether it is another than that of the step before, `method_next` the one from the next
    step on where it is another. `critic` folds: (name, prompt) of the critic that evaluated. `ends` is the prompt it ends with, None while
    there is none or where it is the old one. `code` is the line of Python that makes a branch ("" for any other step). `replicate` says
    what a replicate repeats, "" for any other step.
    """

    id: int
    parent: int | None
    origin: int | None
    variable: Variable
    what: str
    line: str
    where: str
    status: str
    outcome: str
    replicate: str
    method: str
    method_differs: bool
    method_next: str
    spent: str
    done: bool
    next: str
    prompt: PromptView
    changes: tuple[ChangeView, ...]
    stages: tuple[StageView, ...]
    examples: tuple[ExampleView, ...]
    choices: ChoicesView | None
    ends: str | None
    code: str
    note: NoteView
