"""A study in this process: it runs, shares, stops, goes on, tells what failed, and gives its tables."""

import contextlib
import dataclasses
import json
import re
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pandas as pd
import pytest

import gradbook as gb
from gradbook import background
from gradbook.cli import main
from gradbook.errors import BudgetExceeded, GradbookError, MethodError, StudyError
from gradbook.studies import trial as trials
from small import reply, small_task
from stub import Stub
from studying import ARMS, asked, connect, loud, make, table


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


# --- what a trial is -------------------------------------------------------------------------------------------------------


def test_every_trial_is_a_case_and_its_row_says_what_the_case_says(stub, tmp_path):
    study = make(tmp_path, stub.url)
    found = study.run()
    assert len(found) == 9 and set(found["status"]) == {"done"} and list(study.progress()["done"]) == [3, 3, 3]
    for row in found.itertuples():
        case = gb.Recording(row.path)
        end = [step for step in case if step.variable == "prompt"][-1]
        assert end.depth == row.batches == 2 and case.method == ARMS[row.arm]
        scored = [("test", row.seed_test, row.test), ("validation", row.seed_validation, row.validation)]
        for split, seed, last in scored if case.method.validates else scored[:1]:
            assert case.metrics(case[0], split, variable="prompt").accuracy.value == seed
            assert case.metrics(end, split, variable="prompt").accuracy.value == last
        assert case.metrics(end, "test", variable="prompt").balanced == row.balanced
        calls = case.calls()
        assert (len(calls), calls["paid"].sum()) == (row.calls, row.paid)
        assert calls[["prompt_tokens", "completion_tokens"]].sum().tolist() == [row.prompt_tokens, row.completion_tokens]
        training = calls["for"].str.startswith("step/") | (calls["for"].str.contains("/validation/") & ARMS[row.arm].validates)
        assert training.sum() == row.trained < row.calls
    assert found["test"].max() == 1.0, "some rule was learned"


def test_arms_share_batches_and_nothing_is_asked_twice(stub, tmp_path):
    study = make(tmp_path, stub.url)
    found = study.run()
    assert max(asked(stub).values()) == 1 and found["paid"].sum() == len(stub.requests) < found["calls"].sum()
    batches = {
        (row.arm, row.trial): [step.batch for step in gb.Recording(row.path) if step.variable == "prompt"] for row in found.itertuples()
    }
    for trial in range(3):
        assert batches["three-stage", trial] == batches["one-step", trial] == batches["critic", trial]
    assert batches["critic", 0] != batches["critic", 1], "trials differ"


def test_a_finished_trial_is_never_run_again(stub, tmp_path):
    first = make(tmp_path, stub.url).run()
    before, results = len(stub.requests), (tmp_path / "study" / "results.jsonl").read_bytes()
    pd.testing.assert_frame_equal(gb.Study(tmp_path / "study").run(), first)
    assert len(stub.requests) == before and (tmp_path / "study" / "results.jsonl").read_bytes() == results


def test_a_study_opens_from_its_folder_as_it_was_made(stub, tmp_path, monkeypatch):
    study = make(
        tmp_path, stub.url, models={"both": connect(tmp_path, stub.url), "roles": {"task": connect(tmp_path, stub.url, concurrency=3)}}
    )
    again = gb.Study(tmp_path / "study")
    assert again.design == study.design
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert set(again.run(trials=1)["status"]) == {"done", "waiting"}
    assert (again.trials()["status"] == "done").sum() == 6
    assert set(again.models_of("both").values()) == {again.models_of("both")["task"]}, "one model, not three"


def test_a_study_may_grow_and_not_change(stub, tmp_path):
    study = make(tmp_path, stub.url, arms={"a": ARMS["three-stage"]}, trials=1)
    study.run()
    before = len(stub.requests)
    grown = make(tmp_path, stub.url, arms={"a": ARMS["three-stage"], "b": ARMS["one-step"]}, trials=2)
    assert list(grown.run()["arm"]) == ["a", "b", "a", "b"] and len(stub.requests) > before
    assert gb.Study(tmp_path / "study", trials=3).design.places()[-1] == ("colours", "small", "b", 2)
    for options, said in (
        ({"seed": 5}, "seed 0; a study keeps"),
        ({"arms": {"a": ARMS["one-step"]}}, "another arm of the name 'a'"),
        ({"steps": 3}, "another arm of the name"),
        ({"tasks": small_task(test=7)}, "another task of the name 'colours'"),
        ({"models": connect(tmp_path, stub.url, sampling={"temperature": 1})}, "another model of the name 'small'"),
    ):
        with pytest.raises(StudyError, match=said):
            make(tmp_path, stub.url, **{"arms": {"a": ARMS["three-stage"]}, **options})
    assert len(gb.Study(tmp_path / "study").design.arms) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tasks": None}, "needs tasks"),
        ({"arms": {}}, "needs arms"),
        ({"steps": None}, "needs trials= and one of"),
        ({"epochs": 1}, "needs trials= and one of"),
        ({"arms": {"a": gb.studies.Arm(trials=1)}, "trials": None, "steps": None}, "'a' needs"),
        ({"models": "gpt"}, "'g' is none of Model, ModelSpec"),
        ({"models": {"m": "gpt"}}, "should be Models"),
        ({"trials": 0}, "trials = 0"),
        ({"arms": {"a": "naive"}}, "method = 'naive'"),
        ({"models": {"m": {"critic": None}}}, "task is needed"),
        ({"tasks": [small_task(), small_task()]}, "same name"),
    ],
)
def test_what_makes_no_study_is_refused_in_a_sentence(options, said, stub, tmp_path):
    with pytest.raises(StudyError, match=said):
        make(tmp_path, stub.url, **options)
    assert not (tmp_path / "study" / "study.toml").exists()


def test_an_arm_has_one_length():
    with pytest.raises(StudyError, match="give one of them"):
        gb.studies.Arm(steps=3, calls=20)


# --- equal budgets ---------------------------------------------------------------------------------------------------------


def test_a_trial_stops_before_its_calls_are_passed(stub, tmp_path):
    arms = {
        "three-stage": gb.studies.Arm(method=gb.Method(selection="naive"), calls=25),
        "one-step": gb.studies.Arm(method=gb.Method(selection="naive", update="one-step"), calls=25),
        "improve": gb.studies.Arm(method=gb.Method(selection="naive", update="improve"), calls=25),
        "validated": gb.studies.Arm(method=gb.Method(candidates=1), calls=40),
    }
    found = make(tmp_path, stub.url, arms=arms, trials=1, steps=None).run().set_index("arm")
    assert found["trained"].to_dict() == {"three-stage": 20, "one-step": 24, "improve": 25, "validated": 32}, (
        "a candidate that repeats is scored once"
    )
    assert found["batches"].to_dict() == {"three-stage": 2, "one-step": 6, "improve": 25, "validated": 2}
    assert max(asked(stub).values()) == 1, "shared calls count in each arm, and are paid once"


def test_a_budget_of_money_stops_the_study_and_a_larger_one_goes_on(stub, tmp_path):
    budget = gb.Budget(calls=40)
    study = make(tmp_path, stub.url, models=connect(tmp_path, stub.url, budget=budget))
    with pytest.raises(BudgetExceeded):
        study.run()
    assert len(study.failures()) == 0 and len(stub.requests) <= 40
    budget.calls = 4000
    study.run()
    make(tmp_path / "other", stub.url).run()
    pd.testing.assert_frame_equal(table(study), table(gb.Study(tmp_path / "other" / "study")))


# --- failing, stopping, going on -------------------------------------------------------------------------------------------


def test_a_failure_stops_no_other_trial_is_listed_and_retried(stub, tmp_path):
    ill = True

    def sometimes(messages, body):
        if ill and "Rules to add" in messages[-1]["content"] and body["seed"] % 3 == 0:
            raise ValueError("the server is ill")
        return reply(messages, body)

    stub.reply = sometimes
    study = make(tmp_path, stub.url, models=connect(tmp_path, stub.url, retries=0), trials=6)
    found = study.run()
    failed = found[found["status"] == "failed"]
    assert 0 < len(failed) < 12 and set(failed["arm"]) <= {"three-stage", "critic"} and failed["test"].isna().all()
    assert list(study.failures()["error"]) == list(failed["error"]) and failed["error"].str.contains("small").all()
    assert study.progress()["failed"].sum() == len(failed)
    before = len(stub.requests)
    study.run(retry=False)
    assert len(stub.requests) == before and len(study.failures()) == len(failed)
    ill = False
    assert set(study.run()["status"]) == {"done"} and study.failures().empty
    make(tmp_path / "other", stub.url, trials=6).run()
    pd.testing.assert_frame_equal(table(study), table(gb.Study(tmp_path / "other" / "study")))
    lines = [json.loads(line) for line in (tmp_path / "study" / "results.jsonl").read_text().splitlines()]
    assert len(lines) == len(found) + len(failed), "what failed stays on record"


def test_a_fault_of_our_own_fails_one_trial(stub, tmp_path, monkeypatch):
    def wrong(case, step, split):
        if case.title.startswith("one-step, trial 1:"):
            raise RuntimeError("a bug")
        return marks(case, step, split)

    marks = trials._marks
    monkeypatch.setattr(trials, "_marks", wrong)
    study = make(tmp_path, stub.url)
    study.run()
    assert study.failures()[["arm", "trial", "error"]].values.tolist() == [["one-step", 1, "RuntimeError: a bug"]]


@pytest.mark.parametrize("after", [3, 40, 90])
def test_stopping_and_running_again_ends_as_if_never_stopped(after, stub, tmp_path):
    study = make(tmp_path, stub.url)
    stub.latency = 0.005
    running = background.submit(study.arun())
    stub.wait_for(after)
    stop(running)
    study.run()
    assert max(asked(stub).values()) == 1
    whole = make(tmp_path / "whole", stub.url)
    whole.run()
    pd.testing.assert_frame_equal(table(study), table(whole))


def test_a_trial_that_is_stopped_while_its_case_opens_leaves_it_closed(stub, tmp_path, monkeypatch):
    begun, opened = threading.Event(), []

    def slowly(*args, **named):
        begun.set()
        time.sleep(0.3)
        opened.append(gb.Case(*args, **named))  # kept, so that nothing closes it by chance
        return opened[-1]

    study = make(tmp_path, stub.url, trials=1)
    with monkeypatch.context() as patched:
        patched.setattr("gradbook.studies.trial.Case", slowly)
        running = background.submit(study.arun())
        assert begun.wait(10)
        stop(running)
        while not opened:
            time.sleep(0.01)
    study.run()
    assert study.failures().empty and set(study.trials()["status"]) == {"done"}


@pytest.mark.parametrize("after", [5, 60])
def test_what_was_written_down_and_not_cached_is_not_paid_by_another_arm(after, stub, tmp_path):
    """A process may be killed after a call is in the ledger of its trial and before it is in the cache that the arms share."""
    study = make(tmp_path, stub.url, trials=1)
    stub.latency = 0.005
    running = background.submit(study.arun(concurrency=1))
    stub.wait_for(after)
    stop(running)
    time.sleep(0.5)
    with contextlib.closing(sqlite3.connect(tmp_path / "cache" / "calls.sqlite")) as database:
        unfinished = [key for place, key in ledgers(study) if place not in study.store.results()]
        database.executemany("DELETE FROM calls WHERE key = ?", [(key,) for key in unfinished])
        database.commit()
    assert unfinished
    study.run()
    assert max(asked(stub).values()) == 1


def ledgers(study: gb.Study) -> list[tuple]:
    """Each call on record with the trial that has it."""
    places = [place for place in study.design.places() if (study.path / study.design.folder(place) / "calls.jsonl").exists()]
    return [
        (place, json.loads(line)["key"])
        for place in places
        for line in (study.path / study.design.folder(place) / "calls.jsonl").read_text().splitlines()
    ]


def stop(running: Future) -> None:
    running.cancel()
    with pytest.raises(CancelledError):
        running.result(10)


def test_two_runs_at_once_are_refused(stub, tmp_path):
    stub.gate = True
    study = make(tmp_path, stub.url)
    stub.shut_gate()
    running = background.submit(study.arun())
    stub.wait_for(1)
    with pytest.raises(StudyError, match="is being run already"):
        gb.Study(tmp_path / "study").run()
    assert set(gb.Study(tmp_path / "study").trials()["status"]) == {"waiting"}, "reading is free"
    stub.open_gate()
    running.result(60)


def test_a_trial_that_somebody_has_open_waits_for_its_turn(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "_PATIENCE", 0.5)
    study = make(tmp_path, stub.url, trials=1)
    place = study.design.places()[0]
    code = f"""
        import gradbook as gb, sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from small import small_task
        case = gb.Case({str(study.path / study.design.folder(place))!r}, task=small_task(), seed={study.design.seed_of(0)})
        print("open", flush=True)
        input()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        study.run()
        assert len(study.failures()) == 1 and "open in another process" in study.failures()["error"][0]
        monkeypatch.setattr(trials, "_PATIENCE", 30)
        running = background.submit(study.arun())
        other.communicate("\n")
    assert set(running.result(60)["status"]) == {"done"}


def test_what_a_person_tries_in_a_trial_changes_no_result(stub, tmp_path):
    whole = make(tmp_path / "whole", stub.url, trials=1)
    whole.run()
    study = make(tmp_path, stub.url, trials=1)
    before = len(stub.requests)
    running = background.submit(study.arun())
    stub.wait_for(before + 30)
    stop(running)
    model = connect(tmp_path, stub.url)
    for place in study.design.places():
        folder = study.path / study.design.folder(place)
        if (folder / "journal.jsonl").exists():
            with_model = gb.Case(folder, model=model, method=gb.Method(update="improve"))
            done = [step for step in with_model if step.done and step.id and step.variable == "prompt"]
            if done and done[0].rewrite:
                with_model.perturb(done[0], gb.edits.replace("candidate", candidate=0, text="red means K1. green means K2. blue means K3."))
            with_model.close()
    study.run()
    pd.testing.assert_frame_equal(
        table(study).drop(columns=["calls", "trained", "prompt_tokens", "completion_tokens"]),
        table(whole).drop(columns=["calls", "trained", "prompt_tokens", "completion_tokens"]),
    )


# --- tables ----------------------------------------------------------------------------------------------------------------


def test_the_long_tables_hold_every_example_and_every_batch(stub, tmp_path):
    study = make(tmp_path, stub.url)
    assert study.scores().empty and study.points().empty and set(study.trials()["status"]) == {"waiting"}
    found, scores = study.run(), study.scores()
    assert len(scores) == (6 * 2 + 3) * 2 * 6 and not scores.isna().any().any()
    for (arm, trial, prompt, split), rows in scores.groupby(["arm", "trial", "prompt", "split"], observed=True):
        row = found[(found["arm"] == arm) & (found["trial"] == trial)].iloc[0]
        assert rows["correct"].mean() == row[f"{'seed_' if prompt == 'seed' else ''}{split}"]
        assert dict(zip(rows["example"], rows["target"], strict=True)) == {
            e.id: e.target for e in study.design.tasks["colours"].split(split)
        }
    assert ((scores["how"] == "right") == scores["correct"]).all()
    points = study.points()
    scored = points.groupby("arm")["validation"].count()
    assert len(points) == 18 and scored["critic"] == scored["one-step"] == 6 and not scored["three-stage"]
    last = points[points["batch"] == 2].set_index(["arm", "trial"])["validation"]
    assert all(last[row.arm, row.trial] == row.validation for row in found.itertuples() if ARMS[row.arm].validates)


@pytest.mark.parametrize(
    ("ending", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet), (".jsonl", lambda p: pd.read_json(p, lines=True))]
)
def test_tables_leave_by_their_ending(ending, read, stub, tmp_path):
    study = make(tmp_path, stub.url, trials=1)
    study.run()
    for name, rows in (("trials", 3), ("scores", 60), ("points", 6)):
        file = study.export(tmp_path / f"{name}{ending}", name)
        assert len(read(file)) == rows and read(file)["arm"].nunique() == 3
    with pytest.raises(StudyError, match="should end in"):
        study.export(tmp_path / "a.txt")
    with pytest.raises(StudyError, match="no table 'steps'"):
        study.export(tmp_path / "a.csv", "steps")
    with pytest.raises(StudyError, match="cannot be written"):
        study.export(tmp_path / "nowhere" / "a.csv")


def test_unparsed_and_lost_answers_are_told_apart(tmp_path):
    def odd(messages, body):
        text = messages[-1]["content"]
        if messages[0]["role"] == "system" and "green" in text:
            return "I cannot say."
        if messages[0]["role"] == "system" and "blue" in text:
            done = {"finish_reason": "length", "index": 0, "message": {"role": "assistant", "content": "It might be"}}
            return {"id": "1", "object": "chat.completion", "created": 0, "model": "small", "choices": [done]}
        return reply(messages, body)

    with Stub(reply=odd) as stub:
        study = make(tmp_path, stub.url, arms={"a": gb.Method(update="improve", selection="naive")}, trials=1)
        study.run()
        assert study.scores()["how"].value_counts().to_dict() == {"right": 4, "unparsed": 4, "cut off": 4} | dict.fromkeys(
            ("wrong", "no reply"), 0
        )


def test_a_damaged_store_is_told_and_a_torn_line_mended(stub, tmp_path):
    study = make(tmp_path, stub.url, trials=1)
    found = study.run()
    file = study.path / "results.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    again = gb.Study(study.path, models=connect(tmp_path, stub.url))
    assert list(again.trials()["status"]).count("done") == 2
    before = len(stub.requests)
    again.run()
    assert len(stub.requests) == before, "the case has it all"
    pd.testing.assert_frame_equal(again.trials().drop(columns=["seconds"]), found.drop(columns=["seconds"]))
    file.write_bytes(b'{"task": 3}\n' + whole)
    with pytest.raises(GradbookError, match=r"results.jsonl, line 1, is damaged"):
        gb.Study(study.path).trials()


# --- tasks of all kinds ----------------------------------------------------------------------------------------------------


def test_a_task_with_a_parser_of_its_own_has_to_be_given_again(stub, tmp_path):
    task = dataclasses.replace(small_task(), parser=loud)
    study = make(tmp_path, stub.url, tasks=task, trials=1)
    assert set(study.run()["status"]) == {"done"}
    with pytest.raises(StudyError, match="parser"):
        gb.Study(study.path)
    with pytest.raises(StudyError, match="another task"):
        gb.Study(study.path, tasks=dataclasses.replace(small_task(test=3), parser=loud))
    assert set(gb.Study(study.path, tasks=task).trials()["status"]) == {"done"}


def test_a_private_task_is_not_to_be_published(stub, tmp_path):
    study = make(tmp_path, stub.url, tasks=dataclasses.replace(small_task(), private=True))
    assert (study.path / ".gitignore").read_text() == "*\n"


def test_several_tasks_and_models_are_all_crossed(stub, tmp_path):
    model = connect(tmp_path, stub.url)
    other = gb.connect("other", base_url=stub.url, api_key="k", cache=tmp_path / "cache" / "calls.sqlite")
    models = {"small": model, "mixed": {"task": model, "optimizer": other}}
    study = make(tmp_path, stub.url, tasks=[small_task(), dataclasses.replace(small_task(test=3), name="few")], models=models, trials=1)
    found = study.run()
    assert len(found) == 12 and len(set(found["path"])) == 12
    asked_other = [r.body["messages"] for r in stub.requests if r.body["model"] == "other"]
    assert asked_other and all("Rules to add" in m[-1]["content"] or "What a model did" in m[-1]["content"] for m in asked_other)


# --- before the first call -------------------------------------------------------------------------------------------------


def test_the_plan_says_what_the_study_then_costs(stub, tmp_path):
    """Where every candidate is new, a first step is like any other, and tokens do not grow, the plan is exact but for what repeats."""
    model = connect(tmp_path, stub.url, price=(1.0, 2.0))
    arms = {
        "three": gb.Method(selection="naive"),
        "one": gb.Method(update="one-step", selection="naive"),
        "improve": gb.Method(update="improve", selection="naive"),
    }
    study = make(tmp_path, stub.url, arms=arms, trials=4, models=model)
    plan = study.plan()
    dry = len(stub.requests)
    assert 0 < dry < 40
    assert str(study.plan()) == str(plan) and len(stub.requests) == dry, "made once"
    rows = plan.rows.set_index("arm")
    found = study.run()
    assert rows["calls"].to_dict() == found.groupby("arm")["calls"].sum().to_dict()
    assert plan.total["calls"] == rows["calls"].sum() - plan.shared and plan.shared == 2 * 4 * 6
    assert len(stub.requests) - dry <= plan.total["calls"], "at most"
    tokens = found.groupby("arm")[["prompt_tokens", "completion_tokens"]].sum().sum(axis=1)
    cost = found.groupby("arm")["cost"].sum()
    for arm in arms:
        assert rows["tokens"][arm] == pytest.approx(tokens[arm], rel=0.35) and rows["cost"][arm] == pytest.approx(cost[arm], rel=0.35)
    after = study.plan()
    assert after.left["calls"] == 0 and after.total["calls"] == plan.total["calls"] and list(after.rows["done"]) == [4, 4, 4]
    for arm, told in after.rows.set_index("arm")["tokens"].items():
        assert told == pytest.approx(tokens[arm], rel=0.2), "priced by what the trials came to"
    assert "calls at most" in str(plan) and "cost" in str(plan) and "minutes" in str(plan)
    assert plan._repr_html_().count("<tr>") == 4 and "are made once" in plan._repr_html_()


def test_a_plan_is_made_of_few_calls_whatever_the_arms(stub, tmp_path):
    task = small_task(train=30, validation=60, test=120)
    study = gb.studies.paper(task, connect(tmp_path, stub.url), tmp_path / "study")
    plan = study.plan()
    assert len(stub.requests) < 150 < 20_000 < plan.total["calls"] and plan.total["cost"] is None
    assert {"critic-score correct naive", "improve validated", "one-step wrong long"} <= set(plan.rows["arm"])
    again = gb.Study(study.path)
    assert again.design == study.design


def test_the_minutes_follow_latency_and_connections(tmp_path):
    with Stub(reply=reply, latency=0.05) as stub:
        arms = {"a": gb.Method(selection="naive")}
        minutes = {}
        for wide in (1, 16):
            folder = tmp_path / str(wide)
            plan = make(folder, stub.url, arms=arms, trials=8, models=connect(folder, stub.url, concurrency=wide)).plan(concurrency=2)
            minutes[wide] = plan.total["minutes"]
        calls = 8 * (20 + 24)
        assert minutes[1] == pytest.approx(calls * 0.05 / 60, rel=0.5)
        assert minutes[16] == pytest.approx(4 * (2 * 4 + 2) * 0.05 / 60, rel=0.5), "four trials after each other, each stage after the last"


# --- ways to write a study down --------------------------------------------------------------------------------------------


def test_a_grid_crosses_settings_and_leaves_out_what_makes_no_sense():
    arms = gb.studies.grid(update=["three-stage", "improve"], labels=["correct", "none"], selection="naive")
    assert list(arms) == ["three-stage labels correct", "three-stage labels none", "improve labels none"]
    assert all(method.selection == "naive" for method in arms.values())
    assert list(gb.studies.grid(candidates=[1, 3])) == ["candidates 1", "candidates 3"] and list(gb.studies.grid(update="improve")) == [
        "improve"
    ]
    for settings, said in (
        ({"updates": ["x"]}, "no setting 'updates'"),
        ({"update": ["three_stage"]}, "three_stage"),
        ({"update": "improve", "labels": ["correct"]}, "no data"),
    ):
        with pytest.raises(MethodError, match=said):
            gb.studies.grid(**settings)


def test_the_papers_arms(stub, tmp_path):
    study = gb.studies.paper(small_task(train=30, validation=50, test=120), connect(tmp_path, stub.url), tmp_path / "study")
    arms = study.design.arms
    assert sum(arm.trials == 30 for name, arm in arms.items() if " at the calls " not in name and arm.method.selection == "naive") == 11
    assert {arm.method.batch_size for arm in arms.values()} == {3}
    assert len({(arm.method, arm.steps, arm.calls) for arm in arms.values()}) == len(arms), "no arm twice"
    long = [arm for name, arm in arms.items() if name.endswith("long")]
    assert {arm.steps for arm in long} == {100} and {arm.trials for arm in long} == {5}
    counts = {
        arm.method.candidates: arm.trials
        for arm in arms.values()
        if arm.method.evaluation == "critic-score" and arm.method.labels == "correct"
    }
    assert counts[5] == counts[2] == 15 and arms["critic-score correct naive"].trials == 40
    three = arms["three-stage correct naive"]
    calls = gb.studies.trial_calls(three, study.design.tasks["colours"]).training.total()
    equal = arms["one-step naive at the calls of three-stage naive"]
    assert calls == equal.calls == 100 and gb.studies.trial_calls(equal, study.design.tasks["colours"]).batches == 25
    few = gb.studies.paper(small_task(), connect(tmp_path, stub.url), tmp_path / "few", families=["main"], trials=0.1)
    assert {arm.trials for arm in few.design.arms.values()} == {3, 2} and len(few.design.arms) == 16
    with pytest.raises(StudyError, match="no family 'all'"):
        gb.studies.paper(small_task(), connect(tmp_path, stub.url), tmp_path / "x", families=["all"])


STATED = """
path = "made"
trials = 2
steps = 1
[tasks.tickets]
loader = "ticket_routing"
codes = 2
sizes = [6, 4, 4]
[tasks.own]
loader = "from_csv"
path = "own.csv"
input = "text"
target = "code"
[models.small]
base_url = "{url}"
cache = "{cache}"
[models.two.task]
name = "small"
base_url = "{url}"
cache = "{cache}"
price = [1, 2]
[models.two.critic]
name = "large"
base_url = "{url}"
cache = "{cache}"
[budget]
calls = 5000
[grid]
update = ["three-stage", "one-step"]
selection = "naive"
[arms.long]
update = "improve"
candidates = 2
steps = 2
trials = 1
"""


def stated(folder: Path, url: str, text: str = STATED) -> Path:
    rows = "".join(f"Item {n} is {c}.,{k}\n" for n, (c, k) in enumerate([("red", "K1"), ("green", "K2"), ("blue", "K3")] * 8))
    (folder / "own.csv").write_text(f"text,code\n{rows}")
    (folder / "mine.toml").write_text(text.format(url=url, cache=folder / "cache.sqlite"))
    return folder / "mine.toml"


def test_the_command_runs_what_a_file_states_and_goes_on_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    def said(messages, body):
        words = messages[-1]["content"]
        return (
            reply(messages, body) if re.search("is (red|green|blue)", words) else "<prompt>Do it.</prompt>" if "prompt" in words else "K1"
        )

    with Stub(reply=said) as stub:
        file = stated(tmp_path, stub.url)
        assert main(["study", str(file), "--plan"]) == 0
        assert "calls at most" in capsys.readouterr().out and set(gb.Study(tmp_path / "made").trials()["status"]) == {"waiting"}
        assert main(["study", str(file), "--out", str(tmp_path / "t.csv")]) == 0
        out, err = capsys.readouterr()
        assert out.count(" done ") == 2 * 2 * (2 * 2 + 1) == len(pd.read_csv(tmp_path / "t.csv")) and "100%" in err
        before = len(stub.requests)
        assert main(["study", str(tmp_path / "made")]) == 0 and len(stub.requests) == before
    study = gb.Study(tmp_path / "made")
    assert study.design.models["two"]["critic"].name == "large" and study.design.models["two"]["task"].price == (1, 2)
    assert study.design.arms["long"] == gb.studies.Arm(method=gb.Method(update="improve", candidates=2), steps=2, trials=1)


def test_the_command_tells_of_failures(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with Stub(reply=reply) as stub:
        stub.fail(400, times=100_000)
        assert main(["study", str(stated(tmp_path, stub.url))]) == 1
    assert "failed: three-stage, trial 0: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 2", "trails = 2", "'trails', which no study has"),
        ("trials = 2", "trials = ", "not valid TOML"),
        ('loader = "ticket_routing"', 'loader = "Task"', "loader = 'Task'"),
        ("codes = 2", "code = 2", "unexpected keyword"),
        ("own.csv", "other.csv", "other.csv"),
        ('name = "large"', 'api_key = "sk-secret"', "key belongs into the environment"),
        ("candidates = 2", "candidate = 2", "candidate=2"),
        ("[budget]\ncalls = 5000", "[budget]\ncoins = 5000", "coins"),
        ("steps = 1\n[tasks.t", "steps = 0\n[tasks.t", "greater than"),
        ("[models.two.critic]", "[models.two.judge]", "there is"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(old, new, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert old in STATED
    with Stub(reply=reply) as stub:
        assert main(["study", str(stated(tmp_path, stub.url, STATED.replace(old, new)))]) == 1
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and "sk-secret" not in err, err
    assert main(["study", str(tmp_path / "no.toml")]) == 1 and "cannot be read" in capsys.readouterr().err


# --- size ------------------------------------------------------------------------------------------------------------------

MANY, SECONDS, GIGABYTES = 10_000, 30, 2


def test_ten_thousand_trials_give_their_tables_soon_and_in_little_memory(stub, tmp_path):
    """Records of a stub: 10 steps a trial, 50 + 120 examples; in a process of its own, whose peak of memory counts."""
    arms = {f"arm {n}": gb.Method(update="one-step", candidates=n % 5 + 1, momentum=0, batch_size=n // 5 + 1) for n in range(10)}
    study = make(tmp_path, stub.url, arms=arms, trials=MANY // 10, steps=10, tasks=small_task(train=30, validation=50, test=120))
    marks = {"validation": "10u" * 16 + "01", "test": "0110" * 30}
    answers = {f"{end} {split}": trials.Answered(marks=marks[split], balanced=0.5) for end in ("seed", "end") for split in marks}
    points = tuple(trials.Point(batch=n, right=1 / 3, validation=0.4, changed=True) for n in range(1, 11))
    shared = {
        "status": "done",
        "seed": 1,
        "answers": answers,
        "points": points,
        "prompt": "0" * 64,
        "calls": 2000,
        "cost": 0.5,
        "seconds": 100.0,
    }
    lines = [trials.Result(**place._asdict(), **shared).model_dump_json(exclude_defaults=True) for place in study.design.places()]
    (study.path / "results.jsonl").write_text("\n".join(lines) + "\n")
    code = f"""
        import json, resource, time
        import gradbook as gb
        began = time.process_time()
        study = gb.Study({str(study.path)!r})
        trials, scores, points, progress = study.trials(), study.scores(), study.points(), study.progress()
        assert set(trials["status"]) == {{"done"}} and trials["test"].mean() == 0.5
        table = scores.groupby(["arm", "prompt", "split"], observed=True)["correct"].mean()
        print(json.dumps([len(trials), len(scores), len(points), table.min(), time.process_time() - began,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))
    """
    said = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True).stdout
    *counts, least, seconds, gigabytes = json.loads(said)
    assert counts == [MANY, MANY * 2 * 170, MANY * 10] and least == pytest.approx(17 / 50)
    print(f"{MANY} trials: {seconds:.1f} s, {gigabytes:.2f} GB, {sum(map(len, lines)) / 1e6:.0f} MB on disk")
    assert seconds < SECONDS and gigabytes < GIGABYTES


def test_what_trials_have_cost_prices_the_plan_and_nothing_is_run_dry(tmp_path):
    with Stub(reply=reply) as stub:
        study = make(tmp_path, stub.url, trials=2)
        study.run()
        asked = len(stub.requests)
        plan = study.plan()
        assert len(stub.requests) == asked and not (study.path / "dry-run").exists()
        assert plan.left["calls"] == 0 and plan.rows["tokens"].gt(0).all()
        more = make(tmp_path, stub.url, trials=2, arms={"improve": gb.Method(update="improve", selection="naive")})
        more.plan()
        assert len(stub.requests) > asked, "an arm of which no trial is done, with a stage of its own, is"
