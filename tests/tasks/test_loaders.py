"""BBEH and GPQA: real BBEH files where they are at hand, made-up ones for everything that can be wrong."""

import json
from pathlib import Path

import pandas as pd
import pytest

from gradbook.errors import TaskError
from gradbook.tasks import BbehAnswer, Task, gpqa
from gradbook.tasks import bbeh as load

SPLITS = ("train", "validation", "test")


KEPT = ("bbeh_linguini", "bbeh_spatial_reasoning")  # these hold an input twice


def real(bbeh: Path, name: str) -> Task:
    return load(bbeh / f"{name}.json", duplicates="keep" if name in KEPT else "error")


def test_every_task_of_bbeh_loads(bbeh: Path) -> None:
    names = sorted(path.stem for path in bbeh.glob("*.json"))
    tasks = [real(bbeh, name) for name in names]
    assert len(names) == 23 and {len(task.frame()) for task in tasks} == {120, 200}
    assert all("canary GUID" in task.source["canary"] and "/" not in task.source["file"] for task in tasks)
    kinds = {task.name: task.answer.kind for task in tasks}
    assert (kinds["bbeh_web_of_lies"], kinds["bbeh_multistep_arithmetic"], kinds["bbeh_nycc"]) == ("sequence", "number", "label")
    for name in KEPT:
        with pytest.raises(TaskError, match=r'have the same input.*duplicates="keep"'):
            load(bbeh / f"{name}.json")


ASKED = ["{}", "The answer is: {}", "The final answer is {}.", "So.\n\n**Answer:** {}.", "The answer is **{}**", r"\boxed{{{}}}"]


@pytest.mark.parametrize("said", ASKED)
def test_every_target_of_bbeh_is_right_where_it_is_answered(bbeh: Path, said: str) -> None:
    for path in bbeh.glob("*.json"):
        task = real(bbeh, path.stem)
        for target in task.frame()["target"]:
            for text in (target, target.replace(", ", ",")):
                assert task.correct(task.parse(said.format(text)), target), (path.stem, task.answer.kind)


@pytest.mark.parametrize(
    ("target", "right", "wrong"),
    [
        ("150, 2", ["150,2", "150, 2", "[150, 2]", "The answer is: 150 , 2."], ["150, 3", "150", "152"]),
        ("[]", ["[]", "Answer: []", "The answer is: []."], ["[emma]", "none"]),
        ("[emma, lily]", ["emma, lily", "[Emma,Lily]", "The final answer is [emma, lily]."], ["[lily, emma]", "emma"]),
        ("(A)", ["A", "a", "(a)", r"$\boxed{\text{(A)}}$"], ["(B)", "B"]),
        ("chair, paper", ["'chair', 'paper'", "chair, paper?"], ["chair", "paper, chair"]),
        ("3.0", ["3", "3.00"], ["30", "-3"]),
        ("He really cried.", ["He really cried", "he really cried."], ["He cried."]),
    ],
)
def test_bbeh_is_compared_as_its_evaluator_does(target: str, right: list[str], wrong: list[str]) -> None:
    answer = BbehAnswer()
    assert all(answer.correct(answer.parse(reply), target) for reply in right)
    assert not any(answer.correct(answer.parse(reply), target) for reply in wrong)


def write(folder: Path, data, name: str = "task.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def items(*targets) -> dict:
    return {"examples": [{"input": f"q{i}", "target": target} for i, target in enumerate(targets)], "canary": "c"}


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (["1", "2", "-3"], "number"),
        ([1, 2, 3], "number"),
        (["(A)", "(B)"] * 3, "label"),
        (["a, b", "b, a"] * 3, "sequence"),
        (list("abcde"), "bbeh"),
    ],
)
def test_the_kind_of_answer_is_read_off_the_targets(tmp_path: Path, targets: list, kind: str) -> None:
    assert load(write(tmp_path, items(*targets))).answer.kind == kind


def test_limit_takes_the_first_examples(tmp_path: Path) -> None:
    task = load(write(tmp_path, items(*"1234567890")), limit=6)
    assert set(task.frame()["input"]) == {f"q{i}" for i in range(6)} and task.source["limit"] == 6
    with pytest.raises(TaskError, match="limit=0"):
        load(write(tmp_path, items(*"123")), limit=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "task.json is not JSON (Expecting property name enclosed in double quotes at column 2)"),
        ([], 'task.json has no list "examples"'),
        ({"examples": 3}, 'task.json has no list "examples"'),
        ({"examples": []}, "0 rows are too few"),
        ({"examples": [{"input": "q", "target": "1"}, {"input": "r"}]}, 'task.json, example 2 has no "target"'),
        ({"examples": ["q"]}, 'task.json, example 1 has no "input"'),
        (items("1", "", "2"), "task.json, example 2: column 'target' is empty"),
        (items("1", ["2"], "3"), "task.json, example 2: column 'target' holds a list"),
        ({"examples": [{"input": "q", "target": "1"}] * 3}, "have the same input"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, data, message: str) -> None:
    with pytest.raises(TaskError) as raised:
        load(write(tmp_path, data))
    assert message in str(raised.value)


def questions(numbers) -> pd.DataFrame:
    rows = [[f"rec{n}", f"Question {n}?", f"right {n}", f"wrong {n}a", f"wrong {n}b", f"wrong {n}c"] for n in numbers]
    return pd.DataFrame(rows, columns=["Record ID", "Question", "Correct Answer", *(f"Incorrect Answer {i}" for i in (1, 2, 3))])


def csv(folder: Path, frame: pd.DataFrame, name: str) -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def test_gpqa_letters_the_choices(tmp_path: Path) -> None:
    task = gpqa(csv(tmp_path, questions(range(40)), "main.csv"))
    assert task.private and task.labels == ("A", "B", "C", "D") and len(task.frame()) == 40
    for row in task.frame().itertuples():
        assert f"\n{row.target}) right " in row.input and row.input.count("wrong") == 3
    assert set(task.frame()["target"]) == {"A", "B", "C", "D"}
    assert task.train == gpqa(tmp_path / "main.csv").train != gpqa(tmp_path / "main.csv", seed=1).train


def test_a_wrong_label_is_the_next_choice(tmp_path: Path) -> None:
    task = gpqa(csv(tmp_path, questions(range(40)), "main.csv"))
    assert all(task.wrong_label(example) == {"A": "B", "B": "C", "C": "D", "D": "A"}[example.target] for example in task.test)


@pytest.mark.parametrize("records", [True, False])
def test_diamond_is_the_test_split_and_never_in_training(tmp_path: Path, records: bool) -> None:
    drop = [] if records else ["Record ID"]
    main, diamond = questions(range(60)).drop(columns=drop), questions(range(50, 60)).drop(columns=drop)
    task = gpqa(csv(tmp_path, main, "main.csv"), diamond=csv(tmp_path, diamond, "diamond.csv"))
    number = task.frame()["input"].str.extract(r"Question (\d+)")[0].astype(int)
    assert set(number[task.frame()["split"] == "test"]) == set(range(50, 60))
    assert max(number[task.frame()["split"] != "test"]) < 50
    with pytest.raises(TaskError, match=r"need 60 questions outside Diamond and 10 in it; there are 50 and 10"):
        gpqa(tmp_path / "main.csv", diamond=tmp_path / "diamond.csv", sizes=(30, 30, 10))
    assert len(gpqa(tmp_path / "main.csv", diamond=tmp_path / "diamond.csv", sizes=(5, 6, 7)).validation) == 6


def test_a_gpqa_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"main\.csv has no column 'Correct Answer'"):
        gpqa(csv(tmp_path, questions(range(9)).drop(columns="Correct Answer"), "main.csv"))
    hole = questions(range(9))
    hole.loc[3, "Incorrect Answer 2"] = ""
    with pytest.raises(TaskError, match=r"main\.csv, row 5: column 'Incorrect Answer 2' is empty"):
        gpqa(csv(tmp_path, hole, "main.csv"))
    with pytest.raises(TaskError, match="There is no file"):
        gpqa(tmp_path / "none.csv")
