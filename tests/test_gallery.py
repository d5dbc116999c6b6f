"""The gallery: a page for each case, study and notebook, whose links lead somewhere, and nothing of which comes from elsewhere."""

import importlib.util
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright

import gradbook as gb
from browser.lab import launch

ROOT = Path(__file__).resolve().parent.parent
SPEC = importlib.util.spec_from_file_location("casestudies_gallery", ROOT / "casestudies" / "gallery.py")
assert SPEC and SPEC.loader
gallery = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gallery)
CASES, NOTEBOOKS = (sorted((ROOT / folder).glob(name)) for folder, name in (("casestudies", "*/README.md"), ("notebooks", "*.ipynb")))
SHOWN = {path.parent.name for path in CASES} | {path.stem for path in NOTEBOOKS}


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    return gallery.build(tmp_path_factory.mktemp("site") / "gallery")


def pages(index: Path) -> dict[str, BeautifulSoup]:
    return {path.name: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in index.parent.iterdir()}


def test_every_case_study_and_notebook_has_a_page_and_a_line_that_says_what_it_shows(index):
    found = pages(index)
    assert found.keys() == {"index.html", *(f"{name}.html" for name in SHOWN)}
    rows = found["index.html"].find_all("li", attrs={"data-page": True})
    assert {row["data-page"].removesuffix(".html") for row in rows} == SHOWN
    assert all(len(row.strong.get_text()) > 5 and len(row.get_text()) > 40 for row in rows)


def test_links_lead_to_what_is_there(index):
    found = pages(index)
    ids = {name: {each["id"] for each in page.find_all(id=True)} for name, page in found.items()}
    assert all(page.find("a", href="index.html") for name, page in found.items() if name != "index.html"), "there is a way back"
    for name, page in found.items():
        for link in (a["href"] for a in page.find_all("a", href=True)):
            if re.match(r"(https?|mailto):", link):
                continue
            file, _, place = link.partition("#")
            assert (file or name) in found and (not place or place in ids[file or name]), f"{name}: {link}"


def test_nothing_comes_from_elsewhere_and_no_page_is_large(index):
    for name, page in pages(index).items():
        assert not page.find_all(["link", "iframe", "object", "embed"]) and not page.find_all("script", src=True)
        assert all(img["src"].startswith("data:") for img in page.find_all("img")), name
        assert "default-src 'none'" in page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
        assert len(page.find_all("script")) == (name == "index.html")
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", str(page)), "no path of a machine"
        assert (index.parent / name).stat().st_size < 2_000_000


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(gb.GradbookError, match="holds something already"):
        gallery.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_it_opens_from_the_file_system_and_can_be_searched(index, chromium):
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        page = browser.new_context(offline=True).new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
        page.goto(index.as_uri())
        assert page.locator("li[data-page]:visible").count() == len(SHOWN)
        page.get_by_label("Search").fill("GAIN classes")
        shown = page.locator("li[data-page]:visible").evaluate_all("rows => rows.map(row => row.dataset.page)")
        assert 0 < len(shown) < len(SHOWN) and f"{len(shown)} of {len(SHOWN)} shown" in page.locator("[role=status]").inner_text()
        page.get_by_label("Search").fill("")
        assert page.locator("li[data-page]:visible").count() == len(SHOWN)
        for width in (390, 1200):
            page.set_viewport_size({"width": width, "height": 800})
            for name in sorted(SHOWN):
                page.goto((index.parent / f"{name}.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} at {width}"
        browser.close()
        assert not said
