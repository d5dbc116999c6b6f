"""The stages of a step. Each is an async function from a step's records to the records of one stage.

A stage sees the models only through `Context.ask` and knows no widget and no file. Where a step was branched off another,
a stage keeps the records of the origin whose inputs have not changed, so only what depends on an edit runs again.
The same stages optimise the critic's prompt: its inputs are the outputs that it judges, its outputs are its verdicts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from gradbook.loop.critic import CriticTask
from gradbook.loop.method import Method
from gradbook.loop.templates import fill, new_prompt
from gradbook.records import Call, Candidate, Critique, Evaluation, Example, Prediction, Role, Score, Selection, Stage, Step, Variable
from gradbook.tasks import Task

Messages = list[dict[str, str]]
NOTHING_WRONG = "no output of the batch was called wrong, so nothing was rewritten"
Subject = Task | CriticTask
"""What a step's prompt is for: the task, or the critic's own task."""


class Ask(Protocol):
    """Calls the model that plays `role` for one record of a stage."""

    def __call__(self, role: Role, stage: Stage, messages: Messages, *, example: str = "", index: int = 0) -> Awaitable[Call]: ...


@dataclass(frozen=True)
class Context:
    """What a stage may use besides the step itself.

    `task` is what the step's prompt is for, `critic` the critic's task where one evaluates the step's outputs. `said` holds
    the verdicts that a critic's step begins with, by example: those which the step before it recorded. `origin` is the step
    it was branched off, `past` are those before it whose critiques momentum shows, the oldest first. `score(prompt)` gives the
    prompt's score on the validation split, from the record where there is one, and the task that the split's examples are of.
    `seed` is the case's.
    """

    task: Subject
    critic: CriticTask | None
    method: Method
    said: Mapping[str, Evaluation]
    origin: Step | None
    past: tuple[Step, ...]
    ask: Ask
    score: Callable[[str], Awaitable[tuple[Score, Subject]]]
    seed: int = 0

    def examples(self, step: Step) -> list[Example]:
        """The examples of the step's batch, in order."""
        return [self.task.example(name) for name in step.batch]


async def predict_one(task: Subject, prompt: str, example: Example, ask: Ask, stage: Stage = "predict") -> Prediction:
    """The forward pass on one example: ŷ = f(x; θ), its parsed answer and whether that is right."""
    messages = [{"role": "system", "content": task.system(prompt)}, {"role": "user", "content": example.input}]
    call = await ask("critic" if isinstance(task, CriticTask) else "task", stage, messages, example=example.id)
    return _read(task, example, call.text, call)


def _read(task: Subject, example: Example, output: str, call: Call | None) -> Prediction:
    answer = task.parse(output)
    return Prediction(
        example=example.id,
        output=output,
        answer=answer,
        correct=task.correct(answer, example.target),
        target=example.target if isinstance(task, CriticTask) else None,
        tokens=call.completion_tokens if call else 0,
        length=len(output),
        call=call.key if call else None,
    )


def evaluation_text(method: Method, variable: Variable, prediction: Prediction, label: str | None, right: bool) -> str:
    """The direct evaluation in words, from the templates; `right` says whether the answer equals the shown label."""
    if label is None:
        return fill(method.templates.evaluation_none)
    found = "unparsed" if prediction.answer is None else ("right" if right else "wrong")
    template = getattr(method.templates, f"{'verdict' if variable == 'critic' else 'evaluation'}_{found}")
    return fill(template, answer=prediction.answer or "", label=label)


def judged_right(task: Subject, prediction: Prediction, evaluation: Evaluation) -> bool:
    """Whether the evaluation, by its label or by the critic's score, calls an output right."""
    if evaluation.label is not None:
        return task.correct(prediction.answer, evaluation.label)
    return evaluation.score is not None and evaluation.score >= 0.5


async def predict(step: Step, context: Context) -> tuple[Prediction, ...]:
    """Stage 1: the forward pass on the batch. A critic's is the evaluation that the step before it recorded."""
    said = {} if step.replicate("predict") else context.said

    async def one(example: Example) -> Prediction:
        if example.id not in said:
            return await predict_one(context.task, step.prompt, example, context.ask)
        evaluation = said[example.id]
        return _read(context.task, example, evaluation.text, None).model_copy(update={"call": evaluation.call})

    return await _each(step, context, "predict", one)


async def evaluate(step: Step, context: Context) -> tuple[Evaluation, ...]:
    """Stage 2: the evaluation of each output, in words: from the label by a template, or by the critic, who sees no label."""
    predictions = _by_example(step.predict)

    async def one(example: Example) -> Evaluation:
        if context.critic is not None:
            return await _by_critic(context.critic, step, example, context.ask)
        label = _shown(context, example)
        prediction = predictions[example.id]
        right = label is not None and context.task.correct(prediction.answer, label)
        text = evaluation_text(context.method, step.variable, prediction, label, right)
        return Evaluation(example=example.id, label=label, target=example.target, text=text)

    return await _each(step, context, "evaluate", one)


async def _by_critic(critic: CriticTask, step: Step, example: Example, ask: Ask) -> Evaluation:
    verdict = await predict_one(critic, step.held, critic.example(example.id), ask, "evaluate")
    return Evaluation(
        example=example.id,
        target=example.target,
        text=verdict.output.strip(),
        score=critic.score(verdict.answer),
        unusable=critic.unusable(verdict.output),
        call=verdict.call,
    )


def _shown(context: Context, example: Example) -> str | None:
    """The label that the feedback shows, which may be wrong on purpose."""
    match context.method.labels:
        case "correct":
            return example.target
        case "wrong":
            return context.task.wrong_label(example)
    return None


async def output_critique(step: Step, context: Context) -> tuple[Critique, ...]:
    """Stage 3, ∂L/∂ŷ: how should each output change to improve its evaluation?"""
    evaluations = _by_example(step.evaluate)
    return await _critiques(step, context, "output_critique", lambda name, _: {"evaluation": evaluations[name].text})


async def prompt_critique(step: Step, context: Context) -> tuple[Critique, ...]:
    """Stage 4, ∂L/∂θ by a chain rule: how should the prompt change, so that each output follows its critique?"""
    critiques = {(critique.example, critique.index): critique.text for critique in step.output_critique}
    return await _critiques(step, context, "prompt_critique", lambda *place: {"output_critique": critiques[place]})


async def _critiques(step: Step, context: Context, stage: Stage, feedback: Callable[[str, int], dict[str, str]]) -> tuple[Critique, ...]:
    """Ask the critic about each output; `feedback` gives what this stage tells it besides prompt, input and output."""
    predictions = _by_example(step.predict)
    template = getattr(context.method.templates, stage)

    async def one(example: Example) -> list[Critique]:
        shown = {"prompt": step.prompt, "input": example.input, "output": predictions[example.id].output}
        return await together(ask(example, shown, index) for index in range(context.method.critiques))

    async def ask(example: Example, shown: dict[str, str], index: int) -> Critique:
        text = fill(template, **shown, **feedback(example.id, index))
        call = await context.ask("critic", stage, _user(text), example=example.id, index=index)
        return Critique(example=example.id, index=index, text=call.text.strip(), call=call.key)

    return tuple(c for critiques in await _each(step, context, stage, one, _criticised(step, context)) for c in critiques)


def _criticised(step: Step, context: Context) -> list[Example]:
    """The examples whose outputs are criticised: all of the batch, or those that the evaluation calls wrong."""
    if not context.method.errors_only:
        return context.examples(step)
    predictions, evaluations = _by_example(step.predict), _by_example(step.evaluate)
    return [e for e in context.examples(step) if not judged_right(context.task, predictions[e.id], evaluations[e.id])]


async def rewrite(step: Step, context: Context) -> tuple[Candidate, ...]:
    """Stage 5: candidate prompts, from what the update has to go by: critiques, evaluated examples, or only the old prompt."""
    if context.origin and _same(step, context.origin, "rewrite"):
        return context.origin.rewrite
    orders = [order for order in _orders(step, context) for _ in range(context.method.candidates)]

    async def one(index: int, template: str, text: str, **place: Any) -> Candidate:
        call = await context.ask("optimizer", "rewrite", _user(text), index=index)
        new = new_prompt(call.text, template)
        if context.method.add_only:
            new = "\n".join(filter(None, [step.prompt, _without(step.prompt, new)]))
        return Candidate(index=index, prompt=new or step.prompt, call=call.key, **place)

    first = await together(one(index, *order[:2], **order[2]) for index, order in enumerate(orders))
    again = [candidate for candidate in first for _ in range(context.method.paraphrases)]
    template = context.method.templates.paraphrase
    others = await together(
        one(len(first) + n, template, fill(template, prompt=candidate.prompt), paraphrase_of=candidate.index)
        for n, candidate in enumerate(again)
    )
    return (*first, *others)


def _orders(step: Step, context: Context) -> list[tuple[str, str, dict[str, Any]]]:
    """What the optimiser is asked: template, message, and which critique it is about where that is one alone."""
    method, templates = context.method, context.method.templates
    match method.update:
        case "rewrite":
            return [(templates.paraphrase, fill(templates.paraphrase, prompt=step.prompt), {})]
        case "improve":
            return [(templates.improve, fill(templates.improve, prompt=step.prompt), {})]
        case "one-step":
            return [(templates.one_step, fill(templates.one_step, prompt=step.prompt, examples=text), {}) for text in _told(step, context)]
    past = [critique for before in context.past for critique in before.prompt_critique or ()]
    template = templates.add if method.add_only else (templates.rewrite_momentum if past else templates.rewrite)
    groups = [(c,) for c in step.prompt_critique] if method.apart else [step.prompt_critique] * bool(step.prompt_critique)
    return [
        (
            template,
            fill(template, prompt=step.prompt, past=_list(past), critiques=_list(group)),
            {"example": group[0].example, "critique": group[0].index} if method.apart else {},
        )
        for group in groups
    ]


def _told(step: Step, context: Context) -> list[str]:
    """The examples with their evaluations, told in one text; nothing where there is none to tell."""
    predictions, evaluations = _by_example(step.predict), _by_example(step.evaluate)
    told = [
        fill(
            context.method.templates.one_step_example,
            input=example.input,
            output=predictions[example.id].output,
            evaluation=evaluations[example.id].text,
        )
        for example in _criticised(step, context)
    ]
    return ["\n\n".join(told)] if told else []


async def select(step: Step, context: Context) -> Selection:
    """Stage 6: which prompt the step ends with; the old prompt wins a tie."""
    method = context.method
    if not step.rewrite and method.beam == 1:
        return Selection(chosen=-1, reason=NOTHING_WRONG)
    if method.selection == "naive":
        return Selection(chosen=0, reason="the one candidate, taken as it is")
    if method.selection == "random":
        place = f"{context.seed}/{step.depth}/{step.variable}/{step.replicate('select')}"
        return Selection(chosen=Random(place).randrange(len(step.rewrite)), reason=f"one of {len(step.rewrite)} candidates, at random")
    return await _validated(step, context)


async def _validated(step: Step, context: Context) -> Selection:
    labels = context.method.validation_labels
    prompts = {-1: step.prompt} | {candidate.index: candidate.prompt for candidate in step.rewrite}
    distinct = list(dict.fromkeys(prompts.values()))
    found = await together(context.score(prompt) for prompt in distinct)
    shares = {prompt: share_right(score, task, labels) for prompt, (score, task) in zip(distinct, found, strict=True)}
    scores = {index: shares[prompt] for index, prompt in prompts.items()}
    ranked = sorted(scores, key=lambda index: (-scores[index], index))
    kept = [index for n, index in enumerate(ranked) if prompts[index] not in {prompts[before] for before in ranked[:n]}]
    wrong = ", as wrong labels count it" if labels == "wrong" else ""
    reason = "no candidate is better than the old prompt" if ranked[0] < 0 else "best on the validation split"
    reason = reason if step.rewrite else NOTHING_WRONG
    beam = tuple(kept[: context.method.beam]) if context.method.beam > 1 else ()
    return Selection(chosen=ranked[0], scores={str(i): v for i, v in scores.items()}, labels=labels, kept=beam, reason=reason + wrong)


STAGE_FUNCTIONS: dict[Stage, Callable[[Step, Context], Awaitable[Any]]] = {
    "predict": predict,
    "evaluate": evaluate,
    "output_critique": output_critique,
    "prompt_critique": prompt_critique,
    "rewrite": rewrite,
    "select": select,
}


def accuracy(score: Score) -> float:
    """The share of right answers, 0 to 1; unparsed answers count as wrong."""
    return sum(answer.correct for answer in score.answers) / len(score.answers)


def share_right(score: Score, task: Subject, labels: str) -> float:
    """Accuracy of a score as "correct" labels or "wrong" ones count it; only a selection looks at the latter."""
    if labels == "correct":
        return accuracy(score)
    right = [task.correct(answer.answer, task.wrong_label(task.example(answer.example))) for answer in score.answers]
    return sum(right) / len(right)


async def together(work: Any) -> list[Any]:
    """Await all of `work` at once; the first failure cancels the rest and is raised as it is."""
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except* Exception as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _each(
    step: Step, context: Context, stage: Stage, make: Callable[[Example], Awaitable[Any]], examples: list[Example] | None = None
) -> tuple[Any, ...]:
    """What `make` gives for each example, or what the origin has where nothing it depends on has changed."""
    kept = _unchanged(step, context.origin, stage)

    async def one(example: Example) -> Any:
        return kept[example.id] if example.id in kept else await make(example)

    return tuple(await together(one(example) for example in (context.examples(step) if examples is None else examples)))


def upstream(step: Step, stage: Stage) -> tuple[Stage, ...]:
    """The stages of the step whose records `stage` reads."""
    reads: dict[Stage, tuple[Stage, ...]] = {
        "predict": (),
        "evaluate": ("predict",),
        "output_critique": ("predict", "evaluate"),
        "prompt_critique": ("predict", "output_critique"),
        "rewrite": ("prompt_critique",) if "prompt_critique" in step.stages else ("predict", "evaluate"),
        "select": ("rewrite",),
    }
    return tuple(before for before in reads[stage] if before in step.stages)


def _unchanged(step: Step, origin: Step | None, stage: Stage) -> dict[str, Any]:
    """The origin's records of `stage`, by example, whose inputs in this step are the same as they were there."""
    if origin is None or getattr(origin, stage) is None or step.replicate(stage) != origin.replicate(stage):
        return {}
    reads = upstream(step, stage)
    same = [name for name in step.batch if all(_records(step, before, name) == _records(origin, before, name) for before in reads)]
    several = stage in ("output_critique", "prompt_critique")
    found = {example: _records(origin, stage, example) for example in same}
    return {example: records if several else records[0] for example, records in found.items() if records}


def _same(step: Step, origin: Step, stage: Stage) -> bool:
    unchanged = all(getattr(step, before) == getattr(origin, before) for before in upstream(step, stage))
    return unchanged and getattr(origin, stage) is not None and step.replicate(stage) == origin.replicate(stage)


def _records(step: Step, stage: Stage, example: str) -> list[Any]:
    return [record for record in getattr(step, stage) or () if record.example == example]


def _by_example(records: Any) -> dict[str, Any]:
    return {record.example: record for record in records}


def _list(critiques: Iterable[Critique]) -> str:
    return "\n".join(f"- {critique.text}" for critique in critiques)


def _without(prompt: str, lines: str) -> str:
    """`lines` without blank ones and those that the prompt has already, whatever the mark of a list before them."""
    there = {"", *map(_bare, prompt.splitlines())}
    return "\n".join(line for line in lines.splitlines() if _bare(line) not in there)


def _bare(line: str) -> str:
    return line.strip().lstrip("-*•").strip().casefold()


def _user(text: str) -> Messages:
    return [{"role": "user", "content": text}]
