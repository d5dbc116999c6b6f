"""Worlds in which critiques follow the prompt, and such in which they do not, or not by where it is. Arrays only.

Prompts, and critiques of each example, are directions; a critique is where its prompt moves it, and noise. Near prompts are steps on a
walk from the first, far ones somewhere else.
"""

import numpy as np
import pytest
from scipy.stats import binomtest, pearsonr

from gradbook.findings.base import ALPHA
from gradbook.findings.probes_locality import Locality

WORLDS, WORDS, EXAMPLES, SIZE = 200, 40, 6, 9
MOVES = {
    # critiques do not depend on the prompt
    "none": lambda rng, prompts: 0 * moved(rng, prompts),
    # each prompt gets its own, wherever it is
    "chaotic": lambda rng, prompts: 0.6 * unit(rng.standard_normal((len(prompts), EXAMPLES, WORDS))),
    # there are two kinds of critique, and chance says which a prompt gets
    "two kinds": lambda rng, prompts: 0.6 * unit(rng.standard_normal((2, EXAMPLES, WORDS)))[rng.integers(0, 2, len(prompts))],
    # some prompts get stranger critiques than others
    "strange": lambda rng, prompts: (
        0.6 * rng.standard_exponential((len(prompts), 1, 1)) * unit(rng.standard_normal((len(prompts), EXAMPLES, WORDS)))
    ),
    "just local": lambda rng, prompts: 0.3 * moved(rng, prompts),
    "local": lambda rng, prompts: 0.5 * moved(rng, prompts),
    "very local": lambda rng, prompts: 0.9 * moved(rng, prompts),
}
"""How a critique is moved; the rise from nearest to farthest is about the margin in "just local"."""
RIGHT = {"none": "does not hold", "chaotic": "does not hold", "two kinds": "does not hold", "strange": "does not hold"}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def moved(rng, prompts):
    return np.einsum("ewv,pv->pew", rng.standard_normal((EXAMPLES, WORDS, WORDS)) / np.sqrt(WORDS), unit(prompts))


def world(rng, move, near=5, far=4, draws=2, noise=0.8):
    walk = unit(rng.standard_normal(WORDS)) + np.cumsum(0.25 * unit(rng.standard_normal((near, WORDS))), 0)
    prompts = np.concatenate([walk, 0.4 * walk[:1] + 0.9 * unit(rng.standard_normal((far, WORDS)))])
    count = len(prompts)
    meant = unit(rng.standard_normal((EXAMPLES, WORDS))) + MOVES[move](rng, prompts)
    said = unit(np.repeat(meant, draws, 0) + noise * unit(rng.standard_normal((count * draws, EXAMPLES, WORDS))))
    apart = 1 - np.einsum("aew,bew->ab", said, said) / EXAMPLES
    return Locality.model_construct(
        step=1,
        prompts=tuple(map(str, range(count))),
        replicates=draws,
        apart=1 - unit(prompts) @ unit(prompts).T,
        critiques={"prompt_critique": apart},
        by="prompt_critique",
        margin=0.05,
    )


@pytest.mark.parametrize(("near", "far"), [(3, 3), (5, 4)])
@pytest.mark.parametrize("move", MOVES)
def test_a_probe_of_locality_is_right_at_its_stated_error(move, near, far, report):
    rng = np.random.default_rng([len(move), near])
    found = [world(rng, move, near, far) for _ in range(WORLDS)]
    words, rise = [one.verdict for one in found], 100 * np.mean([one.against("prompt_critique").rise for one in found[:40]])
    count = {word: words.count(word) for word in ("holds", "does not hold", "cannot tell")}
    told = ", ".join(f"{word} {100 * times / WORLDS:3.0f}" for word, times in count.items())
    report(f"locality: {move}, {near + far} prompts, rise {rise:4.1f} points", f"{told} %")
    right = RIGHT.get(move, "holds")
    wrong = "holds" if right == "does not hold" else "does not hold"
    assert binomtest(count[wrong], WORLDS, ALPHA, alternative="greater").pvalue > 1e-3
    assert count[right] >= (0.6 * WORLDS if move in ("local", "very local") else 0)


def test_pairs_of_prompts_are_not_independent(report):
    """The obvious way, Pearson's test over pairs, where critiques are strange for some prompts, which are in several pairs each."""
    rng, pairs, counts = np.random.default_rng(0), np.triu_indices(SIZE, 1), [0, 0]
    for _ in range(WORLDS):
        found = world(rng, "strange")
        naive = pearsonr(found.apart[pairs], found.between("prompt_critique")[pairs], alternative="greater").pvalue
        counts = [counts[0] + (naive <= ALPHA), counts[1] + (found.against("prompt_critique").p <= ALPHA)]
    report(
        "locality: strange, 9 prompts, a trend that is not there",
        f"{100 * counts[0] / WORLDS:.0f} % by Pearson over pairs, {100 * counts[1] / WORLDS:.0f} % here",
    )
    assert binomtest(counts[1], WORLDS, ALPHA, alternative="greater").pvalue > 1e-3 and counts[0] > 2 * ALPHA * WORLDS
