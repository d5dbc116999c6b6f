"""Every arm of the paper is a setting: which combinations there are, and what each of them asks of which model, word for word.

The templates are the test's own, so that every message can be written down here, and so are the models: `said` is what they reply.
"""

import functools
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

import gradbook as gb
from gradbook.errors import MethodError
from gradbook.records import Example
from small import WORDS, reply, small_task
from stub import Stub

ROOT = Path(__file__).resolve().parent.parent
UPDATES, LABELS = ("three-stage", "one-step", "rewrite", "improve"), ("correct", "wrong", "none")
EVALUATIONS, SELECTIONS = ("direct", "critic-binary", "critic-score"), ("naive", "validated", "random", "guard")
TEMPLATES = gb.Templates(
    evaluation_right="[right: {answer}]",
    evaluation_wrong="[wrong: {answer}, not {label}]",
    evaluation_unparsed="[nothing, not {label}]",
    evaluation_none="[no evaluation]",
    output_critique="OUTPUT|{input}|{output}|{evaluation}",
    prompt_critique="PROMPT|{prompt}|{input}|{output}|{output_critique}",
    rewrite="REWRITE|{prompt}|{critiques}",
    rewrite_momentum="MOMENTUM|{prompt}|{past}|{critiques}",
    add="ADD|{prompt}|{critiques}",
    one_step="ONE|{prompt}|{examples}",
    one_step_example="({input}|{output}|{evaluation})",
    paraphrase="PARAPHRASE|{prompt}",
    improve="IMPROVE|{prompt}",
    critic_seed="Judge the code.",
    critic_input="IN {input} OUT {output}",
    critic_binary="Say Verdict: right or wrong.",
    critic_score="Say Score: 0 to 100.",
    verdict_right="[holds: {answer}, {label}]",
    verdict_wrong="[fails: {answer}, {label}]",
    verdict_unparsed="[no verdict, {label}]",
)
FORMS = {"critic-binary": TEMPLATES.critic_binary, "critic-score": TEMPLATES.critic_score}


def answer(prompt: str, text: str) -> str:
    """The task's model: it follows rules like "red means K2" where the prompt holds them, and else says K1."""
    rules = dict(re.findall(r"(red|green|blue) means (K\d)", prompt))
    return rules.get(colour(text), "K1")


def colour(text: str) -> str:
    return next(word for word in WORDS if word in text)


def verdict(prompt: str, text: str) -> str:
    """The critic: it takes red for right, and follows rules like "green is right"; in numbers, it runs over the top for green."""
    rules = dict(re.findall(r"(red|green|blue) is (right|wrong)", prompt))
    says = rules.get(colour(text)) or ("right" if colour(text) == "red" else "wrong")
    if TEMPLATES.critic_binary in prompt:
        return f"Verdict: {says}"
    return f"Score: {130 if colour(text) == 'green' and 'green' not in rules else 90 if says == 'right' else 20}"


def said(messages: list[dict], body: dict) -> str:
    """What each model replies; a critique is never the same twice, a rewrite adds a rule, as its seed says, or nothing."""
    *system, user = [message["content"] for message in messages]
    if body["model"] == "task":
        return answer(system[0], user)
    if system:
        return verdict(system[0], user)
    if body["model"] == "critic":
        return "critique " + hashlib.sha256(f"{user}{body['seed']}".encode()).hexdigest()[:12]
    old = user.split("|")[1]
    rules = ["green is right.", "red is wrong."] if old.startswith("Judge") else ["green means K2.", "red means K3."]
    return " ".join([old, *rules[body["seed"] % 3 :][:1]])


@pytest.fixture(scope="module")
def stub():
    with Stub(reply=said) as running:
        yield running


@functools.cache
def models(url: str) -> dict[str, gb.Model]:
    """A model for each role, without a cache, so that every call reaches the stub, which knows the role by the model's name."""
    names = {"model": "task", "critic": "critic", "optimizer": "optimizer"}
    return {role: gb.connect(name, base_url=url, api_key="k", cache=False) for role, name in names.items()}


def make(stub, folder: Path, method: gb.Method | None, task: gb.Task | None = None, name: str = "case") -> gb.Case:
    return gb.Case(folder / name, task=task or small_task(), method=method, **models(stub.url))


def table() -> dict[tuple[str, str, str], list[str]]:
    """The table of the section "Every arm" of the README: the selections for each (update, labels, evaluation)."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Every arm\n")[1].split("\n## ")[0]
    head, _, *rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    assert head == ["update", "labels", *EVALUATIONS]
    return {
        (update, labels, evaluation): [] if cell == "–" else cell.split(", ")
        for update, labels, *cells in rows
        for evaluation, cell in zip(EVALUATIONS, cells, strict=True)
    }


ARMS = [(*arm, selection) for arm, selections in table().items() for selection in selections]


# --- which combinations there are ------------------------------------------------------------------------------------------


def test_the_table_names_every_arm_of_the_paper():
    assert len(ARMS) == len(set(ARMS)) == 64
    assert {arm[0] for arm in ARMS} == set(UPDATES) and {arm[3] for arm in ARMS} == set(SELECTIONS)


@pytest.mark.parametrize("arm", [*itertools.product(UPDATES, LABELS, EVALUATIONS, SELECTIONS)], ids="/".join)
def test_exactly_what_the_table_lists_can_be_set(arm):
    settings = dict(zip(("update", "labels", "evaluation", "selection"), arm, strict=True))
    if arm in ARMS:
        method = gb.Method(**settings)
        assert method.model_dump(include=settings.keys()) == settings
        assert method.candidates == (1 if arm[3] in ("naive", "guard") else 3)
        return
    blind = arm[0] in ("rewrite", "improve")
    clash = ("update", "labels") if blind and arm[1] != "none" else ("update" if blind else "labels", "evaluation")
    refused(settings, [f"{name}={settings[name]!r}" for name in clash])


def refused(settings: dict, named: list[str]) -> None:
    """The refusal is one sentence that names what clashes and then what would be right, and that advice ends the complaint."""
    with pytest.raises(MethodError) as caught:
        gb.Method(**settings)
    sentence = str(caught.value)
    what, _, advice = sentence.rpartition(": ")
    assert "\n" not in sentence and ". " not in sentence and len(sentence) < 170
    assert all(name in what for name in named), sentence
    fixes = [{name: json.loads(value.replace("'", '"'))} for name, value in re.findall(r"(\w+)=('[\w-]+'|\d+)", advice)]
    fixes += [{next(iter(fixes[-1])): other} for other in re.findall(r"or '([\w-]+)'", advice) if fixes]
    fixes += [{name: None} for name in re.findall(r"leave (\w+) out", advice)]
    if "leave one of them out" in advice:
        fixes += [{name: None} for name in re.findall(r"(\w+)(?:=| )", what) if name in settings]
    assert fixes, f"no advice in: {sentence}"
    for fix in fixes:
        try:
            gb.Method(**{name: value for name, value in (settings | fix).items() if value is not None})
        except MethodError as error:
            assert str(error) != sentence, f"following {fix} does not help"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"selection": "naive", "candidates": 2}, ["naive selection"]),
        ({"selection": "guard", "candidates": 5}, ["guard selection"]),
        ({"selection": "naive", "validation_labels": "wrong"}, ["naive selection", "validation labels"]),
        ({"selection": "random", "validation_labels": "wrong"}, ["random selection", "validation labels"]),
        ({"labels": "none", "errors_only": True}, ["errors_only=True"]),
        ({"update": "improve", "errors_only": True}, ["update='improve'", "errors_only=True"]),
        ({"update": "one-step", "critiques": 2}, ["critiques=2"]),
        ({"update": "improve", "critiques": 3}, ["critiques=3"]),
        ({"update": "one-step", "apart": True}, ["apart=True"]),
        ({"update": "rewrite", "momentum": 2}, ["momentum=2"]),
        ({"update": "one-step", "add_only": True}, ["add_only=True"]),
        ({"add_only": True, "paraphrases": 1}, ["add_only=True", "paraphrases"]),
        ({"add_only": True, "momentum": 3}, ["add_only=True", "momentum"]),
        ({"selection": "naive", "apart": True}, ["naive selection", "apart=True"]),
        ({"selection": "guard", "paraphrases": 2}, ["guard selection", "paraphrases"]),
        ({"selection": "random", "beam": 2}, ["beam=2"]),
        ({"selection": "guard", "beam": 3}, ["beam=3"]),
        ({"beam": 2, "evaluation": "critic-binary"}, ["beam=2"]),
        ({"constraints": ["Stay short."]}, ["constraints"]),
        ({"engine": "gepa", "in_context": ["Say K1."]}, ["in_context"]),
        ({"engine": "textgrad", "update": "one-step"}, ["TextGrad", "update='one-step'"]),
        ({"engine": "textgrad", "errors_only": True}, ["TextGrad", "errors_only=True"]),
        ({"engine": "textgrad", "critiques": 2}, ["TextGrad", "critiques=2"]),
        ({"engine": "textgrad", "apart": True}, ["TextGrad", "apart=True"]),
        ({"engine": "textgrad", "paraphrases": 1}, ["TextGrad", "paraphrases=1"]),
        ({"engine": "textgrad", "add_only": True}, ["TextGrad", "add_only=True"]),
    ],
    ids=str,
)
def test_other_settings_that_make_no_sense_together_are_refused(settings, named):
    refused(settings, named)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": "right"}, "labels='right'"),
        ({"update": ["rewrite"]}, "update"),
        ({"selection": ["naive"]}, "selection"),
        ({"candidates": 6}, "Rewrites a step, 1 to 5"),
        ({"critiques": 0}, "Critiques of each output, 1 to 5"),
        ({"paraphrases": -1}, "0 to 5"),
        ({"beam": 9}, "1 to 5"),
        ({"momentum": 21}, "momentum=21"),
        ({"train_every": -1}, "0: never"),
        ({"candidate": 3}, "candidate=3"),
    ],
)
def test_a_setting_that_does_not_exist_or_is_out_of_range_is_named(settings, said):
    with pytest.raises(MethodError, match=re.escape(said)) as caught:
        gb.Method(**settings)
    assert "\n" not in str(caught.value)


def test_every_setting_has_a_line_that_explains_it():
    for name in gb.Method.model_fields:
        assert len(gb.Method.help(name)) > 10


# --- what each arm asks ----------------------------------------------------------------------------------------------------


class Calls:
    """The calls of a case, by what they were made for; each is (role, system message or None, user message, reply)."""

    def __init__(self, case: gb.Case) -> None:
        self.steps, self.scores = defaultdict(dict), defaultdict(dict)
        self.asked = {q.id: case.prompt_text(q.prompt) for q in case.recorded_questions() if q.variable == "prompt"}
        for row in case.calls().itertuples(index=False):
            kind, owner, *place = row[0].split("/")
            *system, user = [message["content"] for message in row.messages]
            call = (row.role, *(system or [None]), user, row.text)
            if kind == "step":
                stage, example, index, _ = place
                self.steps[int(owner), stage][example, int(index)] = call
            else:
                assert place[0] == "validation" and place[1] == "predict"
                self.scores[owner][place[2]] = call

    def count(self, step: int) -> dict[str, int]:
        return {stage: len(calls) for (owner, stage), calls in self.steps.items() if owner == step}


def shown_label(labels: str, task: gb.Task, example: Example) -> str | None:
    return {"correct": example.target, "wrong": task.wrong_label(example), "none": None}[labels]


def in_words(given: str | None, shown: str | None) -> str:
    """The direct evaluation of an answer."""
    if shown is None:
        return "[no evaluation]"
    return f"[right: {given}]" if given == shown else f"[wrong: {given}, not {shown}]"


def accuracy(task: gb.Task, prompt: str, true: bool = True) -> float:
    labels = [example.target if true else task.wrong_label(example) for example in task.validation]
    return sum(answer(prompt, e.input) == label for e, label in zip(task.validation, labels, strict=True)) / len(labels)


def says(reply: str) -> str | None:
    """What a verdict says, read without the package."""
    if number := re.fullmatch(r"Score: (\d+)", reply):
        return None if int(number[1]) > 100 else ("right" if int(number[1]) >= 50 else "wrong")
    return reply.removeprefix("Verdict: ")


def agreement(task: gb.Task, critic: str, judged: str) -> float:
    """How often the critic's verdicts on the validation outputs of a prompt are true."""
    truth = [(e, "right" if answer(judged, e.input) == e.target else "wrong") for e in task.validation]
    return sum(says(verdict(critic, e.input)) == true for e, true in truth) / len(truth)


def prompts_of(calls: Calls, step: int) -> list[str]:
    """The prompts that the optimiser wrote, by index."""
    return [reply for _, (_, _, _, reply) in sorted(calls.steps[step, "rewrite"].items(), key=lambda item: item[0][1])]


@pytest.mark.parametrize("arm", ARMS, ids="/".join)
def test_every_arm_asks_just_what_it_should(arm, stub, tmp_path):
    update, labels, evaluation, selection = arm
    task, before = small_task(), len(stub.requests)
    method = gb.Method(update=update, labels=labels, evaluation=evaluation, selection=selection, templates=TEMPLATES)
    case = make(stub, tmp_path, method)
    step = case.step()
    turn = case.step() if evaluation != "direct" else None
    calls, seen = Calls(case), stub.requests[before:]
    sent = Counter(json.dumps([r.body["model"], r.body["messages"]]) for r in seen)
    assert sent == Counter(json.dumps([row.model, list(row.messages)]) for row in case.calls().itertuples()), "every call is on record"
    assert step.done and step.variable == "prompt" and step.id == 1 and len(case) == (2 if turn is None else 3)

    batch = [task.example(name) for name in step.batch]
    n = 1 if selection in ("naive", "guard") else 3
    data, three, critic = update in ("three-stage", "one-step"), update == "three-stage", evaluation != "direct"
    expected = {"predict": 3 * data, "evaluate": 3 * critic, "output_critique": 3 * three, "prompt_critique": 3 * three, "rewrite": n}
    assert calls.count(1) == {stage: count for stage, count in expected.items() if count}
    assert len(batch) == 3 * data and {example.id for example in batch} <= {example.id for example in task.train}

    evaluations = {}
    for example in batch:
        given = answer(task.seed_prompt, example.input)
        asked = calls.steps[1, "predict"][example.id, 0]
        assert asked == ("task", f"{task.seed_prompt}\n\n{task.format_instruction}", example.input, given)
        evaluations[example.id] = in_words(given, shown_label(labels, task, example))
        if critic:
            form = f"{TEMPLATES.critic_seed}\n\n{FORMS[evaluation]}"
            judged = verdict(form, example.input)
            assert calls.steps[1, "evaluate"][example.id, 0] == ("critic", form, f"IN {example.input} OUT {given}", judged)
            evaluations[example.id] = judged
    check_update(calls, 1, update, task.seed_prompt, {e.id: (e.input, answer(task.seed_prompt, e.input), evaluations[e.id]) for e in batch})
    record_shows_both_labels(step, batch, labels if not critic else "none", task)
    scores = check_selection(calls, step, selection, task.seed_prompt, lambda prompt: accuracy(task, prompt))

    scored = {id: prompt for id, prompt in calls.asked.items() if prompt in scores}
    of_task = {name: made for name, made in calls.scores.items() if next(iter(made.values()))[0] == "task"}
    if selection in ("validated", "guard"):
        for name, prompt in scored.items():
            system = f"{prompt}\n\n{task.format_instruction}"
            assert of_task.pop(name) == {e.id: ("task", system, e.input, answer(prompt, e.input)) for e in task.validation}
    assert not of_task, "nothing else was scored"
    if turn is not None:
        check_critics_turn(calls, arm, task, step, turn, evaluations)


def check_update(calls: Calls, step: int, update: str, prompt: str, told: dict[str, tuple[str, str, str]]) -> None:
    """What the critic and the optimiser were told about each (input, output, evaluation)."""
    rewrites = {(role, system, user) for role, system, user, _ in calls.steps[step, "rewrite"].values()}
    assert len(rewrites) == 1, "every candidate answers the same question"
    ((role, system, user),) = rewrites
    assert role == "optimizer" and system is None
    if update == "three-stage":
        rules = []
        for name, (given, output, evaluation) in told.items():
            *asked, critique = calls.steps[step, "output_critique"][name, 0]
            assert asked == ["critic", None, f"OUTPUT|{given}|{output}|{evaluation}"]
            *asked, rule = calls.steps[step, "prompt_critique"][name, 0]
            assert asked == ["critic", None, f"PROMPT|{prompt}|{given}|{output}|{critique}"]
            rules.append(f"- {rule}")
        assert user == f"REWRITE|{prompt}|" + "\n".join(rules)
    elif update == "one-step":
        examples = [f"({given}|{output}|{evaluation})" for given, output, evaluation in told.values()]
        assert user == f"ONE|{prompt}|" + "\n\n".join(examples)
    else:
        assert user == {"rewrite": "PARAPHRASE|", "improve": "IMPROVE|"}[update] + prompt, "no input, no label"


def check_selection(calls: Calls, step, selection: str, old: str, score) -> list[str]:
    """The choice that must follow from the scores; returns the distinct prompts that there were to choose from."""
    made = prompts_of(calls, step.id)
    assert [candidate.prompt for candidate in step.rewrite] == made
    ends = {-1: old} | dict(enumerate(made))
    if selection in ("naive", "random"):
        assert step.select.scores == {} and step.select.chosen in range(len(made))
    else:
        assert step.select.scores == pytest.approx({str(index): score(prompt) for index, prompt in ends.items()})
        best = max(score(prompt) for prompt in ends.values())
        assert step.select.chosen == next(index for index, prompt in ends.items() if score(prompt) == best), "the old prompt wins a tie"
    assert step.chosen_prompt == ends[step.select.chosen]
    return list(dict.fromkeys(ends.values()))


def record_shows_both_labels(step, batch, labels: str, task: gb.Task) -> None:
    for evaluation, example in zip(step.evaluate or (), batch, strict=True):
        assert evaluation.target == example.target and evaluation.label == shown_label(labels, task, example)


def check_critics_turn(calls: Calls, arm, task: gb.Task, step, turn, verdicts: dict[str, str]) -> None:
    """The critic's step: it judges the recorded verdicts by the shown label, and its prompts by agreement on the validation split."""
    update, labels, evaluation, selection = arm
    assert turn.done and turn.variable == "critic" and (turn.parent, turn.depth, turn.batch) == (1, 1, step.batch)
    assert turn.prompt == TEMPLATES.critic_seed and turn.held == step.chosen_prompt
    n, three = 1 if selection in ("naive", "guard") else 3, 3 * (update == "three-stage")
    expected = {"output_critique": three, "prompt_critique": three, "rewrite": n}
    assert calls.count(2) == {stage: count for stage, count in expected.items() if count}, "no verdict is asked for again"

    told = {}
    for name in step.batch:
        example = task.example(name)
        given = answer(task.seed_prompt, example.input)
        truth = "right" if given == shown_label(labels, task, example) else "wrong"
        number = re.search(r"\d+", verdicts[name])
        stated = None if says(verdicts[name]) is None else (number[0] if number else says(verdicts[name]))
        held = f"[holds: {stated}, {truth}]" if says(verdicts[name]) == truth else f"[fails: {stated}, {truth}]"
        told[name] = (f"IN {example.input} OUT {given}", verdicts[name], held if stated else f"[no verdict, {truth}]")
    check_update(calls, 2, update, TEMPLATES.critic_seed, told)

    def score(prompt: str) -> float:
        return agreement(task, f"{prompt}\n\n{FORMS[evaluation]}", step.chosen_prompt)

    prompts = check_selection(calls, turn, selection, TEMPLATES.critic_seed, score)
    of_critic = [made for made in calls.scores.values() if next(iter(made.values()))[0] == "critic"]
    expected = {}
    for system in [f"{prompt}\n\n{FORMS[evaluation]}" for prompt in prompts] if selection in ("validated", "guard") else []:
        outputs = {e.id: (e.input, answer(step.chosen_prompt, e.input)) for e in task.validation}
        judged = {name: ("critic", system, f"IN {given} OUT {output}", verdict(system, given)) for name, (given, output) in outputs.items()}
        expected[system] = judged
    assert {next(iter(made.values()))[1]: made for made in of_critic} == expected and len(of_critic) == len(expected)


def test_no_message_to_a_critic_holds_a_label(tmp_path):
    """With the real templates as well: what evaluates sees the input and the output and nothing that a label could tell."""
    with Stub(reply=reply) as stub:
        case = make(stub, tmp_path, gb.Method(evaluation="critic-binary", selection="naive"))
        step = case.step()
    for calls in Calls(case).steps[1, "evaluate"].values():
        assert re.findall(r"K\d", calls[2]) == ["K1"] and "is right" not in calls[2] and "is wrong" not in calls[2]
    assert {prediction.output for prediction in step.predict} == {"K1"}


# --- wrong labels ----------------------------------------------------------------------------------------------------------

TASKS = {
    "small": small_task,
    "tickets": lambda: gb.tasks.ticket_routing(codes=3),
    "lies": lambda: gb.tasks.web_of_lies(people=4),
    "arithmetic": lambda: gb.tasks.multistep_arithmetic(),
}
_WRONG = """
import json, sys
import gradbook as gb
from small import small_task
tasks = [small_task(), gb.tasks.ticket_routing(codes=3), gb.tasks.web_of_lies(people=4), gb.tasks.multistep_arithmetic()]
print(json.dumps([[task.wrong_label(e) for split in ("train", "validation", "test") for e in task.split(split)] for task in tasks]))
"""


def wrong_labels(task: gb.Task) -> list[str]:
    return [task.wrong_label(e) for split in ("train", "validation", "test") for e in task.split(split)]


@pytest.mark.parametrize("name", TASKS)
def test_a_wrong_label_is_never_right(name):
    task = TASKS[name]()
    for split in ("train", "validation", "test"):
        assert not any(task.correct(task.wrong_label(e), e.target) for e in task.split(split))


def test_wrong_labels_are_the_same_in_every_process():
    here = [wrong_labels(task()) for task in TASKS.values()]
    for seed in ("0", "1", "4711"):
        found = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "tests")}
        there = subprocess.run([sys.executable, "-c", _WRONG], env=found, capture_output=True, text=True, check=True).stdout
        assert json.loads(there) == here


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_wrong_labels_reach_the_feedback_and_never_a_score(evaluation, stub, tmp_path):
    cases = {
        labels: make(stub, tmp_path, gb.Method(labels=labels, evaluation=evaluation, templates=TEMPLATES, train_every=1), name=labels)
        for labels in ("correct", "wrong")
    }
    for case in cases.values():
        for _ in range(2 if evaluation != "direct" else 1):
            case.step()
        for split in ("train", "validation", "test"):
            case.score(0, split)
    right, wrong = cases.values()
    of = [{(q.prompt, q.split): case.recorded(q) for q in case.recorded_questions()} for case in cases.values()]
    assert len(of[0].keys() & of[1].keys()) >= 3
    for both in of[0].keys() & of[1].keys():
        assert [(a.example, a.answer, a.correct, a.target) for a in of[0][both].answers] == [
            (a.example, a.answer, a.correct, a.target) for a in of[1][both].answers
        ]
    for case in cases.values():
        for score in [case.recorded(q) for q in case.recorded_questions()]:
            for found in score.answers:
                assert found.correct == agrees(found, case.task)
    last = 2 if evaluation != "direct" else 1
    assert all(p.correct == q.correct for p, q in zip(right[1].predict, wrong[1].predict, strict=True))
    assert [e.text for e in right[last].evaluate] != [e.text for e in wrong[last].evaluate], "the feedback differs"
    assert [e.target for e in right[last].evaluate] == [e.target for e in wrong[last].evaluate]
    told = {c.text for c in wrong[last].output_critique} & {c.text for c in right[last].output_critique}
    same = sum(e.text == f.text for e, f in zip(right[last].evaluate, wrong[last].evaluate, strict=True))
    assert len(told) == same, "critiques differ just where what they were shown differs"


def agrees(found, task: gb.Task) -> bool:
    """Whether a recorded answer is right by the true label, and a verdict true, read without the package."""
    if found.target is None:
        return found.answer == task.example(found.example).target
    said = found.answer if found.answer in ("right", "wrong", None) else ("right" if float(found.answer) >= 50 else "wrong")
    return said == found.target


@pytest.mark.parametrize("selection", ["validated", "guard"])
def test_wrong_validation_labels_choose_and_the_recorded_scores_stay_true(selection, tmp_path):
    task = small_task(validation=9)
    wrong = Counter(task.wrong_label(e) for e in task.validation if colour(e.input) == "red")
    bad = wrong.most_common(1)[0][0]
    offers = [f"red means {bad}.", "green means K2."]

    def optimiser(messages, body):
        if body["model"] != "optimizer":
            return said(messages, body)
        return f"Give each item its code. {offers[0] if selection == 'guard' else offers[body['seed'] % 2]}"

    chosen = {}
    with Stub(reply=optimiser) as stub:
        for labels in ("correct", "wrong"):
            candidates = 1 if selection == "guard" else 5
            method = gb.Method(selection=selection, candidates=candidates, validation_labels=labels, templates=TEMPLATES)
            case = make(stub, tmp_path, method, task, name=labels)
            step = case.step()
            chosen[labels] = step.chosen_prompt
            prompts = {"-1": step.prompt} | {str(c.index): c.prompt for c in step.rewrite}
            assert step.select.labels == labels and ("wrong labels" in step.select.reason) == (labels == "wrong")
            assert step.select.scores == pytest.approx({i: accuracy(task, prompt, labels == "correct") for i, prompt in prompts.items()})
            assert case.metrics(step).accuracy.value == pytest.approx(accuracy(task, step.chosen_prompt))
            for score in [case.recorded(q) for q in case.recorded_questions()]:
                assert all(a.correct == (a.answer == task.example(a.example).target) for a in score.answers)
    assert f"red means {bad}" in chosen["wrong"] and f"red means {bad}" not in chosen["correct"]


@pytest.mark.parametrize("evaluation", ["critic-binary", "critic-score"])
def test_wrong_validation_labels_choose_the_critic_too(evaluation, stub, tmp_path):
    task = small_task(validation=9)
    method = gb.Method(evaluation=evaluation, validation_labels="wrong", candidates=5, templates=TEMPLATES)
    case = make(stub, tmp_path, method, task)
    step, turn = case.step(), case.step()
    answers = {e.id: answer(step.chosen_prompt, e.input) for e in task.validation}
    wrong = {e.id: "right" if answers[e.id] == task.wrong_label(e) else "wrong" for e in task.validation}
    for index, prompt in {"-1": turn.prompt, **{str(c.index): c.prompt for c in turn.rewrite}}.items():
        form = f"{prompt}\n\n{FORMS[evaluation]}"
        found = sum(says(verdict(form, e.input)) == wrong[e.id] for e in task.validation) / len(task.validation)
        assert turn.select.scores[index] == pytest.approx(found)
    shown = case.metrics(turn).accuracy.value
    assert shown == pytest.approx(agreement(task, f"{turn.chosen_prompt}\n\n{FORMS[evaluation]}", step.chosen_prompt))


# --- changing the method ---------------------------------------------------------------------------------------------------


def test_a_branch_follows_the_method_of_the_step_it_was_branched_off(stub, tmp_path):
    case = make(stub, tmp_path, gb.Method(labels="wrong", selection="naive", templates=TEMPLATES))
    step = case.step()
    old = case.method
    case.use(gb.Method(update="one-step", candidates=2, templates=TEMPLATES))
    branch = case.perturb(step, gb.edits.replace("output_critique", example=0, text="another"))
    assert case.method_of(branch) == case.method_of(step) == old and branch.stages == step.stages
    assert len(branch.rewrite) == 1 and branch.select.scores == {} and len(branch.prompt_critique) == 3
    assert branch.evaluate == step.evaluate
    again = case.perturb(branch, gb.edits.replace("evaluation", example=0, text="once more"))
    assert case.method_of(again) == old, "and so does a branch of the branch"
    following = case.step()
    assert case.method_of(following).update == "one-step" and len(following.rewrite) == 2 and following.prompt_critique is None


def test_use_holds_from_the_next_step_on_and_is_kept(stub, tmp_path):
    first = gb.Method(selection="naive", templates=TEMPLATES)
    other = gb.Method(update="improve", selection="random", candidates=2, templates=TEMPLATES)
    case = make(stub, tmp_path, first)
    case.step()
    under_way = case.begin()
    case.use(other)
    assert case.step().id == under_way.id and case.method_of(under_way) == first, "a step under way keeps its method"
    case.close()
    case = make(stub, tmp_path, None)
    assert case.method == other
    third = case.step()
    assert case.method_of(third) == other and third.predict is None and len(third.rewrite) == 2
    assert [case.method_of(step) for step in case][1:] == [first, first, other]
    assert [line.split(",")[0] for line in case.steps()["method"]][1:] == ["three-stage", "three-stage", "improve"]


@pytest.mark.parametrize(("was", "then"), [("critic-binary", "critic-score"), ("critic-score", "critic-binary")])
def test_a_critics_step_under_another_form_asks_for_its_verdicts_anew(was, then, stub, tmp_path):
    case = make(stub, tmp_path, gb.Method(evaluation=was, selection="naive", templates=TEMPLATES))
    step = case.step()
    case.use(gb.Method(evaluation=then, selection="naive", templates=TEMPLATES))
    turn = case.step()
    asked = Calls(case).steps[2, "predict"]
    assert {name for name, _ in asked} == set(step.batch)
    assert {call[1] for call in asked.values()} == {f"{TEMPLATES.critic_seed}\n\n{FORMS[then]}"}
    assert all(p.answer is not None or "130" in p.output for p in turn.predict), "no verdict is read in the form of another"


def test_a_method_without_a_critic_ends_the_critics_turns(stub, tmp_path):
    case = make(stub, tmp_path, gb.Method(evaluation="critic-binary", selection="naive", templates=TEMPLATES))
    case.step()
    case.use(gb.Method(selection="naive", templates=TEMPLATES))
    following = case.step()
    assert following.variable == "prompt" and following.depth == 2 and following.held == ""
    case.use(gb.Method(evaluation="critic-binary", selection="naive", templates=TEMPLATES))
    third, fourth = case.step(), case.step()
    assert third.variable == "prompt" and third.held == TEMPLATES.critic_seed and fourth.variable == "critic"


def test_a_case_recorded_before_these_settings_opens_and_a_fork_of_it_goes_on(stub, tmp_path):
    old = gb.Recording(ROOT / "tests" / "golden" / "schema1" / "first_step")
    assert len(old) > 1 and old.method.evaluation == "direct" and old.method.beam == 1
    assert old.steps()["method"].str.startswith("three-stage, correct labels, direct").iloc[1]

    def label(messages, body):
        return "Answer: K2" if messages[0]["role"] == "system" else "Inputs about parcels get K2."

    with Stub(reply=label) as other:
        model = gb.connect("other", base_url=other.url, api_key="k", cache=tmp_path / "cache.sqlite")
        fork = gb.Case(old.copy(tmp_path / "fork"), model=model)
        assert [step.model_dump() for step in fork] == [step.model_dump() for step in old]
        new = fork.step()
        assert new.done and new.variable == "prompt" and len(new.evaluate) == len(new.batch)
        fork.use(gb.Method(evaluation="critic-binary", labels="wrong", selection="naive"))
        judged = fork.step()
        assert judged.held and fork.step().variable == "critic"
    assert len(gb.Recording(ROOT / "tests" / "golden" / "schema1" / "first_step")) == len(old)
