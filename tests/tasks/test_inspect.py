"""Logs of Inspect: samples become a task, outputs and what scorers said of them a case; a log is data from whoever wrote it."""

import json
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradbook as gb
from gradbook import background
from gradbook.errors import TaskError
from gradbook.tasks import inspect_logs
from gradbook.tasks.inspect_logs import read_log

SYSTEM = "Answer with one word."
NEEDS = "no Inspect: pip install inspect-ai"


def sample(n: int, **more) -> dict:
    """A sample as Inspect writes it, as far as it is read here."""
    output = "yes" if n % 2 else "no"
    score = {"value": "C" if n % 3 else "I", "answer": output, "explanation": f"It says {output}, see the table.", "metadata": {}}
    return {
        "id": n,
        "epoch": 1,
        "input": f"Is {n} odd?",
        "target": "yes" if n % 2 else "no",
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"Is {n} odd?"},
            {"role": "assistant", "content": output, "source": "generate"},
        ],
        "output": {
            "model": "mock",
            "completion": output,
            "choices": [{"message": {"role": "assistant", "content": output}, "stop_reason": "stop"}],
        },
        "scores": {"model_graded_qa": score},
        "metadata": {},
        "store": {},
        "events": [],
        "model_usage": {},
        "attachments": {},
    } | more


def log(*samples: dict, **more) -> dict:
    """A log as Inspect writes it, format 2."""
    spec = {"task": "parity", "model": "mock/model", "created": "2026-11-01T00:00:00+00:00", "task_id": "t", "run_id": "r", "eval_id": "e"}
    spec |= {"task_version": 0, "task_attribs": {}, "task_args": {}, "dataset": {"name": "d"}, "model_args": {}, "config": {}}
    return {"version": 2, "status": "success", "eval": spec, "samples": list(samples)} | more


def as_json(folder: Path, told: dict, name: str = "parity.json") -> Path:
    (folder / name).write_text(json.dumps(told), encoding="utf-8")
    return folder / name


def as_eval(folder: Path, told: dict, packing: int = zipfile.ZIP_DEFLATED, members: dict[str, bytes] | None = None) -> Path:
    path = folder / "parity.eval"
    with zipfile.ZipFile(path, "w", packing) as packed:
        packed.writestr("header.json", json.dumps({name: part for name, part in told.items() if name != "samples"}))
        for one in told["samples"]:
            packed.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
        packed.writestr("summaries.json", "[]")
        for name, data in (members or {}).items():
            packed.writestr(name, data)
    return path


@pytest.fixture
def plain(monkeypatch):
    """A machine without Inspect."""
    monkeypatch.setattr(inspect_logs, "find_spec", lambda name: None)


@pytest.mark.parametrize("write", [as_json, as_eval])
def test_samples_and_targets_are_a_task(plain, tmp_path, write):
    path = write(tmp_path, log(*map(sample, range(8))))
    task = gb.Task.from_inspect(path, sizes=(4, 2, 2))
    assert task.name == "parity" and task.labels == ("no", "yes") and task.seed_prompt == SYSTEM
    assert {example.input: example.target for split in ("train", "validation", "test") for example in task.split(split)} == {
        f"Is {n} odd?": "yes" if n % 2 else "no" for n in range(8)
    }
    kept = {name: task.source[name] for name in ("loader", "file", "inspect_task", "inspect_model", "sizes")}
    assert kept == {
        "loader": "from_inspect",
        "file": path.name,
        "inspect_task": "parity",
        "inspect_model": "mock/model",
        "sizes": [4, 2, 2],
    }
    assert len(task.source["sha256"]) == 64 and gb.Task.from_inspect(path, seed_prompt="Say.").seed_prompt == "Say."


@pytest.mark.parametrize("write", [as_json, as_eval])
def test_outputs_and_explanations_are_a_first_step(plain, tmp_path, write):
    failed = sample(9, output={"model": "mock", "choices": [], "completion": ""}, error={"message": "no reply"})
    path = write(tmp_path, log(*map(sample, range(9)), failed))
    case = gb.Case.from_feedback(path, path=tmp_path / "case")
    assert (
        case[0].prompt == SYSTEM
        and case.task.name == "parity"
        and case.task.source["columns"]["feedback"] == ["score_model_graded_qa_explanation"]
    )
    assert {c.text for c in case[1].output_critique} == {"It says yes, see the table.", "It says no, see the table."}
    places = {p.brought for p in case[1].predict}
    assert places < {f"{path.name}, sample {n}" for n in range(9)}, "half is held back, and what failed says nothing"
    by_input = {case.task.example(p.example).input: p.output for p in case[1].predict}
    assert by_input == {text: "yes" if int(text.split()[1]) % 2 else "no" for text in by_input}


def test_multiple_choice_is_asked_with_its_choices_and_answered_by_letter(plain, tmp_path):
    more = {"choices": ["Oslo", "Rome", "Bern"], "target": ["B"]}
    path = as_json(tmp_path, log(*(sample(n, **more, input=f"Capital of Italy, try {n}?") for n in range(6))))
    task = gb.Task.from_inspect(path)
    assert task.train[0].input.endswith("\n\nA) Oslo\nB) Rome\nC) Bern") and task.labels == ("A", "B", "C")
    assert task.answer.kind == "label" and task.parse("The answer is B.") == "B" == task.train[0].target
    several = as_json(tmp_path, log(*(sample(n, **more | {"target": ["A", "C"]}) for n in range(6))))
    assert gb.Task.from_inspect(several).train[0].target == "A, C"


def test_messages_parts_and_attachments_are_their_text(plain, tmp_path):
    long = "A long question? " * 20
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "attachment://abc"}]}]
    said = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "attachment://def"}]
    made = {"model": "m", "choices": [{"message": {"role": "assistant", "content": said}}]}
    kept = {"abc": long, "def": "yes"}
    (row,) = read_log(as_json(tmp_path, log(sample(1, input=asked, output=made, attachments=kept)))).frame().to_dict("records")
    assert row["input"] == long and row["output"] == "yes" and row["score_model_graded_qa"] == "C"


def test_epochs_are_one_example_of_a_task_and_outputs_of_their_own(plain, tmp_path):
    again = [sample(n, epoch=2, output={"model": "m", "completion": "maybe", "choices": []}) for n in range(8)]
    found = read_log(as_json(tmp_path, log(*map(sample, range(8)), *again)))
    assert len(found.frame()) == 16 and len(found.questions()) == 8
    assert list(found.frame().index[[0, 8]]) == ["0", "0, epoch 2"] and found.frame().index.name == "parity.json, sample"
    case = gb.Case.from_feedback(tmp_path / "parity.json", path=tmp_path / "case", prompt="Say.")
    assert len({p.example for p in case[1].predict}) == len(case[1].predict) == 8, "of four inputs, two outputs each"


def test_several_scorers_have_to_be_named(plain, tmp_path):
    scores = {name: {"value": 1.0, "explanation": f"{name} says."} for name in ("exact", "judge")} | {"silent": {"value": float("nan")}}
    path = as_json(tmp_path, log(*(sample(n, scores=scores) for n in range(8))))
    with pytest.raises(TaskError, match="'score_exact_explanation', 'score_judge_explanation', 'score_silent_explanation' could each be"):
        gb.Case.from_feedback(path, path=tmp_path / "case")
    case = gb.Case.from_feedback(path, path=tmp_path / "case", feedback="score_judge_explanation")
    assert {c.text for c in case[1].output_critique} == {"judge says."}


def test_a_prompt_that_differs_has_to_be_given(plain, tmp_path):
    other = sample(9, messages=[{"role": "system", "content": "Answer in French."}])
    path = as_json(tmp_path, log(*map(sample, range(8)), other))
    with pytest.raises(TaskError, match="Give prompt="):
        gb.Case.from_feedback(path, path=tmp_path / "case")
    assert gb.Task.from_inspect(path).seed_prompt == "Answer the question."


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (log(), "parity.json has no samples; give a log that was written with them"),
        (log() | {"samples": None}, "parity.json has no samples"),
        ({"version": 2, "samples": [sample(1)]}, "parity.json is no log of Inspect: it holds no eval"),
        (log({"id": 1}), "parity.json, sample number 0, is none of Inspect's: it needs an id, an input and a target."),
        (log(sample(1, target=["yes", "ja"])), "parity.json, sample 1 has 2 targets, any of which is right, and an example has one"),
        (log(sample(1, choices=["x"] * 27)), "parity.json, sample 1 has 27 choices, and 26 are the most"),
        (
            log(sample(1, input=[{"role": "user", "content": [{"type": "image", "image": "data:"}]}])),
            "parity.json, sample 1 holds image in a",
        ),
        (
            log(sample(1, input=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])),
            "parity.json, sample 1 is a conversation with turns of assistant; a task takes one question.",
        ),
        (log(sample(1, input=["Hi"])), "parity.json, sample 1 holds a message that is none"),
        (log(*(sample(n, target="") for n in range(9))), "parity.json, sample 0: column 'target' is empty"),
        (log(sample(0), sample(1)), "2 rows are too few for three splits"),
    ],
)
def test_a_log_that_is_no_task_is_told_in_a_sentence(plain, tmp_path, told, said):
    with pytest.raises(TaskError) as raised:
        gb.Task.from_inspect(as_json(tmp_path, told))
    assert str(raised.value).startswith(said)


def test_a_file_that_is_no_log_is_told(plain, tmp_path):
    (tmp_path / "a.eval").write_bytes(b"PK no zip")
    for path, said in [
        ("a.eval", "a.eval is no .eval log, which is a zip"),
        ("a.txt", "a.txt is no log of Inspect"),
        ("b.eval", "no file"),
    ]:
        with pytest.raises(TaskError, match=said):
            gb.Task.from_inspect(tmp_path / path)
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(TaskError, match=r"a\.json is not JSON"):
        gb.Task.from_inspect(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(TaskError, match=r"a\.json is not in UTF-8"):
        gb.Task.from_inspect(tmp_path / "a.json")


# --- what a stranger may send ----------------------------------------------------------------------------------------------


def test_names_in_a_zip_lead_nowhere_and_nothing_is_written(plain, tmp_path, monkeypatch):
    evil = {"../../evil.json": b"{}", "/etc/evil.json": b"{}", "samples/../../evil.json": json.dumps(sample(7)).encode()}
    path = as_eval(tmp_path, log(*map(sample, range(6))), members=evil)
    before = sorted(tmp_path.rglob("*"))
    assert len(read_log(path).samples) == 7 and sorted(tmp_path.rglob("*")) == before and not (tmp_path.parent / "evil.json").exists()


def test_a_zip_that_unpacks_to_too_much_or_lies_about_it_is_refused(plain, tmp_path, monkeypatch):
    path = as_eval(tmp_path, log(sample(0)), members={"samples/bomb.json": b" " * 5_000_000})
    monkeypatch.setattr(inspect_logs, "MOST_UNPACKED", 1_000_000)
    with pytest.raises(TaskError, match=r"parity.eval holds 4 files of 5,\d{3},\d{3} bytes, and 100,000 of 1,000,000 are the most"):
        read_log(path)
    # the same with a directory that says it is small: no more than it says is read, and that is damaged
    data = bytearray(path.read_bytes())
    real = (5_000_000).to_bytes(4, "little")
    at = data.rfind(real)
    data[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(TaskError, match=r"parity\.eval is damaged|is not JSON"):
        read_log(path)
    monkeypatch.setattr(inspect_logs, "MOST_FILE", 100)
    with pytest.raises(TaskError, match="and 100 are the most that is read"):
        read_log(path)


def test_a_zip_that_is_locked_cut_or_packed_otherwise_is_told(plain, tmp_path):
    data = as_eval(tmp_path, log(*map(sample, range(3)))).read_bytes()
    locked = tmp_path / "locked.eval"
    locked.write_bytes(
        data.replace(b"PK\x01\x02" + data[data.index(b"PK\x01\x02") + 4 :][:4] + b"\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    )
    with pytest.raises(TaskError, match=r"locked.eval is locked with a password"):
        read_log(locked)
    (tmp_path / "cut.eval").write_bytes(data[:-200])
    with pytest.raises(TaskError, match=r"cut.eval is no .eval log"):
        read_log(tmp_path / "cut.eval")
    with pytest.raises(TaskError, match="is packed in a way that only Inspect reads: pip install inspect-ai"):
        read_log(as_eval(tmp_path, log(sample(1)), packing=zipfile.ZIP_LZMA))


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.sampled_from(["", "attachment://a", "text", "user", "system"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "message", "choices", "completion", "value"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(inspect_logs._FIELDS), anything, min_size=1, max_size=3))
def test_whatever_stands_in_a_sample_is_read_or_told(plain, tmp_path, fields):
    try:
        (row,) = read_log(as_json(tmp_path, log(sample(1) | fields))).frame().to_dict("records")
    except TaskError as error:
        assert "parity.json" in str(error) and "\n" not in str(error)
    else:
        assert {type(row[name]) for name in ("id", "input", "target", "output")} == {str}


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_any_damage_is_told_or_does_no_harm(plain, tmp_path, packing):
    data = as_eval(tmp_path, log(sample(0), sample(1)), packing).read_bytes()
    told = 0
    for place in range(0, len(data), 11):
        (tmp_path / "flipped.eval").write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            read_log(tmp_path / "flipped.eval").frame()
        except TaskError:
            told += 1
    assert told > len(data) / 11 / 3


# --- Inspect itself ----------------------------------------------------------------------------------------------------------


RUN = """
import sys
import inspect_ai
from inspect_ai.dataset import Sample
from inspect_ai.log import write_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message

folder, system = sys.argv[1:]
samples = [Sample(id=f"q{n}", input=f"Is {n} odd? {'Really? ' * 30 * (n == 3)}", target="yes" if n % 2 else "no") for n in range(8)]
task = inspect_ai.Task(dataset=samples, solver=[system_message(system), generate()], scorer=includes(), name="parity")
said = ModelOutput.from_content("mockllm/model", "I say yes.")
said.usage = ModelUsage(input_tokens=9, output_tokens=3)  # it would fetch a tokenizer to count them
model = get_model("mockllm/model", custom_outputs=[said] * 16)
(found,) = inspect_ai.eval(task, model=model, log_dir=f"{folder}/logs", display="none", epochs=2)
assert found.status == "success", found.error
for ending in ("eval", "json"):
    write_eval_log(found, f"{folder}/parity.{ending}")
"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Logs of one run of Inspect with its mock model: the object, its `.eval` and its `.json`.

    It runs in a process of its own, since it leaves event loops and sockets open.
    """
    inspect_log = pytest.importorskip("inspect_ai.log", reason=NEEDS)
    folder = tmp_path_factory.mktemp("inspect")
    run = subprocess.run([sys.executable, "-c", RUN, str(folder), SYSTEM], capture_output=True, text=True, cwd=folder)
    assert run.returncode == 0, run.stderr
    data = BytesIO((folder / "parity.json").read_bytes())
    found = background.run(inspect_log.read_eval_log_async(data, format="json", resolve_attachments=True))
    return found, folder / "parity.eval", folder / "parity.json"


@pytest.mark.bridges
@pytest.mark.filterwarnings("ignore")
def test_inspects_own_logs_read_the_same_in_each_form(logs, monkeypatch):
    object_, packed, plain_json = logs
    frames = [read_log(log).frame().reset_index(drop=True) for log in (object_, packed, plain_json)]
    monkeypatch.setattr(inspect_logs, "find_spec", lambda name: None)
    frames.append(read_log(plain_json).frame().reset_index(drop=True))
    with pytest.raises(TaskError, match="is packed in a way that only Inspect reads"):  # with zstandard
        read_log(packed)
    assert all(frame.equals(frames[0]) for frame in frames[1:]) and len(frames[0]) == 16
    assert set(frames[0]["score_includes"]) == {"C", "I"} and set(frames[0]["output"]) == {"I say yes."}


@pytest.mark.bridges
@pytest.mark.filterwarnings("ignore")
def test_a_task_and_a_case_of_inspects_own_log(logs, tmp_path):
    for log in logs:
        task = gb.Task.from_inspect(log)
        assert task.name == "parity" and task.seed_prompt == SYSTEM and task.labels == ("no", "yes")
        assert len(task.frame()) == 8 and any("Really? Really?" in text for text in task.frame()["input"])
    case = gb.Case.from_feedback(logs[1], path=tmp_path / "case")
    assert {c.text for c in case[1].output_critique} == {"I say yes."}, "what `includes` explains is the output"
    assert case[0].prompt == SYSTEM and {p.correct for p in case[1].predict} == {True, False}


@pytest.mark.bridges
@pytest.mark.filterwarnings("ignore")
def test_the_bounds_hold_before_inspect_reads(logs, tmp_path, monkeypatch):
    monkeypatch.setattr(inspect_logs, "MOST_UNPACKED", 1000)
    with pytest.raises(TaskError, match="are the most; split it"):
        read_log(logs[1])
    (tmp_path / "bad.json").write_text('{"eval": {}, "version": 99}')
    with pytest.raises(TaskError, match=r"bad\.json cannot be read as a log of Inspect: "):
        read_log(tmp_path / "bad.json")
