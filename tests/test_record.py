"""The record: numbers that belong to what made them, nothing torn, nothing outside the folder; each a fault that was seen."""

import asyncio
import copy
import gc
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gradbook as gb
from gradbook import background, edits
from gradbook.errors import CaseError, GradbookError
from gradbook.events import EVENT
from gradbook.journal import fold
from small import reply, small_task
from stub import Stub

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden" / "journal.schema4.json"
GOOD = "red means K1. green means K2. blue means K3."


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


def connect(stub, name="small", **options) -> gb.Model:
    return gb.connect(name, base_url=stub.url, api_key="k", **({"cache": False} | options))


def make(stub, path, name="small", **settings) -> gb.Case:
    return gb.Case(path, task=small_task(), model=connect(stub, name), method=gb.Method(**{"candidates": 2} | settings))


def by_model(messages, body):
    """Model B never follows a rule, so that the same prompts score otherwise under it."""
    return "K3" if body["model"] == "B" and messages[0]["role"] == "system" else reply(messages, body)


# --- one model a comparison ----------------------------------------------------------------------------------------------


def test_numbers_of_two_models_never_meet(tmp_path):
    with Stub(reply=by_model) as stub:
        case = make(stub, tmp_path / "case", "A", selection="naive", candidates=1)
        first, second = case.step(), case.step()
        by_a = case.compare(0, second, "test", replicates=2)
        assert by_a.model == "A" and by_a.difference > 0
        case.close()
        case = gb.Case(tmp_path / "case", model=connect(stub, "B"))
        assert case.metrics(second, "test") == by_a.after.metrics and case.shown_model()["name"] == "A", "B has no score to show yet"
        by_b = case.compare(0, second, "test", replicates=2)
        assert by_b.model == "B" and by_b.difference == 0 and by_b.before.metrics.accuracy.value == pytest.approx(1 / 3)
        assert by_b.before.floor == pytest.approx((1 / 3,) * 2), "the noise floor is B's alone"
        assert case.shown_model()["name"] == "B" and case.other_models == ["A"]
        assert set(case.scores()["model"]) == {"A", "B"} and set(case.steps()["scored_by"]) == {"B"}
        assert {facts["name"] for models in case.models_of(first).values() for facts in models.values()} == {"A"}
        page = case.export(tmp_path / "case.html").read_text()
        assert "as task in steps 1, 2; as critic in steps 1, 2; as optimizer in steps 1, 2" in page and "its scores are shown" in page


def test_arms_that_different_models_made_are_refused_unless_asked_for(tmp_path):
    with Stub(reply=by_model) as stub:
        case = make(stub, tmp_path / "case", "A")
        step = case.step()
        case.close()
        case = gb.Case(tmp_path / "case", model=connect(stub, "B"))
        branch = case.perturb(step, edits.replace("prompt_critique", example=0, text="blue means K3"))
        with pytest.raises(CaseError, match="step 1 was made by A and step 2 by B"):
            case.compare(step, branch, "test")
        found = case.compare(step, branch, "test", replicates=0, across_models=True)
        assert found.mixed == ("A", "B") and "different models" in str(found)
        again = case.replicate(step, "rewrite", 1)
        assert case.compare(again, branch, "test", replicates=0).mixed == (), "made again by the model at hand, the two may meet"


def test_the_default_split_is_one_that_no_selection_has_looked_at(stub, tmp_path):
    case = make(stub, tmp_path / "validated")
    step = case.step()
    assert case.compare(0, step, replicates=0).split == "test"
    asked = case.compare(0, step, "validation", replicates=0)
    assert asked.chosen_here and "selection has looked at this split" in str(asked)
    naive = make(stub, tmp_path / "naive", selection="naive", candidates=1)
    found = naive.compare(0, naive.step(), replicates=0)
    assert found.split == "validation" and not found.chosen_here


def test_a_prompt_that_was_scored_and_is_no_steps_can_be_read_back(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    scored = {case.prompt_text(q.prompt) for q in case.recorded_questions()}
    assert scored >= {candidate.prompt for candidate in step.rewrite}
    with pytest.raises(CaseError, match="holds no prompt"):
        case.prompt_text("0" * 64)
    lines = (tmp_path / "case" / "journal.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines if '"event":"prompt"' in line]
    assert len(texts) == len(set(texts)) and not any(step.chosen_prompt in line for line in lines if '"event":"prompt"' not in line)


# --- replicates and edits ------------------------------------------------------------------------------------------------


def test_what_branches_off_a_replicate_is_a_replicate_too(tmp_path):
    def answers(messages, body):
        return f"{reply(messages, body)} {body['seed']}" if "Rules to add:" in messages[-1]["content"] else reply(messages, body)

    with Stub(reply=answers) as stub:
        case = make(stub, tmp_path / "case", selection="naive", candidates=1)
        step = case.step()
        again = case.replicate(step, "output_critique", 1)
        branch = case.perturb(again, edits.replace("prompt_critique", example=0, text="blue means K3"))
        assert (branch.replicate, branch.fresh_from, branch.replicate_of) == (1, "output_critique", None)
        assert {line[-1] for line in case.calls()["for"].str.split("/") if line[1] == str(branch.id)} == {"1"}, (
            "all of it runs as replicate 1"
        )
        assert case.replicates(step, "output_critique") == {1: case[again.id]}
        assert case.replicate(step, "output_critique", 1).id == again.id, "what is on record is not run again"
    shown = gb.Recording(tmp_path / "case")
    assert shown[branch.id] == case[branch.id] and shown.replicates(step, "output_critique")[1].id == again.id


def test_edits_are_executed_at_their_stage_in_their_order_and_seen_from_every_branch(stub, tmp_path):
    case = make(stub, tmp_path / "case", selection="naive", candidates=1)
    step = case.step()
    dropped = case.perturb(step, edits.drop("prompt_critique", example=0), edits.double("prompt_critique", example=1, times=3))
    assert [c.example for c in dropped.prompt_critique] == [step.batch[1]] * 3 + [step.batch[2]]
    asked = [r.body["messages"][-1]["content"] for r in stub.requests if "Rules to add:" in r.body["messages"][-1]["content"]][-1]
    assert asked.count(f"- {step.prompt_critique[1].text}") == 3 and f"- {step.prompt_critique[0].text}\n" not in asked
    first = case.perturb(
        step, edits.replace("prompt_critique", example=0, text="one", why="a"), edits.replace("prompt_critique", example=0, text="two")
    )
    assert first.prompt_critique[0].text == "two" and [e.before for e in first.edits] == [step.prompt_critique[0].text, "one"]
    assert first.edits[0].at and first.edits[0].by == "hand" and first.edits[0].why == "a"
    second = case.perturb(first, edits.replace("candidate", candidate=0, text=GOOD))
    assert [(c.step, c.superseded) for c in case.changes(second)] == [(first.id, True), (first.id, False), (second.id, False)]
    assert case.changes(second)[1].edit.text == "two", "text by hand two branches up is known as such"


# --- many at once --------------------------------------------------------------------------------------------------------


def test_four_threads_make_four_hundred_branches_and_another_process_reads_only(stub, tmp_path):
    case = make(stub, tmp_path / "case", selection="naive", candidates=1)
    step = case.step()
    opening = f"c = gb.Case({str(tmp_path / 'case')!r}); print(c.read_only_because)"
    code = f"import gradbook as gb, warnings; warnings.simplefilter('ignore'); {opening}"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    def branch(n: int) -> int:
        return case.branch(step, edits.replace("prompt_critique", example=0, text=f"rule {n}")).id

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(branch, range(400)))
    assert "another kernel has it open" in other.communicate(timeout=60)[0]
    assert sorted(ids) == list(range(2, 402)) and len(case) == 402
    assert len({s.edits[0].text for s in gb.Recording(tmp_path / "case") if s.edits}) == 400


# --- money ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": -5, "completion_tokens": 3}])
def test_usage_that_is_not_known_is_shown_as_unknown(usage, tmp_path):
    def uncounted(messages, body):
        return {"choices": [{"message": {"content": reply(messages, body)}, "finish_reason": "stop"}], "usage": usage}

    with Stub(reply=uncounted) as stub:
        model = connect(stub, price=(1.0, 1.0))
        case = gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(selection="naive"))
        case.step()
        assert case.spent.unknown == case.spent.calls == len(stub.requests) and case.spent.cost is None
        assert "usage unknown" in str(case.spent)


def test_the_ledger_alone_says_what_was_paid(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    assert case.spent.calls == len(stub.requests) == case.calls()["paid"].sum()
    assert case.spent_on(step).calls == sum(line.startswith("step/1/") for line in case.calls()["for"])
    assert gb.Recording(tmp_path / "case").spent == case.spent
    ledger = tmp_path / "case" / "calls.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    case.close()
    ledger.write_bytes(b"".join([*lines[:3], b'{"for": 5}\n', *lines[3:]]))
    with pytest.raises(CaseError, match=r"calls\.jsonl, line 4, is damaged"):
        _ = gb.Recording(tmp_path / "case").spent


# --- executors -----------------------------------------------------------------------------------------------------------


def in_child(work) -> int:
    child = os.fork()
    if not child:
        signal.alarm(30)
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a POSIX system forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_calls_its_model_and_writes_to_no_case_of_its_parent(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    case.step()
    assert in_child(lambda: case.models["task"].ask("again?").startswith("The output")) == 0
    size = (tmp_path / "case" / "journal.jsonl").stat().st_size

    def writes() -> bool:
        with pytest.raises(CaseError, match="forked"):
            case.write_note(1, "from the child")
        return True

    assert in_child(writes) == 0 and (tmp_path / "case" / "journal.jsonl").stat().st_size == size
    case.write_note(1, "from the parent")


def test_models_and_steps_travel_without_a_key(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-a-test")
    model = gb.connect("small", base_url=stub.url, cache=False)
    case = gb.Case(tmp_path / "case", task=small_task(), model=model)
    step = case.step()
    assert pickle.loads(pickle.dumps(step)) == copy.deepcopy(step) == step
    sent = pickle.dumps(model)
    assert b"sk-secret" not in sent and pickle.loads(sent).id == copy.deepcopy(model).id == model.id
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(gb.Model.ask, (model, "Hello?")) == model.ask("Hello?")


def test_blocking_on_the_loop_itself_is_refused_and_the_twin_works_there(stub, tmp_path):
    case = make(stub, tmp_path / "case")

    async def wrong() -> None:
        case.step()

    with pytest.raises(GradbookError, match="await its twin"):
        background.run(wrong())
    assert background.run(case.astep()).done

    async def elsewhere() -> gb.records.Step:
        return await case.aperturb(1, edits.replace("prompt_critique", example=0, text="blue means K3"))

    assert asyncio.run(elsewhere()).done


def test_locks_and_answers_do_not_pile_up(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    for _ in range(5):
        case.step()
    assert not case.runner._locks and not case.runner._meters and not case.runner._judged and not case._ledger._found
    assert not any(hasattr(entry, "answers") for entry in case._state.scores.values())


def test_of_large_scores_only_so_many_calls_are_begun_at_once(tmp_path):
    with Stub(reply=reply, gate=True) as stub:
        case = gb.Case(tmp_path / "case", task=small_task(3, 400, 3), model=connect(stub, concurrency=20))
        scores = [background.submit(case.ascore(0, "validation", number)) for number in range(3)]
        stub.wait_for(20)
        begun = [task for task in asyncio.all_tasks(background.loop()) if "answer" in repr(task.get_coro())]
        assert 20 < len(begun) < 300
        seen = []
        with case.runner.listen(lambda name, done, asked: seen.append((done, asked))):
            stub.open_gate()
            assert [score.result().accuracy.total for score in scores] == [400] * 3
        assert len(stub.requests) == 3 * 400 and (1200, 1200) in seen and {asked for _, asked in seen} == {1200}


# --- text as it was ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\u2028", "\x85"])
def test_every_line_break_is_sent_again_as_it_was(stub, tmp_path, end):
    task = gb.Task(**{**small_task().__dict__, "format_instruction": f"Answer{end}with one code."})
    case = gb.Case(
        tmp_path / "case", task=task, model=connect(stub), method=gb.Method(templates=gb.Templates(improve=f"Better:{end}{{prompt}}"))
    )
    before = case.method, case.task.system("x")
    case.close()
    again = gb.Case(tmp_path / "case", model=connect(stub))
    assert (again.method, again.task.system("x")) == before


def test_a_call_that_lands_after_its_case_was_closed_is_in_the_sums_of_who_opens_it_next(stub, tmp_path):
    case = make(stub, tmp_path / "case", selection="naive", candidates=1)
    step = case.step()
    case.close()
    line = next(line for line in case._ledger.lines() if line.paid)
    again = gb.Case(tmp_path / "case", model=connect(stub))
    before = again.spent.calls
    case._ledger.add(("step", step.id, "select", "late", 0, 0), line.role, line.model, line.call)
    again.score(0, "validation")
    assert again.spent.calls == sum(line.paid for line in again._ledger.lines()) == before + 1 + 6


# --- schemas -------------------------------------------------------------------------------------------------------------


def test_the_schema_changes_only_with_its_number():
    schema = json.dumps(EVENT.json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert GOLDEN.read_text(encoding="utf-8") == schema, (
        "the journal's events have changed: give the schema a new number, an upgrade and a file"
    )


@pytest.mark.parametrize("name", ["first_step", "every_arm", "four_updates"])
def test_a_case_of_the_first_schema_opens_steps_compares_and_is_kept(name, tmp_path):
    def label(messages, body):
        return f"Answer: {old.task.train[0].target}" if messages[0]["role"] == "system" else "Inputs about parcels get K2."

    old = gb.Recording(ROOT / "tests" / "golden" / "schema1" / name)
    journal = (old.path / "journal.jsonl").read_bytes()
    assert b'"schema_version":1' in journal[:200] and (old.path / "journal.jsonl").read_bytes() == journal
    lines = [json.loads(line) for line in (old.path / "calls.jsonl").read_bytes().splitlines()]
    assert old.spent.calls == sum(not line["call"]["cached"] for line in lines)
    assert all(case_score.answers for case_score in map(old.recorded, old.recorded_questions()))
    copied = old.copy(tmp_path / "case")
    with Stub(reply=label) as stub:
        case = gb.Case(copied, model=connect(stub), method=gb.Method(selection="naive", batch_size=2))
        assert (copied / "journal.v1.jsonl").read_bytes() == journal, "the old file is kept beside the new one"
        assert [step.model_dump() for step in case] == [step.model_dump() for step in old]
        done = case.step()
        assert done.done and case.compare(0, done, "test", replicates=1).model == "small"
    assert [s.model_dump() for s in gb.Recording(copied)] == [s.model_dump() for s in case]
    assert fold((copied / "journal.jsonl").read_bytes().splitlines()).current == case.current.id


def test_what_a_newer_version_wrote_is_told_as_such(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    case.close()
    journal = tmp_path / "case" / "journal.jsonl"
    whole = journal.read_bytes()
    for line in (b'{"event":"tomorrow","of":1}\n', b'{"event":"note","step":0,"text":"x","colour":"red"}\n'):
        journal.write_bytes(whole + line)
        with pytest.raises(CaseError, match="install a newer gradbook"):
            gb.Recording(tmp_path / "case")


@pytest.mark.parametrize("file", ["journal.jsonl", "calls.jsonl"])
def test_cut_anywhere_in_its_last_three_lines_a_case_opens_and_goes_on(file, stub, tmp_path):
    case = make(stub, tmp_path / "whole", selection="naive", candidates=1)
    case.step()
    case.write_note(1, "x")
    case.close()
    whole = (tmp_path / "whole" / file).read_bytes()
    start = len(b"\n".join(whole.split(b"\n")[:-4]))
    for cut in range(start, len(whole), 1 if file == "journal.jsonl" else 7):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "cut")
        os.truncate(tmp_path / "cut" / file, cut)
        again = gb.Case(tmp_path / "cut", model=connect(stub))
        assert again.step().done and len(again.calls()) == len(again._ledger.path.read_bytes().splitlines())
        again.close()


JOURNALS_THAT_LIE = {
    "a step its own parent": lambda line: {**line, "step": {**line["step"], "parent": 1}},
    "a parent that is not there": lambda line: {**line, "step": {**line["step"], "parent": 7}},
    "an id far off": lambda line: {**line, "step": {**line["step"], "id": 10**400}},
    "an example of nobody": lambda line: {**line, "step": {**line["step"], "batch": ["nobody"]}},
    "an origin without edits": lambda line: {**line, "shares": ["predict"]},
    "no step at all": lambda line: {**line, "step": []},
    "a list": lambda line: [line],
}


@pytest.mark.parametrize("lie", JOURNALS_THAT_LIE)
def test_a_journal_that_lies_is_refused_with_file_and_line(lie, stub, tmp_path):
    case = make(stub, tmp_path / "case")
    case.step()
    case.close()
    journal = tmp_path / "case" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"event":"step"' in line and '"id":1' in line)
    lines[number] = json.dumps(JOURNALS_THAT_LIE[lie](json.loads(lines[number])))
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(CaseError, match=rf"journal\.jsonl, line {number + 1}, is damaged"):
        gb.Recording(tmp_path / "case")


# --- the machine and strangers -------------------------------------------------------------------------------------------


def test_another_working_folder_changes_nothing(stub, tmp_path, monkeypatch):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        case = make(stub, "case", selection="naive", candidates=1)
        if place == "a":
            first = case
    other = (tmp_path / "b" / "case" / "journal.jsonl").read_bytes()
    first.step()
    first.write_note(1, "in a")
    assert (tmp_path / "b" / "case" / "journal.jsonl").read_bytes() == other and first.path == tmp_path / "a" / "case"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda j: j.unlink(), "was deleted or moved"),
        (lambda j: (j.rename(j.with_suffix(".x")), shutil.copy(j.with_suffix(".x"), j)), "was replaced by another file"),
        (lambda j: os.truncate(j, 200), "was cut while it was open"),
        (lambda j: j.write_bytes(j.read_bytes() + b"{}\n"), "was written by somebody else"),
    ],
)
def test_a_journal_that_changes_under_an_open_case_is_told_and_left_alone(spoil, said, stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    journal = tmp_path / "case" / "journal.jsonl"
    spoil(journal)
    left = journal.read_bytes() if journal.exists() else None
    with pytest.raises(CaseError, match=said):
        case.write_note(1, "x")
    assert (journal.read_bytes() if journal.exists() else None) == left and case[1] == step, (
        "nothing is begun anew, and what was read stays"
    )


@pytest.mark.parametrize("name", ["journal.jsonl", "calls.jsonl", "case.toml", "README.md"])
@pytest.mark.parametrize("target", ["outside", "dangling", "zero", "itself", "pipe", "folder"])
def test_a_case_that_is_not_plain_files_is_refused_by_name_and_nothing_outside_is_touched(name, target, stub, tmp_path):
    case = make(stub, tmp_path / "case")
    case.step()
    case.close()
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret without an end of line")
    file = tmp_path / "case" / name
    file.unlink(missing_ok=True)
    if target == "pipe":
        os.mkfifo(file)
    elif target == "folder":
        file.mkdir()
    else:
        file.symlink_to({"outside": secret, "dangling": tmp_path / "nobody", "zero": "/dev/zero", "itself": file}[target])
    for opened in (lambda: gb.Recording(tmp_path / "case"), lambda: gb.Case(tmp_path / "case", model=connect(stub))):
        with pytest.raises(CaseError, match=rf"{name} is a"):
            opened()
    assert secret.read_text() == "a secret without an end of line" and not (tmp_path / "nobody").exists()


def test_a_foreign_file_is_never_mended(stub, tmp_path):
    (tmp_path / "case").mkdir()
    notes = tmp_path / "case" / "journal.jsonl"
    notes.write_text("my diary, which has no end of line")
    with pytest.raises(CaseError):
        gb.Case(tmp_path / "case", model=connect(stub))
    assert notes.read_text() == "my diary, which has no end of line"


def test_a_copy_takes_only_gradbooks_own_files(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    case.step()
    (tmp_path / "case" / "elsewhere").symlink_to(tmp_path)
    (tmp_path / "case" / "mine.txt").write_text("mine")
    copied = case.copy(tmp_path / "copy")
    assert sorted(p.name for p in copied.iterdir()) == ["calls.jsonl", "case.toml", "journal.jsonl"]


TOML = {
    b"\xff\xfet\x00": "not in UTF-8",
    b'title = 5\n[task]\nname = "x"\n': "needs a title",
    b'title = "x"\ntask = "words"\n': "needs a title",
    b'title = "x"\n[task]\nname = ' + b"1" * 5000 + b"\n": "not valid TOML",
    b"title = " + b"[" * 5000 + b"\n": "not valid TOML",
}


@pytest.mark.parametrize("content", TOML)
def test_odd_settings_are_refused_in_a_sentence(content, stub, tmp_path):
    gc.collect()  # nothing of other tests is to be cleared away at the depth of a nested setting, where no finalizer has room
    case = make(stub, tmp_path / "case")
    case.close()
    (tmp_path / "case" / "case.toml").write_bytes(content)
    with pytest.raises(CaseError, match=rf"case\.toml.*{TOML[content]}"):
        gb.Case(tmp_path / "case")


@pytest.mark.parametrize("path", ["a\0b", "half \ud83d", "x" * 300, "file/case"])
def test_a_path_that_cannot_be_is_refused_in_a_sentence(path, stub, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CaseError):
        gb.Case(f"{tmp_path}/{path}", task=small_task())


FULL = """
import resource, signal, sys, gradbook as gb
from small import small_task
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, url, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
model = gb.connect("small", base_url=url, api_key="k", cache=False)
try:
    case = gb.Case(path, task=small_task(), model=model, method=gb.Method(selection="naive"))
    case.step()
    case.write_note(1, "whole")
    print("done")
except gb.GradbookError as error:
    print("said", error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="a POSIX system limits the size of a file")
def test_a_disk_that_fills_up_is_told_and_the_case_goes_on_once_there_is_room(stub, tmp_path):
    """A limit on the size of a file at many places of a run: one sentence each time, and then the same case as without."""
    whole = make(stub, tmp_path / "whole", selection="naive", candidates=1)
    whole.step()
    whole.write_note(1, "whole")
    size = max((tmp_path / "whole" / name).stat().st_size for name in ("journal.jsonl", "calls.jsonl"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    told = 0
    for n, limit in enumerate(range(40, size, size // 24)):
        folder = tmp_path / f"full-{n}"
        run = [sys.executable, "-c", FULL, str(folder), stub.url]
        said = subprocess.run([*run, str(limit)], capture_output=True, text=True, env=environment, timeout=120)
        assert said.stdout.startswith(("said", "done")), said.stderr
        told += "larger than this system allows" in said.stdout
        done = subprocess.run([*run, str(1 << 30)], capture_output=True, text=True, env=environment, timeout=120)
        assert done.stdout.startswith("done"), done.stdout + done.stderr
        again = gb.Recording(folder)
        assert [s.model_dump() for s in again] == [s.model_dump() for s in whole] and again.note(1) == "whole"
        shutil.rmtree(folder)
    assert told > 12
