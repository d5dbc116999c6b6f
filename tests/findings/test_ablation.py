"""The section map on a stub that follows a planted prompt, checked call by call; and whose words sections carry."""

import random
import re
from collections import Counter
from concurrent.futures import CancelledError

import pytest

import gradbook as gb
from gradbook import background
from gradbook.costs import plan
from gradbook.errors import CaseError
from gradbook.findings import ASKS
from gradbook.findings.ablation import ablate_calls
from gradbook.findings.ancestry import ancestry
from gradbook.findings.section_map import Draw, SectionMap
from gradbook.findings.sections import sections, without
from gradbook.tell.findings import finding as tell
from small import WORDS, reply, small_task
from stub import Stub

PLANTED = "Give each item its code. red means K1. Be polite. blue means K3. Think first. green means K1."
TEST = 30


def noisy(messages, body):
    """Follows the rules of its prompt, but for one answer in ten, and without one it does not answer."""
    if messages[0]["role"] != "system":
        return reply(messages, body)
    rules = dict(re.findall(r"(red|green|blue) means (K\d)", messages[0]["content"]))
    said = rules.get(
        next(c for c in WORDS if c in messages[-1]["content"]), "K2" if "green means" not in messages[0]["content"] else "none"
    )
    return said if random.Random(f"{body['seed']}{messages}").random() < 0.95 else "none"


@pytest.fixture
def stub():
    with Stub(reply=noisy) as made:
        yield made


def open_case(stub, path, **settings):
    model = gb.connect("stub", base_url=stub.url, api_key="k", cache=False, concurrency=8)
    method = gb.Method(**{"selection": "naive", "batch_size": 1} | settings)
    return gb.Case(path, task=small_task(test=TEST), model=model, method=method)


def planted(stub, path, text=PLANTED, **settings):
    case = open_case(stub, path, **settings)
    return case, case.perturb(case.step(), gb.edits.replace("candidate", candidate=0, text=text))


def asked(stub, since, case):
    """How often each prompt answered, with the format instruction behind it taken off."""
    said = [request.body["messages"][0]["content"] for request in stub.requests[since:]]
    tail = f"\n\n{case.task.format_instruction}"
    assert all(text.endswith(tail) for text in said), "the format instruction follows every prompt"
    return Counter(text.removesuffix(tail) for text in said)


def test_a_planted_prompt_is_mapped_call_by_call(stub, tmp_path):
    case, step = planted(stub, tmp_path / "case")
    spans, since = sections(PLANTED), len(stub.requests)
    planned = ablate_calls(case, step, split="test", confirm="all", replicates=6)
    found = case.ablate(step, split="test", confirm="all", replicates=6)
    calls = asked(stub, since, case)
    prompts = Counter()
    for gone in found.removed:
        prompts[without(PLANTED, spans, set(gone))] += TEST
    for gone in [set(), *({n} for n in range(6))]:
        prompts[without(PLANTED, spans, gone)] += 6 * TEST
    assert calls == prompts and planned == {"predict": calls.total()} and len(found.removed) == 16
    assert [section.text for section in found.sections] == [PLANTED[a:b] for a, b in spans]
    words = [section.worth.word for section in found.sections]
    assert words[1] == words[3] == "helps" and words[5] == "harms" and {words[0], words[2], words[4]} <= {"undecided", "equivalent"}
    assert found.verdict == "helps and harms" and "of 6 confirmed 2 help, 1 harm" in str(found)
    recall = found.sections[3].recall
    assert recall["K3"].value == pytest.approx(1, abs=0.15) and abs(recall["K1"].value) < 0.15 and recall["K3"].word == "helps"
    assert found.sections[5].recall["K2"].word == "harms"
    assert not set(case.replicates(step, "rewrite")) and len(case) == 3, "no step is made for it"
    assert case.spent_for(case.found[found.id]).calls == calls.total()

    since = len(stub.requests)
    assert case.ablate(step, split="test") == found, "asking for less loses nothing"
    assert gb.Recording(case.path).ablate(step.id, split="test") == found
    assert gb.Recording(case.path).finding(found.id) == found
    assert len(stub.requests) == since and not ablate_calls(case, step, split="test").total()
    assert sum(row == "ablate" for row in case.findings()["kind"]) == 1


def test_a_screen_chooses_what_is_confirmed_and_more_goes_on_from_it(stub, tmp_path):
    case, step = planted(stub, tmp_path / "case")
    most = ablate_calls(case, step, split="test", confirm=3, replicates=2)
    since = len(stub.requests)
    found = case.ablate(step, split="test", confirm=3, replicates=2)
    assert set(found.confirmed) <= {1, 3, 5} and found.confirmed, "the planted ones are those with the greatest worth"
    assert len(stub.requests) - since <= most["predict"] == (16 + 2 + 3 * 2) * TEST
    assert all(section.worth.word == "screened" for section in found.sections if section.number not in found.confirmed)
    assert any("only screened" in remark for remark in found.remarks)
    since, planned = len(stub.requests), ablate_calls(case, step, split="test", runs=20, confirm=[0, 1], replicates=3)
    more = case.ablate(step, split="test", runs=20, confirm=[0, 1], replicates=3)
    assert set(more.confirmed) == {0, 1, *found.confirmed} and more.removed[:16] == found.removed and len(more.removed) == 32
    assert more.screened[:16] == found.screened and more.full[:2] == found.full
    assert len(stub.requests) - since == planned["predict"], "what was drawn already is not drawn again"


def test_few_sections_are_not_screened_and_one_is_nothing_to_take_apart(stub, tmp_path):
    case, step = planted(stub, tmp_path / "case", "red means K1. blue means K3.")
    found = case.ablate(step, split="test", replicates=2)
    assert not found.removed and found.confirmed == (0, 1)
    root = case[0]
    with pytest.raises(CaseError, match="prompt of step 0 is one section, so there is nothing to take apart"):
        case.ablate(root)
    cut = case.ablate(root, split="test", cuts=gb.recut(root.prompt, split={0: "its"}), replicates=2)
    assert [section.text for section in cut.sections] == ["Give each item ", "its code."]
    assert cut.sections[0].origins[0].source == "seed"


def test_a_map_that_was_stopped_goes_on_and_asks_no_call_twice(tmp_path):
    with Stub(reply=noisy, latency=0.01) as stub:
        case, step = planted(stub, tmp_path / "case")
        since, whole = len(stub.requests), ablate_calls(case, step, split="test", confirm="all", replicates=2)["predict"]
        running = background.submit(case.aablate(step, split="test", confirm="all", replicates=2))
        stub.wait_for(since + whole // 2)
        running.cancel()
        with pytest.raises(CancelledError):
            running.result()
        found = case.ablate(step, split="test", confirm="all", replicates=2)
        under_way = 8  # the calls whose reply nobody waited for
        assert whole <= len(stub.requests) - since <= whole + under_way
        other, same = planted(stub, tmp_path / "other")
        assert other.ablate(same, split="test", confirm="all", replicates=2).screened == found.screened
    lines = case.calls()
    twice = lines[lines["for"].str.startswith("score") & lines["for"].duplicated(keep=False)]
    assert not len(twice), twice[["for", "key", "paid"]].to_string()


def test_a_critics_prompt_is_mapped_on_the_same_outputs(stub, tmp_path):
    stub.reply = reply
    case = open_case(stub, tmp_path / "case", evaluation="critic-binary")
    case.step()
    step = case.step()
    stub.reply = lambda messages, body: "Verdict: right" if "Verdict:" in messages[0]["content"] else reply(messages, body)
    assert step.variable == "critic"
    found = case.ablate(step, split="test", replicates=2)
    assert found.prompt == step.chosen_prompt and found.classes == ("right", "wrong")
    judged = {question.judged for question in case.recorded_questions() if question.judged}
    assert len(judged) == 1 and len({row.right for row in found.full}) == 1
    assert {one.source for section in found.sections for one in section.origins} <= {"seed", "prompt_critique", "rewrite"}


def test_what_cannot_be_asked_is_refused_before_anything_is_paid(stub, tmp_path):
    case, step = planted(stub, tmp_path / "case")
    since = len(stub.requests)
    for wrong, said in (
        ({"replicates": 1}, "2 to 100 replicates"),
        ({"margin": 0}, "margin between 0 and 1"),
        ({"runs": 5}, "to screen 6 sections takes 8 to 5000 runs"),
        ({"runs": -3}, "takes 8"),
        ({"confirm": [9]}, "numbers of sections from 0 to 5"),
        ({"confirm": "most"}, "not 'most'"),
        ({"confirm": -1}, "not -1"),
        ({"cuts": [400]}, "from 1 to"),
    ):
        with pytest.raises(CaseError, match=said):
            case.ablate(step, **wrong)
    with pytest.raises(CaseError, match="has no such ablate of step"):
        gb.Recording(case.path).ablate(step.id)
    with pytest.raises(CaseError, match="is not done"):
        case.ablate(case.begin())
    assert len(stub.requests) == since


def test_it_is_planned_and_told(stub, tmp_path):
    case, step = planted(stub, tmp_path / "case")
    assert (
        ASKS["ablate"].record.kind == "ablate"
        and plan(case, ASKS["ablate"].calls(case, step, split="test")).calls == (16 + 5 + 5 * 5) * TEST
    )
    found = case.ablate(step, split="test")
    view = tell(case, found)
    assert "".join(section.text for section in view.sections) == PLANTED
    assert view.verdict == found.verdict and view.spent and view.code == f"case.ablate({step.id}, split='test')"
    (grid,) = view.grids
    assert grid.heads == ("section", "accuracy", "K1", "K2", "K3") and len(grid.rows) == 6 and {len(row) for row in grid.rows} == {5}
    assert max(section.shade for section in view.sections) > 0 > min(section.shade for section in view.sections)
    assert all(-1 <= section.shade <= 1 for section in view.sections)
    assert view.sections[2].origins == (f"step {step.id}, edited by hand (100% of the section, 100% of that in its words)",)


def test_where_an_example_asks_several_questions_recall_is_of_its_items():
    """Three examples: one with items of both classes, one with two of the second, one with one of the first."""
    items = ((0, 0), (0, 1), (1, 1), (1, 1), (2, 0))
    whole, without_one = Draw(right=(1, 1, 1), items=(1, 1, 1, 1, 1)), Draw(right=(0, 0, 1), items=(1, 0, 0, 1, 1))
    drawn = {"full": (whole,) * 4, "confirmed": (0, 1), "without": ((without_one,) * 4, (whole,) * 4)}
    found = SectionMap(step=1, split="test", prompt="So. Be.", cuts=(4,), classes=("a", "b"), items=items, **drawn)
    first, second = found.sections
    assert first.worth.value == pytest.approx(2 / 3) and second.worth.value == 0
    assert {label: worth.value for label, worth in first.recall.items()} == {"a": 0, "b": pytest.approx((1 + 1 / 2) / 2)}
    assert all(-1 <= worth.low <= worth.high <= 1 for worth in first.recall.values())
    assert SectionMap.model_validate_json(found.model_dump_json()) == found


# --- ancestry ------------------------------------------------------------------------------------------------------------


def origins(case, step):
    text = step.chosen_prompt
    return {text[a:b].strip(): found for (a, b), found in zip(sections(text), ancestry(case, step, sections(text)), strict=True)}


def test_each_rule_is_traced_to_the_step_the_critique_and_the_example_that_brought_it(stub, tmp_path):
    case = open_case(stub, tmp_path / "case", batch_size=2)
    for _ in range(4):
        step = case.step()
    since = len(stub.requests)
    found = origins(case, step)
    assert len(found) > 2 and found["Give each item its code."][0].source == "seed"
    for rule, (best, *_) in found.items():
        if best.source == "seed":
            continue
        brought = next(one for one in case if one.id and rule in one.chosen_prompt)
        critique = next(c for c in brought.prompt_critique if c.text in rule)
        assert (best.step, best.source, best.example) == (brought.id, "prompt_critique", critique.example)
        assert best.share == 1 and best.overlap == 1 and not best.edited
    assert len(stub.requests) == since, "it asks no model"


def test_a_sentence_that_a_rewrite_moves_keeps_its_step_and_one_that_comes_back_has_that_of_its_return(stub, tmp_path):
    case, first = planted(stub, tmp_path / "case", "Give each item its code. Watch the shipping date closely. Be polite to all.")
    second = case.perturb(
        case.step(), gb.edits.replace("candidate", candidate=0, text="Watch the shipping date closely. Give each item its code.")
    )
    last = case.perturb(
        case.step(),
        gb.edits.replace(
            "candidate", candidate=0, text="Be polite to all. Give each item its code. Watch the shipping date closely, and log it."
        ),
    )
    found = origins(case, last)
    assert [one.step for one in found["Give each item its code."]] == [0]
    assert [(one.step, one.source) for one in found["Be polite to all."]] == [(last.id, "hand")]
    mixed = found["Watch the shipping date closely, and log it."]
    assert [one.step for one in mixed] == [first.id, last.id] and mixed[0].share + mixed[1].share == pytest.approx(1)
    assert second.id not in {one.step for section in found.values() for one in section}


def test_words_that_were_edited_in_one_after_the_other_are_all_a_persons(stub, tmp_path):
    case, first = planted(stub, tmp_path / "case", "Give each item its code. Watch the shipping date closely.")
    twice = case.perturb(
        first,
        gb.edits.replace("candidate", candidate=0, text="Give each item its code. Watch the shipping date closely. Be polite to all."),
    )
    found = origins(case, twice)
    for put_in in ("Watch the shipping date closely.", "Be polite to all."):
        (best,) = found[put_in]
        assert (best.step, best.source, best.overlap) == (twice.id, "hand", 1)


def test_an_edited_critique_is_named_as_edited(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.perturb(case.step(), gb.edits.replace("prompt_critique", example=0, text="blue means K3 and nothing else matters"))
    (best,) = origins(case, step)["blue means K3."]
    assert (best.step, best.source, best.edited, best.example) == (step.id, "prompt_critique", True, step.batch[0])


def test_without_critiques_words_are_of_examples_or_of_the_rewrite_itself(stub, tmp_path):
    case = open_case(stub, tmp_path / "one", update="one-step")
    step = case.step()
    ((best,),) = [found for rule, found in origins(case, step).items() if "means" in rule]
    assert (best.source, best.example, best.step) == ("example", step.batch[0], step.id) and 0.3 <= best.overlap < 1
    other = open_case(stub, tmp_path / "two", update="improve")
    step = other.step()
    assert origins(other, step)["Be careful."][0].source == "rewrite"


def test_ancestry_survives_hostile_prompts(stub, tmp_path):
    text = "—!\n\n***\n\n\ud83d. A. a a a a. 一二三。ﬁ İ ß"
    case, step = planted(stub, tmp_path / "case", text)
    spans = sections(step.chosen_prompt)
    found = ancestry(case, step, spans)
    assert len(found) == len(spans) and all(0 < one.share <= 1 + 1e-9 and 0 <= one.overlap <= 1 + 1e-9 for part in found for one in part)
    everywhere = sections(step.chosen_prompt, [n for n in range(1, len(step.chosen_prompt)) if step.chosen_prompt[n - 1 : n + 1].isalnum()])
    assert len(ancestry(case, step, everywhere)) == len(everywhere)
