"""A look after every replicate, with the error rate kept over all of them together.

Alpha spending (Lan and DeMets 1983), with levels found for Brownian motion and applied to the p of a t test (the significance-level
approach of Jennison and Turnbull 2000, 3.8). What is spent by the look at r is α (r - 2) / (r + 8), which never runs out: a budget may be
extended after a look. A confidence sequence (Robbins 1970, Howard et al. 2021) may be looked at between replicates too, which nobody does
here, and asks 3.04 standard errors or more of each look against 2.7: a quarter more replicates. Examples that vary make looks more alike
than Brownian motion has them, so the levels are on the safe side for examples like these.
"""

from functools import lru_cache

import numpy as np
import scipy

FIRST = 3
"""Replicates an arm at the first look: with two, the variance of a draw is anybody's guess."""
_GRID = 201


def _spent(look: int) -> float:
    return (look - FIRST + 1) / (look + 8)


@lru_cache(maxsize=64)
def _levels(alpha: float, last: int) -> tuple[float, ...]:
    """The levels of the looks at FIRST … last replicates: what Brownian motion, seen at each, may cross so that all of them spend it."""
    levels: list[float] = []
    at, mass, spent, edge = np.zeros(1), np.ones(1), 0.0, 0.0
    for look in range(FIRST, last + 1):
        step = np.sqrt(look if look == FIRST else 1)
        low, high, want = 0.0, edge * 2 + 20, alpha * _spent(look) - spent
        for _ in range(40):
            edge = (low + high) / 2
            crossing = 2 * float(mass @ scipy.special.ndtr((at - edge) / step))  # on either side as often
            low, high = (edge, high) if crossing > want else (low, edge)
        levels.append(float(2 * scipy.special.ndtr(-edge / np.sqrt(look))))
        grid = np.linspace(-edge, edge, _GRID)
        half = np.exp(-(((grid[: _GRID // 2 + 1, None] - at) / step) ** 2) / 2) @ mass / (step * np.sqrt(2 * np.pi))
        half[0] /= 2  # by trapezoids
        density = np.concatenate([half, half[-2::-1]])
        at, mass, spent = grid, density * (grid[1] - grid[0]), alpha * _spent(look)
    return tuple(levels)


def share_of_look(number: int, alpha: float = 0.05) -> float:
    """What of `alpha` the look of this number, from 1, may use, so that all looks, however many and whenever, err at most `alpha` together.

    By Bonferroni, which holds for words that rest on several tests of any kind: four fifths for the first look, which is mostly the only
    one and is hardly wider for it, and half of what is left for each one after.
    """
    return alpha * (0.8 if number == 1 else 0.2 * 0.5 ** (number - 1))


def level_of_look(look: int, alpha: float = 0.05) -> float:
    """The two-sided level of the look at `look` replicates an arm, so that all looks, however many, err at most `alpha` together."""
    last = 32 if look <= 32 else max(128, 1 << (look - 1).bit_length())
    return _levels(alpha, last)[look - FIRST] if look >= FIRST else 0.0
