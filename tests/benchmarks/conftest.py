"""What every benchmark needs: a stub with a known latency in a process of its own, and a table at the end of the session."""

import contextlib
import io
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gradbook as gb

_rows = pytest.StashKey[list[tuple[str, str]]]()
Report = Callable[[str, str], None]


class Server:
    """A stub in a process of its own, which makes every chat request wait `latency` seconds."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), str(latency)], stdout=subprocess.PIPE, text=True
        )
        self.url = self._process.stdout.readline().strip()

    def stats(self) -> dict[str, int]:
        """How many chat requests came, and the most that were in flight at once."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=10) as said:
            return json.load(said)

    def model(self, folder: Path, concurrency: int) -> gb.Model:
        """A model here with a fresh cache, after one call: the first one imports the openai library."""
        model = gb.connect("stub", base_url=self.url, api_key="k", concurrency=concurrency, cache=folder / "calls.sqlite")
        model.ask("wake up")
        return model

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


@pytest.fixture
def serve() -> Iterator[Callable[[float], Server]]:
    """Start a stub with a latency in seconds; it ends with the test."""
    started: list[Server] = []

    def start(latency: float) -> Server:
        started.append(Server(latency))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(autouse=True)
def unseen_bars() -> Iterator[None]:
    """Progress bars are drawn, since that takes time too, but where nobody has to look at them."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Put a line into the table: what was measured, and the figure."""
    return lambda name, figure: request.config.stash.setdefault(_rows, []).append((name, figure))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(_rows, [])
    if rows:
        terminalreporter.section("measured")
    for name, figure in rows:
        terminalreporter.write_line(f"{name:<{max(len(n) for n, _ in rows)}}  {figure}")
