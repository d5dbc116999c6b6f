"""The critic's own task: to say of an output whether it is right. It is asked and read like any other task."""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from gradbook.loop.method import Method
from gradbook.loop.templates import fill
from gradbook.metrics import VERDICTS
from gradbook.records import Answer, Evaluation, Example, Prediction
from gradbook.tasks import Task
from gradbook.tasks.answers import LabelAnswer
from gradbook.tasks.number import value
from gradbook.tasks.reading import finished

RIGHT, WRONG = VERDICTS
_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | dict.fromkeys(map(ord, "−–‒﹣"), "-")  # full-width forms, minus signs
_VERDICT = re.compile(r"\bverdict\b[*_`\"'\s]*(?:is\b|[:=])\s*([^\n]+)", re.IGNORECASE)
_LEADING = re.compile(r"\W*(right|wrong)\b(?!\W*(?:or\W+)?(?:right|wrong)\b)", re.IGNORECASE)
# a number begins where none is under way and is taken whole (`+`, `++`: no way back), so that no reply takes long to read
_NUMBER = r"(?<![\d.,])[-+]?\d++(?:[.,]\d++)*+"
_STATED = rf"{_NUMBER}(?:\s*(?:-|to)\s*\d++)?"
_SCORE = re.compile(
    r"\bscore\b(?:\s*\([^()\n]{0,40}\)|\s+for\s[\w\s'’]{1,40}?|\s+out of 100)?[*_`\"'\s]*"
    rf"(?:is\b|of\b|would be\b|[:=])[*_`\"'\s(\[]*(?P<said>{_STATED})"
    rf"|(?P<plain>{_STATED})\s*(?:/\s*100\b|out of 100\b)",
    re.IGNORECASE,
)
_OTHER_SCALE = re.compile(r"[\s()*_`]*+(?:/|(?:out\s+)?of\b)\s*+(?!100\b)\d", re.IGNORECASE)


@dataclass(frozen=True)
class CriticTask:
    """Inputs are an input and the output on it; the label says whether that output is right.

    `answered` holds what is judged, by example: predictions, or answers where only the scoring matters. With
    `binary` a verdict is "right" or "wrong"; without, a number from 0 to 100, of which 50 and more means right.
    """

    task: Task
    method: Method
    answered: Mapping[str, Answer]
    name = "critic"
    labels = VERDICTS

    @property
    def binary(self) -> bool:
        """Whether verdicts are words and not numbers."""
        return self.method.evaluation == "critic-binary"

    @property
    def seed_prompt(self) -> str:
        """The prompt that the critic begins with."""
        return self.method.templates.critic_seed

    @property
    def format_instruction(self) -> str:
        """The form of a verdict, never optimised."""
        return self.form(self.method)[0]

    @staticmethod
    def form(method: Method) -> tuple[str, str]:
        """The form of a verdict and of what the critic reads; verdicts of another form are not to be read as this one."""
        templates = method.templates
        return templates.critic_binary if method.evaluation == "critic-binary" else templates.critic_score, templates.critic_input

    def example(self, id: str) -> Example:
        """An input with the output on it, and whether that is right by the true label."""
        given, answer = self.task.example(id).input, self.answered[id]
        output = answer.output if isinstance(answer, Prediction) else ""
        return Example(id=id, input=fill(self.method.templates.critic_input, input=given, output=output), target=_verdict(answer.correct))

    def system(self, prompt: str) -> str:
        """The system message: `prompt`, a blank line, the form of a verdict."""
        return f"{prompt}\n\n{self.format_instruction}"

    def parse(self, output: str, cut: bool = False) -> str | None:
        """The verdict in a reply: "right", "wrong" or a number from 0 to 100; None where it gives none that can be used.

        Thoughts do not count; of a reply that was `cut` off only a verdict that it states in a finished line does.
        """
        heard = finished(output, cut)
        if self.binary:
            return read_verdict(heard, stated=cut)
        score = read_score(heard, stated=cut)
        return None if score is None or not 0 <= score <= 100 else f"{score:.12g}"

    def unusable(self, output: str) -> str | None:
        """Why a reply gives no verdict: "missing" or "out of range"; None where it gives one."""
        if self.parse(output) is not None:
            return None
        return "missing" if self.binary or read_score(finished(output, False)) is None else "out of range"

    def score(self, answer: str | None) -> float | None:
        """A verdict as a number from 0 to 1; None where there is none."""
        if answer is None:
            return None
        return float(answer == RIGHT) if self.binary else float(answer) / 100

    def classes(self, text: str | None) -> tuple[str, ...]:
        """The class of a verdict or of a label: ("right",) or ("wrong",)."""
        if text is None or text in self.labels:
            return (text,) if text else ()
        return (_verdict(float(text) >= 50),) if value(text) is not None else ()

    def correct(self, answer: str | None, target: str) -> bool:
        """Whether a verdict agrees with a label."""
        return answer is not None and self.classes(answer) == self.classes(target)

    def wrong_label(self, example: Example) -> str:
        """What the label would be if the task's wrong label were true: an output that misses both stays wrong."""
        true = self.task.example(example.id)
        return _verdict(self.task.correct(self.answered[example.id].answer, self.task.wrong_label(true)))

    def reread(self, evaluation: Evaluation, text: str) -> Evaluation:
        """An evaluation of the critic's whose words a person has changed, with the verdict that they now give."""
        found = {"text": text, "call": None, "score": self.score(self.parse(text)), "unusable": self.unusable(text)}
        return evaluation.model_copy(update=found)


def read_verdict(reply: str, stated: bool = False) -> str | None:
    """The verdict that a reply states, "right" or "wrong"; None where it states none, both, or denies one.

    That is what the last "Verdict:" with one of the words in its line says, or else, unless
    it has to be `stated`, a last line that is the word alone.
    """
    text, form = reply.translate(_ASCII), LabelAnswer(labels=VERDICTS)
    for said in reversed(_VERDICT.findall(text)):
        if leading := _LEADING.match(said):
            return leading[1].lower()
        if re.search(r"\b(?:right|wrong)\b", said, re.IGNORECASE):
            return form.parse(said)
    return None if stated else next(iter(form.classes(text.strip().rpartition("\n")[2])), None)


def read_score(reply: str, stated: bool = False) -> float | None:
    """The score that a reply states, on a scale to 100, in range or not; None where it states none.

    That is the number after the last "Score:", or before the last "/100" or "out of 100", or, unless it has to be `stated`, a
    reply that is only a number.
    Two numbers ("60 to 70") and other scales ("7/10") are no score.
    """
    text = reply.translate(_ASCII)
    found = deque(_SCORE.finditer(text), maxlen=1)
    if not found:
        return None if stated else _number(text.strip().strip("*_`.%").strip())
    last = found[0]
    return None if _OTHER_SCALE.match(text, last.end()) else _number(last["said"] or last["plain"])


def _number(text: str) -> float | None:
    number = None if "/" in text else value(text)  # 8/10 is a score on another scale
    return None if number is None else float(number)


def _verdict(right: bool) -> str:
    return RIGHT if right else WRONG
