"""The templates: whatever a view says stays text, in every region and whatever the state."""

from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gradbook import page, tell
from gradbook.costs import Plan
from gradbook.effects import Arm, Effect
from gradbook.loop import Method
from gradbook.metrics import Flip, Metrics
from gradbook.records import SPLITS, Answer
from gradbook.tasks import Task
from gradbook.tell import StudyView, overviews, views
from gradbook.ui.jobs import Job
from gradbook.ui.panel import PRESETS, MethodPanel

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onclick='alert(3)",
    "</textarea><svg/onload=alert(4)>",
    "{{ 7*7 }}{% raw %}",
    "<a href=javascript:alert(5)>x</a>",
    "javascript:alert(6)",
    "<!-- </details> ",
)
SAID = st.sampled_from([*ATTACKS, "", "plain words", "ü\n\nlines"])
OURS = {"type", "class", "title", "tabindex", "style", "role", "open", "href", "selected", "disabled", "checked", "value", "min", "max"}
KNOWN = OURS | {"name", "id", "for", "rows", "placeholder", "readonly", "spellcheck", "scope", "align", "colspan"}
ROWS = [{"text": f"{split} {code}", "code": code, "split": split} for split in SPLITS for code in ATTACKS[:2]]
COLUMNS = {"input": "text", "target": "code", "split": "split"}
TASK = Task.from_frame(pd.DataFrame(ROWS), **COLUMNS, labels=list(ATTACKS[:2]), answer="label", seed_prompt="x", format_instruction="y")
ANSWERS = [Answer(example=f"test-{n}", answer=ATTACKS[1], correct=code == ATTACKS[1]) for n, code in enumerate(ATTACKS[:2])]
RAN = Metrics.of(ANSWERS, TASK)
RIGHT = tuple(answer.correct for answer in ANSWERS)
ARMS = [Arm(step, RAN, None, (RIGHT, RIGHT, RIGHT), (RAN, RAN, RAN)) for step in (1, 2)]
FLIPS = (Flip("test-0", ATTACKS[0], ATTACKS[1], "broken"),)
overviews.Effect = Effect  # a view names it for type checkers alone
st.register_type_strategy(
    Effect,
    st.just(Effect(*ARMS, "test", ("test-0", "test-1"), (RIGHT, RIGHT), FLIPS, Plan(10, 100, None, 1.0), model=ATTACKS[0])),
)


class Seen(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, html):
        super().__init__()
        self.bad, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.drawn = tag == "svg" or (getattr(self, "drawn", False) and tag not in ("table", "div", "p"))
        if (tag == "svg" and dict(attributes).get("class") != "gb-plot") or tag in (
            "script",
            "img",
            "iframe",
            "object",
            "a",
            "link",
            "base",
            "form",
        ):
            self.bad.append(tag)
        self.bad += [
            name
            for name, _ in attributes
            if name.startswith("on") or not (self.drawn or name in KNOWN or name.startswith(("data-", "aria-")))
        ]
        if tag not in ("input", "br", "hr", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append(f"</{tag}>")


class Bench:
    """A workbench that edits everything."""

    def __init__(self, step):
        records = [record for stage in step.stages for record in stage.records]
        draft = type("Draft", (), {"kind": "replace", "named": None, "text": ATTACKS[3], "words": (views.Segment("added", ATTACKS[0]),)})
        self.drafts = {record.key: draft for record in records}
        self.id, self.menu, self.begun, self.foreseen = "x", "", "", (ATTACKS[2] if step.id % 2 else "", ATTACKS[1])
        self.why, self.locked, self.busy, self.measurable = ATTACKS[1], "", True, True
        self.stages = {stage.stage for stage in step.stages}
        self.rows = {example.id for example in step.examples}
        self.pins, self.others, self.steps, self.scoring, self.panel, self.look = [1, 2], [1], 1, True, True, "stage"

    def choice(self, chosen):
        return chosen

    def drafts_of(self, record):
        return {record.key: self.drafts[record.key]} if record.key in self.drafts else {}

    def refusal(self, record, name):
        return ATTACKS[2]


@pytest.fixture(scope="module", autouse=True)
def hostile_texts():
    st.register_type_strategy(str, SAID)
    st.register_type_strategy(int, st.integers(0, 4))
    yield
    st.register_type_strategy(str, st.text())
    st.register_type_strategy(int, st.integers())


quick = settings(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@quick
@given(st.data(), st.sampled_from(["stage", "example"]), st.booleans())
def test_a_step_is_text(data, look, edited):
    step = data.draw(st.from_type(views.StepView))
    bench = Bench(step) if edited else None
    seen = Seen(page.render("bench_step" if bench else "step", step=step, look=look, pair=None, bench=bench))
    assert seen.bad == [] and seen.open == []


@quick
@given(st.data(), st.booleans())
def test_a_tree_an_effect_a_pair_and_a_head_are_text(data, live):
    step = data.draw(st.from_type(views.StepView))
    bench = Bench(step) if live else None
    tree, effect, pair = (data.draw(st.from_type(cls)) for cls in (overviews.TreeView, overviews.EffectView, overviews.PairView))
    common = {"bench": bench}
    for html in (
        page.render("tree", tree=tree, **common),
        page.render("effect", effect=effect, **common),
        page.render("pair", pair=pair, **common),
        page.render("head", head=data.draw(st.from_type(overviews.HeadView)), step=step),
    ):
        seen = Seen(html)
        assert seen.bad == [] and seen.open == []


@quick
@given(st.data())
def test_a_study_is_text(data):
    shown = data.draw(st.from_type(StudyView).filter(lambda view: view.verdicts))
    bench, arm = (
        type("Bench", (), {"row": 0}),
        {"at": ATTACKS[0], "number": 1, "arm": ATTACKS[1], "where": ATTACKS[2], "folder": ATTACKS[3]},
    )
    for html in (
        page.render("study_verdicts", study=shown, bench=bench, plain=False, opened=shown.arms),
        page.render("study_trials", arms=shown.arms, bench=None, near=None),
        page.render("study_head", study=shown, trial=None),
        page.render("study_head", study=shown, trial=arm),
        page.render("study", part="shown", study=shown, style="", bench=None, plain=True),
    ):
        seen = Seen(html)
        assert seen.bad == [] and seen.open == []


@pytest.mark.parametrize("said", ATTACKS)
def test_what_runs_and_what_is_said_is_text(said):
    job = Job(1, said, turn=said, doing=said, done=1, total=3, running=True)
    panel = MethodPanel(Method())
    method = page.render(
        "method",
        panel=panel,
        presets=PRESETS,
        bench=type("Bench", (), {"id": "x"}),
        said=said,
        closed=False,
        refused=True,
        usable=True,
        changed=True,
    )
    note = page.render("notes", step=1, text=said, state=said, wrong=True, closed=False)
    for html in (page.render("jobs", jobs=[job]), page.render("message", text=said, wrong=True), method):
        assert Seen(html).bad == []
    assert {"script", "img", "svg", "onclick", "onerror", "onload"}.isdisjoint(Seen(note).bad) and "javascript:alert(5)>" not in note


def test_what_was_too_long_to_compare_is_told_where_it_stands():
    told = page._environment().get_template("macros.html").module.words(tell.difference("a b " * 30_000, "b a a " * 20_000))
    assert "(too long to compare)" in told
    assert "too long" not in page._environment().get_template("macros.html").module.words(tell.difference("a b", "a c"))
