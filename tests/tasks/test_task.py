"""A task of one's own: what may go in, what is refused and how clearly, and that it survives a round trip as plain data."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from gradbook.errors import TaskError
from gradbook.records import Example
from gradbook.tasks import LabelAnswer, NumberAnswer, Task, TextAnswer, multistep_arithmetic, ticket_routing, web_of_lies


def frame(rows: int = 20, **columns) -> pd.DataFrame:
    return pd.DataFrame({"input": [f"question {i}" for i in range(rows)], "target": ["a", "b"] * (rows // 2)} | columns)


def write(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_table_is_split_in_the_proportions_of_the_default() -> None:
    task = Task.from_frame(frame(20))
    assert [len(task.split(name)) for name in ("train", "validation", "test")] == [3, 5, 12]
    assert task.labels == ("a", "b")
    assert [example.id for example in task.train] == ["train-0", "train-1", "train-2"]


def test_a_split_is_the_same_every_time_and_another_with_another_seed() -> None:
    assert Task.from_frame(frame()).train == Task.from_frame(frame()).train
    assert Task.from_frame(frame()).train != Task.from_frame(frame(), seed=1).train


def test_sizes_as_counts_are_strict_and_as_fractions_leave_nothing_out() -> None:
    assert len(Task.from_frame(frame(20), sizes=(2, 3, 4)).test) == 4
    assert [len(Task.from_frame(frame(20), sizes=(0.3, 0.33, 0.37)).split(s)) for s in ("train", "validation", "test")] == [6, 6, 8]
    with pytest.raises(TaskError, match=r"ask for 24 rows, and there are 20"):
        Task.from_frame(frame(20), sizes=(10, 10, 4))


@pytest.mark.parametrize("sizes", [(1, 2), (0, 1, 2), (0.5, 0.5, 0.5), "abc", 3, (-1, 2, 3)])
def test_sizes_that_are_none_are_refused(sizes) -> None:
    with pytest.raises(TaskError, match="three counts of at least 1"):
        Task.from_frame(frame(), sizes=sizes)


def test_two_rows_are_too_few() -> None:
    with pytest.raises(TaskError, match="2 rows are too few"):
        Task.from_frame(frame(2), answer="label")


def test_a_split_column_is_followed() -> None:
    task = Task.from_frame(frame(4, part=["train", "dev", "Test", "train"]), split="part")
    assert [example.input for example in task.train] == ["question 0", "question 3"]
    with pytest.raises(TaskError, match=r"row 2: the split 'exam' should be one of train, validation, test"):
        Task.from_frame(frame(4, part=["train", "dev", "exam", "train"]), split="part")
    with pytest.raises(TaskError, match="The test split is empty"):
        Task.from_frame(frame(4, part=["train", "dev", "dev", "train"]), split="part")
    with pytest.raises(TaskError, match="give one of them"):
        Task.from_frame(frame(4), split="part", sizes=(1, 1, 1))


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(TaskError, match="no column 'question'; the columns are 'input', 'target'"):
        Task.from_frame(frame(), input="question")
    with pytest.raises(TaskError, match="more than one column 'input'"):
        Task.from_frame(pd.concat([frame(), frame()[["input"]]], axis="columns"))


@pytest.mark.parametrize("gap", [None, float("nan"), "", "  ", pd.NA, pd.NaT])
def test_a_gap_is_named_by_its_index_label(gap) -> None:
    df = frame(6, target=["a", "b", "a", gap, "a", "b"]).set_index(pd.Index(list("uvwxyz")))
    with pytest.raises(TaskError, match="row x: column 'target' is empty"):
        Task.from_frame(df)


def test_a_cell_that_is_no_text_is_refused() -> None:
    with pytest.raises(TaskError, match="row 0: column 'target' holds a list"):
        Task.from_frame(frame(3, target=[["a"], ["b"], ["a"]], input=list("xyz")))


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float64", "object", "string", "category", "str"])
def test_whole_numbers_as_labels_stay_whole(dtype: str) -> None:
    df = frame(6, target=pd.Series([1, 2, 1, 2, 1, 2]).astype("Int64" if dtype == "string" else "int64").astype(dtype))
    assert Task.from_frame(df, answer="label").labels == ("1", "2")


def test_a_target_outside_the_labels_is_named() -> None:
    with pytest.raises(TaskError, match=r"row 1: the target 'b' should be one of a, c\."):
        Task.from_frame(frame(), labels=["a", "c"])
    with pytest.raises(TaskError, match=r"row 0: the target 'a' should be a number\."):
        Task.from_frame(frame(), answer="number")


def test_a_label_with_control_characters_is_shown_without_them() -> None:
    with pytest.raises(TaskError) as raised:
        Task.from_frame(frame(), labels=["a", "\x1b[31m\0"])
    assert "should be one of a, \ufffd[31m\ufffd." in str(raised.value)


def test_an_input_in_two_splits_is_refused_unless_wanted() -> None:
    df = frame(3, input=["x", "y", "x"], target=["a", "b", "a"], part=["train", "validation", "test"])
    with pytest.raises(TaskError, match=r"row 0 \(train\) and row 2 \(test\) have the same input"):
        Task.from_frame(df, split="part")
    assert len(Task.from_frame(df, split="part", duplicates="keep").test) == 1
    with pytest.raises(TaskError, match="duplicates='drop'"):
        Task.from_frame(df, duplicates="drop")


def test_csv_rows_count_as_a_spreadsheet_does(tmp_path: Path) -> None:
    rows = "".join(f'"question,\n{i}",{label}\n' for i, label in enumerate("abab"))
    path = write(tmp_path, "\ufeffinput,target\n" + rows + "\nlast,\n")
    with pytest.raises(TaskError, match=r"mine\.csv, row 7: column 'target' is empty"):
        Task.from_csv(path)


def test_csv_labels_that_look_like_gaps_survive(tmp_path: Path) -> None:
    path = write(tmp_path, "input,target\n" + "".join(f"q{i},{t}\n" for i, t in enumerate(["NA", "None", "null", "nan"] * 2)) + "\n")
    task = Task.from_csv(path)
    assert set(task.labels) == {"NA", "None", "null", "nan"}
    assert task.name == "mine" and task.source["file"] == "mine.csv" and str(tmp_path) not in json.dumps(task.settings())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input,target\nq1,a\nq2,b,c\n", "mine.csv cannot be read as CSV: Expected 2 fields in line 3, saw 3"),
        ("input,target\nq1\nq2,b\n", "mine.csv, row 2: column 'target' is empty"),
        ("input;target\nq1;a\n", "mine.csv looks divided by ';', not by \",\"; write read={\"sep\": ';'}."),
        ("", "mine.csv cannot be read as CSV: No columns to parse"),
        ("input,target\n", "0 rows are too few"),
    ],
)
def test_a_bad_csv_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TaskError) as raised:
        Task.from_csv(write(tmp_path, text))
    assert message in str(raised.value)


def test_files_that_are_missing_or_not_utf8(tmp_path: Path) -> None:
    for load in (Task.from_csv, Task.from_jsonl):
        with pytest.raises(TaskError, match="There is no file"):
            load(tmp_path / "none")
    (tmp_path / "latin").write_bytes("input,target\né,a\n".encode("latin-1"))
    for load in (Task.from_csv, Task.from_jsonl):
        with pytest.raises(TaskError, match="latin is not UTF-8"):
            load(tmp_path / "latin")


def test_jsonl_keeps_numbers_and_names_lines(tmp_path: Path) -> None:
    good = "".join(json.dumps({"input": f"q{i}", "target": i % 2}) + "\n" for i in range(6))
    assert Task.from_jsonl(write(tmp_path, "\n" + good, "a.jsonl"), answer="label").labels == ("0", "1")
    for bad, message in [
        ("{", r"b\.jsonl, line 7 is not JSON \(.* at column 2\)"),
        ("[1]", r"b\.jsonl, line 7 is not a JSON object"),
        ('{"input": "x"}', r"b\.jsonl, line 7: column 'target' is empty"),
    ]:
        with pytest.raises(TaskError, match=message):
            Task.from_jsonl(write(tmp_path, good + bad, "b.jsonl"))


def test_system_parse_and_score() -> None:
    task = Task.from_frame(frame(), format_instruction="Say a or b.")
    assert task.system("Think.") == "Think.\n\nSay a or b."
    assert task.parse("Answer: b") == "b" and task.correct("b", "b") and not task.correct(None, "b")
    assert task.classes("a") == ("a",)
    assert task.example("test-0") is task.test[0]
    for ask in (lambda: task.example("x"), lambda: task.split("exam")):
        with pytest.raises(TaskError, match="no "):
            ask()


def test_thoughts_are_no_answer_and_a_reply_that_was_cut_off_counts_only_where_it_states_one() -> None:
    task = Task.from_frame(frame(20, target=["yes", "no"] * 10))
    numbers = Task.from_frame(frame(20, target=["1", "2"] * 10))
    assert task.parse("<think>Could the answer be yes?") is None
    assert task.parse("<think>Could the answer be yes?</think>Answer: no") == "no"
    assert task.parse("Could the answer be yes?</think>no") == "no"
    for reply, whole, cut in [
        ("Answer: yes\nBecause", "yes", "yes"),
        ("Answer: yes", "yes", None),
        ("It is yes\nand", "yes", None),
        ("The answer is no.\nThe answer is y", "no", "no"),
    ]:
        assert (task.parse(reply), task.parse(reply, cut=True)) == (whole, cut), reply
    assert (numbers.parse("3 + 4 = 7\nso 1"), numbers.parse("3 + 4 = 7\nso 1", cut=True)) == ("1", None)
    assert numbers.parse("The answer is 7.\nCheck: 1", cut=True) == "7"
    own = Task.from_frame(frame(), parser=lambda output: output[-1:])
    assert (own.parse("<think>x</think>a"), own.parse("so a\nand b", cut=True)) == ("a", None)


def test_an_own_parser_and_scorer_are_used_and_said_to_be_lost() -> None:
    task = Task.from_frame(frame(), parser=lambda output: output[-1:], scorer=lambda answer, target: answer.lower() == target)
    assert task.parse("so: A") == "A" and task.correct("A", "a")
    assert not task.correct(None, "a")
    with pytest.raises(TaskError, match="parser and scorer of its own, which cannot be stored; pass the task again"):
        Task.from_settings(task.settings(), {"train": task.train, "validation": task.validation, "test": task.test})


@pytest.mark.parametrize(
    "make",
    [
        web_of_lies,
        multistep_arithmetic,
        lambda: Task.from_frame(frame()),
        lambda: Task.from_frame(frame(), answer="text"),
        lambda: Task.from_frame(frame(), rule="Say a, “always”.", false_rule="Say b."),
    ],
)
def test_a_task_survives_as_plain_data(make) -> None:
    task = make()
    settings = json.loads(json.dumps(task.settings()))
    examples = {name: [Example(**e.model_dump()) for e in task.split(name)] for name in ("train", "validation", "test")}
    assert Task.from_settings(settings, examples) == task
    assert "None" not in repr(settings)  # TOML has no null
    assert (settings.get("rule", ""), settings.get("false_rule", "")) == (task.rule, task.false_rule)


@pytest.mark.parametrize("field", ["name", "description", "seed_prompt", "format_instruction"])
def test_a_text_of_a_task_that_is_none_is_named(field: str) -> None:
    with pytest.raises(TaskError, match=f"{field}=5 of a task should be text"):
        Task.from_frame(frame(), **{field: 5})


def test_damaged_settings_are_named() -> None:
    task = web_of_lies(sizes=(2, 2, 2))
    examples = {name: task.split(name) for name in ("train", "validation", "test")}
    for damage in ({"answer": {"kind": "song"}}, {"colour": "red"}, {"answer": None}):
        with pytest.raises(TaskError, match="settings of the task are damaged"):
            Task.from_settings(task.settings() | damage, examples)
    with pytest.raises(TaskError, match="test split of task 'web_of_lies' is empty"):
        Task.from_settings(task.settings(), examples | {"test": []})
    with pytest.raises(TaskError, match="'train-0' stands for more than one example"):
        Task.from_settings(task.settings(), examples | {"test": task.train})


def test_what_a_notebook_shows_is_escaped_and_says_the_shares() -> None:
    task = Task.from_frame(frame(20, target=["<b>x</b>", "y"] * 10), name="<script>", description="<i>")
    html = task._repr_html_()
    assert "<script>" not in html and "<b>" not in html and "<i>" not in html and "&lt;script&gt;" in html and "%" in html
    assert repr(task).startswith("Task('<script>', train=3, validation=5, test=12, answer='label'")
    assert list(task.frame().columns) == ["split", "id", "input", "target"] and len(task.frame()) == 20


def wrong_labels(task: Task) -> list[str]:
    return [task.wrong_label(example) for name in ("train", "validation", "test") for example in task.split(name)]


@pytest.mark.parametrize(
    "make",
    [
        web_of_lies,
        multistep_arithmetic,
        lambda: Task.from_frame(frame(), answer="text"),
        lambda: Task.from_frame(frame(target=["a, b", "b, a"] * 10)),
        lambda: Task.from_frame(frame(target=[str(10**40), "0.5"] * 10), answer="number"),
    ],
)
def test_a_wrong_label_is_never_right_and_always_the_same(make) -> None:
    task = make()
    wrong = wrong_labels(task)
    targets = [example.target for name in ("train", "validation", "test") for example in task.split(name)]
    assert not any(task.correct(label, target) for label, target in zip(wrong, targets, strict=True))
    assert all(task.answer.accepts(label) for label in wrong)
    assert wrong == wrong_labels(make())


def test_a_wrong_number_is_within_ten() -> None:
    task = multistep_arithmetic()
    distances = {int(task.wrong_label(e)) - int(e.target) for e in task.test}
    assert distances <= set(range(-10, 11)) - {0} and len(distances) > 10


def test_where_every_answer_is_right_there_is_no_wrong_label() -> None:
    for answer in (LabelAnswer(labels=("a",)), TextAnswer()):
        task = Task.from_frame(frame(target=["a"] * 20), answer=answer)
        with pytest.raises(TaskError, match="no wrong label for train-0"):
            task.wrong_label(task.train[0])
    task = Task.from_frame(frame(target=["1"] * 20), answer=NumberAnswer(tolerance=20))
    with pytest.raises(TaskError, match="tolerance is 20"):
        task.wrong_label(task.train[0])


def digest() -> str:
    made = [web_of_lies(seed=3), multistep_arithmetic(seed=3), ticket_routing(seed=3)]
    text = repr([(task.train, task.test, wrong_labels(task)) for task in made])
    return hashlib.sha256(text.encode()).hexdigest()


def test_another_process_makes_the_same_tasks_and_wrong_labels() -> None:
    code = f"import runpy; print(runpy.run_path({__file__!r})['digest']())"
    env = os.environ | {"PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert other.stdout.strip() == digest()
