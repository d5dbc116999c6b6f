"""What was removed and what was added."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook.diff import Segment, segments
from gradbook.markdown import LONG, note_html, note_text
from texts import assert_in_proportion, long_texts

TEXTS = st.one_of(
    st.text("ab .\n<>&", max_size=40),
    st.lists(st.sampled_from(["Sort it. ", "a ", "b. ", "\n", "New rule: ", "é", "答案"]), max_size=60).map("".join),
    st.text(max_size=60),
)


def side(told: list[Segment], without: str) -> str:
    return "".join(segment.text for segment in told if segment.kind != without)


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_back(before, after):
    told = segments(before, after)
    assert side(told, "added") == before and side(told, "removed") == after
    assert all(segment.text for segment in told) and all(one.kind != other.kind for one, other in pairwise(told))


@pytest.mark.parametrize("length", [3_000, 40_000])
def test_both_texts_can_be_read_back_where_they_are_long(length):
    texts = list(long_texts(length).values())
    for before, other in pairwise(texts):
        after = before[len(before) // 3 :] + other[: length // 2]
        told = segments(before, after)
        assert side(told, "added") == before and side(told, "removed") == after


def test_a_replaced_passage_is_struck_and_added_as_a_whole():
    told = segments("tickets do not guess now", "tickets lost parcel now")
    assert [segment.text for segment in told] == ["tickets ", "do not guess", "lost parcel", " now"]


def test_a_change_in_a_long_text_is_told_by_the_word():
    before = long_texts(60_000)["prose"]
    for n in (3, 500, 900):
        assert f"Input {n} is" in before
    after = before.replace("Input 3 is", "Input 3 was").replace("Input 500 is about", "Input 500 is not about").replace("Input 900 ", "")
    assert [(segment.kind, segment.text) for segment in segments(before, after) if segment.kind != "same"] == [
        ("removed", "is"),
        ("added", "was"),
        ("added", "not "),
        ("removed", " Input 900"),
    ]


def test_what_is_too_long_to_compare_says_so():
    before, after = "x y " * 20_000, "x z " * 20_000
    changed = [segment for segment in segments(before, after) if segment.kind != "same"]
    assert [(segment.kind, segment.compared) for segment in changed] == [("removed", False), ("added", False)]
    assert all(segment.compared for segment in segments("x y " * 20, "x z " * 20))


@pytest.mark.parametrize("change", [lambda text: text[len(text) // 3 :] + text[: len(text) // 2], lambda text: text.replace("a", "b")])
def test_differences_grow_in_proportion_to_the_text(change):
    assert_in_proportion(lambda text: segments(text, change(text)))


def test_a_note_is_markdown_without_raw_html_scripts_or_pictures():
    html = note_html("**b** <script>x</script> [a](javascript:alert(1)) ![p](http://x/y.png)\n\n- one")
    assert "<strong>b</strong>" in html and "<li>one" in html
    assert "<script" not in html and "<img" not in html and 'href="javascript' not in html


def test_half_an_emoji_in_a_note_is_drawn_as_something_else():
    assert note_html("a \ud83d b") == "<p>a ? b</p>" and note_text("a \ud83d b") == "a ? b"


def test_a_long_note_stands_as_it_is_and_says_so():
    html = note_html("**b** <script>\n" * LONG)
    assert "Markdown is drawn up to 10,000" in html and "<script" not in html and "<strong>" not in html
    assert note_html("**b**" + " " * (LONG - 5)) == "<p><strong>b</strong></p>"
    assert note_text("*a*\n" * LONG).startswith("*a*\n*a*")


def test_notes_grow_in_proportion_to_the_text():
    assert_in_proportion(note_html, short=600)
    assert_in_proportion(note_html)
