"""How long a notebook of the casebook takes to open in JupyterLab, and to be at work: from the address to its first live widget."""

import time
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

from browser.lab import Lab, lab, lab_page, launch, write_notebook

ROOT = Path(__file__).resolve().parents[2]
ASKS_FIRST = "your_own_case"  # a model is asked before there is anything to see
WIDGETS = ("gb.Stepper(", "gb.Forecast(", "gb.StudyBook(")
LIVE = ".gradbook button, .widget-radio-box input"


def first_live(path: Path) -> int:
    """The place of the first cell that shows a widget."""
    cells = enumerate(nbformat.read(path, 4).cells)
    return next(n for n, cell in cells if cell.cell_type == "code" and any(widget in cell.source for widget in WIDGETS))


def end_kernels(server: Lab) -> None:
    """Leave nothing running that would slow the next one down."""
    for kernel in server.get("/api/kernels"):
        address = f"{server.url}/api/kernels/{kernel['id']}?token={server.token}"
        urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=10)


def test_notebooks_are_open_and_at_work_in_seconds(chromium, report, tmp_path):
    for part in ("notebooks", "casestudies"):
        (tmp_path / part).symlink_to(ROOT / part)
    write_notebook(tmp_path / "bare.ipynb", "import pandas, ipywidgets\nipywidgets.Button(description='here')")
    paths = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if path.stem != ASKS_FIRST]
    opened: dict[str, tuple[float, float]] = {}
    with sync_playwright() as playwright, lab(tmp_path) as server:
        browser = launch(playwright, chromium)
        for name, upto, live in [
            ("bare.ipynb", 0, "button.jupyter-button"),
            *((f"notebooks/{p.name}", first_live(p), LIVE) for p in paths),
        ]:
            with lab_page(browser, server) as page:
                begun = time.monotonic()
                page.open(name)
                seen = time.monotonic() - begun
                for index in range(upto + 1):
                    page.run_cell(index)
                page.locator(live).first.wait_for()
                opened[name] = seen, time.monotonic() - begun
                assert not page.foreign
            end_kernels(server)
        browser.close()
    bare = opened.pop("bare.ipynb")
    report("an empty notebook: pandas and a button", f"{bare[0]:4.1f} s to open, {bare[1]:4.1f} s to a live widget")
    for name, (seen, live) in opened.items():
        report(name, f"{seen:4.1f} s to open, {live:4.1f} s to a live widget, {live / bare[1]:.1f} of the empty one's")
        assert live < 10 * bare[1]
