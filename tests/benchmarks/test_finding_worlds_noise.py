"""The noise budget in worlds of planted variances, asked of a case whose model is the stub: every draw is a call, as for a user.

A critique leans one way or the other, a rewrite takes a word or another, an example is easy or hard, each by the toss of a coin, and all
add up to the probability of a right answer. So each share of the variance is known, that of answering too.
"""

import random
import re

import numpy as np
import pytest

import gradbook as gb
from small import WORDS, small_task
from stub import Stub

EXAMPLES, LEAN, WORD, EASY = 12, 0.12, 0.15, 0.2
CASES = {
    "critiques, rewrites, answers, examples": (30, {}, {"critiques": 9, "rewrites": 3}),
    "selections too, at random of two": (32, {"selection": "random", "candidates": 2}, {"critiques": 6, "rewrites": 4, "selections": 3}),
}
"""How many worlds, of which method, asked for how many draws."""


def planted(selections: bool) -> dict[str, float]:
    """The share of each source in the variance of one score."""
    spread = WORD**2 / 2 if selections else WORD**2  # the mean of two candidates, and which of the two it is
    left = 0.25 - LEAN**2 - WORD**2 - EASY**2
    found = {"critiques": LEAN**2, "rewrites": spread, "answers": left / EXAMPLES, "examples": EASY**2 / EXAMPLES}
    found |= {"selections": spread} if selections else {}
    return {name: value / sum(found.values()) for name, value in found.items()}


def model(world: list[int]):
    """What the stub says in a world, all of it by the seeds of the calls."""

    def toss(*of: object) -> str:
        return random.Random(f"{world[0]} {of}").choice("+-")

    def said(messages, body):
        text, seed = messages[-1]["content"], body["seed"]
        if messages[0]["role"] == "system":
            signs = re.findall(r"(lean|word) ([+-])", messages[0]["content"])
            size = {"lean": LEAN, "word": WORD}
            chance = 0.5 + sum(float(f"{sign}{size[what]}") for what, sign in signs) + float(f"{toss(text)}{EASY}")
            right = random.Random(f"{world[0]} {seed} {messages}").random() < chance
            return f"Answer: {WORDS[re.search('red|green|blue', text)[0]] if right else 'none'}"
        if "Rules to add:" in text:
            return f"<prompt>{re.search('lean [+-]', text)[0]}, word {toss(seed, text)}, {seed}</prompt>"
        return re.search("lean [+-]", text)[0] if "Which rule should" in text else f"lean {toss(seed)}"

    return said


@pytest.mark.parametrize("name", CASES)
def test_shares_are_those_that_were_planted(name, report, tmp_path):
    """On the mean of the worlds' variances each share is within a fifth of the truth."""
    worlds, settings, draws = CASES[name]
    world, found = [0], []
    with Stub(reply=model(world)) as stub:
        for world[0] in range(worlds):
            made = gb.connect("stub", base_url=stub.url, api_key="k", cache=False, concurrency=8)
            method = gb.Method(**{"selection": "naive", "batch_size": 1} | settings)
            case = gb.Case(tmp_path / str(world[0]), task=small_task(test=EXAMPLES), model=made, method=method, seed=world[0])
            found.append(case.noise(case.step(), split="test", answers=2, **draws))
            case.close()
        calls = len(stub.requests)
    mean = {source: np.mean([one.components.variances[source] for one in found]) for source in found[0].counts}
    truth, shares = planted("selections" in draws), {source: value / sum(mean.values()) for source, value in mean.items()}
    told = ", ".join(f"{source} {share:.1%} ({truth[source]:.1%})" for source, share in shares.items())
    report(f"noise budget: {name}; {worlds} worlds, {calls:,} calls: shares found (planted)", told)
    inside = [one.components.share_intervals[s][0] <= truth[s] <= one.components.share_intervals[s][1] for one in found for s in truth]
    report("  planted shares that lie in their world's interval", f"{np.mean(inside):.1%}")
    assert all(share == pytest.approx(truth[source], rel=0.2) for source, share in shares.items()), told
    assert np.mean(inside) >= 0.85
