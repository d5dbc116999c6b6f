"""A forecast in real JupyterLab: chosen with a click, kept, and there again in the next kernel."""

import json

from playwright.sync_api import expect

from browser.lab import write_notebook

CELLS = (
    'import gradbook as gb\nforecast = gb.Forecast("labels", "Wrong labels in place of correct ones", ["it helps", "it harms"])\nforecast',
    'forecast.beside("undecided")',
)


def test_a_forecast_is_chosen_by_a_click_and_is_there_in_the_next_kernel(open_lab, tmp_path):
    page = open_lab(write_notebook(tmp_path / "ask.ipynb", *CELLS))
    page.open("ask.ipynb")
    page.run_cell(0)
    chosen = page.get_by_role("radio", name="it harms")
    chosen.check()
    expect(page.get_by_text("Kept: it harms (20")).to_be_visible()
    page.run_cell(1)
    expect(page.get_by_role("cell", name="it harms (20")).to_be_visible()
    (line,) = (page.lab.root / "cases" / "forecasts.jsonl").read_text().splitlines()
    assert json.loads(line)["answer"] == "it harms" and json.loads(line)["seen"] is False
    page.restart()
    page.run_cell(0)
    expect(chosen).to_be_checked()
    assert page.errors == [] and page.foreign == []
