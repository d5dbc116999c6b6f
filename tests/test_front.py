"""A run of GEPA as it is on record: which step comes next, which candidates it has, what is drawn. None of this needs GEPA."""

import sys

import pytest

import gradbook as gb
from gradbook import plan, tell
from gradbook.edits import branch
from gradbook.errors import MethodError
from gradbook.events import StageDone
from gradbook.records import Acceptance, Answer, Candidate, Evaluation, Prediction, Selection, Step
from gradbook.ui.panel import MethodPanel
from small import small_task
from stub import Stub

METHOD = gb.Method(engine="gepa")


def run(case: gb.Case, accepted: bool, front: tuple[int, ...], next_from: int) -> Step:
    """One step as GEPA would have made it: the batch, a candidate named after the step, and what became of it."""
    step, task = case.begin(), case.task
    pairs = [(name, task.example(name).target) for name in step.batch]
    found = Acceptance(
        accepted=accepted, before=1, after=1 + accepted, answers=_answers(pairs, 1 + accepted), front=front, next_from=next_from
    )
    made = {
        "predict": tuple(Prediction(example=a.example, output="K1", answer="K1", correct=a.correct) for a in _answers(pairs, 1)),
        "evaluate": tuple(Evaluation(example=name, label=target, target=target, text="feedback") for name, target in pairs),
        "rewrite": (Candidate(index=0, prompt=f"candidate of step {step.id}"),),
        "select": Selection(chosen=0 if accepted else -1, acceptance=found, reason="GEPA’s words"),
    }
    for stage, records in made.items():
        case._journal.append(StageDone(step=step.id, stage=stage, seconds=0.0, **{stage: records}))
    return case[step.id]


def _answers(pairs: list[tuple[str, str]], right: int) -> tuple[Answer, ...]:
    return tuple(Answer(example=name, answer="K1", correct=n < right) for n, (name, _) in enumerate(pairs))


@pytest.fixture
def case(tmp_path):
    """Step 1 is accepted, 2 rejected, 3 accepted from the seed prompt, which step 2 has drawn."""
    case = gb.Case(tmp_path / "case", task=small_task(), method=METHOD)
    run(case, True, (0, 1), 1)
    run(case, False, (0, 1), 0)
    run(case, True, (1, 3), 1)
    return case


def test_the_next_step_begins_with_what_was_drawn_whatever_ran_before(case):
    assert [(step.parent, step.after, step.prompt) for step in list(case)[1:]] == [
        (0, 0, case[0].prompt),
        (1, 1, "candidate of step 1"),
        (0, 2, case[0].prompt),
    ]
    following = plan.following(case.current, dict(enumerate(case)), case.task, METHOD, 0, 4)
    assert (following.parent, following.after, following.depth, following.prompt) == (1, 3, 4, "candidate of step 1")


def test_the_pool_is_what_the_run_began_with_and_what_was_accepted(case):
    steps = dict(enumerate(case))
    following = plan.following(case.current, steps, case.task, METHOD, 0, 4)
    assert plan.pool(following, steps) == ((0, case[0].prompt), (1, "candidate of step 1"), (3, "candidate of step 3"))
    assert plan.pool(case[2], steps) == ((0, case[0].prompt), (1, "candidate of step 1"))
    native = plan.following(case.current, steps, case.task, gb.Method(), 0, 4)
    assert (native.parent, native.after, native.prompt) == (3, None, "candidate of step 3"), "the native loop goes on from where it is"


def test_a_choice_by_hand_takes_the_place_of_the_draw(case):
    edit = gb.edits.replace("selection", text="-1")
    made = branch(case[3], [edit], 4, case.task, METHOD)
    by_hand = gb.edits.run._apply(case[3].select, edit, case[3], case.task, METHOD)
    assert by_hand.acceptance.front == () and by_hand.acceptance.next_from is None and by_hand.acceptance.answers
    made = made.model_copy(update={"select": by_hand})
    following = plan.following(made, dict(enumerate(case)) | {4: made}, case.task, METHOD, 0, 5)
    assert (following.parent, following.after, following.prompt) == (4, 4, case[0].prompt)
    assert [id for id, _ in plan.pool(following, dict(enumerate(case)) | {4: made})] == [0, 1]


def test_the_front_is_that_of_where_a_person_is(case):
    def marked():
        return {row.id for row in tell.tree(case).rows if "front" in row.tags}

    assert marked() == {1, 3} and "◆" in tell.tree(case).caption
    case.go(2)
    assert marked() == {0, 1}
    case.go(3)
    case.begin()
    assert marked() == {1, 3}, "of a step under way, the front that it was drawn from"
    case.go(0)
    assert marked() == set() and "◆" not in tell.tree(case).caption


def test_a_step_says_what_turned_on_the_batch_and_where_it_goes_on(case):
    said = tell.step(case, 1).choices.reason
    assert said == (
        "Chosen: candidate 0, GEPA’s words. The candidate puts example 1 of the batch right. "
        "The next step begins with this prompt, drawn from the Pareto front of steps 0, 1."
    )
    rejected = tell.step(case, 2).choices.reason
    assert "puts" not in rejected and rejected.endswith(
        "The next step begins with what step 0 ended with, drawn from the Pareto front of steps 0, 1."
    )


def test_it_reads_back(case, tmp_path):
    case.close()
    shown = gb.Recording(tmp_path / "case")
    assert list(shown) == list(case) and list(shown.steps()["method"])[1:] == ["GEPA, correct labels"] * 3


def test_a_step_without_gepa_is_refused_in_a_sentence_that_says_how_to_get_it(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.partition(".")[0] == "gepa" or name == "gradbook.engines.gepa"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gepa", None)
    with Stub() as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
        case = gb.Case(tmp_path / "other", task=small_task(), model=model, method=METHOD)
        with pytest.raises(MethodError, match=r'pip install "gradbook\[gepa\]"'):
            case.step()
        assert not stub.requests and case[1].predict is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"update": "three-stage"}, "not update='three-stage'"),
        ({"selection": "validated"}, "not selection='validated'"),
        ({"evaluation": "critic-score"}, "not evaluation='critic-score'"),
        ({"candidates": 2}, "not candidates=2"),
        ({"momentum": 2, "beam": 2}, "beam=2 and momentum=2: GEPA has no such setting"),
        ({"validation_labels": "wrong"}, "validation_labels='wrong': GEPA has no such setting"),
        ({"engine": "native", "selection": "pareto"}, "take engine='gepa'"),
        ({"engine": "textgrad", "selection": "pareto"}, "take engine='gepa'"),
    ],
)
def test_settings_that_gepa_has_not_are_refused_and_its_front_is_nobody_elses(settings, said):
    with pytest.raises(MethodError) as refused:
        gb.Method(**({"engine": "gepa"} | settings))
    assert said in str(refused.value)


def test_the_panel_takes_gepas_one_way_with_its_engine_and_gives_it_back():
    panel = MethodPanel(gb.Method(selection="guard"))
    panel.set("engine", "gepa")
    assert panel.wish == METHOD
    panel.set("engine", "native")
    assert panel.wish == gb.Method(selection="guard")
