"""What a person relies on in a noise budget: nested draws of what the method draws, nothing paid twice, shares that are the truth's."""

import random

import pytest

import gradbook as gb
from gradbook.errors import CaseError
from small import reply, small_task
from stub import Stub
from test_record import connect


def open_case(stub, path, **settings):
    return gb.Case(path, task=small_task(), model=connect(stub), method=gb.Method(**{"selection": "naive"} | settings))


@pytest.fixture
def stub():
    with Stub(reply=reply) as made:
        yield made


def test_draws_are_nested_and_cost_what_was_said_before(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    said, since = case.plan("noise", step, critiques=3, rewrites=2, answers=2), len(stub.requests)
    found = case.noise(step, critiques=3, rewrites=2, answers=2)
    assert found.counts == {"critiques": 3, "rewrites": 2, "answers": 2, "examples": 6} and len(found.right) == 72
    made = [s for s in case if s.replicate_of is not None]
    outer = [s for s in made if s.replicate_of == step.id]
    assert [s.fresh_from for s in outer] == ["output_critique"] * 3
    inner = [s for s in made if s.fresh_from == "rewrite"]
    assert sorted(s.replicate_of for s in inner) == sorted(s.id for s in outer), "the first rewrite is that of the critiques' own draw"
    assert all(s.output_critique == case[s.replicate_of].output_critique for s in inner)
    assert len(stub.requests) - since == 3 * (3 + 3 + 1) + 3 + 12 * 6 == said.calls
    since, lines = len(stub.requests), len((case.path / "journal.jsonl").read_text().splitlines())
    assert case.noise(step, critiques=3, rewrites=2, answers=2) == found and len(stub.requests) == since
    assert len((case.path / "journal.jsonl").read_text().splitlines()) == lines, "the same is not recorded twice"
    case.close()
    again = gb.Case(case.path)
    assert again.noise(1, critiques=3, rewrites=2, answers=2) == again.finding(found.id) == found
    with pytest.raises(CaseError, match="has no such noise of step 1"):
        again.noise(1, critiques=2)


@pytest.mark.parametrize(
    "settings, sources",
    [
        ({"selection": "validated", "candidates": 2}, ["critiques", "rewrites", "selections", "answers", "examples"]),
        ({"update": "one-step"}, ["rewrites", "answers", "examples"]),
        ({"update": "improve", "labels": "none"}, ["rewrites", "answers", "examples"]),
        ({"evaluation": "critic-binary"}, ["critiques", "rewrites", "answers", "examples"]),
        ({"selection": "random", "candidates": 3}, ["critiques", "rewrites", "selections", "answers", "examples"]),
    ],
)
def test_the_sources_are_those_that_the_method_draws_from(settings, sources, stub, tmp_path):
    case = open_case(stub, tmp_path / "case", **settings)
    step = case.step()
    said, since = case.plan("noise", step, critiques=2), len(stub.requests)
    found = case.noise(step, critiques=2)
    assert list(found.counts) == sources
    assert 0 < len(stub.requests) - since <= said.calls


def test_what_cannot_be_drawn_is_told(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    for wrong, message in (({"critiques": 0}, "1 to 9 draws, not critiques=0"), ({"answers": 1}, "two answers or more")):
        with pytest.raises(CaseError, match=message):
            case.noise(step, **wrong)
    with pytest.raises(CaseError, match="nothing to draw again"):
        case.noise(0)


def test_a_source_that_makes_all_the_noise_is_named(tmp_path):
    """Rewrites are good or bad by the toss of a coin; all else is sure."""

    def said(messages, body):
        if messages[0]["role"] == "system":
            right = "GOOD" in messages[0]["content"]
            colours = {"red": "K1", "green": "K2", "blue": "K3"}
            return f"Answer: {next(code for colour, code in colours.items() if colour in messages[-1]['content'])}" if right else "none"
        if "<prompt>" in messages[-1]["content"] or "rewrite" in messages[-1]["content"].lower():
            return f"<prompt>{random.Random(str(body['seed'])).choice(['GOOD', 'BAD'])} {body['seed']}</prompt>"
        return reply(messages, body)

    with Stub(reply=said) as stub:
        case = open_case(stub, tmp_path / "case")
        step = case.step()
        found = case.noise(step, critiques=4, rewrites=4, answers=2)
    assert found.largest == "rewrites" and "rewrites make most of it" in str(found)
    assert found.components.shares["answers"] < 0.1 and found.best in ("rewrites", "critiques")
    html = found._repr_html_()
    assert "Noise" not in html or "share of the variance" in html
