"""A case: stepping, branching, undoing, noting, reopening."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gradbook as gb
from gradbook.errors import CaseError, EditError, MethodError, ModelError
from small import reply, small_task
from stub import Stub

CRITIQUE, RULE, REWRITE = "What is the input about", "Which rule should", "Rules to add:"  # words of the meta-prompts


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


@pytest.fixture
def case(stub, tmp_path):
    model = gb.connect("small", base_url=stub.url, api_key="k")
    return gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(candidates=2))


def texts(stub, word: str) -> list[str]:
    """The user messages the stub was sent that contain `word`."""
    return [r.body["messages"][-1]["content"] for r in stub.requests if word in r.body["messages"][-1]["content"]]


def test_a_step_runs_every_stage_and_the_score_moves(case):
    step = case.step()
    assert step.done and step.id == 1 and len(step.batch) == 3
    assert [len(getattr(step, stage)) for stage in step.stages[:4]] == [3, 3, 3, 3]
    assert len(step.rewrite) == 2
    assert step.select.scores["-1"] == pytest.approx(1 / 3)
    assert case.metrics(step).accuracy.value > 1 / 3
    assert step.select.chosen >= 0 and "means" in step.chosen_prompt


def test_the_next_step_begins_with_the_chosen_prompt(case):
    first, second = case.step(), case.step()
    assert second.parent == first.id and second.prompt == first.chosen_prompt and second.depth == 2
    assert set(first.batch) | set(second.batch) == {e.id for e in case.task.train}, "an epoch sees every example once"


def test_one_edit_runs_only_what_depends_on_it(case, stub):
    step = case.step()
    before = len(stub.requests)
    position = next(i for i, c in enumerate(step.prompt_critique) if c.text == "Nothing to change.")
    branch = case.perturb(step, gb.edits.replace("prompt_critique", example=position, text="red means K1", why="try"))
    new = [r.body["messages"][-1]["content"] for r in stub.requests[before:]]
    assert sum(REWRITE in text for text in new) == 2, "both candidates are rewritten"
    assert not any(RULE in text or CRITIQUE in text for text in new), "no critique is asked for again"
    scored = [text for text in new if REWRITE not in text]
    assert len(scored) == 6 * len({c.prompt for c in branch.rewrite} - {step.prompt} - {c.prompt for c in step.rewrite})
    assert branch.origin == step.id and branch.parent == step.parent and branch.depth == step.depth
    assert branch.output_critique == step.output_critique
    edit = branch.edits[0]
    assert (edit.before, edit.text, edit.why) == ("Nothing to change.", "red means K1", "try")


@pytest.mark.parametrize(
    ("field", "text", "asked_again"),
    [
        ("label", "K2", (CRITIQUE, RULE)),
        ("evaluation", "Bad.", (CRITIQUE, RULE)),
        ("output_critique", "red should be K2", (RULE,)),
        ("prediction", "K3", (CRITIQUE, RULE)),
    ],
)
def test_an_edit_of_one_example_leaves_the_others_alone(case, stub, field, text, asked_again):
    step = case.step()
    before = len(stub.requests)
    branch = case.perturb(step, gb.edits.replace(field, example=0, text=text))
    new = [r.body["messages"][-1]["content"] for r in stub.requests[before:]]
    for word in (CRITIQUE, RULE):
        assert sum(word in t for t in new) <= (1 if word in asked_again else 0)
    assert branch.prompt_critique[1:] == step.prompt_critique[1:]


def test_a_label_edit_reaches_the_critic_but_not_the_score(case):
    step = case.step()
    branch = case.perturb(step, gb.edits.replace("label", example=0, text="K3"))
    assert branch.evaluate[0].label == "K3" and "K3" in branch.evaluate[0].text
    assert branch.predict == step.predict


def test_a_candidate_and_a_selection_are_edited(case):
    step = case.step()
    branch = case.perturb(step, gb.edits.replace("candidate", candidate=0, text="red means K1. green means K2. blue means K3."))
    assert branch.select.chosen == 0 and case.metrics(branch).accuracy.value == 1.0
    back = case.perturb(branch, gb.edits.replace("selection", text="-1"))
    assert back.chosen_prompt == step.prompt


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda: gb.edits.replace("critique", example=0, text="x"), "'critique' cannot be edited"),
        (lambda: gb.edits.replace("prompt_critique", text="x"), "needs example="),
        (lambda: gb.edits.replace("candidate", text="x"), "needs candidate="),
        (lambda: gb.edits.replace("prompt_critique", example=7, text="x"), "no example 7"),
        (lambda: gb.edits.replace("prompt_critique", example="nobody", text="x"), "'nobody'"),
        (lambda: gb.edits.replace("label", example=0, text="K9"), "not a label"),
        (lambda: gb.edits.replace("selection", text="5"), "not '5'"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused_in_a_sentence(case, edit, said):
    step = case.step()
    with pytest.raises(EditError, match=said):
        case.perturb(step, edit())
    assert len(case) == 2, "nothing was recorded"


@pytest.mark.parametrize(("stage", "number", "said"), [("rewrite", 0, "must be 1 or more"), ("guess", 1, "no stage 'guess'")])
def test_a_replicate_that_cannot_be_is_refused_in_a_sentence(case, stage, number, said):
    step = case.step()
    with pytest.raises(EditError, match=said):
        case.replicate(step, stage, number)
    assert len(case) == 2, "nothing was recorded"


def test_an_edit_that_changes_nothing_is_refused(case):
    step = case.step()
    with pytest.raises(EditError, match="nothing was changed"):
        case.perturb(step, gb.edits.replace("prompt_critique", example=0, text=step.prompt_critique[0].text))


def test_rerunning_without_a_change_makes_no_call(case, stub):
    step = case.step()
    before = len(stub.requests)
    case.undo()
    again = case.step()
    assert len(stub.requests) == before
    assert again.id != step.id and again.model_dump(exclude={"id"}) == step.model_dump(exclude={"id"})


def test_an_effect_is_judged_by_draws_of_both_arms(case, stub):
    step = case.step()
    branch = case.perturb(step, gb.edits.replace("candidate", candidate=0, text="red means K1. green means K2. blue means K3."))
    found = case.compare(step, branch, "validation", replicates=3)
    assert found.after.metrics.accuracy.value == 1.0 and found.difference == pytest.approx(1 - found.before.metrics.accuracy.value)
    assert len(found.before.floor) == len(found.after.floor) == 3 and found.broken == 0
    before = len(stub.requests)
    assert case.compare(step, branch, "validation", replicates=3) == found and len(stub.requests) == before, (
        "what is on record costs nothing"
    )


def test_draws_of_a_critique_edit_rewrite_in_both_arms(case, stub):
    step = case.step()
    branch = case.perturb(step, gb.edits.replace("prompt_critique", example=0, text="blue means K3"))
    found = case.compare(step, branch, "validation", replicates=2)
    assert found.before.fresh_from == found.after.fresh_from == "rewrite"
    for arm in (step, branch):
        replicates = [s for s in case if s.replicate_of == arm.id]
        assert len(replicates) == 2 and all(s.prompt_critique == arm.prompt_critique for s in replicates)
    assert case.current.id == branch.id, "replicates do not move the person"


def test_a_case_reopens_where_it_was_left(case, stub, tmp_path):
    step = case.step()
    case.write_note(step, "what I *saw*")
    case.undo()
    case.close()
    again = gb.Case(tmp_path / "case")
    assert again.current.id == 0 and again.note(1) == "what I *saw*" and again[1].model_dump() == step.model_dump()
    assert again.spent == case.spent and again.spent.calls == len(stub.requests)
    with pytest.raises(ModelError, match="without a model"):
        again.step()


def test_a_torn_last_line_is_dropped_and_the_stage_runs_again(case, stub, tmp_path):
    case.step()
    case.close()
    journal = tmp_path / "case" / "journal.jsonl"
    whole = journal.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    journal.write_bytes(whole[: last + 40])
    before = len(stub.requests)
    again = gb.Case(tmp_path / "case", model=gb.connect("small", base_url=stub.url, api_key="k"))
    assert not again[1].done
    assert again.step().done and len(stub.requests) == before, "every call was in the cache"


def test_a_damaged_line_is_named(case, tmp_path):
    case.step()
    case.close()
    journal = tmp_path / "case" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    lines[4] = lines[4].replace('"event"', '"evnt"')
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(CaseError, match=r"journal\.jsonl, line 5, is damaged"):
        gb.Case(tmp_path / "case")


def test_a_newer_schema_is_refused(case, tmp_path):
    case.close()
    journal = tmp_path / "case" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"schema_version":4', '"schema_version":99'))
    with pytest.raises(CaseError, match="install a newer gradbook"):
        gb.Case(tmp_path / "case")


def test_a_second_process_reads_only_and_is_told_so(case, tmp_path):
    case.step()
    code = f"""
import warnings, gradbook as gb
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    case = gb.Case({str(tmp_path / "case")!r})
print(case.read_only, len(case), any("another kernel" in str(w.message) for w in caught))
try:
    case.write_note(1, "no")
except gb.GradbookError as error:
    print(type(error).__name__)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["True", "2", "True", "CaseError"]


def test_opening_again_in_the_same_kernel_takes_the_case_over(case, tmp_path):
    case.step()
    again = gb.Case(tmp_path / "case")
    assert not again.read_only and case.read_only and "again in this kernel" in case.read_only_because


def test_a_case_keeps_its_task_and_seed(case, tmp_path):
    with pytest.raises(CaseError, match="other examples"):
        gb.Case(tmp_path / "case", task=small_task(train=9))
    with pytest.raises(CaseError, match="seed"):
        gb.Case(tmp_path / "case", seed=5)
    with pytest.raises(CaseError, match="pass task="):
        gb.Case(tmp_path / "nothing")


def test_a_fork_leaves_the_recorded_case_alone(case, tmp_path):
    case.step()
    fork = case.fork(tmp_path / "fork")
    fork.write_note(1, "mine")
    assert fork.note(1) == "mine" and case.note(1) == "" and len(fork) == len(case)


def test_a_stage_that_fails_is_run_again_without_paying_twice(case, stub):
    stub.fail(400, times=1)
    with pytest.raises(ModelError, match="400"):
        case.step()
    assert case.current.next_stage == "predict"
    assert case.step().done
    answered = [(r.body["messages"][-1]["content"], r.body["seed"], str(r.body["messages"][0])) for r in stub.requests if r.fault is None]
    assert len(answered) == len(set(answered)), "no call that had been answered was made again"


def test_what_a_stage_paid_before_it_failed_is_counted(case, stub):
    stub.fail(400, times=1)
    with pytest.raises(ModelError):
        case.step()
    case.step()
    answered = [r for r in stub.requests if r.fault is None]
    assert case.spent.calls == len(answered) == (~case.calls()["cached"]).sum()


def test_a_method_changed_in_the_settings_holds_from_the_next_step(case, tmp_path):
    case.step()
    case.close()
    settings = tmp_path / "case" / "case.toml"
    settings.write_text(settings.read_text().replace("batch_size = 3", "batch_size = 2"))
    again = gb.Case(tmp_path / "case")
    assert again.method.batch_size == 2 and len(again.begin().batch) == 2
    again.close()
    settings.write_text(settings.read_text().replace("batch_size = 2", "batch_size = 0"))
    with pytest.raises(CaseError, match=r"case\.toml, \[method\].*batch_size"):
        gb.Case(tmp_path / "case")


def test_a_method_given_with_templates_is_kept(case, stub, tmp_path):
    case.close()
    method = gb.Method(selection="naive", templates=gb.Templates(rewrite="Shorter, please: {prompt} {critiques}"))
    gb.Case(tmp_path / "case", method=method).close()
    assert gb.Case(tmp_path / "case").method == method


def test_a_case_that_could_not_be_opened_lets_its_folder_go(case, tmp_path):
    case.close()
    with pytest.raises(CaseError, match="seed"):
        gb.Case(tmp_path / "case", seed=9)
    assert not gb.Case(tmp_path / "case").read_only


def test_naive_selection_takes_the_candidate_without_scoring(stub, tmp_path):
    model = gb.connect("small", base_url=stub.url, api_key="k")
    case = gb.Case(tmp_path / "naive", task=small_task(), model=model, method=gb.Method(selection="naive"))
    step = case.step()
    assert step.select.chosen == 0 and step.select.scores == {} and len(stub.requests) == 3 + 3 + 3 + 1


def test_the_old_prompt_wins_a_tie(stub, tmp_path):
    task = small_task()
    model = gb.connect("small", base_url=stub.url, api_key="k")
    templates = gb.Templates(prompt_critique="Say nothing new. {prompt} {output_critique}")
    case = gb.Case(tmp_path / "tie", task=task, model=model, method=gb.Method(templates=templates))
    step = case.step()
    assert step.select.chosen == -1 and step.chosen_prompt == task.seed_prompt


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"selection": "naive", "candidates": 3}, "takes the one candidate"),
        ({"candidates": 9}, "candidates"),
        ({"candidates": 0}, "1 to 5"),
        ({"batch_size": 0}, "batch_size"),
        ({"selection": "best"}, "selection"),
    ],
)
def test_a_method_that_makes_no_sense_is_refused(settings, said):
    with pytest.raises(MethodError, match=said):
        gb.Method(**settings)


@pytest.mark.parametrize(("text", "said"), [("new: {critiques}", "{prompt}"), ("{prompt} {critiques} {x}", "{x}")])
def test_a_template_is_checked(text, said):
    with pytest.raises(MethodError, match=said):
        gb.Templates(rewrite=text)


def test_the_best_step_is_found_by_its_score(case):
    with pytest.raises(CaseError, match=r"no step of .* is scored on test"):
        case.best("test")
    step = case.step()
    assert case.best().id == step.id and case.metrics(step).accuracy.value > case.metrics(0).accuracy.value
    same = case.perturb(step, gb.edits.replace("selection", text="1" if step.select.chosen == 0 else "0"))
    assert same.chosen_prompt == step.chosen_prompt and case.best().id == step.id, "the earliest where several are as good"
    case.score(0, "test")
    assert case.best("test").id == 0
    case.score(step, "test")
    assert case.best("test").id == step.id


def test_a_table_says_how_each_step_was_made(case):
    step = case.step()
    case.use(gb.Method(update="improve", selection="random", candidates=2))
    other = case.step()
    rows = case.steps()
    assert rows.loc[step.id, "method"] == "three-stage, correct labels, direct, validated of 2"
    assert rows.loc[other.id, "method"] == "improve, random of 2"
    assert rows.loc[step.id, "batch"] == sum(p.correct for p in step.predict) / 3 and rows["agreement"].isna().all()
    assert rows.loc[other.id, "depth"] == 2 and rows.loc[other.id, "chosen"] in (0, 1)


def test_tables_and_calls(case, stub):
    step = case.step()
    steps = case.steps()
    assert list(steps.index) == [0, 1] and steps.loc[1, "parent"] == 0 and steps.loc[1, "validation"] == case.metrics(step).accuracy.value
    assert set(case.predictions()["example"]) == set(step.batch)
    calls = case.calls()
    assert len(calls) == len(stub.requests) and calls["prompt_tokens"].sum() == case.spent.prompt_tokens
    assert {"task", "critic", "optimizer"} == set(calls["role"])
    assert case.scores()["accuracy"].between(0, 1).all()


def test_a_draw_stands_in_the_table_with_its_own_answers(tmp_path):
    def unsure(messages, body):
        return f"K{1 + body['seed'] % 3}" if messages[0]["role"] == "system" else reply(messages, body)

    with Stub(reply=unsure) as stub:
        case = gb.Case(tmp_path / "c", task=small_task(6, 30, 30), model=gb.connect("m", base_url=stub.url, api_key="k"))
        case.score(case.step())
        draws = [case.replicate(1, "rewrite", number) for number in (1, 2)]
        assert {step.chosen_prompt for step in draws} == {case[1].chosen_prompt}
        for step in draws:
            case.score(step, "validation", step.replicate)
        asked = [case.metrics(step, "validation", step.replicate).accuracy.value for step in [case[1], *draws]]
        assert len(set(asked)) > 1 and list(case.steps()["validation"].iloc[1:]) == asked


def test_separate_models_play_the_roles(tmp_path):
    with Stub(reply=reply) as one, Stub(reply=reply) as two, Stub(reply=reply) as three:
        models = [gb.connect(name, base_url=s.url, api_key="k") for name, s in zip("abc", (one, two, three), strict=True)]
        roles = dict(zip(("model", "critic", "optimizer"), models, strict=True))
        case = gb.Case(tmp_path / "roles", task=small_task(), **roles, method=gb.Method(candidates=1))
        case.step()
        assert {len(two.requests), len(three.requests)} == {6, 1}
        assert all(r.body["messages"][0]["role"] == "system" for r in one.requests)


def test_no_key_reaches_a_file(tmp_path, monkeypatch):
    key = "sk-secret-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("GRADBOOK_CACHE", str(tmp_path / "cache"))
    with Stub(reply=reply, key=key) as stub:
        case = gb.Case(tmp_path / "case", task=small_task(), model=gb.connect("small", base_url=stub.url))
        step = case.step()
        case.perturb(step, gb.edits.replace("prompt_critique", example=0, text="blue means K3"))
        case.export(tmp_path / "case.ipynb")
        case.export(tmp_path / "case.html")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 6
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_the_journal_is_json_lines_with_the_schema_first(case, tmp_path):
    case.step()
    lines = [json.loads(line) for line in Path(tmp_path / "case" / "journal.jsonl").read_text().splitlines()]
    assert lines[0]["event"] == "case" and lines[0]["schema_version"] == 4
    assert {line["event"] for line in lines} >= {"task", "method", "model", "prompt", "step", "stage", "score"}
