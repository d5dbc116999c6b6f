"""Exports of every arm: the report says what was done and with which labels, and takes a critic's numbers for nothing else."""

import hashlib
import re
from html import unescape

import nbformat
import pytest

import gradbook as gb
from gradbook.page import figures
from gradbook.tell import walk
from report_page import EVIL, KEY, Page, evil_task, markdown_of, reply
from small import reply as small_reply
from small import small_task
from stub import Stub


@pytest.fixture(scope="module")
def small_stub():
    with Stub(reply=small_reply, key=KEY) as stub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        yield stub


@pytest.fixture
def run(small_stub, tmp_path):
    """Makes a case that has run so many batches with some settings of the method, on the small task."""
    made = []

    def run_case(batches: int = 2, **settings) -> gb.Case:
        model = gb.connect("stub", base_url=small_stub.url)
        made.append(gb.Case(tmp_path / f"case {len(made)}", task=small_task(), model=model, method=gb.Method(**settings)))
        made[-1].run(batches=batches)
        return made[-1]

    yield run_case
    for case in made:
        case.close()


def read(case: gb.Case, tmp_path) -> str:
    """The text of the page as it is read; the notebook of the same case is valid and holds the same cells."""
    notebook = nbformat.read(case.export(tmp_path / "arm.ipynb"), as_version=4)
    nbformat.validate(notebook)
    return Page(case.export(tmp_path / "arm.html").read_text()).text


ARMS = [
    (
        {"update": "rewrite"},
        ["No training examples: this update sees none", "without looking at any data", "says the prompt in other words"],
        ["Batch and answers", "Feedback", "output critique", "no labels"],
    ),
    (
        {"update": "improve", "selection": "naive"},
        ["improve, naive", "the one candidate, taken as it is"],
        ["output critique", "critiques"],
    ),
    (
        {"update": "one-step"},
        ["straight from examples and evaluations", "The right answer is K2."],
        ["Output critique", "from critiques of its own answers"],
    ),
    ({"update": "one-step", "errors_only": True}, ["left out of the rewrite, since the evaluation calls it right"], ["Output critique"]),
    ({"labels": "none"}, ["No evaluation is given.", "With no labels"], ["wrong on purpose", "⚠", "The right answer"]),
    ({"selection": "random"}, ["one of 3 candidates, at random", "any of the candidates, unseen"], ["best on the validation split"]),
    ({"selection": "guard"}, ["guard keeps the one candidate only where it is better"], ["Random", "beam"]),
    ({"add_only": True}, ["add only: The old prompt stays as it is"], ["momentum:"]),
    ({"momentum": 2}, ["The rewrite also saw the prompt critiques of step 1 (momentum)."], ["of steps 1"]),
]


@pytest.mark.parametrize(("settings", "said", "unsaid"), ARMS, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_an_arm_is_told_by_what_it_does_and_by_nothing_else(run, tmp_path, settings, said, unsaid):
    case = run(**settings)
    page = read(case, tmp_path)
    assert gb.tables.method_line(case.method) in page
    for words in said:
        assert words in page, words
    for words in unsaid:
        assert words not in page.replace(_all_settings(page), ""), words


def _all_settings(page: str) -> str:
    """The list of every setting, which names all of them."""
    return re.search(r"every setting.*?add only \w+", page)[0]


def test_a_label_that_was_wrong_on_purpose_stands_beside_the_true_one(run, tmp_path):
    case = run(labels="wrong", batches=1)
    page = read(case, tmp_path)
    for evaluation in case[1].evaluate:
        assert evaluation.label != evaluation.target
        assert f"Label shown · the true one is {evaluation.target} · ⚠ wrong on purpose {evaluation.label}" in page
    assert "Scores use the true labels" in page


def test_a_label_swapped_by_hand_is_not_called_wrong_on_purpose(run, tmp_path):
    case = run(batches=1)
    example = case[1].batch[0]
    true = case.task.example(example).target
    other = next(label for label in case.task.labels if label != true)
    case.perturb(1, gb.edits.replace("label", example=0, text=other))
    page = read(case, tmp_path)
    assert re.search(f"Label shown · the true one is {true} · ⚠ swapped by hand ✎ edited by hand ?{true}{other}", page)
    assert "on purpose" not in page


def test_critiques_of_one_output_are_numbered_and_candidates_say_what_they_follow(run, tmp_path):
    case = run(batches=1, errors_only=True, critiques=2, apart=True, candidates=1, paraphrases=1)
    page = read(case, tmp_path)
    right = [p.example for p in case[1].predict if p.correct]
    assert right and page.count("Output critique not criticised, since the evaluation calls it right") == len(right)
    first, second = [c for c in case[1].rewrite if c.example][:2]
    for candidate in (first, second):
        assert f"candidate {candidate.index} · prompt critique {candidate.critique + 1} of {candidate.example}" in page
    assert re.search(r"Output critique 1 of 2.*?Output critique 2 of 2.*?Prompt critique 1 of 2.*?Prompt critique 2 of 2", page)
    again = next(c for c in case[1].rewrite if c.paraphrase_of is not None)
    assert f"candidate {again.index} · candidate {again.paraphrase_of} in other words" in page


def test_where_nothing_was_wrong_nothing_was_rewritten(run, tmp_path):
    case = run(batches=5, errors_only=True)
    blank = next(step for step in case if step.rewrite == ())
    cell = _cell(case, tmp_path, f"step-{blank.id}")
    assert "nothing was rewritten" in cell and "<table" not in cell


def test_a_beam_marks_what_was_kept_and_where_it_went_on(run, tmp_path):
    case = run(batches=2, beam=2, candidates=2, apart=True)
    first = case[1]
    members = [step for step in case if step.parent == 1]
    assert len(first.select.kept) == len(members) == 2
    cell = _cell(case, tmp_path, "step-1").replace("&nbsp;", " ")
    for position, member in enumerate(members):
        assert f"▹ kept, {position + 1} of 2" in cell and f"→ step {member.id}" in cell
    index = first.select.kept[1]
    told = f"candidate {index}" if index >= 0 else "the old prompt"
    assert f"Step {members[1].id} · from step 1, {told}" in _cell(case, tmp_path, f"step-{members[1].id}")
    assert "kept in the beam" in _cell(case, tmp_path, f"step-{members[1].id}")
    assert [(step.id, level) for level, step in walk(case)] == [(step.id, 0) for step in case], "a beam is one line"


def test_scores_by_wrong_validation_labels_stand_beside_the_true_ones(run, tmp_path):
    case = run(batches=1, validation_labels="wrong", candidates=1)
    cell = Page(_cell(case, tmp_path, "step-1")).text
    assert "Validation, as wrong labels count it Validation, by the true labels" in cell and "as wrong labels count it." in cell
    name = hashlib.sha256(case[1].rewrite[0].prompt.encode()).hexdigest()
    answers = next(case.recorded(question).answers for question in case.recorded_questions() if question.prompt == name)
    counted, true = case[1].select.scores["0"], sum(answer.correct for answer in answers) / len(answers)
    assert counted != true and f"{counted:.1%} {true:.1%}" in cell


def test_methods_of_one_case_are_told_apart(run, tmp_path):
    case = run(batches=1)
    case.use(gb.Method(labels="wrong"))
    case.run(batches=3)
    case.use(gb.Method())
    case.step()
    case.use(gb.Method(update="improve"))
    page = read(case, tmp_path)
    assert "Method of steps 1, 4 three-stage, correct labels" in page and "Method of steps 2, 3 three-stage, wrong labels" in page
    assert "Method of the steps to come improve" in page
    lines = {id: "Method:" in _cell(case, tmp_path, f"step-{id}") for id in (1, 2, 3, 4)}
    assert lines == {1: False, 2: True, 3: True, 4: True}, "where it is not the first one, or not that of the step before"
    assert "asks for a better prompt" not in page, "no step has followed it so far"


def _cell(case: gb.Case, tmp_path, id: str) -> str:
    cells = nbformat.read(case.export(tmp_path / "cell.ipynb"), as_version=4).cells
    return next(cell.source for cell in cells if cell.id == id)


# --- critics -----------------------------------------------------------------------------------------------------------


def test_a_critic_is_told_as_a_critic(run, tmp_path):
    case = run(batches=2, evaluation="critic-score")
    case.score(0)
    page = read(case, tmp_path)
    assert "Step 2 · the critic, from step 1" in page and "4 steps, of which 2 of the critic" in page
    assert f"The critic’s prompt it began with, the critic’s first one, as the method states it. {case[2].prompt}" in page
    assert "The prompt it began with, as step 1 ended" in _cell(case, tmp_path, "step-3"), "not as the critic's step before it"
    for evaluation, prediction in zip(case[1].evaluate, case[1].predict, strict=True):
        gold = f"gold: {'right' if prediction.correct else 'wrong'}"
        if evaluation.score is None:
            assert f"no usable score: out of range · {gold} · ✗ disagrees" in page
        else:
            agrees = "✓ agrees" if (evaluation.score >= 0.5) == prediction.correct else "✗ disagrees"
            said = "right" if evaluation.score >= 0.5 else "wrong"
            assert f"{evaluation.score * 100:g} of 100, so {said} · {gold} · {agrees}" in page
    verdicts = Page(_cell(case, tmp_path, "step-2")).text
    assert "no usable score · the output is wrong · ✗ disagrees" in verdicts and "✓ agrees" in verdicts
    for judged in case[1].predict:
        assert f"Input {case.task.example(judged.example).input} Output judged {judged.output} Verdict" in verdicts


def test_agreement_is_not_mixed_up_with_accuracy(run, tmp_path):
    case = run(batches=2, evaluation="critic-binary")
    case.score(0)
    share = case.metrics(2).accuracy
    cell = Page(_cell(case, tmp_path, "overview")).text
    assert f"the critic, from step 1 agreement {share.value:.1%} ({share.count}/{share.total})" in cell
    assert cell.count("agreement") == 2 and cell.count("unparsed") == 3
    assert "Agreement on validation" in _cell(case, tmp_path, "step-2")
    assert "Agreement on validation" not in _cell(case, tmp_path, "step-1")
    figure = figures.score_figure(case)
    marks = {trace.yaxis or "y": [int(told.split()[1][:-1]) for told in trace.hovertext] for trace in figure.data if trace.name == "step"}
    assert marks == {"y": [0, 1, 3], "y2": [2, 4]}
    lines = next(trace for trace in figure.data if trace.mode == "lines" and (trace.yaxis or "y") == "y")
    assert list(lines.x) == [0, 1, None, 1, 2, None], "the task's steps are joined across those of the critic"
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == ["validation: accuracy", "critic on validation: agreement"]


def test_the_effect_of_a_change_to_a_critic_is_told_as_agreement(run, tmp_path):
    case = run(batches=1, evaluation="critic-binary")
    worse = case.perturb(2, gb.edits.replace("candidate", candidate=0, text="Say nothing of use."))
    case.perturb(worse, gb.edits.replace("selection", text="0"))
    case.score(4)
    page = read(case, tmp_path)
    assert "the critic, branch of step 2: candidate 0 edited by hand" in page
    assert "agreement with the gold answers" in page
    flip = case.comparison(3, 4, "validation").flips[0]
    truth = next(answer.target for answer in case.scored(3).answers if answer.example == flip.example)
    flips = Page(_cell(case, tmp_path, "effect-4-told")).text
    assert f"{flip.before} → unparsed, true {truth} {flip.example} {case.task.example(flip.example).input}" in flips


def test_what_a_critic_wrote_stays_text(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def judge(messages, body):
        return f"{EVIL}\nVerdict: right" if "Judge whether" in messages[0]["content"] else reply(messages, body)

    with Stub(reply=judge, key=KEY) as stub:
        method = gb.Method(evaluation="critic-binary", momentum=1, critiques=2, apart=True, candidates=1, paraphrases=1)
        case = gb.Case(tmp_path / "evil", task=evil_task(), model=gb.connect("stub", base_url=stub.url), method=method)
        case.run(batches=2)
        told = markdown_of(case.export(tmp_path / "evil.ipynb"))
        page = Page(case.export(tmp_path / "evil.html").read_text())
        case.close()
    for sign in ("<script", "<img", "](javascript", "](https://evil", "$", "`", "**", "{{", "\\", "# not a heading", "| b"):
        assert sign not in told, sign
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert "verdict right · gold: wrong · ✗ disagrees" in page.text and unescape(told).count("alert(1)") > 10


# --- long cases --------------------------------------------------------------------------------------------------------


@pytest.fixture
def long_case(run):
    case = run(batches=40, train_every=4)
    case.write_note(7, "Look at this one.")
    case.perturb(9, gb.edits.replace("prompt_critique", example=0, text="red means K3"))
    return case


def test_a_long_case_folds_what_ran_by_itself(long_case, tmp_path):
    cells = {cell.id: cell.source for cell in nbformat.read(long_case.export(tmp_path / "long.ipynb"), as_version=4).cells}
    for step in range(1, 42):
        folded = cells[f"step-{step}"].startswith('<a id="step-') and "</a><details>" in cells[f"step-{step}"]
        assert folded == (step not in (1, 7, 9, 40, 41)), step
    first = long_case[2].predict[0].example
    assert (
        " of 3 right · " in cells["step-2"] and first in cells["step-2"] and "Output critique" in cells["step-2"].replace("&nbsp;", " ")
    ), "nothing is left out"
    page = Page(long_case.export(tmp_path / "long.html").read_text()).text
    best = re.search(r"best on [a-z ]*validation", page)
    assert best.start() < page.index("All 41 steps")


def test_training_accuracy_is_told_by_epoch(long_case, tmp_path):
    rows = re.findall(r"<tr>.*?</tr>", _cell(long_case, tmp_path, "training"))[1:]
    found = [Page(row).text.strip() for row in rows]
    expected = [row for row in long_case.training(40).to_dict("records") if row["epoch"] in (0, 4, 8, 12, 16, 20)]
    assert len(expected) == 6
    for row in expected:
        assert any(told.startswith(f"{row['epoch']:g} {row['step']} {row['accuracy']:.1%}") for told in found), row


def test_a_crowded_figure_numbers_only_some_steps(long_case):
    panel = next(panel for panel in figures.panels(long_case) if panel.title == "validation")
    assert len(panel.points) == 42 and {0, 41} <= panel.numbered and len(panel.numbered) <= 5
    told = Page(figures.scores([panel]))
    assert sum(tag == "title" for tag, _ in told.tags) == len(panel.numbered)
