"""Where the truth is lost: the rule that the labels follow, put in at each stage, and what of it reaches the score.

A leak is a step in the gains: put in before it the rule adds less than put in after it. Each place where the stages can be cut in two is
tried, with both sides pooled: with 60 examples, 5 draws and rewrites that differ by 5 points, a leak of 30 points is named in 92–99 %,
where comparing neighbours does so in 82–87 %. One that is not there is named in 0–3 %, where "the first stage at which it is shown to
help" errs in up to 35 % (`tests/benchmarks/test_finding_worlds_trace.py`).
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from gradbook import background, edits
from gradbook.costs import Calls, answers, run_again, times
from gradbook.edits.words import filler
from gradbook.errors import CaseError
from gradbook.findings.base import Finding
from gradbook.findings.bench import Bench, recorded
from gradbook.loop import Method
from gradbook.loop.stages import together
from gradbook.loop.templates import Templates
from gradbook.records import Edit, EditField, Record, SplitName, Stage, Step
from gradbook.stats import Effect, effect
from gradbook.stats.effect import MOST_REPLICATES

if TYPE_CHECKING:
    from gradbook.case import Case
    from gradbook.recording import Recording

PLACES: dict[Stage, EditField] = {
    "evaluate": "evaluation",
    "output_critique": "output_critique",
    "prompt_critique": "prompt_critique",
    "rewrite": "candidate",
}
"""The stages that something can be put into, with the texts that it is put in after."""
NAMES: dict[Stage, str] = {stage: stage.replace("_", " ") for stage in PLACES} | {"evaluate": "evaluation"}
What = Literal["rule", "wrong", "placebo"]


class Put(Record):
    """Something put in at a stage: `step` is the arm, `right` its draws by example (1 for a right answer).

    `words` says of each stage after it, "select" for the prompt that is chosen, what share of the content words of the rule stands there, a
    number a draw.
    """

    stage: Stage
    what: What
    step: int
    right: tuple[tuple[int, ...], ...]
    words: dict[Stage, tuple[float, ...]]


class Trace(Finding):
    """What the rule adds to the score by the stage that it is put in at, over as many words that say nothing put in there.

    `wrong` is "" where there is no wrong rule. `chosen_here` says that a selection has looked at the split.
    """

    kind = "trace"
    title = "Where the truth is lost"
    hypothesis = "What the label says reaches the score from every stage alike: the rule adds as much wherever it is put in."

    rule: str
    wrong: str
    placebo: str
    puts: tuple[Put, ...]
    chosen_here: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "Trace":
        """That every arm is there, with as many draws of as many examples: a journal may come from a stranger."""
        shapes = {(len(put.right), *map(len, put.right)) for put in self.puts}
        there = {(put.stage, put.what) for put in self.puts}
        whats = ("rule", "wrong", "placebo") if self.wrong else ("rule", "placebo")
        if len(shapes) != 1 or len(max(shapes)) < 3 or len(self.stages) < 2 or there != set(product(self.stages, whats)):
            raise ValueError("a trace needs all its arms, with as many draws each")
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that something was put in at, in order."""
        return tuple(dict.fromkeys(put.stage for put in self.puts))

    def put(self, stage: Stage, what: What) -> Put:
        """What was put in at a stage; KeyError where it was not."""
        return {(put.stage, put.what): put for put in self.puts}[stage, what]

    def gain(self, stage: Stage, what: What = "rule") -> Effect:
        """What something put in at a stage adds over the placebo there; all stages share alpha."""
        placebo, put = (self.put(stage, each).right for each in ("placebo", what))
        return effect(placebo, put, self.margin, self.alpha / len(self.stages))

    def _pooled(self, what: What, stages: Iterable[Stage]) -> NDArray[np.float64]:
        return np.mean([self.put(stage, what).right for stage in stages], axis=0)

    def drop(self, after: Stage) -> Effect:
        """How much more the rule adds from a stage on than before it, both sides pooled, halved so that the scores stay shares.

        All places where the stages can be cut in two share alpha; only a gain that grows is a leak, so nothing is named one in half of
        that.
        """
        early, late = self._sides(after)
        with_less = self._pooled("rule", early) + self._pooled("placebo", late)
        with_more = self._pooled("rule", late) + self._pooled("placebo", early)
        return effect(with_less / 2, with_more / 2, self.margin / 2, self.alpha / (len(self.stages) - 1))

    def _sides(self, after: Stage) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
        at = self.stages.index(after)
        return self.stages[:at], self.stages[at:]

    @cached_property
    def leak(self) -> Stage | None:
        """The stage from which on the rule is shown to add more than before it, and to help; None where there is none."""
        drops = {stage: self.drop(stage) for stage in self.stages[1:]}

        def explained(stage: Stage) -> float:  # what a step at this place explains of how the gains differ, below 0 for a step down
            early, late = self._sides(stage)
            size = drops[stage].like_these.difference
            return len(early) * len(late) * size * abs(size)

        best = max(drops, key=explained)
        late = self._sides(best)[1]
        helps = effect(self._pooled("placebo", late), self._pooled("rule", late), self.margin, self.alpha)
        return best if drops[best].verdict == helps.verdict == "helps" else None

    @property
    def verdict(self) -> str:
        """The leaky stage, as "rewrite"; "none" where the rule helps from the first stage on, and no leak is seen; or "cannot tell"."""
        if self.leak:
            return NAMES[self.leak]
        return "none" if self.gain(self.stages[0]).verdict == "helps" else "cannot tell"

    def __str__(self) -> str:
        first, last = self.stages[0], self.stages[-1]
        told = f"{self._told(first)}; {self._told(last)}."
        if self.leak:
            before = self.stages[self.stages.index(self.leak) - 1]
            part = "in part " if self.gain(before).verdict == "helps" else ""
            lost = f"What the label says is lost {part}between the {NAMES[before]} and the {NAMES[self.leak]}"
            return f"{lost}: {self._told(before)}; {self._told(self.leak)}."
        if self.verdict == "none":
            most = 200 * max(self.drop(stage).like_these.high for stage in self.stages[1:])
            return f"No stage is seen to lose what the label says, and none loses more than {most:.1f} points: {told}"
        if self.gain(last).verdict == "equivalent":
            return (
                f"There is nothing to lose: even in the prompt the rule adds nothing, as the model knows it or does not follow it: {told}"
            )
        return f"These draws do not show where what the label says is lost, or that it is not: {told}"

    def _told(self, stage: Stage) -> str:
        return f"put in at the {NAMES[stage]}, the rule adds {self.gain(stage).like_these} over as many words that say nothing"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes it mean less."""
        said = ["A selection has looked at this split, so its luck is part of every arm: see the test split."] * self.chosen_here
        if self.wrong and (fooled := [NAMES[stage] for stage in self.stages if self.gain(stage, "wrong").verdict == "helps"]):
            said.append(f"The wrong rule helps as well, put in at the {' and the '.join(fooled)}: what it says does not count there.")
        return tuple(said)


# --- making it -----------------------------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    step: Step
    split: SplitName
    stages: tuple[Stage, ...]
    texts: dict[What, str]


async def atrace(
    case: "Case",
    step: Step | int,
    rule: str | None = None,
    wrong: str | None = None,
    placebo: str | None = None,
    *,
    split: SplitName | None = None,
    replicates: int = 5,
    margin: float = 0.05,
) -> Trace:
    """Find the stage at which what the labels say stops reaching the prompt.

    The true rule, a wrong one and words that say nothing are put into the evaluations, the output critiques, the prompt critiques and the
    rewritten prompts, one of them at a time, after all that stands there; what comes after runs again, with fresh draws.

    Args:
        step: the step, or its id.
        rule: what the labels follow, in words; by default as the task says it.
        wrong: a rule of the kind that they do not follow; by default the task's where the rule is, else there is none.
        placebo: words that say nothing; by default as many as the rule has.
        split: where it is scored; by default one that no selection has looked at.
        replicates: draws an arm, 2 to 100.
        margin: the difference, a share, that is said to matter, before it is looked at.

    Raises:
        CaseError: the task says no rule, the step has fewer than two stages to put it in at, or nothing is on record and there is no model.
    """
    asked = _asked(case, step, rule, wrong, placebo, split)
    if not 2 <= replicates <= MOST_REPLICATES:
        raise CaseError(f"replicates must be 2 to {MOST_REPLICATES}, not {replicates}: one draw an arm says nothing of the next")
    bench = Bench(case, Trace.kind, asked.step, asked.split, **asked.texts)
    known = recorded(bench, Trace)
    return await background.here(_trace(bench, asked, replicates, margin)) if known is None else known


def trace_calls(
    case: "Recording",
    step: Step | int,
    rule: str | None = None,
    wrong: str | None = None,
    placebo: str | None = None,
    *,
    split: SplitName | None = None,
    replicates: int = 5,
    **_: Any,
) -> Calls:
    """How many calls `Case.trace` makes at most, with the same arguments."""
    asked = _asked(case, step, rule, wrong, placebo, split)
    found = answers(case, asked.split, replicates * len(asked.stages))
    for stage in asked.stages:
        found += run_again(case, asked.step, asked.step.stages[asked.step.stages.index(stage) + 1])
        if fresh := _fresh_from(asked.step, stage, case.method_of(asked.step)):
            found += times(run_again(case, asked.step, fresh), replicates)
    return times(found, len(asked.texts))


def _asked(
    case: "Recording",
    step: Step | int,
    rule: str | None,
    wrong: str | None,
    placebo: str | None,
    split: SplitName | None,
) -> _Asked:
    step = case[step]
    if step.parent is None:
        raise CaseError("step 0 holds the seed prompt, which no label has reached: trace a step")
    if not step.done:
        raise CaseError(f"step {step.id} is not done; run its stages first")
    stages = tuple(stage for stage in PLACES if any(not record.lost for record in getattr(step, stage) or ()))
    if not case.method_of(step).sees_data:
        raise CaseError(f"step {step.id} sees no label (update={case.method_of(step).update!r}), so there is nothing of it to trace")
    if len(stages) < 2:
        raise CaseError(f"step {step.id} has nothing to trace: {step.select.reason if step.select else 'nothing was rewritten'}")
    if rule is None and step.variable == "prompt":
        rule, wrong = case.task.rule, case.task.false_rule if wrong is None else wrong
    if not rule or not rule.strip():
        whose = "the critic" if step.variable == "critic" else case.task.name
        raise CaseError(f"nothing says which rule the labels of {whose} follow: pass rule=, in words, or rule= to the Task")
    texts: dict[What, str] = {"rule": rule.strip(), "placebo": (placebo or filler(rule)).strip()}
    if wrong and wrong.strip():
        texts["wrong"] = wrong.strip()
    return _Asked(step, split or case.default_split(step), stages, texts)


async def _trace(bench: Bench, asked: _Asked, replicates: int, margin: float) -> Trace:
    case, (step, split, stages, texts) = bench.case, asked
    method = case.method_of(step)
    content = _content(step, texts, method.templates)

    async def put(stage: Stage, what: What) -> Put:
        arm = await bench.arm(f"{what} in the {NAMES[stage]}", *_after_all(step, stage, texts[what], what))
        fresh, numbers = _fresh_from(step, stage, method), range(1, replicates + 1)
        right = await bench.draws(arm, fresh, split, numbers)
        drawn = [case.replicates(arm, fresh)[number] for number in numbers] if fresh else [arm] * replicates
        later = step.stages[step.stages.index(stage) + 1 :]
        words = {each: tuple(_share(content, _texts(one, each)) for one in drawn) for each in later}
        return Put(stage=stage, what=what, step=arm.id, right=tuple(map(tuple, right.astype(int).tolist())), words=words)

    found = Trace(
        step=step.id,
        split=split,
        margin=margin,
        rule=texts["rule"],
        wrong=texts.get("wrong", ""),
        placebo=texts["placebo"],
        puts=tuple(await together(put(*place) for place in product(stages, texts))),
        chosen_here=split == "validation" and case.chosen_on_validation(step),
    )
    return bench.record(found, replicates=replicates, margin=margin)


def _after_all(step: Step, stage: Stage, text: str, what: What) -> list[Edit]:
    """The edits that put a text after all that stands in a stage; what was lost stays lost."""
    why = {"rule": "the true rule", "wrong": "a wrong rule", "placebo": "as many words that say nothing"}[what]
    made: list[Edit] = []
    for record in getattr(step, stage):
        if record.lost:
            continue
        if stage == "rewrite":
            made.append(edits.replace("candidate", candidate=record.index, text=f"{record.prompt}\n{text}", why=why))
        else:
            index = getattr(record, "index", 0)
            made.append(edits.replace(PLACES[stage], example=record.example, index=index, text=f"{record.text} {text}".strip(), why=why))
    return made


def _fresh_from(step: Step, stage: Stage, method: Method) -> Stage | None:
    """The stage that a draw is fresh from: the next one, unless that is a selection that has no choice."""
    following = step.stages[step.stages.index(stage) + 1]
    return None if following == "select" and method.selection == "naive" else following


# --- its words -----------------------------------------------------------------------------------------------------------


def _content(step: Step, texts: Mapping[What, str], templates: Templates) -> set[str]:
    """The words of the rule that are not in prompt, placebo or meta-prompts, so that they stand out; all of them where none is left."""
    known = _words(" ".join([step.prompt, texts["placebo"], *templates.model_dump().values()]))
    return {word for word in _words(texts["rule"]) - known if len(word) > 3} or _words(texts["rule"])


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+(?:-\w+)*", text.casefold()))


def _texts(step: Step, stage: Stage) -> str:
    if stage == "select":
        return step.chosen_prompt
    return "\n".join(record.prompt if stage == "rewrite" else record.text for record in getattr(step, stage) or ())


def _share(words: set[str], text: str) -> float:
    return len(words & _words(text)) / len(words)
