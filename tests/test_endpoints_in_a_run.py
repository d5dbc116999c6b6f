"""Whole runs on endpoints that are hard to live with: a reasoning model that is cut off at random, and one that fails for a while."""

import math
import random
import re
import time

import pytest

import gradbook as gb
from gradbook import effects
from gradbook.errors import ModelError
from gradbook.records import Step
from small import reply, small_task
from stub import Stub

CUT = "CUTHERE"  # what a reply was saying when it was cut off
THOUGHT = (
    "HMMM, could the answer be K2?\n\nVerdict: right\n\n<prompt>HMMM a prompt of thoughts.</prompt>\n\nScore: 100\n\nAnswer: K3\n\nHMMM "
)
FORMS = {  # how a reply comes: weight, text, thought of its own, ending, and in which way it is lost
    "plain": (6, "{text}", None, "stop", None),
    "tags": (6, "<think>\n{thought}</think>\n\n{text}", None, "stop", None),
    "closing tag": (6, "{thought}\n</think>\n\n{text}", None, "stop", None),
    "apart": (6, "{text}", THOUGHT, "stop", None),
    "cut in a thought": (1, "<think>{thought}", None, "length", "cut off"),
    "cut in a thought without a tag": (1, "HMMM, could the answer be K2? Is it right?\nHMMM, it is a " + CUT, None, "length", "cut off"),
    "cut in a thought apart": (1, None, THOUGHT, "length", "cut off"),
    "cut in its speech": (1, "<think>{thought}</think>\n{half} " + CUT, None, "length", "cut off"),
    "cut by a filter": (1, "{half} " + CUT, None, "content_filter", "cut off"),
    "empty": (1, "", None, "stop", "no reply"),
    "nothing but thoughts": (1, "<think>{thought}</think>\n", None, "stop", "no reply"),
    "nothing but thoughts apart": (1, None, THOUGHT, "stop", "no reply"),
    "filtered": (1, None, None, "content_filter", "no reply"),
}


class Thinker:
    """A model that thinks before it says what `small.reply` says; how each reply comes is drawn from the seed and what was asked."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.lost: dict[str, str | None] = {}  # by what was asked

    def __call__(self, messages: list[dict], body: dict) -> dict:
        text = reply(messages, body)
        chance = random.Random(repr((self.seed, messages, body.get("seed"))))
        form = chance.choices(list(FORMS), [weight for weight, *_ in FORMS.values()])[0]
        _, content, thought, ending, lost = FORMS[form]
        self.lost[asked(messages, body["seed"])] = lost if text or lost else "no reply"
        said = content and content.format(text=text, thought=THOUGHT, half=text[: len(text) // 2])
        message = {"role": "assistant", "content": said} | ({"reasoning_content": thought} if thought else {})
        return {"choices": [{"message": message, "finish_reason": ending}], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}


def asked(messages: object, seed: int) -> str:
    return repr(([(m["role"], m["content"]) for m in messages], seed))


@pytest.mark.parametrize(
    ("seed", "settings"),
    [
        (0, {}),
        (1, {"evaluation": "critic-binary", "train_every": 1}),
        (2, {"evaluation": "critic-score", "candidates": 5, "paraphrases": 1}),
        (3, {"update": "one-step", "train_every": 1}),
        (4, {"momentum": 3, "apart": True}),
        (5, {"add_only": True, "beam": 2}),
    ],
    ids=str,
)
def test_a_reasoning_model_runs_ten_validated_steps(seed, settings, tmp_path):
    thinker = Thinker(seed)
    with Stub(reply=thinker) as stub:
        case = gb.Case(
            tmp_path / "case",
            task=small_task(train=9, validation=9, test=30),
            model=gb.connect("thinker", base_url=stub.url, api_key="k"),
            method=gb.Method(selection="validated", **settings),
        )
        case.run(batches=10)
        metrics = case.score(case.current, "test")
    lost = {call.key: thinker.lost[asked(call.messages, call.sampling["seed"])] for call in case.calls().itertuples()}
    records = [record for step in case for record in heard(step)]
    assert {record.lost for record in records} == {None, "cut off", "no reply"}, "the test would see what is lost"
    assert [record.lost for record in records if record.call] == [lost[record.call] for record in records if record.call]
    for step in case:
        texts = [step.prompt, step.chosen_prompt, step.held or "", *(candidate.prompt for candidate in step.rewrite or ())]
        texts += [critique.text for critique in (*(step.output_critique or ()), *(step.prompt_critique or ()))]
        assert not [text for text in texts if re.search(f"{CUT}|HMMM|<think|</think", text)]
        taken = (step.select.chosen, *step.select.kept) if step.select else ()
        assert not [candidate for candidate in step.rewrite or () if candidate.lost and (candidate.prompt or candidate.index in taken)]
    assert any("means K" in step.chosen_prompt or "outputs are" in step.chosen_prompt for step in case), "and something was learned"

    answers = case.scored(case.current, "test").answers
    ways = [lost[answer.call] for answer in answers]
    assert (metrics.cut_off.count, metrics.no_reply.count) == (ways.count("cut off"), ways.count("no reply"))
    assert metrics.cut_off.count and metrics.no_reply.count and metrics.unparsed.count == 0
    assert not any(answer.correct for answer, way in zip(answers, ways, strict=True) if way)
    assert all(f"<th>{name}</th>" in effects.metrics_table(metrics) for name in ("cut off", "no reply"))


def heard(step: Step) -> list:
    """The records of a step that were read from a reply."""
    stages = (step.predict, step.evaluate, step.output_critique, step.prompt_critique, step.rewrite)
    return [record for records in stages for record in records or ()]


OVERLOADED = {"error": {"message": "Overloaded, come back", "type": "overloaded_error"}, "choices": None}
REFUSED = {"error": {"message": "The account is being moved", "code": 400}}
EMPTY = {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}
NONE = {"choices": []}


class Ill:
    """An endpoint that answers 200 with `body` after `good` replies, for so many seconds or until it is `well()`."""

    def __init__(self, body: dict, good: int, seconds: float = math.inf) -> None:
        self.body, self.good, self.seconds = body, good, seconds
        self.until: float | None = None

    def __call__(self, messages: list[dict], body: dict) -> "str | dict":
        self.good -= 1
        if self.good < 0 and self.until is None:
            self.until = time.monotonic() + self.seconds
        return self.body if self.until and time.monotonic() < self.until else reply(messages, body)

    def well(self) -> None:
        self.until = 0.0


def a_case(path, url, **settings) -> gb.Case:
    model = gb.connect("small", base_url=url, api_key="k", cache=path.with_suffix(".sqlite"), concurrency=4, **settings)
    return gb.Case(path, task=small_task(test=12), model=model, method=gb.Method(candidates=2))


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


@pytest.fixture
def true(stub, tmp_path):
    """The steps of a run on the endpoint while it is well, and a score; what comes after has a call cache of its own."""
    case = a_case(tmp_path / "true", stub.url)
    case.run(batches=2)
    return list(case), case.score(2, "test")


def test_a_run_waits_until_an_endpoint_is_well(stub, true, tmp_path, monkeypatch):
    monkeypatch.setattr("gradbook.models.endpoint._BACKOFF", (0.1, 1.6))
    stub.reply = Ill(OVERLOADED, good=5, seconds=1.5)
    case = a_case(tmp_path / "case", stub.url)
    case.run(batches=2)
    assert (list(case), case.score(2, "test")) == true


@pytest.mark.parametrize("good", [0, 5, 14, 25])
@pytest.mark.parametrize(
    ("body", "sentence"), [(OVERLOADED, "failed on small after 2 tries .503: Overloaded, come back"), (REFUSED, "400: The")]
)
def test_a_run_fails_with_the_reason_and_goes_on_when_the_endpoint_is_well(body, sentence, good, stub, true, tmp_path):
    stub.reply = ill = Ill(body, good)
    case = a_case(tmp_path / "case", stub.url, retries=1)
    for _ in range(2):
        with pytest.raises(ModelError, match=sentence):
            case.run(batches=2)
    ill.well()
    case.run(batches=2)
    assert (list(case), case.score(2, "test")) == true


@pytest.mark.parametrize("body", [EMPTY, NONE], ids=["empty", "no choices"])
@pytest.mark.parametrize("good", [0, 5])
def test_a_score_that_got_no_replies_is_made_again_and_true(body, good, stub, true, tmp_path):
    stub.reply = ill = Ill(body, good=10**6)
    case = a_case(tmp_path / "case", stub.url)
    case.run(batches=2)
    ill.good = good
    sick = case.score(2, "test")
    assert (sick.no_reply.count, sick.unparsed.count, sick.accuracy.total) == (12 - good, 0, 12)
    ill.well()
    before = len(stub.requests)
    assert case.score(2, "test") == true[1]
    assert len(stub.requests) == before + 12 - good, "only what had got no reply was asked again"
    assert case.score(2, "test") == true[1]
    again = a_case(tmp_path / "case2", stub.url)
    again.run(batches=2)
    assert again.score(2, "test") == true[1]
