"""How many calls a step makes, as its settings say and as a stub counts them."""

import re
from collections import Counter

import pytest

import gradbook as gb
from gradbook.studies import step_calls, trial_calls
from small import WORDS, reply, small_task
from stub import Stub
from test_arms import ARMS, TEMPLATES

REWRITES = ("REWRITE", "MOMENTUM", "ONE", "PARAPHRASE", "IMPROVE")
STEPS = 3  # the third batch of an epoch has one example alone
OTHERS = {
    "several critiques": gb.Method(critiques=2, candidates=2),
    "apart": gb.Method(critiques=2, apart=True, candidates=2),
    "paraphrases": gb.Method(update="one-step", candidates=2, paraphrases=2),
    "a beam": gb.Method(beam=3, candidates=2, critiques=2, apart=True, paraphrases=1),
    "a beam of one-step": gb.Method(update="one-step", beam=2, candidates=3),
    "add only": gb.Method(add_only=True, candidates=2),
    "momentum": gb.Method(momentum=2, candidates=1),
    "a large batch": gb.Method(batch_size=5, candidates=1),
    "an epoch in a batch": gb.Method(batch_size=50, candidates=1),
    "one candidate of a critic": gb.Method(evaluation="critic-score", candidates=1, critiques=2),
}


def always_new(messages: list[dict], body: dict) -> str:
    """A rewrite is never the same twice and always better: it has one more plus, and with each plus one more example is right."""
    *system, user = [message["content"] for message in messages]
    if system:
        if "Verdict:" in system[0] or "Score:" in system[0]:
            return "Verdict: right\nScore: 90"
        number, colour = re.search(r"Item (\d+) is (\w+)", user).groups()
        return WORDS[colour] if int(number) - 7 < system[0].count("+") else "none"
    what, old = user.split("|")[:2]
    new = f"{old} + {body['seed']}"
    return f"+ {body['seed']}" if what == "ADD" else new if what in REWRITES else f"critique {body['seed']}"


@pytest.fixture(scope="module")
def stub():
    with Stub(reply=always_new) as running:
        yield running


def counted(case: gb.Case) -> Counter:
    """The calls on record, by the stage that they are like."""
    calls = case.calls()
    places = [place.split("/") for place in calls["for"]]
    stages = [place[2] if place[0] == "step" else place[3] for place in places]
    return Counter(
        "evaluate" if (stage, role) == ("predict", "critic") else stage for stage, role in zip(stages, calls["role"], strict=True)
    )


METHODS = [gb.Method(**dict(zip(("update", "labels", "evaluation", "selection"), arm, strict=True))) for arm in ARMS]


@pytest.mark.parametrize("method", [*METHODS, *OTHERS.values()], ids=[*map("/".join, ARMS), *OTHERS])
def test_each_batch_makes_the_calls_that_its_method_says(method, stub, tmp_path):
    method, task = gb.Method(**(method.model_dump() | {"templates": TEMPLATES})), small_task(train=7, validation=3, test=1)
    model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
    case, before = gb.Case(tmp_path / "case", task=task, model=model, method=method), Counter()
    since = len(stub.requests)
    for depth in range(1, STEPS + 1):
        case.run(batches=depth)
        now = counted(case)
        assert dict(now - before) == dict(step_calls(method, task, depth)), depth
        before = now
    assert before.total() == len(stub.requests) - since, "the ledger has every call"
    arm = gb.studies.Arm(method=method, steps=STEPS)
    assert trial_calls(arm, task).training == before


def test_what_repeats_makes_it_less_and_never_more(tmp_path):
    with Stub(reply=reply) as stub:
        for number, method in enumerate([gb.presets.protegi(), gb.Method(errors_only=True), gb.Method(evaluation="critic-binary")]):
            model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
            case, before = gb.Case(tmp_path / str(number), task=small_task(), model=model, method=method), Counter()
            for depth in range(1, 4):
                case.run(batches=depth)
                now = counted(case)
                assert now - before <= step_calls(method, case.task, depth)
                before = now


@pytest.mark.parametrize("calls", [9, 10, 11, 60, 61])
def test_a_length_in_calls_is_as_many_batches_as_fit(calls):
    task, method = small_task(train=6), gb.Method(selection="naive")
    length = trial_calls(gb.studies.Arm(method=method, calls=calls), task)
    assert length.batches == calls // 10 and length.training.total() == 10 * (calls // 10)


def test_an_epoch_is_counted_in_batches():
    task, method = small_task(train=7), gb.Method(selection="naive", train_every=1)
    length = trial_calls(gb.studies.Arm(method=method, epochs=2), task)
    assert length.batches == 6 and length.training["predict"] == 2 * 7
    assert length.scoring["predict"] == len(task.test) + 3 * 7, "epochs 0, 1 and 2 on the training split"
