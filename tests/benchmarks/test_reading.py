"""How long the longest reading takes, over replies that a model which runs off does write."""

import time

import pytest

from adversarial import READERS, replies


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000])
def test_no_reply_takes_long_to_read(size: int) -> None:
    worst = (0.0, "", "")
    for name, reader in READERS.items():
        reader("Answer: K1")
        for text in replies(size):
            start = time.thread_time()
            reader(text)
            worst = max(worst, (time.thread_time() - start, name, text[:30]))
    print(f"\n{size:>7,} characters: {worst[0] * 1000:.1f} ms for {worst[1]}, {worst[2]!r}")
    assert worst[0] < 0.2
