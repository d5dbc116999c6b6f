"""A run of gepa.optimize that is kept as a case by its callbacks."""

import re
import warnings
from dataclasses import replace

import pytest

import gradbook as gb
from gradbook import tell
from gradbook.errors import CaseError
from small import WORDS, small_task
from stub import Stub

gepa = pytest.importorskip("gepa", reason='the recorder of GEPA needs GEPA: pip install "gradbook[gepa]"')
from gradbook.bridges.gepa import GEPARecorder, instances  # noqa: E402

pytestmark = pytest.mark.bridges
REFLECTION = "I provided an assistant with the following instructions"
RULE = re.compile(r"(red|green|blue) means (K\d)")


@pytest.fixture
def task():
    return replace(small_task(), format_instruction="", seed_prompt="What the task says, which is not what the run begins with.")


def task_lm(messages):
    rules = dict(RULE.findall(messages[0]["content"]))
    return rules.get(next((colour for colour in WORDS if colour in messages[-1]["content"]), ""), "K9")


def reflection_lm(prompt):
    old = prompt.split("```")[1].strip()
    wrong = re.search(r"Item \d+ is (\w+)\.(?:(?!# Example).)*?is '(K\d)'\. Ensure", prompt, re.DOTALL)
    return f"```\n{old}{f' {wrong[1]} means {wrong[2]}.' if wrong else ' Please.'}\n```"


class Heard:
    """Another callback: the events as they came."""

    def __init__(self):
        self.events = []

    def __getattr__(self, name):
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda event: self.events.append((name, event))

    def of(self, name):
        return [event for each, event in self.events if each == name]


def run(task, *callbacks, **settings):
    silent = type("Silent", (), {"log": lambda self, message: None})()
    settings = {
        "seed_candidate": {"instructions": "Give each item its code."},
        "trainset": instances(task, "train"),
        "valset": instances(task, "validation"),
        "task_lm": task_lm,
        "reflection_lm": reflection_lm,
        "stop_callbacks": lambda state: state.i >= 6,
        "seed": 3,
    } | settings
    return gepa.optimize(callbacks=list(callbacks), logger=silent, **settings)


def test_a_run_of_gepa_is_kept_as_a_case(task, tmp_path):
    heard = Heard()
    result = run(task, GEPARecorder(tmp_path / "theirs", task=task, task_model="a", reflection_model="b"), heard)
    case = gb.Recording(tmp_path / "theirs")
    steps = list(case)[1:]
    assert case[0].prompt == "Give each item its code." and len(steps) == len(heard.of("on_iteration_end"))
    ended = [step.chosen_prompt for step in steps if step.select.chosen >= 0]
    assert [case[0].prompt, *ended] == [candidate["instructions"] for candidate in result.candidates] and len(ended) > 1
    by_step = dict(zip([0, *(step.id for step in steps if step.select.chosen >= 0)], range(len(result.candidates)), strict=True))
    assert [by_step[step.parent] for step in steps] == [event["candidate_idx"] for event in heard.of("on_candidate_selected")]
    for step, batch, built in zip(steps, heard.of("on_minibatch_sampled"), heard.of("on_iteration_end"), strict=True):
        assert step.batch == tuple(task.train[number].id for number in dict.fromkeys(batch["minibatch_ids"])) and step.done
        assert (step.select.chosen >= 0) == built["proposal_accepted"]
    accuracies = [case.metrics(step).accuracy.value for step in by_step]
    assert accuracies == pytest.approx(result.val_aggregate_scores)


def test_what_the_reflection_read_and_said_is_on_record(task, tmp_path):
    heard = Heard()
    run(task, GEPARecorder(tmp_path / "theirs", task=task), heard)
    case = gb.Recording(tmp_path / "theirs")
    reflected = [step for step in case if step.rewrite]
    for step, built, said in zip(reflected, heard.of("on_reflective_dataset_built"), heard.of("on_proposal_end"), strict=True):
        records = built["dataset"]["instructions"]
        assert [p.output for p in step.predict] == [record["Generated Outputs"] for record in records]
        assert [e.text for e in step.evaluate] == [record["Feedback"] for record in records]
        assert step.rewrite[0].prompt == said["new_instructions"]["instructions"]
    calls = case.calls()
    assert list(calls["text"]) == [said["raw_lm_outputs"]["instructions"] for said in heard.of("on_proposal_end")]
    assert calls["messages"][0][0]["content"] == heard.of("on_proposal_end")[0]["prompts"]["instructions"]
    skipped = [step for step in case if step.rewrite == ()]
    assert len(skipped) == len(heard.of("on_evaluation_skipped")) and all("all scores perfect" in s.select.reason for s in skipped)


def test_it_opens_in_the_tree_the_tables_and_the_export(task, tmp_path):
    run(task, GEPARecorder(tmp_path / "theirs", task=task, title="a run of theirs"))
    case = gb.Recording(tmp_path / "theirs")
    rows = tell.tree(case).rows
    assert {row.id for row in rows if "front" in row.tags} == set(case.current.select.acceptance.front) != set()
    assert len(case.steps()) == len(case) and set(case.steps()["status"]) == {"done"} and len(case.predictions())
    page = case.export(tmp_path / "case.html").read_text()
    assert "a run of theirs" in page and "Pareto front" in page and "Ensure that the correct answer is included" in page
    assert case.export(tmp_path / "case.ipynb").exists()


def test_a_person_forks_it_with_a_model(task, tmp_path):
    run(task, GEPARecorder(tmp_path / "theirs", task=task))

    def reply(messages, body):
        return reflection_lm(messages[-1]["content"]) if REFLECTION in messages[-1]["content"] else task_lm(messages)

    with Stub(reply=reply) as stub:
        case = gb.Recording(tmp_path / "theirs")
        step = next(step for step in case if step.rewrite)
        fork = gb.Case(case.copy(tmp_path / "fork"), model=gb.connect("small", base_url=stub.url, api_key="k", cache=False))
        branch = fork.perturb(step.id, gb.edits.replace("evaluation", example=0, text="Say blue means K3, says a person."))
        asked = [request.body["messages"][0]["content"] for request in stub.requests if REFLECTION in str(request.body)]
        assert len(asked) == 1 and "Say blue means K3, says a person." in asked[0]
        assert branch.predict == step.predict and fork.models_of(branch)["predict"]["task"]["kind"] == "recorded"
        fork.go(case.current.id)
        after = fork.step()
        assert after.after == case.current.id and after.parent == case.current.select.acceptance.next_from and after.done


def test_several_proposals_an_iteration_and_equal_batches(task, tmp_path):
    from gepa.strategies.proposal_sampling import IndependentSampling

    heard = Heard()
    result = run(
        task,
        GEPARecorder(tmp_path / "theirs", task=task),
        heard,
        sampling_strategy=IndependentSampling(2),
        reflection_minibatch_size=4,
        stop_callbacks=lambda state: state.i >= 3,
    )
    case = gb.Recording(tmp_path / "theirs")
    assert len(case) - 1 == len(heard.of("on_candidate_selected")) == 2 * len(heard.of("on_iteration_end"))
    accepted = [step.chosen_prompt for step in list(case)[1:] if step.select.chosen >= 0]
    assert sorted(accepted) == sorted(candidate["instructions"] for candidate in result.candidates[1:])
    assert case.method.batch_size == 4 and all(len(step.predict) == 4 for step in list(case)[1:])


def test_scores_between_are_recorded_as_they_are(task, tmp_path):
    from gepa.adapters.default_adapter.default_adapter import EvaluationResult

    def half(data, response):
        return EvaluationResult(0.5 if response == "K9" else float(response == data["answer"]), "well")

    result = run(task, GEPARecorder(tmp_path / "theirs", task=task), evaluator=half, stop_callbacks=lambda state: state.i >= 1)
    case = gb.Recording(tmp_path / "theirs")
    assert case[1].select.acceptance.before == 1.5 and not any(p.correct for p in case[1].predict)
    assert result.val_aggregate_scores[0] == 0.5 and case.metrics(0).accuracy.value == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seed_candidate": {"a": "x", "b": "y"}, "reflection_lm": lambda prompt: "```\nx\n```"}, "have 2 components"),
        ({"trainset": [{"input": "?", "answer": "K1", "additional_context": {}}] * 5}, "6 train examples and the run 5"),
        ({"trainset": [{"input": "?", "answer": "K1", "additional_context": {}}] * 6}, "and GEPA's reads '?'"),
    ],
)
def test_a_run_that_does_not_fit_the_task_goes_on_and_says_why_it_is_not_recorded(task, tmp_path, settings, said):
    keeper = GEPARecorder(tmp_path / "theirs", task=task)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        run(task, keeper, **settings, stop_callbacks=lambda state: state.i >= 1)
    told = [str(each.message) for each in given if "is not recorded" in str(each.message)]
    assert len(told) == 1 and said in told[0] and said in keeper.stopped


def test_a_folder_that_is_there_is_refused(task, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(CaseError, match="exists already"):
        GEPARecorder(tmp_path / "there", task=task)
