"""engine="gepa": GEPA's own code, a stage at a time, on gradbook's records; its own functions are the reference."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest

import gradbook as gb
from gradbook import background, tell
from gradbook.comparing import draw_calls
from gradbook.errors import CaseError, ModelError
from gradbook.studies.counting import step_calls
from gradbook.studies.trial import best_of_beam
from gradbook.tasks import Task
from small import WORDS, small_task
from stub import Stub

gepa = pytest.importorskip("gepa", reason='engine="gepa" needs GEPA: pip install "gradbook[gepa]"')
from gepa.adapters.default_adapter.default_adapter import EvaluationResult  # noqa: E402
from gepa.core.state import GEPAState, ValsetEvaluation  # noqa: E402
from gepa.gepa_utils import find_dominator_programs  # noqa: E402

pytestmark = pytest.mark.bridges
REFLECTION = "I provided an assistant with the following instructions"  # words of GEPA's prompt
RULE = re.compile(r"(red|green|blue) means (K\d)")


def plain_task() -> Task:
    """The small task without a format instruction, so that the system message is the prompt alone, as with GEPA's default adapter."""
    return replace(small_task(), format_instruction="", seed_prompt="Give each item its code: K1, K2 or K3.")


def answers(messages, body):
    """A model that follows rules like "red means K1", and as GEPA's reflection learns one from the first wrong output that it is shown."""
    text = messages[-1]["content"]
    if REFLECTION not in text:
        rules = dict(RULE.findall(messages[0]["content"]))
        return rules.get(next((colour for colour in WORDS if colour in text), ""), "K9")
    old = text.split("```")[1].strip()
    wrong = re.search(r"Item \d+ is (\w+)\.(?:(?!# Example).)*?right answer is (K\d)", text, re.DOTALL)
    taught = f" {wrong[1]} means {wrong[2]}." if wrong else ""
    return f"Here it is:\n```\n{old}{taught}\n```"


@pytest.fixture
def stub():
    with Stub(reply=answers) as running:
        yield running


def make(stub, path, task=None, seed=0, **settings):
    model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
    return gb.Case(path, task=task or plain_task(), model=model, method=gb.Method(engine="gepa", **settings), seed=seed)


def advance(case, step):
    """Run the next stage of a step."""
    background.run(case.runner.advance(step))


def sent(stub, since=0):
    """The messages of each request, from the `since`-th on."""
    return [request.body["messages"] for request in stub.requests[since:]]


def reflections(stub, since=0):
    return [messages[0]["content"] for messages in sent(stub, since) if REFLECTION in messages[0]["content"]]


class Talker:
    """A chat model of GEPA's own kind, a callable, that talks to the stub."""

    def __init__(self, stub):
        from openai import OpenAI

        self.client = OpenAI(base_url=stub.url, api_key="k")

    def __call__(self, messages):
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return self.client.chat.completions.create(model="small", messages=messages, seed=0).choices[0].message.content


class Silent:
    def log(self, message):
        pass


class Batches:
    """The batches that gradbook's steps took, in their order."""

    def __init__(self, batches):
        self.batches = batches

    def next_minibatch_ids(self, loader, state):
        return self.batches[state.i]


class Parents:
    """The candidates that gradbook's steps began with, by their texts."""

    def __init__(self, prompts):
        self.prompts = prompts

    def select_candidate_idx(self, state):
        return [candidate["prompt"] for candidate in state.program_candidates].index(self.prompts[state.i])


def own_run(stub, case, steps, **more):
    """GEPA's own run with its default adapter, feedback said as gradbook's evaluations are, the same batches and parents."""
    task, templates = case.task, case.method.templates

    def evaluator(data, response):
        answer = task.parse(response)
        right = task.correct(answer, data["answer"])
        found = "unparsed" if answer is None else "right" if right else "wrong"
        said = getattr(templates, f"evaluation_{found}").format(answer=answer, label=data["answer"]).strip()
        return EvaluationResult(float(right), said)

    places = {example.id: n for n, example in enumerate(task.train)}
    return gepa.optimize(
        seed_candidate={"prompt": task.seed_prompt},
        trainset=[{"input": e.input, "answer": e.target, "additional_context": {}} for e in task.train],
        valset=[{"input": e.input, "answer": e.target, "additional_context": {}} for e in task.validation],
        task_lm=Talker(stub),
        reflection_lm=Talker(stub),
        evaluator=evaluator,
        batch_sampler=Batches([[places[name] for name in step.batch] for step in steps]),
        candidate_selection_strategy=Parents([step.prompt for step in steps]),
        stop_callbacks=lambda state: state.i + 1 >= len(steps),
        logger=Silent(),
        **more,
    )


def as_set(messages):
    return sorted(str(each) for each in messages)


def test_one_step_sends_what_one_iteration_of_gepas_own_run_sends(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    ours = sent(stub)
    own_run(stub, case, [step])
    theirs = sent(stub, len(ours))
    assert len(reflections(stub)) == 2 and len(set(reflections(stub))) == 1, "one reflection each, the same to the letter"
    assert as_set(ours) == as_set(theirs), "the batch, the reflection, the candidate on the batch, and both on the validation split"
    assert step.select.acceptance.accepted and step.chosen_prompt == step.rewrite[0].prompt
    assert step_calls(case.method, case.task).total() == len(ours), "a plan knows them"


def test_acceptance_candidates_and_front_are_those_of_gepas_own_run(stub, tmp_path):
    case = make(stub, tmp_path / "case", seed=5)
    steps = [case.step() for _ in range(6)]
    theirs = own_run(stub, case, steps)
    accepted = [step for step in steps if step.select.chosen >= 0]
    assert theirs.candidates == [{"prompt": text} for text in (case[0].prompt, *(step.chosen_prompt for step in accepted))]
    assert 0 < len(accepted) < len(steps), "some were accepted and some were not"
    ids = [0, *(step.id for step in accepted)]
    front = find_dominator_programs(
        {n: set(best) for n, best in theirs.per_val_instance_best_candidates.items()}, theirs.val_aggregate_scores
    )
    assert steps[-1].select.acceptance.front == tuple(sorted(ids[number] for number in front))
    assert [case.metrics(id).accuracy.value for id in ids] == pytest.approx(theirs.val_aggregate_scores)


def test_the_next_step_begins_with_a_draw_from_the_front_that_is_the_same_again(stub, tmp_path):
    case = make(stub, tmp_path / "case", seed=5)
    steps = [case.step() for _ in range(6)]
    for before, step in pairwise(steps):
        found = before.select.acceptance
        assert found.next_from in found.front and step.parent == found.next_from and step.after == before.id
        assert step.prompt == case[step.parent].chosen_prompt and step.depth == before.depth + 1
    again = make(stub, tmp_path / "again", seed=5)
    assert [again.step().parent for _ in range(6)] == [step.parent for step in steps]


def test_edited_outputs_and_feedback_arrive_in_the_reflection(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step, since = case.step(), len(stub.requests)
    case.perturb(step, gb.edits.replace("evaluation", example=0, text="The codes go by the colour, says a person."))
    case.perturb(step, gb.edits.replace("prediction", example=1, text="A person would rather have said K2 here."))
    case.perturb(step, gb.edits.wrong_label(example=2))
    case.perturb(step, gb.edits.drop_example(0))
    said, said_output, relabelled, dropped = reflections(stub, since)
    assert "The codes go by the colour, says a person." in said and step.evaluate[0].text not in said.split("# Example 2")[0]
    assert "A person would rather have said K2 here." in said_output
    shown = case[4].evaluate[2].label
    assert shown != step.evaluate[2].label and shown in relabelled.split("# Example 3")[1]
    assert "# Example 3" not in dropped and case.task.example(step.batch[0]).input not in dropped
    predicted = [m for m in sent(stub, since) if m[0]["role"] == "system" and m[0]["content"] == step.prompt]
    assert not predicted, "no output that stands is asked for again"


def test_a_branch_asks_only_for_what_depends_on_the_edit_and_scores_come_from_the_record(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step, since = case.step(), len(stub.requests)
    branch = case.perturb(step, gb.edits.paraphrase("evaluation", example=0))
    assert branch.predict == step.predict and branch.evaluate[1:] == step.evaluate[1:]
    asked = sent(stub, since)
    on_batch, on_validation = len(step.batch), len(case.task.validation)
    new = 0 if branch.chosen_prompt in (step.prompt, step.chosen_prompt) else on_validation
    assert len(asked) == 1 + 1 + on_batch + new, "the paraphrase, the reflection, the candidate on the batch, and its validation"


def test_a_batch_that_is_all_right_is_skipped(stub, tmp_path):
    task = plain_task()
    good = replace(task, seed_prompt="red means K1. green means K2. blue means K3.")
    case = make(stub, tmp_path / "case", task=good)
    step = case.step()
    assert step.rewrite == () and step.select.chosen == -1 and "GEPA skips such a batch" in step.select.reason
    assert not reflections(stub) and step.select.acceptance.after is None


@pytest.mark.parametrize(("reply", "lost"), [("", "no reply"), ("```\n```", "no reply")])
def test_a_reply_that_holds_no_instruction_makes_no_candidate(tmp_path, reply, lost):
    with Stub(reply=lambda messages, body: reply if REFLECTION in messages[-1]["content"] else "K9") as stub:
        step = make(stub, tmp_path / "case").step()
        assert step.rewrite[0].lost == lost and step.rewrite[0].prompt == "" and step.select.chosen == -1
        assert "no candidate can be used" in step.select.reason


def test_a_choice_by_hand_is_what_the_next_step_begins_with(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    assert step.select.chosen == 0
    back = case.perturb(step, gb.edits.replace("selection", text="-1"))
    assert back.select.acceptance.front == () and back.chosen_prompt == step.prompt
    after = case.step()
    assert after.parent == back.id and after.prompt == step.prompt and after.after == back.id
    assert step.id not in after.select.acceptance.front, "what was taken back is no candidate of this run"


def test_stopping_between_stages_asks_nothing_again(stub, tmp_path):
    path = tmp_path / "case"
    case = make(stub, path)
    whole = make(stub, tmp_path / "whole")
    whole.step(), whole.step()
    since = len(stub.requests)
    for _ in range(2):
        while True:
            step = case.begin()
            advance(case, step.id)
            case.close()
            case = gb.Case(path, model=gb.connect("small", base_url=stub.url, api_key="k", cache=False))
            if case.current.done:
                break
    assert as_set(sent(stub, since)) == as_set(sent(stub)[:since])
    assert [case[n].select for n in (1, 2)] == [whole[n].select for n in (1, 2)]


def test_a_selection_that_was_cut_off_goes_on_where_it_was(tmp_path):
    def failing(messages, body):
        learned = RULE.search(messages[0]["content"]) and messages[0]["role"] == "system"
        if learned and not failed:
            failed.append(len(stub.requests))
            stub.fail(401, times=100)
        return answers(messages, body)

    failed = []
    with Stub(reply=failing) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", cache=False, concurrency=1)
        case = gb.Case(tmp_path / "case", task=plain_task(), model=model, method=gb.Method(engine="gepa"))
        step = case.begin()
        for _ in range(3):
            advance(case, step.id)
        with pytest.raises(ModelError):
            advance(case, step.id)
        assert failed == [5] and case[step.id].select is None, "the first answer of the candidate came, and no other"
        case.close()
        stub._faults.clear()
        case = gb.Case(tmp_path / "case", model=model)
        advance(case, step.id)
        done = [request.body["messages"] for request in stub.requests if request.fault is None]
        assert case[step.id].done and len(done) == 3 + 1 + 3 + 2 * 6, "nothing that was answered is asked again"


def test_replicates_end_with_the_acceptance_and_an_edit_is_judged(tmp_path):
    def varied(messages, body):
        said = answers(messages, body)
        return said.replace("\n```", f" {body['seed']}\n```") if REFLECTION in messages[-1]["content"] else said

    with Stub(reply=varied) as stub:
        case = make(stub, tmp_path / "case")
        step = case.step()
        edit = gb.edits.replace("evaluation", example=0, text="Nothing is wrong here.")
        branch = case.perturb(step, edit, gb.edits.replace("evaluation", example=1, text="Nor here."), gb.edits.no_label(example=2))
        case.compare(step, branch, replicates=0)
        since = len(stub.requests)
        found = case.compare(step, branch, replicates=2)
        assert len(stub.requests) - since == 2 * draw_calls(case, step, branch, "test").total(), "as the plan has it"
        assert found.split == "test" and found.verdict is not None
        draws = case.replicates(step, "rewrite")
        assert set(draws) == {1, 2} and len({draw.rewrite[0].prompt for draw in draws.values()} | {step.rewrite[0].prompt}) == 3
        assert all(
            draw.predict == step.predict and draw.select.scores == {} and not draw.select.acceptance.front for draw in draws.values()
        )
        assert all(draw.select.acceptance.after is not None for draw in draws.values())


def test_another_model_has_a_front_of_what_it_has_scored(stub, tmp_path):
    case = make(stub, tmp_path / "case", seed=5)
    case.step(), case.step(), case.step()
    case.close()
    case = gb.Case(tmp_path / "case", model=gb.connect("other", base_url=stub.url, api_key="k", cache=False))
    since = len(stub.requests)
    step = case.step()
    asked = len(stub.requests) - since
    assert set(step.select.acceptance.front) <= {0, step.parent, step.id}
    assert asked <= 2 * len(step.batch) + 1 + 2 * len(case.task.validation), "the pool is not scored anew"


def test_the_front_is_drawn_in_the_tree_and_read_without_gepa(stub, tmp_path):
    case = make(stub, tmp_path / "case", seed=5)
    last = [case.step() for _ in range(4)][-1]
    shown = tell.tree(case)
    marked = {row.id for row in shown.rows if "front" in row.tags}
    assert marked == set(last.select.acceptance.front) and "◆" in shown.caption
    report = case.export(tmp_path / "case.html").read_text()
    assert "Pareto front" in report and "◆" in report
    first = tell.step(case, 1).choices.reason
    fixed = [
        n
        for n, pair in enumerate(zip(case[1].predict, case[1].select.acceptance.answers, strict=True))
        if pair[1].correct > pair[0].correct
    ]
    assert f"The candidate puts example{'s' * (len(fixed) > 1)} {', '.join(map(str, fixed))} of the batch right." in first
    assert (
        f"The next step begins with {'this prompt' if case[2].parent == 1 else 'what step'}" in first
        and "drawn from the Pareto front of" in first
    )
    native = gb.Case(tmp_path / "native", task=plain_task())
    assert "◆" not in tell.tree(native).caption


def test_the_record_reads_back_and_a_front_of_steps_that_are_not_there_is_refused(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    case.close()
    assert gb.Recording(tmp_path / "case")[1] == step
    journal = tmp_path / "case" / "journal.jsonl"
    journal.write_text(journal.read_text().replace(f'"next_from":{step.select.acceptance.next_from}', '"next_from":77'))
    with pytest.raises(CaseError, match="it names a step 77"):
        gb.Recording(tmp_path / "case")


def test_a_run_goes_on_where_it_was_and_ends_with_the_best_on_validation(stub, tmp_path):
    case = make(stub, tmp_path / "case", seed=5)
    case.run(batches=2)
    case.run(batches=5)
    assert [step.depth for step in case] == [0, 1, 2, 3, 4, 5] and case.current.id == 5
    accuracies = {step.id: case.metrics(step).accuracy.value for step in case if case.metrics(step)}
    assert accuracies[best_of_beam(case).id] == max(accuracies.values()) > accuracies[0]
    case.go(1)
    assert case.undo().id == 0
    again = case.step()
    assert again.after == 0 and set(again.select.acceptance.front) <= {0, again.id}, "what was found later is no candidate here"


def test_the_state_is_the_one_that_gepa_would_have():
    from gradbook.engines.gepa import Member, draw, front, state_of

    scores = [{"a": 0.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 0.0, "b": 0.0, "c": 1.0}]
    state = state_of([Member(n, f"p{n}", each) for n, each in enumerate(scores)])
    own = GEPAState({"prompt": "p0"}, ValsetEvaluation({}, scores[0]))
    for n, each in enumerate(scores[1:], start=1):
        own.update_state_with_new_program([0], {"prompt": f"p{n}"}, ValsetEvaluation({}, each), None, 0)
    assert state.get_pareto_front_mapping() == own.get_pareto_front_mapping() and front(state) == [0, 1]
    drawn = {draw(state, str(seed)) for seed in range(40)}
    assert drawn == {0, 1}, "what is dominated is never drawn"
