"""Real JupyterLab, driven as a person would: a server in folders of its own, and a page in Chromium.

    def test_button(open_lab):                          # the fixture of conftest.py
        page = open_lab(notebook_or_folder, env={"OPENAI_BASE_URL": stub.url})
        page.open("demo.ipynb")
        assert page.run_all() == []
        page.get_by_role("button", name="Run step").click()
        expect(page.get_by_text("step 1")).to_be_visible()
        page.screenshot("step-1")

A `LabPage` is a Playwright page with the verbs of JupyterLab added; what it does not define goes to the page. Nothing here sleeps: wait
with `expect`. While a browser is open, Playwright's loop runs in this thread: code that calls `asyncio.run` belongs in another test module.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import platformdirs
from playwright.sync_api import Browser, Page, Playwright, expect

import gradbook

VIEWPORT = {"width": 1600, "height": 1000}  # CSS pixels; leaves more than 1,000 to a cell beside the file browser
TIMEOUT = 60_000  # milliseconds: the longest that any one wait may take
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
SETTINGS = {"@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False}}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
APPS = {"lab": "lab/tree", "notebook": "notebooks"}
READY = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    const widget = app.shell.currentWidget;
    await widget.context.ready;
    await widget.revealed;
    await widget.sessionContext.ready;
    await widget.sessionContext.session.kernel.info;
}"""

RAISED = """() => {
    const cells = window.jupyterapp.shell.currentWidget.model.sharedModel.toJSON().cells;
    return cells.flatMap(cell => cell.outputs ?? []).filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`);
}"""


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook with these code cells; returns `path`."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, path)
    return path


class Lab:
    """A running server: `url` with its `token`, `root` the copy it serves, `log` what it and its kernels have said."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, token: str, root: Path, log: Path) -> None:
        self.process, self.url, self.token, self.root, self._log = process, url, token, root, log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> Any:
        """GET a path of the server's API and read its JSON."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}{path}?token={self.token}", timeout=5) as reply:
            return json.load(reply)

    def wait(self, seconds: float = 60) -> None:
        """Return once the server answers; raise with its log when it ends or stays silent."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.get("/api/status")
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start:\n{self.log}")


@contextmanager
def lab(*sources: Path, env: Mapping[str, str | None] | None = None) -> Iterator[Lab]:
    """JupyterLab in a fresh home, serving a copy of `sources`: files by their names, a folder's content as the root.

    `env` is added to the environment of server and kernels; None removes a variable. Kernels run the Python that runs this.
    """
    with tempfile.TemporaryDirectory(prefix="gradbook-lab-", ignore_cleanup_errors=True) as made:
        home, root = Path(made) / "home", Path(made) / "root"
        folders = {
            "HOME": home,
            "XDG_CACHE_HOME": home / "cache",
            "XDG_CONFIG_HOME": home / "config",
            "XDG_DATA_HOME": home / "share",
            "JUPYTER_CONFIG_DIR": home / "jupyter-config",
            "JUPYTER_DATA_DIR": home / "jupyter-data",
            "JUPYTER_RUNTIME_DIR": home / "jupyter-runtime",
            "IPYTHONDIR": home / "ipython",
            "JUPYTERLAB_SETTINGS_DIR": home / "lab-settings",
            "JUPYTERLAB_WORKSPACES_DIR": home / "lab-workspaces",
            "GRADBOOK_CACHE": home / "gradbook",
        }
        for folder in (root, *folders.values()):
            folder.mkdir(parents=True, exist_ok=True)
        for name, setting in SETTINGS.items():
            path = folders["JUPYTERLAB_SETTINGS_DIR"] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(setting))
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "*.lock"))
            else:
                shutil.copy2(source, root)
        # The home is new, the weights are not: the user's stay where they are.
        weights = os.environ.get("GRADBOOK_WEIGHTS") or str(Path(platformdirs.user_cache_dir("gradbook")) / "weights")
        python = Path(sys.executable).parent
        wanted = {
            **os.environ,
            **{name: str(folder) for name, folder in folders.items()},
            "GRADBOOK_WEIGHTS": weights,
            "JUPYTER_PREFER_ENV_PATH": "1",  # the python3 kernel is this environment's, never the user's
            "PYTHONPATH": f"{Path(gradbook.__file__).parents[1]}{os.pathsep}{Path(__file__).parents[1]}",  # kernels import what this does
            "PATH": f"{python}{os.pathsep}{os.environ.get('PATH', '')}",
            **(env or {}),
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        token, log = "gradbook-test", Path(made) / "lab.log"
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
        command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
        command += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
        command += ["--JupyterNotebookApp.expose_app_in_browser=True"]  # the same server has both
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=root,
                env={name: value for name, value in wanted.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            server = Lab(process, f"http://127.0.0.1:{port}", token, root, log)
            server.wait()
            yield server
        finally:
            process.terminate()  # the server ends its kernels on the way out
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def launch(playwright: Playwright, executable: str) -> Browser:
    """Headless Chromium with nothing of the network but what a page asks for."""
    return playwright.chromium.launch(executable_path=executable, headless=True, args=list(FLAGS))


class LabPage:
    """A Playwright page on a `Lab`; every attribute that is not here is the page's own.

    `errors` collects uncaught errors and console errors, `foreign` the requests to anything but the server.
    """

    def __init__(self, page: Page, lab: Lab) -> None:
        self.page, self.lab, self.notebook = page, lab, ""
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(TIMEOUT)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self._note(request.url))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def _note(self, url: str) -> None:
        if not url.startswith((self.lab.url, "data:", "blob:")):
            self.foreign.append(url)

    def execute(self, command: str, args: Mapping[str, Any] | None = None) -> None:
        """Run a command of JupyterLab, such as `notebook:run-all-cells`, and wait until it is done."""
        run = "async ([command, args]) => { await window.jupyterapp.commands.execute(command, args); }"
        self.page.evaluate(run, [command, dict(args or {})])

    def open(self, notebook: str, app: str = "lab") -> None:
        """Open a notebook of the server's root in a fresh workspace of JupyterLab, or in Notebook 7, and wait for its kernel."""
        self.notebook = notebook
        self.page.goto(f"{self.lab.url}/{APPS[app]}/{notebook}?reset&token={self.lab.token}")
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext")
        self.page.evaluate(READY)
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def run_all(self) -> list[str]:
        """Run every cell; returns when they are done, with what they raised (`[]`: nothing)."""
        self.execute("notebook:run-all-cells")
        return self.page.evaluate(RAISED)

    def run_cell(self, index: int) -> None:
        """Run one cell, counted from 0, and wait until it is done."""
        self.scroll_to(index)
        self.page.evaluate("index => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }", index)
        self.execute("notebook:run-cell")

    def scroll_to(self, index: int) -> None:
        """Bring a cell into view: JupyterLab takes cells that are far away out of the page."""
        self.page.evaluate("index => window.jupyterapp.shell.currentWidget.content.scrollToItem(index, 'start')", index)

    def theme(self, name: str) -> None:
        """Switch to the `light` or the `dark` theme."""
        self.execute("apputils:change-theme", {"theme": THEMES[name]})
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(name == "light").lower())
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def restart(self) -> None:
        """Restart the kernel, as after a crash: what was shown stays in the page and is dead."""
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }")
        self.page.evaluate(READY)

    def save(self) -> Path:
        """Save the notebook; returns its file."""
        self.execute("docmanager:save")
        return self.lab.root / self.notebook

    def screenshot(self, name: str, **options: Any) -> Path:
        """Write NAME.png to the folder GRADBOOK_SCREENSHOTS, or beside the served copy, where it goes with the test."""
        folder = Path(os.environ.get("GRADBOOK_SCREENSHOTS") or self.lab.root.parent / "screenshots")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, **options)
        return path


@contextmanager
def lab_page(browser: Browser, server: Lab) -> Iterator[LabPage]:
    """A page of its own, without cookies of another."""
    expect.set_options(timeout=TIMEOUT)
    context = browser.new_context(viewport=VIEWPORT)
    try:
        yield LabPage(context.new_page(), server)
    finally:
        context.close()
