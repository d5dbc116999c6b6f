"""The meta-prompts: what is put into them, and how the new prompt is read from a reply."""

import pytest

from gradbook.loop import Templates
from gradbook.loop.templates import fill, new_prompt

TEMPLATE = Templates().rewrite


@pytest.mark.parametrize(
    "reply",
    [
        "Sort it.\n- Rule.",
        "<prompt>\nSort it.\n- Rule.\n</prompt>",
        "Sure! <prompt>Sort it.\n- Rule.",
        "```\nSort it.\n- Rule.\n```",
        "Old prompt:\nSort it.\n- Old.\n\nNew prompt:\nSort it.\n- Rule.",
        "Sort it.\n- Rule.\n\n**New prompt:** Sort it.\n- Rule.",
        "Old prompt:\nSort it.\nRules to add:\n- Rule.\nWrite the new prompt. It begins with the old prompt, word for word",
    ],
)
def test_the_new_prompt_is_read_without_what_a_small_model_repeats(reply):
    assert new_prompt(reply, TEMPLATE) == "Sort it.\n- Rule."


@pytest.mark.parametrize("reply", ['"Sort it."', 'Here it is:\n\n"Sort it."', "Sort it."])
def test_the_marks_that_a_template_puts_round_the_prompt_are_no_part_of_it(reply):
    assert new_prompt(reply, Templates().paraphrase) == "Sort it."
    assert new_prompt('Sort "it"', Templates().paraphrase) == 'Sort "it"'


def test_blank_lines_and_braces_of_a_prompt_stay():
    assert new_prompt("One {x}.\n\nTwo.", TEMPLATE) == "One {x}.\n\nTwo."


def test_what_is_put_in_is_never_read_as_a_template():
    filled = fill("a {prompt} b {critiques}", prompt="{critiques} {input}", critiques="c")
    assert filled == "a {critiques} {input} b c"
