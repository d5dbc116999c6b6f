"""A step of TextGrad's own code, through gradbook and in TextGrad's own loop, on one server in one run.

Times are printed and not asserted; the calls and how many were in flight at once are.
"""

import time
from importlib.util import find_spec

import pytest

import gradbook as gb
from gradbook.engines import textgrad as engine
from small import small_task

pytestmark = pytest.mark.bridges
if find_spec("textgrad") is None:
    pytest.skip('textgrad is missing: pip install "gradbook[textgrad]"', allow_module_level=True)

LATENCY = 0.5
BATCH = 8


def told(seconds: float, calls: int) -> str:
    floor = 4 * LATENCY
    return f"{seconds / floor:5.2f} × the floor ({seconds:.2f} s for 4 latencies of {LATENCY} s, {calls} calls)"


def own_step(tg, client, task, prompt):
    """One step of TextGrad's script on prompt optimisation, with an engine that keeps nothing."""
    from textgrad.autograd import StringBasedFunction

    class Engine(tg.EngineLM):
        model_string = "stub"

        def generate(self, prompt, system_prompt=None, **_):
            messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": prompt}]
            return client.chat.completions.create(model="stub", messages=messages).choices[0].message.content

        __call__ = generate

    llm, system_prompt = Engine(), tg.Variable(prompt, role_description="system prompt")
    model = tg.BlackboxLLM(llm, system_prompt)
    equal = StringBasedFunction(lambda prediction, truth: int(truth.value in prediction.value), function_purpose="equality")
    losses = []
    for example in task.train:
        given = tg.Variable(example.input, requires_grad=False, role_description="query")
        truth = tg.Variable(example.target, requires_grad=False, role_description="correct answer")
        losses.append(equal(inputs={"prediction": model(given), "truth": truth}))
    tg.sum(losses).backward(engine=llm)
    tg.TextualGradientDescent(parameters=[system_prompt], engine=llm).step()
    return system_prompt.value


def test_a_step_of_textgrads_own_code(serve, report, tmp_path):
    from openai import OpenAI

    engine.load()
    import textgrad as tg

    server, task = serve(LATENCY), small_task(train=BATCH)
    model = server.model(tmp_path, 16)
    case = gb.Case(tmp_path / "case", task=task, model=model, method=gb.presets.textgrad(batch_size=BATCH))
    before, began = server.stats()["requests"], time.perf_counter()
    step = case.step()
    seconds, calls = time.perf_counter() - began, server.stats()["requests"] - before
    report("TextGrad's step, batch 8, through gradbook", told(seconds, calls))
    assert (calls, server.stats()["most_in_flight"]) == (3 * BATCH + 1, BATCH)
    assert step.select.chosen == 0

    with OpenAI(base_url=server.url, api_key="k") as client:
        client.chat.completions.create(model="stub", messages=[{"role": "user", "content": "wake up"}])
        before, began = server.stats()["requests"], time.perf_counter()
        new = own_step(tg, client, task, task.seed_prompt)
        seconds, calls = time.perf_counter() - began, server.stats()["requests"] - before
    report("the same step in TextGrad's own loop", told(seconds, calls))
    assert calls == 3 * BATCH + 1 and new.startswith("Answer K1.")
