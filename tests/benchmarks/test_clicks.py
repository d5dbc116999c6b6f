"""What a person waits for at the workbench in real JupyterLab: a click until the page is still, and a run until its first call is out."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

import gradbook as gb
from branches import branched
from browser.lab import lab, lab_page, launch, write_notebook
from browser.states import Shown
from small import reply
from stub import Stub

CLICKS, FINDINGS = 20, 50
CELL = """
import gradbook as gb
case = gb.Case("case", model=gb.connect("small", api_key="k", cache=False))
stepper = gb.Stepper(case)
stepper
"""
# From the press until the step is there and three frames in a row have changed nothing more; those three are taken off again.
CLICK = """step => new Promise(done => {
    const root = document.querySelector('.gradbook-stepper');
    let began = 0, painted = 0, quiet = 0;
    const seen = new MutationObserver(() => { quiet = 0; });
    seen.observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
    const frame = () => {
        if (root.dataset.step === String(step) && ++quiet > 3) { seen.disconnect(); return done(painted - began); }
        if (quiet <= 1) painted = performance.now();
        requestAnimationFrame(frame);
    };
    began = performance.now();
    root.querySelector(`[data-step-id="${step}"]`).click();
    requestAnimationFrame(frame);
})"""
MODELS = """import json, ipywidgets
from ipywidgets.widgets.widget import _instances
print(json.dumps([len(_instances), len(json.dumps([stepper.get_state(), stepper._repr_mimebundle_()], ensure_ascii=False).encode())]))"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield launch(playwright, chromium)


ASK = """async code => {
    const asked = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code });
    let said = '';
    asked.onIOPub = message => { said += message.content.text ?? ''; };
    await asked.done;
    return JSON.parse(said);
}"""


@pytest.mark.parametrize(("branches", "most"), [(2, 100), (1000, 150)], ids=["5 steps", "1,000 branches and 50 findings"])
def test_clicks(browser: Browser, tmp_path: Path, report, branches: int, most: int) -> None:
    with Stub(reply=reply) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", cache=False)
        path = branched(tmp_path / "case", model, branches)
        if branches > FINDINGS:
            case = gb.Case(path, model=model)
            for step in (1, *range(branches + 4 - FINDINGS, branches + 3)):
                case.prevalence(step, split="validation", replicates=1)
            assert len(case.found) == FINDINGS
            case.close()
        write_notebook(tmp_path / "clicks.ipynb", CELL)
        with lab(tmp_path, env={"OPENAI_BASE_URL": stub.url}) as server, lab_page(browser, server) as page:
            bench = Shown(page, stub)
            bench.open("clicks.ipynb")
            bench.widen(1200)
            name = f"{branches + 3} steps" if branches < 10 else f"{branches:,} branches and {FINDINGS} findings"
            before, size = page.evaluate(ASK, MODELS)
            last = branches + 2
            seconds = [page.evaluate(CLICK, step) / 1000 for step in [1, last, 0, last // 2, 2] * (CLICKS // 5)]
            median = statistics.median(seconds)
            figure = f"{median * 1000:5.0f} ms (median of {CLICKS}; worst {max(seconds) * 1000:.0f}; held to {most})"
            report(f"a click on a step until the page is still, {name}", figure)
            report(f"widgets, and the stored workbench, {name}", f"{before} widgets, {size / 1000:.0f} kB")
            assert before < 10 and size < 300_000
            if branches < 10:
                bench.go(1)
                for _ in range(50):
                    bench.press("Edit Output")
                    bench.press("Discard the edit of Output")
                for step in [0, 1] * 50:
                    page.evaluate(CLICK, step)
                assert page.evaluate(ASK, MODELS)[0] == before, "clicks and dropped edits leave no widget behind"
            waits = [first_request(bench, stub) for _ in range(7)]
            report(
                f"Run step until its first request, {name}",
                f"{statistics.median(waits) * 1000:5.0f} ms (median of {len(waits)}; held to 50)",
            )


def first_request(bench: Shown, stub: Stub) -> float:
    """Seconds from the message of the page to the kernel's first request."""
    count = len(stub.requests)
    bench.idle()
    pressed = bench.page.evaluate(
        """() => { const made = [...document.querySelectorAll('.gradbook-stepper button')].find(at => at.innerText === 'Run step');
            made.click(); return performance.timeOrigin + performance.now(); }"""
    )
    offset = time.time() - time.monotonic()
    stub.wait_for(count + 1)
    began = stub.requests[count].began + offset
    bench.idle()
    return began - pressed / 1000
