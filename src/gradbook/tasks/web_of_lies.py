"""Web of Lies in the small: who tells the truth, when some only say so. Made here, in the manner of BIG-Bench's task."""

import random
from itertools import product
from typing import NamedTuple

from gradbook.errors import TaskError
from gradbook.records import SPLITS
from gradbook.tasks.answers import LabelAnswer
from gradbook.tasks.frames import SIZES, check_counts, examples_of
from gradbook.tasks.task import Task

LABELS = ("yes", "no", "unknown")
# fmt: off
NAMES = (
    "Aaliyah", "Aiko", "Amara", "Amir", "Anika", "Anna", "Ayodele", "Beatriz", "Bilal", "Carlos", "Chen", "Chiara", "Dalia", "Davide",
    "Devika", "Elena", "Emeka", "Farid", "Fatou", "Freya", "Grace", "Hana", "Hiroshi", "Ibrahim", "Ines", "Ivan", "Jamal", "Joao", "Kai",
    "Kehinde", "Laila", "Leilani", "Linh", "Luca", "Malik", "Maren", "Mateo", "Mei", "Nadia", "Nikhil", "Noor", "Olga", "Omar", "Paloma",
    "Priya", "Quentin", "Rania", "Ravi", "Sanna", "Sofia", "Soren", "Tariq", "Tomas", "Uma", "Viktor", "Wanjiru", "Ximena", "Yara",
    "Yusuf", "Zofia",
)
# fmt: on
_SAYINGS = ("{0} says {1} {2}.", "{0} says that {1} {2}.", "{0} claims that {1} {2}.", "According to {0}, {1} {2}.")


class Statement(NamedTuple):
    """`speaker` says that `subject` is truthful or not; without a speaker it is a fact. People are numbers."""

    speaker: int | None
    subject: int
    truthful: bool


def web_of_lies(people: int = 5, unknown: float = 0.25, seed: int = 0, sizes: tuple[int, int, int] = SIZES) -> Task:
    """Worlds of truth-tellers and liars, and the question whether one of them tells the truth: yes, no or unknown.

    people: 2 to 10 in each world; unknown: the share of "unknown" among the labels, 0 to 1, exact in every split up to
    rounding (the rest is half yes, half no); seed: another seed, other worlds; sizes: examples in train, validation and test.
    Every label is the outcome of trying all 2^people worlds, every world is consistent, and no input is repeated.
    Raises TaskError for arguments out of range.
    """
    if not isinstance(people, int) or not 2 <= people <= 10:
        raise TaskError(f"people={people!r} should be a whole number from 2 to 10.")
    if not isinstance(unknown, int | float) or not 0 <= unknown <= 1:
        raise TaskError(f"unknown={unknown!r} should be a share from 0 to 1.")
    counts = check_counts(sizes)
    rng = random.Random(f"web of lies:{people}:{seed}")
    seen: set[str] = set()
    splits = {
        name: [(_fresh(rng, people, label, seen), label) for label in _shuffled_labels(rng, size, unknown)]
        for name, size in zip(SPLITS, counts, strict=True)
    }
    answer = LabelAnswer(labels=LABELS)
    return Task(
        name="web_of_lies",
        description=f"Does a person tell the truth? {people} people a world; generated.",
        **examples_of(splits),
        answer=answer,
        seed_prompt="Answer the question. Reply with the answer line only.",
        format_instruction=answer.instruction(),
        source={"generator": "web_of_lies", "people": people, "unknown": unknown, "seed": seed, "sizes": list(counts)},
        rule="Whoever tells the truth says so of others just where it holds, and whoever lies just where it does not: begin with a person "
        "who is known to do either and go from one to the next; answer unknown only where none such is linked to the one asked about.",
        false_rule="Whoever is said to tell the truth does, and whoever is said to lie lies, no matter who says it: take the last sentence "
        "that names the one asked about, and go no further; answer unknown only where no other person speaks of them.",
    )


def solve(people: int, statements: list[Statement], asked: int) -> str | None:
    """Whether `asked` is truthful, by trying all 2^people worlds; None where the statements contradict each other."""
    values = {world[asked] for world in product((False, True), repeat=people) if all(_holds(s, world) for s in statements)}
    return {(True,): "yes", (False,): "no", (False, True): "unknown"}.get(tuple(sorted(values)))


def _holds(statement: Statement, world: tuple[bool, ...]) -> bool:
    said = world[statement.subject] == statement.truthful
    return said if statement.speaker is None else said == world[statement.speaker]


def _shuffled_labels(rng: random.Random, size: int, unknown: float) -> list[str]:
    open_ones = int(size * unknown + 0.5)
    first = rng.randrange(2)  # which of the two takes the odd one
    labels = ["unknown"] * open_ones + [LABELS[(first + i) % 2] for i in range(size - open_ones)]
    rng.shuffle(labels)
    return labels


def _fresh(rng: random.Random, people: int, label: str, seen: set[str]) -> str:
    """A question with this label that was not asked before."""
    for _ in range(1000):
        statements, asked = _world(rng, people, label)
        if solve(people, statements, asked) != label:
            continue
        text = _render(rng, people, statements, asked)
        if text not in seen:
            seen.add(text)
            return text
    raise TaskError(f"There are not enough different worlds of {people} people for these sizes; ask for fewer examples or more people.")


def _world(rng: random.Random, people: int, label: str) -> tuple[list[Statement], int]:
    """Statements that hold in a hidden world, and who is asked about.

    People stand in two webs without a link; the one asked about stands in the first, which holds a fact unless the answer is
    "unknown". The other web holds one as often as not, so the presence of facts does not give the answer away.
    """
    order = rng.sample(range(people), people)
    hidden = [rng.random() < 0.5 for _ in range(people)]
    size = rng.randint(2, people)
    first, rest = order[:size], order[size:]
    asked = rng.choice(first[1:])
    hidden[asked] = {"yes": True, "no": False}.get(label, hidden[asked])
    anchors = ([] if label == "unknown" else first[:1]) + (rest[:1] if len(rest) == 1 or rng.random() < 0.5 else [])
    statements = [Statement(None, person, hidden[person]) for person in anchors]
    for web in (first, rest):
        pairs = {tuple(rng.sample((web[i], rng.choice(web[:i])), 2)) for i in range(1, len(web))}
        if len(web) > 2 and rng.random() < 0.5:
            pairs.add(tuple(rng.sample(web, 2)))
        statements += [Statement(a, b, hidden[a] == hidden[b]) for a, b in sorted(pairs)]
    rng.shuffle(statements)
    return statements, asked


def _render(rng: random.Random, people: int, statements: list[Statement], asked: int) -> str:
    names = rng.sample(NAMES, people)
    sentences = ["In this question, each person either always tells the truth or always lies."]
    for speaker, subject, truthful in statements:
        deed = "tells the truth" if truthful else "lies"
        saying = "{1} {2}." if speaker is None else rng.choice(_SAYINGS)
        sentences.append(saying.format(speaker if speaker is None else names[speaker], names[subject], deed))
    return " ".join([*sentences, f"Does {names[asked]} tell the truth?"])
