"""Replies of real models: thoughts in every form, replies that were lost, and what a text is wrapped in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook.replies import said, spoken, unwrap
from texts import assert_in_proportion

SPEECH = "Sort it.\n- Rule."
THOUGHTS = [
    "<think>{thought}</think>{speech}",
    "<think>\n{thought}\n</think>\n\n{speech}",
    "<think>\n\n</think>\n\n{speech}",  # Qwen without thinking
    "\n<think>{thought}</think>\n<think>{thought}</think>\n{speech}",
    "<think>{thought} <think>{thought}</think> {thought}</think>{speech}",
    "<think>It ends with `</think>`, {thought}</think>{speech}",
    "<think>It may use <reasoning>this</reasoning>. {thought}</think>{speech}",
    "<thinking>{thought}</thinking>\n{speech}",
    "<Thought>{thought}</Thought>\n<Output>{speech}</Output>",
    "<reasoning>\n{thought}\n</reasoning>\n{speech}",
    "<seed:think>{thought}</seed:think>{speech}",
    "[THINK]{thought}[/THINK]{speech}",
    "◁think▷{thought}◁/think▷{speech}",
    "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{speech}<|return|>",
    "<|channel|>final<|message|>{speech}",
    "analysisWe see: {thought}assistantfinal{speech}",
    "<|channel>thought\n{thought}\n<channel|>{speech}",
    "<|START_THINKING|>{thought}<|END_THINKING|><|START_RESPONSE|>{speech}<|END_RESPONSE|>",
    "<|begin_of_thought|>\n\n{thought}\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n{speech}\n\n<|end_of_solution|>",
    "<|inner_prefix|>{thought}<|inner_suffix|>{speech}",
    "<unused94>thought\n{thought}<unused95>{speech}",
    "Here is my thought process:\n{thought}\nHere is my response:\n{speech}",
    "<think>{thought}</think>\n<answer>\n{speech}\n</answer>",
    "{thought}</think>{speech}",
    "{thought}\n</think>\n\n{speech}",
    "The prompt may ask for <think> tags. {thought}\n</think>\n\n{speech}",
    "{thought}\n[/THINK]{speech}",
    "{speech}\n<think>\n{thought}",
]


@pytest.mark.parametrize("form", THOUGHTS)
@pytest.mark.parametrize("thought", ["hm", "So it is K1.\n\nOr is it?", 'Could the answer be "yes"? ```x``` <prompt>', ""])
def test_thoughts_are_no_part_of_a_reply(form, thought):
    assert spoken(form.format(thought=thought, speech=SPEECH)) == SPEECH


@pytest.mark.parametrize(
    "reply",
    ["<think>hm", "<think>", " \n<thinking>\nCould it be yes?\nAnswer: yes", "[THINK]a", "<|channel|>analysis<|message|>a", "◁think▷"],
)
def test_a_thought_that_never_ends_says_nothing(reply):
    assert spoken(reply) == ""
    assert said(reply, "stop").lost == "no reply" and said(reply, "length").lost == "cut off"


MENTIONS = [
    "Never write </think> in the answer.",
    "Reason in <think>…</think> tags.",
    "Reason first in <think>\nsteps\n</think> tags.",
    "Use `</think>` at the end.",
    'Put "</think>" last.',
    "End your thoughts with </think>, then answer.",
    "Answer in this form:\n<think>\nsteps\n</think>\n<answer>\ny\n</answer>\nNothing else.",
    "An example:\n```\nhm\n</think>\nyes\n```\nGo.",
    "```\n<think>\n```\nGo on.",
    "Begin with <think>.",
    "The final <|channel> is yours.",
    "  Indented, and with blanks at the end  ",
    "Here is my thought process: none.",
]


@pytest.mark.parametrize("text", MENTIONS[:-1])
def test_marks_of_thoughts_that_are_only_mentioned_stay(text):
    assert spoken(text) == text


@given(st.text("ab .\n`\"'<>/|", max_size=60))
def test_a_reply_without_thoughts_stays_as_it_is(text):
    assert spoken(text) == text


@pytest.mark.parametrize(
    ("reply", "finish_reason", "reason", "text", "lost", "why"),
    [
        ("Sort it.", "stop", "", "Sort it.", None, ""),
        ("Sort it.", "eos", "", "Sort it.", None, ""),
        ("<think>hm</think>Sort", "length", "", "Sort", "cut off", "the reply was cut off at max_tokens"),
        ("Sort", "MAX_TOKENS", "", "Sort", "cut off", "the reply was cut off at max_tokens"),
        ("<think>hm", "max_tokens", "", "", "cut off", "the reply was cut off at max_tokens"),
        ("", "length", "", "", "cut off", "the reply was cut off at max_tokens"),
        ("Sort", "model_length", "", "Sort", "cut off", "the reply was cut off where the model's context ends"),
        ("Sort", "content_filter", "", "Sort", "cut off", "the content filter stopped it"),
        ("", "content_filter", "violence", "", "no reply", "the content filter stopped it: violence"),
        ("", "SAFETY", "", "", "no reply", "the content filter stopped it"),
        ("Sort", "error", "upstream died", "Sort", "cut off", "the endpoint broke it off: upstream died"),
        ("", "stop", "", "", "no reply", "the reply was empty"),
        (" \n", "stop", "", " \n", "no reply", "the reply was empty"),
        ("", "tool_calls", "it only calls tools", "", "no reply", "the reply was empty: it only calls tools"),
        ("<think>hm</think>\n", "stop", "", "", "no reply", "the reply holds nothing but thoughts"),
        ("Sort it.", "stop", "a reason that does not matter", "Sort it.", None, ""),
    ],
)
def test_what_was_lost_is_told_with_its_reason(reply, finish_reason, reason, text, lost, why):
    assert said(reply, finish_reason, reason) == (text, lost, why)


@pytest.mark.parametrize(
    "wrapped",
    [
        "```\n{}\n```",
        "```markdown\n{}\n```",
        "````md\n{}\n````\n",
        "~~~text\n{}\n~~~",
        "<prompt>\n{}\n</prompt>",
        "<new_prompt>{}</new_prompt>",
        "<IMPROVED_VARIABLE>\n{}\n</IMPROVED_VARIABLE>",
        "`{}`",
        "Here is the new prompt:\n\n```\n{}\n```",
        "Sure! Here's the revised prompt:\n\n```text\n{}\n```\n\nI kept the old one and added the rule.",
        "I have updated the prompt:\n<prompt>\n{}\n</prompt>\nLet me know if it should be shorter.",
        "```markdown\n{}\n```\n\n**Changes:** the rule is new.",
        "Here is the improved text:\n\n{}",
        "**Revised prompt:**\n\n{}",
        "Here's the improved prompt:\n```\n{}\n```\nHope this helps!",
        "Sure! Here is the new prompt:\n\n{}\n\nLet me know if you need more.",
        "Here is the updated prompt:\n\n{}\n\nI kept the old one and added the rule.",
        "Certainly!\n\n{}",
        "{}",
    ],
)
def test_one_pair_that_embraces_the_whole_is_taken_off(wrapped):
    assert unwrap(wrapped.format(SPEECH)) == SPEECH


WHOLE = [
    "Answer in this form:\n```json\n{}\n```",
    "Answer in this form:\n```\nAnswer: X\n```",
    "```\nAn example\n```\nSort like that.",
    "```\nAn example\n```\nNote: sort like that.",
    "Here is an example:\n```\nx\n```\nThe new ones are alike.",
    "```\none\n```\nand\n```\ntwo\n```",
    "`yes` or `no`, nothing else: `yes`",
    "`input` is what to sort.",
    "<prompt>a</prompt> and <prompt>b</prompt>",
    "Improve the prompt in <prompt>. Keep what stands before </prompt>.",
    "You improve prompts. Read this:\n<prompt>\nx\n</prompt>",
    "<prompt>\nx\n</prompt>\nImprove the prompt above.",
    "<prompt> holds the text to improve.",
    "<role>You sort.</role>\n<task>Sort it.</task>",
    '"A" or "B"',
    '"Sort it."',
    "Sure things go to K1, all others to K2.",
    "Here is how to sort: by topic.",
    "```markdown\nSort it.\n```python\nx\n```",
]


@pytest.mark.parametrize("text", WHOLE)
def test_what_may_be_part_of_a_text_stays(text):
    assert unwrap(text) == text


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('"Sort it."', "Sort it."),
        ("“Sort it.”", "Sort it."),
        ('"Say "yes" or "no"."', 'Say "yes" or "no".'),
        ('""Yes" or "no" is all you say."', '"Yes" or "no" is all you say.'),
        ('"Sort 5" pipes."', 'Sort 5" pipes.'),
        ('Here it is:\n\n"Sort it."', "Sort it."),
        ('Here is the paraphrase: "Sort it."\n\nI kept its meaning.', "Sort it."),
        ('"A" or "B"', '"A" or "B"'),
        ("“A” or “B”", "“A” or “B”"),
        ('"Rule one."\n"Rule two."', '"Rule one."\n"Rule two."'),
        ('Answer with: "yes"', 'Answer with: "yes"'),
    ],
)
def test_quotation_marks_are_taken_off_where_the_text_was_shown_in_them(reply, text):
    assert unwrap(reply, quoted=True) == text


@pytest.mark.parametrize("read", [spoken, unwrap, lambda text: unwrap(text, quoted=True)])
def test_reading_grows_in_proportion_to_the_text(read):
    assert_in_proportion(read)
