"""The critic: how its verdicts are read, and the steps in which its own prompt is optimised."""

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import gradbook as gb
from gradbook.errors import EditError, ModelError
from gradbook.loop import Method
from gradbook.loop.critic import CriticTask, read_score, read_verdict
from gradbook.records import Answer
from small import reply, small_task
from stub import Stub

# --- reading a score -------------------------------------------------------------------------------------------------------

SCORES = {
    "Score: 85": 85,
    "score = 85": 85,
    "SCORE:85.": 85,
    "**Score:** 85/100": 85,
    "**Score**: **85**": 85,
    "`Score: 85`": 85,
    "### Score: *85* / 100": 85,
    "Score: [85]": 85,
    "Score:\n85": 85,
    "The score is 85.": 85,
    "I would give it a score of 85": 85,
    "The score would be 85": 85,
    "Score for the output: 85": 85,
    "Score (0-100): 70": 70,
    "Score (out of 100): 70": 70,
    "Score (0 to 100) = 70": 70,
    "Score out of 100: 70": 70,
    "85 out of 100": 85,
    "I'd say 85/100.": 85,
    "85": 85,
    "**85**": 85,
    "85%": 85,
    "Score: 85%": 85,
    "Score: 72.5": 72.5,
    "Score: 0": 0,
    "Score: 100": 100,
    "Score: +5": 5,
    "Score: 85, because the code fits": 85,
    "Score: 85; it fits": 85,
    "Score: 85 (right)": 85,
    "Score: 85 - well done": 85,
    "Score: 20\nNo, wait.\nScore: 90": 90,
    "Score: 20. On reflection 90/100": 90,
    "It gets 3 of the 4 parts, 7 words.\nScore: 75": 75,
    "It should be 12, not 13/15.\nScore: 40": 40,
    "Score：85": 85,
    "Score：８５": 85,
    # out of range, but a score
    "-5": -5,
    "Score: -5": -5,
    "Score: −5": -5,
    "Score: －5": -5,
    "Score: –5": -5,
    "130": 130,
    "Score: 130": 130,
    "Score: 1,000": 1000,
    "Score: 150/100": 150,
    # none, or none that is clear
    "": None,
    "eighty": None,
    "Score: eighty": None,
    "Score: N": None,
    "Score:": None,
    "Score: about right": None,
    "It has 85 words.": None,
    "The answer 85 is wrong.": None,
    "In 1985 this held.": None,
    "scores 85": None,
    "8/10": None,
    "Score: 8/10": None,
    "Score: **8**/10": None,
    "Score: 8 out of 10": None,
    "Score: 8 (out of 10)": None,
    "Score: 4 of 5": None,
    "Score: 85/1000": None,
    "Score: 0-100": None,
    "Score: 60 to 70": None,
    "Score: 60–70": None,
    "60-70/100": None,
    "60 to 70 out of 100": None,
    "Score: 85,5": None,
    "Score: 1.2.3": None,
    "Score: 90\nScore: 9/10": None,
    'End your reply with a line "Score: N", where N is a whole number from 0 (wrong) to 100 (right).': None,
}


@pytest.mark.parametrize("said", SCORES, ids=repr)
def test_a_score_is_read_where_one_is_stated(said):
    assert read_score(said) == SCORES[said]


PIECES = ["score", "Score: ", "(", ")", "[", "0", "85", "100", "9" * 40, ",", ".", "-", "−", "－", "–", "/", "/100", "out of ", "to", " "]
PIECES += ["\n", "\t", "*", "_", "`", "%", "is", "of", "for", "e9", "½", "٣", "５", "verdict", ":", "：", "right", "wrong", "not ", "or"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=40).map("".join))
@example("9" * 400)
@example("Score: " + "9" * 5000)
@example("Score: 1" + ",000" * 2000)
def test_whatever_is_said_reading_it_never_raises(said):
    score = read_score(said)
    assert score is None or isinstance(score, float)
    assert read_verdict(said) in (None, "right", "wrong")
    for binary in (True, False):
        task = critic_task(binary)
        answer, why, number = task.parse(said), task.unusable(said), task.score(task.parse(said))
        assert (answer is None) == (why is not None) == (number is None)
        assert number is None or 0 <= number <= 1


LONG = 50_000
ADVERSARIAL = [
    *(piece * LONG for piece in ("1", "1,", "1.", "1-", "1 ", "(", "score ", "score (", "score (1", "score for ", "score: ", "Score: 1 ")),
    *(piece * LONG for piece in ("verdict ", "verdict: ", "verdict:\n", "right ", "right or ", "**", "_", " ", "\n", "-", "/100")),
    *(f"score{piece * LONG}:" for piece in (" ", "*", "\n", "'")),
    *(f"Score: {piece * LONG}x" for piece in ("1", "1,000", " ", "*", "1 to ", "1 - ")),
    "1" * LONG + "/ 10",
    f"7{' ' * LONG}/ 10",
    "verdict" + " " * LONG + "is",
    "Verdict: " + "/ " * LONG + "right",
    "Verdict: right" + " /" * LONG,
]


@pytest.mark.parametrize("said", ADVERSARIAL, ids=lambda said: f"{said[:14]!r}…")
@pytest.mark.timeout(60)
def test_no_reply_takes_long_to_read(said):
    """A pattern that tries every way would take hours here, and one that starts again at each character minutes."""
    read_score(said)
    read_verdict(said)


# --- reading a verdict -----------------------------------------------------------------------------------------------------

VERDICTS = {
    "Verdict: right": "right",
    "verdict: WRONG": "wrong",
    "**Verdict: wrong**": "wrong",
    "**Verdict:** wrong": "wrong",
    "Verdict = 'right'": "right",
    "Verdict: \nright": "right",
    "Verdict:\nwrong\nThat is all.": "wrong",
    "Verdict：right": "right",
    "The verdict is right.": "right",
    "My verdict is that the output is wrong.": "wrong",
    "Verdict: right, since the code fits": "right",
    "Verdict: wrong, the right answer is K2": "wrong",
    "Verdict: wrong\nVerdict: right": "right",
    "Verdict: right\nThis verdict is final.": "right",
    "It fits.\n\nright": "right",
    "Wrong.": "wrong",
    "**Right**": "right",
    # none, or none that is clear
    "": None,
    "Verdict:": None,
    "Verdict: X": None,
    "Verdict: correct": None,
    "Verdict: right or wrong": None,
    "Verdict: right/wrong": None,
    "Verdict: wrong → right": None,
    "not right": None,
    "Verdict: not right": None,
    "Verdict: not wrong": None,
    "Verdict: rightly so": None,
    "The right answer is K2.": None,
    "K2 would be right": None,
    "Nothing is wrong with it, as the rule at the right says.": None,
    'End your reply with a line "Verdict: X", where X is right or wrong.': None,
}


@pytest.mark.parametrize("said", VERDICTS, ids=repr)
def test_a_verdict_is_read_where_one_is_stated(said):
    assert read_verdict(said) == VERDICTS[said]


def critic_task(binary: bool, answered: dict | None = None) -> CriticTask:
    return CriticTask(small_task(), Method(evaluation="critic-binary" if binary else "critic-score"), answered or {})


def test_what_cannot_be_used_is_told_apart():
    score, binary = critic_task(False), critic_task(True)
    replies = {"Score: 101": "out of range", "Score: -1": "out of range", "Score: 8/10": "missing", "eighty": "missing", "Score: 0": None}
    assert {said: score.unusable(said) for said in replies} == replies
    assert (binary.unusable("Score: 85"), binary.unusable("Verdict: wrong")) == ("missing", None)


@pytest.mark.parametrize("binary", [True, False])
def test_thoughts_and_unfinished_lines_are_no_verdict(binary):
    task, first, second = critic_task(binary), *(("right", "wrong") if binary else ("80", "20"))
    form = "Verdict: {}" if binary else "Score: {}"
    assert task.parse("<think>" + form.format(first)) is None and task.unusable("<think>" + form.format(first)) == "missing"
    assert task.parse(f"<think>{form.format(first)}</think>{form.format(second)}") == second
    assert task.parse(form.format(first) + "\nIt", cut=True) == first
    assert task.parse(form.format(first), cut=True) is None
    assert task.parse(f"{first}\n...", cut=True) is None and task.parse(first) == first


@pytest.mark.parametrize(
    ("said", "means"), [("0", "wrong"), ("49", "wrong"), ("49.9999999", "wrong"), ("50", "right"), ("50.5", "right"), ("100", "right")]
)
def test_fifty_and_more_means_right(said, means):
    task = critic_task(False)
    answer = task.parse(f"Score: {said}")
    assert task.classes(answer) == (means,)
    assert task.correct(answer, means) and not task.correct(answer, "right" if means == "wrong" else "wrong")
    assert task.score(answer) == pytest.approx(float(said) / 100) and (task.score(answer) >= 0.5) == (means == "right")


def test_the_truth_about_an_output_is_whether_it_is_right():
    task = small_task()
    answered = {e.id: Answer(example=e.id, answer="K1", correct=e.target == "K1") for e in task.train}
    judge = critic_task(True, answered)
    for e in task.train:
        assert judge.example(e.id).target == ("right" if e.target == "K1" else "wrong")
        assert judge.wrong_label(e) == ("right" if task.wrong_label(e) == "K1" else "wrong")
        assert e.target not in judge.example(e.id).input


# --- the critic's steps ----------------------------------------------------------------------------------------------------


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


ROLES = ("task", "critic", "optimizer")


def open_case(stub, path, evaluation: str | None = "critic-score", cache=False, names=ROLES, **settings) -> gb.Case:
    """A case whose models have names of their own, so that a request says which role it was for."""
    models = [gb.connect(name, base_url=stub.url, api_key="k", cache=cache) for name in names]
    method = gb.Method(evaluation=evaluation, candidates=2, **settings) if evaluation else None
    return gb.Case(path, task=small_task(), model=models[0], critic=models[1], optimizer=models[2], method=method)


@pytest.fixture
def case(stub, tmp_path):
    return open_case(stub, tmp_path / "case")


def asked(stub, since: int = 0) -> list[tuple[str, str]]:
    """(role, user message) of the requests since then."""
    return [(r.body["model"], r.body["messages"][-1]["content"]) for r in stub.requests[since:]]


def test_the_record_tells_missing_scores_from_those_out_of_range(tmp_path):
    def partly(messages, body):
        judging = messages[0]["role"] == "system" and "Judge whether" in messages[0]["content"]
        return "I cannot say." if judging and "blue" in messages[-1]["content"] else reply(messages, body)

    with Stub(reply=partly) as stub:
        case = open_case(stub, tmp_path / "case")
        step, turn = case.step(), case.step()
    by_colour = {case.task.example(e.example).input.split()[-1]: e for e in step.evaluate}
    assert {colour: (e.score, e.unusable) for colour, e in by_colour.items()} == {
        "red.": (0.9, None),
        "green.": (None, "out of range"),
        "blue.": (None, "missing"),
    }
    rows = case.predictions()
    assert list(rows[rows.step == 1].unusable.value_counts().sort_index().items()) == [("missing", 1), ("out of range", 1)]
    assert [p.answer for p in turn.predict if p.answer is not None] == ["90"], "neither is a verdict"
    assert case.steps().loc[1, "agreement"] == case.steps().loc[2, "agreement"] == pytest.approx(1 / 3)


def test_a_critic_learns_from_the_labels_and_the_tables_say_so(case):
    step, turn = case.step(), case.step()
    assert turn.variable == "critic" and "green outputs are wrong" in turn.chosen_prompt
    assert turn.select.scores["-1"] == pytest.approx(2 / 3) and turn.select.scores["0"] == 1.0
    metrics = case.metrics(turn)
    assert metrics.accuracy.value == 1.0 and {label: (s.count, s.total) for label, s in metrics.recall.items()} == {
        "right": (2, 2),
        "wrong": (4, 4),
    }
    rows = case.steps()
    assert list(rows.variable) == ["prompt", "prompt", "critic"] and list(rows.depth) == [0, 1, 1]
    assert rows.loc[2, "validation"] == case.metrics(step).accuracy.value, "the task's prompt is what it was"
    following = case.step()
    assert following.variable == "prompt" and following.held == turn.chosen_prompt and following.depth == 2
    assert all(e.unusable is None for e in following.evaluate), "the next batch is judged by the better critic"
    assert case.step().prompt == turn.chosen_prompt


def test_an_edited_verdict_is_read_again_and_its_label_cannot_be_edited(case, stub):
    step = case.step()
    green = next(i for i, name in enumerate(step.batch) if "green" in case.task.example(name).input)
    branch = case.perturb(step, gb.edits.replace("evaluation", example=green, text="Score: 35"))
    assert (branch.evaluate[green].score, branch.evaluate[green].unusable, branch.evaluate[green].call) == (0.35, None, None)
    none = case.perturb(step, gb.edits.replace("evaluation", example=green, text="no idea"))
    assert (none.evaluate[green].score, none.evaluate[green].unusable) == (None, "missing")
    with pytest.raises(EditError, match="sees no label") as caught:
        case.perturb(step, gb.edits.replace("label", example=0, text="K2"))
    assert "\n" not in str(caught.value)
    case.go(branch)
    before = len(stub.requests)
    turn = case.step()
    assert turn.parent == branch.id and turn.predict[green].output == "Score: 35" and turn.predict[green].answer == "35"
    assert not [text for role, text in asked(stub, before) if role == "task"]


@pytest.mark.parametrize(
    ("edit", "kept"),
    [
        (dict(field="prediction", example=0, text="Score: 1"), ()),
        (dict(field="label", example=0, text="OTHER"), ("predict",)),
        (dict(field="evaluation", example=0, text="Think again."), ("predict",)),
        (dict(field="output_critique", example=0, text="blue output was right"), ("predict", "evaluate")),
        (dict(field="prompt_critique", example=0, text="blue outputs are right"), ("predict", "evaluate", "output_critique")),
        (dict(field="candidate", candidate=0, text="Say what fits."), ("predict", "evaluate", "output_critique", "prompt_critique")),
        (dict(field="selection", text="-1"), ("predict", "evaluate", "output_critique", "prompt_critique", "rewrite")),
    ],
    ids=lambda value: value["field"] if isinstance(value, dict) else "",
)
def test_a_critics_step_can_be_branched_at_each_stage(edit, kept, case, stub):
    case.step()
    turn = case.step()
    if edit["text"] == "OTHER":
        edit = edit | {"text": "right" if turn.evaluate[0].label == "wrong" else "wrong"}
    before = len(stub.requests)
    branch = case.perturb(turn, gb.edits.replace(**edit))
    assert branch.done and (branch.variable, branch.parent, branch.origin, branch.held) == ("critic", 1, 2, turn.held)
    assert all(getattr(branch, stage) == getattr(turn, stage) for stage in kept)
    assert not [1 for role, _ in asked(stub, before) if role == "task"], "the outputs that are judged stay"
    if edit["field"] == "label":
        assert edit["text"] in branch.evaluate[0].text and branch.evaluate[0].target == turn.evaluate[0].target
    if edit["field"] == "prediction":
        assert branch.predict[0].answer == "1" and branch.evaluate[1:] == turn.evaluate[1:]
        assert branch.predict[0].correct == (branch.predict[0].target == "wrong")
    if edit["field"] in ("output_critique", "prompt_critique"):
        assert "blue outputs are right" in branch.prompt_critique[0].text
    with pytest.raises(EditError, match="not a label of critic"):
        case.perturb(turn, gb.edits.replace("label", example=0, text="K1"))


def test_compare_sets_agreement_on_the_same_outputs_beside_its_noise(case, stub):
    step, turn = case.step(), case.step()
    before = len(stub.requests)
    found = case.compare(case[1], case[2], "validation", replicates=3)
    shares = [arm.metrics.accuracy for arm in (found.before, found.after)]
    assert (shares[0].count, shares[1].count, shares[1].total) == (4, 6, 6)
    assert (found.fixed, found.broken, len(found.before.floor)) == (2, 0, 3) and found.difference == pytest.approx(1 / 3)
    assert set(found.before.metrics.recall) == {"right", "wrong"} and found.before.recall("wrong") == 0.5
    made = asked(stub, before)
    assert [role for role, _ in made] == ["critic"] * 36, "a draw of either arm judges the same outputs again and nothing else"
    outputs = {answer.call for answer in case.scored(step).answers}
    assert len(outputs) == 6
    again = len(stub.requests)
    assert case.compare(step, turn, "validation", replicates=3) == found and len(stub.requests) == again
    branch = case.perturb(turn, gb.edits.replace("prompt_critique", example=0, text="Nothing to add."))
    effect = case.compare(turn, branch, "validation", replicates=2)
    assert effect.before.fresh_from == "rewrite" and len(effect.before.floor) == len(effect.after.floor) == 2
    replicates = [s for s in case if s.replicate_of == turn.id]
    assert len(replicates) == 2 and all(s.variable == "critic" and s.prompt_critique == turn.prompt_critique for s in replicates)


def test_the_noise_floor_of_a_critic_is_made_of_fresh_verdicts(tmp_path):
    """A critic that throws a coin: replicates differ, while the outputs that they judge are the same."""

    def coin(messages, body):
        if messages[0]["role"] == "system" and "Judge whether" in messages[0]["content"]:
            return f"Verdict: {random.Random(str(body['seed'])).choice(['right', 'wrong'])}"
        return reply(messages, body)

    with Stub(reply=coin) as stub:
        case = open_case(stub, tmp_path / "case", "critic-binary", selection="random")
        case.step(), case.step()
        strict = gb.edits.replace("candidate", candidate=0, text="Judge whether the answer is right. Be strict.")
        found = case.compare(case[1], case.perturb(2, strict), "validation", replicates=6)
    assert len(set(found.before.floor)) > 1
    targets = {
        tuple(a.target for a in score.answers)
        for score in [case.recorded(q) for q in case.recorded_questions()]
        if score.question.variable == "critic"
    }
    assert len(targets) == 1, "what is true of the outputs is the same in every replicate"


def test_a_case_closed_before_the_critics_turn_goes_on_and_pays_nothing_twice(stub, tmp_path):
    """Without any cache, so that whatever were asked again would be paid again."""
    case = open_case(stub, tmp_path / "case")
    step = case.step()
    case.close()
    before = len(stub.requests)
    case = open_case(stub, tmp_path / "case", None, names=("stronger", "critic", "optimizer"))
    turn = case.step()
    assert turn.variable == "critic" and [p.output for p in turn.predict] == [e.text for e in step.evaluate]
    roles = [role for role, _ in asked(stub, before)]
    assert "stronger" not in roles, "the critic judges the outputs on record, whichever model is there now"
    answered = [(r.body["model"], str(r.body["messages"]), r.body["seed"]) for r in stub.requests]
    assert len(set(answered)) == len(answered) == case.spent.calls == len(case.calls())
    whole = open_case(stub, tmp_path / "whole")
    whole.step(), whole.step()
    assert [s.model_dump() for s in whole] == [s.model_dump() for s in case], "as if it had never been closed"


def test_a_critic_whose_outputs_are_lost_says_so(stub, tmp_path):
    case = open_case(stub, tmp_path / "case")
    case.step()
    case.close()
    (tmp_path / "case" / "calls.jsonl").write_text("")
    case = open_case(stub, tmp_path / "case", None)
    with pytest.raises(gb.GradbookError, match=r"calls\.jsonl lacks outputs on validation"):
        case.step()


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_batch_that_fails_anywhere_goes_on_without_paying_twice(at, tmp_path):
    turns = itertools.count()
    with Stub(reply=lambda messages, body: {"nonsense": 1} if next(turns) == at else reply(messages, body)) as stub:
        case = open_case(stub, tmp_path / "case", cache=tmp_path / "cache.sqlite")
        with pytest.raises(ModelError):
            case.run(batches=1)
        case.close()
        case = gb.Case(case.path, **dict(zip(("model", "critic", "optimizer"), case.models.values(), strict=True)))
        case.run(batches=1)
        assert [s.variable for s in case] == ["prompt", "prompt", "critic"] and case.current.done
        sent = Counter((r.body["model"], str(r.body["messages"]), r.body["seed"]) for r in stub.requests)
        assert sorted(sent.values())[-2:] == [1, 2], "only the request that failed was sent again"
        assert len(sent) == case.spent.calls == len(case.calls())
        whole = open_case(stub, tmp_path / "whole")
        whole.run(batches=1)
    assert [s.model_dump() for s in whole] == [s.model_dump() for s in case]


def test_errors_only_follows_the_critic_where_one_evaluates(case, tmp_path, stub):
    case = open_case(stub, tmp_path / "errors", errors_only=True)
    step, turn = case.step(), case.step()
    colours = {e.example: case.task.example(e.example).input.split()[-1] for e in step.evaluate}
    assert {colours[c.example] for c in step.output_critique} == {"green.", "blue."}, "what it calls right is left alone"
    assert {colours[c.example] for c in turn.output_critique} == {"green."}, "in its own step, where its verdict is not true"


def test_nan_is_no_score():
    assert read_score("Score: nan") is None and not math.isnan(read_score("Score: 5"))
