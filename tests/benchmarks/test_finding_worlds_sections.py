"""Worlds of planted worth: what a section map says of them, from the arrays that its record would hold.

An example is right with a chance of its own; each section that a run leaves out takes off what it is worth, for each example a little
differently where sections `differ`. Every figure is of the finding itself: `SectionMap` from draws, with the screen's own choice of what is
confirmed.
"""

import itertools
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import binomtest, kendalltau

from gradbook.findings.ablation import FEWEST_RUNS, _design
from gradbook.findings.section_map import ALPHA, Draw, SectionMap
from gradbook.stats import confirm

WORLDS, MARGIN, REPLICATES, CONFIRM = 400, 0.05, 5, 5
SECTIONS, EXAMPLES, DIFFER = (6, 20), (30, 120), (0.0, 0.2)


def usual(sections):
    return max(FEWEST_RUNS, 2 * sections + 2)


@lru_cache
def design(sections, runs):
    return _design(sections, runs, usual(sections))


class World:
    """What each section is worth to each example, and how easy the examples are; asked for draws without some sections."""

    def __init__(self, rng, worth, examples, differ):
        self.rng, self.worth = rng, np.asarray(worth, dtype=float)
        self.own = self.worth + differ * rng.standard_normal((examples, len(worth)))
        self.easy = rng.uniform(0.6, 0.9, examples)

    def draw(self, gone=()):
        right = self.rng.random(len(self.easy)) < self.easy - self.own[:, list(gone)].sum(1)
        return Draw.model_construct(right=tuple(right.tolist()), items=())

    def map(self, runs, most=0, replicates=REPLICATES):
        count = len(self.worth)
        prompt = " ".join(["Say."] * count)
        found = SectionMap.model_construct(
            step=1, margin=MARGIN, prompt=prompt, cuts=tuple(range(5, 5 * count, 5)), removed=design(count, runs)
        )
        found = found.model_copy(update={"screened": tuple(map(self.draw, found.removed))})
        chosen = tuple(found.promising(most)) if most else ()
        drawn = [tuple(self.draw(gone) for _ in range(replicates)) for gone in [(), *((n,) for n in chosen)]] if chosen else [()]
        return found.model_copy(update={"full": drawn[0], "confirmed": chosen, "without": tuple(drawn[1:])})


def seldom(count, total, rate=ALPHA):
    return binomtest(int(count), total, rate, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("differ", DIFFER)
def test_no_section_is_shown_to_do_what_it_does_not(differ, report):
    """Maps of prompts in which nothing is worth anything, and in which every section is worth the margin, so that none is equivalent."""
    report(
        f"section maps, sections differ by {100 * differ:g} points, in %",
        "alarms, alarms if the chosen alone shared 5 %, equivalent wrongly",
    )
    for count, n in itertools.product(SECTIONS, EXAMPLES):
        rng, alarms, among, wrong = np.random.default_rng([count, n, int(differ * 10)]), 0, 0, 0
        for _ in range(WORLDS):
            found = World(rng, np.zeros(count), n, differ).map(usual(count), CONFIRM)
            alarms += any(w.word in ("helps", "harms") for w in found.worths().values())
            if found.confirmed:
                arms = {k: found._scores(draws, None) for k, draws in zip(found.confirmed, found.without, strict=True)}
                among += any(e.verdict in ("helps", "harms") for e in confirm(found._scores(found.full, None), arms, MARGIN).values())
            at_margin = World(rng, np.full(count, MARGIN) * rng.choice((-1, 1), count), n, differ).map(usual(count), CONFIRM)
            wrong += any(w.word == "equivalent" for w in at_margin.worths().values())
        report(f"  {count} sections, {n} examples", " ".join(f"{100 * x / WORLDS:5.1f}" for x in (alarms, among, wrong)))
        assert seldom(alarms, WORLDS) and seldom(wrong, WORLDS), (count, n)


@pytest.mark.parametrize("differ", DIFFER)
def test_planted_sections_are_found_and_intervals_cover(differ, report):
    """One section in four is worth 20 points, the first of them harms by 10; the others nothing.

    What was confirmed is held against the worth where all others stand. The screen is asked for that only where sections add up: where
    they differ so much that chances reach 0 and 1, a section is worth something else in a prompt that lacks a quarter of the others.
    """
    report(
        f"planted sections, differing by {100 * differ:g} points, in %",
        "the right word, maps with a confirmed interval that misses, intervals of the screen that miss",
    )
    for count, n in itertools.product(SECTIONS, EXAMPLES):
        rng, right, missed, screened = np.random.default_rng([count, n, 7]), 0, 0, 0
        worth = np.zeros(count)
        worth[: count // 4] = 0.2
        worth[0] = -0.1
        many = World(rng, worth, 100_000, differ)
        truth = many.easy.mean() - np.clip(many.easy[:, None] - many.own, 0, 1).mean(0)
        for _ in range(200):
            found = World(rng, worth, n, differ).map(usual(count), CONFIRM)
            worths = found.worths()
            right += sum(worths[k].word == "helps" for k in range(1, count // 4)) + (worths[0].word == "harms")
            missed += any(not worths[k].low <= truth[k] <= worths[k].high for k in found.confirmed)
            alone = found.model_copy(update={"full": ()}).worths()
            screened += sum(not w.low <= true <= w.high for w, true in zip(alone.values(), worth, strict=True))
        figures = right / (200 * (count // 4)), missed / 200, screened / (200 * count)
        report(f"  {count} sections, {n} examples", " ".join(f"{100 * x:5.1f}" for x in figures))
        assert seldom(missed, 200) and (differ or seldom(screened, 200 * count, 0.07))


def test_planted_worth_is_ranked_at_half_the_calls_of_leaving_one_out(report):
    """Kendall's tau with the planted worth, and the precision, beside each section left out alone with twice the calls."""
    for count, n, best in ((10, 60, 0.21), (20, 120, 0.12)):
        replicates = 2 * usual(count) * 8 // (count + 1)
        agree, ours, theirs, rng = [], [], [], np.random.default_rng(count)
        for _ in range(40):
            world = World(rng, np.linspace(-0.06, best, count), n, 0.0)
            found = world.map(8 * usual(count)).worths()
            full, *alone = ([np.mean(world.draw(gone).right) for _ in range(replicates)] for gone in [(), *((k,) for k in range(count))])
            agree.append(kendalltau([found[k].value for k in range(count)], world.worth).statistic)
            ours.append([found[k].value - world.worth[k] for k in range(count)])
            theirs.append([np.mean(full) - np.mean(one) - true for one, true in zip(alone, world.worth, strict=True)])
        runs = len(design(count, 8 * usual(count)))
        report(
            f"worth of {count} sections, {n} examples",
            f"τ {np.mean(agree):.2f}; {runs} runs, ± {100 * np.std(ours):.1f} points; "
            f"one left out, {replicates * (count + 1)} runs, ± {100 * np.std(theirs):.1f}",
        )
        assert 2 * runs <= replicates * (count + 1) + count and np.mean(agree) >= 0.9 and np.std(ours) <= np.std(theirs)
