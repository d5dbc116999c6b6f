"""Replies that a model which runs off does write, of any length, and every reader of replies: none may take long over any."""

from collections.abc import Callable, Iterator

from gradbook.loop.critic import read_score, read_verdict
from gradbook.tasks import BbehAnswer, LabelAnswer, NumberAnswer, SequenceAnswer, TextAnswer

READERS: dict[str, Callable[[str], object]] = {
    "label": LabelAnswer(labels=("K1", "K2", "K3")).parse,
    "letter": LabelAnswer(labels=("A", "B", "C", "D")).parse,
    "many labels": LabelAnswer(labels=tuple(f"class number {i}" for i in range(20_000))).parse,
    "list of a length": SequenceAnswer(labels=("yes", "no"), length=3).parse,
    "list": SequenceAnswer(labels=("yes", "no")).parse,
    "letters": SequenceAnswer(labels=("A", "B"), length=3).parse,
    "number": NumberAnswer().parse,
    "text": TextAnswer().parse,
    "whole text": TextAnswer(whole=True).parse,
    "bbeh": lambda text: BbehAnswer().correct(BbehAnswer().parse(text), text),
    "score": read_score,
    "verdict": read_verdict,
}
# fmt: off
PIECES = [
    " ", "\n", "\u3000", "1", "1,", "1, ", "1 ", "1.", "1-", "1/", "(", "{", "[", "[1,", "{\"a\":", "{}", "<", ">", "</",
    "<think>", "**", "* ", "_", "`", "```\n", "'", "\"", "$", "=", "-", "- ", ".", "½", "10²", "10^", "x10^", "minus ",
    "1 million ", "x = 1, ", "a", "word ", "not ", "K1 ", "K1\n", "K1 or ", "class ", "class number 5 ", "A ", "A, ", "(A) ",
    "yes, ", "yes\n", "answer ", "Answer: ", "answer is K1\n", "答", "答案", "：", "回答：", "정답:", "ответ", "réponse:", "r",
    "answers\u2003are", "answer**", "**Answer:**K1", "K1,", "K1:", "(K1)", "[K1]", "K1.", "12:", "[[", "]", "}", "\\", "；", "ſ",
    "İ", "|", "answers are ", "Answer:\n", "**Answer:** K1 ", "[K1] ", "not K1 ", "A) ", "A: ", "option A ", "1. A\n", "(1) ",
    "1/2 ", "3 x 6 = 18. ", "= 1 ", "one ", "because ", "and ", "$1 ", "1e5 ", "yes and no ", "- yes\n", "\u2028", "\r\n", "\t1",
    "1\n", "½ ", "答案：", "\\boxed{", "\\boxed{}", "\\text{", "\\frac{", "\\frac{1}{2} ", "score ", "score: 1 ", "verdict: right ",
]
# fmt: on
HEADS = ("K1", "A", "1", "yes", "class", "score", "verdict", "answer", "minus", "option", "very")


def replies(size: int) -> Iterator[str]:
    """Replies of about `size` characters."""
    for piece in PIECES:
        many = piece * (size // len(piece))
        yield from (many, f"Answer: {many}", f"{many}x")
    for head in HEADS:
        for blank in " \n\t*.":
            yield from (f"{head}{blank * size}is it", f"{head}{blank * size}: 1")
    yield from ("1" * size + ".5", "Answer: " + "\n" * size + "K1")
    yield from ("\n".join(f"row{i}" for i in range(size // 8)), " ".join(map(str, range(size // 6))))
