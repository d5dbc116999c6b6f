"""The acceptance criterion that goes by a verdict, in gepa.optimize."""

import random
from types import SimpleNamespace

import pytest

from gradbook.errors import StatsError
from gradbook.stats import effect

gepa = pytest.importorskip("gepa", reason='the acceptance of GEPA needs GEPA: pip install "gradbook[gepa]"')
from gepa.core.adapter import EvaluationBatch  # noqa: E402
from gepa.proposer.base import CandidateProposal  # noqa: E402

from gradbook.bridges.acceptance import VerdictAcceptance  # noqa: E402

pytestmark = pytest.mark.bridges


class Adapter:
    """Answers at random: rightly as often as the candidate says."""

    propose_new_texts = None

    def __init__(self, counted=None):
        self.rng, self.asked, self.counted = random.Random(1), [], counted

    def evaluate(self, batch, candidate, capture_traces=False):
        self.asked.append((candidate["prompt"], tuple(batch)))
        scores = [float(self.rng.random() < float(candidate["prompt"])) for _ in batch]
        traces = list(batch) if capture_traces else None
        return EvaluationBatch(outputs=list(batch), scores=scores, trajectories=traces, num_metric_calls=self.counted)

    def make_reflective_dataset(self, candidate, eval_batch, components_to_update):
        return {"prompt": [{"Feedback": "…"}]}


class State:
    """As much of GEPA's state as a criterion reads."""

    def __init__(self, *prompts):
        self.program_candidates, self.evals = [{"prompt": prompt} for prompt in prompts], 0

    def increment_evals(self, count):
        self.evals += count


def proposal(prompt, before=(0.0, 1.0), after=(1.0, 1.0)):
    return CandidateProposal({"prompt": prompt}, [0], subsample_scores_before=list(before), subsample_scores_after=list(after))


PANEL = [f"x{n}" for n in range(40)]


def test_what_helps_is_accepted_and_what_is_as_good_is_not():
    judge, state = VerdictAcceptance(Adapter(), PANEL), State("0.5")
    assert judge.should_accept(proposal("0.95"), state)
    assert not judge.should_accept(proposal("0.5001"), state) and not judge.should_accept(proposal("0.2"), state)
    assert [one.effect.verdict == "helps" for one in judge.judged] == [True, False, False]


def test_the_verdict_is_that_of_the_draws_by_examples():
    adapter = Adapter()
    judge, state = VerdictAcceptance(adapter, PANEL), State("0.5")
    judge.should_accept(proposal("0.95"), state)
    again = Adapter()
    arms = {"0.5": [], "0.95": []}
    for prompt, batch in adapter.asked:
        assert batch == tuple(PANEL)
        arms[prompt].append(again.evaluate(list(batch), {"prompt": prompt}).scores)
    assert judge.judged[0].effect == effect(arms["0.5"], arms["0.95"], until="decided")


def test_a_parent_that_has_answered_is_not_asked_again_and_evaluations_count_in_gepas_budget():
    adapter = Adapter()
    judge, state = VerdictAcceptance(adapter, PANEL), State("0.5")
    judge.should_accept(proposal("0.95"), state)
    first = len(adapter.asked)
    assert state.evals == first * len(PANEL) == judge.judged[0].evaluations
    judge.should_accept(proposal("0.96"), state)
    assert {prompt for prompt, _ in adapter.asked[first:]} == {"0.96"} and state.evals == len(adapter.asked) * len(PANEL)
    told = VerdictAcceptance(Adapter(counted=7), PANEL)
    told.should_accept(proposal("0.95"), counted := State("0.5"))
    assert counted.evals == 7 * len(told.adapter.asked), "the adapter's own count, where it has one"


def test_what_its_own_minibatch_rejects_is_not_judged():
    adapter = Adapter()
    judge = VerdictAcceptance(adapter, PANEL)
    assert not judge.should_accept(proposal("0.95", before=(1.0, 0.0), after=(0.0, 1.0)), State("0.5")) and not adapter.asked
    assert "not judged" in judge.reject_reason(proposal("0.95"), State("0.5"))
    alone = VerdictAcceptance(adapter, PANEL, first=SimpleNamespace(should_accept=lambda proposal, state: True))
    assert alone.should_accept(proposal("0.95", before=(1.0, 0.0), after=(0.0, 1.0)), State("0.5"))


def test_it_stops_at_the_most_draws_and_earlier_where_there_is_nothing_to_gain():
    adapter = Adapter()
    judge = VerdictAcceptance(adapter, PANEL, most=4)
    judge.should_accept(proposal("0.2"), State("0.5"))
    assert len(adapter.asked) == 6, "three draws an arm, and it is no better so far"
    judge.should_accept(proposal("0.58"), State("0.5"))
    assert judge.judged[-1].effect.replicates[1] <= 4


def test_it_runs_in_gepa_whose_words_for_a_rejection_are_the_verdict():
    adapter, heard, written = Adapter(), [], iter(["0.5001", "0.96", "0.9601", "0.9602", "0.9603"])
    listener = SimpleNamespace(on_candidate_rejected=lambda event: heard.append(event["reason"]))
    judge = VerdictAcceptance(adapter, PANEL, first=SimpleNamespace(should_accept=lambda proposal, state: True))
    result = gepa.optimize(
        seed_candidate={"prompt": "0.5"},
        trainset=[f"t{n}" for n in range(6)],
        valset=[f"v{n}" for n in range(10)],
        adapter=adapter,
        custom_candidate_proposer=lambda candidate, dataset, components: {"prompt": next(written)},
        acceptance_criterion=judge,
        callbacks=[listener],
        skip_perfect_score=False,
        stop_callbacks=lambda state: state.i >= 3,
        logger=SimpleNamespace(log=lambda message: None),
    )
    assert [candidate["prompt"] for candidate in result.candidates] == ["0.5", "0.96"]
    assert heard and all("fresh answers of both on 40 examples say" in reason for reason in heard)
    assert result.total_metric_calls == sum(len(batch) for _, batch in adapter.asked)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"panel": ["x"]}, "two examples"), ({"most": 2}, "most=2"), ({"margin": 0}, "margin"), ({"alpha": 0.6}, "alpha")],
)
def test_what_cannot_decide_anything_is_refused(settings, said):
    with pytest.raises(StatsError, match=said):
        VerdictAcceptance(Adapter(), **({"panel": PANEL} | settings))
