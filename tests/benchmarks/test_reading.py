"""How long the longest reading takes, over replies that a model which runs off does write."""

import time
from collections.abc import Callable

import pytest

from adversarial import READERS, replies


def seconds(reader: Callable[[str], object], text: str) -> float:
    start = time.thread_time()
    reader(text)
    return time.thread_time() - start


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000])
def test_no_reply_takes_long_to_read(size: int) -> None:
    worst = (0.0, "", "")
    for name, reader in READERS.items():
        reader("Answer: K1")
        for text in replies(size):
            if (took := seconds(reader, text)) > worst[0]:  # look again, since the collector of the whole process may have come by
                worst = max(worst, (min(took, seconds(reader, text)), name, text[:30]))
    print(f"\n{size:>7,} characters: {worst[0] * 1000:.1f} ms for {worst[1]}, {worst[2]!r}")
    assert worst[0] < 1
