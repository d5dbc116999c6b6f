"""Taking a prompt apart: no word is lost, cuts are where a reader sees them, and what stays is set apart as it was."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook.errors import CaseError
from gradbook.findings.sections import MOST, recut, sections, without
from texts import assert_in_proportion

HOSTILE = st.one_of(
    st.text(max_size=200),
    st.text(alphabet="ab .!?:\n\r\t#-*`~1)(<>_。\u2028\x0b\u00a0\ud83d", max_size=200),
    st.lists(st.sampled_from(["# A\n", "- b. C.\n", "```\n", "~~~\n", "a\n", "\n", "  c\n", "1. d\n", "**E**\n", "F. ", "<g>\n"])).map(
        "".join
    ),
)


def parts(text, **more):
    return [text[start:end] for start, end in sections(text, **more)]


@given(HOSTILE, st.integers(1, 30))
def test_sections_joined_are_the_text_and_each_says_something(text, most):
    found = parts(text, most=most)
    assert "".join(found) == text and len(found) <= most
    assert all(part.strip() for part in found) or not text.strip()


@given(HOSTILE, st.data())
def test_what_is_left_out_is_gone_and_the_rest_stands(text, data):
    spans = sections(text)
    gone = data.draw(st.sets(st.integers(0, len(spans) - 1)))
    left = without(text, spans, gone)
    stays = [text[start:end] for n, (start, end) in enumerate(spans) if n not in gone]
    assert "".join(left.split()) == "".join("".join(stays).split())
    assert left == text if not gone else all(part.rstrip() in left for part in stays)


@given(HOSTILE, st.data())
def test_cuts_can_be_put_anywhere_that_leaves_words(text, data):
    cuts = data.draw(st.sets(st.integers(0, max(len(text), 1)), max_size=5))
    try:
        found = parts(text, cuts=cuts)
    except CaseError as error:
        assert "cut" in str(error)
        return
    assert "".join(found) == text and len(found) == 1 + len(cuts - {0})
    assert sections(text, recut(text, cuts)) == sections(text, cuts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("Answer.", ["Answer."]),
        ("Use e.g. codes. Be brief!", ["Use e.g. codes. ", "Be brief!"]),
        ("# Role\n\nRoute it.\n\n## Rules\n- red. Always.\n- green,\n  at night\n", None),
        ("A line that is\nwrapped by hand. Next.", ["A line that is\nwrapped by hand. ", "Next."]),
        ("One line\nAnother line", ["One line\n", "Another line"]),
        ("Run:\n```python\na = 1\n\nb = 2\n```\nThen stop.", ["Run:\n", "```python\na = 1\n\nb = 2\n```\n", "Then stop."]),
        ("```python\nNever closed. So it is prose.\nEnd.", ["```python\n", "Never closed. ", "So it is prose.\n", "End."]),
        ("1. First. Now.\n(b) Second.\n* Third.", ["1. First. Now.\n", "(b) Second.\n", "* Third."]),
        ("<rules>\nBe kind.\n</rules>\n", ["<rules>\n", "Be kind.\n", "</rules>\n"]),
        ("一。二。", ["一。", "二。"]),
        ("\n\n  Indented. End", ["\n\n  Indented. ", "End"]),
    ],
)
def test_sections_begin_where_a_reader_sees_them_begin(text, expected):
    assert parts(text) == (expected or ["# Role\n\n", "Route it.\n\n", "## Rules\n", "- red. Always.\n", "- green,\n  at night\n"])


def part(number, sentences=12, items=5):
    said = " ".join(f"Sentence {n} of it." for n in range(sentences))
    return f"## Part {number}\n\n{said}\n\n" + "\n".join(f"- item {n}" for n in range(items))


def test_a_long_prompt_is_taken_apart_at_its_paragraphs_and_a_longer_one_at_its_headings():
    few, many = ("\n\n".join(map(part, range(count))) for count in (7, 15))
    assert len(sections(few, most=1000)) == 7 * 18
    assert [p.split()[0] for p in parts(few)] == ["##", "-"] * 7
    assert [p[:4] for p in parts(many)] == ["## P"] * 15
    prose = part(1, sentences=45, items=0)
    assert len(sections(prose)) == MOST and {len(re.findall("Sentence", p)) for p in parts(prose)[1:]} == {2, 3}


def test_cuts_are_moved_by_numbers_and_words():
    text = "Be brief. Use codes. red means K1, green means K2."
    assert parts(text, cuts=recut(text, merge=[(0, 1)])) == ["Be brief. Use codes. ", "red means K1, green means K2."]
    assert parts(text, cuts=recut(text, split={2: "green"}))[2:] == ["red means K1, ", "green means K2."]
    again = recut(text, recut(text, split={2: "green"}), merge=[(0, 2)])
    assert parts(text, cuts=again) == ["Be brief. Use codes. red means K1, ", "green means K2."]


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (lambda t: recut(t, merge=[(1, 5)]), "they are 0 to 1"),
        (lambda t: recut(t, merge=[(1, 1)]), "no sections 1 to 1"),
        (lambda t: recut(t, split={7: "b"}), "no section 7"),
        (lambda t: recut(t, split={0: "nowhere"}), "does not hold the words 'nowhere'"),
        (lambda t: recut(t, split={0: ""}), "does not hold"),
        (lambda t: sections(t, [99]), "from 1 to"),
        (lambda t: sections(t, [-1]), "from 1 to"),
        (lambda t: sections(t, [3, 4]), "the cut at 3 leaves a section without a word"),
    ],
)
def test_a_cut_that_cannot_be_is_named(moved, said):
    with pytest.raises(CaseError, match=said):
        moved("So. Be.")


def test_what_stays_is_set_apart_as_strongly_as_it_was():
    text = "Intro. More.\n\nLast one.\n- a\n- b\n"
    spans = sections(text)
    assert without(text, spans, {1}) == "Intro.\n\nLast one.\n- a\n- b"
    assert without(text, spans, {1, 2}) == "Intro.\n\n- a\n- b"
    assert without(text, spans, {0, 4}) == "More.\n\nLast one.\n- a"
    assert without(text, spans, set()) == text and without(text, spans, set(range(5))) == ""


def test_a_long_text_takes_as_long_as_it_is():
    assert_in_proportion(lambda text: without(text, sections(text), {0}))
