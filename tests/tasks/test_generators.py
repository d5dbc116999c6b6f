"""Generated tasks: labels are checked by a second solver that reads nothing but the question's text."""

import json
import re
from collections import Counter
from importlib.resources import files
from itertools import product

import pytest

from gradbook.errors import TaskError
from gradbook.tasks import Task, multistep_arithmetic, ticket_routing, web_of_lies

SPLITS = ("train", "validation", "test")


def examples(task: Task):
    return [example for name in SPLITS for example in task.split(name)]


def assert_well_made(task: Task) -> None:
    inputs = [example.input for example in examples(task)]
    assert len(set(inputs)) == len(inputs)
    assert len({example.id for example in examples(task)}) == len(inputs)
    assert all(task.correct(task.parse(example.target), example.target) for example in examples(task))
    json.dumps(task.settings())


def truth_from_text(question: str) -> str:
    """Brute force over what the sentences say, with people known by their names."""
    asked = re.search(r"Does (\w+) tell the truth\?$", question)[1]
    statements = question.split(". ", 1)[1]
    said = re.findall(r"(?:According to )?(?:(\w+)(?:,| (?:says|claims)(?: that)?) )?(\w+) (tells the truth|lies)\.", statements)
    assert len(said) == statements.count(".")
    people = sorted({name for pair in said for name in pair[:2] if name} | {asked})
    values = set()
    for bits in product((0, 1), repeat=len(people)):
        honest = dict(zip(people, bits, strict=True))
        claims = [(speaker, honest[subject] == (deed != "lies")) for speaker, subject, deed in said]
        if all(claim == (not speaker or bool(honest[speaker])) for speaker, claim in claims):
            values.add(honest[asked])
    return {(0, 1): "unknown", (1,): "yes", (0,): "no"}[tuple(sorted(values))]


@pytest.mark.parametrize("people", range(2, 9))
def test_web_of_lies_labels_follow_from_the_text(people: int) -> None:
    task = web_of_lies(people=people, seed=people, sizes=(20, 20, 20))
    assert_well_made(task)
    assert all(truth_from_text(example.input) == example.target for example in examples(task))


def test_the_rule_of_web_of_lies_says_just_when_nobody_can_know() -> None:
    task = web_of_lies(people=5, unknown=0.4, sizes=(40, 40, 40))
    for example in examples(task):
        statements = example.input.split(". ", 1)[1]
        said = re.findall(r"(?:According to )?(?:(\w+)(?:,| (?:says|claims)(?: that)?) )?(\w+) (?:tells the truth|lies)\.", statements)
        linked = {re.search(r"Does (\w+)", example.input)[1]}
        for _ in said:
            linked |= {name for pair in said if linked.intersection(pair) for name in pair if name}
        known = any(not speaker and subject in linked for speaker, subject in said)
        assert (example.target == "unknown") == (not known), "unknown only where none that is known is linked to the one asked about"
    assert "answer unknown only where none such is linked to the one asked about" in task.rule and task.false_rule


def test_the_rule_of_ticket_routing_says_what_each_code_stands_for_and_the_false_one_does_not() -> None:
    for codes in range(2, 7):
        task = ticket_routing(codes=codes, seed=codes, sizes=(6, 6, 6))
        told = [dict(re.findall(r"about ([\w-]+) get (K\d)", rule)) for rule in (task.rule, task.false_rule)]
        meaning = {topic: code for code, topic in task.source["meaning"].items()}
        assert told[0] == meaning and told[1].keys() == meaning.keys() and set(told[1].values()) == set(meaning.values())
        assert all(told[1][topic] != code for topic, code in meaning.items())
        assert len(task.rule.split()) == len(task.false_rule.split())


@pytest.mark.parametrize("unknown", [0, 0.12, 0.25, 1 / 3, 1])
def test_web_of_lies_has_just_the_share_of_unknown_asked_for(unknown: float) -> None:
    task = web_of_lies(people=3, unknown=unknown)
    for name in SPLITS:
        counts = Counter(example.target for example in task.split(name))
        assert counts["unknown"] == int(len(task.split(name)) * unknown + 0.5)
        assert abs(counts["yes"] - counts["no"]) <= 1


def test_web_of_lies_asks_for_an_inference() -> None:
    for example in examples(web_of_lies(people=2)):
        name = re.search(r"Does (\w+)", example.input)[1]
        assert not re.search(rf"(?:^|\. ){name} (?:lies|tells the truth)\.", example.input)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"people": 1}, "people=1"),
        ({"people": 11}, "people=11"),
        ({"people": 2.5}, "people=2.5"),
        ({"unknown": 1.1}, "unknown=1.1"),
        ({"unknown": "few"}, "unknown='few'"),
    ]
    + [({"sizes": sizes}, "three counts") for sizes in ((1, 2), (0, 1, 1), (0.2, 0.3, 0.5))],
)
def test_web_of_lies_refuses_arguments_out_of_range(arguments: dict, named: str) -> None:
    with pytest.raises(TaskError, match=named):
        web_of_lies(**arguments)


def test_another_seed_makes_other_questions() -> None:
    for make in (web_of_lies, multistep_arithmetic, ticket_routing):
        assert make().train == make().train != make(seed=1).train


WORDS = dict(zip("one two three four five six seven eight nine ten".split(), range(1, 11), strict=True))  # noqa: SIM905
NEW = ("><", "<>", "][", "~", "@", "!", "#", "&", ":")
TOKEN = re.compile(r"\s*(==|><|<>|\]\[|\d+|[a-z]+|[-+*~@!#&:<>()|,])")


class Reader:
    """A recursive-descent evaluator of expression text; an operator is a Python function from numbers to a number."""

    def __init__(self, text: str, operators: dict, names: dict[str, int]):
        self.tokens, self.operators, self.names = TOKEN.findall(text), operators, names
        assert "".join(self.tokens) == re.sub(r"\s", "", text), text

    def take(self) -> str:
        return self.tokens.pop(0)

    def read(self, stops: tuple[str, ...] = ()) -> int:
        """Operands with operators between, from left to right: a condition compares last, and all else stands in brackets."""
        left = self.operand()
        while self.tokens and self.tokens[0] not in stops:
            left = self.combine(left, self.take(), self.operand())
        return left

    def combine(self, left: int, symbol: str, right: int) -> int:
        arithmetic = {"+": left + right, "-": left - right, "*": left * right, ">": left > right, "<": left < right, "==": left == right}
        return arithmetic[symbol] if symbol in arithmetic else self.operators[symbol](left, right)

    def operand(self) -> int:
        token = self.take()
        if token == "-":
            return -self.operand()
        if token in ("(", "|"):
            value = self.read((")", "|"))
            return self.take() and (abs(value) if token == "|" else value)
        if token in ("gcd", "min", "max"):
            assert self.take() == "("
            first, _, second, _ = self.read((",",)), self.take(), self.read((")",)), self.take()
            return euclid(abs(first), abs(second)) if token == "gcd" else {"min": min, "max": max}[token](first, second)
        return self.names[token] if token in self.names else WORDS[token] if token in WORDS else int(token)


def euclid(a: int, b: int) -> int:
    return a if b == 0 else euclid(b, a % b)


def number_from_text(question: str) -> int:
    """The answer, worked out from the question's text alone."""
    operators: dict = {}
    for symbol, then, condition, otherwise in re.findall(
        r"^\$a (\S+) b\$ equals \$(.+?)\$ if \$(.+?)\$(?: and |; otherwise, it equals )\$(.+?)\$(?: otherwise)?\.$", question, re.MULTILINE
    ):
        assert symbol in NEW

        def apply(a: int, b: int, then=then, condition=condition, otherwise=otherwise) -> int:
            names = {"a": a, "b": b}
            return Reader(then if Reader(condition, operators, names).read() else otherwise, operators, names).read()

        operators[symbol] = apply
    a, b, c = (Reader(text, operators, {}).read() for text in re.findall(r"^Let [ABC] = (.+)$", question, re.MULTILINE))
    assert "Compute A + B - C." in question
    return a + b - c


@pytest.mark.parametrize(("operators", "depth"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 2), (6, 5)])
def test_multistep_arithmetic_targets_follow_from_the_text(operators: int, depth: int) -> None:
    task = multistep_arithmetic(operators=operators, depth=depth, seed=depth, sizes=(20, 10, 10))
    assert_well_made(task)
    for example in examples(task):
        assert str(number_from_text(example.input)) == example.target
        assert example.input.count("equals $") >= operators and abs(int(example.target)) <= 300_000
        assert ("gcd(" in example.input) == ("greatest common divisor" in example.input)


@pytest.mark.parametrize("arguments", [{"operators": 0}, {"operators": 7}, {"depth": 0}, {"depth": 7}, {"depth": 1.5}])
def test_multistep_arithmetic_refuses_arguments_out_of_range(arguments: dict) -> None:
    with pytest.raises(TaskError, match="whole number from 1 to 6"):
        multistep_arithmetic(**arguments)


@pytest.mark.parametrize("codes", range(2, 7))
def test_tickets_are_balanced_and_labelled_by_their_topic(codes: int) -> None:
    task = ticket_routing(codes=codes)
    assert_well_made(task)
    assert task.labels == tuple(f"K{i}" for i in range(1, codes + 1))
    tickets = map(json.loads, files("gradbook").joinpath("data/tickets.jsonl").read_text("utf-8").splitlines())
    topics = {ticket["text"]: ticket["topic"] for ticket in tickets}
    assert all(topics[example.input] == task.source["meaning"][example.target] for example in examples(task))
    for name in SPLITS:
        counts = Counter(example.target for example in task.split(name)).values()
        assert max(counts) - min(counts) <= 1


def test_the_prompt_for_tickets_does_not_say_what_a_code_means() -> None:
    task = ticket_routing(codes=6)
    assert not any(topic in task.system(task.seed_prompt) for topic in task.source["meaning"].values())


def test_meanings_change_with_the_seed() -> None:
    assert len({tuple(ticket_routing(seed=seed).source["meaning"].items()) for seed in range(6)}) > 1


def test_more_tickets_than_there_are() -> None:
    with pytest.raises(TaskError, match=r"ask for 100000 tickets .*, and there are \d+"):
        ticket_routing(sizes=(1, 1, 99_998))
    for codes in (1, 7, 2.5):
        with pytest.raises(TaskError, match="whole number from 2 to 6"):
            ticket_routing(codes=codes)
