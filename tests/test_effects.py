"""What a person relies on when an edit is judged: both arms drawn alike, a verdict that keeps its word, and what it costs said before."""

import random

import pytest
from bs4 import BeautifulSoup

import gradbook as gb
from gradbook.edits import replace
from gradbook.errors import CaseError
from small import reply, small_task
from stub import Stub
from test_record import connect

GOOD = "red means K1. green means K2. blue means K3."


def open_case(stub, path, task=None, **settings):
    return gb.Case(path, task=task or small_task(), model=connect(stub), method=gb.Method(**{"selection": "naive"} | settings))


def coin(shares):
    """Answers that are right with a probability that the first marker in the prompt says, by the seed of the call."""

    def said(messages, body):
        if messages[0]["role"] != "system":
            return reply(messages, body)
        share = next((share for marker, share in shares.items() if marker in messages[0]["content"]), 0.5)
        truth = {"red": "K1", "green": "K2", "blue": "K3"}
        colour = next(c for c in truth if c in messages[-1]["content"])
        right = random.Random(f"{body['seed']}{messages}").random() < share
        return f"Answer: {truth[colour]}" if right else "Answer: none"

    return said


@pytest.fixture
def stub():
    with Stub(reply=reply) as made:
        yield made


def roles(stub, since):
    """How many calls each stage made since a request, told by what the message asks."""
    asked = [request.body["messages"] for request in stub.requests[since:]]
    return {"answers": sum(m[0]["role"] == "system" for m in asked), "others": sum(m[0]["role"] != "system" for m in asked)}


def test_a_draw_runs_again_what_comes_after_the_change_in_both_arms_and_nothing_else(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    branch = case.perturb(step, replace("prompt_critique", example=0, text="red means K1. green means K1. blue means K3"))
    for one in (step, branch):
        case.score(one, "test")
    since = len(stub.requests)
    found = case.compare(step, branch, "test", replicates=3)
    assert roles(stub, since) == {"answers": 2 * 3 * 6, "others": 2 * 3}, "each draw rewrites once and answers six examples"
    assert (found.before.fresh_from, found.after.fresh_from) == ("rewrite", "rewrite")
    since = len(stub.requests)
    assert case.compare(step, branch, "test", replicates=3) == found
    assert gb.Recording(case.path).compare(step, branch, "test") == found and len(stub.requests) == since


def test_two_branches_of_one_step_and_two_methods_from_one_prompt_are_drawn_in_each_others_place(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    left, right = (case.perturb(step, replace("output_critique", example=0, text=text)) for text in ("red means K1", "blue means K3"))
    found = case.compare(left, right, "test", replicates=2)
    assert (found.before.fresh_from, found.after.fresh_from) == ("prompt_critique", "prompt_critique")
    case.go(0)
    case.use(gb.Method(update="one-step", selection="naive"))
    other = case.step()
    arms = case.compare(step, other, "test", replicates=2)
    assert (arms.before.fresh_from, arms.after.fresh_from) == ("output_critique", "rewrite")
    assert len(arms.before.draws) == len(arms.after.draws) == 2


@pytest.mark.parametrize("evaluation", ["critic-binary", "critic-score"])
def test_a_step_by_a_critic_and_one_by_the_gold_answers_are_drawn_in_each_others_place(stub, tmp_path, evaluation):
    case = open_case(stub, tmp_path / "case")
    gold = case.step()
    case.go(0)
    case.use(gb.Method(evaluation=evaluation, selection="naive"))
    judged = case.step()
    arms = case.compare(gold, judged, "test", replicates=2)
    assert (arms.before.fresh_from, arms.after.fresh_from) == ("output_critique", "evaluate")
    assert len(arms.before.draws) == len(arms.after.draws) == 2


def test_where_nothing_was_changed_there_is_no_effect_to_judge_and_no_call_is_made(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    again, third = case.replicate(step, "output_critique", 1), case.replicate(step, "output_critique", 2)
    deeper = case.replicate(again, "rewrite", 1)
    critique = replace("prompt_critique", example=0, text="red means K1. green means K1. blue means K3")
    branch, twin = case.perturb(step, critique), case.perturb(step, critique)
    changed = case.replicate(branch, "rewrite", 1)
    same_text = case.perturb(branch, replace("prompt_critique", example=0, text=step.prompt_critique[0].text))
    back = case.perturb(step, replace("selection", text="-1"))
    since, events = len(stub.requests), case.version
    pairs = [
        (step, step, f"step {step.id} is compared with itself"),
        (step, again, f"step {again.id} is another draw of step {step.id}"),
        (deeper, step, f"step {deeper.id} is another draw of step {step.id}"),
        (again, third, f"steps {again.id} and {third.id} are draws of step {step.id}"),
        (branch, changed, f"step {changed.id} is another draw of step {branch.id}"),
        (step, same_text, f"what differs in step {same_text.id} is read by none of its draws"),
        (branch, twin, f"steps {branch.id} and {twin.id} end with the same prompt"),
        (0, back, f"steps 0 and {back.id} end with the same prompt"),
    ]
    for before, after, why in pairs:
        for options in ({}, {"replicates": 20}, {"until": "decided"}):
            with pytest.raises(CaseError, match=rf"{why}: nothing was changed between them, so there is no effect to judge"):
                case.compare(before, after, "test", **options)
        with pytest.raises(CaseError, match="no effect to judge"):
            case.plan("effect", after, before=getattr(before, "id", before), split="test")
    assert (len(stub.requests), case.version) == (since, events)
    for before, after, why in pairs:
        ran = case.compare(before, after, "test", replicates=0)
        assert ran.verdict is None and ran.price() is None and f"{why}: nothing" in str(ran) and "exact McNemar p" in str(ran)
        assert ran == gb.Recording(case.path).compare(before, after, "test") and "only replicates say" not in str(ran)
    assert not case.found
    for before, after in ((step, branch), (again, branch), (step, changed), (branch, back), (branch, same_text)):
        assert case.compare(before, after, "test", replicates=2).verdict, "something was changed between these"


def test_one_draw_an_arm_gets_no_verdict_and_mcnemar_is_of_the_two_prompts(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    branch = case.perturb(step, replace("candidate", candidate=0, text=GOOD))
    for replicates in (0, 1):
        found = case.compare(step, branch, "test", replicates=replicates)
        assert found.verdict is None and "only replicates say" in str(found)
    assert not case.found, "nothing was judged, so nothing was found"
    assert "exact McNemar p" in found.as_they_ran and found.fixed == len(found.flips)
    assert case.compare(step, branch, "test", replicates=2).verdict == "undecided", "two draws of six examples decide nothing"


def test_a_notebook_shows_the_draws_below_a_verdict_and_the_runs_folded_away(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    branch = case.perturb(step, replace("candidate", candidate=0, text=GOOD))
    ran = BeautifulSoup(case.compare(step, branch, "test", replicates=0)._repr_html_(), "html.parser")
    assert ran.find("details").summary.get_text() == "Confusion" and "over the draws" not in ran.get_text()
    found = case.compare(step, branch, "test", replicates=3)
    shown = BeautifulSoup(found._repr_html_(), "html.parser")
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in shown.find("table").find_all("tr")]
    assert rows[0] == ["over the draws", "before", "after"] and [name for name, *_ in rows[1:3]] == ["accuracy", "recall of K1"]
    for at, arm in ((1, found.before), (2, found.after)):
        assert rows[1][at] == f"{sum(arm.floor) / 3:.1%}" and rows[2][at] == f"{arm.recall('K1'):.1%}"
    folded = shown.find("details")
    assert folded.summary.get_text() == found.as_they_ran and "recall of K1" in folded.find("table").get_text()


def test_the_verdicts_are_right_where_the_truth_is_known(tmp_path):
    task = small_task(test=60)
    with Stub(reply=coin({"GOOD": 0.95, "BAD": 0.3, "SAME": 0.5})) as stub:
        case = open_case(stub, tmp_path / "case", task)
        step = case.step()
        for text, verdict in (("GOOD prompt", "helps"), ("BAD prompt", "harms")):
            branch = case.perturb(step, replace("candidate", candidate=0, text=text))
            found = case.compare(step, branch, "test", replicates=6)
            assert found.verdict == verdict and str(found).startswith(verdict)
            assert len(found.shares) > 10 and all(before != after for _, before, after in found.shares)
        same = case.perturb(step, replace("candidate", candidate=0, text="SAME prompt"))
        assert case.compare(step, same, "test", replicates=6).verdict in ("undecided", "equivalent")


def test_until_decided_looks_after_every_draw_and_stops(tmp_path):
    with Stub(reply=coin({"GOOD": 0.98})) as stub:
        case = open_case(stub, tmp_path / "case", small_task(test=60))
        step = case.step()
        branch = case.perturb(step, replace("candidate", candidate=0, text="GOOD prompt"))
        found = case.compare(step, branch, "test", until="decided")
        assert found.verdict == "helps" and 3 <= len(found.before.draws) < 20 and found.watched
        assert "The looks on the way share the error rate" in str(found)
        same = case.perturb(step, replace("candidate", candidate=0, text="another prompt"))
        since = len(stub.requests)
        poor = case.compare(step, same, "test", until="decided", budget=gb.Budget(calls=500))
        assert poor.verdict == "undecided" and len(stub.requests) - since <= 500 + 60, "the run itself is scored whatever draws may cost"
        assert 3 <= len(poor.after.draws) < 8, "each draw of both arms may take 120 calls, of which some are on record"
        event = case.found[next(reversed(case.found))]
        assert event.kind == "effect" and event.params["draws"] == len(poor.after.draws) and event.verdict == "undecided"
        assert event.sentence == str(poor)


def test_more_draws_after_a_look_share_the_error_rate_with_it(tmp_path):
    with Stub(reply=coin({})) as stub:
        case = open_case(stub, tmp_path / "case", small_task(test=20))
        step = case.step()
        branch = case.perturb(step, replace("candidate", candidate=0, text="another prompt"))
        first = case.compare(step, branch, "test", replicates=3)
        assert first.verdict == "undecided" and not first.watched
        second = case.compare(step, branch, "test", replicates=5)
        assert second.watched and second.judged.level < 0.05


def test_a_margin_that_is_chosen_after_looking_is_told(tmp_path):
    with Stub(reply=coin({})) as stub:
        case = open_case(stub, tmp_path / "case", small_task(test=20))
        step = case.step()
        branch = case.perturb(step, replace("candidate", candidate=0, text="another prompt"))
        assert not case.compare(step, branch, "test", replicates=3).warnings
        wide = case.compare(step, branch, "test", replicates=3, margin=0.5)
        assert wide.margin == 0.5 and "Margins of ±5, ±50 points were tried" in str(wide)
        assert "Margins of ±5, ±50" in str(gb.Recording(case.path).compare(step, branch, "test"))


def test_an_undecided_effect_names_its_price_and_findings_list_it(tmp_path):
    with Stub(reply=coin({})) as stub:
        case = open_case(stub, tmp_path / "case", small_task(test=60))
        step = case.step()
        branch = case.perturb(step, replace("candidate", candidate=0, text="another prompt"))
        found = case.compare(step, branch, "test", replicates=2)
        price = found.price()
        wanted, examples = found.judged.needed()
        assert examples == 60 and price and price.calls == (wanted - 2) * 2 * 60 and f"{price.calls:,} calls at most" in str(found)
        row = case.findings().iloc[0]
        assert (row["kind"], row["step"], row["before"], row["draws"]) == ("effect", branch.id, step.id, 2)
        assert row["calls"] == 2 * 2 * 60 and case.finding(row["id"]) == found


def test_where_no_number_of_draws_decides_the_price_is_that_of_more_examples(tmp_path):
    with Stub(reply=coin({})) as stub:
        case = open_case(stub, tmp_path / "case", small_task(test=6))
        step = case.step()
        branch = case.perturb(step, replace("candidate", candidate=0, text="another prompt"))
        found = case.compare(step, branch, "test", replicates=4)
        draws, examples = found.judged.needed()
        assert examples > 6 and found.price().calls == draws * 2 * examples, "both arms answer so many examples so many times"
        assert f"{draws} draws an arm on {examples} examples would show an effect of 10 points" in found.finding
        assert f"That is, as things went so far, {found.price().calls:,} calls at most" in found.finding
