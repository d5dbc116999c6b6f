"""What a study will cost, before it is run: from the calls that its methods make, each priced as in a few calls really made."""

import asyncio
import dataclasses
import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradbook import background
from gradbook.case import Case
from gradbook.costs import Calls, times
from gradbook.journal import NAME
from gradbook.models import Model
from gradbook.models.embedded import SLOTS
from gradbook.recording import Recording
from gradbook.records import Role, Stage, short_id
from gradbook.stats.power import MOST_LOOKS
from gradbook.studies.arms import Arm
from gradbook.studies.counting import step_calls, trial_calls
from gradbook.studies.design import Place
from gradbook.studies.questions import outlooks
from gradbook.tasks import Task

if TYPE_CHECKING:
    from gradbook.studies.study import Study
    from gradbook.studies.trial import Result

FOLDER = "dry-run"
_ANY = "any"
_ASSUMED = 0.05  # between trials of an arm, where none are known
_FEW = 3  # examples of the validation split that candidates of a dry run are scored on


@dataclass(frozen=True)
class Price:
    """The mean call of a stage: tokens of prompt and reply, money, and seconds that it took and that passed while it did."""

    prompt_tokens: float
    completion_tokens: float
    cost: float | None
    seconds: float


@dataclass(frozen=True)
class StudyPlan:
    """What a study will cost in all, trials that are done included.

    Args:
        rows: one a cell: task, model, arm, trials, done, batches (of a trial), calls, tokens, cost and minutes (of all its trials).
        shared: calls that are made once for all arms of a trial number, and are in each of their rows.
        total, left: calls, tokens, cost and minutes of the whole study, without what is shared, and of the trials that are not done.
        power: one row a hypothesis, task and model: trials of its arms, their `spread` (standard deviation), the least difference
            `detectable` at a power of 0.8, the power for `size`, and the trials an arm to show that, or equivalence where nothing is there.
        assumed: whether a spread was assumed, since no arm has two finished trials.

    Tokens are those of trials that are done, or else of first steps: a prompt that grows makes later ones larger. Calls are the most that
    there may be.
    """

    rows: pd.DataFrame
    shared: int
    total: dict[str, Any]
    left: dict[str, Any]
    power: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
    assumed: bool = False

    def __str__(self) -> str:
        shown = self.rows.to_string(
            index=False, formatters=dict.fromkeys(("calls", "tokens"), "{:,.0f}".format), float_format="{:,.2f}".format
        )
        return "\n".join([shown, "", *self.lines, "", *map(" ".join, self.shows)])

    __repr__ = __str__

    @property
    def lines(self) -> list[str]:
        """The sums, in sentences."""
        shared = f"{self.shared:,} calls are the same in several arms; they are made once, and the sums have them once."
        return [f"In all: {_said(self.total)}.", f"Not done yet: {_said(self.left)}.", *[shared] * bool(self.shared)]

    @property
    def shows(self) -> list[tuple[str, str]]:
        """What the trials can show, a hypothesis each: its name with the arms, and a sentence."""
        several = [name for name in ("task", "model") if self.rows[name].nunique() > 1]
        where = ["".join(f", {row[name]}" for name in several) for _, row in self.power.iterrows()]
        rows = zip(self.power.itertuples(), where, strict=True)
        return [(f"{row.property} ({row.arms}){at}:", _shows(row, self.assumed)) for row, at in rows]

    def _repr_html_(self) -> str:
        from gradbook import page  # templates are loaded where something is shown

        return str(page.render("plan", plan=self))


def _said(sums: Mapping[str, Any]) -> str:
    money = "" if sums["cost"] is None else f", cost {sums['cost']:,.2f}"
    minutes = sums["minutes"]
    time = f"{minutes / 60:,.1f} hours" if minutes >= 100 else f"{minutes:,.1f} minutes"
    return f"{sums['calls']:,.0f} calls at most, about {sums['tokens']:,.0f} tokens{money}, {time}"


def _shows(row: Any, assumed: bool) -> str:
    if pd.isna(row.power):
        return f"{row.trials} trials; to compare takes two an arm."
    least = f"a difference of {100 * row.detectable:.1f} points" if math.isfinite(row.detectable) else "no difference, however large,"
    spread = (
        f"if trials of an arm differ by {100 * row.spread:.0f} points" if assumed else f"with {100 * row.spread:.1f} points between trials"
    )
    show = f"{row.to_show:.0f} trials an arm" if row.to_show == row.to_show else f"more than {MOST_LOOKS} trials an arm"
    exclude = f"{row.to_exclude:.0f}" if row.to_exclude == row.to_exclude else f"more than {MOST_LOOKS}"
    told = f"{row.trials} trials show {least} in four cases of five, {spread}"
    return f"{told}; {100 * row.size:.0f} points take {show}, equivalence {exclude}."


def power(study: "Study") -> tuple[pd.DataFrame, bool]:
    """What the trials can show, a row a hypothesis, task and model; and whether a spread had to be assumed."""
    table, rows = study.trials(), list[dict[str, Any]]()
    spreads = table.groupby(["task", "model", "arm"])["test"].std()
    for task, model in ((task, model) for task in study.design.tasks for model in study.design.models):
        known = {arm: float(spreads.get((task, model, arm), math.nan)) for arm in study.design.arms}
        rows += [{"task": task, "model": model, **row} for row in outlooks(study.registered, known, _ASSUMED)]
    return pd.DataFrame(rows), bool(spreads.isna().all())


async def plan(study: "Study", at_once: int) -> StudyPlan:
    """The plan of a study; makes the calls of its dry run where they are not on record.

    Args:
        study: whose models are at hand.
        at_once: how many trials will run at the same time.
    """
    design, results = study.design, study.store.results()
    rows, shared = list[dict[str, Any]](), dict[str, float]()
    for task_name, model_name in ((t, m) for t in design.tasks for m in design.models):
        task, specs = design.tasks[task_name], design.models[model_name]
        here = (p for p in results if p[:2] == (task_name, model_name) and _is_here(study, p, results[p]))
        ended = {place: results[place] for place in first_of_each(here)}
        prices, parallel = await dry_run(study, task_name, model_name, ended)
        ours = {name: arm.trials or 0 for name, arm in design.arms.items()}
        for name, arm in design.arms.items():
            length, trials = trial_calls(arm, task), ours[name]
            done = sum((r := results.get(Place(task_name, model_name, name, n))) is not None and r.status == "done" for n in range(trials))
            priced = functools.partial(_priced, prices=prices, update=arm.method.update)
            one = priced(length.training + length.scoring + length.seed)
            width = parallel or specs["task"].concurrency
            turns: Calls = Counter({stage: math.ceil(count / width) for stage, count in step_calls(arm.method, task, 2).items()})
            path = priced(times(turns, length.batches) + Calls({"predict": math.ceil(length.scoring.total() / width)}))["seconds"]
            minutes = max(one["seconds"] * trials / width, path * -(-trials // at_once)) / 60
            sums = {key: None if one[key] is None else one[key] * trials for key in ("calls", "tokens", "cost")}
            cell = {"task": task_name, "model": model_name, "arm": name, "trials": trials, "done": done, "batches": length.batches}
            rows.append(
                cell | sums | {"minutes": minutes, "_work": one["seconds"] * trials / width / 60, "_path": path * trials / at_once / 60}
            )
        if all(spec.cache for spec in specs.values()):  # an arm has the scores of the seed prompt from the trial of another
            again = sum(ours.values()) - max(ours.values())
            once = _priced(Calls({"predict": again * len(task.test)}), prices, "")
            once["minutes"] = once["seconds"] / (parallel or specs["task"].concurrency) / 60
            shared = {key: shared.get(key, 0.0) + (value or 0.0) for key, value in once.items()}
    frame = pd.DataFrame(rows)
    left = 1 - frame["done"] / frame["trials"]
    total, remaining = _sums(frame, left * 0 + 1, shared), _sums(frame, left, {key: value * left.mean() for key, value in shared.items()})
    return StudyPlan(frame.drop(columns=["_work", "_path"]), round(shared.get("calls", 0)), total, remaining, *power(study))


def _sums(frame: pd.DataFrame, part: Any, shared: Mapping[str, float]) -> dict[str, Any]:
    cost = None if frame["cost"].isna().any() else float((frame["cost"] * part).sum()) - shared.get("cost", 0.0)
    work = float((frame["_work"] * part).sum()) - shared.get("minutes", 0.0)
    amounts = {key: float((frame[key] * part).sum()) - shared.get(key, 0.0) for key in ("calls", "tokens")}
    return amounts | {"cost": cost, "minutes": max(work, float((frame["_path"] * part).sum()))}


def _kind(stage: Stage | str, update: str) -> str:
    """What calls of a stage are priced as: rewrites differ with what they are told."""
    return f"{stage} {update}" if stage == "rewrite" else stage


def _priced(calls: Calls, prices: Mapping[str, Price], update: str) -> dict[str, Any]:
    known = prices[_ANY]  # a first step in which nothing was wrong has no critiques
    pairs = [(count, prices.get(_kind(stage, update), known)) for stage, count in calls.items() if count]
    costs = [None if price.cost is None else count * price.cost for count, price in pairs]
    return {
        "calls": sum(count for count, _ in pairs),
        "tokens": sum(count * (price.prompt_tokens + price.completion_tokens) for count, price in pairs),
        "cost": None if None in costs else sum(cost for cost in costs if cost is not None),
        "seconds": sum(count * price.seconds for count, price in pairs),
    }


def first_of_each(done: Iterable[Place]) -> list[Place]:
    """The first trial of each arm."""
    return [next(trials) for _, trials in itertools.groupby(sorted(done), key=lambda place: place.arm)]


def _is_here(study: "Study", place: Place, result: "Result") -> bool:
    """Whether a trial is done and its case is there, which takes room and may have been left out."""
    return result.status == "done" and (study.path / study.design.folder(place) / NAME).exists()


async def dry_run(study: "Study", task_name: str, model_name: str, done: Mapping[Place, "Result"]) -> tuple[dict[str, Price], float | None]:
    """The mean calls of every stage that the arms need, and how many a local model answers at a time (None: as many as are asked).

    They are of the trials that are `done`, and for stages of which none is, the first steps of as few arms as have them, with a few
    validation examples. Those are kept as ordinary cases in the study's folder; trial 0 makes the same calls, and finds them in the cache.
    """
    path, design = study.path, study.design
    task, embedded = design.tasks[task_name], design.models[model_name]["task"].kind == "embedded"
    few = replace(task, validation=task.validation[:_FEW], test=task.test[:1])
    lacking = {_kind(stage, arm.method.update) for arm in design.arms.values() for stage in _stages(arm, task)}
    seen = [await asyncio.to_thread(Recording, path / design.folder(place), task) for place in done]
    dry: list[Recording] = []
    lacking -= {_kind(stage, design.arms[place.arm].method.update) for place in done for stage in _stages(design.arms[place.arm], task)}
    for arm in sorted(design.arms.values(), key=lambda arm: -len(_stages(arm, task))):
        kinds = {_kind(stage, arm.method.update) for stage in _stages(arm, task)}
        if not kinds & lacking:
            continue
        folder = path / FOLDER / short_id(task_name, model_name, arm.method.model_dump(exclude_defaults=True))[:8]
        models = await asyncio.to_thread(study.models_of, model_name)  # which may have to be fetched, and are not where nothing is lacking
        case = await _dry_step(folder, few, arm, design.seed_of(0), models)
        dry.append(case)
        lacking -= kinds
    trials = sum(result.seconds for result in done.values()) / study.at_once  # which ran beside each other
    wall = trials or sum(case.seconds(step) for case in dry for step in case)
    return _means([*seen, *dry]), _parallel(seen or dry, wall) if embedded else None


def _stages(arm: Arm, task: Task) -> set[Stage]:
    return {"predict", *step_calls(arm.method, task, 1)}


async def _dry_step(folder: Path, task: Task, arm: Arm, seed: int, models: Mapping[Role, Model]) -> Recording:
    if (
        (folder / "journal.jsonl").exists()
        and (known := await asyncio.to_thread(Recording, folder, task)).current.depth
        and known.current.done
    ):
        return known
    roles: dict[str, Any] = {"model": models["task"], "critic": models["critic"], "optimizer": models["optimizer"]}
    case = await background.opened(functools.partial(Case, folder, task=task, method=arm.method, seed=seed, title="A dry run", **roles))
    try:
        await background.here(case.arun(batches=1))
        await case.ascore(0, "test")
    finally:
        case.close()
    return case


def _means(cases: list[Recording]) -> dict[str, Price]:
    found: dict[str, list[Any]] = {_ANY: []}
    for case in cases:
        for row in case.calls().itertuples():
            stage = row[1].split("/")[2 if row[1].startswith("step/") else 3]
            stage = "evaluate" if (stage, row.role) == ("predict", "critic") else stage  # a critic's answers on a split are its verdicts
            for kind in (_kind(stage, case.method.update), _ANY):
                found.setdefault(kind, []).append(row)
    return {kind: _mean(pd.DataFrame(rows)) for kind, rows in found.items()}


def _mean(calls: pd.DataFrame) -> Price:
    known = calls[["prompt_tokens", "completion_tokens"]].astype(float).mean().fillna(0.0)
    cost = calls["cost"].astype(float).mean()
    return Price(known["prompt_tokens"], known["completion_tokens"], None if pd.isna(cost) else float(cost), float(calls["seconds"].mean()))


def _parallel(cases: list[Recording], wall: float) -> float:
    """How many calls were answered at a time, on the mean: where a machine computes them, asking for more at once makes each slower."""
    calls = pd.concat([case.calls() for case in cases])
    paid = float(calls["seconds"][calls["paid"]].sum())  # what was in the cache waited for nobody
    return max(1.0, paid / wall) if wall and paid else float(SLOTS)
