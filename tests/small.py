"""A small task and a stub that plays all three roles on it, so that scores move for reasons that can be checked."""

import re

import pandas as pd

from gradbook.tasks import Task

WORDS = {"red": "K1", "green": "K2", "blue": "K3"}


def small_task(train: int = 6, validation: int = 6, test: int = 6) -> Task:
    """Sentences that each hold one colour word; the label is the colour's code, which only labels can teach."""
    colours = list(WORDS)
    rows = [{"text": f"Item {n} is {colours[n % 3]}.", "code": WORDS[colours[n % 3]]} for n in range(train + validation + test)]
    split = ["train"] * train + ["validation"] * validation + ["test"] * test
    frame = pd.DataFrame(rows).assign(split=split)
    return Task.from_frame(
        frame,
        input="text",
        target="code",
        name="colours",
        split="split",
        labels=["K1", "K2", "K3"],
        answer="label",
        seed_prompt="Give each item its code.",
        format_instruction="Answer with one code.",
    )


def reply(messages: list[dict], body: dict) -> str:
    """What the stub's model says: it follows rules like "red means K1" where the prompt holds them, and else says K1.

    As a critic it follows rules like "red outputs are right", and else takes red for right. Either rule is learned from labels.
    """
    text = messages[-1]["content"]
    if messages[0]["role"] == "system":
        return (
            _verdict(messages[0]["content"], text) if "Judge whether" in messages[0]["content"] else _answer(messages[0]["content"], text)
        )
    if "Rules to add:" in text or "What a model did under it:" in text:
        old = re.search(r"(?:Old prompt|Prompt):\n(.*?)\n\n(?:Rules|What a model did)", text, re.DOTALL)[1]
        rules = re.findall(r"(?:red|green|blue) (?:means K\d|outputs are (?:right|wrong))", text) + _taught(text)
        new = [rule for rule in dict.fromkeys(rules) if rule not in old]
        if "without those that the prompt has already" in text:
            return "\n".join(f"{rule}." for rule in new)
        return f"<prompt>{' '.join([old, *(f'{rule}.' for rule in new)])}</prompt>"
    if "in other words" in text or "Improve the quality" in text:
        old = re.search(r'\n"(.*?)"\n\n', text, re.DOTALL)[1]
        return f"{old} {'Please.' if 'in other words' in text else 'Be careful.'}"
    if "Which rule should" in text:
        said = re.search(r"(red|green|blue) should be (K\d)", text)
        judged = re.search(r"(red|green|blue) output was (right|wrong)", text)
        if judged:
            return f"{judged[1]} outputs are {judged[2]}"
        return f"{said[1]} means {said[2]}" if said else "Nothing to change."
    colour = next((c for c in WORDS if f"is {c}." in text), "item")
    if truth := re.search(r"[Tt]he output is (right|wrong)\.", text):
        return f"{colour} output was {truth[1]}"
    label = re.search(r"right answer is (K\d)", text)
    return f"{colour} should be {label[1]}" if label else "The output is fine."


def _answer(prompt: str, text: str) -> str:
    rules = dict(re.findall(r"(red|green|blue) means (K\d)", prompt))
    return rules.get(next((c for c in WORDS if c in text), ""), "K1")  # a text without a colour, as a hostile case has, gets an answer too


def _verdict(prompt: str, text: str) -> str:
    """A critic that takes whatever is about red for right, unless its prompt has a rule; in numbers, it runs over the top for green."""
    colour = next((c for c in WORDS if c in text), "red")
    said = dict(re.findall(r"(red|green|blue) outputs are (right|wrong)", prompt)).get(colour)
    if "Verdict: right" in prompt:
        return f"It is about {colour}.\nVerdict: {said or ('right' if colour == 'red' else 'wrong')}"
    score = {"right": 90, "wrong": 20}[said] if said else {"red": 90, "green": 130, "blue": 20}[colour]
    return f"It is about {colour}.\nScore: {score}"


def _taught(text: str) -> list[str]:
    """Rules that can be read off examples: the colour of an input and the label in its evaluation."""
    codes = re.findall(r"Input: Item \d+ is (\w+)\..*?right answer is (K\d)", text, re.DOTALL)
    verdicts = re.findall(r"Item \d+ is (\w+)\.(?:(?!Item).)*?[Tt]he output is (right|wrong)\.", text, re.DOTALL)
    return [f"{colour} means {code}" for colour, code in codes] + [f"{colour} outputs are {truth}" for colour, truth in verdicts]
