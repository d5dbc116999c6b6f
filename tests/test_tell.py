"""What is told of a case: the same words wherever it is laid out, each change marked however far up it was made, each loss named."""

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradbook as gb
from gradbook import page, tell
from gradbook.export.report import report
from gradbook.tell.words import brief, difference, sides
from report_page import Page
from small import reply, small_task
from stub import Stub

KEY = "sk-tell"


@pytest.fixture(scope="module")
def stub():
    with Stub(reply=reply, key=KEY) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        yield made


@pytest.fixture
def run(stub, tmp_path):
    made = []

    def run_case(batches: int = 1, **settings) -> gb.Case:
        model = gb.connect("stub", base_url=stub.url)
        case = gb.Case(tmp_path / f"case {len(made)}", task=small_task(), model=model, method=gb.Method(**settings))
        case.run(batches=batches)
        made.append(case)
        return case

    yield run_case
    for case in made:
        case.close()


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def records(view):
    return [record for stage in view.stages for record in stage.records]


# --- told once -----------------------------------------------------------------------------------------------------------

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
TABLE = [
    {"update": update, "labels": labels, "evaluation": evaluation, "selection": selection}
    for update, labels, *cells in re.findall(r"^\| `([a-z-]+)` \| `(correct|wrong|none)` \|(.*?)\|(.*?)\|(.*?)\|$", README, re.MULTILINE)
    for evaluation, cell in zip(("direct", "critic-binary", "critic-score"), cells, strict=True)
    for selection in re.findall(r"\w+", cell)
]
OTHERS = [
    {"validation_labels": "wrong"},
    {"errors_only": True},
    {"errors_only": True, "update": "one-step"},
    {"critiques": 2, "apart": True, "candidates": 1, "paraphrases": 1},
    {"beam": 2},
    {"momentum": 2},
    {"add_only": True},
]


def test_every_arm_of_the_table_is_told():
    assert len(TABLE) == 64


@pytest.mark.parametrize("settings", [*TABLE, *OTHERS], ids=lambda settings: "-".join(map(str, settings.values())))
def test_workbench_and_export_say_the_same_of_a_step(run, settings):
    """Field by field, in the order of the layout: the cards by stage, the rows by example, and the report."""
    case = run(**settings)
    case.perturb(1, gb.edits.replace("candidate", candidate=0, text="Say K1.", why="the shortest"))
    case.score(1, "test")
    parts = {part.id: Page(part.html).text for part in report(case)}
    for step in case:
        view = tell.step(case, step)
        stage, example = (Page(page.render("step", step=view, look=look, bench=None)).text for look in ("stage", "example"))
        told = parts[f"step-{step.id}"]
        rows = [row for row in view.choices.rows if row.record] if view.choices else []
        candidates = [[row.name, row.made_from, row.same_as or _shown(row.record)] for row in rows]
        opened = [told for _, told in sorted(zip(rows, candidates, strict=True), key=lambda pair: not pair[0].open)]
        chosen = [[view.choices.reason, *view.choices.columns]] if rows else []
        chosen += [[row.name, *row.scores, *_marks(row)] for row in (view.choices.rows if view.choices.columns else rows)] if chosen else []
        begun = [view.prompt.begun, view.prompt.text, view.prompt.held]
        by_stage = [[s.title, s.help, s.summary, *map(_fields, s.records)] for s in view.stages if s.stage not in ("rewrite", "select")]
        by_example = [[e.id, e.input, e.judged or "", *(_fields(r) for c in e.cells for r in c.records)] for e in view.examples]
        _in_order(stage, begun, *by_stage, *candidates)
        _in_order(example, begun, *by_example, *candidates)
        if step.origin is None:
            _in_order(told, begun, *by_example, *opened)
        else:
            _in_order(told, *opened)
        for text in (stage, example, told):
            for words in chosen:
                _in_order(text, words)
            _in_order(text, [remark for s in view.stages if s.stage == "rewrite" for remark in s.remarks])


def test_workbench_and_export_say_the_same_of_an_effect(run):
    case = run(evaluation="critic-binary")
    worse = case.perturb(2, gb.edits.replace("candidate", candidate=0, text="Say nothing of use."))
    chosen = case.perturb(worse, gb.edits.replace("selection", text="0")).id
    case.compare(worse, chosen, "validation", replicates=2)
    view = tell.effect(case, worse.id, chosen, "validation")
    assert view.flips and view.about
    told = "".join(str(part.output) + str(part.html) for part in report(case) if part.id.startswith(f"effect-{chosen}"))
    for html in (page.render("effect", effect=view, bench=None), told):
        text = Page(html).text
        flips = [f"{flip.mark.text} {flip.before} → {flip.after}, true {flip.target} {flip.example} {flip.input}" for flip in view.flips]
        for words in (view.verdict, *view.floors, view.about, *view.warnings, view.ran, view.flipped, *flips):
            assert plain(words) in text, words


def _fields(record):
    return [record.title if record.position is None else "", _shown(record), *_marks(record)]


def _shown(record):
    return record.lost or "".join(segment.text for segment in record.words) or record.text or record.empty


def _marks(view):
    return [mark.text for mark in view.marks]


def _in_order(text, *told):
    """Each group of fields stands after the one before it, whatever the order within."""
    text, at = plain(text).casefold(), 0
    for group in told:
        ends = []
        for words in filter(None, _flat(group)):
            place = text.find(plain(words).casefold(), at)
            assert place >= 0, f"{words!r} is not told after {text[max(0, at - 60) : at]!r}"
            ends.append(place + 1)
        at = min(ends, default=at)


def _flat(group):
    return [words for each in group for words in ([each] if isinstance(each, str) else _flat(each))]


def test_views_are_plain_texts_that_cannot_change(run):
    case = run(evaluation="critic-binary")
    seen = [tell.step(case, 1), tell.tree(case), tell.case(case), tell.head(case)]
    seen += [tell.effect(case, 0, 1, "validation"), tell.pair(case, 0, 1, "test")]
    while seen:
        view = seen.pop()
        if is_dataclass(view) and type(view).__module__.startswith("gradbook.tell"):
            assert view.__dataclass_params__.frozen
            seen += [getattr(view, field.name) for field in fields(view)]
        elif isinstance(view, tuple | frozenset):
            seen += view
        elif not isinstance(view, gb.Effect):
            assert type(view) in (str, int, bool, float, type(None)), type(view)


# --- changes ---------------------------------------------------------------------------------------------------------------


def test_what_was_written_two_branches_up_is_still_marked_and_a_swapped_label_is_not_wrong_on_purpose(run):
    case = run(labels="wrong")
    example = case[1].batch[0]
    other = next(label for label in ("K1", "K2", "K3") if label not in (case.task.example(example).target, case[1].evaluate[0].label))
    swapped = case.perturb(1, gb.edits.replace("label", example=0, text=other, why="to see"))
    branch = case.perturb(swapped, gb.edits.replace("candidate", candidate=0, text="Say K1."))
    view = tell.step(case, branch)
    label = next(record for record in records(view) if record.key == "label-0-0")
    assert label.text == other and label.change.step == swapped.id and label.change.why == "to see"
    assert "⚠ swapped by hand" in [mark.text for mark in label.marks] and {s.kind for s in label.words} == {"struck", "added"}
    others = [record for record in records(view) if record.place and record.place.field == "label" and record.key != "label-0-0"]
    assert all("⚠ wrong on purpose" in [mark.text for mark in record.marks] for record in others)
    assert [change.step for change in view.changes] == [swapped.id, branch.id] and view.what == "✎ candidate"


def test_a_change_that_was_written_over_marks_nothing(run):
    case = run()
    first = case.perturb(1, gb.edits.replace("prompt_critique", example=0, text="red means K2"))
    second = case.perturb(first, gb.edits.replace("output_critique", example=0, text="Say K2."))
    view = tell.step(case, second)
    assert [change.superseded for change in view.changes] == [True, False]
    critique = next(record for record in records(view) if record.key == "prompt_critique-0-0")
    assert critique.change is None and critique.words == () and critique.changed


def test_what_was_left_out_or_said_twice_says_so(run):
    case = run()
    dropped = tell.step(case, case.perturb(1, gb.edits.drop("output_critique", example=1, why="noise")))
    cells = {cell.stage: cell for cell in dropped.examples[1].cells}
    assert cells["output_critique"].remark == "left out by name in step 2: noise" and cells["output_critique"].changed
    assert not cells["prompt_critique"].records and cells["prompt_critique"].remark
    assert dropped.what == "✎ left out: output critique" and dropped.line.endswith("left out by name")
    doubled = tell.step(case, case.perturb(1, gb.edits.double("prompt_critique", example=0, times=3)))
    titles = [record.title for record in records(doubled) if record.stage == "prompt_critique" and record.position == 0]
    assert titles == [f"Prompt critique {n} of 3" for n in (1, 2, 3)] and "said 3 times" in doubled.line


def test_a_branch_keeps_what_its_edit_does_not_reach(run):
    case = run()
    view = tell.step(case, case.perturb(1, gb.edits.replace("output_critique", example=1, text="Say K2.")))
    assert [example.changed for example in view.examples] == [False, True, False]
    assert [cell.changed for cell in view.examples[1].cells] == [False, False, True, True]
    assert [stage.kept for stage in view.stages] == [True, True, False, False, False, False]
    told = Page(next(part.html for part in report(case) if part.id == "step-2")).text
    assert "as in step 1" in told and case.task.example(case[1].batch[0]).input not in told


@pytest.mark.parametrize(
    "edit",
    [
        gb.edits.replace("prompt_critique", example=1, text="Say K2."),
        gb.edits.drop("output_critique", example=0),
        gb.edits.wrong_label(0),
        gb.edits.drop_example(2),
    ],
    ids=lambda edit: f"{edit.kind} {edit.field}",
)
def test_a_report_reads_the_same_of_a_step_that_is_not_told_in_full(run, edit):
    case = run(candidates=2)
    branch = case.perturb(1, edit)
    case.perturb(branch, gb.edits.replace("candidate", candidate=0, text="Other words."))
    made = 0
    for step in case:
        full, short = (replace(tell.step(case, step, full=told), spent="") for told in (True, False))
        assert page.render("told", step=short, bench=None) == page.render("told", step=full, bench=None)
        made += len(records(full)) - len(records(short))
    assert made > 0, "what a branch shares with its origin is not made to be thrown away"


def test_without_annotations_no_note_and_no_reason_is_written(run):
    case = run()
    dropped = case.perturb(1, gb.edits.drop("output_critique", example=0, why="SECRET program"))
    case.perturb(dropped, gb.edits.replace("output_critique", example=1, text="Say K2.", why="SECRET reason"), note="SECRET note")
    for which, shown in (("all", {"program", "reason", "note"}), ("mine", {"reason", "note"}), ("none", set())):
        told = "".join(f"{part.title}{part.html}{part.folded}" for part in report(case, which))
        assert set(re.findall(r"SECRET (\w+)", told)) == shown


# --- losses ----------------------------------------------------------------------------------------------------------------


def test_what_was_lost_is_named_wherever_unparsed_is(tmp_path, monkeypatch):
    """Of the outputs on blue items all are cut off, on green ones none comes; so is the output critique on blue; every other candidate."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Stub(reply=lossy, key=KEY) as stub:
        model = gb.connect("stub", base_url=stub.url)
        case = gb.Case(tmp_path / "lost", task=small_task(), model=model, method=gb.Method(candidates=5))
        case.step()
        case.perturb(1, gb.edits.replace("candidate", candidate=next(c.index for c in case[1].rewrite if c.lost), text="green means K2."))
        case.close()
    view = tell.step(case, 1)
    at = {case.task.example(example.id).input.split()[-1]: example for example in view.examples}
    outputs = {colour: example.cells[0].records[0] for colour, example in at.items()}
    assert [mark.text for mark in outputs["blue."].marks] == ["cut off", "true label K3", "✗ wrong"] and outputs["blue."].text
    assert outputs["green."].marks[0].text == "no reply" and outputs["green."].lost == "No reply: the reply was empty."
    critique = at["blue."].cells[2].records[0]
    assert critique.text == "" and critique.lost.startswith("Cut off: the reply was cut off at max_tokens")
    lost = [row for row in view.choices.rows if row.record and case[1].rewrite[row.index].lost]
    assert lost and all(not row.selectable and row.why_not and row.record.lost.startswith("Cut off: ") for row in lost)
    assert view.choices.chosen not in [row.index for row in lost]
    score = tell.tree(case).rows[0].scores[0]
    assert score.more[1:] == ("unparsed 0", "cut off 2", "no reply 2")
    effect = tell.effect(case, 1, 2, "validation")
    assert {"unparsed", "cut off", "no reply"} <= {name for name, _ in effect.metrics.rows} and effect.metrics.answered[-1] == "no answer"
    assert "no reply" in {flip.before for flip in effect.flips}
    row = case.scores().iloc[0]
    assert (row["unparsed"], row["cut_off"], row["no_reply"]) == (0, 2 / 6, 2 / 6)
    told = Page(case.export(tmp_path / "lost.html").read_text()).text
    for words in (critique.lost, "unparsed 0, cut off 2, no reply 2", "cut off 33.3% (2/6)", "no reply → K2", lost[0].record.lost):
        assert words in told, words


def lossy(messages, body):
    said = messages[-1]["content"]
    if messages[0]["role"] == "system":
        if "is blue" in said:
            return _part("The answer is", "length")
        return _part("", "stop") if "is green" in said and not messages[0]["content"].startswith("green") else reply(messages, body)
    rewriting = "Rules to add:" in said
    cut = body["seed"] % 2 if rewriting else "is blue" in said and "Which rule" not in said
    return _part("<prompt>Give each", "length") if cut else reply(messages, body)


def _part(text, reason):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice]}


# --- the tree and effects ----------------------------------------------------------------------------------------------------


def test_the_tree_tags_what_it_can_be_filtered_by(run):
    case = run(2)
    better = gb.edits.replace("candidate", candidate=0, text="red means K1. green means K2. blue means K3.")
    case.perturb(1, better, note="**Best** one\n\nmore")
    case.go(2)
    case.begin()
    for step in (0, 1, 2, 3):
        case.score(step)
    rows = {row.id: row for row in tell.tree(case, ("validation",)).rows}
    assert rows[3].tags >= {"edited", "noted"} and rows[3].note == "Best one" and rows[3].level == 1
    assert "unfinished" in rows[4].tags and rows[4].next == "predict" and rows[4].scores == (None,)
    shares = {id: case.metrics(id).accuracy.value for id in (0, 1, 2, 3)}
    assert [id for id, row in rows.items() if "best" in row.tags] == [max(shares, key=lambda id: (shares[id], -id))]
    assert rows[0].scores[0].share == f"{shares[0]:.1%} ({round(shares[0] * 6)}/6)"


def test_replicates_stand_in_a_row_of_their_own(run):
    case = run()
    branch = case.perturb(1, gb.edits.replace("prompt_critique", example=0, text="red means K2"))
    found = case.compare(1, branch, "validation", replicates=2)
    row = next(row for row in tell.tree(case).rows if row.id == 1)
    assert "2 replicates of step 1, fresh samples from the rewrite on" in [run.line for run in row.reruns]
    view = tell.effect(case, 1, branch.id, "validation")
    assert view.found == found and view.floors[0].count("%") == 2 and view.verdict in str(found) and view.word.text.endswith(found.verdict)
    assert tell.effect(case, 1, branch.id, "test").verdict == f"Not yet scored on test: step 1 and step {branch.id}."


def test_two_steps_side_by_side_can_be_read_back(run):
    case = run(2)
    pair = tell.pair(case, 1, 2, "validation")
    prompts = dict(pair.parts)["Prompts"]
    assert "".join(s.text for s in prompts[1].left) == case[1].chosen_prompt
    assert "".join(s.text for s in prompts[1].right) == case[2].chosen_prompt
    assert dict(pair.parts).keys() == {"Prompts", "Outputs", "Evaluations", "Output critiques", "Prompt critiques"}


def test_a_methods_paragraph_names_what_made_the_numbers(run):
    case = run()
    told = tell.case(case).methods
    facts = case.shown_model()
    settings = (f"seed {case.seed}", gb.tables.method_line(case.method))
    for words in (facts["name"], facts["id"], case.journal_sha256, str(case.spent), *settings):
        assert words in told, words


# --- words -------------------------------------------------------------------------------------------------------------------

TEXTS = st.text("ab .\n<>&", max_size=40)


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_back(before, after):
    found = difference(before, after)
    assert "".join(s.text for s in found if s.kind != "added") == before and "".join(s.text for s in found if s.kind != "struck") == after
    assert all(s.text for s in found)
    left, right = sides(before, after)
    assert "".join(s.text for s in left) == before and "".join(s.text for s in right) == after


@given(st.text(max_size=300), st.integers(10, 80))
def test_a_brief_text_is_a_line_that_fits(text, width):
    line = brief(text, width)
    assert len(line) <= width and "\n" not in line
