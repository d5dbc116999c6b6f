"""What an export takes at 10, 100 and 1,000 branches: seconds of work and megabytes, in proportion."""

import time

import pytest

import gradbook as gb
from branches import branched


@pytest.mark.parametrize("ending", ["html", "ipynb"])
def test_exports_of_many_branches(serve, report, tmp_path, ending):
    model = serve(0.0).model(tmp_path, 16)
    gb.Recording(branched(tmp_path / "warm", model, 2)).export(tmp_path / f"warm.{ending}")  # templates are compiled once
    figures = {}
    for branches in (10, 100, 1_000):
        case = gb.Recording(branched(tmp_path / str(branches), model, branches))
        began = time.process_time()
        written = case.export(tmp_path / f"{branches}.{ending}")
        figures[branches] = time.process_time() - began, written.stat().st_size / 1e6
    said = "; ".join(f"{seconds:.2f} s and {size:.2f} MB at {branches:,}" for branches, (seconds, size) in figures.items())
    report(f"export to .{ending}, processor time and size", said)
    assert figures[1_000][1] < 5
    assert figures[1_000][0] < 20 * figures[100][0], "in proportion, with room for noise"
