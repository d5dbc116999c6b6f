"""Exports: the report tells what the journal holds, reads by itself, and lets nothing that was written by others out of its cell."""

import json
import re
from base64 import b64decode
from html import unescape
from importlib.resources import files

import nbformat
import pytest

import gradbook as gb
from gradbook.errors import ExportError
from gradbook.export import export
from gradbook.page import figures
from report_page import EVIL, KEY, Page, evil_task, markdown_of, reply
from stub import Stub

NOTE = (
    "Look **here** at `K1`, <script>alert(4)</script>.\n\n# Heading\n\n[web](https://example.org/a) [bad](javascript:alert(5)) "
    "[data](data:text/html,x) ![picture](https://evil.example/p.png)\n\n```\ncode\n\nafter a blank line\n```\n"
)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Root, two steps, a branch of step 1 with an edited prompt critique, two replicates, notes; step 4 is under way."""
    with Stub(reply=reply, key=KEY) as stub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        folder, model = tmp_path_factory.mktemp("cases") / "my case", gb.connect("stub", base_url=stub.url)
        made = gb.Case(folder, task=evil_task(), model=model, title=f"Case {EVIL}")
        first = made.step()
        made.step()
        words = first.prompt_critique[1].text.replace("Use K1.", "Use K2 instead.")
        branch = made.perturb(first, gb.edits.replace("prompt_critique", example=1, text=words, why="what if <i>"), note=NOTE)
        made.compare(first, branch, "validation", replicates=2)
        made.score(branch, "test")
        made.go(2)

        unfinished = made.begin()
        gb.background.run(made.runner.advance(unfinished.id))
        yield made
        made.close()


@pytest.fixture(scope="module")
def written(case, tmp_path_factory):
    """Both exports of the case: the notebook and the page."""
    folder = tmp_path_factory.mktemp("out")
    return case.export(folder / "new folder" / "case.ipynb"), case.export(folder / "case.html")


def test_the_notebook_is_valid_and_can_be_run_on(written, case):
    notebook = nbformat.read(written[0], as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].source.startswith("import gradbook as gb") and 'gb.Recording("my case")' in code[0].source
    for cell in code:
        compile(cell.source, "cell", "exec")
    compare = next(cell for cell in code if "compare(1, 3" in cell.source)
    assert compare.source == 'case.compare(1, 3, "validation", replicates=2)'
    assert compare.outputs[1].data["text/html"] == case.comparison(1, 3, "validation")._repr_html_()
    pictures = [output.data["image/png"] for cell in code for output in cell.outputs if "image/png" in output.data]
    assert len(pictures) == 2 and all(b64decode(picture).startswith(b"\x89PNG") for picture in pictures), "the scores and the effect"


def test_the_same_case_exports_the_same_bytes(written, case, tmp_path):
    for path in written:
        assert case.export(tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("place", [0, 1])
def test_the_story_is_told_in_order(written, place):
    told = markdown_of(written[0]) if place == 0 else written[1].read_text()
    steps = ["Step 0", "Step 1", "Step 2", "Step 3"]
    parts = ["How to read it", "Overview", "Step by step", *steps, "What the changes did", "For a methods section", "Versions"]
    places = [re.search(rf"(^#+ |<h\d[^>]*>){part}", told, re.M).start() for part in parts]
    assert places == sorted(places)
    assert "next stage is evaluate" in told, "an unfinished step says what is next"
    assert "branch of step 1: prompt critique of " in told and re.search(r"as in <a [^>]*>step 1</a>", told)
    assert "2 replicates of step 1, fresh samples from the rewrite on" in told


def test_an_edit_shows_the_words_that_were_struck_and_added(written):
    for told in (markdown_of(written[0]), written[1].read_text()):
        assert re.search(r"<del>K1</del><ins>K2(</ins>.?<ins>)? ?instead</ins>|<del>K1</del><ins>K2 instead</ins>", told)
        assert "edited by hand" in told and "what if <i>" in unescape(told)


def test_numbers_are_those_of_the_journal(written, case):
    page = Page(written[1].read_text()).text
    for step in (1, 2, 3):
        share = case.metrics(step).accuracy
        assert f"{share.value:.1%} ({share.count}/{share.total})" in page
    comparison = case.comparison(1, 3, "validation")
    assert str(comparison) in page and len(comparison.before.floor) == len(comparison.after.floor) == 2
    assert comparison.fixed and f"{comparison.fixed} fixed and {comparison.broken} broken" in page
    for value in (*comparison.before.floor, *comparison.after.floor):
        assert f"{value:.1%}" in page
    assert f"{case.spent.calls:,} calls" in page


def test_what_others_wrote_stays_text(written, case):
    page = Page(written[1].read_text())
    allowed = "html head meta title style body main nav section div span p br ul ol li h1 h2 h3 h4 table thead tbody tr th td"
    allowed += " details summary blockquote small ins del strong em i b code pre a"
    drawn = ["svg", "text", "line", "path", "circle", "rect"]
    assert {tag for tag, _ in page.tags} <= {*allowed.split(), *drawn}
    attributes = {name for tag, attrs in page.tags if tag not in ("html", "meta", *drawn) for name in attrs}
    ours = {"class", "id", "href", "scope", "title", "open", "style", "role", "tabindex", "rel"}
    assert not {name for name in attributes if name not in ours and not name.startswith(("data-", "aria-"))}
    output = case[2].predict[0].output
    assert re.sub(r"\s+", " ", output) in page.text.replace("\ufffd", ""), "every sign of an output is there, as text"


def test_markdown_cells_hold_no_markup_of_others(written):
    told = markdown_of(written[0])
    for sign in ("<script", "<img", "](javascript", "](https://evil", "$", "`", "**", "{{", "\\", "# not a heading", "| b"):
        assert sign not in told, sign
    assert unescape(told).count("alert(1)") > 10


def test_a_note_is_markdown_without_raw_html_scripts_or_images(written):
    page = Page(written[1].read_text())
    links = [attrs.get("href") for tag, attrs in page.tags if tag == "a"]
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    outside = [link for link in links if not (link or "").startswith("#")]
    assert outside == ["https://example.org/a", *[None] * (len(outside) - 1)]
    assert {link[1:] for link in links if link and link.startswith("#")} - ids <= {"harmful-link"}, "every entry of the contents is there"
    source = written[1].read_text()
    assert "Look <strong>here</strong> at <code>K1</code>, &lt;script&gt;" in source and "<h4>Heading</h4>" in source
    assert "after a blank line" in page.text and "(image: picture, https://evil.example/p.png)" in page.text


def test_the_page_asks_for_nothing_from_elsewhere(written):
    source = written[1].read_text()
    assert not re.search(r"<(script|link|img|iframe|object|embed|base)\b", source)
    marks = re.sub(r">[^<]*<", "><", re.sub(r"<style>.*?</style>", "", source, flags=re.S))
    assert not re.search(r"(src|srcset|action)=|url\(|@import", marks) and not re.search(r"url\(|@import", page_style())
    assert "default-src 'none'" in source
    assert len(source) < 500_000 and written[0].stat().st_size < 500_000


def page_style() -> str:
    return files("gradbook.page").joinpath("style.css").read_text()


def test_neither_key_nor_a_path_of_the_machine_is_written(written, case):
    for path in written:
        told = path.read_text()
        assert KEY not in told and str(case.path.parent) not in told and "/root" not in told and "/home" not in told


def test_an_existing_file_is_replaced_and_no_draft_stays(case, tmp_path):
    out = tmp_path / "case.ipynb"
    out.write_text("old")
    linked = tmp_path / "old"
    linked.hardlink_to(out)
    assert case.export(out) == out and json.loads(out.read_text())["nbformat"] == 4
    assert linked.read_text() == "old", "the old file was replaced, not written over"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.ipynb", "old"]


def test_endings_and_places_that_cannot_be(case, tmp_path):
    with pytest.raises(ExportError, match=r"case\.pdf should end in \.ipynb .* or \.html"):
        export(case, tmp_path / "case.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        export(case, tmp_path / "file" / "case.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ExportError, match="cannot be written"):
        export(case, tmp_path / "folder.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.html"]


def test_a_case_that_holds_only_its_root(tmp_path):
    fresh = gb.Case(tmp_path / "fresh", task=evil_task())
    notebook = nbformat.read(fresh.export(tmp_path / "fresh.ipynb"), as_version=4)
    nbformat.validate(notebook)
    told = markdown_of(tmp_path / "fresh.ipynb")
    assert "No split has been scored" in told and "What the changes did" not in told
    assert "seed prompt" in fresh.export(tmp_path / "fresh.html").read_text()


def test_the_plot_is_drawn_without_a_browser_and_described(written):
    page = Page(written[1].read_text())
    drawn = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert len(drawn) == 2 and drawn[0].startswith("Scores over the steps") and "step 1 and step 3" in drawn[1]


@pytest.mark.parametrize("ending", ["html", "ipynb"])
def test_annotations_can_be_left_out(case, tmp_path, ending):
    told = {which: unescape(case.export(tmp_path / f"{which}.{ending}", which).read_text()) for which in ("all", "mine", "none")}
    assert [which for which, text in told.items() if "what if" in text] == ["all", "mine"]
    assert [which for which, text in told.items() if "after a blank line" in text] == ["all", "mine"]


def test_annotations_that_are_none_of_these_are_refused(case, tmp_path):
    with pytest.raises(ExportError, match='annotations should be "all", "mine" or "none", not "some"'):
        export(case, tmp_path / "x.html", "some")


def test_the_figure_holds_the_scores(case):
    figure = figures.score_figure(case)
    drawn = {(trace.name, trace.xaxis or "x"): list(trace.y or ()) for trace in figure.data}
    assert drawn["branch", "x"] == [case.metrics(3).accuracy.value]
    assert set(case.comparison(1, 3, "validation").before.floor) <= set(drawn["run again without a change", "x"])
    assert [annotation.text for annotation in figure.layout.annotations] == ["validation: accuracy", "test: accuracy"]
