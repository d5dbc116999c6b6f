"""TextGrad stepped by hand in real JupyterLab: what a person writes in a critique arrives in the next message of TextGrad's code."""

from importlib.util import find_spec

import pytest
from playwright.sync_api import expect

from browser.lab import write_notebook
from browser.states import Shown
from stub import Stub

pytestmark = pytest.mark.bridges
if find_spec("textgrad") is None:
    pytest.skip('textgrad is missing: pip install "gradbook[textgrad]"', allow_module_level=True)

CELL = """
import gradbook as gb

task = gb.tasks.ticket_routing(codes=3, sizes=(6, 6, 6))
case = gb.Case("work", task=task, model=gb.connect("small", retries=0), method=gb.presets.textgrad())
gb.Stepper(case)
"""
WORDS = "It should say K2, since <b>devices</b> are meant."


def talk(messages, body):
    system, text = messages[0]["content"], messages[-1]["content"]
    if "creatively and critically improve" in system:
        return "<IMPROVED_VARIABLE>Answer K2 about gadgets.</IMPROVED_VARIABLE>"
    return f"Feedback on {len(text)} signs." if "gradient (feedback) engine" in system else "Answer: K1"


def test_a_critique_edited_by_hand_arrives_in_textgrads_next_message(open_lab, tmp_path):
    notebook = write_notebook(tmp_path / "work.ipynb", CELL)
    with Stub(reply=talk) as stub:
        page = open_lab(notebook, env={"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "k"})
        bench = Shown(page, stub)
        bench.open("work.ipynb")
        for _ in range(3):
            bench.press("Run stage")
            bench.idle()
        bench.at(1)
        bench.press("Edit Output critique")
        bench.root.get_by_label("Output critique", exact=True).fill(WORDS)
        expect(bench.root.locator(".gb-draft ins").first).to_be_visible()
        before = len(stub.requests)
        bench.press("Run as a branch")
        bench.at(2)
        bench.idle()
        asked = [request.body["messages"][-1]["content"] for request in stub.requests[before:]]
        told = [text for text in asked if f"feedback on the LM_OUTPUT: {WORDS} </OBJECTIVE_FUNCTION>" in text]
        assert len(told) == 1 and "<LM_SYSTEM_PROMPT>" in told[0]
        expect(bench.root.locator("ins", has_text="gadgets").first).to_be_visible()
        assert bench.root.locator("b", has_text="devices").count() == 0, "what was typed stays text"
