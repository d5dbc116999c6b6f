"""The meta-prompts: what is put into them, and how the new prompt is read from a reply."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gradbook.loop import Templates
from gradbook.loop.templates import fill, new_prompt
from gradbook.replies import said
from texts import assert_in_proportion

TEMPLATE = Templates().rewrite


@pytest.mark.parametrize(
    "reply",
    [
        "Sort it.\n- Rule.",
        "<prompt>\nSort it.\n- Rule.\n</prompt>",
        "Sure! <prompt>Sort it.\n- Rule.",
        "```\nSort it.\n- Rule.\n```",
        "Old prompt:\nSort it.\n- Old.\n\nNew prompt:\nSort it.\n- Rule.",
        "Old prompt:\nSort it.\n\n### New Prompt\n```\nSort it.\n- Rule.\n```",
        "Sort it.\n- Rule.\n\n**New prompt:** Sort it.\n- Rule.",
        "Old prompt:\nSort it.\nRules to add:\n- Rule.\nWrite the new prompt. It begins with the old prompt, word for word",
        "Sort it.\n- Rule.\n\nNew prompt:",
        "Sort it.\n- Rule.\n**The new prompt:**\n\n",
        "Old prompt:\nSort it.\n\nNew prompt:\nSort it.\n- Rule.\n\nNew prompt:",
    ],
)
def test_the_new_prompt_is_read_without_what_a_small_model_repeats(reply):
    assert new_prompt(reply, TEMPLATE) == "Sort it.\n- Rule."


@pytest.mark.parametrize("reply", ["New prompt:", "\n**New prompt:**\n\nThe new prompt:\n"])
def test_a_heading_alone_is_no_prompt(reply):
    assert new_prompt(reply, TEMPLATE) == ""


@pytest.mark.parametrize("reply", ['"Sort it."', 'Here it is:\n\n"Sort it."', "Sort it."])
def test_the_marks_that_a_template_puts_round_the_prompt_are_no_part_of_it(reply):
    assert new_prompt(reply, Templates().paraphrase) == "Sort it."
    assert new_prompt('Sort "it"', Templates().paraphrase) == 'Sort "it"'


@pytest.mark.parametrize(
    "prompt",
    [
        "One {x}.\n\nTwo.",
        "Sort it.\n\n```json\n{}\n```",
        "`input` is what to sort. Say `yes` or `no`.",
        'Improve the text in "<prompt>". Nothing else.',
        "Write\nW\n-\nR",
        "Compare both.\nNew prompt: the second one is meant.",
        "Sort it.\u2028Next.\x0cPage.",
    ],
)
def test_a_prompt_stays_as_it_is(prompt):
    for template in (TEMPLATE, Templates().paraphrase, "```\n{prompt}\n```\n{critiques}\nWrite\n---"):
        assert new_prompt(prompt, template) == prompt


PIECES = [
    "Sort it.",
    "- Rule: inputs about parcels go to K1.",
    '```json\n{"a": [1, 2]}\n```',
    "```\nAnswer: X\n```",
    "~~~\nx\n~~~",
    "`input` comes first",
    "and say `yes`",
    'Say "yes" or "no".',
    '"K1" is the first',
    "Read the text in <prompt>, not in <output>.",
    "<example>\nIn: a\nOut: b\n</example>",
    "A new prompt is given below: read it.",
    "New prompts are welcome.",
    "## Rules",
    "Reason in <think> and </think> tags.",
    "Form:\n<think>\nsteps\n</think>\n<answer>\nX\n</answer>",
    "**Always** answer in one line:",
    "{input}",
    "Inputs about `a`, \"b\" and 'c'",
]
PROMPTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).flatmap(
    lambda pieces: st.sampled_from(["\n", "\n\n"]).map(lambda gap: gap.join(pieces))
)
THOUGHTS = [
    "{}",
    "\n\n{}\n",
    "<think>\nIt says ```x``` and <prompt>.\n</think>\n\n{}",
    "I shall keep it.\n</think>\n\n{}",
    "[THINK]hm[/THINK]{}",
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
]
LINES = [
    "",
    "Here is the new prompt:\n\n",
    "Sure! Here's the revised prompt:\n",
    "New prompt:\n",
    "**New prompt:**\n\n",
    "Old prompt:\nSort.\n\nNew prompt:\n",
]
PAIRS = [
    "```markdown\n{}\n```",
    "`````\n{}\n`````",
    "~~~~text\n{}\n~~~~",
    "<prompt>\n{}\n</prompt>",
    "<new_prompt>{}</new_prompt>",
    "<answer>\n\n{}\n\n</answer>",
]
WRAPPED = re.compile(r"(```|~~~)(?!.*\1.*\1).*|`[^`]*`", re.DOTALL)  # a prompt that is one block cannot be told from a wrapped one
REMARKS = ["", "\n", "\n\nI kept the old prompt and added the rules."]


@given(PROMPTS, st.sampled_from(THOUGHTS), st.sampled_from(LINES), st.sampled_from(PAIRS), st.sampled_from(REMARKS))
def test_a_prompt_that_is_wrapped_is_read_as_it_is(prompt, thoughts, line, pair, remark):
    assume(not (pair.startswith("<answer>") and WRAPPED.fullmatch(prompt)))  # that pair belongs to the thoughts
    reply = thoughts.format(line + pair.format(prompt) + remark)
    for template in (TEMPLATE, Templates().improve):
        assert new_prompt(said(reply, "stop").text, template) == prompt


@given(PROMPTS, st.sampled_from(THOUGHTS), st.sampled_from(LINES))
def test_a_prompt_that_is_not_wrapped_is_read_as_it_is(prompt, thoughts, line):
    assume(not WRAPPED.fullmatch(prompt))
    assert new_prompt(said(thoughts.format(line + prompt), "stop").text, TEMPLATE) == prompt


@given(PROMPTS, st.sampled_from(THOUGHTS), st.sampled_from(["", "Here it is:\n\n", "Here is the paraphrase: "]))
def test_a_prompt_in_quotation_marks_is_read_as_it_is(prompt, thoughts, line):
    assert new_prompt(said(thoughts.format(f'{line}"{prompt}"'), "stop").text, Templates().paraphrase) == prompt


def test_reading_a_new_prompt_grows_in_proportion_to_the_reply():
    for template in (TEMPLATE, Templates().improve):
        assert_in_proportion(lambda reply, template=template: new_prompt(reply, template))


def test_what_is_put_in_is_never_read_as_a_template():
    filled = fill("a {prompt} b {critiques}", prompt="{critiques} {input}", critiques="c")
    assert filled == "a {critiques} {input} b c"
