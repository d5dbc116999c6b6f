"""Numbers in prose, held to what the records say: `casestudies/numbers.toml` names for each phrase the Python that gives it."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import nbformat
from scipy.stats import kendalltau, t

import gradbook as gb
from gradbook import stats
from gradbook.stats import points

ROOT = Path(__file__).resolve().parent.parent
_CODE = (
    re.compile(r"^```.*?^```", re.S | re.M),
    re.compile(r"^(?: {4}|\t).*$", re.M),
    re.compile(r"`[^`\n]*`"),
    re.compile(r"\]\([^)]*\)"),
)
# names and places, not figures: K1, step 3, "## 2.", 1.5b in a model's name
_NAME = re.compile(r"\bK\d\b|\b[Ss]teps? \d+(?: and \d+)?\b|^#+ \d+\.|\b[Ss]ection \d+\b|\b[Ee]xample \d+\b|\b[Tt]rial \d+\b", re.M)
_NUMBER = re.compile(r"[+−-]?\d[\d,.]*(?<=\d)")


def stated() -> dict[str, Any]:
    """What is said of each file, by its path in the repository."""
    return tomllib.loads((ROOT / "casestudies" / "numbers.toml").read_text(encoding="utf-8"))


def prose(path: Path) -> str:
    """The text of a page or of a notebook's Markdown cells, without code; runs of spaces as one, headings on lines of their own."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in nbformat.reads(text, 4).cells if cell.cell_type == "markdown")
    for code in _CODE:
        text = code.sub("``", text)
    text = re.sub(r"^\d+\. ", "* ", text, flags=re.M)  # the numbers of a list
    return re.sub(r"[ \n]*\n(?!#)[ \n]*(?!#)", " ", text)


def unbound(text: str, phrases: Iterable[str]) -> list[str]:
    """The numbers of a text that stand in none of the phrases, each with the words around it."""
    spans = [(at.start(), at.end()) for phrase in phrases for at in re.finditer(re.escape(phrase), text)]
    spans += [at.span() for at in _NAME.finditer(text)]
    loose = [at for at in _NUMBER.finditer(text) if not any(start <= at.start() and at.end() <= end for start, end in spans)]
    return [f"{at[0]} in “{text[max(0, at.start() - 40) : at.end() + 40]}”" for at in loose]


def problems(file: str, text: str | None = None, said: dict[str, Any] | None = None) -> Iterator[str]:
    """What is wrong with the numbers of a file: in no phrase, not what the record says, or bound and not there."""
    said = stated() if said is None else said
    own = said.get(file, {})
    text = prose(ROOT / file) if text is None else text
    says, given = own.get("says", {}), [*own.get("given", ()), *said["common"]["given"]]
    yield from (f"{file}: {loose} is no number of casestudies/numbers.toml" for loose in unbound(text, [*says, *given]))
    yield from (f"{file}: “{phrase}” is bound and does not stand there" for phrase in [*says, *own.get("given", ())] if phrase not in text)
    folder = (ROOT / file).parent
    case = gb.Recording(folder) if says and (folder / "journal.jsonl").exists() else None
    study = gb.Study(folder) if says and (folder / "study.toml").exists() else None
    figures = json.loads((folder / "figures.json").read_text()) if (folder / "figures.json").exists() else None
    for phrase, code in says.items():
        found = str(eval(code, {**globals(), "case": case, "study": study, "figures": figures}))
        if phrase not in found:
            yield f"{file}: “{phrase}” stands there, and the record says “{found[:400]}”"


# --- what the phrases are made of ------------------------------------------------------------------------------------------


def recorded(name: str) -> gb.Recording:
    return gb.Recording(ROOT / "casestudies" / name)


def kept(name: str) -> gb.Study:
    return gb.Study(ROOT / "casestudies" / name)


def ordinal(number: int) -> str:
    return ("first", "second", "third")[number]


def percent(case: gb.Recording, step: int, split: str = "validation") -> str:
    return f"{case.metrics(step, split).accuracy.value:.1%}".replace("%", " %")


def recall(case: gb.Recording, step: int, label: str) -> str:
    share = case.metrics(step, "validation").recall[label]
    return f"{share.count}/{share.total}"


def right(case: gb.Recording, step: int) -> str:
    share = case.metrics(step, "validation").accuracy
    low, high = share.interval
    return f"{share.count} | {low * 100:.1f} to {high * 100:.1f} %"


def recalls(case: gb.Recording, step: int) -> str:
    return " | ".join(recall(case, step, label) for label in ("yes", "no", "unknown"))


def against(case: gb.Recording, step: int) -> str:
    """A step against the seed prompt, as they ran."""
    found = case.compare(0, step, "validation", replicates=0)
    return f"{right(case, step)} | {found.fixed} fixed, {found.broken} broken, p = {found.p:.2g}"


def agreement(case: gb.Recording, step: int) -> str:
    found = case.metrics(step, "validation")
    return (
        f"{found.accuracy.count} | {' | '.join(f'{found.recall[label].count}/{found.recall[label].total}' for label in ('right', 'wrong'))}"
    )


def called_wrong(case: gb.Recording, step: int) -> str:
    """How many outputs a critic calls wrong, of how many."""
    found = case.metrics(step, "validation")
    return f"{sum(count for (_, said), count in found.confusion.items() if said == 'wrong')} of {found.accuracy.total}"


def runs(case: gb.Recording, step: int, split: str) -> str:
    """The accuracies of a step's replicates and its own."""
    values = [f"{value * 100:.1f}" for value in _floor(case, step, split)]
    return f"{', '.join(values[:-1])} and {values[-1]} %"


def prediction(case: gb.Recording, step: int, split: str) -> str:
    """Where one more run would fall, by Student's t."""
    values = _floor(case, step, split)
    half = t.ppf(0.975, len(values) - 1) * stdev(values) * (1 + 1 / len(values)) ** 0.5
    low, high = mean(values) - half, mean(values) + half
    return f"{low * 100:.1f} to {high * 100:.1f} %, so on {case.metrics(step, split).accuracy.total} examples"


def _floor(case: gb.Recording, step: int, split: str) -> list[float]:
    again = case.replicates(step, "rewrite")
    return [case.metrics(one, split, number).accuracy.value for number, one in again.items()] + [case.metrics(step, split).accuracy.value]


def spread(values: Iterable[float]) -> tuple[float, float]:
    values = list(values)
    return min(values), max(values)


def starred(effect: gb.Effect, word_first: bool = False) -> str:
    """An effect as the pages say it, its word in italics."""
    points = re.search(r"[+−][\d.]+ points \([^,]*", str(effect))[0] + ")"
    if word_first:
        return f"*{effect.verdict}*, {points}"
    price = re.search(r"\d+ draws an arm on \d+ examples", str(effect))[0].replace("examples", "tickets")
    return f"{points}: *{effect.verdict}*; {price}"


def named(case: gb.Recording, shown: str, answer: str = "", stage: str = "prompt_critique") -> str:
    """How many critiques name the answer shown as the label, or the right or the wrong one, in the arms with such labels, of how many."""
    rows = [(case.method_of(case[row.step]).labels, row) for row in case.predictions().itertuples() if row.step]
    wrong = {row.example: row.label for labels, row in rows if labels == "wrong"}
    codes = {"": lambda row: row.label, "right": lambda row: row.target, "wrong": lambda row: wrong[row.example]}
    found = [bool(re.search(rf"\b{codes[answer](row)}\b", getattr(row, stage), re.I)) for labels, row in rows if labels == shown]
    return f"{sum(found)} of {len(found)}"


def effect(case: gb.Recording, before: int, after: int) -> str:
    """What three draws an arm came to on test."""
    return re.search(r"([+−][\d.]+) points (\([^,]*)", str(case.compare(before, after, "test", replicates=3))).expand(r"\1 points \2)")


def floor(case: gb.Recording, after: int, before: int) -> tuple[str, str]:
    """What the draws of both arms of a comparison reach on test."""
    found = case.compare(before, after, "test", replicates=3)
    return tuple(
        f"{', '.join(f'{100 * s:.0f}' for s in arm.floor[:-1])} and {100 * arm.floor[-1]:.0f} %" for arm in (found.after, found.before)
    )


def moved(case: gb.Recording, step: int, label: str) -> tuple[str, str]:
    """How often a class is answered, and how its recall fell, by a step's prevalence check."""
    found = case.prevalence(step).check
    (was, now), (before, after) = found.answered[label], found.recall[label]
    share = f"answered in {100 * now:.1f} % of cases in place of {100 * was:.1f} %"
    return share, f"falls from {100 * before:.1f} to {100 * after:.1f} %"


def told(figures: dict[str, Any], step: str, name: str) -> str:
    """The scores of a prompt on BBEH, as the page's table has them."""
    shares = figures["validation"][step]
    return (
        " | ".join([f"| {name} | {shares['right'][0]}", *("{}/{}".format(*shares[label]) for label in ("Yes", "No", "Ambiguous"))]) + " |"
    )


def measured(figures: dict[str, Any]) -> str:
    """What the draws on BBEH came to, for questions like these."""
    return str(stats.effect(figures["test"]["seed prompt"], figures["test"]["step"]).like_these)


def curve(case: gb.Recording, split: str) -> str:
    """How many every fourth step has right on a split."""
    return "| {} |".format(" | ".join(str(case.metrics(step, split).accuracy.count) for step in case if step.id % 4 == 0))


def codes(case: gb.Recording, step: int) -> str:
    """How many lines of a step's prompt name a code, below the one that it began with, and how many of them differ."""
    lines = [line for line in case[step].chosen_prompt.splitlines() if re.search(r"\bK\d\b", line) and line != case.task.seed_prompt]
    return f"{len(lines)} lines that name a code, of which {len(set(lines))}"


def lost() -> Any:
    """The trace of the lost label."""
    return recorded("lost_label").trace(1, split="test", replicates=3)


def rule_adds(stage: str, what: str = "rule") -> str:
    """What the rule of the tickets, or the wrong one, adds where it is put in at a stage."""
    return points(lost().gain(stage, what).these.difference)


def came_through(at: str, stage: str) -> str:
    """How many of the rule's four words stand in a later stage, draw by draw, where it is put in at one."""
    found = [round(4 * share) for share in lost().put(at, "rule").words[stage]]
    return f"{', '.join(map(str, found[:-1]))} and {found[-1]}"


def discovered(case: gb.Recording) -> list[tuple[float, float]]:
    """The score on validation and on test of step 1 and of its runs from critiques drawn anew."""
    steps = [step for step in case if step.id == 1 or step.fresh_from == "output_critique"]
    return [(case.metrics(step).accuracy.value, case.metrics(step, "test").accuracy.value) for step in steps]


def tau(case: gb.Recording) -> str:
    """How far test follows validation."""
    found = kendalltau(*zip(*discovered(case), strict=True))
    return f"τ = {found.statistic:+.2f} (p = {found.pvalue:.2f})"


def best_of(case: gb.Recording, n: int) -> str:
    """How much better than any one the best of n on validation is, there and on test, over all choices of n."""
    found = discovered(case)
    best = [max(chosen, key=lambda scores: scores[0]) for chosen in combinations(found, n)]
    there, here = (100 * (mean(scores[at] for scores in best) - mean(scores[at] for scores in found)) for at in (0, 1))
    return f"{there:.1f} points better on validation than any one, and {here:.1f} on test"


def worth(case: gb.Recording, step: int, section: str) -> str:
    """What a section is worth, as the map says it first."""
    said = str(case.ablate(step, split="test", runs=8, confirm=2, replicates=3))
    found = re.search(r"“(.*?)”, ([+−][\d.]+ points \(.*?\))", said)
    return f"the line on K2 is worth {found[2]}" if found[1] == section else said


def gain(case: gb.Recording, stage: str) -> tuple[str, str]:
    """What the rule adds at a stage, and its interval, as the trace says them."""
    name = {"evaluate": "evaluation", "rewrite": "rewrite"}[stage]
    found = re.search(rf"put in at the {name}, the rule adds (\S+) points \((.*?),", str(case.trace(1, split="test", replicates=3)))
    return found[1], found[2]


def ends_apart() -> str:
    """On how many test tickets one last prompt of the two long runs is right alone."""
    last = [
        recorded(name).long().query("split == 'test' and prompt != 'step 0'").set_index("item")["score"]
        for name in ("long_run", "long_run_wrong")
    ]
    apart = last[0] - last[1]
    more, less = int((apart > 0).sum()), int((apart < 0).sum())
    return f"{more} are right by that prompt alone and {less} by this one alone, exact McNemar p = {stats.paired_p(more, less):.2g}"


def told_wrong(case: gb.Recording) -> str:
    """How many prompt critiques name the wrong code that was shown, and how many of the others the right one."""
    rows = [(row, set(re.findall(r"\bK\d\b", row.prompt_critique))) for row in case.predictions().query("step > 0").itertuples()]
    shown = [row.label in found for row, found in rows]
    right = [row.target in found and row.label not in found for row, found in rows]
    return f"Of the {len(rows)} prompt critiques {sum(shown)} name the wrong code that was shown and {sum(right)} the right one"


def as_shown(case: gb.Recording) -> list[int]:
    """How many answers to the training split are the label that was shown, under the first prompt and the last."""
    shown = {row.example: row.label for row in case.predictions().query("step > 0").itertuples()}
    return [sum(answer.answer == shown[answer.example] for answer in case.scored(step, "train").answers) for step in (0, len(case) - 1)]


def copied(case: gb.Recording) -> str:
    """How many prompt critiques are a line of the prompt that they are for, by which code they name."""
    kinds: dict[str, list[bool]] = {"own": [], "another": [], "none": []}
    for row in case.predictions().query("step > 0").itertuples():
        codes = set(re.findall(r"\bK\d\b", row.prompt_critique))
        lines = {line.strip().removeprefix("- ") for line in case[case[row.step].parent].chosen_prompt.splitlines()}
        kinds["own" if row.target in codes else "another" if codes else "none"].append(
            row.prompt_critique.strip().removeprefix("- ") in lines
        )
    own, another, none = kinds.values()
    total, same = sum(map(len, kinds.values())), sum(map(sum, kinds.values()))
    every = f"all {len(another)}" if all(another) else f"{sum(another)} of the {len(another)}"
    return (
        f"Of the {total}, {same} repeat a line that the prompt had already, word for word: "
        f"{sum(own)} of the {len(own)} that name their own code, {every} that name another, and {sum(none)} of the {len(none)} without one"
    )


def right_for_wrong(case: gb.Recording, stage: str) -> str:
    """What the right rule in place of the wrong one, put in at a stage, adds."""
    return effect(case, *(lost().put(stage, what).step for what in ("wrong", "rule")))


def between(values: Iterable[float]) -> str:
    """The least and the most of differences, in points."""
    return " to ".join(map(points, spread(values)))


def arms(study: gb.Study, task: str) -> str:
    """What the seed prompt and the arms reach on a task in the mean of their trials."""
    trials = study.trials()[lambda table: table["task"] == task]
    low, high = spread(trials.groupby("arm")["test"].mean())
    return f"reaches {trials['seed_test'].mean() * 100:.1f} % in the mean, and the arms end at {low * 100:.1f} to {high * 100:.1f} %"
