"""The prevalence check on labels: counts, and worlds with and without a planted hack."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook.errors import StatsError
from gradbook.stats import prevalence

LABELS = ("no", "unknown", "yes")


def world(rng, shares, before, after, examples=120, asked=1):
    """Truth and two sets of answers, each class right as often as said, wrong answers in any other class."""
    truth = rng.choice(len(shares), size=examples * asked, p=shares)
    truth[: len(shares)] = range(len(shares))
    answers = []
    for recall in (before, after):
        wrong = (truth + rng.integers(1, len(shares), truth.size)) % len(shares)
        answers.append(np.where(rng.random(truth.size) < np.array(recall)[truth], truth, wrong))
    ids = None if asked == 1 else np.repeat(range(examples), asked)
    return [[LABELS[k] for k in labels] for labels in (truth, *answers)], ids


def flags(worlds, *how, **more):
    """The share that is flagged, of worlds in which accuracy rose: where it did not, there is no gain to explain."""
    rng, found = np.random.default_rng(0), []
    while len(found) < worlds:
        (truth, before, after), ids = world(rng, *how, **more)
        checked = prevalence(truth, [before], [after], examples=ids)
        found += [checked.flagged] * (checked.gain[0] > 0)
    return sum(found) / worlds


@pytest.mark.parametrize(
    ("shares", "before", "after", "size"),
    [
        ((0.44, 0.12, 0.44), (0.5, 0.6, 0.5), (0.68, 0.02, 0.68), {"asked": 3}),
        ((0.3, 0.7), (0.6, 0.6), (0.1, 0.95), {}),
        ((0.2, 0.2, 0.6), (0.6, 0.6, 0.6), (0.15, 0.15, 0.98), {}),
        ((0.25, 0.75), (0.7, 0.5), (0.0, 1.0), {"examples": 60}),
    ],
)
def test_a_planted_hack_is_flagged(shares, before, after, size):
    assert flags(200, shares, before, after, **size) >= 0.95


@pytest.mark.parametrize("shares", [(0.44, 0.12, 0.44), (0.3, 0.7), (0.2, 0.2, 0.6)])
@pytest.mark.parametrize(
    "after", [(0.5, 0.5, 0.5), (0.7, 0.7, 0.7), (0.5, 0.5, 0.9), (0.5, 0.9, 0.5)], ids=["nothing", "all", "last only", "second only"]
)
@pytest.mark.parametrize("size", [{"asked": 3}, {"examples": 20}], ids=["120 of three", "20"])
def test_a_gain_that_takes_nothing_from_any_class_is_not_flagged(shares, after, size):
    assert flags(200, shares, (0.5, 0.5, 0.5)[: len(shares)], after[: len(shares)], **size) <= 0.05


@given(st.lists(st.sampled_from(LABELS), min_size=6, max_size=30), st.randoms(use_true_random=False))
def test_the_shares_are_counted(more, random):
    truth = [*LABELS, *more]
    before, after = ([random.choice([*LABELS, "(unparsed)"]) for _ in truth] for _ in range(2))
    found = prevalence(truth, [before], [after])
    assert found.accuracy[1] == pytest.approx(sum(a == t for a, t in zip(after, truth, strict=True)) / len(truth))
    for label in LABELS:
        asked = [a for a, t in zip(after, truth, strict=True) if t == label]
        assert found.recall[label][1] == pytest.approx(asked.count(label) / len(asked))
        assert found.answered[label][0] == pytest.approx(before.count(label) / len(before))
    assert found.balanced[0] == pytest.approx(sum(pair[0] for pair in found.recall.values()) / 3)
    assert found.constant[1] == max(truth.count(label) for label in LABELS) / len(truth)
    assert sum(share for _, share in found.answered.values()) == pytest.approx(1)


def test_always_the_commonest_answer_is_named_for_what_it_is():
    truth = ["yes"] * 60 + ["no"] * 20
    before = ["yes"] * 35 + ["no"] * 25 + ["no"] * 14 + ["yes"] * 6
    found = prevalence(truth, [before], [["yes"] * 80])
    assert found.flagged and found.lost == ("no",) and found.constant == ("yes", 0.75)
    assert found.gain[0] > 0 > found.gain[1] and found.answered["no"] == (39 / 80, 0.0)


def test_where_classes_are_as_many_a_trade_that_gains_is_no_matter_of_prevalence():
    truth = ["yes"] * 60 + ["no"] * 60
    found = prevalence(truth, [["yes"] * 20 + ["no"] * 40 + ["no"] * 60], [["yes"] * 60 + ["no"] * 40 + ["yes"] * 20])
    assert found.lost == ("no",) and found.gain[0] == pytest.approx(found.gain[1]) and not found.flagged


def test_several_questions_of_one_example_count_as_one():
    truth = ["yes"] * 90 + ["no"] * 30
    before, after = ["yes"] * 50 + ["no"] * 70, ["yes"] * 120
    assert prevalence(truth, [before], [after]).flagged
    lumped = [*range(10), *[k % 10 for k in range(80)], *[10 + k // 10 for k in range(30)]]
    assert not prevalence(truth, [before], [after], examples=lumped).flagged


@pytest.mark.parametrize(
    ("truth", "before", "examples", "said"),
    [
        (["yes"] * 4, [["yes"] * 4], None, "two classes"),
        (["yes", "no", "no"], [["yes"]], None, "all 3 questions"),
        (["yes", "no", "no"], [], None, "all 3 questions"),
        (["yes", "no", "no"], [["yes"] * 3], [0, 1], "example of each"),
        (["yes", "no", "no"], [["yes"] * 3], [0, 1, 1], "more examples"),
    ],
)
def test_what_cannot_be_checked_is_named(truth, before, examples, said):
    with pytest.raises(StatsError, match=said):
        prevalence(truth, before, before, examples=examples)
