"""What a chat completion says, read from the many forms in which endpoints send it."""

from dataclasses import dataclass, replace
from typing import Any

from gradbook.models.faults import Fault, answered, clean, mended, parsed, words

_FOREIGN = "{at} sent a reply to {name} that is not a chat completion; check that the base URL is OpenAI-compatible."
_ENDING = 40  # characters of a finish_reason
_WHY = {"content_filter": "held back by the endpoint's content filter", "tool_calls": "the reply only calls tools"}


@dataclass(frozen=True)
class Reply:
    """What is read of a chat completion; tokens are None where they are not counted.

    `reason` is why there is no text, as the endpoint says it: not to be shown or stored before it is scrubbed.
    """

    text: str
    finish_reason: str
    reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


def read(content: bytes) -> Reply:
    """The reply in a body.

    Raises:
        Fault: it holds an error, or is no chat completion.
    """
    body = parsed(content)
    if not isinstance(body, dict) or ("choices" not in body and not body.get("error")):
        raise Fault(None, _FOREIGN, passing=False, billed=True)
    choices = body.get("choices")
    if body.get("error") and not choices:
        raise answered(200, body)
    choice = choices[0] if isinstance(choices, list) and choices else {}
    if not isinstance(choice, dict) or not isinstance(message := choice.get("message") or {}, dict):
        raise Fault(None, _FOREIGN, passing=False, billed=True)
    text, refusal = _text(message.get("content"))
    if choice.get("error"):  # beside half a reply too, which may be paid
        raise replace(answered(200, choice["error"]), billed=True)
    ending = choice.get("finish_reason")
    ending = (clean(ending)[:_ENDING] if isinstance(ending, str) else "") or ("stop" if choice else "error")
    reason = "" if text.strip() else _reason(body, choice, message, ending, refusal)
    usage = body.get("usage")
    counted = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    return Reply(mended(text), ending, reason, *counted)


def _text(content: Any) -> tuple[str, str]:
    """The text parts of a content, joined, and a refusal among them; what a model thinks is in neither."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list) or not all(isinstance(part, dict | str) for part in content):
        raise Fault(None, _FOREIGN, passing=False, billed=True)
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    texts = [part["text"] for part in parts if part.get("type") in ("text", "output_text") and isinstance(part.get("text"), str)]
    return "".join(texts), " ".join(str(part["refusal"]) for part in parts if part.get("refusal"))


def _reason(body: dict[str, Any], choice: dict[str, Any], message: dict[str, Any], ending: str, refusal: str) -> str:
    """Why there is no text, in the endpoint's own words where it gives some."""
    own = message.get("refusal") or refusal or words(choice.get("error") or body.get("error"))[0]
    if own:
        return str(own)
    if message.get("tool_calls") or message.get("function_call"):
        ending = "tool_calls"
    blocked = body.get("promptFeedback") or body.get("prompt_feedback")
    if isinstance(blocked, dict):
        return f"blocked: {blocked.get('blockReason') or blocked.get('block_reason')}"
    if not choice:
        return "the endpoint sent no choices"
    return _WHY.get(ending, "" if ending in ("stop", "length") else f"ended with {ending!r}")


def _count(usage: Any, name: str) -> int | None:
    """A number of tokens; anything but a number from 0 up is no count."""
    found = usage.get(name) if isinstance(usage, dict) else None
    return int(found) if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1e12 else None
