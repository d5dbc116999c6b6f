"""What a model's reply says: without its thoughts, whether it was lost, and without what models wrap a text in."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

_FLAGS = re.IGNORECASE | re.ASCII | re.MULTILINE

# How models of 2024 to 2026 mark their thoughts where the endpoint leaves them in the text.
_TAGS = ("think", "thinking", "thought", "thoughts", "reason", "reasoning", "scratchpad", "seed:think", "longcat_think")  # nearly all
_OTHERS = {
    "[think]": "[/think]",  # Magistral
    "◁think▷": "◁/think▷",  # Kimi
    "<|begin_of_thought|>": "<|end_of_thought|>",  # OpenThinker
    "<|start_thinking|>": "<|end_thinking|>",  # Command A
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<unused94>thought": "<unused95>",  # MedGemma
    "<|channel|>analysis": "<|channel|>final<|message|>",  # gpt-oss
    "<|channel|>commentary": "<|channel|>final<|message|>",
    "here is my thought process:": "here is my response:",  # Granite
    "here's my thought process:": "here's my response:",
}
_THOUGHTS = {f"<{tag}>": f"</{tag}>" for tag in _TAGS} | _OTHERS
_SPEECH = ("assistantfinal", "<|begin_of_solution|>", "<|start_response|>")  # the speech begins; the first is gpt-oss's
_OVER = ("<|return|>", "<|end|>", "<|end_of_solution|>", "<|end_response|>", "<|im_end|>", "<turn|>")


def _any(tag: str, others: Iterable[str]) -> str:
    return "|".join([f"{tag}(?:{'|'.join(_TAGS)})>", *map(re.escape, others)])


_OPENED = re.compile(rf"\s*({_any('<', _OTHERS)})", _FLAGS)
_CLOSED = {closing: re.compile(re.escape(closing), _FLAGS) for closing in _THOUGHTS.values()}
_ALONE = [closing for closing in _OTHERS.values() if not closing.startswith("here")]  # which say by themselves that a thought ends
_MARK = re.compile(rf"^ {{0,3}}(?:```|~~~)|{_any('</?', [*_OTHERS, *_ALONE, *_SPEECH])}", _FLAGS)
_GOES_ON = re.compile(r"[ \t]+[a-z(]|[,;.:!?)]")

_ENDINGS = {
    "the reply was cut off at max_tokens": ("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_length"),
    "the reply was cut off where the model's context ends": ("model_length", "model_context_window_exceeded", "context_length_exceeded"),
    "the content filter stopped it": (
        *("content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii", "refusal", "sensitive"),
        *("guardrail_intervened", "error_toxic"),
    ),
    "the endpoint broke it off": ("error", "abort", "aborted", "cancelled", "insufficient_system_resource", "network_error", "time_limit"),
}
_STOPPED = {name: why for why, names in _ENDINGS.items() for name in names}


class Said(NamedTuple):
    """What a reply says without its thoughts; where it gives nothing to go on with, `lost` says in which way and `why` in words."""

    text: str
    lost: Literal["cut off", "no reply"] | None
    why: str


def said(text: str, finish_reason: str, reason: str = "") -> Said:
    """What a reply says, and whether it was lost.

    Args:
        text: the reply as it came, with its thoughts.
        finish_reason: why it ended, in any endpoint's word: "stop", "length", "MAX_TOKENS", "content_filter" …
        reason: the endpoint's own words on that.

    A reply that was stopped before its end is "cut off"; one that says nothing, unless its length is why, is "no reply".
    """
    heard, why = spoken(text), _STOPPED.get(finish_reason.lower(), "")
    lost: Literal["cut off", "no reply"] | None = None
    if why and (heard.strip() or why.startswith("the reply was cut off")):
        lost = "cut off"
    elif not heard.strip():
        lost, why = "no reply", why or ("the reply holds nothing but thoughts" if text.strip() else "the reply was empty")
    return Said(heard, lost, f"{why}: {reason}" if lost and reason else why)


def spoken(text: str) -> str:
    """A reply without its thoughts, in the marks of any model; one without thoughts as it stands.

    Thoughts stand at the beginning, or before a closing mark whose opening is in the prompt, or after an opening mark at the beginning of a
    line that is never closed. Marks in code, in quotation marks, in pairs within the text and in a sentence that goes on are words of it.
    """
    at, (end, unclosed) = 0, _thought(text, 0)
    while end is not None:
        at, (end, unclosed) = end, _thought(text, end)
    if at == 0 and unclosed is None:
        return text
    heard = text[at:unclosed].strip()
    for _ in range(2):  # of a message and of a turn
        heard = next((heard[: -len(mark)].rstrip() for mark in _OVER if heard[-len(mark) :].lower() == mark), heard)
    answer = re.fullmatch(r"<(answer|response|output)>(.*)</\1>", heard, re.IGNORECASE | re.DOTALL)  # Hunyuan, ERNIE, Marco-o1
    return answer[2].strip() if answer else heard


def _thought(text: str, at: int) -> tuple[int | None, int | None]:
    """Where the thought that `text` begins with from `at` on ends, and where a later one begins that is never closed."""
    if opened := _OPENED.match(text, at):
        end = None
        for closed in _CLOSED[_THOUGHTS[opened[1].lower()]].finditer(text, opened.end()):
            end = closed.end()
            if not _quoted(text, closed):
                return end, None
        return (len(text) if end is None else end), None
    fenced = False
    waiting: dict[str, tuple[bool, int]] = {}  # the closing mark of an opening one, whether that begins a line, and where
    for mark in _MARK.finditer(text, at):
        name = mark[0].strip().lower()
        if name in ("```", "~~~"):
            fenced = not fenced
            continue
        if fenced or _quoted(text, mark):
            continue
        before = _before(text, mark.start())
        begins, goes_on = before in ("", "\n"), _GOES_ON.match(text, mark.end())
        if name in _THOUGHTS:
            waiting.setdefault(_THOUGHTS[name], (begins, mark.start()))
            continue
        opening = waiting.pop(name, None)
        in_a_sentence = goes_on and before not in (".", "!", "?")
        if (begins and not goes_on and not opening[0]) if opening else not in_a_sentence:
            return mark.end(), None
    return None, min((start for begins, start in waiting.values() if begins), default=None)


def _quoted(text: str, mark: re.Match[str]) -> bool:
    around = text[mark.start() - 1 : mark.start()] + text[mark.end() : mark.end() + 1]
    return around in ("``", '""', "''", "“”", "‘’")


def _before(text: str, at: int) -> str:
    """The last sign before a place that is not blank; a line break counts as a sign."""
    while at and text[at - 1] in " \t":
        at -= 1
    return text[at - 1 : at]


# What stands above and below a text that a model gives: "Sure! Here is the new prompt:", "**Revised prompt:**", "I kept …".
_SURE = r"(?:sure|certainly|of course|absolutely|okay|ok|understood|got it)\b[^\n.!:,]{0,30}"
_NEW = r"(?:new|revised|improved|updated|rewritten|rephrased|paraphrased?|reworded|refined|optimi[sz]ed|enhanced|modified)\b"
_HERE = r"(?:here (?:is|are)|here['’]s|below is|i(?:['’]ve| have) \w+)\b"
_NAMED = rf"(?=[^\n:]{{0,200}}(?:{_NEW}|\b(?:the|your|my) prompt\b))[^\n:]{{0,200}}"
_LINE = rf"[*_#> ]*+(?:here it is|here you go|{_HERE}{_NAMED}|(?:the |your |my )?{_NEW} prompt[ *_]*):[*_]*\s*"
_ANNOUNCED = re.compile(rf"\A(?:(?:{_SURE}[.!:,]+\s*+)?{_LINE}|{_SURE}[.!:]+(?:\s*\n\s*|\s*(?=[<`\"“])))", re.IGNORECASE)
_DID = r"(?:note:? )?(?:that )?i(?:['’]ve| have)? (?:\w+ed|kept|made|put|wrote)\b"
_IS = r"(?:this|the) (?:new |revised |updated |improved )?(?:version|prompt) (?:now|is|has|adds|keeps|includes|makes)\b"
_BYE = r"let me know\b|feel free to\b|(?:i )?hope (?:this|it|that) \w+s\b"
_REMARK = re.compile(rf"\s*\n[*_#> ]*(?:{_DID}|{_IS}|{_BYE}|(?:key )?changes(?: made)?[:*])", re.IGNORECASE)
_PARTING = re.compile(rf"\n[ \t]*\n[*_#> ]*(?:{_DID}|{_BYE})[^\n]{{0,300}}\Z", re.IGNORECASE)
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(\w*)[^\n`]*\n")
_TAG = re.compile(r"<((?:\w+[_-])?prompt|answer|output|response|result|rewrite|paraphrase|improved_variable)>", re.IGNORECASE)


def unwrap(text: str, quoted: bool = False) -> str:
    """A text without the one pair that a model wraps it in, and without the line that announces it; any other as it stands.

    The pair is a code fence, tags as `<prompt>` and `</prompt>`, backticks, and where the text was shown in quotation marks (`quoted`) such
    marks. It must embrace the whole, and nothing may stand round it but the line that announces it, as "Sure! Here is the new prompt:", and
    below it a short remark on it, as "I kept …"; where that line stands, the pair may be missing. What could as well be part of the text
    stays: one that begins or ends with a block of its own, or that speaks of a tag, is given back whole.
    """
    inside = embraced(text, quoted)
    if inside is not None:
        return inside
    body, announced = _ANNOUNCED.subn("", text.strip())
    return (_PARTING.sub("", body) if announced else body).strip()


def embraced(text: str, quoted: bool = False) -> str | None:
    """What stands in the one pair that embraces a text, as in `unwrap`; None where there is none."""
    body = _ANNOUNCED.sub("", text.strip())
    for find in (_fenced, _tagged, _ticked, _in_marks)[: 4 if quoted else 3]:
        if span := find(body):
            rest = body[span[2] :]
            if not rest or (len(rest) <= 600 and "```" not in rest and _REMARK.match(rest)):
                return body[span[0] : span[1]].strip()
    return None


_Span = tuple[int, int, int] | None  # where the inside begins and ends, and where the pair ends


def _fenced(text: str) -> _Span:
    if not (opened := _FENCE.match(text)):
        return None
    fences = list(re.finditer(rf"^[ \t]*{opened[1]}{opened[1][0]}*[ \t]*([^\s`].*)?$", text[opened.end() :], re.MULTILINE))
    bare = [n for n, fence in enumerate(fences) if not fence[1]]
    if not bare:
        return None
    # a fence that says what is in it opens a block; one that says nothing closes a block or, in what is surely a wrapping, opens one
    wrapping = opened[2].lower() in ("markdown", "md", "prompt")
    open_blocks = 0
    for fence in fences[: bare[-1]]:
        open_blocks += 1 if fence[1] or (wrapping and not open_blocks) else -1
        if open_blocks < 0:
            return None
    last, offset = fences[bare[-1]], opened.end()
    return None if open_blocks else (offset, offset + last.start(), offset + last.end())


def _tagged(text: str) -> _Span:
    if not (opened := _TAG.match(text)):
        return None
    tags = list(re.finditer(rf"<(/?){opened[1]}>", text, re.IGNORECASE))
    closings = [tag for tag in tags if tag[1]]
    if not closings:  # small models leave it open
        alone = len(tags) == 1 and "prompt" in opened[1].lower() and not re.match(r"[ \t]+\S", text[opened.end() :])
        return (opened.end(), len(text), len(text)) if alone else None
    depth, closed = 0, False
    for tag in tags[: tags.index(closings[-1])]:
        if closed and not tag[1]:
            return None  # another pair beside the first
        depth += -1 if tag[1] else 1
        closed = closed or depth == 0
    return opened.end(), closings[-1].start(), closings[-1].end()


def _ticked(text: str) -> _Span:
    found = re.match(r"(`+)[^`]", text)
    if not found or not text.endswith(found[1]) or any(run == found[1] for run in re.findall(r"`+", text[found.end(1) : -len(found[1])])):
        return None
    return found.end(1), len(text) - len(found[1]), len(text)


def _in_marks(text: str) -> _Span:
    if text[:1] not in ('"', "“"):
        return None
    end = text.rfind('"' if text[0] == '"' else "”")
    if end < 1:
        return None
    inner = text[1:end]
    first = re.search('"' if text[0] == '"' else "[“”]", inner)
    if first is None or (text[0] == '"' and inner.count('"') % 2):  # an odd number is no pair beside the first
        return 1, end, end + 1
    before, after = inner[: first.start()][-1:], inner[first.end() : first.end() + 1]
    closes = first[0] == "”" or (first[0] == '"' and before not in ("", "(", "[") and not before.isspace() and not after.isalnum())
    return None if closes else (1, end, end + 1)
