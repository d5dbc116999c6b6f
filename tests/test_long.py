"""Answers and draws in the long form that other packages read: evalstats gives the same means, difference and number of examples."""

import random

import numpy as np
import pytest

import gradbook as gb
from small import reply, small_task
from stub import Stub

NEEDS = "no evalstats: pip install evalstats"
SIZES = (6, 6, 18)  # evalstats asks for 15 examples at least


def noisy(messages, body):
    """The small task's replies, of which the answers go wrong now and then by the seed of the call."""
    said = reply(messages, body)
    slips = messages[0]["role"] == "system" and random.Random(f"{body['seed']} {messages[-1]['content']}").random() < 0.25
    return "K2" if slips else said


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A step and an edit of it, each drawn four times and scored on the test split."""
    with Stub(reply=noisy) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
        folder = tmp_path_factory.mktemp("long") / "case"
        case = gb.Case(folder, task=small_task(*SIZES), model=model, method=gb.Method(selection="naive"))
        case.step()
        case.perturb(1, gb.edits.replace("prompt_critique", example=1, text="Leave it as it is."))
        case.compare(1, 2, "test", replicates=4)
        for replicate in (0, 1, 2):
            case.score(0, "test", replicate)
        yield case


@pytest.fixture
def effect(case):
    return case.compare(1, 2, "test", replicates=4)


def test_the_draws_of_both_arms_are_rows(effect):
    long = effect.long()
    assert list(long.columns) == ["prompt", "item", "run", "score", "split", "answered_by"]
    assert len(long) == 2 * 4 * SIZES[2] and set(long["run"]) == {1, 2, 3, 4} and set(long["answered_by"]) == {"small"}
    for name, arm in (("step 1", effect.before), ("step 2", effect.after)):
        wide = long[long["prompt"] == name].pivot(index="run", columns="item", values="score")[list(effect.examples)]
        assert (wide.to_numpy() == np.array(arm.right)).all()
    means = long.groupby("prompt")["score"].mean()
    assert means["step 2"] - means["step 1"] == pytest.approx(effect.difference)


def test_without_draws_the_runs_are_rows(case):
    effect = case.compare(1, 2, "test", replicates=0)
    long = effect.long()
    assert set(long["run"]) == {0} and len(long) == 2 * SIZES[2]
    assert long.groupby("prompt")["score"].mean()["step 1"] == effect.before.metrics.accuracy.value


def test_recorded_answers_are_rows_under_the_first_step_that_ends_with_the_prompt(case):
    long = case.long("test")
    seed = long[long["prompt"] == "step 0"]
    assert set(seed["run"]) == {0, 1, 2} and len(seed) == 3 * SIZES[2] and set(long["split"]) == {"test"}
    for replicate in (0, 1, 2):
        share = seed[seed["run"] == replicate].set_index("item")["score"]
        assert share.mean() == case.metrics(0, "test", replicate).accuracy.value
        answers = {answer.example: answer.correct for answer in case.scored(0, "test", replicate).answers}
        assert share.astype(bool).to_dict() == answers
    assert not long.duplicated(["prompt", "item", "run"]).any()
    assert case.long("train").empty and list(case.long("train").columns) == list(long.columns)
    assert gb.Recording(case.path).long("test").equals(long)


def test_models_of_one_name_are_told_apart_and_another_form_is_left_out(tmp_path):
    with Stub(reply=noisy) as stub:
        task = small_task(*SIZES)
        for sampling in ({"temperature": 0.0}, {"temperature": 1.0}):
            model = gb.connect("small", base_url=stub.url, api_key="k", cache=False, sampling=sampling)
            case = gb.Case(tmp_path / "case", task=task, model=model, method=gb.Method(selection="naive"))
            case.score(0, "test")
            case.close()
        assert case.long()["model"].nunique() == 2 and case.long()["model"].str.startswith("small ").all()
        settings = tmp_path / "case" / "case.toml"
        settings.write_text(settings.read_text().replace("Answer with one code.", "Give one code."))
        other = gb.Case(tmp_path / "case", model=model)
        assert other.long().empty
        other.score(0, "test")
        assert len(other.long()) == SIZES[2] and set(other.long()["answered_by"]) == {"small"}


@pytest.fixture
def es():
    return pytest.importorskip("evalstats", reason=NEEDS)


@pytest.mark.bridges
@pytest.mark.filterwarnings("ignore")
def test_evalstats_finds_the_same_means_difference_and_examples_in_an_effect(es, effect, tmp_path):
    long = effect.long()
    benchmark = es.from_dataframe(long)
    assert list(benchmark.template_labels) == ["step 1", "step 2"] and tuple(benchmark.input_labels) == effect.examples
    arms = np.array([effect.before.right, effect.after.right], dtype=float)  # arms × draws × examples
    assert (benchmark.scores == arms.transpose(0, 2, 1)).all(), "runs are kept as runs"
    long.to_csv(tmp_path / "effect.csv", index=False)
    for data in (long, str(tmp_path / "effect.csv")):
        found = es.compare(es.load_from(data), factors="prompt", baseline="step 1", n_bootstrap=500)
        means = {name: stats.mean for name, stats in found.entity_stats.items()}
        assert means == pytest.approx({"step 1": np.mean(effect.before.right), "step 2": np.mean(effect.after.right)})
        pair = found.pairwise.get("step 2", "step 1")
        assert pair.point_diff == pytest.approx(effect.difference)
        assert (pair.n_inputs, pair.n_runs) == (SIZES[2], 4)


@pytest.mark.bridges
@pytest.mark.filterwarnings("ignore")
def test_evalstats_finds_the_same_means_in_recorded_answers(es, case):
    long = case.long("test")
    scored = long[long["prompt"].isin(["step 0", "step 1", "step 2"]) & (long["run"] == 0)]
    found = es.compare(es.load_from(scored), factors="prompt", n_bootstrap=500)
    assert es.load_from(scored).score_type == "binary"
    for step in range(3):
        assert found.entity_stats[f"step {step}"].mean == pytest.approx(case.metrics(step, "test").accuracy.value)
    assert set(found.labels) == {"step 0", "step 1", "step 2"}
