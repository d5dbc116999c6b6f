"""The small task as a TextGrad script has it, and a stub that plays what TextGrad asks."""

import re

import gradbook as gb
from small import WORDS, small_task

PROMPT = "Give each item its code."


def theirs(messages, body):
    """What the stub says: as a task model it follows rules like "red means K1", as TextGrad's backward engine it names them, as its
    optimiser it writes them down."""
    system, text = messages[0]["content"], messages[-1]["content"]
    if "gradient (feedback) engine" in system:
        if said := re.search(r"feedback on the LM_OUTPUT: .*?should be (K\d)", text, re.DOTALL):
            return f"{re.search(r'<LM_INPUT> Item [0-9]+ is ([a-z]+)', text)[1]} means {said[1]}"
        label = re.search(r"Ground truth answer\(role: .*?\)\*\*: (\w+)", text)
        return f"It should be {label[1]}" if label else "Nothing is known."
    if "creatively and critically improve" in system:
        old = re.search(r"<VARIABLE> (.*?) </VARIABLE>", text, re.DOTALL)[1]
        rules = [rule for rule in dict.fromkeys(re.findall(r"(?:red|green|blue) means K\d", text)) if rule not in old]
        return f"Here it is. <IMPROVED_VARIABLE>{' '.join([old, *(f'{rule}.' for rule in rules)])}</IMPROVED_VARIABLE>"
    rules = dict(re.findall(r"(red|green|blue) means (K\d)", system))
    return rules.get(next((c for c in WORDS if c in text), ""), "K1")


def connect(stub, **options) -> gb.Model:
    return gb.connect("small", base_url=stub.url, api_key="k", **({"cache": False} | options))


def task(**options) -> gb.Task:
    frame = small_task().frame()
    told = {"labels": ["K1", "K2", "K3"], "answer": "label", "seed_prompt": PROMPT, "format_instruction": "", "name": "colours"}
    return gb.Task.from_frame(frame, split="split", **(told | options))


def sent(stub, since=0):
    """The messages that came in, as (system, user)."""
    return [tuple(message["content"] for message in request.body["messages"]) for request in stub.requests[since:]]
