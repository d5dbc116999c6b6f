"""The prevalence check on a stub that gives a class up, and on one that learns it."""

import re

import pandas as pd
import pytest

import gradbook as gb
from gradbook.costs import plan
from gradbook.errors import CaseError
from gradbook.findings import ASKS
from gradbook.tell.findings import finding as tell
from small import WORDS, reply, small_task
from stub import Stub

CODES = {**WORDS, "grey": "K4"}
OFTEN = {"red": 20, "green": 20, "blue": 8, "grey": 8}


def uneven_task():
    """As the small task, but two of the codes are rarer than the others."""
    colours = [colour for colour, times in OFTEN.items() for _ in range(times)]
    rows = [
        (f"Item {n} is {colour}.", CODES[colour], split) for split in ("train", "validation", "test") for n, colour in enumerate(colours)
    ]
    frame = pd.DataFrame([(f"{split} {text}", code, split) for text, code, split in rows], columns=["text", "code", "split"])
    options = {
        "labels": list(CODES.values()),
        "answer": "label",
        "seed_prompt": "Give each item its code.",
        "format_instruction": "One code.",
    }
    return gb.Task.from_frame(frame, input="text", target="code", name="uneven", split="split", **options)


def hacking(messages, body):
    """It takes half of the red and green items for blue; under the new prompt it takes all that is blue or grey for green."""
    text = messages[-1]["content"]
    if messages[0]["role"] != "system":
        return "<prompt>Hack.</prompt>" if "Rules to add:" in text else "Do so."
    colour, number = re.search("(red|green|blue|grey)", text)[0], int(re.search(r"Item (\d+)", text)[1])
    if "Hack" in messages[0]["content"]:
        return "K1" if colour == "red" else "K2"
    return CODES[colour] if colour in ("blue", "grey") or number % 2 else "K3"


def make(stub, path, task=None, **settings):
    model = gb.connect("stub", base_url=stub.url, api_key="k", cache=False)
    method = gb.Method(**{"selection": "naive", "batch_size": 2} | settings)
    return gb.Case(path, task=task or small_task(test=12), model=model, method=method)


@pytest.fixture
def stub():
    with Stub(reply=reply) as stub:
        yield stub


def test_a_gain_that_costs_a_class_is_flagged_in_words(tmp_path):
    with Stub(reply=hacking) as stub:
        case = make(stub, tmp_path / "case", uneven_task())
        step = case.step()
        since = len(stub.requests)
        planned = ASKS["prevalence"].calls(case, step, split="test")
        found = case.prevalence(step, split="test")
        assert planned == {"predict": 2 * 3 * 56} and plan(case, planned).calls == len(stub.requests) - since
    check = found.check
    assert found.verdict == "flagged" and check.lost == ("K3", "K4") and ASKS["prevalence"].record is type(found)
    assert check.accuracy == pytest.approx((36 / 56, 40 / 56)) and check.balanced == pytest.approx((3 / 4, 2 / 4))
    said = str(found)
    assert said.startswith("The gain came from moving answers between classes: accuracy +")
    assert "K3 is answered in 0% of cases in place of" in said and "and rightly in 0% of those that are K3 in place of 100%" in said
    assert said.endswith("Always to say K1 would be right in 36%.")
    view = tell(case, found)
    assert view.good is False and view.sentence == said and len(view.bars) == 2 and view.bars[1].tone == "bad"
    rows = {row[0].text: [figure.text for figure in row[1:]] for row in view.grids[0].rows}
    assert rows["K4"][0] == "14.3%" and rows["K4"][2].endswith("↓ fewer") and not rows["K2"][2].endswith("fewer")
    assert view.code == f"case.prevalence({step.id}, split='test')"


def test_a_gain_that_takes_nothing_from_any_class_is_not(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    found = case.prevalence(step, split="test")
    assert found.verdict == "not flagged" and found.check.gain[0] > 0
    assert tell(case, found).good is None, "what few questions do not show is not in the clear"
    assert str(found).startswith("No class is shown to have paid for the gain: accuracy +")
    assert found.remarks == ("Too few examples are K1 or K2 or K3 for a loss there to be shown.",)
    back = case.prevalence(case[0].id + 1, step, split="test")
    assert (
        back.verdict == "no gain" and back.before == step.id and str(back).startswith("There is no gain to explain: accuracy +0.0 points")
    )
    assert "that of step 1" in tell(case, back).asked and tell(case, back).good is None


def test_what_is_on_record_is_used_and_costs_nothing(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    case.score(0, "test")
    case.score(step, "test")
    recording = gb.Recording(tmp_path / "case")
    since = len(stub.requests)
    alone = recording.prevalence(step, split="test")
    assert [len(rows) for rows in (alone.answered_before, alone.answered_after)] == [1, 1] and not alone.id
    assert ASKS["prevalence"].calls(case, step, split="test", replicates=1).total() == 0 and ASKS["prevalence"].calls(
        case, step, split="test"
    )
    once = case.prevalence(step, split="test", replicates=1)
    assert len(stub.requests) == since and once.check == alone.check and case.finding(once.id) == once
    thrice = case.prevalence(step, split="test")
    assert len(stub.requests) == since + 4 * 12 and thrice.id == once.id
    assert thrice.answered_after[0] == once.answered_after[0] and len(thrice.answered_after) == len(thrice.answered_before) == 3
    events = case.version
    assert case.prevalence(step, split="test") == case.prevalence(step, split="test", replicates=1) == thrice, "draws on record count"
    assert (len(stub.requests), case.version) == (since + 4 * 12, events)
    case.close()
    assert gb.Case(tmp_path / "case").prevalence(step, split="test").check == thrice.check
    with pytest.raises(CaseError, match="are not scored on train: open the case with a model"):
        gb.Recording(tmp_path / "case").prevalence(step, split="train")


def test_before_is_the_prompt_that_the_step_began_with(stub, tmp_path):
    case = make(stub, tmp_path / "case", selection="validated", candidates=2)
    case.run(batches=1)
    found = case.prevalence(1, replicates=1)
    assert found.split == "test" and case[1].prompt == case[0].prompt != case[1].chosen_prompt
    assert [found.labels[k] for k in found.answered_before[0]] == ["K1"] * 12, "the seed prompt has no rule yet"


def test_verdicts_of_a_critic_are_classes_too(stub, tmp_path):
    case = make(stub, tmp_path / "case", evaluation="critic-binary")
    case.run(batches=1)
    assert case.current.variable == "critic"
    found = case.prevalence(case.current, split="test", replicates=1)
    assert set(found.labels) == {"right", "wrong"} and found.verdict in ("flagged", "not flagged", "no gain")
    with pytest.raises(CaseError, match="has none that judges the same outputs"):
        case.prevalence(case.current, 0, split="test")


def test_items_of_a_sequence_are_questions_of_one_example(tmp_path):
    rows = [{"text": f"Say {n}", "target": target} for n, target in enumerate(["yes, no", "no, yes", "yes, yes"] * 6)]
    answer = gb.tasks.SequenceAnswer(labels=("no", "yes"))
    task = gb.Task.from_frame(pd.DataFrame(rows), input="text", target="target", answer=answer, sizes=(6, 6, 6), duplicates="keep")
    with Stub(reply=lambda messages, body: "yes, no" if messages[0]["role"] == "system" else "Say it.") as stub:
        case = make(stub, tmp_path / "case", task)
        found = case.prevalence(case.step(), split="test")
    assert found.examples == tuple(n for n in range(6) for _ in range(2)) and len(found.truth) == 12
    assert found.verdict == "no gain"


@pytest.mark.parametrize(
    ("task", "asked", "said"),
    [
        (lambda: gb.tasks.multistep_arithmetic(sizes=(2, 2, 2)), {}, "multistep_arithmetic has no classes to move answers between"),
        (lambda: small_task(test=3), {"split": "test"}, "test needs labels of two or more, and more examples than that"),
        (None, {"step": 0}, "step 0 holds the seed prompt, which gained nothing over another"),
        (None, {"replicates": 0}, "replicates must be 1 to 100, not 0"),
    ],
)
def test_what_cannot_be_checked_is_told_before_anything_is_asked(task, asked, said, tmp_path):
    def answer(messages, body):
        return "1" if task else reply(messages, body)

    with Stub(reply=answer) as stub:
        case = make(stub, tmp_path / "case", task and task())
        step = case.step()
        since = len(stub.requests)
        with pytest.raises(CaseError, match=re.escape(said)):
            case.prevalence(**{"step": step} | asked)
        assert len(stub.requests) == since and not case.found


def test_a_damaged_check_is_told(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    found = case.prevalence(case.step(), split="test", replicates=1)
    event = case.found[found.id]
    for harm in ({"labels": ["K1"]}, {"truth": [0]}, {"answered_after": [[0]]}, {"examples": [0]}):
        case._journal.append(event.model_copy(update={"result": event.result | harm}))
        with pytest.raises(CaseError, match="cannot be read"):
            case.finding(found.id)
