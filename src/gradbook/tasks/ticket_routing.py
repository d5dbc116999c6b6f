"""Support tickets to be routed to codes that mean nothing by themselves: here the labels carry what no model can guess."""

import json
import random
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import islice

from gradbook.errors import TaskError
from gradbook.records import SPLITS
from gradbook.tasks.answers import LabelAnswer
from gradbook.tasks.frames import examples_of, fit_sizes
from gradbook.tasks.task import Task


def ticket_routing(codes: int = 3, seed: int = 0, sizes: Sequence[int] | None = None) -> Task:
    """Support tickets with opaque codes K1, K2, …; what a code stands for can only be learned from labels.

    codes: 2 to 6, so many of the six topics, chosen and ordered by `seed`; sizes: examples in train, validation and test,
    default 30, 50, 120, scaled down where there are fewer tickets. Codes are balanced in every split as near as can be and no
    ticket is repeated. `source["meaning"]` says what the codes stand for, `rule` says so in words, and `false_rule` gives each code
    the topic of another. The tickets were written for gradbook.
    Raises TaskError for arguments out of range or more tickets than there are.
    """
    tickets = _tickets()
    if not isinstance(codes, int) or not 2 <= codes <= len(tickets):
        raise TaskError(f"codes={codes!r} should be a whole number from 2 to {len(tickets)}.")
    rng = random.Random(f"ticket routing:{codes}:{seed}")
    meaning = {f"K{i}": topic for i, topic in enumerate(rng.sample(sorted(tickets), codes), 1)}
    pools = {code: rng.sample(tickets[topic], len(tickets[topic])) for code, topic in meaning.items()}
    counts = fit_sizes(codes * min(map(len, pools.values())), sizes, what="tickets balanced over the codes")
    turns = iter(list(pools) * sum(counts))  # dealing the codes in turn balances every split, and all of them together
    splits = {
        name: _shuffled(rng, [(pools[code].pop(), code) for code in islice(turns, size)]) for name, size in zip(SPLITS, counts, strict=True)
    }
    answer = LabelAnswer(labels=tuple(meaning))
    return Task(
        name="ticket_routing",
        description=f"Route a support ticket to one of {codes} codes without knowing what they mean; written for gradbook.",
        **examples_of(splits),
        answer=answer,
        seed_prompt=f"Route the support ticket to one of {', '.join(meaning)}. Reply with the answer line only.",
        format_instruction=answer.instruction(),
        source={"generator": "ticket_routing", "codes": codes, "seed": seed, "sizes": list(counts), "meaning": meaning},
        rule=_rule(meaning, meaning.values()),
        false_rule=_rule(meaning, [*list(meaning.values())[1:], meaning["K1"]]),
    )


def _rule(codes: Iterable[str], topics: Iterable[str]) -> str:
    return " ".join(f"Tickets about {topic} get {code}." for code, topic in zip(codes, topics, strict=True))


def _shuffled(rng: random.Random, labelled: list[tuple[str, str]]) -> list[tuple[str, str]]:
    rng.shuffle(labelled)
    return labelled


def _tickets() -> dict[str, list[str]]:
    """The different tickets of each topic, in the order of the file."""
    topics: dict[str, dict[str, None]] = {}
    for line in files("gradbook").joinpath("data/tickets.jsonl").read_text(encoding="utf-8").splitlines():
        ticket = json.loads(line)
        topics.setdefault(ticket["topic"], {})[ticket["text"]] = None
    return {topic: list(texts) for topic, texts in topics.items()}
