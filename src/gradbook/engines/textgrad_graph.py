"""TextGrad's part: its Variables, rebuilt from the records of a step, and the messages that its own functions write from them.

A function of TextGrad's gets an engine that gives the replies on record in turn and breaks off where there is none left, with the message
that it was to answer. So the messages, and what is read from a reply, are TextGrad's, and nothing here asks a model.
"""

from collections.abc import Callable, Iterable
from typing import Any

import textgrad
from textgrad.autograd import LLMCall, StringBasedFunction
from textgrad.defaults import SYSTEM_PROMPT_DEFAULT_ROLE, VARIABLE_INPUT_DEFAULT_ROLE, VARIABLE_OUTPUT_DEFAULT_ROLE
from textgrad.engine import EngineLM
from textgrad.optimizer import TextualGradientDescent
from textgrad.optimizer.optimizer import TextualGradientDescentwithMomentum, get_gradient_and_context_text
from textgrad.optimizer.optimizer_prompts import construct_tgd_prompt

from gradbook.errors import MethodError
from gradbook.loop.stages import Context, Messages, records_of
from gradbook.records import Critique, Evaluation, Example, Prediction, Step

PURPOSE = "The runtime of string-based function that checks if the prediction is correct."
"""What TextGrad's own tasks say of an equality."""
LABEL_ROLE = "correct answer for the query"
TAGS = ("<IMPROVED_VARIABLE>", "</IMPROVED_VARIABLE>")


class Unanswered(Exception):
    """TextGrad has come to a message that has no reply yet."""

    def __init__(self, messages: Messages) -> None:
        super().__init__("a message without a reply")
        self.messages = messages


class Replies(EngineLM):
    """An engine that gives these replies in turn, and raises Unanswered at the message after the last."""

    model_string = "gradbook"

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def generate(self, prompt: str, system_prompt: str | None = None, **_: Any) -> str:
        """The next reply."""
        if self.texts:
            return self.texts.pop(0)
        raise Unanswered([{"role": "system", "content": system_prompt or ""}, {"role": "user", "content": prompt}])

    __call__ = generate


class InOrder(list[Any]):
    """Gradients in the order in which they came, in the place of TextGrad's set, whose order is another in every run."""

    add = list.append


class Momentum(TextualGradientDescentwithMomentum):
    """The optimiser with momentum; 0.1.8 puts its message together and forgets to return it, so that it sends None."""

    def _update_prompt(self, variable: Any, momentum_storage_idx: int) -> Any:
        role, past = variable.get_role_description(), self.momentum_storage[momentum_storage_idx]
        values = "".join(f"\n{role} at Step {n}: {before['value']}.\n" for n, before in enumerate(past, start=1))
        return construct_tgd_prompt(
            do_momentum=bool(values),
            do_constrained=self.do_constrained,
            do_in_context_examples=self.do_in_context_examples,
            variable_desc=role,
            variable_value=variable.value,
            variable_grad=get_gradient_and_context_text(variable),
            variable_short=variable.get_short_value(),
            constraint_text=self.constraint_text,
            past_values=values,
            new_variable_start_tag=self.new_variable_tags[0],
            new_variable_end_tag=self.new_variable_tags[1],
            in_context_examples="\n".join(self.in_context_examples),
        )


def unanswered(work: Callable[[Replies], Any]) -> Messages:
    """The messages that TextGrad's code sends first, when it does `work` with an engine."""
    try:
        work(Replies())
    except Unanswered as asked:
        return asked.messages
    raise MethodError(f"textgrad {textgrad.__version__} asks no model where 0.1.8 does: install textgrad 0.1.8")


def forward(system: str, user: str) -> Messages:
    """The messages of an LLMCall."""
    prompt, query = _variable(system, SYSTEM_PROMPT_DEFAULT_ROLE), _variable(user, VARIABLE_INPUT_DEFAULT_ROLE, requires_grad=False)
    return unanswered(lambda engine: LLMCall(engine, prompt)(query))


def _variable(text: str, role: str, requires_grad: bool = True) -> Any:
    made = textgrad.Variable(text, requires_grad=requires_grad, role_description=role)
    made.gradients = InOrder()
    return made


class Graph:
    """The computation graph of one step, as far as its records reach.

    Args:
        step: with the records of the stages before.
        context: of the stage that is to run.
    """

    def __init__(self, step: Step, context: Context) -> None:
        self.step, self.context = step, context
        self.prompt = _variable(step.prompt, SYSTEM_PROMPT_DEFAULT_ROLE)

    def output_critique(self, example: Example, prediction: Prediction, evaluation: Evaluation) -> Messages:
        """What the backward function of the loss asks about an output."""
        loss = self._loss(example, self._response(example, prediction), evaluation)
        total = textgrad.sum([loss])  # of the whole batch, in TextGrad's loop; to each loss it does the same alone
        total.grad_fn(backward_engine=Replies())
        return unanswered(lambda engine: loss.grad_fn(backward_engine=engine))

    def prompt_critique(self, example: Example, prediction: Prediction, critiques: Iterable[Critique]) -> Messages:
        """What the backward function of the LLMCall asks about the prompt, from the gradients of one output."""
        response = self._response(example, prediction)
        for critique in critiques:
            if not critique.lost:
                response.gradients.add(_variable(critique.text, f"feedback to {VARIABLE_OUTPUT_DEFAULT_ROLE}"))
        return unanswered(lambda engine: response.grad_fn(backward_engine=engine))

    def rewrite(self) -> Messages:
        """What the optimiser asks."""
        self._gradients()
        return unanswered(lambda engine: self._optimizer(engine).step())

    def rewritten(self, reply: str) -> tuple[str, str]:
        """The new prompt that the optimiser reads from a reply, or "" and why there is none."""
        self._gradients()
        try:
            self._optimizer(Replies(reply)).step()
        except IndexError:
            lacking = [tag for tag in TAGS if tag not in reply]
            return "", f"the reply lacks {' and '.join(lacking)}, between which TextGrad looks for the new prompt"
        return self.prompt.value, "" if self.prompt.value else f"there is nothing between {TAGS[0]} and {TAGS[1]}"

    def _response(self, example: Example, prediction: Prediction) -> Any:
        """The output ŷ of an LLMCall; the conversation shows the system prompt as the model read it, with the format that stays."""
        query = _variable(example.input, VARIABLE_INPUT_DEFAULT_ROLE, requires_grad=False)
        response = LLMCall(Replies(prediction.output), self.prompt)(query)
        response.gradients = InOrder()
        response.grad_fn.kwargs["system_prompt"] = self.context.task.system(self.step.prompt)
        return response

    def _loss(self, example: Example, response: Any, evaluation: Evaluation) -> Any:
        critic = self.context.critic
        if critic is None:
            inputs = {"prediction": response}
            if evaluation.label is not None:
                inputs["ground_truth_answer"] = _variable(evaluation.label, LABEL_ROLE, requires_grad=False)
            return StringBasedFunction(lambda **_: evaluation.text, PURPOSE)(inputs=inputs)
        loss = textgrad.TextLoss(critic.system(self.step.held), engine=Replies(evaluation.text))(response)
        loss.grad_fn.kwargs["prompt"] = critic.example(example.id).input  # the critic reads the question beside the output
        return loss

    def _gradients(self) -> None:
        """Give the prompt its gradients, by the backward functions that wrote them, each with the conversation that it is about."""
        self.prompt.gradients = InOrder()
        for critique in self.step.prompt_critique or ():
            predictions = records_of(self.step, "predict", critique.example)
            if critique.lost or not predictions:
                continue
            response = self._response(self.context.task.example(critique.example), predictions[0])
            response.grad_fn(backward_engine=Replies(critique.text))

    def _optimizer(self, engine: Replies) -> Any:
        method = self.context.method
        told = {"constraints": list(method.constraints), "in_context_examples": list(method.in_context), "new_variable_tags": list(TAGS)}
        if not method.momentum:
            return TextualGradientDescent(parameters=[self.prompt], engine=engine, **told)
        made = Momentum(engine=engine, parameters=[self.prompt], momentum_window=method.momentum, **told)
        made.momentum_storage[0] = [{"value": before.prompt, "gradients": ""} for before in self.context.past]
        return made
