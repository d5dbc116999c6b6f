"""Metrics of a score: what is counted, and the interval of each number."""

import json
import math
import pickle
import time
from collections import Counter
from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

import gradbook as gb
from gradbook.metrics import Mean, Metrics, Share, flips
from gradbook.records import Answer
from gradbook.scores import Question, Score
from gradbook.tasks.answers import SequenceAnswer
from small import WORDS, reply, small_task
from stub import Stub

CODES = ("K1", "K2", "K3")


def answers(task: gb.Task, given: list[str | None], split: str = "train") -> list[Answer]:
    """Answers to the examples of a split; the n-th output is 10 n characters and n tokens long."""
    return [
        Answer(example=e.id, answer=said, correct=said == e.target, tokens=n, length=10 * n)
        for n, (e, said) in enumerate(zip(task.split(split), given, strict=True), start=1)
    ]


def wilson(count: int, total: int) -> tuple[float, float]:
    found = binomtest(count, total).proportion_ci(method="wilson")
    return found.low, found.high


def test_every_number_is_counted_by_hand():
    task = small_task(train=9)  # K1 K2 K3 K1 K2 K3 K1 K2 K3
    found = Metrics.of(answers(task, ["K1", "K2", None, "K2", "K1", "K3", "K1", "K2", "K1"]), task)
    assert (found.accuracy.count, found.accuracy.total) == (5, 9) and (found.unparsed.count, found.unparsed.total) == (1, 9)
    assert {code: (s.count, s.total) for code, s in found.recall.items()} == {"K1": (2, 3), "K2": (2, 3), "K3": (1, 3)}
    assert found.balanced == pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3)
    assert found.confusion == Counter(
        {("K1", "K1"): 2, ("K1", "K2"): 1, ("K2", "K2"): 2, ("K2", "K1"): 1, ("K3", "K3"): 1, ("K3", "K1"): 1, ("K3", "(unparsed)"): 1}
    )
    assert found.confused("K3", "K1").value == pytest.approx(1 / 3) and found.confused("K3", "(unparsed)").count == 1
    assert found.confused("K1", "K3") == Share(0, 3)
    for share in (found.accuracy, found.unparsed, *found.recall.values(), found.confused("K3", "K1")):
        assert share.interval == pytest.approx(wilson(share.count, share.total))
    assert found.length.value == 50 and found.tokens.value == 5 and found.tokens.total == 9
    assert found.length.interval == pytest.approx(t.interval(0.95, 8, loc=50, scale=10 * math.sqrt(7.5) / 3))


def test_balanced_accuracy_sees_what_accuracy_hides():
    """Answering the common class gives a good accuracy and a bad balanced one."""
    task = small_task(train=10)
    common = tuple(e.model_copy(update={"target": "K2" if n else "K1"}) for n, e in enumerate(task.train))
    task = gb.Task(**{**vars(task), "train": common})
    found = Metrics.of(answers(task, ["K2"] * 10), task)
    assert found.accuracy.value == 0.9 and found.balanced == 0.5 and found.recall["K1"].value == 0


given_answers = st.lists(st.sampled_from([*CODES, None]), min_size=1, max_size=12)


@given(given_answers, st.lists(st.sampled_from(CODES), min_size=12, max_size=12))
def test_shares_and_intervals_hold_together(said, targets):
    task = small_task(train=12)
    task = gb.Task(**{**vars(task), "train": tuple(e.model_copy(update={"target": c}) for e, c in zip(task.train, targets, strict=True))})
    found = Metrics.of(answers(task, said + [None] * (12 - len(said)))[: len(said)], task)
    classes = Counter(targets[: len(said)])
    assert found.accuracy.total == len(said) and sum(found.confusion.values()) == len(said)
    assert found.accuracy.count == sum(share.count for share in found.recall.values())
    assert {code: share.total for code, share in found.recall.items()} == {code: classes[code] for code in CODES}
    low, high = found.balanced_interval
    assert 0 <= low <= found.balanced + 1e-12 and found.balanced - 1e-12 <= high <= 1
    if len(classes) == 1:
        assert (low, high) == pytest.approx(found.accuracy.interval) and found.balanced == found.accuracy.value
    shares = [binomtest(found.recall[code].count, found.recall[code].total) for code in classes]
    narrowest = min(high - low for low, high in (found.recall[code].interval for code in classes))
    assert high - low <= max(b - a for a, b in (share.proportion_ci(method="wilson") for share in shares)) + 1e-12
    assert len(classes) == 1 or narrowest == 0 or high - low > 0
    assert sum(found.confused(true, said).count for true in CODES for said in (*CODES, "(unparsed)")) == len(said)


def test_more_examples_make_the_interval_of_balanced_accuracy_narrower():
    widths = []
    for n in (6, 30, 150):
        task = small_task(train=n)
        low, high = Metrics.of(answers(task, ["K1", "K2", "K1"] * (n // 3)), task).balanced_interval
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2] > 0


def test_a_class_without_examples_has_no_share_and_no_say():
    task = small_task(train=2)  # K1 and K2 alone
    found = Metrics.of(answers(task, ["K1", "K3"]), task)
    assert found.recall["K3"].total == 0 and math.isnan(found.recall["K3"].value) and all(map(math.isnan, found.recall["K3"].interval))
    assert found.balanced == 0.5 and not any(map(math.isnan, found.balanced_interval))


def test_where_there_is_nothing_to_count_nothing_is_claimed():
    assert math.isnan(Share(0, 0).value) and all(map(math.isnan, Share(0, 0).interval))
    nothing = Mean.of([])
    assert math.isnan(nothing.value) and all(map(math.isnan, nothing.interval)) and nothing.total == 0
    one = Mean.of([7])
    assert (one.value, one.total) == (7, 1) and all(map(math.isnan, one.interval))
    found = Metrics.of([], small_task())
    assert math.isnan(found.accuracy.value) and math.isnan(found.balanced) and all(map(math.isnan, found.balanced_interval))


def test_outputs_whose_length_was_not_recorded_are_left_out():
    task = small_task(train=3)
    found = [
        Answer(example=e.id, answer="K1", correct=False, tokens=4, length=length)
        for e, length in zip(task.train, (None, 10, 20), strict=True)
    ]
    metrics = Metrics.of(found, task)
    assert (metrics.length.value, metrics.length.total, metrics.tokens.total) == (15, 2, 3)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=50))
def test_a_mean_has_the_interval_of_scipy(values):
    found, series = Mean.of(values), pd.Series(values, dtype=float)
    assert (found.value, found.total) == (pytest.approx(series.mean()), len(values))
    expected = t.interval(0.95, len(values) - 1, loc=series.mean(), scale=series.sem()) if series.std() else (series.mean(),) * 2
    assert found.interval == pytest.approx(expected)


def test_numbers_and_texts_have_no_classes():
    task = gb.tasks.multistep_arithmetic()
    found = Metrics.of([Answer(example=e.id, answer=e.target, correct=True, tokens=1, length=2) for e in task.train], task)
    assert found.accuracy.value == 1 and found.recall == {} and math.isnan(found.balanced) and all(map(math.isnan, found.balanced_interval))


def test_each_item_of_a_list_counts_in_recall():
    frame = pd.DataFrame({"input": ["a", "b", "c"], "target": ["yes, no", "no, no", "yes, yes"]})
    task = gb.Task.from_frame(frame, sizes=(1, 1, 1), answer=SequenceAnswer(labels=("yes", "no"), length=2))
    example = next(e for split in ("train", "validation", "test") for e in task.split(split) if e.target == "yes, no")
    found = Metrics.of([Answer(example=example.id, answer="yes, yes", correct=False)], task)
    assert {label: (s.count, s.total) for label, s in found.recall.items()} == {"yes": (1, 1), "no": (0, 1)}
    assert found.accuracy.value == 0 and found.balanced == 0.5 and found.confusion[("no", "yes")] == 1
    unparsed = Metrics.of([Answer(example=example.id, answer=None, correct=False)], task)
    assert unparsed.confusion == Counter({("yes", "(unparsed)"): 1, ("no", "(unparsed)"): 1}) and unparsed.unparsed.value == 1


# --- a critic's ------------------------------------------------------------------------------------------------------------


def test_a_critics_metrics_are_its_agreement():
    task = small_task(train=6)
    said = [("right", "right"), ("wrong", "right"), ("wrong", "wrong"), ("right", "wrong"), (None, "wrong"), ("90", "right")]
    right = [True, False, True, False, False, True]
    found = Metrics.of(
        [
            Answer(example=e.id, answer=answer, correct=correct, target=target)
            for e, (answer, target), correct in zip(task.train, said, right, strict=True)
        ],
        task,
    )
    assert (found.accuracy.count, found.accuracy.total, found.unparsed.count) == (3, 6, 1)
    assert {label: (s.count, s.total) for label, s in found.recall.items()} == {"right": (2, 3), "wrong": (1, 3)}
    assert found.balanced == pytest.approx(0.5)
    assert found.confusion == Counter(
        {("right", "right"): 2, ("right", "wrong"): 1, ("wrong", "wrong"): 1, ("wrong", "right"): 1, ("wrong", "(unparsed)"): 1}
    )
    assert found.confused("right", "wrong").interval == pytest.approx(wilson(1, 3))


@pytest.mark.parametrize("evaluation", ["critic-binary", "critic-score"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_what_a_case_scores_on_any_split_is_what_the_models_said(evaluation, split, tmp_path):
    with Stub(reply=reply) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
        case = gb.Case(
            tmp_path / "case", task=small_task(9, 12, 6), model=model, method=gb.Method(evaluation=evaluation, selection="naive")
        )
        step, turn = case.step(), case.step()
        of_task, of_critic = case.score(step, split), case.score(turn, split)
        examples = case.task.split(split)
        reds = sum(e.target == "K1" for e in examples)
        assert (of_task.accuracy.count, of_task.accuracy.total) == (reds, len(examples)), "without a rule it says K1"
        assert {code: (s.count, s.total) for code, s in of_task.recall.items()} == {c: (reds * (c == "K1"), reds) for c in CODES}
        assert of_task.length.value == 2 and of_task.tokens.value == 1 and of_task.length.interval == pytest.approx((2, 2))
        assert of_critic.accuracy.value == 1.0 and set(of_critic.recall) == {"right", "wrong"}
        assert (of_critic.recall["right"].total, of_critic.recall["wrong"].total) == (reds, len(examples) - reds)
        assert of_critic.length.value > 10 and case.metrics(turn, split, variable="prompt") == of_task
        table = case.scores().set_index("variable")
        row = table[table.split == split].loc["critic"]
        assert (row.n, row.accuracy, row.balanced, row["recall wrong"]) == (len(examples), 1.0, 1.0, 1.0) and math.isnan(row["recall K1"])


def test_flips_name_what_changed():
    task = small_task(train=6)
    before = Score(question=Question(prompt="a", split="train"), answers=tuple(answers(task, ["K1", "K1", "K1", None, "K2", "K3"])))
    after = Score(question=Question(prompt="b", split="train"), answers=tuple(answers(task, ["K1", "K2", "K2", "K1", "K1", "K3"])))
    found = flips(before, after)
    assert [(f.example, f.before, f.after, f.kind) for f in found] == [
        ("train-1", "K1", "K2", "fixed"),
        ("train-3", None, "K1", "fixed"),
        ("train-4", "K2", "K1", "broken"),
        ("train-2", "K1", "K2", "still wrong"),
    ]
    assert list(WORDS.values()) == list(CODES)


# --- many labels -------------------------------------------------------------------------------------------------------------


def many(labels: int) -> gb.Task:
    """A task of which each example has a label of its own."""
    frame = pd.DataFrame({"input": [f"q{n}" for n in range(labels)], "target": [f"class number {n}" for n in range(labels)]})
    return gb.Task.from_frame(frame, answer="label", sizes=(0.1, 0.1, 0.8))


def seconds(of: Callable[[], object]) -> float:
    """The shortest of three."""
    took = []
    for _ in range(3):
        start = time.thread_time()
        of()
        took.append(time.thread_time() - start)
    return min(took)


def test_twenty_thousand_labels_are_counted_in_proportion_to_the_replies():
    small, large = many(2_000), many(20_000)
    few = seconds(lambda: Metrics.of(answers(small, [e.target for e in small.test], "test"), small))
    ten_times = seconds(lambda: Metrics.of(answers(large, [e.target for e in large.test], "test"), large))
    assert ten_times < 40 * few, "labels times replies would be a hundred times as long"
    found = Metrics.of(answers(large, [e.target for e in large.test], "test"), large)
    assert found.balanced == found.accuracy.value == 1 and len(found.recall) == 20_000
    assert seconds(lambda: [large.parse(f"Answer: {e.target}") for e in large.test[:500]]) < 0.5
    assert seconds(lambda: [large.correct("class number 7", e.target) for e in large.test[:500]]) < 0.05


def test_of_many_classes_the_commonest_are_shown_with_a_sentence():
    task = many(200)
    given = answers(task, [None] * 160, "test")
    found = Metrics.of([*given, given[7], given[7], given[3]], task)
    classes, told = found.shown()
    assert (len(classes), *classes[:2]) == (30, task.test[7].target, task.test[3].target)
    assert told == "Of 200 classes the 30 with the most examples are shown."
    assert found.shown(200) == (list(task.labels), "")
    for text in (repr(task), many(300).format_instruction, many(300).answer.expected()):
        assert len(text) < 400 and "class number 0" in text
    assert "the 300 labels class number 0, class number 1, class number 10, " in many(300).format_instruction
    assert all(label in task.format_instruction for label in task.labels), "some two hundred are named"


def test_a_task_whose_labels_were_read_is_compared_and_pickled_as_before():
    task = small_task()
    assert task.parse("Answer: K2") == "K2"
    other = pickle.loads(pickle.dumps(task))
    assert other == task == small_task() and other.parse("Answer: K2") == "K2" and "find" not in json.dumps(task.settings())
