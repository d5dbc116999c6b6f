"""The probe of locality: the same examples criticised afresh under near prompts and far ones, and nothing paid twice."""

import math
import re
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradbook as gb
from gradbook import background
from gradbook.errors import CaseError
from gradbook.findings.probes_locality import Locality, alocality
from gradbook.findings.texts import distances, mean_distances
from gradbook.tell.findings import finding
from small import reply, small_task
from stub import Stub
from test_record import connect

SMALL = {"reworded": 2, "others": 3, "examples": 4}
SYNONYMS = ["please", "kindly", "now", "then", "also", "well", "so", "thus"]


def rewording(messages, body):
    """Rewords by one more word, criticises in the words of the prompt, and rewrites in a way of its own each time."""
    text = messages[-1]["content"]
    if "in other words" in text:
        old = re.search(r'\n"(.*?)"\n\n', text, re.DOTALL)[1]
        return f"{old} {SYNONYMS[len(old.split()) % 8]}"
    if "Which rule should" in text:
        words = re.search(r"<prompt>\n(.*?)\n</prompt>", text, re.DOTALL)[1].split()
        return f"{reply(messages, body)} {' '.join(Random(body['seed']).sample(words, len(words) - 1))}"
    said = reply(messages, body)
    return said.replace("</prompt>", f" Mind {body['seed'] % 9973}.</prompt>")


@pytest.fixture
def stub():
    with Stub(reply=rewording) as made:
        yield made


def open_case(stub, path, **settings):
    return gb.Case(path, task=small_task(train=8), model=connect(stub), method=gb.Method(**{"selection": "naive"} | settings))


def stepped(stub, path, **settings):
    case = open_case(stub, path, **settings)
    case.run(batches=3)
    return case, case[1]


def ask(case, step, **more):
    return background.run(alocality(case, step, **SMALL | more))


def arms_of(case, found):
    return [each for each in case if each.finding == found.id]


def test_prompts_are_reworded_and_criticised_on_the_same_examples(stub, tmp_path):
    case, step = stepped(stub, tmp_path / "case", selection="validated", candidates=2)
    said, since = case.plan("locality", step, **SMALL), len(stub.requests)
    found = ask(case, step)
    assert len(stub.requests) - since == 2 + 6 * 2 * 4 * 3 == said.calls
    assert found.prompts[:3] == ("the prompt it began with", "that in other words", "that in other words, 2 times over")
    assert found.examples[:3] == step.batch and len(found.examples) == 4
    made = arms_of(case, found)
    reworded, drawn = [[arm for arm in made if arm.arm.startswith("reworded") == which] for which in (True, False)]
    assert [arm.rewrite[0].prompt for arm in reworded] == [f"{step.prompt} well", f"{step.prompt} well so"]
    assert reworded[1].origin == reworded[0].id and reworded[0].prompt_critique == step.prompt_critique
    assert all(arm.rewrite[1:] == step.rewrite[1:] and arm.select is None and arm.done for arm in reworded)
    assert len(drawn) == 12 and {arm.batch for arm in drawn} == {found.examples}
    assert all(arm.rewrite is None and len(arm.prompt_critique) == 4 and not arm.edits for arm in drawn)
    assert len({arm.replicate for arm in drawn}) == 12, "no two arms draw by the same seeds"
    on_record = {text for s in case if not s.aside for text in (s.prompt, *(c.prompt for c in s.rewrite or ()))}
    assert len({arm.prompt for arm in drawn} & on_record) == 4 and len({arm.prompt for arm in drawn}) == 6
    assert case.current.id == 3, "the arms are not in the tree"
    assert found.verdict in ("holds", "cannot tell") and found.word("prompt_critique") == found.verdict
    by_outputs = ask(case, step, by="output_critique", margin=0.1)
    assert by_outputs.critiques == found.critiques and by_outputs.verdict == found.word("output_critique")
    assert len(stub.requests) - since == said.calls and set(case.found[found.id].steps) == {arm.id for arm in made}


def test_it_opens_again_for_no_call_and_goes_on_from_there(stub, tmp_path):
    case, step = stepped(stub, tmp_path / "case")
    found, since = ask(case, step), len(stub.requests)
    lines = (case.path / "journal.jsonl").read_bytes()
    assert ask(case, step) == found and len(stub.requests) == since
    assert (case.path / "journal.jsonl").read_bytes() == lines
    more = ask(case, step, replicates=3)
    assert more.id == found.id and more.prompts == found.prompts and more.replicates == 3
    assert len(stub.requests) - since == len(found.prompts) * 4 * 3
    case.step()
    since = len(stub.requests)
    assert ask(case, step) == more and len(stub.requests) == since, "also where further prompts are on record by now"
    case.close()
    for again in (gb.Recording(case.path), gb.Case(case.path)):
        assert background.run(alocality(again, 1, **SMALL)) == again.finding(found.id) == more
        with pytest.raises(CaseError, match="has no such locality of step 1 on record, and none can be made"):
            background.run(alocality(again, 1, **SMALL | {"others": 2}))


def test_what_was_stopped_goes_on_and_asks_nothing_twice(tmp_path):
    with Stub(reply=rewording, latency=0.02) as stub:
        case, step = stepped(stub, tmp_path / "case")
        since = len(stub.requests)
        first = background.submit(alocality(case, step, **SMALL))
        stub.wait_for(since + 50)
        first.cancel()
        found = ask(case, step)
        assert len(stub.requests) - since == 2 + len(found.prompts) * 2 * 4 * 3 == case.spent_for(case.found[found.id]).calls


def test_a_critics_prompt_can_be_probed_on_its_own_batch(stub, tmp_path):
    case = open_case(stub, tmp_path / "case", evaluation="critic-binary")
    case.run(batches=3)
    critic = next(step for step in case if step.variable == "critic")
    said, since = case.plan("locality", critic, reworded=4, others=2), len(stub.requests)
    found = background.run(alocality(case, critic, reworded=4, others=2))
    assert found.examples == critic.batch and 0 < len(stub.requests) - since <= said.calls
    drawn = [arm for arm in arms_of(case, found) if not arm.arm.startswith("reworded")]
    assert all(arm.held == critic.held and arm.variable == "critic" for arm in drawn)
    outputs = {tuple(p.output for p in arm.predict) for arm in drawn}
    assert all("Verdict" in output for each in outputs for output in each)
    prompt = next(step for step in case if step.variable == "prompt" and step.parent is not None)
    said, since = case.plan("locality", prompt, **SMALL), len(stub.requests)
    ask(case, prompt)
    assert 0 < len(stub.requests) - since <= said.calls


def test_a_model_that_cannot_reword_and_critiques_that_are_missing(tmp_path):
    losing = []

    def parrot(messages, body):
        text = messages[-1]["content"]
        if "in other words" in text:
            return re.search(r'\n"(.*?)"\n\n', text, re.DOTALL)[1]
        return "" if losing and "Which rule should" in text and body["seed"] % 2 else rewording(messages, body)

    with Stub(reply=parrot) as stub:
        case, step = stepped(stub, tmp_path / "case")
        since = len(stub.requests)
        with pytest.raises(CaseError, match="takes 5 different prompts or more, and rewording gave 0: there are 3"):
            ask(case, step, others=2)
        assert len(stub.requests) - since == 1, "one that gave nothing new is not asked again"
        case.run(batches=6)
        losing.append(True)
        found = background.run(alocality(case, step, reworded=0, others=6, examples=1))
    missing = {arm.arm for arm in arms_of(case, found) if arm.prompt_critique[0].lost}
    assert 0 < len(missing) < len(arms_of(case, found)) == 2 * len(found.prompts)
    assert sum(row[n] is None for n, row in enumerate(found.critiques["prompt_critique"])) == len(missing)
    assert None not in {value for row in found.critiques["output_critique"] for value in row}
    assert "Some critiques are missing" in finding(case, found).remarks[0] and str(found)
    assert Locality.model_validate(found.model_dump(mode="json")) == found


def test_where_nothing_can_be_probed_it_says_why_before_it_pays(stub, tmp_path):
    case, _ = stepped(stub, tmp_path / "case")
    wrong = [
        (case, 0, {}, "step 0 is not done or holds only the seed prompt"),
        (case, 1, {"by": "rewrite"}, "judged by prompt_critique or output_critique"),
        (case, 1, {"margin": 1.0}, "a margin between 0 and 1"),
        (case, 1, {"replicates": 1}, "2 to 9 replicates, not reworded=2, others=3, examples=4, replicates=1"),
        (case, 1, {"reworded": 10}, "0 to 9 rewordings"),
        (case, 1, {"reworded": 1, "others": 2}, "takes 5 prompts or more; besides the first, on record: 2"),
    ]
    for update in ("one-step", "improve"):
        other = open_case(stub, tmp_path / update, update=update)
        other.step()
        wrong.append((other, 1, {}, "step 1 has no critiques, since its update makes none"))
    since = len(stub.requests)
    for case, step, more, message in wrong:
        for question in (ask, lambda c, s, **m: c.plan("locality", s, **SMALL | m)):
            with pytest.raises(CaseError, match=message):
                question(case, step, **more)
    assert len(stub.requests) == since


def test_it_is_told_and_its_arms_can_be_looked_at(stub, tmp_path):
    case, step = stepped(stub, tmp_path / "case")
    found = ask(case, step)
    told = finding(case, found)
    assert told.sentence[1:] == str(found)[1:] and "5 points" in told.asked and told.spent
    assert [row[0].text for row in told.grids[1].rows] == list(found.prompts)
    assert told.grids[0].rows[0][2].text == f"{100 * found.floor('prompt_critique'):.1f}"
    near, far = (float(told.grids[0].rows[n][1].text) for n in (1, 3))
    assert near < far and "Locality" in repr(found) and "cosine" in found._repr_html_()
    assert "Locality, step 1" in case.export(tmp_path / "told.html").read_text()
    stepper = gb.Stepper(case)
    for arm in arms_of(case, found)[:3]:
        stepper.go(arm.id)
        assert stepper.desk.view.id == arm.id


# --- the word ------------------------------------------------------------------------------------------------------------


def record(apart, critiques, draws=2, **more):
    """A record whose critiques are as far apart as prompts are in `critiques`, and fresh draws 0.3."""
    table = np.kron(np.array(critiques), np.ones((draws, draws))) + np.kron(np.eye(len(critiques)), 0.3 * (1 - np.eye(draws)))
    lists = {stage: table.tolist() for stage in ("prompt_critique", "output_critique")}
    names, given = tuple(map(str, range(len(apart)))), np.array(apart).tolist()
    return Locality(step=1, prompts=names, examples=("a",), replicates=draws, apart=given, critiques=lists, **more)


LINE = np.abs(np.subtract.outer(np.arange(8), np.arange(8))) / 8


def test_the_word_follows_from_the_distances():
    flat = np.where(np.eye(8), 0, 0.3)
    near = record(LINE, 0.4 * LINE)
    assert near.verdict == "holds" and near.against("prompt_critique").tau == pytest.approx(1)
    assert near.floor("prompt_critique") == pytest.approx(0.3)
    wobble = flat + 1e-3 * (np.arange(8)[:, None] * np.arange(8)[None] * 7 % 5)
    assert record(LINE, wobble).verdict == "does not hold"
    assert record(LINE, 0.02 * LINE).verdict == "does not hold", "a rise that is sure and less than the margin is none that matters"
    assert record(LINE, 0.02 * LINE, margin=0.01).verdict == "holds"
    assert record(0.05 * LINE, wobble).verdict == "cannot tell" and "too much alike" in str(record(0.05 * LINE, wobble))
    assert record(LINE, flat).verdict == "cannot tell", "where nothing at all varies there is nothing to be seen"


def test_the_distance_of_prompts_is_that_of_their_critiques_by_draws():
    """Each pair of prompts is told by all pairs of their draws, a prompt and itself by pairs of different draws."""
    table = np.arange(36.0).reshape(6, 6)
    table = (table + table.T) / 72
    found = record(LINE[:3, :3], LINE[:3, :3]).model_copy(update={"critiques": {"prompt_critique": table.tolist()}})
    between = found.between("prompt_critique")
    assert between[0, 1] == pytest.approx(table[:2, 2:4].mean()) and between[2, 0] == pytest.approx(table[4:, :2].mean())
    assert between[1, 1] == pytest.approx(table[2, 3])


# --- texts ---------------------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.text(alphabet="ab cé.!\n中", max_size=20), min_size=1, max_size=6)


@given(TEXTS)
def test_distances_of_texts_are_distances(texts):
    found = distances(texts)
    assert found.shape == (len(texts),) * 2 and ((found >= 0) & (found <= 1)).all()
    assert np.allclose(found, found.T) and np.allclose(np.diag(found), 0, atol=1e-9)


def test_distances_are_those_of_tf_idf_by_hand():
    texts = ["red means one", "red means two", "say why"]
    documents = [text.split() for text in texts]
    vocabulary = sorted({word for document in documents for word in document})
    rare = [math.log(4 / (1 + sum(word in document for document in documents))) + 1 for word in vocabulary]
    vectors = np.array([[document.count(word) * weight for word, weight in zip(vocabulary, rare, strict=True)] for document in documents])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert distances(texts) == pytest.approx(1 - vectors @ vectors.T, abs=1e-12)
    assert distances(["Red, means ONE!", "red means one"])[0, 1] == pytest.approx(0) and distances(["a", "b"])[0, 1] == pytest.approx(1)
    assert distances([]).shape == (0, 0)


def test_examples_without_a_text_are_left_out_of_the_mean():
    found = mean_distances([["a", "b", None], ["a", "a", None], [None, None, None]])
    assert found[0, 1] == pytest.approx(0.5) and np.isnan(found[0, 2]) and np.isnan(found[2, 2]) and found[0, 0] == pytest.approx(0)
