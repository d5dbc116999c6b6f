"""The notebooks run from the first cell to the last, and what is stored with them is what they say."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import gradbook as gb

ROOT = Path(__file__).resolve().parent.parent
MADE = {"00_start_here": "my_first", "01_every_arm": "my_arm"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.embedded
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_the_smallest_model(path, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADBOOK_THREADS", "1")
    shutil.copytree(ROOT / "casestudies", tmp_path / "casestudies")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # the same cells, on a model and on splits that answer in seconds
        cell.source = cell.source.replace("gb.connect()", 'gb.connect("smollm2-135m", sampling={"max_tokens": 16})')
        cell.source = cell.source.replace("sizes=(30, 30, 40)", "sizes=(6, 4, 4)")
    NotebookClient(notebook, timeout=300, store_widget_state=False, resources={"metadata": {"path": str(folder)}}).execute()
    assert len(gb.Recording(folder / "cases" / MADE[path.stem])) > 1 if path.stem in MADE else not (folder / "cases").exists()
    assert path.stem != "00_start_here" or (folder / "cases" / "my_first.html").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_outputs_and_no_path_of_a_machine(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code) and sum(bool(cell.outputs) for cell in code) >= len(code) - 1
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", path.read_text())
    assert " object at 0x" not in path.read_text()
    assert "widgets" not in notebook.metadata, "widget state is megabytes that no reader needs"
    assert path.stat().st_size < 500_000
