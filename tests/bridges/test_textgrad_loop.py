"""Somebody's own TextGrad loop, kept as a case: it runs as it is, and what it did can be read, exported and gone on from."""

from importlib.util import find_spec

import pytest

import gradbook as gb
from gradbook.engines import textgrad as engine
from gradbook.errors import CaseError
from small import WORDS, small_task

pytestmark = pytest.mark.bridges
if find_spec("textgrad") is None:
    pytest.skip('textgrad is missing: pip install "gradbook[textgrad]"', allow_module_level=True)

PROMPT = "Give each item its code."


@pytest.fixture(scope="module")
def tg():
    engine.load()
    import textgrad

    return textgrad


def answers(system, text):
    """What the loop's engine says."""
    if "gradient (feedback) engine" in system:
        return f"Feedback {len(text)}."
    if "creatively and critically improve" in system:
        return "I would not." if "<VARIABLE> Say K2" in text else "<IMPROVED_VARIABLE>Say K2 for green.</IMPROVED_VARIABLE>"
    return {"red": "K1", "green": "K1", "blue": "K3"}[next(c for c in WORDS if c in text)]


class Loop:
    """The parts of a TextGrad script on prompt optimisation."""

    def __init__(self, tg, task, **options):
        from textgrad.autograd import StringBasedFunction

        class Engine(tg.EngineLM):
            model_string = "their-model"

            def generate(self, prompt, system_prompt=None, **_):
                return answers(system_prompt or "", prompt)

            __call__ = generate

        self.tg, self.task, self.llm = tg, task, Engine()
        self.prompt = tg.Variable(PROMPT, requires_grad=True, role_description="system prompt")
        self.model = tg.BlackboxLLM(self.llm, self.prompt)
        self.optimizer = tg.TextualGradientDescent(engine=self.llm, parameters=[self.prompt], **options)
        self.equal = StringBasedFunction(lambda prediction, truth: int(prediction.value == truth.value), function_purpose="equality")

    def ask(self, text):
        return self.model(self.tg.Variable(text, requires_grad=False, role_description="query"))

    def step(self, examples):
        self.optimizer.zero_grad()
        truths = [self.tg.Variable(e.target, requires_grad=False, role_description="correct answer") for e in examples]
        outputs = [self.ask(example.input) for example in examples]
        losses = [self.equal(inputs={"prediction": o, "truth": t}) for o, t in zip(outputs, truths, strict=True)]
        self.tg.sum(losses).backward(engine=self.llm)
        self.optimizer.step()


@pytest.fixture
def task():
    return small_task()


def test_a_loop_leaves_a_case_that_says_what_it_did(tg, task, tmp_path):
    loop, batch = Loop(tg, task, constraints=["Stay short."]), task.train[2::-1]
    with gb.record(tmp_path / "theirs", task=task, title="Theirs"):
        loop.step(batch)
        assert len(gb.Recording(tmp_path / "theirs")) == 2  # on disk when the step returns
    case = gb.Recording(tmp_path / "theirs")
    step = case[1]
    assert (case.title, step.prompt, step.chosen_prompt) == ("Theirs", PROMPT, "Say K2 for green.")
    assert step.batch == tuple(example.id for example in batch)
    assert [(p.answer, p.correct) for p in step.predict] == [("K3", True), ("K1", False), ("K1", True)]
    assert [(e.label, e.text) for e in step.evaluate] == [("K3", "1"), ("K2", "0"), ("K1", "1")]
    on_outputs, on_prompts = ([c.text for c in critiques] for critiques in (step.output_critique, step.prompt_critique))
    assert len(on_outputs) == len(on_prompts) == 3 and not set(on_outputs) & set(on_prompts)
    assert case.method_of(1).constraints == ("Stay short.",) and case.method_of(1).engine == "textgrad"
    assert {facts["name"] for facts in case.model_facts.values()} == {"their-model"}
    assert {stage for stage, roles in case.models_of(1).items() if roles} == {"predict", "output_critique", "prompt_critique", "rewrite"}


def test_each_critique_stands_at_the_output_that_it_is_about(tg, task, tmp_path):
    loop = Loop(tg, task)
    with gb.record(tmp_path / "theirs", task=task) as case:
        loop.step(task.train[:3])
    for gradient in loop.prompt.gradients:
        about = loop.prompt.gradients_context[gradient]["context"]
        example = next(example for example in task.train if f"<LM_INPUT> {example.input} </LM_INPUT>" in about)
        assert next(c.text for c in case[1].prompt_critique if c.example == example.id) == gradient.value


def test_the_loop_runs_as_without_and_nothing_of_textgrads_stays_changed(tg, task, tmp_path):
    from textgrad.autograd import LLMCall
    from textgrad.autograd.llm_ops import FormattedLLMCall

    places = [(LLMCall, "forward"), (FormattedLLMCall, "forward"), (tg.Variable, "backward"), (tg.TextualGradientDescent, "step")]
    before = [owner.__dict__[name] for owner, name in places]
    with pytest.raises(ZeroDivisionError), gb.record(tmp_path / "theirs", task=task):
        assert [owner.__dict__[name] for owner, name in places] != before
        raise ZeroDivisionError
    assert [owner.__dict__[name] for owner, name in places] == before
    alone, kept = Loop(tg, task), Loop(tg, task)
    alone.step(task.train[:3])
    with gb.record(tmp_path / "theirs", task=task) as case:
        kept.step(task.train[:3])
    assert kept.prompt.value == alone.prompt.value and len(case) == 2 and case.read_only


def test_a_prompt_that_is_taken_back_is_a_branch_in_the_tree(tg, task, tmp_path):
    loop = Loop(tg, task)
    with gb.record(tmp_path / "theirs", task=task) as case:
        loop.step(task.train[:3])
        loop.ask(task.validation[0].input)  # an answer that no loss is made of
        loop.prompt.set_value(PROMPT)
        loop.step(task.train[3:6])
    assert [step.parent for step in case] == [None, 0, 0] and [len(step.predict) for step in list(case)[1:]] == [3, 3]


def test_a_reply_without_tags_is_on_record_and_raised_as_textgrad_raises_it(tg, task, tmp_path):
    loop = Loop(tg, task)
    with gb.record(tmp_path / "theirs", task=task) as case:
        loop.step(task.train[:3])
        with pytest.raises(IndexError):
            loop.step(task.train[:3])
    assert (case[2].rewrite[0].lost, case[2].select.chosen, case[2].parent) == ("no reply", -1, 1)
    assert "<IMPROVED_VARIABLE>" in case[2].rewrite[0].why


def test_an_input_that_the_task_has_not_is_named_and_left_out(tg, task, tmp_path):
    loop, other = Loop(tg, task), task.train[0].model_copy(update={"input": "Something is blue."})
    named, left = (pytest.warns(UserWarning, match=said) for said in ("Something is blue", "1 of the prompt's gradients"))
    with gb.record(tmp_path / "theirs", task=task) as case, named, left:
        loop.step([other, task.train[1]])
    assert case[1].batch == (task.train[1].id,) and case[1].chosen_prompt == "Say K2 for green."


def test_the_case_begins_with_the_prompt_that_the_loop_begins_with(tg, task, tmp_path):
    loop = Loop(tg, task)
    loop.prompt.set_value("Say a code.")
    with gb.record(tmp_path / "told", task=task, prompt="Say a code.") as case:
        loop.step(task.train[:3])
    assert [case[0].prompt, case[1].prompt] == ["Say a code."] * 2
    assert case.task.system("Say a code.") == "Say a code."  # as the loop's model is asked, without the task's format
    with gb.record(tmp_path / "untold", task=task) as case, pytest.warns(UserWarning, match="pass prompt="), pytest.raises(IndexError):
        loop.step(task.train[:3])
    assert (case[1].parent, case[1].prompt) == (0, "Say K2 for green.")


def test_it_opens_in_the_workbench_the_tables_and_the_export(tg, task, tmp_path):
    with gb.record(tmp_path / "theirs", task=task):
        Loop(tg, task).step(task.train[:3])
    case = gb.Recording(tmp_path / "theirs")
    assert len(case.steps()) == 2 and len(case.predictions()) == 3
    page = case.export(tmp_path / "theirs.html").read_text(encoding="utf-8")
    case.export(tmp_path / "theirs.ipynb")
    assert case[1].output_critique[0].text in page and "their-model" in page
    assert case[1].output_critique[0].text in gb.Stepper(case).step


def test_a_person_branches_off_it_with_a_model_and_only_what_depends_on_it_runs(tg, task, tmp_path):
    from stub import Stub

    with gb.record(tmp_path / "theirs", task=task):
        Loop(tg, task).step(task.train[:3])
    with Stub(reply=lambda messages, body: answers(messages[0]["content"], messages[-1]["content"])) as stub:
        case = gb.Case(tmp_path / "theirs", model=gb.connect("small", base_url=stub.url, api_key="k", cache=False))
        step = case[1]
        branch = case.perturb(step, gb.edits.replace("output_critique", example=1, text="Say K2."))
        assert len(stub.requests) == 2 and "Say K2." in stub.requests[0].body["messages"][1]["content"]
        assert branch.prompt_critique[0] == step.prompt_critique[0] and branch.parent == 0
        assert case[1] == step


def test_a_case_that_is_open_elsewhere_is_refused_before_the_loop_runs(tg, task, tmp_path, monkeypatch):
    monkeypatch.setattr("gradbook.journal.Journal.take", lambda self: False)
    with pytest.warns(UserWarning), pytest.raises(CaseError, match="nothing can be recorded"), gb.record(tmp_path / "theirs", task=task):
        pytest.fail("the loop ran")
