"""What a reply says apart from its thoughts, and whether it says anything."""

import re
from typing import Literal, NamedTuple

# thoughts stand at the beginning of a reply; a tag that is merely spoken of further on is left alone
_OPENING = re.compile(r"\s*(?:<(think|thinking|thought|reasoning)>|(\[THINK\])|(◁think▷))", re.IGNORECASE)
_CUT = ("length", "max_tokens", "MAX_TOKENS", "model_length")


class Said(NamedTuple):
    """What a reply says; `lost` where it gives nothing to go on with, and `why` in words for a person."""

    text: str
    lost: Literal["cut off", "no reply"] | None
    why: str


def spoken(text: str) -> str:
    """A reply without its thoughts; "" where there is only a thought that never ends.

    A thought is what stands in a pair of tags at the beginning (`<think>`, `<thinking>`, `<thought>`, `<reasoning>`, `[THINK]`,
    `◁think▷`), or before a closing tag that was never opened, as chat templates that open it themselves leave it.
    """
    at = 0
    while opening := _OPENING.match(text, at):
        closing = "[/THINK]" if opening[2] else ("◁/think▷" if opening[3] else f"</{opening[1]}>")
        if (end := re.compile(re.escape(closing), re.IGNORECASE).search(text, opening.end())) is None:
            return ""
        at = end.end()
    if at:
        return text[at:].strip()
    before, found, rest = text.partition("</think>")
    return rest.strip() if found and "<think>" not in before else text


def said(text: str, finish_reason: str, reason: str = "") -> Said:
    """What a reply says, and whether it was cut off at its limit of tokens or is none at all.

    Args:
        text: of the reply, thoughts included.
        finish_reason: as the endpoint gave it.
        reason: the endpoint's own word on why there is no text.
    """
    heard = spoken(text)
    if finish_reason in _CUT:
        return Said(heard, "cut off", "the reply was cut off at max_tokens")
    if heard.strip():
        return Said(heard, None, "")
    why = "the content filter stopped the reply" if finish_reason == "content_filter" else "the reply was empty"
    return Said("", "no reply", f"{why}: {reason}" if reason else ("the reply is only a thought" if text.strip() else why))
