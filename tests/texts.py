"""Texts that make careless code slow, at any length: what models write when they run off, and what patterns stumble over."""

import time
from collections.abc import Callable

_PIECES = {
    "words": "word ",
    "one word": "a",
    "blanks": " ",
    "line breaks": "\n",
    "short lines": "a\n",
    "lines of blanks": "   \n",
    "marks": "*",
    "list": "- a\n",
    "headings": "# a\n",
    "new prompts": "New prompt:\n",
    "new prompt unfinished": "** New prompt ",
    "announcements": "Sure! Here is the new prompt: ",
    "half an announcement": "Here is the new ",
    "backticks": "`",
    "inline code": "`a ",
    "fences": "```\n",
    "fences that say what is in them": "```md\n",
    "quotes": '"',
    "quoted words": '"a" ',
    "opening tags": "<prompt>",
    "pairs of tags": "<prompt></prompt>",
    "angles": "<",
    "opening thoughts": "<think>\n",
    "closing thoughts": "</think>",
    "thoughts": "<think></think>",
    "quoted ends of thoughts": '<think>"</think>"',
    "thoughts that are mentioned": " </think>, ",
    "channels": "<|channel|>analysis",
    "brackets": "[",
    "links": "[a](",
    "tildes": "~~a ",
    "emphasis": "**a *b ",
    "table": "|a|b|\n|-|-|\n",
    "cells": "|a",
    "ampersands": "&",
    "quotes of quotes": "> ",
    "no sentence ends": "x y ",
    "sentences": "A b c. ",
    "template": "Write the new prompt. It begins\n",
    "Chinese": "答案：",
}


def long_texts(length: int) -> dict[str, str]:
    """The texts by name, each about `length` characters long."""
    texts = {name: piece * (length // len(piece)) for name, piece in _PIECES.items()}
    texts["numbers"] = " ".join(map(str, range(length // 6)))
    texts["numbers backwards"] = " ".join(map(str, reversed(range(length // 6))))
    texts["numbers and words"] = " ".join(f"{n} word" for n in range(length // 10))
    texts["prose"] = " ".join(f"Input {n} is about {n % 97} parcels, and {n % 31} of them are lost." for n in range(length // 55))
    wrapped = ("`{}`", '"{}"', "```\n{}\n```", "<prompt>{}</prompt>", "<think>{}", "{}</think>a", "Sure!{}", "New prompt{}", "a\n<think>{}")
    for around in wrapped:
        texts[around.replace("{}", "…")] = around.format(" " * length)
        texts[around.replace("{}", "…") + " in lines"] = around.format("a\n" * (length // 2))
    return texts


def seconds(work: Callable[[], object], tries: int = 3) -> float:
    """The processor time of the fastest of some tries."""
    taken = []
    for _ in range(tries):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def assert_in_proportion(read: Callable[[str], object], short: int = 2_000, times: int = 16) -> None:
    """`read` takes a text that is `times` as long no longer than that allows: the square would be `times` as much again."""
    brief, long = long_texts(short), long_texts(times * short)
    for name, text in long.items():
        bound = 6 * times * max(seconds(lambda text=brief[name]: read(text)), 0.002)
        taken = seconds(lambda text=text: read(text), tries=1)
        assert taken < bound or seconds(lambda text=text: read(text)) < bound, f"{name}: {taken:.3f} s, more than {bound:.3f} s"
