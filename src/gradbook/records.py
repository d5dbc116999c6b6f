"""What flows through the loop: small frozen records, one line of JSON each. They know no model, no file and no widget."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr

Stage = Literal["predict", "evaluate", "output_critique", "prompt_critique", "rewrite", "select"]
STAGES: tuple[Stage, ...] = ("predict", "evaluate", "output_critique", "prompt_critique", "rewrite", "select")
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Role = Literal["task", "critic", "optimizer"]
Variable = Literal["prompt", "critic"]
"""What a step optimises: the task's prompt, or the prompt of the critic that evaluates the task's outputs."""


class Record(BaseModel):
    """A frozen record; unknown fields are refused so that a damaged journal is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(Record):
    """An input xᵢ with its label yᵢ; `id` is unique within a task."""

    id: str
    input: str
    target: str


class Call(Record):
    """One finished call of a model.

    `key` is the content address: endpoint identity, messages, sampling and replicate. `seconds` is wall time of the
    request that was really made; `cached` says whether this time it was read from the cache. `cost` is in the
    currency of the price that was given, None without a price.
    """

    key: str
    model: str
    messages: tuple[dict[str, str], ...]
    sampling: dict[str, Any]
    replicate: int = 0
    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float | None = None
    cached: bool = False


class Answer(Record):
    """What was read from a model's output on an example.

    `answer` is None where the output could not be parsed, which scores as wrong. `target` is the true verdict where the
    answer is a critic's, None where the example holds it. `tokens` and `length` are the output's, in tokens and characters;
    `call` is the key of the call that holds the whole output.
    """

    example: str
    answer: str | None = None
    correct: bool
    target: str | None = None
    tokens: int = 0
    length: int | None = None
    call: str | None = None


class Prediction(Answer):
    """An answer together with the model's whole output ŷᵢ."""

    output: str


class Evaluation(Record):
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
    call: str | None = None


class Critique(Record):
    """An output critique or a prompt critique of one example; `index` counts several critiques of the same one."""

    example: str
    index: int = 0
    text: str
    call: str | None = None


class Candidate(Record):
    """A rewritten prompt; `index` counts the candidates of a step from 0.

    `example` and `critique` name the one critique that it follows, where it does not follow all of the batch;
    `paraphrase_of` is the index of the candidate that it says in other words.
    """

    index: int
    prompt: str
    example: str | None = None
    critique: int = 0
    paraphrase_of: int | None = None
    call: str | None = None


class Selection(Record):
    """Which prompt the step ends with: a candidate's index, or -1 for the prompt the step began with.

    `scores` maps an index (as text, "-1" for the old prompt) to its accuracy on the validation split, 0 to 1, as its `labels`
    (true or wrong ones) count it; it is empty where nothing was scored. `kept` are the members of a beam, best first.
    """

    chosen: int
    scores: dict[str, float] = {}
    labels: Literal["correct", "wrong"] = "correct"
    kept: tuple[int, ...] = ()
    reason: str = ""


EditField = Literal["prediction", "label", "evaluation", "output_critique", "prompt_critique", "candidate", "selection", "resample"]


class Edit(Record):
    """One change to a step, by hand or by name, as the journal keeps it.

    `field` says what was changed, `position` whose: an example's id, a candidate's index as text, or "" where there is
    only one. `index` counts several critiques of one example. A `resample` changes no text: it asks for fresh samples
    from stage `after` on, as replicate `replicate`; such branches are the noise floor.
    """

    field: EditField
    position: str = ""
    index: int = 0
    before: str
    after: str
    replicate: int = 0
    note: str = ""


class StageRecords(Record):
    """What each stage has given, by its name; None where it has not run."""

    predict: tuple[Prediction, ...] | None = None
    evaluate: tuple[Evaluation, ...] | None = None
    output_critique: tuple[Critique, ...] | None = None
    prompt_critique: tuple[Critique, ...] | None = None
    rewrite: tuple[Candidate, ...] | None = None
    select: Selection | None = None


class Step(StageRecords):
    """One critique-and-rewrite iteration, as far as it has run; a stage that has not run holds None.

    `parent` is the step whose chosen prompt this one began with (None for the root, which only holds the seed prompt);
    `origin` is the step it was branched off by `edits`. `depth` counts batches from the root, `batch` holds example ids.
    `prompt` is that of the `variable` which the step optimises, `held` that of the other one: in a step of the task's
    prompt, the critic's (empty without a critic), and the other way round. In a beam search `fellows` are the steps of the
    same depth that ran before, `queue` the (step, candidate) whose turn comes after.
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
    batch: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    stages: tuple[Stage, ...] = ()
    _case: Any = PrivateAttr(default=None)

    @property
    def next_stage(self) -> Stage | None:
        """The first stage that has not run, or None when the step is done."""
        return next((stage for stage in self.stages if getattr(self, stage) is None), None)

    @property
    def done(self) -> bool:
        """Whether every stage of the method has run; the root, which has none, is always done."""
        return self.next_stage is None

    def replicate(self, stage: Stage) -> int:
        """The replicate number that calls of `stage` use: 0 unless an edit asked for fresh samples from there on."""
        asked = [e for e in self.edits if e.field == "resample" and STAGES.index(stage) >= STAGES.index(e.after)]
        return asked[-1].replicate if asked else 0

    @property
    def resampled(self) -> bool:
        """Whether this branch is a replicate: fresh samples and no other change."""
        return bool(self.edits) and all(e.field == "resample" for e in self.edits)

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


class Score(Record):
    """A prompt's answers on a whole split, or a critic's verdicts on another prompt's answers.

    `prompt` is the SHA-256 of the prompt's text (of both texts for a critic), `replicate` asks for fresh samples, of a critic for
    fresh verdicts on the same outputs.
    """

    variable: Variable = "prompt"
    prompt: str
    split: SplitName
    replicate: int = 0
    answers: tuple[Answer, ...]


class Spent(Record):
    """What calls have cost: tokens as the endpoint counted them, `cost` in the currency of the price (0 without one)."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})

    @classmethod
    def of(cls, call: Call) -> "Spent":
        """What one call has cost when it was made."""
        return cls(calls=1, prompt_tokens=call.prompt_tokens, completion_tokens=call.completion_tokens, cost=call.cost or 0.0)
