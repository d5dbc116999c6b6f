"""Keep what somebody's own TextGrad loop does as a case: a step each time that its optimiser steps.

Inside the `with`, three things of TextGrad's are listened to: its LLM calls (which outputs there are, in which order), `backward` (how they
hang together) and the optimiser's `step`. The rest is read from the Variables. Nothing is changed, and afterwards all is as it was.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from gradbook.case import Case
from gradbook.engines import textgrad
from gradbook.errors import CaseError
from gradbook.events import ModelMet, StageDone
from gradbook.loop import Method
from gradbook.records import Candidate, Critique, Evaluation, Example, Prediction, Role, Selection, Stage, Step, short_id
from gradbook.tasks import Task

_ROLES: dict[Stage, Role] = {"predict": "task", "output_critique": "critic", "prompt_critique": "critic", "rewrite": "optimizer"}


@contextmanager
def record(path: str | Path, *, task: Task, prompt: str | None = None, title: str | None = None) -> Iterator[Case]:
    """Keep a TextGrad loop that runs inside the `with` as a case.

        with gb.record("cases/theirs", task=task):
            ...                                      # the loop, as it is

    Each `optimizer.step()` becomes a step of the case: the prompt, the outputs of the batch, their losses, both kinds of critiques and the
    new prompt. It is on disk when `step` returns. What a call cost and said word for word is not on record, since the loop made it. The
    case opens like any other; with a model, `gb.Case(path, model=…)` branches off any of its steps and goes on with TextGrad's stages.

    Args:
        path: a new folder, or a case of the same task that is added to.
        task: whose examples the loop runs on; an input is found by its text. Its format instruction is left out, since the prompt of such a
            loop is the whole system message.
        prompt: what the loop begins with, for a new case; by default the task's seed prompt.
        title: a line that says what the case is about, for a new case.

    Raises:
        MethodError: TextGrad is not installed.
        CaseError: the folder cannot be used, or another kernel has the case open.
    """
    textgrad.load()
    task = replace(task, format_instruction="", seed_prompt=task.seed_prompt if prompt is None else prompt)
    case = Case(path, task=task, method=Method(engine="textgrad", selection="naive"), title=title)
    if case.read_only:
        raise CaseError(f"nothing can be recorded in {case.path}: {case.read_only_because}")
    with ExitStack() as stack:
        stack.callback(case.close)
        _Listener(case).listen(stack)
        yield case


class _Listener:
    """What has happened in the loop since the optimiser's last step."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.outputs: list[Any] = []
        self.losses: list[Any] = []
        self.engines: dict[Role, Any] = {}
        self.seconds = 0.0

    def listen(self, stack: ExitStack) -> None:
        """Listen to TextGrad until the stack is closed."""
        operations, variable, optimizer = map(
            import_module, ("textgrad.autograd.llm_ops", "textgrad.variable", "textgrad.optimizer.optimizer")
        )
        for call in (operations.LLMCall, operations.FormattedLLMCall):
            self._wrap(stack, call, "forward", self._forward)
        self._wrap(stack, variable.Variable, "backward", self._backward)
        self._wrap(stack, optimizer.TextualGradientDescent, "step", self._step)

    @staticmethod
    def _wrap(stack: ExitStack, owner: Any, name: str, around: Callable[..., Any]) -> None:
        original = owner.__dict__[name]

        @wraps(original)
        def heard(self: Any, *args: Any, **named: Any) -> Any:
            return around(original, self, *args, **named)

        setattr(owner, name, heard)
        stack.callback(setattr, owner, name, original)

    def _forward(self, original: Any, call: Any, *args: Any, **named: Any) -> Any:
        output = original(call, *args, **named)
        self.outputs.append(output)
        return output

    def _backward(self, original: Any, loss: Any, *args: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return original(loss, *args, **named)
        finally:
            self.losses.append(loss)
            self.seconds += time.monotonic() - began
            given = args[0] if args else named.get("engine")
            self.engines["critic"] = given or import_module("textgrad.config").SingletonBackwardEngine().get_engine()

    def _step(self, original: Any, optimizer: Any) -> Any:
        parameter, began = optimizer.parameters[0], time.monotonic()
        prompt, self.engines["optimizer"] = parameter.value, optimizer.engine
        try:
            original(optimizer)
        except IndexError:
            lost = f"the reply lacks {' or '.join(optimizer.new_variable_tags)}, between which TextGrad looks for the new prompt"
            self._keep(optimizer, prompt, lost, time.monotonic() - began)
            raise
        self._keep(optimizer, prompt, "", time.monotonic() - began)

    # --- what is kept --------------------------------------------------------------------------------------------------

    def _keep(self, optimizer: Any, prompt: str, lost: str, seconds: float) -> None:
        """Journal one step of the optimiser, with all that led to it."""
        parameter, case = optimizer.parameters[0], self.case
        if len(optimizer.parameters) > 1:
            warnings.warn(f"the optimiser has {len(optimizer.parameters)} parameters, of which {case.path} holds the first", stacklevel=5)
        found = self._examples(parameter)
        records = self._records(parameter, found)
        told = {"constraints": tuple(optimizer.constraints), "in_context": tuple(optimizer.in_context_examples)}
        case.use(Method(engine="textgrad", selection="naive", batch_size=len(found) or 1, **told))
        ends = [step for step in case if step.done and step.chosen_prompt == prompt]
        if not ends:
            warnings.warn(
                f"{case.path} holds no prompt {prompt[:80]!r} that the loop could go on from: pass prompt= to record", stacklevel=5
            )
        parent = ends[-1] if ends else case.current
        common = {"parent": parent.id, "depth": parent.depth + 1, "prompt": prompt, "stages": case.method.stages}
        step = case._journal.begin(lambda id: Step(id=id, batch=tuple(example.id for example, _ in found), **common))
        new = Candidate(index=0, prompt="", lost="no reply", why=lost) if lost else Candidate(index=0, prompt=parameter.value)
        reason = f"no candidate can be used: {lost}" if lost else "the one candidate, as the loop took it"
        made = records | {
            "rewrite": (new,),
            "select": Selection(chosen=-1 if lost else 0, reason=reason),
        }
        took = {"prompt_critique": round(self.seconds, 3), "rewrite": round(seconds, 3)}
        done = []
        for stage in step.stages:
            models = self._models(_ROLES[stage]) if stage in _ROLES and made[stage] else {}
            done.append(StageDone(step=step.id, stage=stage, seconds=took.get(stage, 0.0), models=models, **{stage: made[stage]}))
        case._journal.append(*self._met(), *done)
        self.outputs, self.losses, self.seconds = [], [], 0.0

    def _examples(self, parameter: Any) -> list[tuple[Example, Any]]:
        """The outputs that the parameter is the system prompt of, each with the example that it is on, in the order of the calls."""
        found: dict[str, tuple[Example, Any]] = {}
        for output in self.outputs:
            if parameter not in output.predecessors or not output.gradients:  # the others are of no loss, as when a split is scored
                continue
            example = self._example(output.grad_fn.kwargs["prompt"])
            if example is not None:
                found.setdefault(example.id, (example, output))
                self.engines["task"] = output.grad_fn.backward_fn.__self__.engine
        return list(found.values())

    def _example(self, text: str) -> Example | None:
        """The example whose input the loop shows, word for word or within more; training examples first."""
        known = [example for split in ("train", "validation", "test") for example in self.case.task.split(split)]  # type: ignore[arg-type]
        same = [example for example in known if example.input == text]
        within = [example for example in known if example.input.strip() in text]
        if same or within:
            return same[0] if same else max(within, key=lambda example: len(example.input))
        said = " ".join(text.split())
        warnings.warn(
            f"the task {self.case.task.name} has no example of the input {said[:80]!r}, so it is left out of the step", stacklevel=6
        )
        return None

    def _records(self, parameter: Any, found: list[tuple[Example, Any]]) -> dict[Stage, Any]:
        """What the Variables say, as the records of the first four stages."""
        after, unclaimed = self._followers(), list(parameter.gradients)
        predictions, evaluations, critiques, prompt_critiques = [], [], [], []
        for example, output in found:
            predictions.append(_prediction(self.case.task, example, output.get_value()))
            evaluations += [_evaluation(self.case.task, example, output, loss) for loss in after.get(output, ())[:1]]
            texts = sorted(gradient.get_value() for gradient in output.gradients)  # in a set they have no order
            critiques += [Critique(example=example.id, index=n, text=text) for n, text in enumerate(texts)]
            context = _conversation(output)
            claimed = next((one for one in unclaimed if (parameter.gradients_context.get(one) or {}).get("context") == context), None)
            if claimed is not None:
                unclaimed.remove(claimed)
                prompt_critiques.append(Critique(example=example.id, text=claimed.get_value()))
        if unclaimed:
            warnings.warn(
                f"{len(unclaimed)} of the prompt's gradients are of no output on an example of the task, and are left out", stacklevel=6
            )
        return {
            "predict": tuple(predictions),
            "evaluate": tuple(evaluations),
            "output_critique": tuple(critiques),
            "prompt_critique": tuple(prompt_critiques),
        }

    def _followers(self) -> dict[Any, list[Any]]:
        """Of each Variable that a loss was made from, those that were made from it."""
        found: dict[Any, list[Any]] = {}
        seen, ahead = set[Any](), list(self.losses)
        while ahead:
            variable = ahead.pop()
            if variable in seen:
                continue
            seen.add(variable)
            for before in variable.predecessors:
                found.setdefault(before, []).append(variable)
                ahead.append(before)
        return found

    # --- who was asked -------------------------------------------------------------------------------------------------

    def _models(self, role: Role) -> dict[Role, str]:
        """The id of the model that played a role, by the name that its engine has."""
        return {role: short_id(_identity(self.engines[role]), {})} if self.engines.get(role) is not None else {}

    def _met(self) -> list[ModelMet]:
        """The models that are new to the case."""
        found = {}
        for role, engine in self.engines.items():
            for id in self._models(role).values():
                name = str(getattr(engine, "model_string", type(engine).__name__))
                found[id] = ModelMet(id=id, name=name, identity=_identity(engine), kind="remote", sampling={})
        return [met for id, met in found.items() if id not in self.case.model_facts]


def _identity(engine: Any) -> str:
    return f"textgrad: {type(engine).__name__}, {getattr(engine, 'model_string', 'unnamed')}"


def _prediction(task: Task, example: Example, output: str) -> Prediction:
    answer = task.parse(output)
    return Prediction(example=example.id, output=output, answer=answer, correct=task.correct(answer, example.target), length=len(output))


def _evaluation(task: Task, example: Example, output: Any, loss: Any) -> Evaluation:
    """The loss of an output; where a function of texts gave it, the label is one that it was given beside the output."""
    inputs = (loss.grad_fn.kwargs.get("inputs") if loss.grad_fn is not None else None) or {}
    others = [one.get_value() for one in inputs.values() if one is not output]
    label = next((text for text in others if text == example.target or text in task.labels), None)
    return Evaluation(example=example.id, label=label, target=example.target, text=loss.get_value())


def _conversation(output: Any) -> str:
    """What TextGrad says of the call that gave an output, beside each gradient that went back through it."""
    told = output.grad_fn.kwargs
    template: str = import_module("textgrad.autograd.llm_backward_prompts").CONVERSATION_TEMPLATE
    return template.format(system_prompt=told["system_prompt"], prompt=told["prompt"], response_value=output.get_value())
