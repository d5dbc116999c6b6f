"""The trace on a stub that loses the rule at a stage of our choice, checked call by call."""

import re
from collections import Counter
from concurrent.futures import CancelledError

import pytest

import gradbook as gb
from gradbook import background
from gradbook.costs import plan
from gradbook.edits.words import filler
from gradbook.errors import CaseError
from gradbook.findings import ASKS
from gradbook.findings.trace import NAMES
from gradbook.records import STAGES
from gradbook.tell.findings import finding as tell
from small import reply, small_task
from stub import Stub

RULE = "red means K1. green means K2. blue means K3."
WRONG = "red means K2. green means K3. blue means K1."
PLACES = ("evaluate", "output_critique", "prompt_critique", "rewrite")
REPLICATES, EXAMPLES = 3, 18


def stage_of(messages):
    """Which stage asks."""
    text = messages[-1]["content"]
    if messages[0]["role"] == "system":
        return "predict"
    if "Rules to add:" in text or "What a model did under it:" in text:
        return "rewrite"
    return "prompt_critique" if "Which rule should" in text else "output_critique"


def passing(*stages):
    """A model that says again, at these stages, every rule that it reads; the others say what `small.reply` says."""

    def answer(messages, body):
        said, stage = reply(messages, body), stage_of(messages)
        if stage in stages and stage != "rewrite":
            return " ".join([said, *re.findall(r"(?:red|green|blue) means K\d.", messages[-1]["content"])])
        if stage == "rewrite" and stage not in stages:
            return "<prompt>Give each item its code, please.</prompt>"
        return said

    return answer


ALL = ("output_critique", "prompt_critique", "rewrite")
LEAKS = {"none": ALL} | {NAMES[leak]: tuple(stage for stage in ALL if stage != leak) for leak in ALL}


def make(stub, path, **settings):
    model = gb.connect("stub", base_url=stub.url, api_key="k", cache=False, concurrency=4)
    method = gb.Method(**{"selection": "naive", "batch_size": 1} | settings)
    return gb.Case(path, task=small_task(test=EXAMPLES), model=model, method=method)


@pytest.fixture
def stub():
    with Stub(reply=passing("rewrite")) as stub:
        yield stub


def ask(case, step, **more):
    return case.trace(step, RULE, WRONG, split="test", replicates=REPLICATES, **more)


@pytest.mark.parametrize("leak", LEAKS)
def test_the_leaky_stage_is_named(leak, tmp_path):
    with Stub(reply=passing(*LEAKS[leak])) as stub:
        case = make(stub, tmp_path / "case")
        found = ask(case, case.step())
    assert found.verdict == leak and found.stages == PLACES
    if leak == "none":
        assert str(found).startswith("No stage is seen to lose what the label says")
    else:
        before = NAMES[PLACES[[NAMES[stage] for stage in PLACES].index(leak) - 1]]
        assert str(found).startswith(
            f"What the label says is lost between the {before} and the {leak}: put in at the {before}, the rule adds"
        )
    for stage in PLACES:
        lost = leak != "none" and PLACES.index(stage) < [NAMES[place] for place in PLACES].index(leak)
        assert found.gain(stage).verdict != "helps" if lost else found.gain(stage).verdict == "helps", stage
        assert set(found.put(stage, "rule").words["select"]) == (
            {0.0} if lost and leak == "rewrite" else set(found.put(stage, "rule").words["select"])
        )
    assert not found.remarks


def test_each_arm_changes_just_its_texts_and_runs_what_depends_on_them(stub, tmp_path):
    case = make(stub, tmp_path / "case", batch_size=2, candidates=1)
    step = case.step()
    stub.requests.clear()
    found = ask(case, step)
    assert {(put.stage, put.what) for put in found.puts} == {(stage, what) for stage in PLACES for what in ("rule", "wrong", "placebo")}
    prompts = set()
    for put in found.puts:
        arm, text = case[put.step], {"rule": RULE, "wrong": WRONG, "placebo": filler(RULE)}[put.what]
        assert arm.finding == found.id and arm.aside and [edit.kind for edit in arm.edits] == ["replace"] * len(getattr(step, put.stage))
        for earlier in STAGES[: STAGES.index(put.stage)]:
            assert getattr(arm, earlier) == getattr(step, earlier)
        join, name = ("\n", "prompt") if put.stage == "rewrite" else (" ", "text")
        for was, now in zip(getattr(step, put.stage), getattr(arm, put.stage), strict=True):
            assert getattr(now, name) == f"{getattr(was, name)}{join}{text}"
        following = step.stages[step.stages.index(put.stage) + 1]
        drawn = [arm] if put.stage == "rewrite" else case.replicates(arm, following).values()
        assert len(drawn) == (1 if put.stage == "rewrite" else REPLICATES)
        prompts |= {again.chosen_prompt for again in drawn}
        for number, row in enumerate(put.right, start=1):
            again = arm if put.stage == "rewrite" else case.replicates(arm, following)[number]
            assert row == tuple(answer.correct for answer in case.scored(again, "test", number).answers)
    made = [place.split("/") for place in case.calls()["for"]]
    asked = Counter(place[2] for place in made if place[0] == "step" and int(place[1]) > step.id)
    asked["predict"] += sum(place[0] == "score" for place in made)
    runs = 3 * (1 + REPLICATES)
    answered = EXAMPLES * REPLICATES * len(prompts)
    kept = 3  # put into the evaluation it is lost at once, so the first run of that arm follows the same prompt critiques as the step
    assert asked == {"output_critique": 2 * runs, "prompt_critique": 4 * runs, "rewrite": 3 * runs - kept, "predict": answered}
    assert not Counter(stage_of(r.body["messages"]) for r in stub.requests) - asked
    planned = ASKS["trace"].calls(case, step, RULE, WRONG, split="test", replicates=REPLICATES)
    assert all(asked[stage] <= planned[stage] for stage in asked)
    assert sum(planned[stage] - asked[stage] for stage in ALL) == kept
    assert plan(case, planned).calls == planned.total() and not plan(case, planned).unknown


def test_it_costs_nothing_to_open_again_and_more_draws_go_on(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    found = ask(case, step)
    assert case.current == step and case.found[found.id].verdict == found.verdict
    asked, events, shown = len(stub.requests), case.version, tell(case, found)
    assert ask(case, step) == found == case.finding(found.id) and ASKS["trace"].record is type(found)
    assert (len(stub.requests), case.version) == (asked, events)
    case.close()
    for reader in (gb.Recording(tmp_path / "case"), gb.Case(tmp_path / "case")):
        assert reader.trace(step, RULE, WRONG, split="test") == found == reader.finding(found.id)
        assert tell(reader, found) == shown and len(reader.findings()) == 1
        with pytest.raises(CaseError, match=f"has no such trace of step {step.id} on test on record, and none can be made"):
            reader.trace(step, "another rule", split="test")
    again = make(stub, tmp_path / "case")
    more = again.trace(step, RULE, WRONG, split="test", replicates=REPLICATES + 1)
    assert len(stub.requests) > asked and more.id == found.id and len(again.found) == 1
    for put, was in zip(more.puts, found.puts, strict=True):
        assert put.step == was.step and put.right[:REPLICATES] == was.right


@pytest.mark.parametrize("stop", [5, 60])
def test_stopped_and_asked_again_it_goes_on(stop, stub, tmp_path):
    whole = make(stub, tmp_path / "whole")
    wanted = ask(whole, whole.step())
    asked = len(stub.requests)
    case = make(stub, tmp_path / "case")
    step, since = case.step(), len(stub.requests)
    begun = since - asked
    stub.latency = 0.002
    work = background.submit(case.atrace(step, RULE, WRONG, split="test", replicates=REPLICATES))
    stub.wait_for(since + stop)
    work.cancel()
    with pytest.raises(CancelledError):
        work.result()
    found = ask(case, step)
    assert found.model_dump(exclude={"puts"}) == wanted.model_dump(exclude={"puts"})
    kept = [[put.model_dump(exclude={"step"}) for put in one.puts] for one in (found, wanted)]
    assert kept[0] == kept[1]
    made = [one.calls()["for"] for one in (case, whole)]
    assert made[0].is_unique and len(made[0]) == len(made[1])
    # what is asked at the same time in the same words is one call, so that a run may need a few less
    assert len(stub.requests) - since <= asked - begun + 4, "only what was under way is asked again"


def test_the_task_says_its_rule_and_so_does_a_recording(tmp_path):
    task = gb.tasks.ticket_routing(sizes=(6, 6, 12))
    codes = [example.target for example in task.train]

    def answer(messages, body):
        return {"predict": "Answer: K1", "rewrite": "Route it well."}.get(stage_of(messages), "It is about delivery.")

    with Stub(reply=answer) as stub:
        model = gb.connect("stub", base_url=stub.url, api_key="k", cache=False)
        case = gb.Case(tmp_path / "case", task=task, model=model, method=gb.Method(selection="naive", batch_size=2))
        step = case.step()
        found = case.trace(step, split="test", replicates=2)
    assert set(codes) == {"K1", "K2", "K3"} and (found.rule, found.wrong) == (task.rule, task.false_rule)
    assert found.verdict == "cannot tell", "a model that answers the same whatever it is told"
    case.close()
    recording = gb.Recording(tmp_path / "case")
    assert recording.trace(step, split="test") == found and recording.task == task
    words = found.put("evaluate", "rule").words
    assert words["output_critique"] == words["prompt_critique"] == (1 / 4, 1 / 4) and words["select"] == (0.0, 0.0)
    view = tell(recording, found)
    assert view.good is None and len(view.bars) == 8 and view.code == f"case.trace({step.id}, split='test', replicates=2, margin=0.05)"
    assert "Tickets about delivery get K1." in "".join(segment.text for segment in view.words)
    assert [row[0].text for row in view.grids[0].rows] == ["evaluation", "output critique", "prompt critique", "rewrite"]
    assert view.grids[1].rows[0][1].text == "25% (25%)" and view.grids[1].rows[3][1].text == "–"


def test_a_wrong_rule_that_helps_as_well_is_remarked(tmp_path):
    def answer(messages, body):
        return "K2" if stage_of(messages) == "predict" and "means" in messages[0]["content"] else reply(messages, body)

    task = small_task(test=EXAMPLES)
    with Stub(reply=answer) as stub:
        case = make(stub, tmp_path / "case", labels="none")
        found = case.trace(case.step(), RULE, WRONG, split="test", replicates=2)
    assert sum(example.target == "K2" for example in task.test) == EXAMPLES / 3
    assert found.gain("rewrite").verdict == found.gain("rewrite", "wrong").verdict and not found.chosen_here


@pytest.mark.parametrize(
    ("settings", "stages", "calls"),
    [
        ({"update": "one-step"}, ("evaluate", "rewrite"), {"rewrite"}),
        ({"selection": "validated", "candidates": 2}, PLACES, set(ALL)),
        ({"selection": "random", "candidates": 2, "apart": True}, PLACES, set(ALL)),
        ({"evaluation": "critic-binary"}, PLACES, set(ALL)),
        ({"labels": "none", "critiques": 2}, PLACES, set(ALL)),
        ({"beam": 2, "selection": "validated", "candidates": 2}, PLACES, set(ALL)),
    ],
)
def test_every_update_that_sees_data_is_traced(settings, stages, calls, stub, tmp_path):
    case = make(stub, tmp_path / "case", **settings)
    step = case.step()
    since = len(stub.requests)
    found = case.trace(step, RULE, split="test", replicates=2)
    assert found.stages == stages and {put.what for put in found.puts} == {"rule", "placebo"} and found.wrong == ""
    asked = Counter(stage_of(request.body["messages"]) for request in stub.requests[since:])
    planned = ASKS["trace"].calls(case, step, RULE, split="test", replicates=2)
    assert set(asked) - {"predict"} == calls and len(stub.requests) - since <= planned.total()
    assert tell(case, found).sentence == str(found) and found.verdict in {*NAMES.values(), "none", "cannot tell"}


def test_the_selection_is_drawn_again_where_it_has_a_choice(stub, tmp_path):
    case = make(stub, tmp_path / "case", selection="validated", candidates=2)
    step = case.step()
    found = case.trace(step, RULE, split="validation", replicates=2)
    arm = found.put("rewrite", "rule").step
    assert len(case.replicates(arm, "select")) == 2 and found.chosen_here
    assert any("A selection has looked at this split" in remark for remark in tell(case, found).remarks)


@pytest.mark.parametrize(
    ("settings", "of", "asked", "said"),
    [
        ({"update": "improve"}, 1, {"rule": RULE}, "step 1 sees no label (update='improve'), so there is nothing of it to trace"),
        ({"update": "rewrite"}, 1, {"rule": RULE}, "step 1 sees no label"),
        ({}, 0, {"rule": RULE}, "step 0 holds the seed prompt"),
        ({}, 1, {}, "nothing says which rule the labels of colours follow: pass rule="),
        ({}, 1, {"rule": " "}, "nothing says which rule"),
        ({}, 1, {"rule": RULE, "replicates": 1}, "replicates must be 2 to 100, not 1"),
        ({}, 1, {"rule": RULE, "replicates": 101}, "replicates must be 2 to 100, not 101"),
        ({"evaluation": "critic-binary"}, 2, {}, "the labels of the critic follow"),
        ({"errors_only": True}, 1, {"rule": RULE}, "step 1 has nothing to trace: no output of the batch was called wrong"),
    ],
)
def test_what_cannot_be_traced_is_told_before_anything_is_asked(settings, of, asked, said, tmp_path):
    def right(messages, body):
        text = messages[-1]["content"]
        found = re.search("red|green|blue", text)
        return {"red": "K1", "green": "K2", "blue": "K3"}[found[0]] if settings.get("errors_only") and found else reply(messages, body)

    with Stub(reply=right) as stub:
        case = make(stub, tmp_path / "case", **settings)
        case.run(batches=1)
        asked_before = len(stub.requests)
        with pytest.raises(CaseError, match=re.escape(said)):
            case.trace(of, **asked)
        if "replicates" not in asked:
            with pytest.raises(CaseError, match=re.escape(said)):
                gb.Recording(tmp_path / "case").trace(of, **asked)
        assert len(stub.requests) == asked_before and not case.found


def test_a_critic_is_traced_by_a_rule_of_its_own(stub, tmp_path):
    case = make(stub, tmp_path / "case", evaluation="critic-binary")
    case.run(batches=1)
    critic = case.current
    assert critic.variable == "critic"
    found = case.trace(critic, "green outputs are wrong. blue outputs are wrong.", split="test", replicates=2)
    assert found.stages == PLACES and found.verdict in {*NAMES.values(), "none", "cannot tell"}


def test_what_was_lost_stays_lost(tmp_path):
    def cut(messages, body):
        said = reply(messages, body)
        if stage_of(messages) == "output_critique" and "green" in messages[-1]["content"]:
            return {"choices": [{"message": {"role": "assistant", "content": "gre"}, "finish_reason": "length"}]}
        return said

    with Stub(reply=cut) as stub:
        case = make(stub, tmp_path / "case", batch_size=6)
        step = case.step()
        lost = [critique.example for critique in step.output_critique if critique.lost]
        found = case.trace(step, RULE, split="test", replicates=2)
    arm = case[found.put("output_critique", "rule").step]
    assert lost and [critique.example for critique in arm.output_critique if critique.lost] == lost


def test_a_damaged_trace_is_told(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    found = case.trace(case.step(), RULE, split="train", replicates=2)
    event = case.found[found.id]
    first, *others = event.result["puts"]
    for puts in (
        others,
        [],
        [first | {"right": first["right"][:-1]}, *others],
        [first | {"right": [row[:-1] for row in first["right"]]}, *others],
        [put | {"right": []} for put in (first, *others)],
    ):
        case._journal.append(event.model_copy(update={"result": event.result | {"puts": puts}}))
        with pytest.raises(CaseError, match="cannot be read"):
            case.finding(found.id)
