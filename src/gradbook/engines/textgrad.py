"""The stages as TextGrad runs them: its forward, its loss, its backward and its optimiser, with its own meta-prompts, one stage at a time.

Each stage rebuilds TextGrad's Variables from the records of those before, so an edited record is what TextGrad's code goes on from. That
code runs up to the message that it would send next; the call goes through `Context.ask` like any other, and calls of a batch together.
So nothing of TextGrad waits, and no thread has to be stopped: cancelling a stage cancels its calls.

How settings map: `evaluation="direct"` is a StringBasedFunction that gives 1 or 0, by the task's own equality; with a critic it is a
TextLoss whose system prompt is the critic's, and which reads the question beside the output. `momentum` is the window of the optimiser
with momentum, `constraints` and `in_context` are its own. Several candidates are several draws of the same message.
"""

import asyncio
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from gradbook.engines import evaluation_text, missing
from gradbook.loop import stages
from gradbook.loop.stages import Context, Messages, for_each, heard_as, listen, records_of, same_inputs, shown_label, together
from gradbook.records import Call, Candidate, Critique, Evaluation, Example, Prediction, Role, Stage, Step

select = stages.select
_GRAPH = "gradbook.engines.textgrad_graph"
_loading = Lock()
_loaded: list[Any] = []  # when its import has ended: before that, sys.modules has a part of it


async def predict(step: Step, context: Context) -> tuple[Prediction, ...]:
    """Stage 1: an LLMCall on each example, with the prompt as its system prompt."""
    return await stages.predict(step, await _through(context))


async def evaluate(step: Step, context: Context) -> tuple[Evaluation, ...]:
    """Stage 2: the loss of each output; a critic's is a call, that of the label is a number."""
    if context.critic is not None:
        return await stages.evaluate(step, await _through(context))

    async def one(example: Example) -> list[Evaluation]:
        return [_against_label(step, context, example, prediction) for prediction in records_of(step, "predict", example.id)]

    return await for_each(step, context, "evaluate", one)


def _against_label(step: Step, context: Context, example: Example, prediction: Prediction) -> Evaluation:
    label = shown_label(context, example)
    right = label is not None and context.task.correct(prediction.answer, label)
    text = evaluation_text(context.method, step.variable, prediction, label, right)
    return Evaluation(example=example.id, label=label, target=example.target, text=text)


async def output_critique(step: Step, context: Context) -> tuple[Critique, ...]:
    """Stage 3, ∂L/∂ŷ: the loss's own backward function, one call an output."""
    graph = await _graph()

    async def one(example: Example) -> list[Critique]:
        pairs = zip(records_of(step, "predict", example.id), records_of(step, "evaluate", example.id), strict=False)
        messages = [graph.Graph(step, context).output_critique(example, *pair) for pair in pairs]
        return await together(_criticise(context, "output_critique", example, asked) for asked in messages)

    return await for_each(step, context, "output_critique", one)


async def prompt_critique(step: Step, context: Context) -> tuple[Critique, ...]:
    """Stage 4, ∂L/∂θ: the backward function of the LLMCall, one call an example, on all gradients that its output has."""
    graph = await _graph()

    async def one(example: Example) -> list[Critique]:
        critiques = records_of(step, "output_critique", example.id)
        if critiques and all(critique.lost for critique in critiques):  # a person may write what would have been
            return [
                Critique(example=example.id, text="", lost=c.lost, why=f"its output critique is missing: {c.why}") for c in critiques[:1]
            ]
        predictions = records_of(step, "predict", example.id)
        if not (critiques and predictions):
            return []
        asked = graph.Graph(step, context).prompt_critique(example, predictions[0], critiques)
        return [await _criticise(context, "prompt_critique", example, asked)]

    return await for_each(step, context, "prompt_critique", one)


async def _criticise(context: Context, stage: Stage, example: Example, asked: Messages) -> Critique:
    call = await context.ask("critic", stage, asked, example=example.id)
    heard = listen(call)
    return Critique(example=example.id, text="" if heard.lost else heard.text, **heard_as(call, heard))


async def rewrite(step: Step, context: Context) -> tuple[Candidate, ...]:
    """Stage 5: a step of the optimiser on the gradients of the prompt, in the order of their records."""
    origin = context.origin
    if origin and step.predict == origin.predict and same_inputs(step, origin, "rewrite"):  # its message quotes the outputs as well
        return origin.rewrite or ()
    if all(critique.lost for critique in step.prompt_critique or ()):
        return ()
    graph = await _graph()
    asked = graph.Graph(step, context).rewrite()

    async def one(index: int) -> Candidate:
        call = await context.ask("optimizer", "rewrite", asked, index=index)
        heard, new = listen(call), ""
        if not heard.lost:
            new, why = graph.Graph(step, context).rewritten(heard.text)
            heard = heard if new else heard._replace(lost="no reply", why=why)
        return Candidate(index=index, prompt=new, **heard_as(call, heard))

    return tuple(await together(map(one, range(context.method.candidates))))


async def _through(context: Context) -> Context:
    """A context whose calls of two messages, system and user, are made by TextGrad's LLMCall."""
    graph = await _graph()

    async def ask(role: Role, stage: Stage, messages: Messages, *, example: str = "", index: int = 0) -> Call:
        system, user = (message["content"] for message in messages)
        return await context.ask(role, stage, graph.forward(system, user), example=example, index=index)

    return replace(context, ask=ask)


# --- the library ---------------------------------------------------------------------------------------------------------


async def _graph() -> Any:
    """The module that holds TextGrad's part; its import takes seconds, which the loop does not wait for."""
    return _loaded[0] if _loaded else await asyncio.to_thread(load)


def load() -> Any:
    """Import TextGrad's part, without the log file, the look at the network and the `.env` that importing TextGrad would bring.

    Raises:
        MethodError: the library is not installed, or not whole.
    """
    with _loading:
        if not _loaded:
            try:
                with quietly():
                    _loaded.append(import_module(_GRAPH))
            except ImportError as error:
                raise missing("textgrad", error) from None
        return _loaded[0]


@contextmanager
def quietly() -> Iterator[None]:
    """Import TextGrad in here: it opens no log file, asks nobody for prices and reads no `.env`; settings of the user's own stay."""
    if "textgrad" in sys.modules:
        yield
        return
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wished = {"TEXTGRAD_LOG_DIR": folder, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
        own = {name: value for name, value in wished.items() if name not in os.environ}
        os.environ.update(own)
        try:
            yield
        finally:
            for name in own:
                os.environ.pop(name, None)
            if "TEXTGRAD_LOG_DIR" in own:
                _close_logs()


def _close_logs() -> None:
    logger = logging.getLogger("textgrad")
    logger.setLevel(logging.WARNING)  # it would log every message
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.addHandler(logging.NullHandler())  # without one, Python prints its errors
