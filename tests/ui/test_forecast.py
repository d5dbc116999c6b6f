"""A reader's forecast is kept, and stands beside what came out as it was made."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradbook as gb

ASKED = ("labels", "Without labels the score will", ("fall", "stay", "rise <b>"))


def test_a_choice_is_kept_and_stands_beside_the_outcome(tmp_path):
    forecast = gb.Forecast(*ASKED, folder=tmp_path / "cases")
    assert forecast.choice.value is None and not (tmp_path / "cases").exists(), "to look at a question writes nothing"
    assert "none was made" in str(forecast.beside("undecided"))
    asked = gb.Forecast(*ASKED, folder=tmp_path / "cases")
    asked.choice.value = "fall"
    asked.choice.value = "rise <b>"
    assert "Kept: rise &lt;b&gt;" in asked.told.value
    again = gb.Forecast(*ASKED, folder=tmp_path / "cases")
    assert again.choice.value == "rise <b>" and again.said.startswith("rise <b> (20")
    page = again.beside("undecided, +3 points")._repr_html_()
    assert "rise &lt;b&gt;" in page and "undecided, +3 points" in page and "<b>" not in page


def test_hindsight_does_not_take_the_place_of_a_forecast(tmp_path):
    forecast = gb.Forecast(*ASKED, folder=tmp_path)
    forecast.choice.value = "stay"
    forecast.beside("fell")
    forecast.choice.value = "fall"
    assert forecast.beside("fell").forecast.startswith("stay (")
    assert gb.Forecast(*ASKED, folder=tmp_path).said.startswith("stay ("), "nor in another kernel"
    late = gb.Forecast("other", *ASKED[1:], folder=tmp_path)
    late.beside("fell")
    late.choice.value = "fall"
    assert late.said.endswith("when the outcome was in view)")


def test_questions_do_not_mix(tmp_path):
    for name, answer in (("one", "fall"), ("two", "stay")):
        gb.Forecast(name, *ASKED[1:], folder=tmp_path).choice.value = answer
    assert gb.Forecast("one", *ASKED[1:], folder=tmp_path).choice.value == "fall"
    assert gb.Forecast("two", "Another", ("up", "down"), folder=tmp_path).choice.value is None, "an answer that is none any more"


@given(line=st.sampled_from([b"{", b"[]", b'{"name": "labels"}', b"\xff", b'"x"', b"1e999"]))
def test_a_file_that_holds_something_else_is_named_and_left(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    (folder / "forecasts.jsonl").write_bytes(line + b"\n")
    with pytest.raises(gb.GradbookError, match=r"forecasts\.jsonl, line 1"):
        gb.Forecast(*ASKED, folder=folder)
    assert (folder / "forecasts.jsonl").read_bytes() == line + b"\n"


def test_a_torn_line_costs_no_later_choice(tmp_path):
    gb.Forecast(*ASKED, folder=tmp_path).choice.value = "fall"
    file = tmp_path / "forecasts.jsonl"
    file.write_bytes(file.read_bytes() + b'{"name": "labels", "ans')
    gb.Forecast(*ASKED, folder=tmp_path).choice.value = "stay"
    assert [json.loads(line)["answer"] for line in file.read_text().splitlines()] == ["fall", "stay"]


def test_where_it_cannot_be_kept_the_page_says_so(tmp_path):
    forecast = gb.Forecast(*ASKED, folder=tmp_path / "cases")
    (tmp_path / "cases").write_text("a file")
    forecast.choice.value = "fall"
    assert "not kept" in forecast.told.value and "role=" in forecast.told.value and forecast.said == ""


def test_what_is_stored_reads_without_a_kernel(tmp_path):
    data = gb.Forecast(*ASKED, folder=tmp_path)._repr_mimebundle_()
    assert "<li>fall</li><li>stay</li><li>rise &lt;b&gt;</li>" in data["text/html"] and "Run this cell" in data["text/html"]
