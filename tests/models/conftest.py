"""What tests of models share: an endpoint, a way to run calls, and a small real model."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradbook import background
from gradbook.models import Model, connect, weights
from gradbook.records import Call
from stub import Stub

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a call cache of its own, no key and no model in the environment."""
    monkeypatch.setenv("GRADBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRADBOOK_THREADS", "1")  # other work on the machine would slow two threads down tenfold
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GRADBOOK_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(key=KEY) as running:
        yield running


@pytest.fixture
def remote(stub: Stub) -> Callable[..., Model]:
    """Connects to the stub."""
    return lambda name="stub", **settings: connect(name, base_url=stub.url, api_key=KEY, **settings)


@pytest.fixture(scope="session")
def small() -> str:
    """A real model of 98 MB, fetched once into the user's folder."""
    weights.fetch("smollm2-135m")
    return "smollm2-135m"


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def together(*calls: Coroutine[Any, Any, Call]) -> list[Any]:
    """The results of calls made at the same time; a failed one gives its error."""

    async def gather() -> list[Any]:
        return await asyncio.gather(*calls, return_exceptions=True)

    return background.run(gather())
