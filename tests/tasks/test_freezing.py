"""Reading takes time in proportion to the reply, whatever the reply is."""

import time

import pytest

from adversarial import READERS, replies


def seconds(reader, text: str) -> float:
    start = time.thread_time()
    reader(text)
    return time.thread_time() - start


@pytest.mark.parametrize("name", READERS)
def test_ten_times_the_text_takes_at_most_some_ten_times_as_long(name: str) -> None:
    """The ceiling is generous: 60 for 10 and what a busy machine adds; a pattern with a way back takes 100 and more, or has no end."""
    reader = READERS[name]
    reader("Answer: K1")
    for small, large in zip(replies(2_000), replies(20_000), strict=True):
        took = seconds(reader, large)
        if took > 0.3:  # look again before judging, since another process may have had the processor
            took = min(took, seconds(reader, large))
            assert took < 60 * max(seconds(reader, small), 0.005), f"{large[:30]!r} took {took:.2f} s"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("blank", [" ", "\n", "\t", "*"])
def test_a_run_of_blanks_after_a_label_is_read_at_once(blank: str) -> None:
    """A pattern of ours took minutes over 1,000 of them."""
    for name in ("label", "letter", "list"):
        READERS[name]("K1" + blank * 100_000 + "is it")
