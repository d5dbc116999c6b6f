"""Files of other people: any encoding and separator that is named, Excel, Parquet, Hugging Face, and halves of emoji."""

import ast
import json
import re
from pathlib import Path

import pandas as pd
import pytest

import gradbook as gb
from gradbook.errors import CaseError, GradbookError, TaskError
from gradbook.records import Example
from gradbook.tasks import LabelAnswer, Task, bbeh
from small import reply, small_task
from stub import Stub

ROWS = [(f"Où est le n° {i} ?", "été" if i % 2 else "hiver") for i in range(8)]
FRAME = pd.DataFrame(ROWS, columns=["input", "target"])


def examples(task: Task) -> pd.DataFrame:
    return task.frame()[["split", "input", "target"]]


def csv(folder: Path, encoding: str, sep: str = ",", rows=ROWS) -> Path:
    path = folder / "mine.csv"
    text = "\n".join(sep.join(row) for row in [("input", "target"), *rows]) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


def suggested(error: TaskError) -> dict:
    """What a message says to write: read={…}."""
    return ast.literal_eval(re.search(r"read=(\{.*?\})", str(error))[1])


ENCODINGS = ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "mac-roman", "utf-32"]


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_and_a_separator_that_are_named_are_read(encoding: str, sep: str, tmp_path: Path) -> None:
    task = Task.from_csv(csv(tmp_path, encoding, sep), read={"encoding": encoding, "sep": sep})
    assert examples(task).equals(examples(Task.from_frame(FRAME)))
    assert task.source["read"] == {"encoding": encoding, "sep": sep} and task.name == "mine"


@pytest.mark.parametrize("sep", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8"])
def test_what_a_file_looks_like_is_told_with_what_to_write(encoding: str, sep: str, tmp_path: Path) -> None:
    path, read = csv(tmp_path, encoding, sep), {}
    for _ in range(3):
        try:
            task = Task.from_csv(path, read=read)
        except TaskError as error:
            read |= suggested(error)
    assert read == {"sep": sep} | ({} if encoding == "utf-8" else {"encoding": encoding})
    assert examples(task).equals(examples(Task.from_frame(FRAME)))


def test_the_right_name_of_an_encoding_and_what_it_reads_are_told(tmp_path: Path) -> None:
    for encoding, rows, shown in [("latin-1", ROWS, "Où est le n° 0 ?,hiver"), ("cp1252", [("it’s 5 €", "ok")], "it’s 5 €,ok")]:
        with pytest.raises(
            TaskError, match=f"mine.csv is not UTF-8 text; it looks like {encoding}: .*reads {re.escape(repr(shown))} in it"
        ):
            Task.from_csv(csv(tmp_path, encoding, rows=rows))
    with pytest.raises(TaskError, match="is not utf-16 text; it looks like utf-8"):
        Task.from_csv(csv(tmp_path, "utf-8"), read={"encoding": "utf-16"})
    with pytest.raises(TaskError, match="cannot be read: unknown encoding: latin-99; there are utf-8"):
        Task.from_csv(csv(tmp_path, "utf-8"), read={"encoding": "latin-99"})
    for odd in (5, "base64", "a\0b"):
        with pytest.raises(TaskError, match="cannot be read: "):
            Task.from_csv(csv(tmp_path, "utf-8"), read={"encoding": odd})
    for mark in (b"\xff\xfe", b"\xff"):
        (tmp_path / "mine.csv").write_bytes(mark)
        with pytest.raises(TaskError, match="is not UTF-8 text"):
            Task.from_csv(tmp_path / "mine.csv")


def test_a_file_that_is_longer_than_its_header_where_the_separator_is_another_says_so(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r'looks divided by \';\', not by ","; write read=\{"sep": \';\'\}'):
        Task.from_csv(csv(tmp_path, "utf-8", ";", [("one, two, three", "a")]))


def test_json_lines_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    for encoding in ("latin-1", "utf-16", "utf-16-le"):
        path.write_bytes("".join(json.dumps({"input": a, "target": b}, ensure_ascii=False) + "\n" for a, b in ROWS).encode(encoding))
        with pytest.raises(TaskError, match="is not UTF-8 text") as raised:
            Task.from_jsonl(path)
        assert suggested(raised.value) == {"encoding": encoding}
        assert examples(Task.from_jsonl(path, read=suggested(raised.value))).equals(examples(Task.from_frame(FRAME)))
    with pytest.raises(TaskError, match="'lines': …} is no option for JSON Lines"):
        Task.from_jsonl(path, read={"lines": True})


def test_options_of_pandas_are_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("# made by hand\n'q, 1';a\nq2;b\nq3;'a'\nq4;b\n")
    read = {"sep": ";", "quotechar": "'", "skiprows": 1, "names": ["input", "target"]}
    assert set(Task.from_csv(path, read=read).frame()["input"]) == {"q, 1", "q2", "q3", "q4"}
    path.write_text("no header,at all\ninput,target\nq1,\nq2,b\n")
    with pytest.raises(TaskError, match=r"mine\.csv, data row 1: column 'target' is empty"):
        Task.from_csv(path, read={"skiprows": 1})
    FRAME.to_csv(tmp_path / "mine.csv.gz", index=False)
    assert examples(Task.from_csv(tmp_path / "mine.csv.gz")).equals(examples(Task.from_frame(FRAME)))


@pytest.mark.parametrize(
    ("read", "message"),
    [
        ({"quotecharacter": "'"}, "cannot be read as CSV: .*unexpected keyword argument 'quotecharacter'"),
        ({"chunksize": 2}, "these options give no single table"),
        ({"usecols": ["colour"]}, "cannot be read as CSV"),
        ({"sep": ""}, "."),
        ({"engine": "abacus"}, "cannot be read as CSV"),
        ({"converters": 5}, "cannot be read as CSV"),
        ({"header": 99}, "cannot be read as CSV"),
    ],
    ids=str,
)
def test_options_that_pandas_cannot_use_are_told_in_a_sentence(read: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=message) as raised:
        Task.from_csv(csv(tmp_path, "utf-8"), read=read)
    assert "\n" not in str(raised.value)


def test_an_option_that_there_is_not_is_told_with_the_place_of_pandas_own(tmp_path: Path) -> None:
    for make in (lambda **o: Task.from_csv(csv(tmp_path, "utf-8"), **o), lambda **o: Task.from_frame(FRAME, **o)):
        with pytest.raises(TaskError, match=r"no option 'quotechar'; those of pandas' readers are given as read=\{'quotechar': …\}"):
            make(quotechar="'")


# --- Excel, Parquet, Hugging Face ------------------------------------------------------------------------------------------


def test_a_sheet_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "codes.xlsx"
    odd = pd.DataFrame({"input": ["q1", "q2", None, "q3", "q4"], "target": ["NA", 1, None, 2.5, "None"]})
    with pd.ExcelWriter(path) as book:
        FRAME.to_excel(book, sheet_name="first", index=False)
        odd.to_excel(book, sheet_name="odd", index=False)
    assert examples(Task.from_excel(path)).equals(examples(Task.from_frame(FRAME)))
    task = Task.from_excel(path, read={"sheet_name": "odd"}, answer="text")
    assert dict(task.frame()[["input", "target"]].values) == {"q1": "NA", "q2": "1", "q3": "2.5", "q4": "None"}
    assert task.source["loader"] == "from_excel" and task.source["file"] == "codes.xlsx" and task.name == "codes"
    odd.loc[3, "target"] = None
    odd.to_excel(path, index=False)
    with pytest.raises(TaskError, match=r"codes\.xlsx, row 5: column 'target' is empty"):
        Task.from_excel(path)
    for read, message in [({"sheet_name": "third"}, "third"), ({"sheet_name": None}, "no single table")]:
        with pytest.raises(TaskError, match=rf"codes\.xlsx cannot be read as an Excel file: .*{message}"):
            Task.from_excel(path, read=read)
    path.write_text("input,target\n")
    with pytest.raises(TaskError, match=r"codes\.xlsx cannot be read as an Excel file"):
        Task.from_excel(path)


def test_a_parquet_file_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "codes.parquet"
    FRAME.assign(more=1, nested=[[1, 2], []] * 4).to_parquet(path)
    assert examples(Task.from_parquet(path)).equals(examples(Task.from_frame(FRAME)))
    with pytest.raises(TaskError, match="no column 'target'; the columns are 'input'"):
        Task.from_parquet(path, read={"columns": ["input"]})
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(TaskError, match=r"codes\.parquet cannot be read as Parquet"):
        Task.from_parquet(path)


@pytest.mark.parametrize("kind", ["excel", "parquet"])
def test_a_reader_that_is_not_installed_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_, **__):
        raise ImportError("`Import openpyxl` failed. Use pip or conda to install the openpyxl package.")

    monkeypatch.setattr(pd, f"read_{kind}", missing)
    with pytest.raises(TaskError, match=r'cannot be read here: .*openpyxl.*run pip install "gradbook\[files\]"'):
        getattr(Task, f"from_{kind}")(csv(tmp_path, "utf-8"))


class Dataset:
    """What of a `datasets.Dataset` is used: its table, and what it tells of itself."""

    split = "train"

    def __init__(self, frame: pd.DataFrame, names=()) -> None:
        self._frame = frame
        self.features = {"target": type("ClassLabel", (), {"names": list(names)})} if names else {"target": object()}
        self.info = type("Info", (), {"dataset_name": "seasons"})

    def to_pandas(self) -> pd.DataFrame:
        return self._frame.copy()


def test_a_data_set_of_hugging_face_has_its_labels_by_name() -> None:
    numbered = FRAME.assign(target=[i % 2 for i in range(8)])
    task = Task.from_hf(Dataset(numbered, ["hiver", "été"]))
    assert examples(task).equals(examples(Task.from_frame(FRAME))) and task.labels == ("hiver", "été")
    assert (task.name, task.source["dataset"], task.source["part"]) == ("seasons", "seasons", "train")
    assert Task.from_hf(Dataset(numbered)).answer.kind == "number"
    with pytest.raises(TaskError, match="row 3: column 'target' is empty"):
        Task.from_hf(Dataset(numbered.assign(target=[0, 1, 0, None, 1, 0, 1, 0]), ["hiver", "été"]))
    with pytest.raises(TaskError, match="row 2: column 'target' is empty"):
        Task.from_hf(Dataset(numbered.assign(target=[0, 1, -1, 0, 1, 0, 1, 0]), ["hiver", "été"]))
    with pytest.raises(TaskError, match=r"takes a datasets.Dataset, and this is a dict of train, test; give one of them\."):
        Task.from_hf({"train": Dataset(FRAME), "test": Dataset(FRAME)})
    with pytest.raises(TaskError, match=r"this is a DataFrame\."):
        Task.from_hf(FRAME)


# --- reopened --------------------------------------------------------------------------------------------------------------


def made(kind: str, folder: Path, rows: int = 8) -> Task:
    frame, path = FRAME[:rows], folder / f"mine.{kind}"
    match kind:
        case "csv":
            frame.to_csv(path, index=False, sep=";", encoding="utf-16")
            return Task.from_csv(path, read={"sep": ";", "encoding": "utf-16", "dtype": None})
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
            return Task.from_jsonl(path)
        case "hf":
            return Task.from_hf(Dataset(frame))
        case _:
            getattr(frame, f"to_{kind}")(path := folder / ("mine.xlsx" if kind == "excel" else "mine.parquet"), index=False)
            return getattr(Task, f"from_{kind}")(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "excel", "parquet", "hf"])
def test_a_case_on_any_file_is_opened_again_without_it(kind: str, tmp_path: Path) -> None:
    task = made(kind, tmp_path)
    gb.Case(tmp_path / "case", task=task).close()
    for file in tmp_path.glob("mine.*"):
        file.unlink()
    assert gb.Recording(tmp_path / "case").task == gb.Case(tmp_path / "case").task == task
    assert gb.Case(tmp_path / "case", task=made(kind, tmp_path)).task == task
    with pytest.raises(CaseError, match="other examples"):
        gb.Case(tmp_path / "case", task=made(kind, tmp_path, rows=7))


# --- halves of emoji ---------------------------------------------------------------------------------------------------------

HALF = "half \ud83d of it"
WHOLE = "half \ufffd of it"


def test_half_an_emoji_in_a_file_is_mended(tmp_path: Path) -> None:
    lines = [{"input": f"{i} {HALF}", "target": "ab"[i % 2], "\ud83d": 1} for i in range(8)]
    (path := tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (other := tmp_path / "task.json").write_text(json.dumps({"examples": lines, "canary": HALF}))
    (table := tmp_path / "mine.csv").write_bytes(f"input,target\n1 {HALF},a\n2,a\n3,b\n4,b\n".encode("utf-8", "surrogatepass"))
    frame = pd.DataFrame(lines, columns=["input", "target"], dtype=object)
    for task in (Task.from_jsonl(path), bbeh(other), Task.from_csv(table), Task.from_frame(frame)):
        texts = list(task.frame()["input"])
        assert f"1 {WHOLE}" in texts and not any("\ud83d" in text for text in texts)
        gb.Case(tmp_path / task.source["loader"], task=task).close()
        assert gb.Recording(tmp_path / task.source["loader"]).task == task
    with pytest.raises(TaskError) as raised:
        Task.from_jsonl(path, input="\ud83d\ud83d")
    str(raised.value).encode()


def test_half_an_emoji_in_any_text_of_a_task_is_mended(tmp_path: Path) -> None:
    frame = pd.DataFrame({"input": list("abcdef"), "target": [HALF, "x"] * 3}, dtype=object)
    texts = {name: f"{name} {HALF}" for name in ("name", "description", "seed_prompt", "format_instruction")}
    for answer in ({"labels": [HALF, "x"]}, {"answer": LabelAnswer(labels=(HALF, "x"))}, {"answer": "text"}):
        task = Task.from_frame(frame, **texts, **answer)
        assert all(getattr(task, name) == f"{name} {WHOLE}" for name in texts)
        assert task.correct(task.parse(f"Answer: {HALF}"), WHOLE)
        gb.Case(path := tmp_path / task.answer.kind / str(len(answer)) / repr(answer)[:9].strip("{'"), task=task).close()
        assert gb.Recording(path).task == task
        for shown in (repr(task), task._repr_html_(), json.dumps(task.settings(), ensure_ascii=False)):
            shown.encode()
    assert Example(id=HALF, input=HALF, target=HALF) == Example(id=WHOLE, input=WHOLE, target=WHOLE)


def edits(case: gb.Case) -> list:
    replaced = ("prediction", "evaluation", "output_critique", "prompt_critique")
    return [gb.edits.replace(stage, example=case[1].batch[0], text=HALF) for stage in replaced] + [
        gb.edits.replace("candidate", candidate=0, text=HALF)
    ]


def test_half_an_emoji_that_is_said_or_typed_is_mended(tmp_path: Path) -> None:
    def says(messages: list[dict], body: dict) -> str:
        return f"{HALF} {reply(messages, body)}"

    with Stub(reply=says) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
        method = gb.Method(templates=gb.Templates(rewrite=gb.Templates().rewrite + HALF))
        case = gb.Case(tmp_path / "case", task=small_task(), model=model, method=method, title=HALF)
        case.step()
        case.write_note(1, HALF)
        for edit in edits(case):
            case.perturb(1, edit, note=HALF)
        read = gb.Recording(tmp_path / "case")
        assert read.title == WHOLE and read.note(1) == WHOLE and len(read) == len(case) > 4
        assert [read[n] for n in range(len(read))] == [case[n] for n in range(len(case))]
        assert all(json.dumps(read[n].model_dump(), ensure_ascii=False).encode() for n in range(len(read)))
        for name in ("case.ipynb", "case.html"):
            assert "\ufffd" in case.export(tmp_path / name).read_text(encoding="utf-8")
        with pytest.raises(GradbookError) as raised:
            case.branch(1, gb.edits.replace(HALF, text=HALF))
        str(raised.value).encode()
