"""What flows through the loop: small frozen records, one line of JSON each. They know no model, no file and no widget."""

import hashlib
import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gradbook.parse import whole

Stage = Literal["predict", "evaluate", "output_critique", "prompt_critique", "rewrite", "select"]
STAGES: tuple[Stage, ...] = get_args(Stage)
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
Role = Literal["task", "critic", "optimizer"]
Variable = Literal["prompt", "critic"]
"""What a step optimises: the task's prompt, or the prompt of the critic that evaluates the task's outputs."""
Lost = Literal["cut off", "no reply"]
"""Why a reply gives nothing to go on with: it was cut off at its limit of tokens, or there was none."""


def sha256(text: str) -> str:
    """The SHA-256 of a text in hexadecimal: what prompts are filed under."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def short_id(*parts: Any) -> str:
    """The beginning of the SHA-256 of JSON-able parts: what models and forms of a question are filed under."""
    return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":")))[:16]


class Record(BaseModel):
    """A frozen record; unknown fields are refused so that a damaged journal is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(Record):
    """An input xᵢ with its label yᵢ; `id` is unique within a task."""

    id: str
    input: str
    target: str

    @field_validator("*")
    @classmethod
    def _mended(cls, text: str) -> str:
        return whole(text)


class Call(Record):
    """One finished call of a model.

    `key` is the content address: endpoint identity, messages, sampling and replicate. `reason` is the endpoint's own word on why
    there is no text. Tokens are None where the endpoint did not count them. `seconds` is wall time of the request that was really
    made; `cached` says whether this time it was read from the cache. `cost` is in the currency of the price that was given, None
    where price or usage are unknown.
    """

    key: str
    model: str
    messages: tuple[dict[str, str], ...]
    sampling: dict[str, Any]
    replicate: int = 0
    text: str
    finish_reason: str = "stop"
    reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    cost: float | None = None
    cached: bool = False


class Heard(Record):
    """What was read from a reply: `call` is the key of the call that holds the whole reply, None where no call stands behind it.

    `lost` says that the reply gives nothing to go on with, `why` says it in words. `brought` says where a person brought the record from
    ("critiques.csv, row 5"), None where it was made here: no model of the case made what was brought, and nobody paid for it.
    """

    call: str | None = None
    lost: Lost | None = None
    why: str = ""
    brought: str | None = None


class Answer(Heard):
    """What was read from a model's output on an example.

    `answer` is None where the output could not be parsed, which scores as wrong. `target` is the true verdict where the
    answer is a critic's, None where the example holds it. `tokens` and `length` are the output's, in tokens and characters.
    """

    example: str
    answer: str | None = None
    correct: bool
    target: str | None = None
    tokens: int | None = None
    length: int | None = None


class Prediction(Answer):
    """An answer together with the model's whole output ŷᵢ."""

    output: str


class Evaluation(Heard):
    """The evaluation L(xᵢ, yᵢ, ŷᵢ) in words, as the output critique will read it.

    `label` is the label shown in the feedback (None where no label is shown), `target` the true one.
    `score` is the critic's, 0 to 1, or None for a direct evaluation or a reply without a usable one; `unusable` says why.
    """

    example: str
    label: str | None = None
    target: str | None = None
    text: str
    score: float | None = None
    unusable: Literal["missing", "out of range"] | None = None


class Critique(Heard):
    """An output critique or a prompt critique of one example; `index` counts several critiques of the same one.

    The text of one that was lost is empty, and nothing is made of it.
    """

    example: str
    index: int = 0
    text: str


class Candidate(Heard):
    """A rewritten prompt; `index` counts the candidates of a step from 0. One that was lost holds no prompt and cannot be chosen.

    `example` and `critique` name the one critique that it follows, where it does not follow all of the batch;
    `paraphrase_of` is the index of the candidate that it says in other words.
    """

    index: int
    prompt: str
    example: str | None = None
    critique: int = 0
    paraphrase_of: int | None = None


class Acceptance(Record):
    """What GEPA's acceptance, and its Pareto front after it, came to in a step.

    `before` and `after` are the sums of the scores on the batch, of the old prompt and of the candidate (None where there is none), whose
    `answers` on the batch they are of. `front` are the steps that end with a prompt on the Pareto front of the validation split,
    `next_from` is the one that was drawn from it, whose prompt the next step begins with; empty and None where nothing goes on from here.
    """

    accepted: bool
    before: float
    after: float | None = None
    answers: tuple[Answer, ...] = ()
    front: tuple[int, ...] = ()
    next_from: int | None = None


class Selection(Record):
    """Which prompt the step ends with: a candidate's index, or -1 for the prompt the step began with.

    `scores` maps an index (as text, "-1" for the old prompt) to its accuracy on the validation split, 0 to 1, as its `labels`
    (true or wrong ones) count it; it is empty where nothing was scored. `kept` are the members of a beam, best first. `acceptance` is
    that of GEPA.
    """

    chosen: int
    scores: dict[str, float] = {}
    labels: Literal["correct", "wrong"] = "correct"
    kept: tuple[int, ...] = ()
    acceptance: Acceptance | None = None
    reason: str = ""


EditField = Literal["prediction", "label", "evaluation", "output_critique", "prompt_critique", "candidate", "selection"]


class _Edit(Record):
    """What every perturbation has: whose record it changes, and where it comes from.

    `example` is the id of an example (on the way in also its position in the batch from 0), `candidate` a candidate's index,
    `index` counts several critiques of one example. `at` is when it was made, `by` whether a person wrote it or asked for it by
    name, `why` the person's reason.
    """

    field: EditField
    example: int | str | None = None
    candidate: int | None = None
    index: int = 0
    at: str = ""
    by: Literal["hand", "name"] = "hand"
    why: str = ""

    @property
    def position(self) -> str:
        """The example's id or the candidate's index as text; "" where there is only one."""
        return str(self.candidate) if self.candidate is not None else str(self.example or "")


class Replace(_Edit):
    """Put `text` in the place of what a stage gave; `before` is what stood there when the branch was made."""

    kind: Literal["replace"] = "replace"
    text: str
    before: str | None = None


class _Named(_Edit):
    """A perturbation that was asked for by its name; what it writes follows from what stands there when it runs."""

    by: Literal["hand", "name"] = "name"


class Drop(_Named):
    """Leave out what a stage gave."""

    kind: Literal["drop"] = "drop"


class Double(_Named):
    """Say a critique `times` times in place of once."""

    kind: Literal["double"] = "double"
    times: int = Field(default=2, ge=2, le=20)


class Relabel(_Named):
    """Show another label in the feedback: a wrong one, none, or that of the example `other`."""

    kind: Literal["relabel"] = "relabel"
    field: Literal["label"] = "label"
    to: Literal["wrong", "none", "other"]
    other: int | str | None = None


class Swap(_Named):
    """Exchange the texts of two examples."""

    kind: Literal["swap"] = "swap"
    other: int | str


class Take(_Named):
    """Put the text of the example `other` in another step in the place; `text` is what stood there."""

    kind: Literal["take"] = "take"
    step: int
    other: int | str
    text: str


class Cut(_Named):
    """Leave sentence number `sentence` (from 0) of a text out, or with `keep` all the others."""

    kind: Literal["cut"] = "cut"
    sentence: int = Field(ge=0)
    keep: bool = False


class Blank(_Named):
    """Put nothing in the place of a text, or with `filler` as many words that say nothing: a placebo."""

    kind: Literal["blank"] = "blank"
    filler: bool = False


class Strength(_Named):
    """Say how strongly a critique is to be followed: 0 "hardly" to 4 "drastically"."""

    kind: Literal["strength"] = "strength"
    strength: int = Field(ge=0, le=4)


class Shuffle(_Named):
    """Put what a stage gave in another order, drawn by `seed`."""

    kind: Literal["shuffle"] = "shuffle"
    seed: int = 0


class Reword(_Named):
    """Let a model say the opposite of a text, or the same in other words."""

    kind: Literal["reword"] = "reword"
    how: Literal["negate", "paraphrase"]


Edit = Annotated[Replace | Drop | Double | Relabel | Swap | Take | Cut | Blank | Strength | Shuffle | Reword, Field(discriminator="kind")]
"""A perturbation: one change to a step, by hand or by name, as the journal keeps it and the runner executes it at its stage."""


class StageRecords(Record):
    """What each stage has given, by its name; None where it has not run. A stage gives any number of records an example."""

    predict: tuple[Prediction, ...] | None = None
    evaluate: tuple[Evaluation, ...] | None = None
    output_critique: tuple[Critique, ...] | None = None
    prompt_critique: tuple[Critique, ...] | None = None
    rewrite: tuple[Candidate, ...] | None = None
    select: Selection | None = None


class Step(StageRecords):
    """One critique-and-rewrite iteration, as far as it has run; a stage that has not run holds None.

    `parent` is the step whose chosen prompt this one began with (None for the root, which only holds the seed prompt);
    `origin` is the step it was branched off, by `edits` or as a replicate. `depth` counts batches from the root, `batch` holds
    example ids. `prompt` is that of the `variable` which the step optimises, `held` that of the other one: in a step of the task's
    prompt, the critic's (empty without a critic), and the other way round. In a beam search `fellows` are the steps of the
    same depth that ran before, `queue` the (step, candidate) whose turn comes after. In a run of GEPA `after` is the step that ran before,
    whatever step the prompt comes from.

    Calls of stage `fresh_from` and after it are fresh draws with number `replicate`; what branches off a replicate inherits both.
    `replicate_of` is the step that this one repeats without any change. `finding` is the id of the finding that it was made for, `arm` its
    name in there.
    """

    id: int
    parent: int | None = None
    origin: int | None = None
    depth: int
    variable: Variable = "prompt"
    prompt: str
    held: str = ""
    fellows: tuple[int, ...] = ()
    queue: tuple[tuple[int, int], ...] = ()
    after: int | None = None
    batch: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    replicate: int = 0
    fresh_from: Stage | None = None
    replicate_of: int | None = None
    finding: str | None = None
    arm: str = ""
    stages: tuple[Stage, ...] = ()

    @property
    def next_stage(self) -> Stage | None:
        """The first stage that has not run, or None when the step is done."""
        return next((stage for stage in self.stages if getattr(self, stage) is None), None)

    @property
    def done(self) -> bool:
        """Whether every stage of the method has run; the root, which has none, is always done."""
        return self.next_stage is None

    @property
    def aside(self) -> bool:
        """Whether it was made to measure something, and is no place to work from: a replicate, or an arm of a finding."""
        return self.replicate_of is not None or self.finding is not None

    @property
    def brought(self) -> bool:
        """Whether a person brought outputs or output critiques of it from elsewhere."""
        return any(record.brought for stage in (self.predict, self.output_critique) for record in stage or ())

    def draw(self, stage: Stage) -> int:
        """The replicate number that calls of `stage` use: 0 before the stage that the step is fresh from."""
        fresh = self.fresh_from is not None and STAGES.index(stage) >= STAGES.index(self.fresh_from)
        return self.replicate if fresh else 0

    @property
    def chosen_prompt(self) -> str:
        """The prompt that the step ends with; the one it began with while nothing is selected."""
        return self.prompt if self.select is None else self.candidate(self.select.chosen)

    def candidate(self, index: int) -> str:
        """The prompt of a candidate, -1 standing for the one that the step began with."""
        return self.prompt if index < 0 else next(c.prompt for c in self.rewrite or () if c.index == index)

    def ends_with(self, variable: Variable) -> str:
        """The prompt of either variable after this step; empty for the critic's where there is none."""
        return self.chosen_prompt if variable == self.variable else self.held
