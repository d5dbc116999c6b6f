"""Imports point one way, and `import gradbook` stays cheap."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("jupyterlab", "vl_convert", "plotly", "ipywidgets", "jinja2", "xllamacpp", "textgrad", "gepa", "litellm", "scipy.special")


def test_imports_point_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    failed = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert not failed, capsys.readouterr().out


def test_importing_gradbook_loads_nothing_that_only_some_need() -> None:
    code = f"import sys, gradbook; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
