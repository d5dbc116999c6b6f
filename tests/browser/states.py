"""Every state of the workbench in a real notebook: what the tests check, and what a person should look at after a change.

    PYTHONPATH=src:tests python -m browser.states OUTDIR [NAME ...]      # one PNG a state, light, dark and at several widths

A state is reached from the one before it in its notebook, as a person would, by `reach`.
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, Locator, expect, sync_playwright

import gradbook as gb
from branches import branched
from browser.lab import LabPage, lab, lab_page, launch, write_notebook
from gradbook import background
from gradbook.findings import ASKS
from stub import Stub

ROOT = Path(__file__).resolve().parents[2]
BRANCHES = 1000
WIDTHS = (600, 720, 1000, 1600, 2000)
TALL = ".gradbook-stepper .gb-panels { --gb-tall: 840px !important }"  # so that a picture shows it all, as a screen of 1,000 px does
TOPICS = ("invoices and refunds", "parcels on their way", "devices that do not start")
WHY = (
    "The answer should be {code}: the ticket is about {topic}, and nothing in it points to another code.",
    "The output names a code without a reason, so that nothing says whether the rule or the reading was at fault.",
    "It should look at what the customer asks for, not at the product that the ticket happens to name.",
    "A short check against the codes that were right before would have been enough to see it.",
)
LONG = "long"  # the model that does not come to an end
TASK = "gb.tasks.ticket_routing(codes=3, sizes=(18, 12, 12))"
CELLS = {
    "work": f'case = gb.Case("work", task={TASK}, model=gb.connect("small", retries=0), method=gb.Method(candidates=2))',
    "replay": 'case = gb.Recording("first_step")',
    "verdict": 'case = gb.Recording("verdicts")',
    "no-model": 'case = gb.Case("closed")',
    "eight": 'case = gb.Case("eight", model=gb.connect("long"))',
    "critic": 'case = gb.Case("critic", model=gb.connect("small"))',
    "found": 'case = gb.Case("found", model=gb.connect("small"))',
    "found-replay": 'case = gb.Recording("found")',
    "many": 'case = gb.Case("many", model=gb.connect("small"))',
    "study": 'study = gb.Study("study")',
}


def talk(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
    """Replies as long as a model's, that depend on what was asked and on the seed."""
    asked = messages[-1]["content"]
    drawn = sha256(f"{messages}{body.get('seed')}".encode()).digest()
    code, topic = f"K{1 + drawn[0] % 3}", TOPICS[drawn[1] % 3]
    times = 6 if body["model"] == LONG else 1
    if messages[0]["role"] == "system":
        verdict = f"Verdict: {('right', 'wrong')[drawn[2] % 2]}"
        return f"The ticket is about {topic}.\n\n{verdict if 'Verdict: right' in messages[0]['content'] else f'Answer: {code}'}"
    if "Rules to add:" in asked or "What a model did under it:" in asked:
        rules = "\n".join(f"- Tickets about {topic} get K{1 + drawn[n] % 3}." for n, topic in enumerate(TOPICS[: 2 + drawn[3] % 2]))
        return f"<prompt>Route the support ticket to one of K1, K2, K3. Reply with the answer line only.\n\n{rules}</prompt>"
    if "Which rule should" in asked:
        return "\n\n".join([f"Add the rule: tickets about {topic} get {code}.", " ".join(WHY[2:])] * times)
    return "\n\n".join([" ".join(WHY).format(code=code, topic=topic)] * times)


# --- a workbench in a page -----------------------------------------------------------------------------------------------------


@dataclass
class Shown:
    """A workbench on a page, as a person has it."""

    page: LabPage
    stub: Stub
    root: Locator = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.page.locator(".gradbook-stepper").first

    def open(self, notebook: str, app: str = "lab") -> None:
        """Open a notebook with a workbench and run it."""
        self.page.open(notebook, app)
        assert self.page.run_all() == []
        expect(self.root).to_have_attribute("data-step", "0") if notebook.startswith("work") else self.root.wait_for()
        if app == "lab":
            self.page.evaluate("window.jupyterapp.shell.collapseLeft()")

    def press(self, name: str, at: int = 0, exact: bool = True) -> None:
        self.root.get_by_role("button", name=name, exact=exact).nth(at).click()

    def choose(self, name: str) -> None:
        """Choose from the menu that is open."""
        self.root.get_by_role("menuitem", name=name, exact=True).click()

    def idle(self) -> None:
        """Wait until nothing runs."""
        expect(self.root.get_by_role("button", name="Stop", exact=True)).to_be_disabled()
        expect(self.root.locator(".gb-job")).to_have_count(0)

    def at(self, step: int) -> None:
        expect(self.root).to_have_attribute("data-step", str(step))

    def go(self, step: int) -> None:
        self.root.locator(f'[data-step-id="{step}"]').click()
        self.at(step)

    def widen(self, width: int, height: int = 1000) -> None:
        """Make the window such that the workbench is so wide."""
        for _ in range(2):  # a narrow window gives JupyterLab other margins
            size, box = self.page.viewport_size, self.root.bounding_box()
            assert size and box
            self.page.set_viewport_size({"width": round(size["width"] + width - box["width"]), "height": height})
            self.page.wait_for_function("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def picture(self, path: Path) -> None:
        """The whole workbench as a PNG."""
        self.page.add_style_tag(content=TALL)
        size = self.page.viewport_size
        assert size
        self.page.set_viewport_size({**size, "height": round(self.root.bounding_box()["height"]) + 500})
        self.root.screenshot(path=path, animations="disabled")
        self.page.set_viewport_size(size)


# --- the states ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A state, the notebook that it is reached in, how, and the widths to look at it in."""

    name: str
    notebook: str
    reach: Callable[[Shown], None]
    widths: tuple[int, ...] = (1200,)


def _running(s: Shown) -> None:
    s.stub.shut_gate()
    s.press("Run step")
    s.root.get_by_role("spinbutton", name="Steps").fill("3")
    s.press("Run step")
    expect(s.root.locator(".gb-job")).to_have_count(2)
    expect(s.root.locator(".gb-status")).to_contain_text("calls")


def _done(s: Shown) -> None:
    s.press("Do not run Run 3 steps")
    s.stub.open_gate()
    s.root.get_by_role("spinbutton", name="Steps").fill("1")
    s.idle()
    s.at(1)


def _refused(s: Shown) -> None:
    s.press("Method ▸")
    s.root.get_by_label("critiques", exact=True).fill("2")
    s.root.get_by_label("update", exact=True).select_option("one-step")
    expect(s.root.get_by_role("alert")).to_contain_text("critiques=2")


def _edited(s: Shown) -> None:
    s.press("Discard changes")
    s.press("Method ▾")
    s.press("By example")
    s.press("Edit Prompt critique")
    text = s.root.get_by_label("Prompt critique", exact=True)
    text.fill(text.input_value().replace("Add the rule", "Add this rule first") + "\n\nLeave all other rules as they are.")
    expect(s.root.locator(".gb-draft ins").first).to_be_visible()
    s.root.get_by_label("Reason").first.fill("what the labels say")


def _branched(s: Shown) -> None:
    s.press("Run as a branch")
    s.idle()
    s.at(2)
    s.root.get_by_label("Note on step 2").fill("The edit **named** the rule.\n\n- it went into candidate 0\n- `K1` is still mixed up")
    expect(s.root.locator(".gb-notes strong")).to_have_text("named")


def _pinned(s: Shown) -> None:
    s.press("Pin")
    s.go(1)
    s.press("Pin (2)")
    expect(s.root).to_have_attribute("data-look", "pinned")


def _failed(s: Shown) -> None:
    s.press("By example")
    s.stub.fail(401, times=3)
    s.press("Run step")
    expect(s.root.locator(".gb-message")).to_contain_text("401")


def _lost(s: Shown) -> None:
    s.page.execute("notebook:insert-cell-below")
    s.page.evaluate(
        """() => { const cell = window.jupyterapp.shell.currentWidget.content.activeCell;
            cell.model.sharedModel.setSource('again = gb.Case("work")'); }"""
    )
    s.page.execute("notebook:run-cell")
    s.root.locator(".gb-notes textarea").fill("Much that was thought about for a long time.")
    expect(s.root.get_by_role("alert").last).to_contain_text("cannot be kept")


def _judged(s: Shown) -> None:
    s.go(2)
    s.press("Judge: 5 draws each")
    s.idle()
    expect(s.root.locator(".gb-effect .gb-rerun").first).to_be_visible()


def _asks(s: Shown) -> None:
    s.press("Ask ▸")
    expect(s.root.get_by_role("button", name="Ask: Noise budget")).to_be_visible()


def _finding(s: Shown) -> None:
    s.press("Ask: Noise budget")
    expect(s.root.locator(".gb-finding")).to_be_visible(timeout=60_000)
    s.idle()
    s.press("Ask ▾")


def _menu(s: Shown) -> None:
    s.press("Perturb Output critique")
    expect(s.root.locator(".gb-menu")).to_be_visible()


def _named(s: Shown) -> None:
    s.choose("Weaken or strengthen")
    expect(s.root.locator(".gb-draft ins")).to_be_visible()


def _layered(s: Shown) -> None:
    s.press("Perturb Output critique")
    s.choose("Leave a sentence out")
    expect(s.root.locator(".gb-draft del")).to_be_visible()
    s.press("Perturb Output critique")


def _pinned_after(s: Shown) -> None:
    s.root.get_by_role("button", name="off Output critique").first.click()
    s.press("Discard the edit of Output critique")
    _pinned(s)


def _look(name: str) -> Callable[[Shown], None]:
    def reach(s: Shown) -> None:
        s.press(name)
        expect(s.root.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")

    return reach


def _walk(step: int) -> Callable[[Shown], None]:
    return lambda s: s.go(step)


def _filtered(s: Shown) -> None:
    s.root.get_by_label("Show which steps").select_option("noted")
    expect(s.root.locator(".gb-found")).to_contain_text("shown")


def _searched(s: Shown) -> None:
    s.root.get_by_label("Show which steps").select_option("")
    s.root.get_by_label("Search the steps").fill("branch of step 1")
    expect(s.root.locator(".gb-found")).to_contain_text("shown")


def _trials(s: Shown) -> None:
    s.press("the loss matters")
    expect(s.root.get_by_role("button", name="Open trial 0 of correct")).to_be_visible()


def _trial(s: Shown) -> None:
    s.root.get_by_role("button", name="Open trial 1 of wrong").press("Enter")
    expect(s.root.get_by_role("button", name="← Back to the verdicts")).to_be_focused()
    expect(s.page.locator(".gb-panels")).to_be_visible()


def _back(s: Shown) -> None:
    s.root.get_by_role("button", name="← Back to the verdicts").press("Enter")
    expect(s.root.get_by_role("button", name="Open trial 1 of wrong")).to_be_focused()
    expect(s.page.locator(".gb-panels")).to_have_count(0)


def _nothing(_: Shown) -> None:
    """It opens so."""


def _opened(kind: str) -> Callable[[Shown], None]:
    """The finding of a kind about step 1, which all of them are about."""

    def reach(s: Shown) -> None:
        s.root.locator(".gb-findings .gb-panel-head button").filter(has_text=ASKS[kind].record.title).first.click()
        expect(s.root.locator(".gb-finding")).to_be_visible()

    return reach


def _empty(s: Shown) -> None:
    s.go(2)
    expect(s.root.locator(".gb-finding")).to_have_count(0)


def _asked(s: Shown) -> None:
    s.stub.shut_gate()
    s.press("Ask ▸")
    s.press("Ask: Noise budget")
    expect(s.root.locator(".gb-job")).to_have_count(1)


def _ask_failed(s: Shown) -> None:
    s.press("Stop")
    s.stub.open_gate()
    s.idle()
    s.stub.fail(401, times=3)
    s.press("Ask: Noise budget")
    expect(s.root.locator(".gb-message")).to_contain_text("401")


def _verdict(s: Shown) -> None:
    """What the README shows: an edit by hand with its draws."""
    s.go(2)
    s.root.get_by_label("Split").select_option("test")
    expect(s.root.get_by_text("undecided").first).to_be_visible()


def _replayed(s: Shown) -> None:
    s.go(1)
    s.press("Ask ▸")
    _opened("noise")(s)


STATES = (
    State("first-open", "work", _nothing),
    State("running", "work", _running),
    State("by-example", "work", _done, WIDTHS),
    State("by-stage", "work", _look("By stage"), WIDTHS),
    State("refused", "work", _refused, (600, 1200)),
    State("edited", "work", _edited, (600, 1200)),
    State("branched", "work", _branched, (600, 1200, 1600)),
    State("judged", "work", _judged),
    State("asks", "work", _asks, (600, 1200)),
    State("finding", "work", _finding, (600, 1200, 1600)),
    State("menu", "work", _menu, (600, 1200)),
    State("named", "work", _named, (600, 1200)),
    State("layered", "work", _layered, (600, 1200)),
    State("pinned", "work", _pinned_after, (600, 1200, 1600)),
    State("error", "work", _failed),
    State("note-lost", "work", _lost),
    State("replay", "replay", _walk(4), (1200, 1600)),
    State("replay-stage", "replay", _look("By stage")),
    State("verdict", "verdict", _verdict, (1200, 1600)),
    State("no-model", "no-model", _nothing),
    State("eight", "eight", _look("By example"), (600, 1200, 1600, 2000)),
    State("eight-stage", "eight", _look("By stage"), (1200, 1600)),
    State("critic", "critic", _nothing),
    State("no-findings", "found", _empty, (600, 1200)),
    State("asked", "found", _asked, (600, 1200)),
    State("ask-failed", "found", _ask_failed, (600, 1200)),
    State("found", "found-replay", _walk(1), (600, 1200)),
    *(State(f"found-{kind}", "found-replay", _opened(kind), (600, 1200)) for kind in ASKS),
    State("found-closed", "found-replay", _replayed, (600, 1200)),
    State("many", "many", _nothing),
    State("filtered", "many", _filtered),
    State("searched", "many", _searched),
    State("study", "study", _nothing, (600, 1200)),
    State("study-trials", "study", _trials, (600, 1200)),
    State("study-trial", "study", _trial),
    State("study-back", "study", _back),
)


def study(folder: Path, stub: Stub) -> gb.Study:
    """A study of a few arms, which is yet to be run."""
    arms = {"correct": gb.Method(selection="naive"), "wrong": gb.Method(selection="naive", labels="wrong")}
    arms |= {f"of {n}": gb.Method(candidates=n) for n in (1, 2)}
    task, model = gb.tasks.ticket_routing(codes=3, sizes=(18, 12, 12)), gb.connect("small", base_url=stub.url, api_key="k", cache=False)
    return gb.Study(folder, tasks=task, models=model, arms=arms, trials=3, steps=1)


def prepare(folder: Path, stub: Stub, branches: int = BRANCHES) -> None:
    """Write the notebooks, and the cases that they open but do not make."""
    for name, cell in CELLS.items():
        shows = "gb.StudyBook(study)" if name == "study" else "gb.Stepper(case)"
        write_notebook(folder / f"{name}.ipynb", f"import gradbook as gb\n{cell}\n{shows}")
    for name in ("first_step", "verdicts"):
        shutil.copytree(ROOT / "casestudies" / name, folder / name)
    task = gb.tasks.ticket_routing(codes=3, sizes=(18, 12, 12))
    for name, model, method in (
        ("eight", LONG, gb.Method(batch_size=8, selection="naive")),
        ("critic", "small", gb.Method(evaluation="critic-binary")),
    ):
        made = gb.connect(model, base_url=stub.url, api_key="k", cache=False)
        case = gb.Case(folder / name, task=task, model=made, method=method)
        case.run(batches=1)
        if name == "eight":
            case.perturb(1, gb.edits.replace("output_critique", example=1, text="It should name the code.", why="shorter"))
        case.close()
    shutil.copytree(folder / "eight", folder / "closed")
    study(folder / "study", stub).run()
    branched(folder / "many", gb.connect("small", base_url=stub.url, api_key="k", cache=False), branches)


def _find(path: Path, model: gb.Model) -> None:
    """A case whose step 1 was asked all that can be asked."""
    case = gb.Case(path, task=gb.tasks.ticket_routing(codes=3, sizes=(18, 12, 12)), model=model, method=gb.Method(candidates=2))
    case.run(batches=2)
    case.perturb(1, gb.edits.wrong_label(0), gb.edits.wrong_label(1))
    for ask in ASKS.values():
        background.run(ask.make(case, 1))
    case.close()


@contextmanager
def shown(browser: Browser, branches: int = BRANCHES) -> Iterator[Shown]:
    """A page on a server that has all the notebooks."""
    with TemporaryDirectory() as made, Stub(reply=talk) as stub:
        prepare(Path(made), stub, branches)
        with lab(Path(made), env={"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "k"}) as server, lab_page(browser, server) as page:
            yield Shown(page, stub)


def walk(s: Shown, names: tuple[str, ...] = ()) -> Iterator[State]:
    """Reach each state, or those of the notebooks that hold the named ones, and give it to look at."""
    wanted = {state.notebook for state in STATES if not names or state.name in names}
    opened = ""
    for state in STATES:
        if state.notebook in wanted:
            if state.notebook != opened:
                opened = state.notebook
                if opened.startswith("found") and not (s.page.lab.root / "found").exists():
                    _find(s.page.lab.root / "found", gb.connect("small", base_url=s.stub.url, api_key="k", cache=False))
                s.open(f"{opened}.ipynb")
                s.widen(1200)
            state.reach(s)
            if not names or state.name in names:
                yield state


def stored(s: Shown) -> str:
    """What a saved notebook keeps of a workbench, shown where no kernel runs."""
    s.open("replay.ipynb")
    s.go(4)
    found = json.loads(s.page.save().read_text())["cells"][0]["outputs"][0]["data"]["text/html"]
    s.page.goto("about:blank")
    s.page.set_content(f"<!doctype html><body><div class='jp-RenderedHTMLCommon'>{''.join(found)}</div></body>")
    return "".join(found)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("states", nargs="*")
    options.add_argument("--chromium", default=next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None))
    chosen = options.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    os.environ["GRADBOOK_SCREENSHOTS"] = str(chosen.folder)
    with sync_playwright() as playwright, shown(launch(playwright, chosen.chromium)) as s:
        for state in walk(s, tuple(chosen.states)):
            for width in state.widths:
                s.widen(width)
                s.picture(chosen.folder / f"{state.name}-{width}.png")
            s.widen(1200)
            s.page.theme("dark")
            s.picture(chosen.folder / f"{state.name}-dark.png")
            s.page.theme("light")
            print(state.name, flush=True)
        stored(s)
        for mood in ("light", "dark"):
            s.page.emulate_media(color_scheme=mood)
            s.page.screenshot("stored-" + mood, full_page=True)


if __name__ == "__main__":
    main()
