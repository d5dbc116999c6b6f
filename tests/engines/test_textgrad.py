"""TextGrad's own step, one stage at a time: the messages are TextGrad's, and what gradbook does with a step works on it."""

import json
import logging
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

import gradbook as gb
from gradbook import background
from gradbook.engines import textgrad as engine
from stub import Stub
from textgrad_small import PROMPT, connect, sent, task, theirs

pytestmark = pytest.mark.bridges
if find_spec("textgrad") is None:
    pytest.skip('textgrad is missing: pip install "gradbook[textgrad]"', allow_module_level=True)

PARTS = re.compile(r"Here is a conversation:|</CONTEXT>")


@pytest.fixture(scope="module")
def tg():
    """The library, imported as the engine does it."""
    engine.load()
    import textgrad

    return textgrad


@pytest.fixture
def stub():
    with Stub(reply=theirs) as running:
        yield running


def case(stub, path, **settings) -> gb.Case:
    return gb.Case(path, task=task(), model=connect(stub), method=gb.Method(**{"engine": "textgrad", "selection": "naive"} | settings))


def script(tg, stub, task, batch, prompt=PROMPT, steps=1, **options):
    """TextGrad's own loop, as its notebook on prompt optimisation has it; the prompt that it ends with."""
    from openai import OpenAI
    from textgrad.autograd import StringBasedFunction

    client = OpenAI(base_url=stub.url, api_key="k")

    class Engine(tg.EngineLM):
        model_string = "small"

        def generate(self, prompt, system_prompt=None, **_):
            messages = [{"role": "system", "content": system_prompt or self.system_prompt}, {"role": "user", "content": prompt}]
            return client.chat.completions.create(model="small", messages=messages).choices[0].message.content

        __call__ = generate

    llm = Engine()
    system_prompt = tg.Variable(prompt, requires_grad=True, role_description=None)
    model = tg.BlackboxLLM(llm, system_prompt)
    optimizer = tg.TextualGradientDescent(engine=llm, parameters=[system_prompt], **options)
    equal = StringBasedFunction(
        lambda prediction, ground_truth_answer: int(task.correct(task.parse(prediction.value), ground_truth_answer.value)),
        function_purpose="The runtime of string-based function that checks if the prediction is correct.",
    )
    with client:
        for _ in range(steps):
            optimizer.zero_grad()
            losses = []
            for name in batch:
                example = task.example(name)
                x = tg.Variable(example.input, requires_grad=False, role_description="query to the language model")
                y = tg.Variable(example.target, requires_grad=False, role_description="correct answer for the query")
                losses.append(equal(inputs={"prediction": model(x), "ground_truth_answer": y}))
            tg.sum(losses).backward(engine=llm)
            optimizer.step()
    return system_prompt.value


def as_sets(messages):
    """Messages without an order where TextGrad has none: that of the calls of a batch, and of the gradients in the optimiser's message."""
    return Counter((system, tuple(sorted(part.strip() for part in PARTS.split(user)))) for system, user in messages)


# --- the same messages -----------------------------------------------------------------------------------------------------


def test_a_step_sends_what_textgrads_own_script_sends(tg, stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step = mine.step()
    ours = sent(stub)
    prompt = script(tg, stub, mine.task, step.batch)
    own = sent(stub, len(ours))
    assert len(own) == 3 + 3 + 3 + 1
    assert as_sets(ours) == as_sets(own)
    assert sorted(step.chosen_prompt.split(".")) == sorted(prompt.split(".")) and "means" in prompt
    assert {evaluation.text for evaluation in step.evaluate} <= {"0", "1"}


def test_a_prompt_with_a_format_that_stays_is_shown_whole_and_optimised_in_part(tg, stub, tmp_path):
    whole = task(format_instruction="Answer with one code.")
    mine = gb.Case(tmp_path / "case", task=whole, model=connect(stub), method=gb.Method(engine="textgrad", selection="naive"))
    mine.step()
    told = f"{PROMPT}\n\nAnswer with one code."
    assert [system for system, _ in sent(stub)[:3]] == [told] * 3
    for _, user in sent(stub)[6:]:
        assert f"<LM_SYSTEM_PROMPT> {told} </LM_SYSTEM_PROMPT>" in user and f"<VARIABLE> {PROMPT} </VARIABLE>" in user


OPTIONS = {"constraints": ("Stay short.", "Stay {polite}."), "in_context": ("Say K1 for red.", "Say {x}.")}


@pytest.mark.parametrize("chosen", [("constraints",), ("in_context",), ("constraints", "in_context")], ids="-".join)
def test_constraints_and_examples_reach_the_optimiser_as_in_textgrads_own(chosen, tg, stub, tmp_path):
    settings = {name: OPTIONS[name] for name in chosen}
    mine = case(stub, tmp_path / "case", **settings)
    step = mine.step()
    ours = sent(stub)
    renamed = {"constraints": "constraints", "in_context": "in_context_examples"}
    script(tg, stub, mine.task, step.batch, **{renamed[name]: list(OPTIONS[name]) for name in chosen})
    own = sent(stub, len(ours))
    assert as_sets(ours[-1:]) == as_sets(own[-1:])
    assert all(text in ours[-1][1] for name in chosen for text in OPTIONS[name])


def test_momentum_shows_the_prompts_of_the_window_as_textgrads_own_message_has_them(tg, stub, tmp_path):
    from textgrad.optimizer.optimizer import TextualGradientDescentwithMomentum

    mine = case(stub, tmp_path / "case", momentum=2, batch_size=1)
    for _ in range(3):
        mine.step()
    ours = sent(stub)[-1][1]
    step, prompts = mine.current, [mine[n].prompt for n in (1, 2, 3)]
    assert len(set(prompts)) == 3

    # TextGrad 0.1.8 puts the message together, logs it and forgets to return it: what it logs is what it means to send
    heard = []
    handler = logging.Handler()
    handler.emit = heard.append
    variable = tg.Variable(step.prompt, role_description=engine.load().SYSTEM_PROMPT_DEFAULT_ROLE)
    own = TextualGradientDescentwithMomentum(engine=engine.load().Replies("", "", ""), parameters=[variable], momentum_window=2)
    tg.logger.addHandler(handler)
    tg.logger.setLevel(logging.INFO)
    try:
        for prompt in prompts:
            variable.set_value(prompt)
            own._update_momentum_storage(variable, 0)
        own._update_prompt(variable, 0)
    finally:
        tg.logger.removeHandler(handler)
        tg.logger.setLevel(logging.WARNING)
    said = next(record.prompt for record in heard if hasattr(record, "prompt"))
    past = re.search(r"Here are the past iterations.*?</PAST_ITERATIONS>.*?\n\n", said, re.DOTALL)[0]
    assert past in ours and prompts[1] in past and prompts[2] in past and f": {prompts[0]}.\n" not in past


def test_a_critic_is_an_llm_loss_whose_gradient_textgrad_asks_for_as_its_own(tg, stub, tmp_path):
    from textgrad.autograd import FormattedLLMCall

    stub.reply = lambda messages, body: "Verdict: wrong" if "Verdict" in messages[0]["content"] else theirs(messages, body)
    mine = case(stub, tmp_path / "case", evaluation="critic-binary", batch_size=1)
    step = mine.step()
    ours = sent(stub)
    assert (len(ours), step.evaluate[0].score) == (5, 0.0)

    class Engine(tg.EngineLM):
        model_string = "known"

        def __init__(self):
            self.asked = []

        def generate(self, prompt, system_prompt=None, **_):
            self.asked.append((system_prompt, prompt))
            return next((reply for asked, reply in zip(ours, replies, strict=True) if asked == self.asked[-1]), "unknown")

        __call__ = generate

    replies = [row.text for row in mine.calls().itertuples()]
    llm, example = Engine(), mine.task.example(step.batch[0])
    system_prompt = tg.Variable(PROMPT, role_description=None)
    response = tg.BlackboxLLM(llm, system_prompt)(
        tg.Variable(example.input, requires_grad=False, role_description="query to the language model")
    )
    form = mine.method.templates.critic_input.strip()
    critic = tg.Variable(
        f"{step.held}\n\n{mine.method.templates.critic_binary}", requires_grad=False, role_description="system prompt for the evaluation"
    )
    fields = {"input": tg.Variable(example.input, requires_grad=False, role_description="question"), "output": response}
    loss = FormattedLLMCall(engine=llm, format_string=form, fields=dict.fromkeys(fields), system_prompt=critic)(inputs=fields)
    tg.sum([loss]).backward(engine=llm)
    tg.TextualGradientDescent(engine=llm, parameters=[system_prompt]).step()
    assert llm.asked == ours


# --- what gradbook does with a step ----------------------------------------------------------------------------------------


def test_an_edited_output_critique_arrives_in_the_next_message_and_nothing_else_is_asked_again(stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step, before = mine.step(), len(stub.requests)
    branch = mine.perturb(step, gb.edits.replace("output_critique", example=1, text="Here it should be K9 {always}."))
    asked = sent(stub, before)
    assert len(asked) == 2  # one prompt critique and the rewrite
    assert "feedback on the LM_OUTPUT: Here it should be K9 {always}. </OBJECTIVE_FUNCTION>" in asked[0][1]
    assert branch.prompt_critique[0] == step.prompt_critique[0] and branch.prompt_critique[1] != step.prompt_critique[1]
    assert branch.prompt_critique[1].text in asked[1][1] and step.prompt_critique[1].text not in asked[1][1]


@pytest.mark.parametrize(
    ("edit", "calls"),
    [
        (gb.edits.replace("prediction", example=0, text="K3"), {"output_critique": 1, "prompt_critique": 1, "rewrite": 1}),
        (gb.edits.drop_example(0), {"rewrite": 1}),
        (gb.edits.wrong_label(0), {"output_critique": 1, "prompt_critique": 1, "rewrite": 1}),
        (gb.edits.no_label(0), {"output_critique": 1, "prompt_critique": 1, "rewrite": 1}),
        (gb.edits.another_label(0, other=1), {"output_critique": 1, "prompt_critique": 1, "rewrite": 1}),
        (gb.edits.replace("evaluation", example=0, text="0.25"), {"output_critique": 1, "prompt_critique": 1}),  # which say the same
        (gb.edits.drop("output_critique", example=0), {"rewrite": 1}),
        (gb.edits.double("output_critique", example=0), {"prompt_critique": 1, "rewrite": 1}),
        (gb.edits.swap("output_critique", example=0, other=1), {"prompt_critique": 2, "rewrite": 1}),
        (gb.edits.blank("output_critique", example=0), {"prompt_critique": 1, "rewrite": 1}),
        (gb.edits.negate("output_critique", example=0), {"output_critique": 1, "prompt_critique": 1, "rewrite": 1}),
        (gb.edits.strength("prompt_critique", 4, example=0), {"rewrite": 1}),
        (gb.edits.double("prompt_critique", example=0, times=3), {"rewrite": 1}),
        (gb.edits.drop_sentence("prompt_critique", 0, example=0), {"rewrite": 1}),
        (gb.edits.shuffle(seed=1), {"rewrite": 1}),
        (gb.edits.filler("candidate", candidate=0), {}),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
def test_each_perturbation_runs_just_what_depends_on_it(edit, calls, stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step, before = mine.step(), len(mine.calls())
    branch = mine.perturb(step, edit)
    assert branch.done
    made = Counter(row["for"].split("/")[2] for _, row in mine.calls().iloc[before:].iterrows())
    assert made == calls


def test_gradients_stand_in_the_order_of_their_records_and_as_often(stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step = mine.step()

    def feedback(at):
        return re.findall(r"<FEEDBACK>(.*?)</FEEDBACK>", sent(stub)[at][1], re.DOTALL)

    assert feedback(-1) == [critique.text for critique in step.prompt_critique]
    shuffled = mine.perturb(step, gb.edits.shuffle(seed=1))
    assert feedback(-1) == [critique.text for critique in shuffled.prompt_critique] != [critique.text for critique in step.prompt_critique]
    mine.perturb(step, gb.edits.double("prompt_critique", example=2))
    assert feedback(-1) == [*(critique.text for critique in step.prompt_critique), step.prompt_critique[2].text]


def test_the_label_that_is_shown_is_what_the_loss_is_given(stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step, before = mine.step(), len(stub.requests)
    branch = mine.perturb(step, gb.edits.wrong_label(0))
    label = mine.task.wrong_label(mine.task.example(step.batch[0]))
    assert f"**Ground truth answer(role: correct answer for the query)**: {label}" in sent(stub, before)[0][1]
    assert branch.evaluate[0].text == str(int(mine.task.correct(step.predict[0].answer, label)))
    none, before = mine.perturb(step, gb.edits.no_label(0)), len(stub.requests) - 3
    assert "Ground truth" not in sent(stub, before)[0][1] and none.evaluate[0].text == "No evaluation is given."


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("Just be kinder.", "the reply lacks <IMPROVED_VARIABLE> and </IMPROVED_VARIABLE>"),
        ("Be kinder.</IMPROVED_VARIABLE>", "the reply lacks <IMPROVED_VARIABLE>,"),
        ("<IMPROVED_VARIABLE> </IMPROVED_VARIABLE>", "there is nothing between <IMPROVED_VARIABLE> and </IMPROVED_VARIABLE>"),
    ],
)
def test_a_reply_without_its_tags_is_recorded_as_lost_and_why(reply, why, stub, tmp_path, capfd):
    stub.reply = lambda messages, body: reply if "creatively and critically" in messages[0]["content"] else theirs(messages, body)
    step = case(stub, tmp_path / "case").step()
    (candidate,) = step.rewrite
    assert (candidate.lost, candidate.prompt) == ("no reply", "") and candidate.why.startswith(why)
    assert step.select.chosen == -1 and why in step.select.reason
    assert "could not be indexed" not in "".join(capfd.readouterr())


def test_what_stands_after_the_tag_that_opens_counts_as_textgrad_counts_it(stub, tmp_path):
    said = "<IMPROVED_VARIABLE>Be kinder."
    stub.reply = lambda messages, body: said if "creatively and critically" in messages[0]["content"] else theirs(messages, body)
    assert case(stub, tmp_path / "case").step().chosen_prompt == "Be kinder."


def test_a_lost_output_critique_makes_a_lost_prompt_critique_and_the_rest_goes_on(stub, tmp_path):
    stub.reply = lambda messages, body: "" if "**: K1" in messages[1]["content"].partition("Ground truth")[2] else theirs(messages, body)
    mine = case(stub, tmp_path / "case", batch_size=6)
    step = mine.step()
    lost = [critique for critique in step.output_critique if critique.lost]
    assert len(lost) == 2 and [c.example for c in step.prompt_critique if c.lost] == [c.example for c in lost]
    assert step.rewrite[0].prompt and sent(stub)[-1][1].count("</FEEDBACK>") == 4


def test_replicates_are_fresh_draws_with_seeds_of_their_own(stub, tmp_path):
    mine = case(stub, tmp_path / "case", selection="validated", candidates=2)
    step, before = mine.step(), len(stub.requests)
    again = mine.replicate(step, "prompt_critique", 1)
    bodies = [request.body for request in stub.requests[before:] if "LM_OUTPUT" in str(request.body["messages"])]
    first = [request.body for request in stub.requests[:before] if "LM_OUTPUT" in str(request.body["messages"])]
    assert again.output_critique == step.output_critique and again.replicate_of == step.id
    assert len(bodies) == 3 + 2
    assert not {body["seed"] for body in bodies} & {body["seed"] for body in first}
    assert len({body["seed"] for body in first}) == len(first)


def test_a_verdict_on_an_edit(stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step = mine.step()
    branch = mine.perturb(step, gb.edits.replace("prompt_critique", example=0, text="red means K2"))
    effect = mine.compare(step, branch, replicates=3)
    assert effect.verdict in ("helps", "harms", "equivalent", "undecided")


def test_a_trace_puts_the_rule_in_at_each_stage_and_it_goes_on_from_there(stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step = mine.step()
    found = mine.trace(step, rule="red means K7.", replicates=2)
    assert found.stages == ("evaluate", "output_critique", "prompt_critique", "rewrite")
    messages = [user for _, user in sent(stub)]
    assert any("<OUTPUT_OF_FUNCTION> 0 red means K7. </OUTPUT_OF_FUNCTION>" in user for user in messages)
    assert any(re.search(r"feedback on the LM_OUTPUT: [^<]* red means K7\.", user) for user in messages)
    assert found.put("prompt_critique", "rule").words["rewrite"] == (1.0, 1.0)


def test_a_section_map_and_a_noise_budget_of_a_step(stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step = mine.step()
    sections = mine.ablate(step, replicates=2).sections
    assert [section.text for section in sections][1:] and all("means" in section.text for section in sections[1:])
    assert mine.noise(step, critiques=2, rewrites=2, answers=2).verdict


def test_arms_of_a_study_may_differ_by_their_engine(stub, tmp_path):
    arms = gb.studies.grid(engine=["native", "textgrad"], selection="naive")
    assert list(arms) == ["native", "textgrad"]
    study = gb.Study(tmp_path / "study", tasks=task(), models=connect(stub), arms=arms, trials=1, steps=1)
    study.run()
    assert any("gradient (feedback) engine" in system for system, *_ in map(tuple, sent(stub)))


def test_calls_of_a_batch_run_together(tmp_path):
    with Stub(reply=theirs, latency=0.2) as stub:
        case(stub, tmp_path / "case", batch_size=6).step()
        assert stub.most_in_flight == 6


def test_stop_ends_the_calls_and_what_had_finished_is_not_asked_again(stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step = mine.begin()
    for _ in range(2):
        background.run(mine.runner.advance(step.id))
    before = len(stub.requests)
    stub.shut_gate()
    going = background.submit(mine.runner.advance(step.id))
    stub.wait_for(before + 3)
    going.cancel()
    stub.open_gate()
    assert going.cancelled() and mine[step.id].output_critique is None
    again = gb.Case(tmp_path / "case", model=connect(stub))
    assert again.step().done
    assert len(again[step.id].predict) == 3 and len([1 for _, user in sent(stub) if user.startswith("Item ")]) == 3


@pytest.mark.parametrize("stages", range(1, 6))
def test_a_case_that_is_opened_again_at_any_stage_asks_nothing_twice(stages, stub, tmp_path):
    mine = case(stub, tmp_path / "case")
    step = mine.begin()
    for _ in range(stages):
        background.run(mine.runner.advance(step.id))
    mine.close()
    done = gb.Case(tmp_path / "case", model=connect(stub)).step()
    assert done.id == step.id and done.done and len(stub.requests) == 10
    assert Counter(map(str, sent(stub))).most_common(1)[0][1] == 1


# --- the library -----------------------------------------------------------------------------------------------------------


def test_the_library_is_imported_when_a_stage_runs_and_leaves_nothing_behind(tmp_path):
    """In a process of its own, whose folder has a `.env` that nothing is to read."""
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-a-file\n")
    code = (
        "import os, sys, json, gradbook as gb; gb.Method(engine='textgrad'); before = 'textgrad' in sys.modules;"
        "from gradbook.engines import stage_function, textgrad as e; stage_function('textgrad', 'rewrite');"
        "soon = 'textgrad' in sys.modules;"
        "env = dict(os.environ); e.load(); import logging;"
        "print(json.dumps([before, soon, 'textgrad' in sys.modules, env == dict(os.environ), len(logging.getLogger('textgrad').handlers)]))"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "TEXTGRAD_LOG_DIR")}
    env["PYTHONPATH"] = str(Path(gb.__file__).parents[1])
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(said.stdout.splitlines()[-1]) == [False, False, True, True, 1]
    assert sorted(place.name for place in tmp_path.iterdir()) == [".env"]
