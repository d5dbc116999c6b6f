"""Hypotheses said beforehand: frozen, JSON, and a hash that any change of substance changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook.errors import StatsError
from gradbook.stats import Hypothesis, changed, registration

LOSS = Hypothesis(name="the loss matters", arms=("correct", "wrong"), family="loss")
TREND = Hypothesis(name="validation discovers", arms=("1", "3", "5"), doses=(1, 3, 5), margin=0.03, size=0.1)
PAIR = Hypothesis(name="the loss matters", arms=("correct", "none"), direction="differs", paired=True)
ALL = [LOSS, TREND, PAIR]


@given(st.permutations(ALL))
def test_the_hash_is_that_of_the_set_and_survives_json(order):
    again = [Hypothesis(**json.loads(h.model_dump_json())) for h in order]
    assert again == order
    assert registration(again, alpha=0.05, trials=10) == registration(ALL, trials=10, alpha=0.05)


def test_the_hash_stays_over_versions():
    assert registration(ALL, alpha=0.05) == "22e9e05550eb2619"


@pytest.mark.parametrize(
    "update",
    [{"margin": 0.04}, {"direction": "less"}, {"family": ""}, {"arms": ("wrong", "correct")}, {"expects": "a drop"}, {"size": 0.2}],
)
def test_any_change_changes_the_hash_and_is_told(update):
    now = [LOSS.model_copy(update=update), TREND, PAIR]
    assert registration(now) != registration(ALL)
    (name,) = update
    told = changed(ALL, now)
    assert told and ("arms" in update or f"{name} was {getattr(LOSS, name)!r} and is {update[name]!r}" in told[0])
    assert changed(ALL, ALL[::-1]) == ()


def test_what_was_fixed_beside_them_is_in_the_hash():
    assert len({registration(ALL), registration(ALL, trials=5), registration(ALL, trials=6), registration(ALL[:2])}) == 4


def test_what_was_added_or_dropped_is_told():
    assert changed([LOSS], [LOSS, TREND]) == ("'validation discovers' (1, 3, 5) was added.",)
    assert changed([LOSS, PAIR], [LOSS]) == ("'the loss matters' (correct, none) was dropped.",)


def test_it_is_frozen_and_knows_what_it_prices():
    with pytest.raises(Exception, match="frozen"):
        LOSS.margin = 0.5
    assert (LOSS.shown, TREND.shown, LOSS.sided, PAIR.sided) == (0.1, 0.1, 1, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"arms": ("a",)}, "compares two arms"),
        ({"arms": ("a", "a")}, "compares two arms"),
        ({"arms": ("a", "b", "c")}, "or more with a dose each, not a, b, c"),
        ({"arms": ("a", "b"), "doses": (1,)}, "a dose for each of its 2 arms"),
        ({"arms": ("a", "b"), "doses": (1, 1)}, "all different"),
        ({"arms": ("a", "b"), "doses": (1, 2), "paired": True}, "no pairs"),
        ({"arms": ("a", "b"), "margin": 0}, "margin=0"),
        ({"arms": ("a", "b"), "direction": "up"}, "direction='up'"),
        ({"arms": ("a", "b"), "doses": (1, float("nan"))}, "finite"),
        ({"arms": ("a", "b"), "marign": 0.1}, "marign=0.1"),
        ({"arms": ("a", "b"), "name": ""}, "name=''"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(wrong, said):
    with pytest.raises(StatsError, match=said):
        Hypothesis(**{"name": "p", **wrong})
