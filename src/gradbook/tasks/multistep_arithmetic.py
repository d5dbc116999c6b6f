"""Multistep arithmetic with operators defined in the question. Made here, in the manner of BIG-Bench Extra Hard's task."""

import math
import operator
import random
from collections.abc import Callable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

from gradbook.errors import TaskError
from gradbook.records import SPLITS
from gradbook.tasks.answers import NumberAnswer
from gradbook.tasks.frames import SIZES, check_counts, examples_of
from gradbook.tasks.task import Task

LIMIT = 100_000  # no value inside A, B or C is larger than this, so answers stay readable
SYMBOLS = ("><", "~", "@", "!", "#", "&", ":", "][", "<>")
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

# A tree is a number, the name "a" or "b", or a tuple: the operator and its operands.
Tree = Any
_BUILT_IN: dict[str, Callable[..., int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "abs": abs,
    "gcd": math.gcd,
    "min": min,
    "max": max,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_CONDITIONS: tuple[Tree, ...] = (
    (">", "a", "b"),
    (">", ("*", "a", "b"), 0),
    (">", ("+", "a", "b"), 0),
    (">", ("-", "a", "b"), 0),
    ("<", ("abs", ("-", "a", "b")), 2),
    ("<", "b", 2),
    ("==", ("gcd", "a", "b"), 1),
)
_RESULTS: tuple[Tree, ...] = (
    ("+", "a", "b"),
    ("-", "a", "b"),
    ("-", "b", "a"),
    ("*", "a", "b"),
    ("-", ("*", 2, "b"), "a"),
    ("+", ("*", 2, "a"), "b"),
    ("abs", ("-", "a", "b")),
    ("gcd", "a", "b"),
    ("min", "a", "b"),
    ("max", "a", "b"),
    "a",
    "b",
)
# A definition is a condition, the result where it holds, and the result otherwise.
Definitions = dict[str, tuple[Tree, Tree, Tree]]


def multistep_arithmetic(operators: int = 3, depth: int = 3, seed: int = 0, sizes: tuple[int, int, int] = SIZES) -> Task:
    """Expressions over operators that each question defines anew; the answer is a whole number.

    operators: 1 to 6 new ones a question, later ones may use earlier ones; depth: 1 to 6 levels of brackets in each of A, B and
    C; seed: another seed, other questions; sizes: examples in train, validation and test. Arithmetic is exact, and no input
    is repeated. Raises TaskError for arguments out of range.
    """
    for name, given in {"operators": operators, "depth": depth}.items():
        if not isinstance(given, int) or not 1 <= given <= 6:
            raise TaskError(f"{name}={given!r} should be a whole number from 1 to 6.")
    counts = check_counts(sizes)
    rng = random.Random(f"multistep arithmetic:{operators}:{depth}:{seed}")
    questions: dict[str, str] = {}
    while len(questions) < sum(counts):
        text, target = _question(rng, operators, depth)
        questions[text] = str(target)
    items = iter(questions.items())
    answer = NumberAnswer()
    return Task(
        name="multistep_arithmetic",
        description=f"Arithmetic with {operators} new operators, {depth} levels deep; generated.",
        **examples_of({name: islice(items, size) for name, size in zip(SPLITS, counts, strict=True)}),
        answer=answer,
        seed_prompt="Answer the question.",
        format_instruction=answer.instruction(),
        source={"generator": "multistep_arithmetic", "operators": operators, "depth": depth, "seed": seed, "sizes": list(counts)},
        rule="Work out A, B and C from the innermost brackets outwards, each new operation as it is defined: test its condition first, "
        "then take the result that belongs to it; at last compute A + B - C.",
        false_rule="Work out A, B and C from left to right whatever the brackets, each new operation by the first result of its "
        "definition: do not test its condition; at last compute A - B + C.",
    )


def evaluate(tree: Tree, definitions: Definitions, names: Mapping[str, int] = MappingProxyType({})) -> int:
    """The exact value of a tree, where `names` gives a and b."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return names[tree]
    symbol, *operands = tree
    return apply(symbol, definitions, *(evaluate(operand, definitions, names) for operand in operands))


def apply(symbol: str, definitions: Definitions, *operands: int) -> int:
    """An operator, built in or new, on numbers."""
    if symbol in _BUILT_IN:
        return _BUILT_IN[symbol](*operands)
    condition, then, otherwise = definitions[symbol]
    names = dict(zip("ab", operands, strict=True))
    return evaluate(then if evaluate(condition, definitions, names) else otherwise, definitions, names)


def _question(rng: random.Random, operators: int, depth: int) -> tuple[str, int]:
    definitions: Definitions = {}
    for symbol in rng.sample(SYMBOLS, operators):
        results = _RESULTS + tuple(tree for earlier in definitions for tree in _using(earlier))
        definitions[symbol] = (rng.choice(_CONDITIONS), *rng.sample(results, 2))
    (a, x), (b, y), (c, z) = (_expression(rng, definitions, depth) for _ in "ABC")
    head = ["Consider the following new operations:", "", *(_definition(rng, *item) for item in definitions.items()), ""]
    if "gcd" in str(definitions):
        head.insert(-1, "Here gcd stands for greatest common divisor.")
    body = [f"Let {name} = {tree}" for name, tree in zip("ABC", (a, b, c), strict=True)]
    return "\n".join([*head, *body, "Compute A + B - C. Your final answer must be in number form."]), x + y - z


def _using(symbol: str) -> tuple[Tree, ...]:
    """Results that lean on an operator defined earlier."""
    return ((symbol, "a", "b"), (symbol, "b", "a"), ("-", (symbol, "a", "a"), "b"), ("+", (symbol, "b", "b"), "a"))


def _expression(rng: random.Random, definitions: Definitions, depth: int) -> tuple[str, int]:
    """A random expression as text, and its value; + or - always stays within the limit, so an operator is always found."""
    if depth == 0:
        number = rng.choice([*range(-10, 0), *range(1, 11)])
        return (WORDS[number - 1] if number > 0 and rng.random() < 0.2 else str(number)), number
    (left, x), (right, y) = _expression(rng, definitions, depth - 1), _expression(rng, definitions, depth - 1)
    new, old = list(definitions), ["+", "-", "*"]
    rng.shuffle(new)
    rng.shuffle(old)
    choices = new + old if rng.random() < 0.6 else old + new
    symbol, value = next((s, v) for s in choices if abs(v := apply(s, definitions, x, y)) <= LIMIT)
    return f"({left} {symbol} {right})", value


def _definition(rng: random.Random, symbol: str, parts: tuple[Tree, Tree, Tree]) -> str:
    condition, then, otherwise = map(_render, parts)
    if rng.random() < 0.5:
        return f"$a {symbol} b$ equals ${then}$ if ${condition}$ and ${otherwise}$ otherwise."
    return f"$a {symbol} b$ equals ${then}$ if ${condition}$; otherwise, it equals ${otherwise}$."


def _render(tree: Tree) -> str:
    """A tree as text, with brackets around an operation inside another."""
    if not isinstance(tree, tuple):
        return str(tree)
    symbol, *operands = tree
    if symbol == "abs":
        return f"|{_render(operands[0])}|"
    if symbol in ("gcd", "min", "max"):
        return f"{symbol}({', '.join(map(_render, operands))})"
    inside = symbol not in ("<", ">", "==")
    left, right = (f"({_render(x)})" if inside and _infix(x) else _render(x) for x in operands)
    return f"{left} {symbol} {right}"


def _infix(tree: Tree) -> bool:
    return isinstance(tree, tuple) and tree[0] not in ("abs", "gcd", "min", "max")
