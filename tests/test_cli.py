"""The command line."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from gradbook import casebook, cli
from gradbook.cli import main
from gradbook.errors import ModelError

RECORDED = Path(__file__).resolve().parent.parent / "casestudies" / "first_step"


def test_models_lists_sizes_licences_and_hashes(capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    for word in (
        "qwen2.5-coder-1.5b: ",
        "the default: writes",
        "qwen2.5-coder-0.5b",
        "smollm2-135m",
        "1,117 MB",
        "Apache-2.0",
        "b179c9523d0e6a0f",
    ):
        assert word in said


def test_an_unknown_model_is_refused_in_a_sentence(capsys):
    assert main(["models", "get", "gpt-9"]) == 1
    said = capsys.readouterr().err
    assert "gpt-9" in said and "smollm2-135m" in said and "Traceback" not in said


def test_replay_prints_the_steps_of_a_recorded_case(capsys):
    assert main(["replay", str(RECORDED), "--print"]) == 0
    said = capsys.readouterr().out
    assert "seed prompt" in said and "✎ prompt critique" in said and "note:" in said and "validation" in said


def test_replay_names_the_arm_of_each_step(capsys):
    assert main(["replay", str(RECORDED.parent / "every_arm"), "--print"]) == 0
    said = capsys.readouterr().out
    assert all(f", {arm}: validation accuracy" in said for arm in ("step", "one-step", "rewrite", "improve", "wrong labels", "no labels"))
    assert "⚖ critic: validation agreement" in said


def test_replay_needs_no_widgets():
    heavy = {"ipywidgets", "anywidget", "plotly", "jinja2"}
    code = f"import sys; from gradbook.cli import main; main(sys.argv[1:]); print({heavy} & set(sys.modules), file=sys.stderr)"
    said = subprocess.run([sys.executable, "-c", code, "replay", str(RECORDED), "--print"], capture_output=True, text=True, check=True)
    assert "seed prompt" in said.stdout and said.stderr.strip() == "set()"


def test_an_export_without_annotations(capsys, tmp_path):
    for which, there in (("all", True), ("none", False)):
        assert main(["export", str(RECORDED), str(tmp_path / "story.html"), "--annotations", which]) == 0
        assert ("as its evaluation says" in (tmp_path / "story.html").read_text()) == there
    capsys.readouterr()


def test_export_writes_where_it_is_told(capsys, tmp_path):
    assert main(["export", str(RECORDED), str(tmp_path / "story.ipynb")]) == 0
    assert (tmp_path / "story.ipynb").stat().st_size > 10_000
    assert main(["export", str(RECORDED), str(tmp_path / "story.pdf")]) == 1
    assert ".ipynb" in capsys.readouterr().err


def test_a_folder_that_is_no_case_is_refused_and_left_as_it_was(capsys, tmp_path):
    assert main(["replay", str(tmp_path)]) == 1
    assert "is not a case" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_lab_names_a_notebook_that_is_missing(capsys, tmp_path):
    assert main(["lab", str(tmp_path / "none.ipynb")]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The commands that would have been run, in an empty folder where nothing names a model and nothing can be fetched."""
    commands: list[list[str]] = []
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("GRADBOOK_WEIGHTS", str(tmp_path / "weights"))
    for name in ("GRADBOOK_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli.subprocess, "call", lambda command: commands.append(command) or 0)
    return commands


def test_lab_in_an_empty_folder_lays_out_what_comes_with_gradbook(asked, capsys):
    assert main(["lab", "--model", "none", "--no-browser"]) == 0
    assert asked[0][-2:] == ["notebooks/00_start_here.ipynb", "--no-browser"] and "The notebooks are in" in capsys.readouterr().out
    for notebook in Path("notebooks").glob("*.ipynb"):
        for name in re.findall(r"\.\./casestudies/(\w+)", notebook.read_text()):
            assert Path("casestudies", name, "README.md").exists(), f"{notebook} reads {name}"
    Path("notebooks", "mine.txt").write_text("mine")
    assert main(["lab", "--model", "none"]) == 0 and Path("notebooks", "mine.txt").read_text() == "mine"
    assert main(["casebook"]) == 1 and "nothing in it is touched" in capsys.readouterr().err
    assert main(["casebook", "elsewhere"]) == 0 and Path("elsewhere", "notebooks", "00_start_here.ipynb").exists()


def test_the_wheel_holds_what_is_laid_out():
    wheel = tomllib.loads((casebook.SOURCE / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {part: wheel["sources"][part] for part in casebook.PARTS} == {part: f"gradbook/casebook/{part}" for part in casebook.PARTS}
    assert set(casebook.PARTS) < set(wheel["only-include"])


def test_lab_leaves_a_folder_with_something_in_it_alone(asked):
    Path("thesis.txt").write_text("mine")
    assert main(["lab", "--model", "none"]) == 0 and [path.name for path in Path().iterdir()] == ["thesis.txt"]


def test_lab_opens_where_no_weights_can_be_had_and_says_what_to_do(asked, capsys, monkeypatch):
    def fail(name):
        raise ModelError(f"{name} cannot be fetched")

    monkeypatch.setattr("gradbook.models.weights.fetch", fail)
    Path("thesis.txt").write_text("mine")
    assert main(["lab"]) == 0 and len(asked) == 1
    said = capsys.readouterr()
    assert "1,117 MB" in said.out and "cannot be fetched" in said.err and "every recorded case can be read" in said.err
    for names in ({"OPENAI_BASE_URL": "http://mine/v1"}, {"OPENAI_API_KEY": "k"}, {"GRADBOOK_MODEL": "gpt-9"}):
        with monkeypatch.context() as here:
            for name, value in names.items():
                here.setenv(name, value)
            assert main(["lab"]) == 0 and capsys.readouterr().err == "", f"{names} names a model, so no weights are fetched"
    with monkeypatch.context() as here:
        here.setenv("GRADBOOK_MODEL", "smollm2-135m")
        assert main(["lab"]) == 0 and "smollm2-135m cannot be fetched" in capsys.readouterr().err
    assert main(["lab", "--model", "gpt-9"]) == 1 and "gradbook models" in capsys.readouterr().err


def test_the_recorded_case_is_not_changed_by_reading_it(tmp_path):
    before = {path.name: path.read_bytes() for path in RECORDED.iterdir()}
    assert main(["replay", str(RECORDED), "--print"]) == 0
    assert {path.name: path.read_bytes() for path in RECORDED.iterdir()} == before
    copy = shutil.copytree(RECORDED, tmp_path / "copy")
    assert main(["replay", str(copy), "--print"]) == 0


def test_replay_opens_a_notebook_that_shows_the_case_at_once_and_is_not_written_over(tmp_path, monkeypatch):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.subprocess, "call", lambda command: asked.append(command) or 0)
    shutil.copytree(RECORDED, tmp_path / 'it\'s "mine"')
    for _ in range(2):
        assert main(["replay", 'it\'s "mine"', "--no-browser"]) == 0
    path = tmp_path / "cases" / 'replay_it\'s "mine".ipynb'
    assert asked == [[sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={tmp_path}", str(path), "--no-browser"]] * 2
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    (cell,) = notebook.cells
    assert "prompt critique" in cell.outputs[0].data["text/html"], "it reads before it is run"
    monkeypatch.chdir(path.parent)
    names: dict = {}
    exec(cell.source, names)
    assert names["stepper"].case.path == tmp_path / 'it\'s "mine"'
    path.write_text("mine")
    assert main(["replay", str(tmp_path / 'it\'s "mine"')]) == 0 and path.read_text() == "mine"
