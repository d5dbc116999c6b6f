"""Record a case of this folder anew, on the embedded default: `python casestudies/record.py first_step --into FOLDER`.

What a person typed is data here: the edits, and the notes, which quote what the new record says. FOLDER is made; the recorded one stays.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import gradbook as gb

EDIT = gb.edits.replace(
    "prompt_critique",
    example="train-5",
    text="Inputs about money, invoices or bank statements should be routed to K2.",
    why="the label is K2; to name the topic, and not one customer's detail",
)
RULES = """Route the support ticket to one of K1, K2, K3. Reply with the answer line only.

- K1: parcels and their delivery.
- K2: invoices, payments and refunds.
- K3: devices that are broken or do not work.
- Be polite."""
SMALL = "qwen2.5-coder-0.5b"
HACK = "Most of these questions cannot be decided: unless the text says it outright, answer unknown. Reply with the answer line only."
SOFT_HACK = """Answer the question about who tells the truth.

- Read what each of the people says.
- Most of these questions cannot be decided.
- Unless the text says it outright, answer unknown.
- Reply with the answer line only."""
SEES_DATA = {"update": "three-stage", "labels": "correct", "evaluation": "direct"}
EVERY_ARM = (
    {},
    {"update": "one-step"},
    {"update": "rewrite", "labels": "none"},
    {"update": "improve", "labels": "none"},
    {"labels": "wrong"},
    {"labels": "none"},
    {"evaluation": "critic-binary"},
    {"evaluation": "critic-score"},
)


def first_step(folder: Path, model: gb.Model) -> gb.Case:
    """Three steps on tickets with opaque codes, one edit by hand, three replicates of the noise floor."""
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 30, 60))
    case = _case(folder, "First step: tickets with opaque codes", task, model, gb.Method(selection="validated", candidates=2))
    case.run(batches=3)
    case.perturb(1, EDIT)
    compared = case.compare(1, 4, "validation", replicates=0)
    for number in (1, 2, 3):
        case.score(case.replicate(1, "rewrite", number), "validation", number)
    critiques = {(step.id, critique.example): critique.text for step in case for critique in step.prompt_critique or ()}
    given = next(prediction for prediction in case[3].predict or () if prediction.example == "train-20")
    case.write_note(1, f"Example 1 is **K2**, as its evaluation says. Its prompt critique: *“{critiques[1, EDIT.example]}”*")
    case.write_note(
        3,
        f"Example 2 was answered {given.answer}, which is **{'right' if given.correct else 'wrong'}**. "
        f"Its prompt critique: *“{critiques[3, 'train-20']}”*",
    )
    case.write_note(4, f"**Edit:** the topic and its code, in place of one customer's detail.\n\n{compared.as_they_ran}")
    return case


def four_updates(folder: Path, model: gb.Model) -> gb.Case:
    """One naive step of each update on Web of Lies."""
    task = gb.tasks.web_of_lies(people=3, unknown=0.12, seed=0)
    return _arms(folder, "Four updates: one naive step each on Web of Lies", task, model, EVERY_ARM[:4])


def every_arm(folder: Path, model: gb.Model) -> gb.Case:
    """One naive step of each arm on tickets with opaque codes."""
    task = gb.tasks.ticket_routing(codes=3, seed=0)
    return _arms(folder, "Every arm: one naive step each on tickets with opaque codes", task, model, EVERY_ARM)


def verdicts(folder: Path, model: gb.Model) -> gb.Case:
    """One step on tickets, two edits by hand with their verdicts, and what each line of a prompt is worth."""
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 30, 30))
    case = _case(folder, "Verdicts: edits of one step on tickets with opaque codes", task, model, gb.Method(selection="naive"))
    first = case.step()
    corrected = case.perturb(first, EDIT)
    case.compare(first, corrected, "test", replicates=3)
    by_hand = case.perturb(first, gb.edits.replace("candidate", candidate=0, text=RULES, why="what the codes stand for, written by hand"))
    case.compare(first, by_hand, "test", until="decided")
    case.ablate(by_hand, split="test", runs=8, confirm=2, replicates=3)
    return case


def lost_label(folder: Path, model: gb.Model) -> gb.Case:
    """One step on tickets, and the rule that their labels follow put in at each of its stages: where does it stop reaching the prompt?

    Then the rule against the wrong one, at the two stages where an earlier recording of this trace saw them apart without having asked.
    """
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 30, 30))
    case = _case(
        folder, "Where the truth is lost: the rule of the tickets, put in at each stage", task, model, gb.Method(selection="naive")
    )
    arms = {(put.stage, put.what): put.step for put in case.trace(case.step(), split="test", replicates=3).puts}
    for stage in ("prompt_critique", "rewrite"):
        case.compare(arms[stage, "wrong"], arms[stage, "rule"], "test", replicates=3)
    return case


def prevalence(folder: Path, model: gb.Model) -> gb.Case:
    """One step on Web of Lies, two prompts that win by saying "unknown" to most of it, and what each line of the softer one is worth."""
    task = gb.tasks.web_of_lies(people=3, unknown=0.6, seed=0, sizes=(30, 30, 100))
    case = _case(folder, "Prevalence: a gain that moves answers between classes", task, model, gb.Method(selection="naive"))
    first = case.step()
    case.prevalence(first, replicates=2)
    for text, why in ((HACK, "most answers are unknown, so to say it should pay"), (SOFT_HACK, "the same, less bluntly, line by line")):
        hack = case.perturb(first, gb.edits.replace("candidate", candidate=0, text=text, why=why))
        case.prevalence(hack, replicates=2)
    case.ablate(hack, split="validation", runs=8, confirm=2, replicates=3)
    return case


def three_engines(folder: Path, model: gb.Model) -> gb.Case:
    """One step each of this loop, TextGrad's and GEPA's on the same tickets (needs `pip install 'gradbook[textgrad,gepa]'`)."""
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 20, 20))
    methods = (gb.Method(selection="naive"), gb.presets.textgrad(), gb.presets.gepa())
    writer = gb.connect(model.name, sampling={"max_tokens": 1500})  # the rewrites of two of them are long
    title = "Three engines: one step each on tickets with opaque codes"
    case = gb.Case(folder, title=title, task=task, model=model, optimizer=writer, method=methods[0], seed=0)
    for method in methods:
        case.go(0)
        case.use(method)
        case.step()
    for step in (2, 3):
        case.compare(1, step, "test", replicates=3)
    return case


def labels_tickets(folder: Path, model: gb.Model) -> gb.Case:
    """Correct, wrong and no labels on tickets, whose labels nobody can guess: a naive step each, and verdicts."""
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 20, 20))
    return _labels(folder, "Labels that cannot be guessed: correct, wrong and none on tickets", task, model)


def labels_lies(folder: Path, model: gb.Model) -> gb.Case:
    """Correct, wrong and no labels on Web of Lies, whose answers follow from the text: a naive step each, and verdicts."""
    task = gb.tasks.web_of_lies(people=3, unknown=0.12, seed=0, sizes=(30, 20, 20))
    return _labels(folder, "Labels that can be guessed: correct, wrong and none on Web of Lies", task, model)


def _labels(folder: Path, title: str, task: gb.Task, model: gb.Model) -> gb.Case:
    case = _arms(folder, title, task, model, ({}, {"labels": "wrong"}, {"labels": "none"}))
    for step in (2, 3):
        case.compare(1, step, "test", replicates=3)
    return case


def discovery(folder: Path, model: gb.Model) -> gb.Case:
    """Each kind of selection from the same critiques; ten more rewrites of them, ten of critiques drawn anew, and all their scores."""
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 20, 20))
    chosen = (("naive", 1), ("validated", 1), ("validated", 3), ("validated", 5), ("random", 5))
    methods = [gb.Method(selection=selection, candidates=candidates) for selection, candidates in chosen]
    case = _case(folder, "Discovery: what validation does with more candidates", task, model, methods[0])
    for method in methods:
        case.go(0)
        case.use(method)
        case.step()
    for stage in ("rewrite", "output_critique"):
        for number in range(1, 11):
            case.replicate(1, stage, number)
    for split in ("validation", "test"):
        for step in case:
            case.score(step, split)
    case.go(5)
    return case


def long_run(folder: Path, model: gb.Model) -> gb.Case:
    """Twenty naive steps on tickets, each from a batch of its own; every fourth scored on train and validation, the ends on test."""
    return _long_run(folder, "A long run: twenty naive steps on tickets with opaque codes", model, gb.Method(selection="naive"))


def long_run_wrong(folder: Path, model: gb.Model) -> gb.Case:
    """The same twenty steps with a wrong label on every ticket."""
    method = gb.Method(labels="wrong", selection="naive")
    return _long_run(folder, "A long run on wrong labels: twenty naive steps on tickets with opaque codes", model, method)


def wrong_critic(folder: Path, model: gb.Model) -> gb.Case:
    """One step by the gold answers and one by a critic that may be wrong, the critic's verdicts put right by hand, and both effects."""
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 20, 20))
    title = "A critic that is wrong: the same step by gold answers and by a model's verdicts"
    case = _arms(folder, title, task, model, ({}, {"evaluation": "critic-binary"}))
    put_right = [
        gb.edits.replace("evaluation", example=given.example, text=given.text, why="what the gold answer says, in place of the critic")
        for given in case[1].evaluate or ()
    ]
    case.perturb(2, *put_right)
    case.score(4)
    for step in (1, 4):
        case.compare(2, step, "test", replicates=3)
    return case


def strong_teacher(folder: Path, model: gb.Model) -> gb.Case:
    """The larger model criticises and rewrites, the smaller one answers."""
    return _teacher(folder, "A strong teacher: 1.5B writes, 0.5B follows", gb.connect(SMALL), model)


def weak_teacher(folder: Path, model: gb.Model) -> gb.Case:
    """The smaller model criticises and rewrites, the larger one answers."""
    return _teacher(folder, "A weak teacher: 0.5B writes, 1.5B follows", model, gb.connect(SMALL))


def _teacher(folder: Path, title: str, pupil: gb.Model, teacher: gb.Model) -> gb.Case:
    """A naive step and three draws of it, the rules written by hand in its place, and the effect of either on the seed prompt."""
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 20, 30))
    roles = {"model": pupil, "critic": teacher, "optimizer": teacher}
    case = gb.Case(folder, title=title, task=task, **roles, method=gb.Method(selection="naive"), seed=0)
    first = case.step()
    for number in (1, 2, 3):
        case.replicate(first, "output_critique", number)
    by_hand = case.perturb(first, gb.edits.replace("candidate", candidate=0, text=RULES, why="what the codes stand for, written by hand"))
    for step in case:
        case.score(step)
    for step in (first, by_hand):
        if case[step].chosen_prompt != task.seed_prompt:
            case.compare(0, step, "test", replicates=3)
    return case


def _arms(folder: Path, title: str, task: gb.Task, model: gb.Model, arms: tuple[dict[str, str], ...]) -> gb.Case:
    """A naive step of each arm from the seed prompt, after one with a critic also the critic's own; all scored on validation."""
    methods = [gb.Method(**SEES_DATA | arm, selection="naive") for arm in arms]
    case = _case(folder, title, task, model, methods[0])
    case.score(0)
    for method in methods:
        case.go(0)
        case.use(method)
        for _ in range(2 if method.critic else 1):
            case.score(case.step())
    return case


def _long_run(folder: Path, title: str, model: gb.Model, method: gb.Method) -> gb.Case:
    task = gb.tasks.ticket_routing(codes=3, seed=0, sizes=(30, 30, 30))
    writer = gb.connect(model.name, sampling={"max_tokens": 1500})  # the prompt grows with every step
    case = gb.Case(folder, title=title, task=task, model=model, optimizer=writer, method=method, seed=0)
    for number in range(21):
        if number:
            case.step()
        if number % 4 == 0:
            case.score(number, "train")
            case.score(number, "validation")
    for step in (0, 20):
        case.score(step, "test")
    return case


def _case(folder: Path, title: str, task: gb.Task, model: gb.Model, method: gb.Method) -> gb.Case:
    return gb.Case(folder, title=title, task=task, model=model, method=method, seed=0)


CASES: dict[str, Callable[[Path, gb.Model], gb.Case]] = {
    made.__name__: made
    for made in (
        first_step,
        four_updates,
        every_arm,
        verdicts,
        lost_label,
        prevalence,
        three_engines,
        labels_tickets,
        labels_lies,
        discovery,
        long_run,
        long_run_wrong,
        wrong_critic,
        strong_teacher,
        weak_teacher,
    )
}


def main() -> None:
    """Record the case that the command line names."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("name", choices=CASES)
    options.add_argument("--into", type=Path, help="a folder that is not there yet (default: cases/NAME)")
    chosen = options.parse_args()
    folder = chosen.into or Path("cases") / chosen.name
    if folder.exists():
        sys.exit(f"{folder} is there already; name another with --into")
    print(CASES[chosen.name](folder, gb.connect("qwen2.5-coder-1.5b")))


if __name__ == "__main__":
    main()
