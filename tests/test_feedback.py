"""Critiques that people have: a table becomes the outputs and output critiques of a first step, which the loop goes on from."""

import json
import math
import string
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradbook as gb
from gradbook import journal, tell
from gradbook.errors import CaseError, GradbookError, MethodError, ModelError, StudyError, TaskError
from gradbook.export.report import report
from gradbook.tasks import feedback as reading
from gradbook.tasks.feedback import read_feedback
from report_page import Page
from small import WORDS, reply
from stub import Stub

PROMPT = "Give each item its code."
HOSTED = {
    "OpenAI": ({"company": "input", "output": "output", "rating": "", "output_feedback": "feedback"}, {"input": "company"}),
    "LangSmith": ({"inputs.question": "input", "outputs.answer": "output", "reference.answer": "label", "comment": "feedback"}, {}),
    "Langfuse": ({"id": "", "input": "input", "output": "output", "expectedOutput": "label", "comments": "feedback"}, {}),
    "Braintrust": ({"input": "input", "output": "output", "expected": "label", "scores": "", "comment": "feedback"}, {}),
    "Phoenix": (
        {"attributes.input.value": "input", "attributes.output.value": "output", "result.label": "", "result.explanation": "feedback"},
        {},
    ),
    "Phoenix annotations": (
        {
            "attributes.input.value": "input",
            "attributes.output.value": "output",
            "annotation_name": "",
            "label": "",
            "explanation": "feedback",
        },
        {},
    ),
    "Datadog": ({"Input": "input", "Output": "output", "Expected Output": "label", "Human Feedback": "feedback"}, {}),
    "Inspect": (
        {"id": "", "input": "input", "output": "output", "target": "label", "score_qa": "", "score_qa_explanation": "feedback"},
        {},
    ),
}
"""The columns of hosted tools with what each is ("" for none of the four), and what has to be named."""


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


def table(told: int = 4, others: int = 6) -> pd.DataFrame:
    """Outputs that say K1 whatever the colour, with what a person said of the first few of them."""
    colours = [list(WORDS)[n % 3] for n in range(told + others)]
    return pd.DataFrame(
        {
            "input": [f"Item {n} is {colour}." for n, colour in enumerate(colours)],
            "output": "K1",
            "feedback": [f"{colour} should be {WORDS[colour]}" if n < told else None for n, colour in enumerate(colours)],
            "label": [WORDS[colour] for colour in colours],
        }
    )


def make(path: Path, data=None, **options) -> gb.Case:
    return gb.Case.from_feedback(table() if data is None else data, path=path / "case", **({"prompt": PROMPT} | options))


def connect(stub: Stub) -> gb.Model:
    return gb.connect("small", base_url=stub.url, api_key="k", cache=False)


def read(data, **options):
    return read_feedback(data, **({"prompt": PROMPT} | options))


# --- the first step ------------------------------------------------------------------------------------------------------


def test_the_first_step_is_the_tables_and_the_next_stage_goes_by_it(tmp_path, stub):
    case = make(tmp_path, model=connect(stub), method=gb.Method(candidates=2))
    data, step = table(), case[1]
    assert (step.next_stage, step.prompt, case.current.id) == ("prompt_critique", PROMPT, 1)
    assert [case.task.example(name).input for name in step.batch] == list(data["input"][:4])
    assert [p.output for p in step.predict] == list(data["output"][:4])
    assert [c.text for c in step.output_critique] == list(data["feedback"][:4])
    assert [p.correct for p in step.predict] == [True, False, False, True]
    assert [e.label for e in step.evaluate] == list(data["label"][:4])
    assert not stub.requests and not case.spent.calls
    done = case.step()
    assert done.id == 1 and [c.text for c in done.prompt_critique] == ["red means K1", "green means K2", "blue means K3", "red means K1"]
    asked = [request.body["messages"] for request in stub.requests if len(request.body["messages"]) == 1]
    assert len(asked) == 4 + 2, "no output is made again, and no output critique"
    for words in data["feedback"][:4]:
        assert any(words in messages[0]["content"] for messages in asked)
    assert "blue means K3" in done.chosen_prompt and case.metrics(1).accuracy.value == 1


def test_what_was_brought_says_so_everywhere_and_nobody_paid_for_it(tmp_path, stub):
    path = tmp_path / "critiques <b>.csv"
    table().to_csv(path, index=False)
    case = make(tmp_path, path, model=connect(stub), method=gb.Method(selection="naive"))
    case.step()
    rows = [f"critiques <b>.csv, row {n}" for n in range(2, 6)]
    assert [p.brought for p in case[1].predict] == rows
    assert [c.brought for c in case[1].output_critique] == [f"{row}, feedback" for row in rows]
    assert {record.call for record in (*case[1].predict, *case[1].output_critique)} == {None}
    assert all(record.brought is None and record.call for record in case[1].prompt_critique)
    assert [stage for stage, models in case.models_of(1).items() if models] == ["prompt_critique", "rewrite"]
    assert set(case.calls()["for"].str.split("/").str[2]) == {"prompt_critique", "rewrite"}
    assert list(case.predictions()["brought"]) == [f"{row}; {row}, feedback" for row in rows]
    view = tell.step(case, 1)
    assert view.what == "brought critiques" and view.where == "4 examples that were brought"
    assert [stage.help for stage in view.stages if "were brought: no model of this case made them" in stage.help] == [
        view.stages[0].help,
        view.stages[2].help,
    ]
    told = tell.case(case)
    line = "4 outputs and 4 output critiques of step 1 were brought from critiques <b>.csv (SHA-256 "
    fact = next(fact for fact in told.facts if fact.name == "Brought")
    assert fact.lines[0][0].text.startswith(line) and line in told.methods
    html = "".join(part.html for part in report(case))
    text = Page(html).text
    assert "brought: critiques <b>.csv, row 2" in text and "no call was paid for them" in text
    assert "critiques <b>" not in html, "a file's name is escaped like any other data"


def test_a_case_without_a_model_opens_for_reading(tmp_path):
    case = make(tmp_path)
    with pytest.raises(ModelError, match="open without a model"):
        case.step()
    opened = gb.Recording(tmp_path / "case")
    assert [step.model_dump() for step in opened] == [step.model_dump() for step in case] and opened[1].brought
    assert not opened.spent.calls and not opened.calls().size
    assert tell.step(opened, 1).status.startswith("4 training examples, 2 answered right. Not finished: the next stage is prompt critique.")


def test_an_edited_critique_is_not_what_was_brought_any_more_and_arrives(tmp_path, stub):
    case = make(tmp_path, model=connect(stub), method=gb.Method(selection="naive"))
    branch = case.perturb(1, gb.edits.replace("output_critique", example=1, text="green should be K3", why="try"))
    assert [bool(c.brought) for c in branch.output_critique] == [True, False, True, True]
    assert branch.prompt_critique[1].text == "green means K3" and all(p.brought for p in branch.predict)
    assert any("green should be K3" in request.body["messages"][0]["content"] for request in stub.requests)
    other = case.perturb(1, gb.edits.paraphrase("output_critique", example=2))
    assert other.output_critique[2].call and not other.output_critique[2].brought
    output = case.perturb(1, gb.edits.replace("prediction", example=0, text="K2"))
    assert [bool(p.brought) for p in output.predict] == [False, True, True, True]
    assert [bool(c.brought) for c in output.output_critique] == [False, True, True, True], "what depends on the edit is made anew"


def test_a_replicate_from_the_prediction_on_is_the_models(tmp_path, stub):
    case = make(tmp_path, model=connect(stub), method=gb.Method(selection="naive"))
    again = case.replicate(1, "predict")
    assert all(p.call and not p.brought for p in again.predict) and not again.brought
    kept = case.replicate(1, "prompt_critique")
    assert kept.brought and kept.output_critique == case[1].output_critique


def test_the_steps_after_it_are_the_loops_own(tmp_path, stub):
    case = make(tmp_path, model=connect(stub), method=gb.Method(selection="naive", batch_size=2))
    case.run(batches=2)
    assert case[1].done and case[2].done and not case[2].brought and len(case[2].batch) == 2
    assert tell.step(case, 2).what == "step" and "critiques of its own answers" in Page(next(iter(report(case))).html).text


def test_a_folder_that_holds_a_case_is_left_alone(tmp_path):
    make(tmp_path)
    before = (tmp_path / "case" / "journal.jsonl").read_bytes()
    with pytest.raises(CaseError, match="is a case already; name a folder that holds none"):
        make(tmp_path)
    assert (tmp_path / "case" / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"update": "one-step"}, "a method of the stages predict, evaluate, rewrite, select reads no output critiques"),
        ({"update": "improve"}, "a method of the stages rewrite, select reads no output critiques"),
        ({"evaluation": "critic-binary"}, "evaluation='critic-binary' asks a critic before the critiques"),
    ],
)
def test_a_method_that_does_not_read_the_critiques_is_refused(tmp_path, method, said):
    with pytest.raises(MethodError, match=said):
        make(tmp_path, method=gb.Method(**method))
    assert not (tmp_path / "case").exists()


def test_a_journal_of_the_schema_before_opens_and_becomes_the_new_one(tmp_path, stub):
    case = gb.Case(tmp_path / "old", task=read(table()).task, model=connect(stub), method=gb.Method(selection="naive"))
    case.step()
    case.close()
    journal = tmp_path / "old" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"schema_version":4', '"schema_version":3', 1))
    opened = gb.Case(tmp_path / "old", model=connect(stub))
    assert [step.model_dump() for step in opened] == [step.model_dump() for step in case]
    opened.step()
    assert json.loads(journal.read_text().partition("\n")[0])["schema_version"] == 4
    assert (tmp_path / "old" / "journal.v3.jsonl").exists()


# --- columns -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", HOSTED)
def test_the_columns_of_hosted_tools_are_found_by_name(tool):
    columns, named = HOSTED[tool]
    parts = {what: column for column, what in columns.items() if what}
    cells = table().rename(columns=parts)
    data = pd.DataFrame({column: cells.get(column, pd.Series("Good", cells.index)) for column in columns})
    found = read(data, **named)
    several = {what: [column] for what, column in parts.items() if what in ("input", "feedback")}
    assert found.task.source["columns"] == parts | several
    assert found.task.labelled == ("label" in parts)
    assert [text for text, _ in found.outputs.values()] == ["K1"] * 4


@pytest.mark.parametrize(
    ("rename", "options", "said"),
    [
        ({"input": "company"}, {}, "No column is known as the input; give input= one of 'company', 'output', 'feedback', 'label'."),
        ({"feedback": "score"}, {}, "No column is known as the feedback; give feedback= one of 'input', 'output', 'score', 'label'."),
        ({"label": "response"}, {}, "Columns 'output', 'response' could each be the output; give output= one of them."),
        (
            {"label": "comment"},
            {},
            "Columns 'feedback', 'comment' could each be the feedback; give feedback= one of them or a list of them.",
        ),
        ({}, {"label": "gold"}, "There is no column 'gold'; the columns are 'input', 'output', 'feedback', 'label'."),
        ({"label": "output"}, {"label": None}, "There is more than one column 'output'"),
        ({}, {"label": "output"}, "No column is known as the output; give output= one of"),
        ({}, {"output": "input", "input": "input"}, "Column 'input' is named for two things"),
        ({}, {"prompt": None}, "Give prompt=, the prompt that the outputs were made under"),
        ({}, {"read": {"sep": ";"}}, "read= is for files"),
        ({}, {"feedback": "label", "label": None, "output": "output"}, None),
    ],
)
def test_a_column_that_is_missing_or_could_be_several_is_told_with_what_there_is(rename, options, said):
    data = table().rename(columns=rename)
    if said is None:
        assert [c[0].text for c in read(data, **options).critiques.values()] == list(data["label"])
        return
    with pytest.raises(TaskError) as raised:
        read(data, **options)
    assert str(raised.value).startswith(said)


def test_two_labels_are_told_with_how_to_do_without():
    with pytest.raises(TaskError, match="'label', 'target' could each be the label; give label= one of them or None to do without labels"):
        read(table().assign(target="K1"))


def test_several_columns_of_feedback_are_several_critiques_of_an_output(tmp_path, stub):
    data = table().assign(comment=["Too short.", None, "Too short.", "red should be K1", *[None] * 6])
    case = make(tmp_path, data, feedback=["feedback", "comment"], model=connect(stub), method=gb.Method(selection="naive"))
    assert [(c.example, c.index, c.text) for c in case[1].output_critique][:3] == [
        ("train-0", 0, "red should be K1"),
        ("train-0", 1, "Too short."),
        ("train-1", 0, "green should be K2"),
    ]
    assert len(case[1].output_critique) == 6, "the same words are said once"
    assert case[1].output_critique[1].brought == "row 0, comment"
    assert len(case.step().prompt_critique) == 6


def test_several_columns_of_input_are_lines_of_one():
    data = table().assign(quarter=["Q1", None, "Q2", "Q3", *[None] * 6])
    found = read(data, input=["input", "quarter"])
    assert [example.input for example in found.task.train] == [
        "input: Item 0 is red.\nquarter: Q1",
        "input: Item 1 is green.",
        "input: Item 2 is blue.\nquarter: Q2",
        "input: Item 3 is red.\nquarter: Q3",
    ]
    assert found.task.source["columns"]["input"] == ["input", "quarter"]
    with pytest.raises(TaskError, match="row 1: column 'input' is empty"):
        read(data.assign(input=["Item 0", None, *["Item 2"] * 8]), input=["input", "quarter"])


# --- rows ----------------------------------------------------------------------------------------------------------------


def test_rows_of_the_same_output_are_one_example_and_others_are_their_own():
    data = pd.concat([table(), table().iloc[[0, 1]].assign(feedback=["Say why.", "green should be K2"])], ignore_index=True)
    data = pd.concat([data, table().iloc[[0]].assign(output="K3", feedback="Not K3."), table().iloc[[5, 0]].assign(feedback=None)])
    found = read(data)
    assert [[c.text for c in several] for several in found.critiques.values()] == [
        ["red should be K1", "Say why."],
        ["green should be K2"],
        ["blue should be K3"],
        ["red should be K1"],
        ["Not K3."],
    ]
    assert found.task.frame()["input"].value_counts().max() == 2 and len(found.task.train) == 5
    assert found.task.source | {"rows": 15, "with_feedback": 5, "held_back": 0, "left_out": 0} == found.task.source
    assert [place for _, place in found.outputs.values()][-1] == "row 12", "rows whose index is not unique are counted"


@pytest.mark.parametrize("nothing", [None, math.nan, "", "  \n", pd.NA, pd.NaT, [], {}])
def test_a_row_without_feedback_needs_an_input_and_a_label_only(nothing):
    data = table().astype(object)
    for column, row in (("feedback", 0), ("output", 8), ("label", 9), ("input", 7)):
        data.at[row, column] = nothing
    found = read(data)
    assert len(found.outputs) == 3 and found.task.source["left_out"] == 2
    texts = set(found.task.frame()["input"])
    assert {"Item 0 is red.", "Item 8 is blue."} <= texts and not {"Item 9 is red.", "Item 7 is green."} & texts


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("input", None, "row 2: column 'input' is empty; fill it in or remove the row."),
        ("output", " ", "row 2: column 'output' is empty; fill it in or remove the row."),
        ("label", math.nan, "row 2: column 'label' is empty; fill it in, remove the row, or pass label=None to do without labels."),
        ("label", object(), "row 2: column 'label' holds a object; give text or a number."),
        (
            "output",
            "x" * (reading.MOST_TEXT + 1),
            "row 2: column 'output' has 1,000,001 characters, and 1,000,000 are the most; shorten it.",
        ),
    ],
)
def test_a_row_with_feedback_that_lacks_something_is_named(column, cell, said):
    data = table().astype(object)
    data.at[2, column] = cell
    with pytest.raises(TaskError) as raised:
        read(data)
    assert str(raised.value) == said


def test_a_text_that_is_long_is_taken_whole_and_more_than_a_line_holds_is_refused(tmp_path, monkeypatch):
    data = table()
    data.loc[0, "output"] = f"{'é' * 300_000}\nAnswer: K1"
    case = make(tmp_path, data)
    assert gb.Recording(case.path)[1].predict[0].output == data.loc[0, "output"] and case[1].predict[0].correct
    monkeypatch.setattr(reading, "MOST_COLUMN", 300_000)
    with pytest.raises(TaskError, match=r"The output has 300,\d+ characters in all, and 300,000 are the most; give fewer rows"):
        read(data)


def test_what_a_journal_cannot_hold_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MOST_LINE", 3000)
    with pytest.raises(CaseError, match=r"journal.jsonl cannot take a line of [\d,]+ bytes, since 3,000 are the most; shorten its texts"):
        make(tmp_path, table().assign(output="x" * 2000))
    with pytest.raises(CaseError, match="a whole number of at most 18 digits"):
        make(tmp_path, seed=10**30)
    assert not (tmp_path / "case").exists()


def test_no_feedback_and_numbers_alone_are_no_critiques():
    with pytest.raises(TaskError, match="No row has feedback in 'feedback'; name the column with feedback="):
        read(table(told=0))
    for scores in ([1, 0.5, 3, 4], ["1", "0.5", "nan", "4"]):
        with pytest.raises(TaskError, match="The feedback in 'feedback' is numbers alone; critiques are words"):
            read(table(told=4, others=0).assign(feedback=scores))


def test_labels_that_are_numbers_are_read_as_numbers_and_classes_as_classes():
    numbers = table().assign(output="The answer is 1.0", label=[1.0, 2.0, None, 1.0] + [3.0] * 6).drop(index=2)
    found = read(numbers)
    assert found.task.answer.kind == "number" and {example.target for example in found.task.train} == {"1", "2"}
    classes = read(table())
    assert classes.task.labels == ("K1", "K2", "K3")
    assert read(table(), labels=["K1", "K2", "K3", "K4"]).task.labels[-1] == "K4"
    texts = read(table().assign(label=[f"a text {n}" for n in range(10)]))
    assert texts.task.answer.kind == "text"
    with pytest.raises(TaskError, match="should be one of K1, K2"):
        read(table(), labels=["K1", "K2"], answer="label")
    assert read(table()).task.format_instruction == "" and read(table(), format_instruction="Say K.").task.format_instruction == "Say K."


# --- files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_files_in_any_encoding_that_is_named(tmp_path, encoding, ending):
    data = table().assign(output="Très bien: K1")
    path = tmp_path / f"mine.{ending}"
    path.write_bytes(data.to_csv(index=False, sep="\t" if ending == "tsv" else ",").encode(encoding))
    if encoding in ("utf-16", "latin-1"):
        with pytest.raises(TaskError, match="is not UTF-8 text; it looks like"):
            read(path)
    found = read(path, read={"encoding": encoding})
    assert [text for text, _ in found.outputs.values()] == ["Très bien: K1"] * 4 and found.task.name == "mine"
    assert found.outputs["train-0"].place == f"mine.{ending}, row 2" and found.task.source["file"] == f"mine.{ending}"
    assert read(path, read={"encoding": encoding}).task == found.task


def test_objects_and_lists_of_json_are_what_they_say(tmp_path):
    rows = [
        {"inputs": {"question": "Item 0 is red."}, "outputs": {"answer": "K1"}, "comments": [{"content": "Say why."}, "Shorter!"]},
        {"inputs": {"question": "Item 1 is green.", "n": 2}, "outputs": "K1", "comments": {"comment": "green should be K2", "by": "me"}},
        {"inputs": [1, 2], "outputs": "K2", "comments": []},
        {"inputs": "Item 3 is red.", "outputs": None, "comments": None},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    for name, place in (("a.jsonl", "a.jsonl, line 1"), ("a.json", "a.json, object 1")):
        found = read(tmp_path / name)
        assert [example.input for example in found.task.train] == [
            "Item 0 is red.",
            '{"question": "Item 1 is green.", "n": 2}',
            "[1, 2]",
            "Item 3 is red.",
        ]
        assert [[c.text for c in several] for several in found.critiques.values()] == [["Say why.", "Shorter!"], ["green should be K2"]]
        assert found.outputs["train-0"] == ("K1", place)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "[1]", "a.json is neither a list of JSON objects nor a log of Inspect"),
        ("a.json", "[", "a.json is not JSON"),
        ("a.jsonl", "[]", "a.jsonl, line 1 is not a JSON object"),
        ("a.txt", "x", "a.txt has no ending that is known; there are .csv, .tsv, .jsonl, .json, .xlsx, .parquet and .eval."),
        ("a.csv", "input;output;feedback\n1;2;3", "a.csv looks divided by ';', not by \",\": write"),
    ],
)
def test_a_file_that_is_no_table_is_told(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError) as raised:
        read(tmp_path / name)
    assert str(raised.value).startswith(said.partition(":")[0])
    with pytest.raises(TaskError, match="There is no file"):
        read(tmp_path / "none.csv")
    with pytest.raises(TaskError, match="A int is no table and no log; give a DataFrame"):
        read(5)


# --- splits --------------------------------------------------------------------------------------------------------------


def splits_of(task) -> dict[str, list[str]]:
    return {name: [example.input for example in task.split(name)] for name in ("train", "validation", "test")}


def test_rows_with_feedback_train_and_the_others_are_held_back_by_the_seed():
    found = read(table(told=5, others=34))
    splits = splits_of(found.task)
    assert splits["train"] == list(table(5, 34)["input"][:5]) and list(found.outputs) == [f"train-{n}" for n in range(5)]
    assert [len(splits["validation"]), len(splits["test"])] == [10, 24]
    assert [len(read(table(5, n)).task.validation) for n in (2, 3, 4, 6, 12)] == [1, 1, 2, 2, 4]
    assert splits_of(read(table(5, 34)).task) == splits and splits_of(read(table(5, 34), seed=1).task) != splits


def test_an_input_with_and_without_feedback_trains():
    data = pd.concat([table(), table().iloc[[0]].assign(feedback=None, label="K2")], ignore_index=True)
    splits = splits_of(read(data).task)
    assert splits["train"].count("Item 0 is red.") == 2 and not set(splits["train"]) & {*splits["validation"], *splits["test"]}


@pytest.mark.parametrize("others", [0, 1])
def test_with_hardly_any_other_rows_half_of_those_with_feedback_are_held_back(tmp_path, others):
    case = make(tmp_path, table(told=8, others=others))
    sizes = [len(case.task.split(name)) for name in ("train", "validation", "test")]
    assert sizes == [4 + others, 2, 2] and len(case[1].batch) == 4 and case.task.source["held_back"] == 4
    assert "The critiques of 4 rows were not used" in Page(next(iter(report(case))).html).text
    with pytest.raises(TaskError, match="There are 2 different inputs with feedback and 0 without, too few for train, validation and test"):
        read(table(told=2, others=0))


def test_a_split_column_says_which_rows_train():
    data = table(told=10, others=0).assign(part=["train"] * 5 + ["dev"] * 2 + ["test"] * 3)
    found = read(data, split="part")
    assert [len(found.task.split(name)) for name in ("train", "validation", "test")] == [5, 2, 3]
    assert list(found.outputs) == [f"train-{n}" for n in range(5)] and found.task.source["held_back"] == 5
    with pytest.raises(TaskError, match="The test split is empty"):
        read(data.assign(part=["train"] * 5 + ["dev"] * 5), split="part")
    with pytest.raises(TaskError, match="No row of the train split has feedback; mark some in column 'part'"):
        read(data.assign(feedback=[None] * 5 + ["Shorter!"] * 5), split="part")
    leaking = data.assign(input=["Item 0 is red.", *["Item 1 is green."] * 9])
    with pytest.raises(TaskError, match='have the same input, so one split would leak into another; remove one, or pass duplicates="keep"'):
        read(leaking, split="part")
    assert len(read(leaking, split="part", duplicates="keep").task.test) == 3
    with pytest.raises(TaskError, match="There is no option 'sep'; those of pandas' readers are given as read="):
        read(data, sep=";")
    with pytest.raises(TaskError, match="Without labels nothing is scored"):
        read(data, split="part", label=None)


# --- without labels ------------------------------------------------------------------------------------------------------


def test_without_labels_the_loop_goes_on_and_nothing_is_called_right_or_wrong(tmp_path, stub):
    case = make(tmp_path, table().drop(columns="label"), model=connect(stub))
    assert (case.task.answer.kind, case.method.labels, case.method.selection) == ("none", "none", "naive")
    assert len(case.task.train) == 10 and not case.task.validation and len(case[1].batch) == 4
    done = case.step()
    assert "blue means K3" in done.chosen_prompt and {e.text for e in done.evaluate} == {"No evaluation is given."}
    second = case.step()
    assert second.done and not second.brought and all(p.call for p in second.predict)
    with pytest.raises(CaseError, match="has no labels, so nothing can be scored; make a case with labels"):
        case.score(1)
    with pytest.raises(CaseError, match="has no labels"):
        case.compare(0, 1, replicates=2)
    for settings_ in ({"labels": "correct"}, {"labels": "none", "selection": "validated"}, {"labels": "wrong", "selection": "naive"}):
        with pytest.raises(MethodError, match="goes by labels, and task 'feedback' has none: take labels='none' and selection="):
            case.use(gb.Method(**settings_))
    with pytest.raises(TaskError, match="has no labels"):
        case.perturb(1, gb.edits.wrong_label(0))
    text = Page("".join(part.html for part in report(case))).text
    assert "There are no labels: no output is called right or wrong" in text and "without labels" in text
    assert not [word for word in ("true:", "true label", "✗ wrong", "✓ right", "unparsed", "answered right") if word in text]
    assert case.predictions()["correct"].isna().all() and case.steps()["batch"].isna().all()
    again = gb.Recording(case.path)
    assert not again.task.labelled and [step.model_dump() for step in again] == [step.model_dump() for step in case]


def test_a_method_that_needs_labels_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(MethodError, match="labels='correct' goes by labels"):
        make(tmp_path, table(), label=None, method=gb.Method())
    assert not (tmp_path / "case").exists()


# --- any table -----------------------------------------------------------------------------------------------------------

cells = st.one_of(
    st.none(),
    st.sampled_from(["K1", "K2", "", " ", "NA", "nan", "yes, no", "\ud800", "\x00", "é" * 50]),
    st.text(string.printable, max_size=12),
    st.integers(-3, 3),
    st.floats(),
    st.booleans(),
    st.lists(st.sampled_from(["a", None, ""]), max_size=2),
    st.dictionaries(st.sampled_from(["content", "x"]), st.text(max_size=3), max_size=2),
)
tables = st.lists(st.fixed_dictionaries({name: cells for name in ("input", "output", "feedback", "label")}), max_size=9)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, st.booleans())
def test_any_table_is_read_or_refused_in_a_sentence(rows, labelled):
    data = pd.DataFrame(rows, columns=["input", "output", "feedback", "label"], dtype=object)
    try:
        found = read(data, **({} if labelled else {"label": None}))
    except GradbookError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    splits = {name: {example.input for example in found.task.split(name)} for name in ("train", "validation", "test")}
    assert not (splits["train"] & splits["validation"] or splits["train"] & splits["test"] or splits["validation"] & splits["test"])
    assert found.outputs and found.outputs.keys() == found.critiques.keys() <= {example.id for example in found.task.train}
    for id, (output, place) in found.outputs.items():
        row = data.loc[int(place.removeprefix("row "))]
        assert found.task.example(id).input and output == output.strip() != ""
        if isinstance(row["output"], str):
            assert output == row["output"].strip().replace("\ud800", "\ufffd")
        assert all(critique.text == critique.text.strip() != "" for critique in found.critiques[id])
        assert len({critique.text for critique in found.critiques[id]}) == len(found.critiques[id])


def test_a_study_of_a_task_without_labels_is_refused(tmp_path, stub):
    task = read(table(), label=None).task
    with pytest.raises(StudyError, match="task 'feedback' has no labels, and trials are judged by scores"):
        gb.Study(
            tmp_path / "study", tasks=task, models=connect(stub), arms={"a": gb.Method(labels="none", selection="naive")}, trials=2, steps=1
        )
