"""What every test stands on: an environment of its own, so that no test reads or writes what belongs to the user.

`stub.py` beside this file is importable as `stub` (pythonpath in pyproject.toml). Weights are the exception: they are data, large and
checked by their hash, so tests share the user's.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ALONE = ("test_kill.py", "test_notebooks.py")
"""What fills the machine by itself."""
JUPYTER = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
_home = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before any test module is imported: a fresh call cache, fresh Jupyter folders, no keys, no model."""
    home = config.stash[_home] = Path(tempfile.mkdtemp(prefix="gradbook-tests-"))
    for name in [n for n in os.environ if n.startswith("OPENAI_") or n in ("GRADBOOK_MODEL", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH")]:
        del os.environ[name]
    for name in ("GRADBOOK_CACHE", *JUPYTER):
        folder = home / name.lower()
        folder.mkdir()
        os.environ[name] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_home], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, so that `-m "not browser"` and `-m "not benchmark"` hold without a line in each test; such tests run alone."""
    for item in items:
        for folder, mark in (("browser", "browser"), ("benchmarks", "benchmark")):
            if item.path.is_relative_to(ROOT / "tests" / folder):
                item.add_marker(mark)
        if {mark.name for mark in item.iter_markers()} & {"browser", "benchmark", "embedded"} or item.path.name in ALONE:
            item.add_marker("alone")


@pytest.fixture(scope="session")
def bbeh() -> Path:
    """The folder of real BBEH tasks: GRADBOOK_BBEH, or the one that lies beside this repository."""
    folder = Path(os.environ.get("GRADBOOK_BBEH") or ROOT.parent / "shared" / "data" / "bbeh")
    if not folder.is_dir():
        pytest.skip("no BBEH tasks: name their folder in GRADBOOK_BBEH")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """An executable Chromium: GRADBOOK_CHROMIUM or one on the path; without one skips, or fails under GRADBOOK_REQUIRE_BROWSER=1."""
    named = os.environ.get("GRADBOOK_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
    if found is None:
        reason = f"no Chromium: GRADBOOK_CHROMIUM names {named}" if named else f"no Chromium: looked for {', '.join(BROWSERS)}"
        if os.environ.get("GRADBOOK_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
