"""Every state in real JupyterLab: complete, usable by everybody, light and dark; nothing asks anybody but the server."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from browser.states import STATES, Shown, shown, study, talk, walk
from stub import Stub

BRANCHES = 60
MOODS = ("light", "dark")
CUT = """() => [...document.querySelectorAll('.gradbook-stepper *:not(input, textarea, select)')]
    .filter(at => at.clientWidth && at.scrollWidth > at.clientWidth + 2 && !['visible', 'auto'].includes(getComputedStyle(at).overflowX))
    .map(at => `${at.className || at.tagName}: ${at.scrollWidth} in ${at.clientWidth}`)"""
WIDER = "() => { const at = document.querySelector('.gradbook-stepper'); return at.scrollWidth - at.clientWidth; }"


@pytest.fixture
def bench(browser: Browser) -> Iterator[Shown]:
    with shown(browser, BRANCHES) as made:
        yield made


@pytest.mark.slow
def test_every_state_is_whole_and_axe_finds_nothing_serious(bench: Shown) -> None:
    axe, found, seen = Axe(), [], []
    for state in walk(bench):
        seen.append(state.name)
        for mood in MOODS:
            bench.page.theme(mood)
            broken = axe.run(bench.page.page, context=".gradbook-stepper").response["violations"]
            found += [f"{state.name}, {mood}: {_told(rule)}" for rule in broken if rule["impact"] in ("serious", "critical")]
        for width in (600, 720, 1600):
            bench.widen(width)
            found += [f"{state.name} at {width}: {cut}" for cut in bench.page.evaluate(CUT)]
            assert bench.page.evaluate(WIDER) <= 2, f"{state.name} is wider than {width}"
        bench.widen(1200)
    assert found == []
    assert seen == [state.name for state in STATES]
    assert bench.page.foreign == []
    assert not [error for error in bench.page.errors if not re.search(r"favicon|404", error)]


def test_the_page_of_a_study_is_whole_from_a_phone_to_a_wide_screen_and_asks_nobody(browser: Browser, tmp_path: Path) -> None:
    with Stub(reply=talk) as stub:
        made = study(tmp_path / "study", stub)
        made.run()
        address = made.export(tmp_path / "study.html").as_uri()
    for width, mood in ((390, "light"), (1200, "light"), (1200, "dark")):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=mood)
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(address)
        assert asked == [address] and page.locator("svg").count() >= 8
        assert page.evaluate("document.documentElement.scrollWidth") == width
        broken = Axe().run(page).response["violations"]
        assert [_told(rule) for rule in broken if rule["impact"] in ("serious", "critical")] == []
        page.close()


def _told(rule: dict) -> str:
    return f"{rule['id']}: {rule['nodes'][0]['html'][:200]} ({len(rule['nodes'])})"
