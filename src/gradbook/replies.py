"""What a reply says apart from its thoughts, and whether it says anything."""

import re
from typing import Literal, NamedTuple


class Said(NamedTuple):
    text: str
    lost: Literal["cut off", "no reply"] | None
    why: str


def spoken(text: str) -> str:
    text = re.sub(r"\A\s*<think>.*?</think>", "", text, flags=re.S)
    if "</think>" in text:
        text = text.rpartition("</think>")[2]
    return "" if text.lstrip().startswith("<think>") else text.strip() if "</think>" in text else text


def said(text: str, finish_reason: str, reason: str = "") -> Said:
    heard = spoken(text)
    if finish_reason == "length":
        return Said(heard, "cut off", "the reply was cut off at max_tokens")
    if not heard.strip():
        return Said("", "no reply", reason or "the reply was empty")
    return Said(heard, None, "")
