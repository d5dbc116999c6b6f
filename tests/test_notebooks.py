"""The notebooks run from the first cell to the last, and what is stored with them is what they say."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import gradbook as gb
from stub import Stub

ROOT = Path(__file__).resolve().parent.parent
MADE = {"00_start_here": "my_first", "01_every_arm": "my_arm", "your_own_case": "mine"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def run(path: Path, folder: Path, **replaced: str) -> None:
    """Execute a notebook beside a copy of the recorded cases; only those that say so make a case of their own."""
    shutil.copytree(ROOT / "casestudies", folder.parent / "casestudies")
    folder.mkdir()
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for old, new in replaced.items():
            cell.source = cell.source.replace(old, new)
    NotebookClient(notebook, timeout=300, store_widget_state=False, resources={"metadata": {"path": str(folder)}}).execute()
    made = [place.name for place in (folder / "cases").glob("*") if place.is_dir()] if (folder / "cases").exists() else []
    assert made == [MADE[path.stem]] if path.stem in MADE else not made
    assert not made or len(gb.Recording(folder / "cases" / made[0])) > 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_with_no_model_installed_and_no_key(path, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADBOOK_WEIGHTS", str(tmp_path / "no weights"))
    monkeypatch.setenv("GRADBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRADBOOK_MODEL", raising=False)
    with Stub(reply=lambda messages, body: "K2" if messages[0]["role"] == "system" else "Inputs about money get K2.") as stub:
        if path.stem in MADE:  # what these ask is asked of whatever endpoint there is
            monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        run(path, tmp_path / "notebooks")
        assert bool(stub.requests) == (path.stem in MADE)
    assert not (tmp_path / "no weights").exists()


@pytest.mark.embedded
@pytest.mark.parametrize("stem", MADE)
def test_a_notebook_runs_on_the_smallest_model(stem, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADBOOK_THREADS", "1")
    small = 'gb.connect("smollm2-135m", sampling={"max_tokens": 16})'  # the same cells, on a model and on splits that answer in seconds
    sizes = {"sizes=(30, 30, 40)": "sizes=(6, 4, 4)", "sizes=(24, 16, 24)": "sizes=(6, 4, 4)"}
    run(ROOT / "notebooks" / f"{stem}.ipynb", tmp_path / "notebooks", **{"gb.connect()": small}, **sizes)
    assert stem != "00_start_here" or (tmp_path / "notebooks" / "cases" / "my_first.html").exists()


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
