"""Looks: whoever asks for more draws after a look shares the error rate among all looks, whatever is asked."""

import re

import pytest

import gradbook as gb
from gradbook.errors import CaseError
from gradbook.stats.looks import share_of_look
from gradbook.tell.findings import finding as tell
from small import reply, small_task
from stub import Stub
from test_record import connect

RULE = "red means K1. green means K2. blue means K3."
PROMPT = "Give each item its code.\n\n- red means K1.\n- green means K2.\n- Be polite."
ASKED = {
    "trace": (lambda case, draws: case.trace(1, RULE, split="test", replicates=draws), 2, 3),
    "ablate": (lambda case, draws: case.ablate(2, split="test", replicates=draws), 2, 4),
    "sign": (lambda case, draws: gb.probes.sign(case, 1, split="test", replicates=draws), 2, 3),
    "step_size": (lambda case, draws: gb.probes.step_size(case, 1, split="test", replicates=draws), 2, 3),
    "additivity": (lambda case, draws: gb.probes.additivity(case, 1, split="test", replicates=draws), 2, 3),
    "locality": (lambda case, draws: gb.probes.locality(case, 1, reworded=4, others=2, examples=2, replicates=draws), 2, 3),
    "batch_noise": (lambda case, draws: gb.probes.noise(case, 1, sizes=(1, 3), split="test", replicates=draws), 4, 5),
}


@pytest.mark.parametrize("kind", ASKED)
def test_more_draws_are_another_look_which_is_told_and_may_err_less(kind, tmp_path):
    ask, few, more = ASKED[kind]
    with Stub(reply=reply) as stub:
        case = gb.Case(tmp_path / "case", task=small_task(), model=connect(stub), method=gb.Method(selection="naive"))
        case.perturb(case.step(), gb.edits.replace("candidate", candidate=0, text=PROMPT))
        first = ask(case, few)
        assert first.look == 1 and first.alpha == pytest.approx(0.04) and not first.looked
        assert ask(case, few) == first, "the same draws are the same look"
        second = ask(case, more)
        assert second.id == first.id and second.look == 2 and second.alpha == pytest.approx(0.005)
        said = "This is look 2: all looks together err in 5% at most, so this one may in 0.005."
        assert tell(case, second).remarks[0] == said and case.found[second.id].sentence.endswith(said)
        assert ask(case, more) == second == case.finding(second.id)
        assert said not in tell(case, first).remarks
        event = case.found[second.id]
        case._state.findings[second.id] = event.model_copy(update={"result": event.result | {"look": 0}})
        with pytest.raises(CaseError, match="that cannot be read"):
            case.finding(second.id)


def test_the_shares_of_all_looks_add_up_to_alpha():
    shares = [share_of_look(number, 0.05) for number in range(1, 51)]
    assert sum(shares) == pytest.approx(0.05) and shares[0] == pytest.approx(0.04) and sorted(shares, reverse=True) == shares
    assert min(shares) > 0


def test_what_it_takes_to_tell_is_said_for_the_next_look(tmp_path):
    """The draws that would tell at this look's level are too few for the next one, which may err less."""
    with Stub(reply=reply) as stub:
        case = gb.Case(tmp_path / "case", task=small_task(test=30), model=connect(stub), method=gb.Method(selection="naive"))
        found = gb.probes.sign(case, case.step(), split="test", replicates=3)
    noisy = tuple(tuple(int((7 * n + 5 * draw + 3) % 11 < 5) for n in range(30)) for draw in range(3))
    found = found.model_copy(update={"negated": noisy, "critiques": noisy[::-1], "before": noisy})
    told = re.search(r"about (\d+) draws", str(found))
    assert 1 < found.stricter < 2 and found.verdict == "cannot tell" and (told is None or int(told[1]) > 3)
