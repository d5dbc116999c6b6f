"""Calls a second at no latency, against a bare client on the same stub; and 200 examples at 32 at once against the floor."""

import asyncio
import math
import time

import openai
import pytest

import gradbook as gb
from gradbook import background
from small import small_task

CALLS, AT_ONCE, ROUNDS = 1000, 32, 5


def messages(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "You answer questions."},
        {"role": "user", "content": f"Question {number}: which of the two is it?"},
    ]


async def bare(url: str, calls: int) -> float:
    """Seconds that the openai library takes by itself, with its default transport."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with openai.AsyncOpenAI(base_url=url, api_key="k") as client:

        async def one(number: int) -> None:
            async with slots:
                await client.chat.completions.create(model="stub", messages=messages(number), temperature=0.5, top_p=0.95, max_tokens=5000)

        await one(0)
        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(calls)))
        return time.perf_counter() - began


async def ours(model: gb.Model, calls: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(model.complete(messages(number)) for number in range(calls)))
    return time.perf_counter() - began


@pytest.mark.parametrize("cached", [False, True], ids=["no cache", "every reply cached"])
def test_calls_a_second(serve, tmp_path, report, cached):
    server = serve(0.0)
    ratios = []
    for number in range(ROUNDS):  # in turns, since other work on the machine comes and goes
        theirs = asyncio.run(bare(server.url, CALLS))
        cache = tmp_path / f"{number}.sqlite" if cached else False
        model = gb.connect("stub", base_url=server.url, api_key="k", concurrency=AT_ONCE, cache=cache)
        model.ask("wake up")
        before = server.stats()["requests"]
        ratios.append(theirs / background.run(ours(model, CALLS)))
        assert server.stats()["requests"] == before + CALLS
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    name = "calls a second at no latency, " + ("every reply cached" if cached else "no cache")
    report(name, f"{sorted(ratios)[ROUNDS // 2]:5.2f} × a bare client ({spread} in {ROUNDS} rounds)")


def test_200_examples_at_32_at_once(serve, tmp_path, report):
    server = serve(0.2)
    case = gb.Case(tmp_path / "case", task=small_task(test=200), model=server.model(tmp_path, 32), method=gb.Method())
    began = time.perf_counter()
    case.score(0, "test")
    taken, floor = time.perf_counter() - began, math.ceil(200 / 32) * 0.2
    report("200 examples, 32 at once, 0.2 s a call", f"{taken / floor:5.2f} × the floor ({taken:.2f} s)")
