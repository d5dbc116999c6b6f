"""GEPA's acceptance by one sum and gradbook's by a verdict, in worlds of known truth: how often a proposal that is no better is accepted,
how often one that is better, and what a run ends with for so many evaluations.

`gepa.optimize` runs as it is, on an adapter that plays a model at random: an example is right with a probability that depends on it and on
the candidate. Of ten proposals two are worse than their parent, six are as good, and two are better, by about 10 and 20 points. No LLM.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

gepa = pytest.importorskip("gepa", reason="the acceptance of GEPA needs GEPA: pip install 'gradbook[gepa]'")
from gepa.core.adapter import EvaluationBatch  # noqa: E402

from gradbook.bridges.acceptance import VerdictAcceptance  # noqa: E402

pytestmark = pytest.mark.bridges
WORLDS, PROPOSALS, BUDGET = 40, 20, 3000
TRAIN, VALIDATION, PANEL, POPULATION = 60, 50, 40, 4000
STEPS = (-0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0)
"""What a proposal adds to its parent's log odds, up to about 10 and 20 points; each as often as the others."""


@dataclass
class World:
    """A model that answers at random, and candidates whose quality is known; it is GEPA's adapter."""

    seed: int
    quality: dict[str, float] = field(default_factory=lambda: {"v0": 0.4})
    parent: dict[str, str] = field(default_factory=dict)
    evaluations: int = 0
    propose_new_texts = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.draws = random.Random(self.seed)
        self.hard = 1.5 * self.rng.standard_normal(TRAIN + VALIDATION + PANEL)
        self.people = 1.5 * np.random.default_rng(0).standard_normal(POPULATION)

    def chance(self, name: str, examples: list[int]) -> np.ndarray:
        """How probably each example is answered rightly under a candidate, which is better or worse on each by a little of its own."""
        own = np.random.default_rng([self.seed, int(name[1:])]).standard_normal(len(self.hard))
        return expit(self.quality[name] + self.hard[examples] + 0.4 * own[examples])

    def truth(self, name: str) -> float:
        """The share of right answers on examples like these."""
        return float(expit(self.quality[name] + self.people).mean())

    def evaluate(self, batch, candidate, capture_traces=False):
        self.evaluations += len(batch)
        scores = (self.rng.random(len(batch)) < self.chance(candidate["prompt"], batch)).astype(float).tolist()
        return EvaluationBatch(outputs=list(batch), scores=scores, trajectories=list(batch) if capture_traces else None)

    def make_reflective_dataset(self, candidate, eval_batch, components_to_update):
        return {"prompt": [{"Feedback": "…"} for _ in eval_batch.scores]}

    def propose(self, candidate, reflective_dataset, components_to_update):
        """What a reflection would write: a new candidate, better than its parent or not, as a world has it."""
        name = f"v{len(self.quality)}"
        self.parent[name] = candidate["prompt"]
        self.quality[name] = self.quality[candidate["prompt"]] + self.draws.choice(STEPS)
        return {"prompt": name}

    def step(self, name: str) -> float:
        """What a proposal truly adds; nothing where it is no better."""
        return max(0.0, round(self.quality[name] - self.quality[self.parent[name]], 3))


def run(world: World, criterion, stop, minibatch=3):
    train, rest = list(range(TRAIN)), list(range(TRAIN, TRAIN + VALIDATION))
    return gepa.optimize(
        seed_candidate={"prompt": "v0"},
        trainset=train,
        valset=rest,
        adapter=world,
        custom_candidate_proposer=world.propose,
        acceptance_criterion=criterion(world),
        reflection_minibatch_size=minibatch,
        stop_callbacks=stop,
        logger=SimpleNamespace(log=lambda message: None),
        seed=world.seed,
        track_best_outputs=False,
    )


def verdict(**more):
    return lambda world: VerdictAcceptance(world, list(range(TRAIN + VALIDATION, TRAIN + VALIDATION + PANEL)), **more)


ARMS = {
    "GEPA's own: the sum on a batch of 3": (lambda world: "strict_improvement", 3),
    "GEPA's own: the sum on a batch of 12": (lambda world: "strict_improvement", 12),
    "a verdict on 40 examples, after the sum on 3": (verdict(), 3),
    "a verdict on 40 examples at alpha = 0.3, after the sum on 3": (verdict(alpha=0.3), 3),
}


def measured(criterion, minibatch):
    """Over all worlds: how many proposals add so much, how many of them were accepted, and the evaluations that a proposal took."""
    proposed, accepted, spent = Counter(), Counter(), 0
    for seed in range(WORLDS):
        world = World(seed)
        found = run(world, criterion, lambda state, world=world: len(world.parent) >= PROPOSALS, minibatch)
        taken = {candidate["prompt"] for candidate in found.candidates}
        proposed.update(world.step(name) for name in world.parent)
        accepted.update(world.step(name) for name in world.parent if name in taken)
        spent += world.evaluations
    return {step: accepted[step] / proposed[step] for step in proposed}, proposed, spent / proposed.total()


def ended(criterion, minibatch):
    """What the best candidate of a run gains on the seed candidate for the same number of evaluations: truly, and as the run says."""
    truly, said = [], []
    for seed in range(WORLDS):
        world = World(seed)
        found = run(world, criterion, lambda state: state.total_num_evals >= BUDGET, minibatch)
        truly.append(world.truth(found.best_candidate["prompt"]) - world.truth("v0"))
        said.append(found.val_aggregate_scores[found.best_idx] - found.val_aggregate_scores[0])
    return np.array(truly), np.array(said)


def test_accepted_proposals_that_are_no_better(report):
    rates = {}
    for name, (criterion, minibatch) in ARMS.items():
        shares, proposed, spent = measured(criterion, minibatch)
        truly, said = ended(criterion, minibatch)
        rates[name] = shares[0.0]
        report(
            name,
            f"accepts {shares[0.0]:.1%} of {proposed[0.0]} that are no better, {shares[0.5]:.0%} and {shares[1.0]:.0%} of those better by "
            f"10 and 20 points; {spent:.0f} evaluations a proposal; after {BUDGET:,} the best is {100 * truly.mean():+.1f} points "
            f"(± {200 * truly.std() / WORLDS**0.5:.1f}) and said to be {100 * said.mean():+.1f}",
        )
    theirs, theirs_of_12, ours, ours_at_03 = rates.values()
    assert min(theirs, theirs_of_12) > 0.2, "by one sum, luck alone passes many"
    assert ours < 0.025 and ours_at_03 < 0.15, "half of alpha is how often a verdict may say that what is no better helps"
