"""Every named perturbation changes exactly its text, and runs exactly what depends on it, checked call by call at a stub."""

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradbook as gb
from gradbook import edits
from gradbook.edits.words import cut, filler, sentences
from gradbook.errors import EditError
from gradbook.records import STAGES
from small import reply, small_task
from stub import Stub

OPPOSITE = "Say the opposite"
QUOTED = re.compile(r'\n"(.*?)"\n\n', re.DOTALL)


def answering(messages, body):
    text = messages[-1]["content"]
    if OPPOSITE in text:
        return f'"Do not follow that {QUOTED.search(text)[1]}"'
    return reply(messages, body)


@pytest.fixture
def stub():
    with Stub(reply=answering) as stub:
        yield stub


def make(stub, path, **settings):
    model = gb.connect("stub", base_url=stub.url, api_key="k", cache=False)
    return gb.Case(path, task=small_task(), model=model, method=gb.Method(selection="naive", batch_size=3, **settings))


# name, what makes it from a step, how the texts of its stage change, calls by stage ("perturb": its own)
CRITIQUE, OUTPUT = "prompt_critique", "output_critique"
SAME = {"rewrite": 1}
FROM_OUTPUT = {"prompt_critique": 1, "rewrite": 1}
FROM_LABEL = {"output_critique": 1, **FROM_OUTPUT}
TEXTS = {
    "drop": (lambda s: edits.drop(CRITIQUE, example=1), lambda t: [t[0], t[2]], SAME),
    "double": (lambda s: edits.double(CRITIQUE, example=1, times=3), lambda t: [t[0], t[1], t[1], t[1], t[2]], SAME),
    "swap": (lambda s: edits.swap(CRITIQUE, example=0, other=2), lambda t: [t[2], t[1], t[0]], SAME),
    "swap outputs": (lambda s: edits.swap(OUTPUT, example=0, other=2), lambda t: [t[2], t[1], t[0]], {"prompt_critique": 2, "rewrite": 1}),
    "take": (lambda s: edits.take(CRITIQUE, example=0, of=s, other=2), lambda t: [t[2], t[1], t[2]], SAME),
    "drop sentence": (lambda s: edits.drop_sentence(CRITIQUE, 0, example=1), lambda t: [t[0], "Second.", t[2]], SAME),
    "keep sentence": (lambda s: edits.keep_sentence(CRITIQUE, 1, example=1), lambda t: [t[0], "Second.", t[2]], SAME),
    "blank": (lambda s: edits.blank(OUTPUT, example=1), lambda t: [t[0], "", t[2]], FROM_OUTPUT),
    "filler": (lambda s: edits.filler(CRITIQUE, example=1), lambda t: [t[0], filler(t[1]), t[2]], SAME),
    "strength": (
        lambda s: edits.strength(CRITIQUE, 4, example=1),
        lambda t: [t[0], f"{t[1]} Change the prompt drastically.", t[2]],
        SAME,
    ),
    "shuffle": (lambda s: edits.shuffle(seed=1), lambda t: [t[i] for i in SHUFFLED], SAME),
    "negate": (
        lambda s: edits.negate(CRITIQUE, example=1),
        lambda t: [t[0], f"Do not follow that {t[1]}", t[2]],
        SAME | {"perturb": 1},
    ),
    "paraphrase": (lambda s: edits.paraphrase(OUTPUT, example=1), lambda t: [t[0], f"{t[1]} Please.", t[2]], FROM_OUTPUT | {"perturb": 1}),
}
SHUFFLED = Random(1).sample(range(3), 3)
UNMOVED = next(seed for seed in range(100) if Random(seed).sample(range(3), 3) == [0, 1, 2])


def asked(stub, since):
    """How often each stage was asked since; "perturb" for what rewords."""
    found = Counter()
    for request in stub.requests[since:]:
        text = request.body["messages"][-1]["content"]
        if OPPOSITE in text or "in other words" in text:
            found["perturb"] += 1
        elif "Rules to add:" in text:
            found["rewrite"] += 1
        elif "Which rule should" in text:
            found["prompt_critique"] += 1
        elif request.body["messages"][0]["role"] == "user":
            found["output_critique"] += 1
        else:
            found["predict"] += 1
    return dict(found)


@pytest.mark.parametrize("name", TEXTS)
def test_a_perturbation_changes_its_text_and_runs_what_depends_on_it(name, stub, tmp_path):
    make_edit, expected, calls = TEXTS[name]
    case = make(stub, tmp_path / "case")
    step = case.step()
    if "sentence" in name:
        step = case.perturb(step, edits.replace(CRITIQUE, example=1, text="red means K1. Second."))
    edit = make_edit(step)
    stage = gb.edits.replace(edit.field, text="", example=0).field
    before, since = [c.text for c in getattr(step, stage)], len(stub.requests)
    branch = case.perturb(step, edit)
    assert [c.text for c in getattr(branch, stage)] == expected(before)
    assert asked(stub, since) == calls, "what does not depend on it is not asked again"
    for earlier in STAGES[: STAGES.index(stage)]:
        assert getattr(branch, earlier) == getattr(step, earlier)
    sent = stub.requests[-1].body["messages"][-1]["content"]
    assert stage != CRITIQUE or "\n".join(f"- {text}" for text in expected(before)) in sent, "the optimiser reads it so"
    made = branch.edits[0]
    assert made.by == "name" and made.at and not case.changes(branch)[-1].superseded
    assert eval(edits.code(made), {"gb": gb, "case": case}) == made.model_copy(update={"at": ""}), "the line of Python makes the same"
    case.close()
    assert gb.Recording(tmp_path / "case")[branch.id] == branch
    again = gb.Case(tmp_path / "case", model=gb.connect("stub", base_url=stub.url, api_key="k", cache=False))
    since = len(stub.requests)
    fresh = again.replicate(branch, "rewrite", 1)
    assert [c.text for c in getattr(fresh, stage)] == expected(before) and asked(stub, since) == {"rewrite": 1}


@pytest.mark.parametrize(
    ("edit", "label"),
    [
        (lambda: edits.wrong_label(1), lambda s, task: task.wrong_label(task.example(s.batch[1]))),
        (lambda: edits.no_label(1), lambda s, task: None),
        (lambda: edits.another_label(1, other=2), lambda s, task: task.example(s.batch[2]).target),
    ],
)
def test_a_label_is_swapped_by_name(edit, label, stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    since = len(stub.requests)
    branch = case.perturb(step, edit())
    assert branch.evaluate[1].label == label(step, case.task) and branch.evaluate[::2] == step.evaluate[::2]
    assert asked(stub, since) == FROM_LABEL
    assert eval(edits.code(branch.edits[0]), {"gb": gb}) == branch.edits[0].model_copy(update={"at": ""})


def test_an_example_is_dropped_with_all_that_would_be_made_of_it(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    since = len(stub.requests)
    branch = case.perturb(step, edits.drop_example(1))
    for stage in ("predict", "evaluate", OUTPUT, CRITIQUE):
        assert [r.example for r in getattr(branch, stage)] == [step.batch[0], step.batch[2]]
    assert asked(stub, since) == {"rewrite": 1}


def test_perturbations_compose_at_one_stage_in_their_order(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    text = step.prompt_critique[0].text
    made = case.perturb(step, edits.negate(CRITIQUE, example=0), edits.strength(CRITIQUE, 0, example=0), edits.double(CRITIQUE, example=0))
    assert [c.text for c in made.prompt_critique[:2]] == [f"Do not follow that {text} Change the prompt hardly."] * 2
    twice = case.perturb(step, edits.paraphrase(CRITIQUE, example=0), edits.paraphrase(CRITIQUE, example=0))
    assert twice.prompt_critique[0].text == f"{text} Please. Please."
    with pytest.raises(EditError, match="one branch changes one stage"):
        case.perturb(step, edits.negate(CRITIQUE, example=0), edits.blank(OUTPUT, example=0))


def test_a_reworded_text_is_a_call_like_any_other(stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    branch = case.perturb(step, edits.negate(CRITIQUE, example=0))
    calls = case.calls()
    line = calls[calls["for"].str.startswith(f"step/{branch.id}/{CRITIQUE}")]
    assert len(line) == 1 and line["key"].iloc[0] == branch.prompt_critique[0].call and case.spent_on(branch).calls == 2
    since = len(stub.requests)
    fresh = case.replicate(branch, CRITIQUE, 1)
    assert asked(stub, since) == {"prompt_critique": 3, "perturb": 1, "rewrite": 1}, "fresh critiques are reworded afresh"
    assert fresh.prompt_critique[0].text.startswith("Do not follow that")


def test_a_reworded_text_that_is_cut_off_is_lost_and_nothing_is_made_of_it(tmp_path):
    def cut_off(messages, body):
        if OPPOSITE not in messages[-1]["content"]:
            return reply(messages, body)
        return {"choices": [{"message": {"role": "assistant", "content": "Do not fol"}, "finish_reason": "length"}]}

    with Stub(reply=cut_off) as stub:
        case = make(stub, tmp_path / "case")
        step = case.step()
        branch = case.perturb(step, edits.negate(CRITIQUE, example=0))
    lost = branch.prompt_critique[0]
    assert (lost.text, lost.lost) == ("", "cut off") and "max_tokens" in lost.why
    assert "Do not fol" not in stub.requests[-1].body["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda: edits.strength(CRITIQUE, 5, example=0), "strength must be 0 to 4, not 5"),
        (lambda: edits.strength("evaluation", 1, example=0), "'evaluation' cannot be weakened or strengthened; there are output_critique"),
        (lambda: edits.negate("selection", example=0), "'selection' cannot be negated"),
        (lambda: edits.negate(CRITIQUE), "needs example="),
        (lambda: edits.blank("candidate"), "needs candidate="),
        (lambda: edits.shuffle(OUTPUT), "there are prompt_critique"),
        (lambda: edits.drop_sentence(CRITIQUE, -1, example=0), "counted from 0"),
        (lambda: edits.drop_sentence(CRITIQUE, 9, example=0), "has 1 sentences, counted from 0; there is none 9"),
        (lambda: edits.swap(CRITIQUE, example=0, other=9), "there is no example 9"),
        (lambda: edits.swap(CRITIQUE, example=0, other="nobody"), "no prompt critique for 'nobody'"),
        (lambda: edits.swap(CRITIQUE, example=0, other=0), "changes nothing"),
        (lambda: edits.another_label(0, other="nobody"), "no example 'nobody'"),
        (lambda: edits.shuffle(seed=UNMOVED), "changes nothing"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(edit, said, stub, tmp_path):
    case = make(stub, tmp_path / "case")
    step = case.step()
    with pytest.raises(EditError, match=re.escape(said)):
        case.perturb(step, edit())
    assert len(case) == 2


LINES = st.text(alphabet="ab .!?\n。-1", max_size=80)


@given(LINES)
def test_sentences_cover_a_text_and_cutting_each_leaves_the_others(text):
    spans = sentences(text)
    assert "".join(text[start:end] for start, end in spans).replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")
    for number, (start, end) in enumerate(spans):
        assert cut(text, number, keep=True) == text[start:end].strip()
        left = [text[a:b].strip() for n, (a, b) in enumerate(spans) if n != number]
        assert "".join("".join(left).split()) == "".join(cut(text, number).split())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("- a\n- b\n\n- c", 3),
        ("Use e.g. codes such as K1. Or none.", 2),
        ("1. First.\n2. Second.", 2),
        ("Is 3.5 more than 3? Yes.", 2),
        ('He said "No." Then he left.', 2),
        ("一。二。", 2),
        ("", 0),
    ],
)
def test_sentences_end_where_a_reader_sees_them_end(text, count):
    assert len(sentences(text)) == count


@given(st.text(alphabet="ab c\n", max_size=60))
def test_filler_has_as_many_words(text):
    assert len(filler(text).split()) == len(text.split())
