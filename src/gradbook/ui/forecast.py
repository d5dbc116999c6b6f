"""Forecast: what a reader expects, asked before the outcome is shown, kept, and set beside it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from gradbook.errors import CaseError, GradbookError
from gradbook.files import Folder
from gradbook.parse import json_line

NAME = "forecasts.jsonl"
_BEGINS = b'{"name": "'


@dataclass(frozen=True)
class Beside:
    """A forecast beside what came out, as a notebook shows it; `forecast` is "" where none was made."""

    question: str
    forecast: str
    outcome: str

    def _rows(self) -> dict[str, str]:
        return {"Question": self.question, "Your forecast": self.forecast or "none was made", "What came out": self.outcome}

    def __str__(self) -> str:
        return "\n".join(f"{name}: {said}" for name, said in self._rows().items())

    def _repr_html_(self) -> str:
        align = 'style="text-align: left; white-space: normal"'
        rows = "".join(f"<tr><th {align}>{name}</th><td {align}>{escape(said)}</td></tr>" for name, said in self._rows().items())
        return f"<table>{rows}</table>"


class Forecast(ipywidgets.VBox):
    """A question with answers to choose from; what was chosen is kept in a file and stands beside the outcome later.

    Args:
        name: of the question, under which its choices are kept.
        question: what is to be forecast, a sentence.
        answers: those to choose from.
        folder: where `forecasts.jsonl` is kept; made with the first choice.

    Raises:
        CaseError: the file cannot be read, or is none of forecasts.
    """

    def __init__(self, name: str, question: str, answers: Sequence[str], folder: str | Path = "cases") -> None:
        self.name, self.question, self.answers = name, question, tuple(answers)
        self._folder, self._seen = Folder(folder), False
        self._said = [line for line in self._read() if line["name"] == name and line["answer"] in self.answers]
        self.choice = ipywidgets.RadioButtons(options=self.answers, value=self._said[-1]["answer"] if self._said else None)
        self.choice.layout.width = "auto"
        self.choice.observe(self._choose, "value")
        self.told = ipywidgets.HTML()
        super().__init__([ipywidgets.HTML(f"<strong>{escape(question)}</strong>"), self.choice, self.told])
        self._tell()

    @property
    def said(self) -> str:
        """The choice that counts, with its time: the last one that was made before the outcome was shown; "" without any."""
        blind = [line for line in self._said if not line["seen"]]
        if not self._said:
            return ""
        counts = (blind or self._said)[-1]
        return f"{counts['answer']} ({counts['time']}{'' if blind else ', when the outcome was in view'})"

    def beside(self, outcome: object) -> Beside:
        """What was chosen before this, beside what came out; a choice from now on is told as one made with the outcome in view."""
        self._seen = True
        return Beside(self.question, self.said, str(outcome))

    def _read(self) -> list[dict[str, Any]]:
        if not self._folder.has(NAME):
            return []
        lines = self._folder.open(NAME, writable=False)
        try:
            found = [json_line(line, lines.path, number) for number, (_, line) in enumerate(lines, start=1)]
        finally:
            lines.close()
        for number, line in enumerate(found, start=1):
            if not isinstance(line, dict) or {"name", "answer", "seen", "time"} - set(line):
                raise CaseError(f"{lines.path}, line {number}, is no forecast; move the file away to begin anew")
        return found

    def _choose(self, change: Any) -> None:
        line = {"name": self.name, "answer": change["new"], "seen": self._seen, "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
        try:
            self._folder.make()
            lines = self._folder.open(NAME, writable=True)
            try:
                lines.mend(_BEGINS)
                lines.append(json.dumps(line, ensure_ascii=False).encode())
            finally:
                lines.close()
            self._said.append(line)
            self._tell()
        except GradbookError as error:
            self.told.value = f'<span role="alert">This is not kept: {escape(str(error))}</span>'

    def _tell(self) -> None:
        told = f"Kept: {self.said}" if self._said else "Choose one. It is kept, and set beside what came out."
        self.told.value = f"<em>{escape(told)}</em>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The question to be answered, and for where no kernel runs, as a list."""
        bundle = super()._repr_mimebundle_(**kwargs)
        rows = "".join(f"<li>{escape(answer)}</li>" for answer in self.answers)
        html = f"<p><strong>{escape(self.question)}</strong></p><ul>{rows}</ul><p><em>Run this cell to choose one.</em></p>"
        return None if bundle is None else bundle | {"text/html": html}
