"""What a study shows: figures, the page, the book of verdicts, and the picture while it runs."""

import json
import math
import re
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

import gradbook as gb
from gradbook import tell
from gradbook.errors import CaseError, ExportError, StudyError
from gradbook.page import charts, study_figures
from gradbook.studies.bars import Bars, Live, watch
from report_page import Page
from small import reply, small_task
from stub import Stub
from studying import make

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '<a href="javascript:alert(1)">x</a> <b>bold</b> <img src=x onerror=alert(2)>'
ARMS = {
    "right": gb.Method(selection="naive"),
    "wrong": gb.Method(selection="naive", labels="wrong"),
    "of one": gb.Method(candidates=1),
    "of three": gb.Method(candidates=3),
    f"evil {EVIL}": gb.Method(update="improve", selection="naive"),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> gb.Study:
    with Stub(reply=reply) as stub:
        made = make(tmp_path_factory.mktemp("told"), stub.url, arms=ARMS, trials=4, tasks={EVIL: small_task()})
        made.run()
    return made


def read(html: str) -> str:
    return Page(html).text


def buttons(book: gb.StudyBook, *regions: str) -> dict[str, dict]:
    """What each button asks for, by its name."""
    page = BeautifulSoup("".join(getattr(book.verdicts, name) for name in regions or ("head", "verdicts")), "html.parser")
    return {(each.get("aria-label") or each.get_text()): json.loads(each["data-do"]) for each in page.find_all("button")}


# --- figures -----------------------------------------------------------------------------------------------------------------


def marks(figure, name: str) -> int:
    return sum(len(trace.x) for trace in figure.data if trace.name == name)


def test_figures_have_a_mark_for_each_trial_and_comparison_and_say_what_the_table_says(study):
    found = study.trials()
    arms = study.figure("arms")
    assert marks(arms, "a trial") == len(found) == 20 and marks(arms, "mean with its 95 % interval") == 5
    trials = next(trace for trace in arms.data if trace.name == "a trial")
    assert sorted(trials.x) == sorted(found["test"])
    seed = next(trace for trace in arms.data if trace.name == "seed prompt")
    assert set(seed.x) == set(found["seed_test"].round(12)) or seed.x[0] == pytest.approx(found["seed_test"].mean())
    assert marks(study.figure("candidates"), "a trial") == 8
    p = study.figure("p")
    told = study.verdicts()
    assert sum(marks(p, word) for word in study_figures.VERDICTS) == len(told) == marks(p, "p against it")
    for word in study_figures.VERDICTS:
        drawn = [x for trace in p.data if trace.name == word for x in trace.x]
        assert drawn == pytest.approx(told.loc[told["verdict"] == word, "corrected_p"].tolist())
    training = study.figure("training")
    lines = [trace for trace in training.data if trace.name == "a trial, of the minibatch"]
    assert [sum(math.isnan(y) for y in line.y) for line in lines] == [4] * 4, "a line for each trial, of the arms that see data"
    points = study.points()
    means = next(trace for trace in training.data if trace.name == "mean, of the minibatch")
    assert list(means.y) == pytest.approx(points[points["arm"] == "right"].groupby("batch")["right"].mean().tolist())


def test_the_same_is_drawn_as_svg_and_png_without_a_browser(study, tmp_path):
    for kind in study_figures.KINDS:
        drawn = ElementTree.parse(study.export(tmp_path / f"{kind}.svg", figure=kind)).getroot()
        assert drawn.tag == f"{SVG}svg"
        assert {part.tag.removeprefix(SVG) for part in drawn.iter()} <= {"svg", "rect", "text", "title", "line", "path", "circle"}
        assert study.export(tmp_path / f"{kind}.png", figure=kind).read_bytes().startswith(b"\x89PNG")
    titles = [title.text or "" for title in ElementTree.parse(tmp_path / "arms.svg").iter(f"{SVG}title")]
    assert sum("trial " in title for title in titles) == 20
    with pytest.raises(StudyError, match="there are arms, training, candidates, p"):
        study.figure("violin")
    with pytest.raises(StudyError, match=r"\.html"):
        study.export(tmp_path / "study.pdf")
    with pytest.raises(ExportError, match="cannot be written"):
        study.export(tmp_path / "arms.svg" / "arms.svg")


def test_names_that_a_person_gave_stay_text_wherever_they_are_shown(study, tmp_path):
    for kind in study_figures.KINDS:
        said = json.dumps(json.loads(study.figure(kind).to_json())["layout"]) + " ".join(
            f"{trace.name} {trace.hovertext}" for trace in study.figure(kind).data
        )
        assert "<a" not in said and "<b>" not in said and "<img" not in said
    assert "&lt;a href" in study.figure("arms").to_json().replace("\\u003c", "<").replace("\\u0026", "&")
    book = gb.StudyBook(study)
    book.do("open", row=1)
    shown = [study._repr_html_(), study.export(tmp_path / "evil.html").read_text(), book.verdicts.verdicts + book.verdicts.head]
    for html in shown:
        tags = Page(html).tags
        assert not [tag for tag, facts in tags if tag in ("img", "b", "script") or facts.get("href", "").startswith("javascript")]
        assert EVIL in read(html)


def test_a_chart_without_anything_says_so_and_a_p_of_nothing_stays_on_its_scale():
    empty = charts.Chart("t", (), charts.Axis("", 0, 1), charts.Axis("", 0, 1))
    assert "No trial is done so far." in charts.draw(empty)
    assert charts.explore(empty).layout.title.text == "No trial is done so far."
    axis = charts.Axis("p", 1e-3, 1.0, "p")
    assert (axis.at(0.0), axis.at(1.0)) == (0.0, 1.0) and [value for value, _ in axis.ticks()] == pytest.approx([1e-3, 1e-2, 0.1, 1.0])


# --- the page ----------------------------------------------------------------------------------------------------------------


def test_the_page_tells_verdicts_registration_and_methods_and_asks_nobody(study, tmp_path):
    html = study.export(tmp_path / "study.html").read_text()
    said, told = read(html), study.verdicts()
    for row in told.itertuples():
        assert row.reason in said and row.property in said
    words = [tag.get_text()[2:] for tag in BeautifulSoup(html, "html.parser").select(".gb-verdicts tr > td:first-child > span")]
    assert words == told["verdict"].tolist()
    assert study.registered.id in said and "Nothing was changed since the first call." in said
    for title in ("The optimism of selection", "Accuracy on the test split by arm", "Training", "p by comparison", "For a methods section"):
        assert title in said
    soup = BeautifulSoup(html, "html.parser")
    anchors = {link["href"] for link in soup.find_all("a") if link["href"].startswith("#")}
    assert anchors and all(soup.find(id=anchor[1:]) for anchor in anchors)
    outside = [facts for _, facts in Page(html).tags if re.match(r"https?:", facts.get("src", facts.get("href", "")))]
    assert outside == [] and "<script" not in html
    assert not [link for link in soup.find_all("a") if "trials/" in link["href"]], "from elsewhere a link would tell of this machine"
    assert str(tmp_path) not in html and str(study.path) not in html
    beside = BeautifulSoup(study.export(study.path.parent / "study.html").read_text(), "html.parser")
    links = [link["href"] for link in beside.find_all("a") if "trials/" in link["href"]]
    assert len(links) == 20 and all((study.path.parent / link).is_dir() for link in links)


def test_the_methods_paragraph_has_what_a_paper_has_to_say(study):
    said, found = tell.study(study).methods, study.trials()
    for part in (
        "(6 train, 6 validation, 6 test examples)",
        "Arm “of three”: three-stage, correct labels, direct, validated of 3, batches of 3; 2 batches a trial; 4 of 4 trials done.",
        "Model in all roles: small (remote; http://127.0.0.1",
        "temperature",
        "The seed was 0",
        f"(hash {study.registered.id})",
        "±5 points",
        "100,000",
        "Holm’s method within families",
        "alpha = 0.05",
        f"In all {found['calls'].sum():,} calls of {int(found[['prompt_tokens', 'completion_tokens']].sum().sum()):,} tokens",
        f"of which {found['paid'].sum():,} were paid",
        f"Made with gradbook {gb.__version__}",
    ):
        assert part in said
    assert "hypothesiss" not in said and "familys" not in said and "nan" not in said


def test_what_was_changed_after_the_first_call_is_told_plainly(tmp_path):
    with Stub(reply=reply) as stub:
        few = {name: ARMS[name] for name in ("right", "wrong")}
        study = make(tmp_path, stub.url, arms=few, trials=2)
        study.run()
        changed = gb.Study(study.path, trials=3, margin=0.05, alpha=0.01)
    view = tell.study(changed)
    assert len(view.changes) == 3 and "alpha was 0.05 and is 0.01." in view.changes
    assert any("2 of 2" in said or "4 of 4" in said for name, said in view.registered if name == "Results")
    page = BeautifulSoup(changed.export(tmp_path / "changed.html").read_text(), "html.parser")
    red = " ".join(tag.get_text(" ") for tag in page.select(".gb-error"))
    assert all(said in red for said in view.changes)
    assert "Changed after the first call" in read(changed._repr_html_())
    assert "alpha was 0.05 and is 0.01." in view.methods


def test_before_there_are_results_a_study_shows_how_far_it_is(tmp_path):
    with Stub(reply=reply) as stub:
        study = make(tmp_path, stub.url, arms={name: ARMS[name] for name in ("right", "wrong")}, trials=3)
        said = read(study._repr_html_())
        assert "0 of 6 trials done" in said and "cannot tell" not in said and "three-stage, wrong labels" in said
        study.run(trials=1)
    assert "2 of 6 trials done, about" in read(study._repr_html_())
    assert "cannot tell" in read(study.export(tmp_path / "study.html").read_text())


@pytest.mark.parametrize(("trials", "folded"), [(30, False), (1_200, True)])
def test_many_trials_of_an_arm_are_folded(tmp_path, trials, folded):
    study = make(tmp_path, "http://127.0.0.1:1/v1", arms={"right": ARMS["right"]}, trials=trials)
    said = study.export(tmp_path / "study.html").read_text()
    assert (f"<summary>{trials:,} trials</summary>" in said) == folded


def test_a_notebook_of_a_study_has_its_figures_as_pictures(study, tmp_path):
    made = json.loads(study.export(tmp_path / "study.ipynb").read_text())
    pictures = ["".join(cell["source"]) for cell in made["cells"] for out in cell.get("outputs", ()) if "image/png" in out["data"]]
    assert pictures == [f'study.figure("{kind}")' for kind in study_figures.KINDS]
    assert "<img" not in "".join("".join(cell["source"]) for cell in made["cells"])


# --- the book ----------------------------------------------------------------------------------------------------------------


def test_a_verdict_opens_its_trials_and_a_trial_its_workbench(study):
    book = gb.StudyBook(study)
    first = next(iter(study.verdicts()["property"]))
    asked = buttons(book)
    assert first in asked and not [name for name in asked if name.startswith("Open trial")]
    book.do(**asked[first], n=1)
    opened = [name for name in buttons(book) if name.startswith("Open trial")]
    assert opened == [f"Open trial {n} of {arm}" for arm in ("right", "wrong") for n in range(4)]
    book.do(**buttons(book)["Open trial 2 of wrong"], n=2)
    assert book.verdicts.seen == 2 and book.verdicts.verdicts == "" and "Trial 2 of wrong" in read(book.verdicts.head)
    assert book.children == (book.verdicts, book.stepper) and book.stepper.case.path.parent.name.startswith("wrong")
    inner = book.stepper
    book.do(**buttons(book, "head")["← Back to the verdicts"], n=3)
    assert book.children == (book.verdicts,) and inner.comm is None and "Open trial 2 of wrong" in buttons(book)
    book.do(**buttons(book)[first], n=4)
    assert "Open trial 2 of wrong" not in buttons(book), "pressed again it closes"


def test_a_book_of_a_running_study_tells_what_waits_and_what_failed_and_reads_again(tmp_path):
    with Stub(reply=reply) as stub:
        study = make(tmp_path, stub.url, arms={name: ARMS[name] for name in ("right", "wrong")}, trials=2)
        stub.fail(400, times=1)
        study.run(trials=1, arms=["right"], concurrency=1)
        book = gb.StudyBook(study)
        book.do("open", row=0)
        said = read(book.verdicts.verdicts)
        assert "✕ failed" in said and study.failures()["error"][0] in said and "waiting" in said
        with pytest.raises(CaseError, match="not a case"):
            book.show(*study.design.places()[-1])
        book.do("trial", place=list(study.design.places()[-1]))
        assert "not a case" in read(book.verdicts.message) and book.stepper is None
        study.run()
    book.do("again")
    assert "4 of 4 trials done" in read(book.verdicts.head) and "failed" not in read(book.verdicts.verdicts)


def test_what_a_stored_notebook_keeps_of_a_book_reads_without_a_kernel(study):
    bundle = gb.StudyBook(study)._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert study.registered.hypotheses[0].name in read(data["text/html"]) and "<button" not in data["text/html"]


# --- while it runs -----------------------------------------------------------------------------------------------------------


class Shell:
    kernel = object()


def test_a_picture_is_put_out_once_and_drawn_again_as_trials_end(tmp_path, monkeypatch):
    drawn: list[str] = []

    class Shown:
        def update(self, html):
            drawn.append(html.data)

    def display(html, display_id):
        assert display_id is True
        drawn.append(html.data)
        return Shown()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("gradbook.studies.bars._OFTEN", 0.0)
    with Stub(reply=reply) as stub:
        study = make(tmp_path, stub.url, arms={name: ARMS[name] for name in ("right", "wrong")}, trials=2)
        assert isinstance(watch(study, ()), Bars), "no kernel is there"
        monkeypatch.setattr("IPython.get_ipython", Shell)
        assert isinstance(watch(study, ()), Live)
        drawn.clear()
        study.run()
    assert "0 of 4 done" in read(drawn[0]) and "4 of 4 done" in read(drawn[-1]) and len(drawn) > 4
    assert any(re.search(r"[1-3] of 4 done, \d+ s left", read(each)) for each in drawn)
    assert drawn[0].count("<circle") < drawn[-1].count("<circle") and "seed prompt" in drawn[-1]
