"""What reading, differing and drawing take at most, over texts that make careless code slow."""

import pytest

from gradbook.diff import segments
from gradbook.loop import Templates
from gradbook.loop.templates import new_prompt
from gradbook.markdown import note_html
from gradbook.replies import spoken
from texts import long_texts, seconds

READERS = {
    "new_prompt": lambda text: new_prompt(text, Templates().rewrite),
    "new_prompt, quoted": lambda text: new_prompt(text, Templates().improve),
    "spoken": spoken,
    "segments, of one repeated": lambda text: segments(text, text[len(text) // 3 :] + text[: len(text) // 2]),
    "segments, of one edited": lambda text: segments(text, text.replace("a", "b").replace("1", "2 3")),
    "note_html": note_html,
}


@pytest.mark.parametrize("reader", READERS)
def test_the_longest_of_long_texts(reader, report):  # what takes time in the square takes minutes; a busy machine twice its time
    figures = []
    for length in (1_000, 10_000, 100_000):
        taken = {name: seconds(lambda text=text: READERS[reader](text), tries=2) for name, text in long_texts(length).items()}
        worst = max(taken, key=taken.get)
        figures.append(f"{taken[worst]:6.3f} s at {length:,} ({worst})")
        assert taken[worst] < 1, f"{reader} takes {taken[worst]:.2f} s for {length:,} characters of {worst}"
    report(f"worst of {reader}", "; ".join(figures))
