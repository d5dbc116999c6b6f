"""What a study decides: registered before its first call, judged by its trials, and told when it was changed."""

import contextlib
import tomllib

import numpy as np
import pytest

import gradbook as gb
from gradbook import stats
from gradbook.errors import GradbookError, StatsError, StudyError
from gradbook.stats import Hypothesis
from gradbook.studies.questions import FIRST_EPOCH, LAST_EPOCH
from gradbook.studies.trial import Answered, Point, Result
from small import reply, small_task
from stub import Stub
from studying import loud, make

NAIVE = {"selection": "naive"}
ARMS = {
    "three-stage": gb.Method(**NAIVE),
    "wrong": gb.Method(labels="wrong", **NAIVE),
    "one-step": gb.Method(update="one-step", **NAIVE),
    "improve": gb.Method(update="improve", **NAIVE),
}
CRITIC = {"evaluation": "critic-score"}
LOSS = Hypothesis(name="the loss matters", arms=("three-stage", "wrong"), family="loss")


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


def ended(study: gb.Study, arm: str, trial: int, right: int, **more) -> Result:
    """A trial that ended with so many of the test examples right."""
    task, model = next(iter(study.design.tasks)), next(iter(study.design.models))
    size = len(study.design.tasks[task].test)
    marks = {
        "seed test": Answered(marks="0" * size),
        "end test": Answered(marks="1" * right + "0" * (size - right)),
    }
    given = {"status": "done", "seed": 0, "answers": marks, "registered": study.registered.id, **more}
    return Result(task=task, model=model, arm=arm, trial=trial, **given)


def put(study: gb.Study, results: list[Result]) -> None:
    with study.store.writing():
        for result in results:
            study.store.add(result)


# --- which questions there are ---------------------------------------------------------------------------------------------


def named(**methods) -> dict[str, gb.studies.Arm]:
    return {name: gb.studies.Arm(method=method, trials=5, steps=1) for name, method in methods.items()}


@pytest.mark.parametrize(
    ("arms", "property", "expected"),
    [
        ({"a": {}, "b": {"labels": "wrong"}}, "the loss matters", ("a", "b")),
        ({"a": {}, "b": {"labels": "none"}}, "the loss matters", ("a", "b")),
        ({"b": {"update": "one-step"}, "a": {}}, "the chain rule matters", ("a", "b")),
        ({"a": {}, "b": {"update": "improve"}}, "data matter", ("a", "b")),
        ({"a": {"update": "one-step"}, "b": {"update": "rewrite"}}, "data matter", ("a", "b")),
        ({"a": {"selection": "naive"}, "b": {}}, "validation guards", ("b", "a")),
        ({"a": {}, "b": {"selection": "random"}}, "the selection matters", ("a", "b")),
        ({"a": CRITIC, "b": CRITIC | {"labels": "wrong"}}, "a critic can carry the loss", ("a", "b")),
        ({"a": {"candidates": 5}, "b": {"candidates": 1}, "c": {}}, "validation discovers", ("b", "c", "a")),
    ],
)  # fmt: skip
def test_arms_that_differ_in_one_respect_decide_a_property(arms, property, expected):
    found = gb.studies.standard(named(**{name: gb.Method(**settings) for name, settings in arms.items()}), small_task())
    assert [(h.name, h.arms) for h in found] == [(property, expected)]


def test_arms_that_differ_in_two_respects_decide_nothing():
    arms = named(a=gb.Method(), b=gb.Method(labels="wrong", update="one-step"), c=gb.Method(batch_size=2, labels="wrong"))
    assert gb.studies.standard(arms, small_task()) == ()


def test_arms_of_other_lengths_are_compared_only_at_equal_calls():
    task, arm = small_task(), gb.studies.Arm
    main = arm(method=ARMS["three-stage"], trials=5, steps=2)
    calls = gb.studies.trial_calls(main, task).training.total()
    for length, names in (({"calls": calls}, ["the chain rule matters, at equal calls"]), ({"calls": calls + 1}, []), ({"steps": 3}, [])):
        found = gb.studies.standard({"main": main, "other": arm(method=ARMS["one-step"], trials=5, **length)}, task)
        assert [h.name for h in found] == names


def test_training_fits_is_asked_of_arms_that_see_every_example_twice():
    task = small_task()
    found = gb.studies.standard({"long": gb.studies.Arm(method=ARMS["wrong"], trials=5, epochs=2)}, task)
    assert [(h.name, h.arms, h.paired) for h in found] == [("training fits", ("long" + LAST_EPOCH, "long" + FIRST_EPOCH), True)]
    short = {
        "short": gb.studies.Arm(method=gb.Method(), trials=5, steps=1),
        "blind": gb.studies.Arm(method=ARMS["improve"], trials=5, steps=99),
    }
    assert gb.studies.standard(short, task) == ()


def test_the_paper_decides_every_property_at_equal_calls_too(tmp_path, stub):
    from studying import connect

    study = gb.studies.paper(small_task(), connect(tmp_path, stub.url), tmp_path / "study")
    names = {h.name for h in study.registered.hypotheses}
    assert names >= {
        "the chain rule matters", "the chain rule matters, at equal calls", "the loss matters", "data matter", "training fits",
        "data matter, at equal calls", "validation guards", "validation discovers", "a critic can carry the loss",
    }  # fmt: skip
    assert not stub.requests


# --- registered first ------------------------------------------------------------------------------------------------------


def test_hypotheses_are_in_the_file_before_the_first_call_and_their_hash_in_each_result(stub, tmp_path):
    study = make(tmp_path, stub.url, arms=ARMS, trials=2)
    stated = tomllib.loads((tmp_path / "study" / "study.toml").read_text())["registered"]
    assert len(stated) == 1 and not stub.requests
    assert [h["name"] for h in stated[0]["hypotheses"]] == [h.name for h in study.registered.hypotheses]
    assert stated[0]["trials"] == dict.fromkeys(ARMS, 2) and stated[0]["alpha"] == 0.05
    study.run(trials=1, arms=["improve"])
    (result,) = study.store.results().values()
    assert result.registered == study.registered.id != ""


def test_what_is_changed_before_the_first_call_leaves_no_trace_and_after_it_is_told(stub, tmp_path):
    make(tmp_path, stub.url, arms=ARMS, trials=2, hypotheses=[LOSS])
    study = make(tmp_path, stub.url, arms=ARMS, trials=2, hypotheses=[LOSS.model_copy(update={"margin": 0.1})], alpha=0.01)
    assert study.changes() == () and len(study.design.registered) == 1
    study.run(trials=1, arms=["improve"])
    first = study.registered.id
    study = make(tmp_path, stub.url, arms=ARMS, trials=3, hypotheses=[LOSS], alpha=0.05)
    told = " ".join(study.changes())
    for part in ("alpha was 0.01 and is 0.05", "'three-stage' had 2 trials and has 3", "margin was 0.1 and is 0.05"):
        assert part in told
    again = gb.Study(tmp_path / "study")
    assert again.changes() == study.changes() and again.registered.id != first == again.design.registered[0].id
    study.run(trials=2, arms=["improve"])
    assert [result.registered for result in study.store.results().values()] == [first, study.registered.id]


def test_a_study_that_is_opened_again_registers_nothing_new(stub, tmp_path):
    make(tmp_path, stub.url, arms=ARMS, trials=2, alpha=0.01, correction="bonferroni", margin=0.1).run(trials=1, arms=["improve"])
    before = (tmp_path / "study" / "study.toml").read_bytes()
    study = gb.Study(tmp_path / "study")
    assert (study.registered.alpha, study.registered.correction, study.registered.hypotheses[0].margin) == (0.01, "bonferroni", 0.1)
    assert make(tmp_path, stub.url, arms=ARMS, trials=2).changes() == ()
    assert (tmp_path / "study" / "study.toml").read_bytes() == before


def test_a_new_arm_brings_its_questions_and_this_is_told(stub, tmp_path):
    few = {name: ARMS[name] for name in ("three-stage", "improve")}
    make(tmp_path, stub.url, arms=few, trials=2, hypotheses=[]).run(trials=1, arms=["improve"])
    study = make(tmp_path, stub.url, arms=ARMS, trials=2)
    assert {h.name for h in study.registered.hypotheses} == {"the loss matters", "the chain rule matters", "data matter"}
    assert all({"wrong", "one-step"} & set(h.arms) for h in study.registered.hypotheses), "arms that were there asked nothing"
    assert any("was added" in said for said in study.changes())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hypotheses": [Hypothesis(name="x", arms=("three-stage", "nobody"))]}, "an arm 'nobody'; there are three-stage"),
        ({"alpha": 0.9}, "alpha = 0.9"),
        ({"correction": "luck"}, "correction = 'luck'"),
    ],
)
def test_what_cannot_be_registered_is_said(stub, tmp_path, options, said):
    with pytest.raises(StudyError, match=said):
        make(tmp_path, stub.url, arms=ARMS, **options)
    assert not (tmp_path / "study").exists()


def test_a_file_states_hypotheses(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (tmp_path / "s.toml").write_text(
        f"""
        trials = 2
        steps = 1
        looks = true
        margin = 0.1
        [tasks.lies]
        loader = "web_of_lies"
        [models.m]
        name = "small"
        base_url = "{stub.url}"
        [arms.a]
        [arms.b]
        labels = "none"
        [[hypotheses]]
        name = "the loss matters"
        arms = ["a", "b"]
        """
    )
    study = gb.Study.from_toml(tmp_path / "s.toml")
    assert study.registered.looks and [h.arms for h in study.registered.hypotheses] == [("a", "b")]
    (tmp_path / "s.toml").write_text((tmp_path / "s.toml").read_text().replace("arms = ", "legs = "))
    with pytest.raises((StudyError, StatsError), match="legs"):
        gb.Study.from_toml(tmp_path / "s.toml")


# --- judged ----------------------------------------------------------------------------------------------------------------


def test_verdicts_are_those_of_the_same_numbers(stub, tmp_path):
    study = make(tmp_path, stub.url, arms=ARMS, trials=8, tasks=small_task(test=20))
    rng = np.random.default_rng(0)
    right = {"three-stage": 16, "wrong": 8, "one-step": 16, "improve": 4}
    put(study, [ended(study, arm, n, count + int(rng.integers(-1, 2))) for arm, count in right.items() for n in range(8)])
    table = study.verdicts()
    assert dict(zip(table["property"], table["verdict"], strict=False))["the loss matters"] == "holds"
    found = study.scores().query("prompt == 'end' and split == 'test'")
    arrays = {arm: found[found["arm"] == arm].groupby("trial")["correct"].apply(list).tolist() for arm in ARMS}
    for row, one in zip(table.to_dict("records"), stats.properties(arrays, study.registered.hypotheses), strict=True):
        assert (row["effect"], row["p"], row["corrected_p"], row["verdict"], row["reason"]) == (
            one.effect, one.p, one.corrected, one.verdict, one.reason
        )  # fmt: skip
    by_name = table.set_index("property")
    assert by_name.loc["the loss matters", "effect"] == pytest.approx(np.mean(arrays["three-stage"]) - np.mean(arrays["wrong"]))
    for one in study.judged():
        assert {place.arm for place in one.trials} == set(one.found.hypothesis.arms) and len(one.trials) == 16


def test_a_study_without_results_cannot_tell(stub, tmp_path):
    table = make(tmp_path, stub.url, arms=ARMS).verdicts()
    assert set(table["verdict"]) == {"cannot tell"} and table["reason"].str.contains("there are 0 of three-stage").any()
    assert make(tmp_path / "none", stub.url, arms={"a": ARMS["improve"]}).verdicts().empty


def test_a_failed_trial_is_no_score_and_other_rounds_still_count(stub, tmp_path):
    study = make(tmp_path, stub.url, arms={name: ARMS[name] for name in ("three-stage", "wrong")}, trials=4)
    done = [ended(study, arm, n, 2) for arm in ("three-stage", "wrong") for n in range(4) if (arm, n) != ("wrong", 1)]
    failed = Result(task="colours", model="small", arm="wrong", trial=1, status="failed", seed=0, error="no")
    put(study, [*done, failed])
    assert study.verdicts()["n"].tolist() == ["4, 3"]


def test_training_fits_by_the_share_of_minibatches_that_was_right(stub, tmp_path):
    arms = {"long": gb.studies.Arm(method=ARMS["wrong"], epochs=3)}
    study = make(tmp_path, stub.url, arms=arms, trials=6, steps=None)
    batches = study.design.arms["long"].batches(small_task())
    points = [tuple(Point(batch=b, right=b / batches * (1 if n % 2 else 0.9)) for b in range(1, batches + 1)) for n in range(6)]
    put(study, [ended(study, "long", n, 1, points=points[n]) for n in range(6)])
    (row,) = study.verdicts().to_dict("records")
    assert (row["property"], row["verdict"], row["n"]) == ("training fits", "holds", "6, 6") and row["effect"] > 0.3


def test_each_task_and_model_is_judged_for_itself(stub, tmp_path):
    from dataclasses import replace

    tasks = {"one": small_task(), "two": replace(small_task(), name="other")}
    study = make(tmp_path, stub.url, arms={name: ARMS[name] for name in ("three-stage", "wrong")}, trials=5, tasks=tasks)
    results = [ended(study, arm, n, 3 if arm == "three-stage" else 0) for arm in ("three-stage", "wrong") for n in range(5)]
    put(
        study,
        results
        + [
            result.model_copy(update={"task": "two", "answers": {**result.answers, "end test": result.answers["seed test"]}})
            for result in results
        ],
    )
    table = study.verdicts().set_index("task")
    assert table.loc["one", "verdict"] == "holds" and table.loc["two", "effect"] == 0


def test_optimism_takes_off_what_the_seed_prompt_differs_by(stub, tmp_path):
    study = make(tmp_path, stub.url, arms={"v": gb.Method(), "n": ARMS["three-stage"]}, trials=4)
    marks = {"seed validation": "110000", "seed test": "100", "end validation": "111110", "end test": "110"}
    study.run(trials=1)
    put(study, [ended(study, "v", n, 0).model_copy(update={"answers": {k: Answered(marks=m) for k, m in marks.items()}}) for n in range(4)])
    table = study.optimism()
    assert table["arm"].tolist() == ["v"] and table["trials"].tolist() == [4]
    assert table["optimism"][0] == pytest.approx((5 / 6 - 2 / 6) - (2 / 3 - 1 / 3))


def test_only_an_arm_that_validates_is_scored_on_validation(stub, tmp_path):
    table = make(tmp_path, stub.url, arms={"v": gb.Method(), "n": ARMS["three-stage"]}, trials=1).run().set_index("arm")
    assert (
        table.loc["v", ["validation", "seed_validation"]].notna().all() and table.loc["n", ["validation", "seed_validation"]].isna().all()
    )


def test_a_probe_that_was_run_on_a_trial_has_a_row(stub, tmp_path):
    study = make(tmp_path, stub.url, arms={"three-stage": ARMS["three-stage"]}, trials=1)
    path = study.run()["path"][0]
    with contextlib.closing(gb.Case(path, model=study.models_of("small")["task"])) as case:
        probe = gb.probes.sign(case, 1, split="test", replicates=2)
    (row,) = study.verdicts().to_dict("records")
    assert row["verdict"] == probe.verdict and str(probe) in row["reason"] and "Trial 0, step 1" in row["reason"]


# --- before it runs ----------------------------------------------------------------------------------------------------------


def test_the_plan_says_what_the_trials_can_show(stub, tmp_path):
    study = make(tmp_path, stub.url, arms=ARMS, trials=5, hypotheses=[LOSS])
    plan = study.plan()
    (row,) = plan.power.to_dict("records")
    ahead = stats.outlook(LOSS, [5, 5], 0.05)
    assert plan.assumed and (row["detectable"], row["to_show"], row["power"]) == (ahead.detectable, ahead.trials_to_show, ahead.power)
    assert f"5 trials show a difference of {100 * ahead.detectable:.1f} points" in str(plan)
    assert "the loss matters (three-stage − wrong)" in plan._repr_html_()
    put(study, [ended(study, arm, n, n % 2) for arm in ARMS for n in range(2)])
    known = study.plan()
    assert not known.assumed and known.power["spread"][0] == pytest.approx(study.trials().groupby("arm")["test"].std().iloc[0])


# --- audit -------------------------------------------------------------------------------------------------------------------


def test_an_audit_tells_what_it_knows_within_its_budget(stub, tmp_path):
    from studying import connect

    model = connect(tmp_path, stub.url)
    table = gb.audit(small_task(), model, 2000, path=tmp_path / "audit")
    assert len(stub.requests) <= 2000 and set(table["property"]) == {
        "the loss matters", "the chain rule matters, at equal calls", "data matter, at equal calls"
    }  # fmt: skip
    assert dict(zip(table["property"], table["verdict"], strict=True))["the loss matters"] == "holds"
    study, asked = gb.Study(tmp_path / "audit"), len(stub.requests)
    assert study.registered.looks and study.changes() == ()
    again = gb.audit(small_task(), model, 2000, path=tmp_path / "audit")
    assert again["verdict"].tolist() == table["verdict"].tolist() and len(stub.requests) == asked, "what is known is not asked again"


def test_an_audit_stops_where_the_budget_does_and_goes_on_with_more(stub, tmp_path):
    from studying import connect

    model, least = connect(tmp_path, stub.url), 400
    first = gb.audit(small_task(), model, least, path=tmp_path / "audit")
    spent = len(stub.requests)
    assert 0 < spent <= least and "cannot tell" in set(first["verdict"])
    gb.audit(small_task(), model, 3 * least, path=tmp_path / "audit")
    assert spent < len(stub.requests) <= 3 * least
    before = (tmp_path / "audit" / "study.toml").read_bytes()
    for other in ({"margin": 0.1}, {"model": connect(tmp_path, stub.url, sampling={"temperature": 1})}):
        with pytest.raises(StudyError, match=r"another margin|another model of the name"):
            gb.audit(**{"task": small_task(), "model": model, "budget": least, "path": tmp_path / "audit"} | other)
    assert (tmp_path / "audit" / "study.toml").read_bytes() == before


def test_an_audit_of_a_task_with_a_parser_of_its_own_goes_on(stub, tmp_path):
    from dataclasses import replace

    from studying import connect

    model, task = connect(tmp_path, stub.url), replace(small_task(test=40), parser=loud)
    first = gb.audit(task, model, 1500, path=tmp_path / "audit")
    again = gb.audit(task, model, 1500, path=tmp_path / "audit")
    assert again["verdict"].tolist() == first["verdict"].tolist()


def test_an_audit_that_no_budget_allows_says_what_it_takes(stub, tmp_path):
    from studying import connect

    with pytest.raises(
        StudyError, match="10 calls are too few for an audit of colours: 3 trials each of three-stage and wrong labels take"
    ):
        gb.audit(small_task(), connect(tmp_path, stub.url), 10, path=tmp_path / "audit")
    with pytest.raises(GradbookError, match="not str"):
        gb.audit(small_task(), "gpt", 10)
    assert not stub.requests and not (tmp_path / "audit").exists()
