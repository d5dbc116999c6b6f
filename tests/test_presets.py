"""Presets and the settings that they are made of: errors only, several critiques apart, paraphrases, a beam, momentum, add-only, random."""

import hashlib
import itertools
import re
from pathlib import Path

import pytest

import gradbook as gb
from small import WORDS, small_task
from stub import Stub

TEMPLATES = gb.Templates(
    rewrite="REWRITE|{prompt}|{critiques}",
    rewrite_momentum="MOMENTUM|{prompt}|{past}|{critiques}",
    add="ADD|{prompt}|{critiques}",
    paraphrase="PARAPHRASE|{prompt}",
    output_critique="OUTPUT|{input}|{output}|{evaluation}",
    prompt_critique="PROMPT|{prompt}|{output_critique}",
    one_step="ONE|{prompt}|{examples}",
    critic_seed="Judge it.",
    critic_binary="Say Verdict: X.",
)
RULES = ("red means K1.", "green means K2.", "blue means K3.", "red means K3.", "green means K1.", "blue means K2.")


def reply(messages: list[dict], body: dict) -> str:
    """The task's model follows rules, a critique is never the same twice, and each rewrite adds the rule that its seed says."""
    *system, user = [message["content"] for message in messages]
    if system and "Verdict: X" in system[0]:
        return f"Verdict: {'right' if 'red' in user else 'wrong'}"
    if system:
        return answer(system[0], user)
    told = user.split("|")
    if told[0] == "PARAPHRASE":
        return f"{told[1]} Please."
    if told[0] in ("REWRITE", "MOMENTUM", "ADD", "ONE"):
        rule = RULES[body["seed"] % len(RULES)]
        return f"A new text. {rule}" if told[0] == "ADD" else f"{told[1]} {rule}"
    return "critique " + hashlib.sha256(f"{user}{body['seed']}".encode()).hexdigest()[:10]


def answer(prompt: str, text: str) -> str:
    """The last rule about a colour counts; without one it is K1."""
    rules = dict(re.findall(r"(red|green|blue) means (K\d)", prompt))
    return rules.get(next(word for word in WORDS if word in text), "K1")


@pytest.fixture(scope="module")
def stub():
    with Stub(reply=reply) as running:
        yield running


def make(stub, path: Path, method: gb.Method, task: gb.Task | None = None, seed: int = 0, cache=False) -> gb.Case:
    model = gb.connect("small", base_url=stub.url, api_key="k", cache=cache)
    return gb.Case(path, task=task or small_task(train=12, validation=9), model=model, method=method, seed=seed)


def asked(stub, since: int, word: str) -> list[str]:
    """The user messages since then that begin with a word."""
    texts = [r.body["messages"][-1]["content"] for r in stub.requests[since:]]
    return [text for text in texts if text.startswith(f"{word}|")]


def accuracy(case: gb.Case, prompt: str) -> float:
    return sum(answer(prompt, e.input) == e.target for e in case.task.validation) / len(case.task.validation)


@pytest.mark.parametrize("preset", [gb.presets.protegi, gb.presets.momentum, gb.presets.textgrad, gb.presets.gepa, gb.presets.add_only])
def test_a_preset_says_what_it_keeps_and_takes_other_settings(preset):
    assert "Kept:" in preset.__doc__ and "Differs:" in preset.__doc__
    assert preset().changed() and preset(labels="wrong", batch_size=4).changed().items() >= {"labels": "wrong", "batch_size": 4}.items()


# --- ProTeGi ---------------------------------------------------------------------------------------------------------------


def test_protegi_edits_each_critique_of_each_error_apart(stub, tmp_path):
    case, before = make(stub, tmp_path / "case", gb.presets.protegi(templates=TEMPLATES)), len(stub.requests)
    step = case.step()
    wrong = [name for name in step.batch if case.task.example(name).target != "K1"]
    places = [(name, index) for name in wrong for index in range(2)]
    assert len(wrong) in (2, 3) and len(asked(stub, before, "OUTPUT")) == len(asked(stub, before, "PROMPT")) == len(places)
    assert [(c.example, c.index) for c in step.output_critique] == [(c.example, c.index) for c in step.prompt_critique] == places
    texts = {(c.example, c.index): c.text for c in step.prompt_critique}
    assert len(set(texts.values())) == len(places), "several critiques of one output differ"
    criticised = {(c.example, c.index): c.text for c in step.output_critique}
    assert sorted(asked(stub, before, "PROMPT")) == sorted(f"PROMPT|{step.prompt}|{text}" for text in criticised.values())

    edits, others = step.rewrite[: 2 * len(places)], step.rewrite[2 * len(places) :]
    assert [candidate.index for candidate in step.rewrite] == list(range(4 * len(places)))
    assert [(c.example, c.critique) for c in edits] == [place for place in places for _ in range(2)]
    assert sorted(asked(stub, before, "REWRITE")) == sorted(f"REWRITE|{step.prompt}|- {texts[place]}" for place in places for _ in range(2))
    assert [c.paraphrase_of for c in edits] == [None] * len(edits) and [c.paraphrase_of for c in others] == [c.index for c in edits]
    assert [c.prompt for c in others] == [f"{c.prompt} Please." for c in edits]
    assert len({c.prompt for c in edits}) > 2, "several edits after one critique differ"


def best(case: gb.Case, prompts: list[str], width: int) -> list[float]:
    """The scores of the best distinct prompts, the best first."""
    return sorted((accuracy(case, prompt) for prompt in dict.fromkeys(prompts)), reverse=True)[:width]


def ends(step) -> list[str]:
    """Everything that a step of a beam could go on with."""
    return [step.prompt, *(candidate.prompt for candidate in step.rewrite)]


@pytest.mark.parametrize("width", [2, 3, 4])
def test_each_depth_expands_just_the_best_prompts_of_the_one_before(width, stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.presets.protegi(beam=width, critiques=1, templates=TEMPLATES))
    case.run(batches=4)
    depths = [[step for step in case if step.depth == depth] for depth in range(5)]
    assert len(depths[1]) == 1 and all(len(members) == width for members in depths[2:])
    for above, members in itertools.pairwise(depths[1:]):
        offered = [prompt for step in above for prompt in ends(step)]
        prompts = [step.prompt for step in members]
        assert len(set(prompts)) == len(prompts), "the members of a beam differ"
        assert set(prompts) <= set(offered)
        assert [accuracy(case, prompt) for prompt in prompts] == pytest.approx(best(case, offered, width))
        assert {step.batch for step in members} == {members[0].batch} and members[0].batch != above[0].batch
        for position, step in enumerate(members):
            assert step.parent in {one.id for one in above} and step.prompt in ends(case[step.parent])
            assert step.fellows == tuple(one.id for one in members[:position])
            assert [case[parent].candidate(index) for parent, index in step.queue] == prompts[position + 1 :]
    for step in (step for step in case if step.id):
        kept = [step.candidate(index) for index in step.select.kept]
        assert len(set(kept)) == len(kept) <= width and [accuracy(case, p) for p in kept] == pytest.approx(best(case, ends(step), width))
        assert kept[0] == step.chosen_prompt
        assert step.select.scores == pytest.approx({str(i): accuracy(case, step.candidate(i)) for i in range(-1, len(step.rewrite))})


def test_a_prompt_that_two_members_end_with_is_carried_on_once(tmp_path):
    """A rule that changes no answer, and the same one always, so that members end with the same prompts, and as good."""

    def one_rule(messages, body):
        text = messages[-1]["content"]
        return f"{text.split('|')[1]} red means K1." if text.startswith("REWRITE|") else reply(messages, body)

    with Stub(reply=one_rule) as stub:
        method = gb.presets.protegi(beam=3, critiques=1, candidates=1, paraphrases=0, templates=TEMPLATES)
        case = make(stub, tmp_path / "case", method)
        case.run(batches=3)
    prompts = [step.prompt for step in case if step.depth == 3]
    old, rule = case.task.seed_prompt, " red means K1."
    assert len([step for step in case if step.depth == 2]) == 2
    assert sorted(prompts, key=len) == [old, old + rule, old + rule * 2]


def test_undo_and_go_in_a_beam_take_the_same_way_again_for_nothing(stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.presets.protegi(beam=3, critiques=1, templates=TEMPLATES), cache=tmp_path / "cache.sqlite")
    case.run(batches=3)
    first, last = len(case), case.current
    before = len(stub.requests)
    case.go(1)
    case.run(batches=3)
    assert len(stub.requests) == before
    again = list(case)[first:]
    assert len(again) == first - 2 and case.current.chosen_prompt == last.chosen_prompt
    different = {"id", "parent", "fellows", "queue"}
    assert [s.model_dump(exclude=different) for s in again] == [s.model_dump(exclude=different) for s in list(case)[2:first]]
    middle = next(step for step in case if step.depth == 2 and step.fellows and step.queue)
    case.go(middle)
    following = case.step()
    assert (following.depth, following.fellows) == (2, (*middle.fellows, middle.id)) and following.queue == middle.queue[1:]
    assert len(stub.requests) == before


def test_a_branch_takes_its_place_in_the_beam(stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.presets.protegi(beam=2, critiques=1, templates=TEMPLATES))
    case.run(batches=2)
    second = case.current
    good = "red means K1. green means K2. blue means K3."
    branch = case.perturb(second, gb.edits.replace("candidate", candidate=0, text=good))
    assert branch.fellows == second.fellows and branch.select.scores["0"] == 1.0
    following = case.step()
    assert following.depth == 3 and following.prompt == good and following.parent == branch.id


def test_a_choice_by_hand_is_what_the_beam_goes_on_with(stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.presets.protegi(beam=3, critiques=1, templates=TEMPLATES))
    step = case.step()
    worst = min(step.select.scores, key=lambda index: step.select.scores[index])
    branch = case.perturb(step, gb.edits.replace("selection", text=worst))
    assert branch.select.kept == (int(worst),)
    following = case.step()
    assert following.prompt == step.candidate(int(worst)) == branch.chosen_prompt and following.queue == ()


def test_a_prompt_that_makes_no_errors_keeps_its_place_in_the_beam(stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.presets.protegi(beam=2, critiques=1, templates=TEMPLATES))
    step = case.step()
    good = "red means K1. green means K2. blue means K3."
    case.perturb(step, gb.edits.replace("candidate", candidate=0, text=good))
    case.run(batches=2)
    best, other = (s for s in case if s.depth == 2)
    assert best.prompt == good and best.rewrite == () and best.select.chosen == -1 and best.select.scores == {"-1": 1.0}
    assert "nothing was rewritten" in best.select.reason
    following = case.step()
    assert following.prompt == good and following.parent == best.id, "it is not lost to worse ones"
    assert len(other.rewrite) > 0 and len(following.queue) == 1


def test_a_method_without_a_beam_goes_on_from_the_best_of_it(stub, tmp_path):
    for batches, extra in ((2, 0), (1, 2)):
        case = make(stub, tmp_path / f"{batches}{extra}", gb.presets.protegi(beam=3, critiques=1, templates=TEMPLATES))
        case.run(batches=batches)
        for _ in range(extra):
            case.step()
        offered = [prompt for step in case if step.depth == case.current.depth for prompt in ends(step)]
        case.use(gb.Method(candidates=1, templates=TEMPLATES))
        following = case.step()
        assert following.depth == case.current.depth == 3 and following.queue == following.fellows == ()
        assert accuracy(case, following.prompt) == pytest.approx(best(case, offered, 1)[0])


# --- momentum --------------------------------------------------------------------------------------------------------------


def listed(*steps) -> str:
    return "\n".join(f"- {critique.text}" for step in steps for critique in step.prompt_critique)


@pytest.mark.parametrize("count", [1, 3])
def test_momentum_shows_the_critiques_of_the_last_steps_oldest_first(count, stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.presets.momentum(count, selection="naive", candidates=1, templates=TEMPLATES))
    line = []
    for number in range(6):
        before = len(stub.requests)
        step = case.step()
        past = line[-count:]
        if number == 0:
            assert asked(stub, before, "REWRITE") == [f"REWRITE|{step.prompt}|{listed(step)}"] and not asked(stub, before, "MOMENTUM")
        else:
            assert asked(stub, before, "MOMENTUM") == [f"MOMENTUM|{step.prompt}|{listed(*past)}|{listed(step)}"]
        line.append(step)
    case.go(line[1])
    before = len(stub.requests)
    branch = case.perturb(line[2], gb.edits.replace("prompt_critique", example=0, text="another"))
    after = case.step()
    told = asked(stub, before, "MOMENTUM")
    assert told[0] == f"MOMENTUM|{branch.prompt}|{listed(*line[max(0, 2 - count) : 2])}|{listed(branch)}"
    assert told[1] == f"MOMENTUM|{after.prompt}|{listed(*[*line[:2], branch][-count:])}|{listed(after)}", "of this line, not of the other"


def test_the_momentum_of_a_critic_is_its_own(stub, tmp_path):
    method = gb.presets.momentum(2, selection="naive", candidates=1, evaluation="critic-binary", templates=TEMPLATES)
    case = make(stub, tmp_path / "case", method)
    for _ in range(3):
        before = len(stub.requests)
        task, critic = case.step(), case.step()
        told = asked(stub, before, "MOMENTUM")
    steps = list(case)[1:]
    assert told[0] == f"MOMENTUM|{task.prompt}|{listed(steps[0], steps[2])}|{listed(task)}"
    assert told[1] == f"MOMENTUM|{critic.prompt}|{listed(steps[1], steps[3])}|{listed(critic)}"
    assert [step.variable for step in steps] == ["prompt", "critic"] * 3


# --- add-only and errors-only ----------------------------------------------------------------------------------------------


def test_add_only_never_changes_a_word(stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.presets.add_only(templates=TEMPLATES))
    for _ in range(5):
        step = case.step()
        assert len(step.rewrite) == 3
        for candidate in step.rewrite:
            assert candidate.prompt == step.prompt or candidate.prompt.startswith(f"{step.prompt}\nA new text. ")
        assert step.chosen_prompt.startswith(case.task.seed_prompt)
    assert len(set(case.current.chosen_prompt.splitlines())) == len(case.current.chosen_prompt.splitlines()), "nothing is said twice"
    assert len(case.current.chosen_prompt.splitlines()) > 1


@pytest.mark.parametrize(
    ("said", "added"),
    [
        ("", ""),
        ("Give each item its code.", ""),
        ("Give each item its code.\nred means K1.", "\nred means K1."),
        ("<prompt>red means K1.\n\n  blue means K3.</prompt>", "\nred means K1.\n  blue means K3."),
        ("Forget all of it.", "\nForget all of it."),
    ],
)
def test_what_add_only_adds(said, added, tmp_path):
    def fixed(messages, body):
        return said if messages[-1]["content"].startswith("ADD|") else reply(messages, body)

    with Stub(reply=fixed) as stub:
        case = make(stub, tmp_path / "case", gb.presets.add_only(selection="naive", templates=TEMPLATES, candidates=1))
        assert case.step().chosen_prompt == f"Give each item its code.{added}"


@pytest.mark.parametrize("update", ["three-stage", "one-step"])
@pytest.mark.parametrize("selection", ["naive", "validated", "random", "guard"])
def test_where_nothing_is_wrong_nothing_is_rewritten(update, selection, tmp_path):
    with Stub(reply=reply) as stub:
        task = small_task()
        good = gb.Task(**{**vars(task), "seed_prompt": "red means K1. green means K2. blue means K3."})
        method = gb.Method(update=update, selection=selection, errors_only=True, templates=TEMPLATES)
        case = make(stub, tmp_path / "case", method, good)
        step = case.step()
        assert len(stub.requests) == 3, "three outputs and no more"
        assert step.rewrite == () and step.select.chosen == -1 and step.select.scores == {} and step.chosen_prompt == good.seed_prompt
        assert "nothing was rewritten" in step.select.reason
        assert case.step().prompt == good.seed_prompt
        case.close()
        assert gb.Case(tmp_path / "case")[1].done, "it is done when it is read again, too"


def test_errors_only_tells_the_optimiser_of_errors_alone(stub, tmp_path):
    case, before = make(stub, tmp_path / "case", gb.Method(update="one-step", errors_only=True, templates=TEMPLATES)), len(stub.requests)
    step = case.step()
    for text in asked(stub, before, "ONE"):
        for name in step.batch:
            assert (case.task.example(name).input in text) == (case.task.example(name).target != "K1")
    branch = case.perturb(
        step, gb.edits.replace("label", example=next(n for n in step.batch if case.task.example(n).target != "K1"), text="K1")
    )
    assert asked(stub, before, "ONE")[-1].count("Item") == asked(stub, before, "ONE")[0].count("Item") - 1, "what its label now calls right"
    assert branch.predict == step.predict


def test_errors_are_those_by_the_label_that_is_shown(stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.Method(labels="wrong", errors_only=True, templates=TEMPLATES))
    step = case.step()
    wrong = [name for name in step.batch if case.task.wrong_label(case.task.example(name)) != "K1"]
    assert [c.example for c in step.output_critique] == wrong


# --- random ----------------------------------------------------------------------------------------------------------------


def choices(case: gb.Case) -> list[int]:
    return [step.select.chosen for step in case if step.id]


def test_a_random_choice_follows_the_seed(stub, tmp_path):
    runs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        case = make(stub, tmp_path / name, gb.Method(selection="random", candidates=4, templates=TEMPLATES), seed=seed)
        case.run(batches=10)
        runs[name] = choices(case)
        assert all(step.select.scores == {} and step.chosen_prompt == step.rewrite[step.select.chosen].prompt for step in list(case)[1:])
    assert runs["a"] == runs["b"] != runs["c"]
    assert set(runs["a"]) | set(runs["c"]) == {0, 1, 2, 3}, "every candidate has its chance, and the old prompt none"


def test_a_replicate_of_a_random_choice_chooses_afresh(stub, tmp_path):
    case = make(stub, tmp_path / "case", gb.Method(selection="random", candidates=5, templates=TEMPLATES))
    step = case.step()
    again = [case.replicate(step, "select", number) for number in range(1, 9)]
    assert all(branch.rewrite == step.rewrite for branch in again)
    assert len({branch.select.chosen for branch in again}) > 2
    assert case.replicate(step, "select", 3) == again[2] and len(case) == 10, "the same replicate is the same choice, and not run again"


def test_a_method_names_the_templates_that_are_not_its_own():
    other = gb.Templates(add="Other: {prompt} {critiques}", verdict_right="Yes.", evaluation_right="Good.")
    assert gb.Method(templates=other).own_templates == ["evaluation_right"]
    assert gb.presets.add_only(templates=other).own_templates == ["evaluation_right", "add"]
    assert gb.Method(evaluation="critic-score", templates=other).own_templates == ["verdict_right"]
    assert gb.Method(update="improve", templates=other).own_templates == []
