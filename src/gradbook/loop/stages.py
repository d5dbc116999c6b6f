"""The stages of a step. Each is an async function from a step's records to the records of one stage.

A stage sees the models only through `Context.ask` and knows no widget and no file. Where a step was branched off another,
a stage keeps the records of the origin whose inputs have not changed, so only what depends on an edit runs again.
The same stages optimise the critic's prompt: its inputs are the outputs that it judges, its outputs are its verdicts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from gradbook.loop.critic import CriticTask
from gradbook.loop.method import Method
from gradbook.loop.table import upstream
from gradbook.loop.templates import fill, new_prompt
from gradbook.records import Call, Candidate, Critique, Evaluation, Example, Prediction, Role, Selection, Stage, Step, Variable
from gradbook.replies import Said, said
from gradbook.scores import Score
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

    `task` is what the step's prompt is for, `critic` the critic's task where one evaluates the step's outputs. `verdicts` holds
    those that a critic's step begins with, by example: those which the step before it recorded. `origin` is the step
    it was branched off, `past` are those before it whose critiques momentum shows, the oldest first. `score(prompt)` gives the
    prompt's score on the validation split, from the record where there is one, and the task that the split's examples are of.
    `seed` is the case's. `pool` are the candidates that a run of GEPA had before, the step that ends with each and its text, `recorded`
    gives a prompt's score on the validation split where it is on record.
    """

    task: Subject
    critic: CriticTask | None
    method: Method
    verdicts: Mapping[str, Evaluation]
    origin: Step | None
    past: tuple[Step, ...]
    ask: Ask
    score: Callable[[str], Awaitable[tuple[Score, Subject]]]
    seed: int = 0
    pool: tuple[tuple[int, str], ...] = ()
    recorded: Callable[[str], Score | None] = lambda prompt: None

    def examples(self, step: Step) -> list[Example]:
        """The examples of the step's batch, in order."""
        return [self.task.example(name) for name in step.batch]


async def predict_one(task: Subject, prompt: str, example: Example, ask: Ask, stage: Stage = "predict") -> Prediction:
    """The forward pass on one example: ŷ = f(x; θ), its parsed answer and whether that is right."""
    messages = [{"role": "system", "content": task.system(prompt)}, {"role": "user", "content": example.input}]
    call = await ask("critic" if isinstance(task, CriticTask) else "task", stage, messages, example=example.id)
    heard = listen(call)
    answer = None if heard.lost == "no reply" else task.parse(call.text, cut=heard.lost is not None)
    return _read(task, example, heard.text, answer, tokens=call.completion_tokens, **heard_as(call, heard))


def _read(task: Subject, example: Example, output: str, answer: str | None, **more: Any) -> Prediction:
    return Prediction(
        example=example.id,
        output=output,
        answer=answer,
        correct=task.correct(answer, example.target),
        target=example.target if isinstance(task, CriticTask) else None,
        length=len(output),
        **more,
    )


def listen(call: Call) -> Said:
    """What a reply says without its thoughts, and whether it was lost; a reply that was cut off names its limit."""
    heard = said(call.text, call.finish_reason, call.reason)
    limit = next((f"{name} = {call.sampling[name]}" for name in ("max_tokens", "max_completion_tokens") if call.sampling.get(name)), "")
    if heard.lost == "cut off" and limit:
        return heard._replace(why=f"the reply was cut off at {limit}; connect with a larger one in sampling")
    return heard


def heard_as(call: Call, heard: Said) -> dict[str, Any]:
    return {"call": call.key, "lost": heard.lost, "why": heard.why}


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
    verdicts = {} if step.draw("predict") else context.verdicts

    async def one(example: Example) -> list[Prediction]:
        if example.id not in verdicts:
            return [await predict_one(context.task, step.prompt, example, context.ask)]
        verdict = verdicts[example.id]
        answer = None if verdict.lost == "no reply" else context.task.parse(verdict.text, cut=verdict.lost is not None)
        heard = {"call": verdict.call, "lost": verdict.lost, "why": verdict.why}
        return [_read(context.task, example, verdict.text, answer, **heard)]

    return await for_each(step, context, "predict", one)


async def evaluate(step: Step, context: Context) -> tuple[Evaluation, ...]:
    """Stage 2: the evaluation of each output, in words: from the label by a template, or by the critic, who sees no label."""

    async def one(example: Example) -> list[Evaluation]:
        return await together(judge(example, prediction) for prediction in records_of(step, "predict", example.id))

    async def judge(example: Example, prediction: Prediction) -> Evaluation:
        if context.critic is not None:
            return await _by_critic(context.critic, step, example, context)
        label = shown_label(context, example)
        right = label is not None and context.task.correct(prediction.answer, label)
        text = evaluation_text(context.method, step.variable, prediction, label, right)
        return Evaluation(example=example.id, label=label, target=example.target, text=text)

    return await for_each(step, context, "evaluate", one)


async def _by_critic(critic: CriticTask, step: Step, example: Example, context: Context) -> Evaluation:
    verdict = await predict_one(critic, step.held, critic.example(example.id), context.ask, "evaluate")
    return Evaluation(
        example=example.id,
        target=example.target,
        text=verdict.output.strip() or fill(context.method.templates.evaluation_none),
        score=critic.score(verdict.answer),
        unusable=None if verdict.lost else critic.unusable(verdict.output),
        **verdict.model_dump(include={"call", "lost", "why"}),
    )


def shown_label(context: Context, example: Example) -> str | None:
    """The label that the feedback shows, which may be wrong on purpose."""
    match context.method.labels:
        case "correct":
            return example.target
        case "wrong":
            return context.task.wrong_label(example)
    return None


async def output_critique(step: Step, context: Context) -> tuple[Critique, ...]:
    """Stage 3, ∂L/∂ŷ: how should each output change to improve its evaluation?"""
    each = context.method.critiques

    async def one(example: Example) -> list[Critique]:
        pairs = [
            (n * each + index, {"output": prediction.output, "evaluation": evaluation.text})
            for n, (prediction, evaluation) in enumerate(_criticised(step, context, example.id))
            for index in range(each)
        ]
        return await together(_criticise(step, context, "output_critique", example, index, shown) for index, shown in pairs)

    return await for_each(step, context, "output_critique", one)


async def prompt_critique(step: Step, context: Context) -> tuple[Critique, ...]:
    """Stage 4, ∂L/∂θ by a chain rule: how should the prompt change, so that each output follows its critique?"""

    async def one(example: Example) -> list[Critique]:
        outputs = [prediction.output for prediction in records_of(step, "predict", example.id)]
        return await together(follow(example, critique, outputs) for critique in records_of(step, "output_critique", example.id))

    async def follow(example: Example, critique: Critique, outputs: list[str]) -> Critique:
        if critique.lost:  # nothing can be made of it, and a person may write what would have been
            return critique.model_copy(update={"call": None, "why": f"its output critique is missing: {critique.why}"})
        output = outputs[min(critique.index // context.method.critiques, len(outputs) - 1)]
        shown = {"output": output, "output_critique": critique.text}
        return await _criticise(step, context, "prompt_critique", example, critique.index, shown)

    return await for_each(step, context, "prompt_critique", one)


async def _criticise(step: Step, context: Context, stage: Stage, example: Example, index: int, shown: dict[str, str]) -> Critique:
    text = fill(getattr(context.method.templates, stage), prompt=step.prompt, input=example.input, **shown)
    call = await context.ask("critic", stage, _user(text), example=example.id, index=index)
    heard = listen(call)
    return Critique(example=example.id, index=index, text="" if heard.lost else heard.text.strip(), **heard_as(call, heard))


def _criticised(step: Step, context: Context, example: str) -> list[tuple[Prediction, Evaluation]]:
    """The outputs on an example that are criticised: all, or those that the evaluation calls wrong."""
    pairs = list(zip(records_of(step, "predict", example), records_of(step, "evaluate", example), strict=False))
    return [pair for pair in pairs if not (context.method.errors_only and judged_right(context.task, *pair))]


async def rewrite(step: Step, context: Context) -> tuple[Candidate, ...]:
    """Stage 5: candidate prompts, from what the update has to go by: critiques, evaluated examples, or only the old prompt."""
    if context.origin and same_inputs(step, context.origin, "rewrite"):
        return context.origin.rewrite or ()
    orders = [order for order in _orders(step, context) for _ in range(context.method.candidates)]

    async def one(index: int, template: str, text: str, **place: Any) -> Candidate:
        call = await context.ask("optimizer", "rewrite", _user(text), index=index)
        heard = listen(call)
        new = "" if heard.lost else new_prompt(heard.text, template)
        if not (new or heard.lost):
            heard = heard._replace(lost="no reply", why="the reply holds no prompt")
        if new and context.method.add_only:
            new = "\n".join(filter(None, [step.prompt, _without(step.prompt, new)]))
        return Candidate(index=index, prompt=new, **heard_as(call, heard), **place)

    first = await together(one(index, *order[:2], **order[2]) for index, order in enumerate(orders))
    again = [candidate for candidate in first if not candidate.lost for _ in range(context.method.paraphrases)]
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
    past = [critique for before in context.past for critique in before.prompt_critique or () if not critique.lost]
    template = templates.add if method.add_only else (templates.rewrite_momentum if past else templates.rewrite)
    whole = [critique for critique in step.prompt_critique or () if not critique.lost]
    groups = [[critique] for critique in whole] if method.apart else [whole] * bool(whole)
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
    told = [
        fill(context.method.templates.one_step_example, input=example.input, output=prediction.output, evaluation=evaluation.text)
        for example in context.examples(step)
        for prediction, evaluation in _criticised(step, context, example.id)
    ]
    return ["\n\n".join(told)] if told else []


async def select(step: Step, context: Context) -> Selection:
    """Stage 6: which prompt the step ends with; the old prompt wins a tie, and what was lost cannot be chosen."""
    if context.origin and same_inputs(step, context.origin, "select") and context.origin.select:
        return context.origin.select
    method, whole = context.method, [candidate for candidate in step.rewrite or () if not candidate.lost]
    if not whole and method.beam == 1:
        return Selection(chosen=-1, reason=_nothing_to_choose(step))
    if method.selection == "naive":
        return Selection(chosen=whole[0].index, reason="the one candidate, taken as it is")
    if method.selection == "random":
        place = f"{context.seed}/{step.depth}/{step.variable}/{step.draw('select')}"
        return Selection(chosen=Random(place).choice(whole).index, reason=f"one of {len(whole)} candidates, at random")
    return await _validated(step, context, whole)


def _nothing_to_choose(step: Step) -> str:
    """Why there is no candidate: each was lost, or the critiques that it would have followed were, or nothing was called wrong."""
    if step.rewrite:
        return f"no candidate can be used: {step.rewrite[0].why}"
    lost = [critique for stage in (step.output_critique, step.prompt_critique) for critique in stage or () if critique.lost]
    return f"no critique can be used, so nothing was rewritten: {lost[0].why}" if lost else NOTHING_WRONG


async def _validated(step: Step, context: Context, whole: list[Candidate]) -> Selection:
    labels = context.method.validation_labels
    prompts = {-1: step.prompt} | {candidate.index: candidate.prompt for candidate in whole}
    distinct = list(dict.fromkeys(prompts.values()))

    async def share(prompt: str) -> float:  # of many prompts on a large split, only one score at a time is in memory
        return share_right(*await context.score(prompt), labels)

    shares = dict(zip(distinct, await together(map(share, distinct)), strict=True))
    scores = {index: shares[prompt] for index, prompt in prompts.items()}
    ranked = sorted(scores, key=lambda index: (-scores[index], index))
    kept = [index for n, index in enumerate(ranked) if prompts[index] not in {prompts[before] for before in ranked[:n]}]
    wrong = ", as wrong labels count it" if labels == "wrong" else ""
    reason = "no candidate is better than the old prompt" if ranked[0] < 0 else "best on the validation split"
    reason = reason if whole else _nothing_to_choose(step)
    beam = tuple(kept[: context.method.beam]) if context.method.beam > 1 else ()
    return Selection(chosen=ranked[0], scores={str(i): v for i, v in scores.items()}, labels=labels, kept=beam, reason=reason + wrong)


def share_right(score: Score, task: Subject, labels: str) -> float:
    """Accuracy of a score as "correct" labels or "wrong" ones count it; only a selection looks at the latter."""
    if labels == "correct":
        return score.accuracy
    right = [task.correct(answer.answer, task.wrong_label(task.example(answer.example))) for answer in score.answers]
    return sum(right) / len(right)


class Room:
    """Room for so many tasks of several `together`: one of them is begun as a whole before the next, so that they end one by one."""

    def __init__(self, most: int) -> None:
        self.turn, self.slots = asyncio.Lock(), asyncio.Semaphore(most)


async def together(work: Iterable[Any], room: Room | None = None) -> list[Any]:
    """Await all of `work` at once, or as much as there is room for; the first failure cancels the rest and is raised as it is."""
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.TaskGroup() as group, room.turn if room else nullcontext():
            for one in work:
                tasks.append(group.create_task(one))
                if room:
                    await room.slots.acquire()
                    tasks[-1].add_done_callback(lambda _: room.slots.release())
                    await asyncio.sleep(0)  # its request goes out before the next one is made ready
    except* Exception as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def for_each(step: Step, context: Context, stage: Stage, make: Callable[[Example], Awaitable[list[Any]]]) -> tuple[Any, ...]:
    """What `make` gives for each example, or what the origin has where nothing it depends on has changed."""
    kept = kept_of(step, context.origin, stage)

    async def one(example: Example) -> list[Any]:
        return kept[example.id] if example.id in kept else await make(example)

    return tuple(record for records in await together(map(one, context.examples(step))) for record in records)


def kept_of(step: Step, origin: Step | None, stage: Stage) -> dict[str, list[Any]]:
    """The origin's records of `stage`, by example, whose inputs in this step are the same as they were there."""
    if origin is None or getattr(origin, stage) is None or step.draw(stage) != origin.draw(stage):
        return {}
    reads = upstream(step, stage)
    same = [name for name in step.batch if all(records_of(step, before, name) == records_of(origin, before, name) for before in reads)]
    return {example: records_of(origin, stage, example) for example in same}


def same_inputs(step: Step, origin: Step, stage: Stage) -> bool:
    """Whether what `stage` is made from is in a step the same as in its origin, so that the origin's records of it still hold."""
    unchanged = all(getattr(step, before) == getattr(origin, before) for before in upstream(step, stage))
    return unchanged and getattr(origin, stage) is not None and step.draw(stage) == origin.draw(stage)


def records_of(step: Step, stage: Stage, example: str) -> list[Any]:
    """What a stage of a step gave for one example."""
    return [record for record in getattr(step, stage) or () if record.example == example]


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
