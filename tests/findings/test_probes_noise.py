"""The probe of noise: fresh batches of each size from the same prompt, nothing paid twice, and a word that follows from the draws."""

import pytest

import gradbook as gb
from gradbook import background
from gradbook.errors import CaseError
from gradbook.findings.probes_noise import BatchNoise, anoise, effective
from gradbook.tell.findings import finding
from small import reply, small_task
from stub import Stub
from test_record import connect

SMALL = {"sizes": (1, 3), "replicates": 4, "answers": 2}


@pytest.fixture
def stub():
    with Stub(reply=reply) as made:
        yield made


def open_case(stub, path, **settings):
    return gb.Case(path, task=small_task(train=8), model=connect(stub), method=gb.Method(**{"selection": "naive"} | settings))


def ask(case, step, **more):
    return background.run(anoise(case, step, **SMALL | more))


# settings of the method, and calls of an arm by the size of its batch
EACH = {
    "three-stage": ({}, lambda n: 3 * n + 1),
    "one-step": ({"update": "one-step"}, lambda n: n + 1),
    "a critic": ({"evaluation": "critic-binary"}, lambda n: 4 * n + 1),
    "several": ({"selection": "validated", "candidates": 2, "critiques": 2}, lambda n: n + 4 * n + 2),
}


@pytest.mark.parametrize("name", EACH)
def test_arms_are_fresh_batches_of_the_same_prompt_and_cost_what_was_said(name, stub, tmp_path):
    settings, calls = EACH[name]
    case = open_case(stub, tmp_path / "case", **settings)
    case.step()
    step = case.step() if not case.method.critic else case[1]
    said, since, splits = case.plan("batch_noise", step, **SMALL), len(stub.requests), len(case.task.validation)
    found = ask(case, step)
    assert len(stub.requests) - since == 4 * (calls(1) + calls(3)) + 8 * 2 * splits == said.calls
    arms = [each for each in case if each.finding == found.id]
    assert [len(arm.batch) for arm in sorted(arms, key=lambda a: a.arm)].count(3) == 4 and len(arms) == 8
    assert all(arm.prompt == step.prompt and arm.held == step.held and arm.aside and not arm.edits for arm in arms)
    assert all(arm.stages == tuple(s for s in step.stages if s != "select") and arm.done for arm in arms), "no selection has a part in it"
    assert len({arm.batch for arm in arms}) > 4 and all(len(set(arm.batch)) == len(arm.batch) for arm in arms)
    assert all(case.method_of(arm) == case.method_of(step) for arm in arms)
    assert case.current.id == step.id, "the arms are not in the tree"
    rewritten = {arm.rewrite[0].prompt for arm in arms}
    assert {case.prompt_text(score.prompt) for score in case.recorded_questions() if score.replicate >= 1000} == rewritten


def test_it_opens_again_for_no_call_and_goes_on_from_there(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    found, since = ask(case, step), len(stub.requests)
    lines = (case.path / "journal.jsonl").read_bytes()
    assert ask(case, step) == ask(case, step, sizes=(3, 1)) == found and len(stub.requests) == since
    assert (case.path / "journal.jsonl").read_bytes() == lines
    more = ask(case, step, replicates=5, answers=3)
    assert more.id == found.id and [len(draws) for draws in more.scores] == [5, 5]
    assert tuple(tuple(batch[:2] for batch in draws[:4]) for draws in more.scores) == found.scores, "more draws go on from those there are"
    assert len(stub.requests) - since == (4 + 10) + 8 * 6 + 2 * 3 * 6
    since = len(stub.requests)
    assert ask(case, step) == more and len(stub.requests) == since, "asked for less, it gives what there is"
    case.close()
    for again in (gb.Recording(case.path), gb.Case(case.path)):
        assert background.run(anoise(again, 1, **SMALL)) == again.finding(found.id) == more
        with pytest.raises(CaseError, match="has no such batch noise of step 1 on validation"):
            background.run(anoise(again, 1, **SMALL | {"sizes": (1, 2)}))


def test_what_was_stopped_goes_on_and_asks_nothing_twice(tmp_path):
    with Stub(reply=reply, latency=0.02) as stub:
        case = open_case(stub, tmp_path / "case")
        step = case.step()
        since = len(stub.requests)
        first = background.submit(anoise(case, step, **SMALL))
        stub.wait_for(since + 60)
        first.cancel()
        assert not case.found
        found = ask(case, step)
        expected = 4 * (4 + 10) + 8 * 2 * 6
        assert len(stub.requests) - since == expected and case.spent_for(case.found[found.id]).calls == expected
        assert len([each for each in case if each.finding == found.id]) == 8


def test_where_nothing_can_be_probed_it_says_why_before_it_pays(stub, tmp_path):
    case = open_case(stub, tmp_path / "case", evaluation="critic-binary")
    case.step()
    critic = case.step()
    since = len(stub.requests)
    wrong = [
        (case, 0, {}, "step 0 is not done or holds only the seed prompt"),
        (case, critic, {}, "step 2 is of the critic, whose batch is that of the step before it"),
        (case, 1, {"sizes": (1, 8)}, r"different numbers from 1 to 7, as 8 examples train; not \[1, 8\]"),
        (case, 1, {"sizes": (2, 2)}, "two or more different numbers"),
        (case, 1, {"sizes": (2,)}, "two or more different numbers"),
        (case, 1, {"replicates": 3}, "4 to 100 replicates, 2 to 9 answers and a margin between 0 and 1, not replicates=3"),
        (case, 1, {"answers": 1}, "not replicates=4, answers=1"),
        (case, 1, {"margin": 0.0}, "margin=0"),
    ]
    for number, settings in enumerate([{"update": "improve"}, {"apart": True, "selection": "random"}]):
        other = open_case(stub, tmp_path / str(number), **settings)
        other.step()
        wrong.append((other, 1, {}, "sees no data" if number == 0 else "rewrites after each critique apart"))
    since = len(stub.requests)
    for case, step, more, message in wrong:
        with pytest.raises(CaseError, match=message):
            ask(case, step, **more)
        with pytest.raises(CaseError, match=message):
            case.plan("batch_noise", step, **SMALL | more)
    assert len(stub.requests) == since and not case.found


def test_a_batch_without_a_usable_rewrite_leaves_the_prompt_as_it_was(tmp_path):
    def silent(messages, body):
        return "" if "Rules to add:" in messages[-1]["content"] else reply(messages, body)

    with Stub(reply=silent) as stub:
        case = open_case(stub, tmp_path / "case")
        step = case.step()
        found = ask(case, step)
    assert found.unchanged == (4, 4) and found.verdict == "cannot tell" and "nothing is seen to vary" in str(found)
    assert "the old prompt was scored" in finding(case, found).remarks[0]


def test_its_arms_can_be_looked_at_and_it_is_told(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    found = ask(case, step)
    told = finding(case, found)
    assert str(found).lower() == f"{told.verdict}: {told.sentence}".lower(), "the word stands above the sentence, once"
    assert told.verdict == found.verdict and str(found.margin) in told.asked
    assert [row[0].text for row in told.grids[0].rows] == ["1", "3"] and told.spent
    assert "Noise and batch size" in repr(found) and "batch size" in found._repr_html_()
    assert "Noise and batch size, step 1" in case.export(tmp_path / "told.html").read_text()
    stepper = gb.Stepper(case)
    stepper.go(case.found[found.id].steps[0])
    assert stepper.desk.view.id == case.found[found.id].steps[0]


def draws(spreads, batches=40, examples=40):
    """Scores whose batches differ by so much at each size, and answers that are sure."""
    levels = [[0.5 + spread * (2 * n / (batches - 1) - 1) for n in range(batches)] for spread in spreads]
    return tuple(tuple((tuple(int(e < examples * level) for e in range(examples)),) * 2 for level in size) for size in levels)


@pytest.mark.parametrize(("power", "word"), [(-1.0, "holds"), (0.0, "does not hold"), (-0.5, "cannot tell")])
def test_the_word_follows_from_the_power_of_the_size(power, word):
    sizes, train = (1, 2, 4, 8), 1000
    scores = draws([0.4 * effective(size, train) ** (power / 2) for size in sizes])
    found = BatchNoise(step=1, split="test", sizes=sizes, train=train, scores=scores, unchanged=(0,) * 4)
    assert found.verdict == word and found.scaling.exponent == pytest.approx(power, abs=0.12)
    assert f"{word}: the variance goes with the size to the power of" in str(found)
    assert BatchNoise.model_validate(found.model_dump(mode="json")) == found
    for other, margin in (("holds", 0.15), ("does not hold", 0.8)) if power == -0.5 else ():
        assert found.model_copy(update={"margin": margin}).verdict == other


def test_sizes_count_as_a_gradient_would_have_them():
    """Means of batches that are drawn from few examples: their variance goes with the effective size to the power of -1 exactly."""
    from itertools import combinations
    from statistics import mean, pvariance

    values = [0.0, 1.0, 5.0, 2.0, 2.5, 7.0]
    seen = {n: pvariance([mean(batch) for batch in combinations(values, n)]) * effective(n, 6) for n in range(1, 6)}
    assert all(value == pytest.approx(pvariance(values)) for value in seen.values())
