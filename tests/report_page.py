"""What the tests of exports share: a task and replies full of markup, and a page as a browser would read it."""

import re
from html.parser import HTMLParser

import nbformat
import pandas as pd

import gradbook as gb

KEY = "sk-not-to-be-found-anywhere"
EVIL = "<script>alert(1)</script> <img src=x onerror=alert(2)> </div></td></table> "
EVIL += "[x](javascript:alert(3)) ![i](https://evil.example/i.png) "
EVIL += "a | b `code` **bold** _it_ $x^2$ \\(y\\) $$z$$ # no heading &lt;b&gt; {{7*7}}"
EVIL += "\n\n\n# not a heading\n    not code\n- not a list"
_APART = ("br", "p", "td", "th", "h2", "h3", "h4", "li", "summary", "blockquote", "div", "section", "small", "ol", "ul")


def evil_task() -> gb.Task:
    rows = [{"input": f"Item {n}. {EVIL}", "target": f"K{n % 3 + 1}"} for n in range(18)]
    frame = pd.DataFrame(rows).assign(split=["train"] * 6 + ["validation"] * 6 + ["test"] * 6)
    options = {"split": "split", "labels": ["K1", "K2", "K3"], "answer": "label", "seed_prompt": f"Give the code. {EVIL}"}
    return gb.Task.from_frame(frame, name="codes | <b>", description=EVIL, **options)


def reply(messages, body) -> str:
    """Answers with the code that the prompt names, or cannot be read; critiques and rewrites are full of markup."""
    said = messages[-1]["content"]
    if messages[0]["role"] == "system":
        code = re.search(r"Prefer (K\d)", messages[0]["content"])
        return f"{EVIL}\nAnswer: {code[1]}" if code else f"I cannot tell. {EVIL}"
    if "Rules to add:" in said:
        code = "K2" if "Use K2 instead" in said else "K1"
        return f"<prompt>Give the code. Prefer {code}. {EVIL} {body['seed'] % 3}</prompt>"
    return f"Use K1. {EVIL}"


class Page(HTMLParser):
    """What a browser would make of the page: its tags, and its text as read."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.read: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.read += [" "] if tag in _APART else []

    def handle_data(self, data):
        self.read += [] if self.cdata_elem else [data]  # neither a style sheet nor a script is read

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.read).replace("\u00a0", " "))


def markdown_of(path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
