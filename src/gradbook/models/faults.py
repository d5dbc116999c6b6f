"""What went wrong at an endpoint: read from whatever it sent, and told in one sentence that holds its own reason and no secret."""

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_LONGEST = 300  # characters of the endpoint's own words
_TOO_LONG = re.compile(
    r"context_length_exceeded|string_above_max_length|context.{0,40}(?:length|size|window|limit|exceed)|exceed.{0,60}context"
    r"|prompt is too long|token count.{0,40}exceed|longer than the maximum model length|too many tokens|max_new_tokens.{0,20}must be",
    re.I,
)
_NO_SYSTEM = re.compile(
    r"(?:system|developer).{0,80}(?:not? support|unsupported|not enabled|not allowed|not permitted)"
    r"|not support.{0,40}\b(?:system|developer)\b"
    r"|only user and assistant roles",
    re.I,
)
_NO_SEED = re.compile(r"\bseed\b", re.I)
_STATUS_WORDS = (  # what an error without a number is, by a word in its type, code or message
    (402, "insufficient_quota|payment|insufficient credit"),
    (429, "rate.?limit|too many requests|resource_exhausted"),
    (503, "overloaded|unavailable|capacity"),
    (500, "server_error|internal|upstream|bad gateway"),
    (408, "time.?out|timed out|deadline_exceeded"),
    (401, "authentication|invalid_api_key|unauthenticated"),
    (403, "permission"),
    (404, "not_found"),
)
PASSING = frozenset({408, 409, 425, 429})  # and all from 500
_SENTENCES = {
    400: "{at} refused the request to {name}{said}; check the sampling parameters",
    401: "{at} refused the key for {name}{said}; check OPENAI_API_KEY",
    402: "{at} wants to be paid before it answers for {name}{said}; check the account's credit and quota",
    403: "{at} does not let this key use {name}{said}; check OPENAI_API_KEY and the name of the model",
    404: "{at} does not know {name}{said}; check the name of the model and the base URL, which usually ends in /v1",
    408: "{at} gave up waiting on {name} in {tried}{said}; try again later, or lower concurrency",
    409: "{at} found the request to {name} in conflict with another in {tried}{said}; try again later",
    413: "The request to {name} is larger than {at} takes{said}; shorten the prompt or use a smaller batch",
    429: "{at} still limits {name} after {tried}{said}; wait, lower concurrency, or check the account's quota",
    500: "{at} failed on {name} after {tried}{said}; try again later",
}
_HINTS = (
    (
        _TOO_LONG,
        "The prompt is too long for the context of {name}{said}; shorten it, use a smaller batch, or lower max_tokens",
    ),
    (_NO_SYSTEM, "{name} takes no system message{said}; connect with merge_system=True, which puts it into the user's"),
    (_NO_SEED, "{name} takes no seed{said}; connect with seeded=False"),
)


@dataclass(eq=False)
class Fault(Exception):
    """A try that failed.

    Args:
        status: by HTTP, or what an error in a 200 says; None where the try failed without an answer.
        said: the endpoint's own words, or a whole sentence with {name}, {at} and {tried} where there is no status.
        passing: whether another try may go well.
        wait: seconds that the endpoint asks to wait before it.
        billed: whether the try may have cost something.
    """

    status: int | None
    said: str
    passing: bool
    wait: float | None = None
    billed: bool = False

    def sentence(self, name: str, at: str, tries: int, secrets: Iterable[str]) -> str:
        """What the user reads."""
        tried = f"{tries} tries" if tries > 1 else "1 try"
        if self.status is None:
            return self.said.format(name=name, at=at, tried=tried)
        said = scrubbed(self.said, secrets).rstrip(".")
        text = _SENTENCES.get(self.status, _SENTENCES[500 if self.status >= 500 else 400])
        if self.status in (400, 413, 422, 500, 501):  # llama.cpp says 500 to a prompt or template that it cannot use
            text = _hint(said) or text
        asked = f" and asks to wait {self.wait:,.0f} s" if self.wait and self.wait >= 1 else ""
        return text.format(name=name, at=at, tried=tried, said=f"{asked} ({self.status}{': ' * bool(said)}{said})") + "."


def answered(status: int, body: Any, wait: float | None = None, final: bool = False) -> Fault:
    """The fault in an answer of this status; `body` is its parsed JSON or its text, `final` that the endpoint wants no other try."""
    said, code = words(body)
    if status < 400:
        status = _status(code, said)
    if status == 429 and "insufficient_quota" in code:
        status = 402
    passing = (status in PASSING or status >= 500) and not final and not (status in (500, 501) and _hint(said))
    return Fault(status, said, passing, wait)


def words(body: Any) -> tuple[str, str]:
    """The reason that an error's body gives, and its type and code: OpenAI's, Gemini's, Anthropic's, FastAPI's, OpenRouter's, or HTML."""
    while isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, str):
        title = re.search(r"<title>([^<]{1,200})", body[:10_000], re.I)
        return (title[1] if title else body[:2000]), ""
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error") or body
    if not isinstance(error, dict):
        return str(error)[:2000], str(body.get("code") or "")
    codes = " ".join(str(error[name]) for name in ("code", "type", "status") if isinstance(error.get(name), str | int))
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    detail = error.get("message") or error.get("detail") or error.get("error_message") or ""
    if isinstance(detail, list):  # FastAPI: what is wrong, and where
        detail = "; ".join(_place(each) for each in detail[:5])
    elif isinstance(detail, dict):
        detail = words(detail)[0]
    return f"{detail}{': ' + str(raw) if raw else ''}"[:2000], codes


def _hint(said: str) -> str | None:
    return next((hint for pattern, hint in _HINTS if pattern.search(said)), None)


def _place(detail: Any) -> str:
    if not isinstance(detail, dict):
        return str(detail)
    where = detail.get("loc")
    return f"{'.'.join(map(str, where[1:]))} {detail.get('msg', '')}".strip() if isinstance(where, list) else str(detail.get("msg", detail))


def _status(code: str, said: str) -> int:
    number = re.search(r"\b[45]\d\d\b", code)
    if number:
        return int(number[0])
    about = f"{code} {said}".lower()
    return next((status for status, pattern in _STATUS_WORDS if re.search(pattern, about)), 400)


def clean(text: str) -> str:
    """Text on one line, without control characters, direction marks and halves of characters."""
    return " ".join("".join(" " if unicodedata.category(sign).startswith("C") else sign for sign in text).split())


def mended(text: str) -> str:
    """Text with U+FFFD in the place of each half of a character, which cannot be stored or sent."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def scrubbed(text: str, secrets: Iterable[str] = ()) -> str:
    """The endpoint's words as they may be shown: clean, short, and without the secrets that some endpoints repeat."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", "***", text)
    line = clean(re.sub(r"//[^\s/@]*@", "//***@", text))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def parsed(content: bytes) -> Any:
    """JSON, or text where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")
