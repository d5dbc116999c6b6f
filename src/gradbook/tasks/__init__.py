"""Tasks: generators (web_of_lies, ticket_routing, multistep_arithmetic) and loaders (bbeh, gpqa, Task.from_frame and the like)."""

from gradbook.tasks.answers import AnswerFormat, BbehAnswer, LabelAnswer, NoAnswer, NumberAnswer, SequenceAnswer, TextAnswer
from gradbook.tasks.bbeh import bbeh
from gradbook.tasks.gpqa import gpqa
from gradbook.tasks.multistep_arithmetic import multistep_arithmetic
from gradbook.tasks.task import Task
from gradbook.tasks.ticket_routing import ticket_routing
from gradbook.tasks.web_of_lies import web_of_lies

__all__ = [
    "AnswerFormat",
    "BbehAnswer",
    "LabelAnswer",
    "NoAnswer",
    "NumberAnswer",
    "SequenceAnswer",
    "Task",
    "TextAnswer",
    "bbeh",
    "gpqa",
    "multistep_arithmetic",
    "ticket_routing",
    "web_of_lies",
]
