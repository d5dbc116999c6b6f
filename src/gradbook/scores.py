"""Scores: the answers of a prompt on a whole split, the question they are of, and what calls have cost."""

from gradbook.records import Answer, Call, Record, SplitName, Variable, short_id


class Question(Record):
    """What a score is of: a prompt on a split, and everything besides it that the answers depend on (invariant 3).

    `prompt` and `judged` are SHA-256 of texts: a critic's prompt is scored on the outputs of the prompt `judged`, by the model
    `judged_model`. `replicate` asks for
    fresh samples, of a critic for fresh verdicts on the same outputs. `model` is the id of the model that answers (identity and
    sampling), `form` of the form in which it is asked and read.
    """

    prompt: str
    judged: str | None = None
    judged_model: str | None = None
    split: SplitName
    replicate: int = 0
    model: str = ""
    form: str = ""

    @property
    def id(self) -> str:
        """What calls made for it are filed under."""
        return short_id(self.model_dump())

    @property
    def variable(self) -> Variable:
        """Whose prompt it is."""
        return "prompt" if self.judged is None else "critic"


class Score(Record):
    """A prompt's answers on a whole split, or a critic's verdicts on another prompt's answers."""

    question: Question
    answers: tuple[Answer, ...]

    @property
    def right(self) -> int:
        """How many answers are right; unparsed ones count as wrong."""
        return sum(answer.correct for answer in self.answers)

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0 to 1."""
        return self.right / len(self.answers)


class Spent(Record):
    """What calls have cost: tokens as the endpoint counted them, `cost` in the currency of the price.

    `seconds` is the time of the requests that were really made, each for itself. `unknown` counts the calls whose usage the endpoint did
    not give, which are in no sum of tokens or cost; `cost` is None where nothing is known.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    unknown: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        known = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Spent(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost=sum(known) if known else None,
            unknown=self.unknown + other.unknown,
            seconds=self.seconds + other.seconds,
        )

    def __sub__(self, other: "Spent") -> "Spent":
        cost = None if self.cost is None else self.cost - (other.cost or 0.0)
        names = ("calls", "prompt_tokens", "completion_tokens", "unknown", "seconds")
        return Spent(cost=cost, **{name: getattr(self, name) - getattr(other, name) for name in names})

    def __str__(self) -> str:
        unknown = f", usage unknown for {self.unknown:,} of them" if self.unknown else ""
        cost = f", cost {'at least ' * bool(self.unknown)}{self.cost:,.4f}" if self.cost else ""
        return f"{self.calls:,} calls, {self.prompt_tokens:,} + {self.completion_tokens:,} tokens{cost}{unknown}"

    @classmethod
    def of(cls, call: Call) -> "Spent":
        """What one call has cost when it was made."""
        if call.prompt_tokens is None or call.completion_tokens is None:
            return cls(calls=1, unknown=1, seconds=call.seconds)
        tokens = {"prompt_tokens": call.prompt_tokens, "completion_tokens": call.completion_tokens}
        return cls(calls=1, cost=call.cost, seconds=call.seconds, **tokens)
