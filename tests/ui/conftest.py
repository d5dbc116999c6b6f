"""A workbench on the small task, whose model is the stub."""

from collections.abc import Callable
from pathlib import Path

import pytest

import gradbook as gb
from small import reply, small_task
from stub import Stub


@pytest.fixture
def stub():
    with Stub(reply=reply) as running:
        yield running


@pytest.fixture
def bench(stub: Stub, tmp_path: Path) -> Callable[..., gb.Stepper]:
    """Call it with settings of a method for a workbench on a new case."""

    def made(**settings: object) -> gb.Stepper:
        model = gb.connect("small", base_url=stub.url, api_key="k", retries=0)
        return gb.Stepper(gb.Case(tmp_path / "case", task=small_task(), model=model, method=gb.Method(**settings)))

    return made


@pytest.fixture
def stepper(bench: Callable[..., gb.Stepper]) -> gb.Stepper:
    return bench(candidates=2)
