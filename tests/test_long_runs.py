"""Long training: epochs, the scores of the training split along the way, and runs that are interrupted and go on."""

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import binomtest

import gradbook as gb
from gradbook import background
from gradbook.errors import CaseError, ModelError
from small import WORDS, reply, small_task
from stub import Stub

TESTS = Path(__file__).resolve().parent
CONCURRENCY = 3  # so many requests at most are under way at a kill, and only those may be paid again


def versions(messages: list[dict], body: dict) -> str:
    """Every rewrite is another prompt ("Version 7."), and every version gets other examples right."""
    text = messages[-1]["content"]
    if messages[0]["role"] == "system" and "Judge whether" not in messages[0]["content"]:
        return answer(messages[0]["content"], text)
    if messages[0]["role"] == "user" and re.search(r"Rules to add:|What a model did|in other words|Improve the quality", text):
        return f"<prompt>Give each item its code. Version {version(text) + 1}.</prompt>"
    return reply(messages, body)


def version(prompt: str) -> int:
    return int((re.findall(r"Version (\d+)", prompt) or ["0"])[0])


def answer(prompt: str, text: str) -> str:
    item = int(re.search(r"Item (\d+)", text)[1])
    colour = next(word for word in WORDS if word in text)
    return WORDS[colour] if (item * 7 + version(prompt)) % 11 < 3 + version(prompt) // 10 % 6 else "K1" if colour != "red" else "K2"


def right(task: gb.Task, prompt: str) -> int:
    """How many training examples a prompt gets right."""
    return sum(answer(prompt, e.input) == e.target for e in task.train)


@pytest.fixture
def stub():
    with Stub(reply=versions) as running:
        yield running


def make(stub, path, task=None, seed=0, cache=False, **settings) -> gb.Case:
    model = gb.connect("small", base_url=stub.url, api_key="k", cache=cache, concurrency=CONCURRENCY)
    return gb.Case(path, task=task or small_task(train=30), model=model, method=gb.Method(**{"selection": "naive"} | settings), seed=seed)


def train_scores(case: gb.Case) -> list[str]:
    """The prompts whose score on the training split is on record, by their hash."""
    return [question.prompt for question in case.recorded_questions() if question.split == "train"]


def test_ten_epochs_see_every_example_once_each_in_another_order(stub, tmp_path):
    case = make(stub, tmp_path / "case", train_every=1)
    last = case.run(epochs=10)
    assert (last.depth, len(case), version(last.chosen_prompt)) == (100, 101, 100)
    batches = [step.batch for step in case][1:]
    assert all(len(batch) == 3 for batch in batches)
    epochs = [tuple(itertools.chain(*batches[start : start + 10])) for start in range(0, 100, 10)]
    ids = {example.id for example in case.task.train}
    assert all(set(epoch) == ids and len(epoch) == 30 for epoch in epochs)
    assert len(set(epochs)) == 10, "each epoch has an order of its own"

    rows = case.training()
    assert list(rows.batches) == list(range(0, 101, 10)) and list(rows.epoch) == list(range(11))
    assert list(rows.step) == list(range(0, 101, 10)) and list(rows.n) == [30] * 11
    assert train_scores(case) == [case.question(step, "train").prompt for step in range(0, 101, 10)], (
        "nothing else was scored, and in this order"
    )
    for row in rows.itertuples():
        count = right(case.task, case[row.step].chosen_prompt)
        expected = binomtest(count, 30).proportion_ci(method="wilson")
        assert (row.accuracy, row.low, row.high) == pytest.approx((count / 30, expected.low, expected.high))
    assert rows.accuracy.nunique() > 2, "the test would see a wrong row"


def order(case: gb.Case) -> list[tuple[str, ...]]:
    return [step.batch for step in case][1:]


def test_the_seed_says_the_order(stub, tmp_path):
    task = small_task(train=9)
    runs = {name: make(stub, tmp_path / name, task, seed=seed, update="one-step") for name, seed in [("a", 5), ("b", 5), ("c", 6)]}
    for case in runs.values():
        case.run(epochs=3)
    assert order(runs["a"]) == order(runs["b"]) != order(runs["c"])
    assert order(runs["a"])[:3] != order(runs["a"])[3:6] != order(runs["a"])[6:]


@pytest.mark.parametrize(("train", "size", "expected"), [(7, 3, [3, 3, 1]), (5, 5, [5]), (4, 9, [4])])
def test_the_last_batch_of_an_epoch_holds_the_rest(train, size, expected, stub, tmp_path):
    case = make(stub, tmp_path / "case", small_task(train=train), batch_size=size, update="one-step", train_every=1)
    case.run(epochs=2)
    assert [len(batch) for batch in order(case)] == expected * 2
    assert list(case.training().epoch) == [0, 1, 2] and list(case.training().batches) == [0, len(expected), 2 * len(expected)]


@pytest.mark.parametrize(("every", "epochs", "expected"), [(0, 3, []), (1, 3, [0, 1, 2, 3]), (2, 5, [0, 2, 4]), (3, 2, [0])])
def test_the_training_split_is_scored_at_the_chosen_epochs_and_no_others(every, epochs, expected, stub, tmp_path):
    case = make(stub, tmp_path / "case", small_task(train=6), train_every=every, update="one-step")
    case.run(epochs=epochs)
    assert len(train_scores(case)) == len(expected)
    assert [row for row in case.training().get("epoch", [])] == expected


def test_a_prompt_that_stays_is_listed_at_the_chosen_epochs_alone(tmp_path):
    """The score of a prompt is that of every step which ends with it, but the table has one row an epoch."""
    with Stub(reply=lambda messages, body: "K1") as stub:
        case = make(stub, tmp_path / "case", small_task(train=9), train_every=2, selection="validated", candidates=1)
        case.run(epochs=4)
    assert list(case.training().epoch) == [0, 2, 4] and list(case.training().batches) == [0, 6, 12]


def test_scores_asked_for_by_hand_are_listed_too(stub, tmp_path):
    case = make(stub, tmp_path / "case", small_task(train=6), update="one-step")
    case.run(batches=3)
    assert len(case.training()) == 0
    case.score(2, "train")
    assert list(case.training().step) == [2] and list(case.training().epoch) == [1]
    assert len(case.training(1)) == 0, "it is not on the line to step 1"


@pytest.mark.parametrize("update", ["rewrite", "improve"])
def test_updates_that_see_no_data_have_epochs_as_long(update, stub, tmp_path):
    case = make(stub, tmp_path / "case", update=update, train_every=5)
    case.run(epochs=10)
    assert len(case) == 101 and {step.batch for step in case} == {()} and version(case.current.chosen_prompt) == 100
    assert list(case.training().batches) == [0, 50, 100]
    assert len(stub.requests) == 100 + 3 * 30


def test_with_a_critic_each_batch_ends_with_its_step(stub, tmp_path):
    case = make(stub, tmp_path / "case", small_task(train=6), evaluation="critic-binary", train_every=1)
    last = case.run(epochs=2)
    assert [step.variable for step in case][1:] == ["prompt", "critic"] * 4 and last.variable == "critic" and last.depth == 4
    assert list(case.training().batches) == [0, 2, 4] and list(case.training().step) == [0, 3, 7]
    assert case.run(epochs=2).id == last.id


def test_a_run_counts_what_is_there(stub, tmp_path):
    case = make(stub, tmp_path / "case", small_task(train=6), update="one-step")
    case.step()
    last = case.run(batches=4)
    assert (last.id, last.depth) == (4, 4)
    before = len(stub.requests)
    for batches in (4, 3, 0):
        assert case.run(batches=batches).id == 4
    assert case.run(epochs=2).id == 4, "two epochs are four batches"
    assert len(stub.requests) == before and len(case) == 5
    case.go(2)
    assert case.run(batches=3).id == 5 and case[5].parent == 2, "the line from step 2 was one batch short"
    case.begin()
    assert case.run(batches=1).id == 6, "what is under way is finished"
    for wrong in ({}, {"batches": 1, "epochs": 1}):
        with pytest.raises(CaseError, match="one of them"):
            case.run(**wrong)


def whole_and_broken(stub, tmp_path, **settings):
    """The same run twice: once as it is, once to be interrupted; and the number of requests of the first."""
    task = small_task(train=6)
    whole = make(stub, tmp_path / "whole", task, train_every=1, **settings)
    whole.run(epochs=2)
    return whole, task, len(stub.requests)


def same(case: gb.Case, whole: gb.Case) -> None:
    assert [step.model_dump() for step in case] == [step.model_dump() for step in whole]
    assert case.training().equals(whole.training()) and len(case.training()) == 3
    assert set(train_scores(case)) == set(train_scores(whole))


@pytest.mark.parametrize("settings", [{}, {"update": "improve"}, {"evaluation": "critic-score", "selection": "guard"}], ids=str)
def test_a_run_that_fails_goes_on_with_the_same_line(settings, tmp_path):
    fail_at, count = set(), itertools.count()

    def failing(messages, body):
        return {"nonsense": 1} if next(count) in fail_at else versions(messages, body)

    with Stub(reply=failing) as stub:
        whole, task, needed = whole_and_broken(stub, tmp_path, **settings)
        # every few requests, the last ones among them: they are of the last training score
        fail_at = {needed + at for at in [*range(3, needed, 17), needed - 2]}
        case = make(stub, tmp_path / "case", task, train_every=1, cache=tmp_path / "cache.sqlite", **settings)
        failures = 0
        for _ in range(len(fail_at) + 1):
            try:
                case.run(epochs=2)
                break
            except ModelError:
                failures += 1
        assert failures >= 2
        same(case, whole)
        sent = Counter((str(r.body["messages"]), r.body["seed"]) for r in stub.requests[needed:])
        assert sum(sent.values()) - len(sent) == failures, "only what had failed was sent again"
        assert len(sent) == case.spent.calls == len(case.calls())


async def landed(case: gb.Case) -> None:
    """Wait for the requests that were under way when a run failed; who asks for the same in the meantime shares their fate."""
    while case.models["task"]._flights:
        await asyncio.sleep(0.01)


def test_an_interruption_in_the_last_training_score_leaves_no_gap(tmp_path):
    broken = threading.Event()

    def failing(messages, body):
        return {"nonsense": 1} if broken.is_set() and version(messages[0]["content"]) == 4 else versions(messages, body)

    with Stub(reply=failing) as stub:
        case = make(stub, tmp_path / "case", small_task(train=6), train_every=1, update="one-step")
        broken.set()
        with pytest.raises(ModelError):
            case.run(epochs=2)
        assert case.current.done and case.current.depth == 4 and list(case.training().epoch) == [0, 1]
        background.run(landed(case))
        broken.clear()
        case.run(epochs=2)
        assert list(case.training().epoch) == [0, 1, 2] and len(case) == 5


def test_ctrl_c_stops_a_run_and_the_same_line_goes_on(tmp_path, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests in the background has it ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    at, count = [], itertools.count()

    def interrupting(messages, body):
        if next(count) in at:
            os.kill(os.getpid(), signal.SIGINT)
        return versions(messages, body)

    with Stub(reply=interrupting) as stub:
        whole, task, needed = whole_and_broken(stub, tmp_path)
        at += [needed + needed // 2]
        case = make(stub, tmp_path / "case", task, train_every=1, cache=tmp_path / "cache.sqlite")
        with pytest.raises(KeyboardInterrupt):
            case.run(epochs=2)
        assert len(case) < len(whole)
        case.run(epochs=2)
        same(case, whole)
        sent = Counter((str(r.body["messages"]), r.body["seed"]) for r in stub.requests[needed:])
        assert max(sent.values()) == 1, "what was under way was finished, and found"


_RUN = """
import sys
import gradbook as gb
from test_long_runs import make, small_task
class At: url = sys.argv[2]
case = make(At, sys.argv[1] + "/case", small_task(train=6), train_every=1, cache=sys.argv[1] + "/cache.sqlite")
case.run(epochs=2)
case.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 needs a POSIX system")
@pytest.mark.parametrize("share", [0.1, 0.55, 0.97])
def test_a_run_that_is_killed_goes_on(share, tmp_path):
    kill_at, count, running = [], itertools.count(), []

    def killing(messages, body):
        if next(count) in kill_at:
            running[0].kill()
        return versions(messages, body)

    with Stub(reply=killing) as stub:
        whole, task, needed = whole_and_broken(stub, tmp_path)
        kill_at.append(needed + int(share * needed))
        found = os.environ | {"PYTHONPATH": str(TESTS)}
        running.append(subprocess.Popen([sys.executable, "-c", _RUN, str(tmp_path), stub.url], env=found, stderr=subprocess.DEVNULL))
        assert running[0].wait(120) == -signal.SIGKILL
        case = make(stub, tmp_path / "case", task, train_every=1, cache=tmp_path / "cache.sqlite")
        case.run(epochs=2)
        same(case, whole)
        sent = Counter((str(r.body["messages"]), r.body["seed"]) for r in stub.requests[needed:])
        assert sum(sent.values()) - len(sent) <= CONCURRENCY, "only what was under way may be paid again"


def test_stage_by_stage_the_training_split_is_scored_as_well(stub, tmp_path):
    case = make(stub, tmp_path / "case", small_task(train=3), train_every=1)
    step = case.begin()
    while not case[step.id].done:
        background.run(case.runner.advance(step.id))
    assert list(case.training().epoch) == [0, 1]


def test_a_score_that_one_gives_up_is_still_made_for_another(tmp_path):
    with Stub(reply=versions, gate=True) as stub:
        case = make(stub, tmp_path / "case", small_task(), cache=tmp_path / "cache.sqlite")
        prompt = case.scorable(case[0], "validation")
        first, second = (background.submit(case.runner.score(prompt, "validation")) for _ in range(2))
        stub.wait_for(CONCURRENCY)
        first.cancel()
        stub.open_gate()
        assert len(second.result(20).answers) == 6
        assert len(stub.requests) == 6, "and paid once"


def test_a_case_without_a_training_score_has_an_empty_table_of_them(stub, tmp_path):
    table = make(stub, tmp_path / "case").training()
    assert table.empty and {"batches", "epoch", "accuracy", "low", "high"} <= set(table.columns)
