"""Probes of critiques on a stub whose model obeys a critique as much, as oppositely and as jointly as we please, checked call by call."""

import asyncio
import re
from collections import Counter
from concurrent.futures import CancelledError

import pytest

import gradbook as gb
from gradbook import background
from gradbook.costs import plan
from gradbook.edits.words import STRENGTHS
from gradbook.errors import CaseError
from gradbook.findings import ASKS
from gradbook.findings.probes import NEGATED
from gradbook.findings.probes_size import moved
from gradbook.findings.probes_sum import BACKWARDS
from gradbook.records import STAGES
from gradbook.tell.findings import finding as tell
from small import reply, small_task
from stub import Stub

EXAMPLES, REPLICATES = 66, 3
RULES = ("red means K2", "green means K2", "blue means K3")
"""What the critiques of a batch say, one each: the first harms, since the model says K1 of red by itself; the others help."""
GOOD = ("green means K2", "blue means K3")
SAID = re.compile(r"(?:red|green|blue) means K\d")


def obeying(negated=lambda rule: "Nothing to change.", follow=lambda rules, text: rules):
    """A model that negates a rule by `negated`, and adds to a prompt what `follow` leaves of the rules that it reads in the critiques."""

    def answer(messages, body):
        text = messages[-1]["content"]
        if "Say the opposite" in text:
            return negated(SAID.search(text)[0]) if SAID.search(text) else "Nothing either."
        if "Rules to add:" in text:
            old = re.search(r"Old prompt:\n(.*?)\n\nRules", text, re.DOTALL)[1]
            found = list(dict.fromkeys(SAID.findall(text.split("Rules to add:")[1])))
            return f"<prompt>{' '.join([old, *(f'{rule}.' for rule in follow(found, text))])}</prompt>"
        return reply(messages, body)

    return answer


def strongly(rules, text):
    """As many rules, and as many words besides, as the critiques are strong."""
    strength = next((n for n, word in enumerate(STRENGTHS) if f"Change the prompt {word}." in text), 2)
    return [*(rules * (strength > 1) if strength < 3 else [*rules, "blue means K3"]), *["Mind this"] * strength]


def make(stub, path, size=2, **settings):
    model = gb.connect("stub", base_url=stub.url, api_key="k", cache=False, concurrency=4)
    method = gb.Method(**{"selection": "naive", "batch_size": size} | settings)
    return gb.Case(path, task=small_task(test=EXAMPLES), model=model, method=method)


def ask(case, step, kind, **more):
    return getattr(gb.probes, kind)(case, step, **{"split": "test", "replicates": REPLICATES} | more)


def begun(case, rules=GOOD):
    """A step whose critiques say these rules."""
    step = case.step()
    return case.perturb(step, *(gb.edits.replace("prompt_critique", example=n, text=f"{rule}.") for n, rule in enumerate(rules)))


def probed(tmp_path, answer, kind, rules=GOOD, **more):
    with Stub(reply=answer) as stub:
        case = make(stub, tmp_path / "case", len(rules))
        return case, ask(case, begun(case, rules), kind, **more)


def asked_for(case, since):
    """How often each stage was asked for steps after `since`, and in scores."""
    made = [place.split("/") for place in case.calls()["for"]]
    asked = Counter(place[2] for place in made if place[0] == "step" and int(place[1]) > since)
    return asked + Counter({"predict": sum(place[0] == "score" for place in made)})


OPPOSITE = {"green means K2": "green means K3", "blue means K3": "blue means K1"}.get


@pytest.mark.parametrize(
    ("rules", "negated", "word"),
    [
        (GOOD, lambda rule: "Nothing to change.", "holds"),
        (GOOD, OPPOSITE, "holds"),
        (["red means K2"], lambda rule: "green means K2", "holds"),
        (GOOD, lambda rule: f"By all means {rule}", "does not hold"),
        (GOOD[:1], lambda rule: "green means K2. blue means K3", "does not hold"),
        (["Nothing."], lambda rule: "Nothing.", "does not hold"),
    ],
    ids=["nothing", "opposite", "harm turned to help", "same", "better", "neither"],
)
def test_the_sign(rules, negated, word, tmp_path):
    _, found = probed(tmp_path, obeying(negated), "sign", rules)
    assert found.verdict == word and str(found).startswith(f"{word}: the critiques move the score by ")
    assert (len(found.before), len(found.before[0]), found.margin, found.lost) == (REPLICATES, EXAMPLES, 0.05, 0)


@pytest.mark.parametrize(
    ("follow", "by", "word"),
    [
        (lambda rules, text: rules, "score", "does not hold"),
        (lambda rules, text: rules, "distance", "does not hold"),
        (strongly, "score", "holds"),
        (strongly, "distance", "holds"),
        (lambda rules, text: rules * ("hardly" in text) + rules[:1] * ("slightly" in text), "score", "does not hold"),
    ],
    ids=["no strength", "no strength, distance", "strength", "strength, distance", "the weaker the better"],
)
def test_the_step_size(follow, by, word, tmp_path):
    _, found = probed(tmp_path, obeying(follow=follow), "step_size", by=by)
    assert found.verdict == word and str(found).startswith(f"{word}, by the {by}: from hardly to drastically")
    assert len(found.strengths) == len(found.distances) == 5 and found.helps.these.low > 0
    assert {found.score.tau > 0.5, found.distance.tau > 0.5} == ({True} if follow is strongly else {False})


FIRST = {"follow": lambda rules, text: rules[:1]}  # what comes first is done
BOTH = {"follow": lambda rules, text: rules * (len(rules) > 1)}  # one alone is not heard


@pytest.mark.parametrize(
    ("rules", "more", "words"),
    [
        (GOOD, {}, ("holds", "holds")),
        (GOOD, BOTH, ("does not hold", "holds")),
        (("green means K2", "green means K3"), FIRST, ("holds", "does not hold")),
        (GOOD[:1] * 2, {}, ("does not hold", "holds")),
    ],
    ids=["sum", "only both", "order", "the same twice"],
)
def test_additivity_and_order(rules, more, words, tmp_path):
    _, found = probed(tmp_path, obeying(**more), "additivity", rules, margin=0.15)
    assert found.words == words, str(found)
    assert found.verdict == ("holds" if words == ("holds", "holds") else "does not hold")
    assert f"(that they add up: {words[0]}; in any order: {words[1]})" in str(found)
    assert bool(found.backwards) == (len(set(rules)) > 1) == ("they read the same" not in str(found))


@pytest.mark.parametrize("stage", ["prompt_critique", "output_critique"])
def test_negations_change_just_their_texts_and_run_what_depends_on_them(stage, tmp_path):
    with Stub(reply=obeying()) as stub:
        case = make(stub, tmp_path / "case")
        step = begun(case) if stage == "prompt_critique" else case.step()
        found = ask(case, step, "sign", stage=stage)
        arms = [one for one in case if one.finding == found.id and one.replicate_of is None]
        assert [arm.arm for arm in arms] == [NEGATED] and [edit.how for edit in arms[0].edits] == ["negate", "negate"]
        for earlier in STAGES[: STAGES.index(stage)]:
            assert getattr(arms[0], earlier) == getattr(step, earlier)
        following = step.stages[step.stages.index(stage) + 1]
        drawn = {one.id: case.replicates(one, following) for one in (step, *arms)}
        assert [list(numbers) for numbers in drawn.values()] == [[1, 2, 3], [2001, 2002, 2003]], "no two arms share a draw"
        for arm, row in ((step, found.critiques), (arms[0], found.negated)):
            for (number, again), right in zip(drawn[arm.id].items(), row, strict=True):
                assert right == tuple(answer.correct for answer in case.scored(again, "test", number).answers)
                assert getattr(again, stage) == getattr(arm, stage), "a critique is negated once"
        asked = asked_for(case, step.id)
        planned = ASKS["sign"].calls(case, step, stage=stage, split="test", replicates=REPLICATES)
        assert planned["rewrite"] == 7 and planned["predict"] == 9 * EXAMPLES
        assert planned[stage] == 2 and plan(case, planned).calls == planned.total()
        assert not asked - planned and asked[stage] == planned[stage] and asked["predict"] == planned["predict"]
        assert case.current == step and not [row for row in case.findings()["kind"] if row != "sign"]


def test_arms_follow_one_critique_each_and_all_the_other_way_round(tmp_path):
    with Stub(reply=obeying()) as stub:
        case = make(stub, tmp_path / "case", 3)
        step = begun(case, RULES)
        found = ask(case, step, "additivity")
        arms = {one.arm: one for one in case if one.finding == found.id and one.replicate_of is None}
        assert list(arms) == [*(f"{name} alone" for name in step.batch), BACKWARDS] and found.names == step.batch
        texts = [critique.text for critique in step.prompt_critique]
        for name, text in zip(step.batch, texts, strict=True):
            assert [c.text for c in arms[f"{name} alone"].prompt_critique] == [text]
        assert [c.text for c in arms[BACKWARDS].prompt_critique] == texts[::-1]
        assert [c.example for c in arms[BACKWARDS].prompt_critique] == list(step.batch)
        assert {edit.by for edit in arms[BACKWARDS].edits} == {"name"}
        asked, planned = asked_for(case, step.id), ASKS["additivity"].calls(case, step, split="test", replicates=REPLICATES)
        assert asked == planned == {"rewrite": 4 + 5 * REPLICATES, "predict": 6 * REPLICATES * EXAMPLES}
        since = len(stub.requests)
        sign = ask(case, step, "sign")
        assert sign.critiques == found.together and sign.before == found.before, "what another probe has drawn is not drawn again"
        assert len(stub.requests) - since == 3 + 1 + REPLICATES * (1 + EXAMPLES)


def test_strengths_are_said_after_each_critique(tmp_path):
    case, found = probed(tmp_path, obeying(follow=strongly), "step_size")
    step = case[found.step]
    arms = [one for one in case if one.finding == found.id and one.replicate_of is None]
    assert [arm.arm for arm in arms] == [f"critiques to be followed {word}" for word in STRENGTHS]
    for place, (arm, word) in enumerate(zip(arms, STRENGTHS, strict=True)):
        assert [c.text for c in arm.prompt_critique] == [f"{c.text} Change the prompt {word}." for c in step.prompt_critique]
        prompts = [again.chosen_prompt for again in case.replicates(arm, "rewrite").values()]
        assert found.distances[place] == tuple(moved(step.prompt, prompt) for prompt in prompts)
    planned = ASKS["step_size"].calls(case, step, split="test", replicates=REPLICATES)
    assert asked_for(case, step.id) == planned == {"rewrite": 5 * (1 + REPLICATES), "predict": 6 * REPLICATES * EXAMPLES}


@pytest.mark.parametrize(("before", "after", "share"), [("a b c", "a b c", 0), ("a b", "c d", 1), ("a b c", "a b c d", 1 / 7), ("", "", 0)])
def test_how_far_a_prompt_moves(before, after, share):
    assert moved(before, after) == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("kind", ["sign", "step_size", "additivity"])
def test_it_costs_nothing_to_open_again_and_more_draws_go_on(kind, tmp_path):
    with Stub(reply=obeying()) as stub:
        case = make(stub, tmp_path / "case")
        step = begun(case)
        found = ask(case, step, kind)
        asked, events, shown = len(stub.requests), case.version, tell(case, found)
        twin = getattr(gb.probes, f"a{kind}")
        for more in ({}, {"replicates": 2}):  # fewer draws than there are throw none away
            assert found == ask(case, step, kind, **more) == case.finding(found.id)
        assert found == asyncio.run(twin(case, step, split="test", replicates=REPLICATES))
        assert (len(stub.requests), case.version) == (asked, events)
        assert shown.code.startswith(f"gb.probes.{kind}(case, {step.id}, split='test', replicates=3, margin=0.05")
        more = asyncio.run(twin(case, step, split="test"))
        assert more.id == found.id and more.replicates == 5 and more.before[:REPLICATES] == found.before and len(case.found) == 1
        case.close()
        last = case.finding(found.id)
        for reader in (gb.Recording(tmp_path / "case"), gb.Case(tmp_path / "case")):
            assert getattr(gb.probes, kind)(reader, step, split="test") == last == reader.finding(found.id)
            assert tell(reader, last).verdict == last.verdict and tell(None, last).sentence == tell(reader, last).sentence
            with pytest.raises(
                CaseError, match=rf"has no such {kind.replace('_', ' ')} of step {step.id} on train on record, and none can be made"
            ):
                getattr(gb.probes, kind)(reader, step, split="train")


@pytest.mark.parametrize(("kind", "stop"), [("sign", 1), ("sign", 40), ("step_size", 30), ("additivity", 90)])
def test_stopped_and_asked_again_it_goes_on(kind, stop, tmp_path):
    with Stub(reply=obeying()) as stub:
        whole = make(stub, tmp_path / "whole")
        wanted = ask(whole, begun(whole), kind)
        asked = len(stub.requests)
        case = make(stub, tmp_path / "case")
        step, since = begun(case), len(stub.requests)
        stub.latency = 0.002
        work = background.submit(getattr(gb.probes, f"a{kind}")(case, step, split="test", replicates=REPLICATES))
        stub.wait_for(since + stop)
        work.cancel()
        with pytest.raises(CancelledError):
            work.result()
        assert not case.found
        assert ask(case, step, kind) == wanted
    made = [one.calls()["for"] for one in (case, whole)]
    assert made[0].is_unique and sorted(made[0]) and len(made[0]) == len(made[1])
    assert len(stub.requests) - since <= asked - (since - asked) + 4, "only what was under way is asked again"


@pytest.mark.parametrize(
    ("settings", "more", "said"),
    [
        ({"update": "one-step"}, {}, "step 1 makes no prompt critiques, so there is nothing to probe"),
        ({"update": "improve"}, {}, "step 1 makes no prompt critiques"),
        ({}, {"replicates": 1}, "a probe takes 2 to 100 replicates and a margin between 0 and 1, not 1 and 0.05"),
        ({}, {"margin": 0}, "a margin between 0 and 1, not 5 and 0"),
        ({}, {"split": "all"}, "a split of two examples or more, not prompt_critique and all"),
    ],
)
def test_what_cannot_be_probed_is_refused_in_a_sentence_before_it_costs(settings, more, said, tmp_path):
    with Stub(reply=obeying()) as stub:
        case = make(stub, tmp_path / "case", **settings)
        case.step()
        since, events = len(stub.requests), case.version
        for kind in ("sign", "step_size", "additivity"):
            for refused in (lambda kind=kind: ask(case, 1, kind, **{"replicates": 5} | more), lambda kind=kind: case.plan(kind, 1, **more)):
                with pytest.raises(CaseError, match=re.escape(said)):
                    refused()
        with pytest.raises(CaseError, match="step 0 makes no prompt critiques"):
            ask(case, 0, "sign")
        assert (len(stub.requests), case.version) == (since, events)


def test_one_critique_has_nothing_to_add_up_and_an_unfinished_step_nothing_to_ask(tmp_path):
    with Stub(reply=obeying()) as stub:
        case = make(stub, tmp_path / "case", 1)
        step = begun(case, GOOD[:1])
        with pytest.raises(CaseError, match="step 2 has one prompt critique that can be followed, so there is nothing to add up"):
            ask(case, step, "additivity")
        with pytest.raises(CaseError, match="by 'score' or by 'distance', not by 'length'"):
            ask(case, step, "step_size", by="length")
        with pytest.raises(CaseError, match="not output and test"):
            ask(case, step, "sign", stage="output")
        blank = case.perturb(step, gb.edits.blank("prompt_critique", example=0))
        with pytest.raises(CaseError, match=f"step {blank.id} has no prompt critique that can be followed"):
            ask(case, blank, "sign")
        chosen = case.perturb(step, gb.edits.replace("selection", text="-1"))
        with pytest.raises(CaseError, match=f"step {chosen.id} has an edit of its selection too, .* probe step {step.id}"):
            ask(case, chosen, "sign")
        with pytest.raises(CaseError, match="step 2 has an edit of its prompt_critique too"):
            ask(case, step, "sign", stage="output_critique")
        with pytest.raises(CaseError, match="is not done"):
            ask(case, case.begin(), "sign")


def test_negations_that_are_lost_are_told_and_where_all_are_there_is_no_sign(tmp_path):
    lost = {"choices": [{"message": {"role": "assistant", "content": "Do not"}, "finish_reason": "length"}]}
    wrong = "green"

    def answer(messages, body):
        negating = "Say the opposite" in messages[-1]["content"] and wrong in messages[-1]["content"]
        return lost if negating else obeyed(messages, body)

    obeyed = obeying()
    with Stub(reply=answer) as stub:
        case = make(stub, tmp_path / "case")
        found = ask(case, begun(case), "sign")
        assert found.lost == 1 and "Of the negations 1 could not be used" in found.remarks[0]
        wrong, step = "means", begun(case)
        with pytest.raises(CaseError, match=f"no critique of step {step.id} could be negated, .*cut off"):
            ask(case, step, "sign")
    told = tell(case, found)
    assert told.remarks == found.remarks and [row[2].text for row in told.grids[0].rows].count("–") == 1


def test_a_selection_is_remarked_and_a_critic_can_be_probed_too(tmp_path):
    with Stub(reply=obeying()) as stub:
        case = make(stub, tmp_path / "case", selection="validated", candidates=1)
        step = begun(case)
        found = ask(case, step, "sign", split="validation", replicates=2)
        assert [remark[:30] for remark in found.remarks] == ["A selection has looked at this", "The method keeps a rewrite onl"]
        assert gb.probes.sign(case, step, replicates=2).split == "test"
    with Stub(reply=reply) as stub:
        case = make(stub, tmp_path / "critic", evaluation="critic-binary")
        case.step()
        step = case.step()
        assert step.variable == "critic"
        found = ask(case, step, "step_size", replicates=2)
        scored = [question for question in case.recorded_questions() if question.id in case.found[found.id].questions]
        assert len(found.strengths[0][0]) == EXAMPLES and scored and all(question.judged for question in scored)


def test_it_is_told_with_bars_rows_and_a_line_of_python_that_gives_it_again(tmp_path):
    with Stub(reply=obeying(follow=strongly)) as stub:
        case = make(stub, tmp_path / "case")
        step = begun(case)
        for kind, bars, grids in (("sign", 3, 1), ("step_size", 5, 2), ("additivity", 5, 0)):
            found = ask(case, step, kind)
            told, since = tell(case, found), len(stub.requests)
            assert (len(told.bars), len(told.grids)) == (bars, grids) and told.verdict == found.verdict
            assert told.good == {"holds": True, "does not hold": False}.get(told.verdict)
            assert (
                found.hypothesis in told.asked
                and "The margin is 5 points" in told.asked
                and str(case.spent_for(case.found[found.id])) == told.spent
            )
            assert eval(told.code, {"gb": gb, "case": case}) == found and len(stub.requests) == since
            assert all(bar.low <= bar.value <= bar.high for bar in told.bars)
        sign = tell(case, case.finding(next(iter(case.found))))
        assert [tuple(figure.text for figure in row) for row in sign.grids[0].rows] == [
            (critique.example, critique.text, "Nothing to change.") for critique in step.prompt_critique
        ]
        assert case.export(tmp_path / "out.html").read_text().count("gb.probes.") >= 3


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        ("sign", {"negated": [[1, 0]]}),
        ("sign", {"critiques": [[2] * 6] * REPLICATES}),
        ("step_size", {"distances": [[0.5]]}),
        ("step_size", {"strengths": []}),
        ("additivity", {"names": ["one"]}),
        ("additivity", {"before": []}),
    ],
)
def test_a_record_of_a_stranger_that_cannot_be_is_refused_in_a_sentence(kind, broken, tmp_path):
    case, found = probed(tmp_path, obeying(), kind, split="validation")
    event = case.found[found.id]
    case._state.findings[found.id] = event.model_copy(update={"result": event.result | broken})
    with pytest.raises(CaseError, match="that cannot be read"):
        case.finding(found.id)
