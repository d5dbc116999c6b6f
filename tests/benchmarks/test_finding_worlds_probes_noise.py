"""Worlds in which the noise of rewrites averages out over a batch as a gradient's does, and such in which it does not. Arrays only.

Each training example would move the score its own way. A gradient moves it by their mean over the batch; a rewrite that follows one of
them, or that goes astray by itself, is as noisy from a large batch as from a small one.
"""

import itertools

import numpy as np
import pytest
from scipy.special import expit, stdtrit
from scipy.stats import binomtest

from gradbook.findings.base import ALPHA
from gradbook.findings.probes_noise import BatchNoise, effective

SIZES, TRAIN, WORLDS = (1, 2, 4, 8), 30, 200
PULLS = {
    "normal": lambda rng: rng.standard_normal(TRAIN),
    "rare": lambda rng: np.where(rng.random(TRAIN) < 0.2, 2.0, -0.5),
    "long tails": lambda rng: rng.standard_t(3, TRAIN) / 1.7,
}
MOVES = {
    "gradient": lambda rng, pull, batch: pull[batch].mean(),
    "follows one": lambda rng, pull, batch: pull[rng.choice(batch)],
    "astray": lambda rng, pull, batch: rng.standard_normal(),
    "half way": lambda rng, pull, batch: rng.standard_normal() * effective(len(batch), TRAIN) ** -0.25,
}
LAYOUTS = ((10, 50, False), (10, 50, True), (20, 120, False))
"""Batches of each size, examples, and whether a prompt always gives the same answers."""
WORDS = {"gradient": "holds", "follows one": "does not hold", "astray": "does not hold", "half way": ""}


def world(rng, move, pulls, replicates, examples, sure, points=12):
    """One probe of one world; `points` is the standard deviation between batches of one, about."""
    pull, easy = PULLS[pulls](rng), 1.2 * rng.standard_normal(examples)
    scores = []
    for size in SIZES:
        moved = [MOVES[move](rng, pull, rng.choice(TRAIN, size, replace=False)) for _ in range(replicates)]
        chance = expit(easy + points / 22 * np.array(moved)[:, None])[:, None]
        ease = np.linspace(0.01, 0.99, examples) if sure else rng.random((replicates, 2, examples))
        scores.append(np.broadcast_to(ease < chance, (replicates, 2, examples)))
    return BatchNoise.model_construct(step=1, sizes=SIZES, train=TRAIN, scores=scores, unchanged=(0,) * len(SIZES))


@pytest.mark.parametrize("move", MOVES)
def test_a_probe_of_noise_is_right_at_its_stated_error(move, report):
    counts = dict.fromkeys(("holds", "does not hold", "cannot tell"), 0)
    pulls = ("rare", "long tails") if move in ("gradient", "follows one") else ()
    cells = [*itertools.product(["normal"], LAYOUTS), *itertools.product(pulls, LAYOUTS[:2])]
    for pull, (replicates, examples, sure) in cells:
        rng = np.random.default_rng([len(move), len(pull), replicates, sure])
        words = [world(rng, move, pull, replicates, examples, sure).verdict for _ in range(WORLDS)]
        told = ", ".join(f"{word} {100 * words.count(word) / WORLDS:3.0f}" for word in counts)
        answered = "sure answers" if sure else "answers by chance"
        report(f"noise: {move}, {pull}, {replicates} batches, {examples} examples, {answered}", f"{told} %")
        for word in counts:
            counts[word] += words.count(word)
            wrong = word not in ("cannot tell", WORDS[move])
            assert not wrong or binomtest(words.count(word), WORLDS, ALPHA, alternative="greater").pvalue > 1e-3, (word, pull)
    total = sum(counts.values())
    assert all(counts[word] <= ALPHA * total for word in ("holds", "does not hold") if word != WORDS[move]), counts
    assert not WORDS[move] or counts[WORDS[move]] > 0.2 * total


def test_a_line_through_log_variances_takes_answering_for_noise_that_does_not_fall(report):
    """The obvious way: least squares on the log variances of all scores, each as sure as that of normal draws."""
    logs = np.log([effective(size, TRAIN) for size in SIZES])
    logs, wrong, own, rng = logs - logs.mean(), 0, 0, np.random.default_rng(0)
    for _ in range(WORLDS):
        found = world(rng, "gradient", "normal", 10, 50, False, points=6)
        slope = np.log([np.mean(draws, (1, 2)).var(ddof=1) for draws in found.scores]) @ logs / (logs @ logs)
        wrong += slope - stdtrit(34, 1 - ALPHA) * np.sqrt(2 / 9 / (logs @ logs)) > -found.margin
        own += found.verdict == "does not hold"
    report(
        "noise: gradient, batches differ by 6 points, does not hold",
        f"{100 * wrong / WORLDS:.0f} % by least squares, {100 * own / WORLDS:.0f} % here",
    )
    assert own <= ALPHA * WORLDS < 2 * ALPHA * WORLDS < wrong
