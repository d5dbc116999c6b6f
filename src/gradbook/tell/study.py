"""A study as frozen views: its verdicts, what was registered and changed since, its arms and their trials, and a paragraph for a paper."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING, Any, Literal

from gradbook import stats
from gradbook.costs import duration
from gradbook.stats import PropertyVerdict, points
from gradbook.tables import method_line
from gradbook.tell.findings.views import GridView
from gradbook.tell.overviews import Figure
from gradbook.tell.study_methods import length, paragraph
from gradbook.tell.words import NOTHING, count

if TYPE_CHECKING:
    from gradbook.studies import Study
    from gradbook.studies.verdicts import Judged

_SIGNS: dict[PropertyVerdict, str] = {"holds": "●", "does not hold": "◆", "cannot tell": "○"}


@dataclass(frozen=True)
class VerdictView:
    """A property with its verdict; `arms` are the names with the ids of their trials' tables, joined by `sign`.

    `value`, `low`, `high` and `margin` are for a picture, nan where there are none; `trials` (task, model, arm, number) are its ground.
    """

    id: str
    where: str
    name: str
    expects: str
    arms: tuple[tuple[str, str], ...]
    sign: str
    n: str
    effect: Figure
    p: str
    corrected: str
    power: str
    verdict: PropertyVerdict
    shape: str
    reason: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    margin: float = math.nan
    trials: tuple[tuple[str, str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TrialView:
    """A trial of an arm: what it ended with on the test split, what it asked for, how it failed; `folder` is its case below the study's."""

    place: tuple[str, str, str, int]
    number: int
    status: Literal["done", "failed", "waiting"]
    folder: str
    test: str = NOTHING
    validation: str = NOTHING
    batches: str = NOTHING
    calls: str = NOTHING
    tokens: str = NOTHING
    cost: str = NOTHING
    seconds: str = NOTHING
    error: str = ""


@dataclass(frozen=True)
class ArmView:
    """An arm on a task and model: its method and length in words, its trials, their mean with its interval, the accuracy of the seed."""

    id: str
    where: str
    name: str
    about: str
    counts: str
    mean: Figure
    seed: str
    trials: tuple[TrialView, ...]


@dataclass(frozen=True)
class StudyView:
    """A study from top to bottom; `counts` says how many of each verdict there are, `changes` what is not as it was registered."""

    title: str
    about: str
    progress: str
    counts: str
    verdicts: tuple[VerdictView, ...]
    registered: tuple[tuple[str, str], ...]
    hypotheses: GridView
    changes: tuple[str, ...]
    optimism: GridView | None
    arms: tuple[ArmView, ...]
    methods: str
    versions: str

    @property
    def begun(self) -> bool:
        """Whether anything can be said of a property so far."""
        return any(row.verdict != "cannot tell" or not math.isnan(row.value) for row in self.verdicts)

    @property
    def reach(self) -> float:
        """How far from zero the pictures of effects go, a share."""
        edges = [abs(edge) for row in self.verdicts for edge in (row.value, row.low, row.high, 2 * row.margin) if abs(edge) <= 1]
        return max(0.1, math.ceil(max(edges, default=0.1) * 10 - 1e-9) / 10)


def study(shown: "Study", judged: "Sequence[Judged] | None" = None) -> StudyView:
    """A study as its page tells it; `judged` where it is known already."""
    ids = {cell: f"arm-{n}" for n, cell in enumerate(shown.design.cells(), start=1)}
    verdicts = tuple(_verdicts(shown, shown.judged() if judged is None else judged, ids))
    said = [(sum(row.verdict == word for row in verdicts), word) for word in _SIGNS]
    design = shown.design
    sizes = [count(len(getattr(design, what)), what[:-1]) for what in ("tasks", "models", "arms")]
    return StudyView(
        title=shown.path.name,
        about=f"{', '.join(sizes)}, {count(len(design.places()), 'trial')}: {', '.join(design.tasks)}; {', '.join(design.models)}.",
        progress=progress(shown),
        counts=", ".join(f"{number} {_counted(word, number)}" for number, word in said if number),
        verdicts=verdicts,
        registered=tuple(_registered(shown)),
        hypotheses=_hypotheses(shown),
        changes=shown.changes(),
        optimism=_optimism(shown),
        arms=tuple(_arms(shown, ids)),
        methods=paragraph(shown),
        versions=", ".join([*(f"{name} {version(name)}" for name in ("gradbook", "scipy", "pandas")), f"Python {python_version()}"]),
    )


def _counted(word: str, number: int) -> str:
    one, several = {"holds": ("holds", "hold"), "does not hold": ("does not hold", "do not hold")}.get(word, ("cannot be told",) * 2)
    return one if number == 1 else several


def progress(shown: "Study") -> str:
    """How far the trials are, with the time that is left if they ran one by one."""
    rows = shown.progress()
    total, done, failed = (int(rows[name].sum()) for name in ("trials", "done", "failed"))
    told = [f"{done:,} of {count(total, 'trial')} done", *[f"{failed:,} failed"] * (failed > 0)]
    known = rows["left"].notna()
    if done < total and known.any():
        left = float(rows["left"].sum()) * len(rows) / known.sum()  # arms of which nothing is known are taken for like the others
        told.append(f"about {duration(left)} left, one trial after the other")
    return ", ".join(told)


# --- verdicts --------------------------------------------------------------------------------------------------------------


def where_of(shown: "Study", task: str, model: str) -> str:
    """What tells a task and model from the others of a study."""
    several = len(shown.design.tasks) > 1, len(shown.design.models) > 1
    return " · ".join(name for name, told in zip((task, model), several, strict=True) if told)


def _verdicts(shown: "Study", judged: "Sequence[Judged]", ids: dict[Any, str]) -> Iterator[VerdictView]:
    number = 0
    for number, one in enumerate(judged, start=1):
        h, found = one.found.hypothesis, one.found
        arms = tuple((name, ids[one.task, one.model, arm]) for name, arm in zip(h.arms, one.arms, strict=True))
        yield VerdictView(
            id=f"verdict-{number}",
            where=where_of(shown, one.task, one.model),
            name=h.name,
            expects=h.expects,
            arms=arms,
            sign=" < " if h.doses else " − ",
            n=", ".join(map(str, found.trials)),
            effect=_effect(found.effect, found.low, found.high),
            p=_p(found.p),
            corrected=_p(found.corrected),
            power=NOTHING if found.outlook is None or math.isnan(found.outlook.power) else f"{found.outlook.power:.0%}",
            verdict=found.verdict,
            shape=_SIGNS[found.verdict],
            reason=found.reason,
            value=found.effect,
            low=found.low,
            high=found.high,
            margin=h.margin,
            trials=tuple((*place,) for place in one.trials),
        )
    for n, row in enumerate(shown.probed(), start=number + 1):
        arms = ((row["arms"], ids[row["task"], row["model"], row["arms"]]),)
        told = (row["property"], "", arms, "", row["n"], Figure(NOTHING), NOTHING, NOTHING, NOTHING, row["verdict"])
        yield VerdictView(f"verdict-{n}", where_of(shown, row["task"], row["model"]), *told, _SIGNS[row["verdict"]], row["reason"])


def _effect(value: float, low: float, high: float) -> Figure:
    if math.isnan(value):
        return Figure(NOTHING)
    return Figure(
        f"{points(value)} points", f"{points(low)} to {points(high)}" if math.isfinite(low + high) else "no interval: too few trials"
    )


def _p(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.2g}"


# --- registered, changed ------------------------------------------------------------------------------------------------------


def _registered(shown: "Study") -> Iterator[tuple[str, str]]:
    said, first = shown.registered, shown.design.registered[0]
    yield (
        "Registered",
        f"{first.id} at {first.time}, before the first call" + (f"; now {said.id}, at {said.time}" if said.id != first.id else ""),
    )
    yield "Alpha", f"{said.alpha:g} in each family, on each task and model for itself"
    yield "Correction", {"holm": "Holm’s, within families", "bonferroni": "Bonferroni’s, within families"}[said.correction]
    yield "Looks", "after every trial; alpha is kept over all looks together" if said.looks else "one, when the trials are done"
    yield "Trials", ", ".join(f"{number} of {arm}" for arm, number in said.trials.items())
    under = [result.registered for result in shown.store.results().values()]
    if others := sum(id != said.id for id in under):
        yield "Results", f"{others} of {count(len(under), 'trial')} were run under another registration than the one that holds now"


def _hypotheses(shown: "Study") -> GridView:
    hypotheses = shown.registered.hypotheses
    heads = ("Property", "Family", "Comparison", "Direction", "Margin", "What is seen if it holds")
    rows = [
        (h.name, h.family, (" < " if h.doses else " − ").join(h.arms), h.direction, f"{100 * h.margin:g} points", h.expects)
        for h in hypotheses
    ]
    return GridView(count(len(rows), "comparison"), heads, tuple(tuple(map(Figure, row)) for row in rows))


def _optimism(shown: "Study") -> GridView | None:
    rows = shown.optimism().to_dict("records")
    told = [
        (
            " · ".join(filter(None, [where_of(shown, row["task"], row["model"]), row["arm"]])),
            row,
            _effect(row["optimism"], row["low"], row["high"]),
        )
        for row in rows
    ]
    heads = ("Arm", "Trials", "Optimism", "p")
    made = tuple((Figure(name), Figure(str(row["trials"])), effect, Figure(_p(row["p"]))) for name, row, effect in told)
    about = "By how much the validation split flatters what it chose: the gain over the seed prompt there, less that on the test split."
    return GridView(about, heads, made) if made else None


# --- arms and trials -----------------------------------------------------------------------------------------------------------


def _arms(shown: "Study", ids: dict[Any, str]) -> Iterator[ArmView]:
    found = shown.store.results()
    by_cell: dict[Any, list[TrialView]] = {cell: [] for cell in ids}
    for place in sorted(shown.design.places()):
        by_cell[place[:3]].append(_trial(place, found.get(place), shown.design.folder(place)))
    for cell, trials in by_cell.items():
        arm = shown.design.arms[cell[2]]
        done = [found[trial.place] for trial in trials if trial.status == "done"]  # type: ignore[index]
        ends = [result.answers["end test"].accuracy for result in done]
        seeds = [result.answers["seed test"].accuracy for result in done]
        low, high = stats.mean_interval(ends)
        failed = sum(trial.status == "failed" for trial in trials)
        yield ArmView(
            id=ids[cell],
            where=where_of(shown, *cell[:2]),
            name=cell[2],
            about=f"{method_line(arm.method)}; {length(arm)}",
            counts=f"{len(done)} of {count(len(trials), 'trial')} done" + (f", {failed} failed" if failed else ""),
            mean=Figure(f"{sum(ends) / len(ends):.1%}", "" if math.isnan(low) else f"{max(low, 0):.1%} to {min(high, 1):.1%}")
            if ends
            else Figure(NOTHING),
            seed=f"{sum(seeds) / len(seeds):.1%}" if seeds else NOTHING,
            trials=tuple(trials),
        )


def _trial(place: Any, result: Any, folder: str) -> TrialView:
    waits = TrialView(tuple(place), place.trial, "waiting", folder)
    if result is None or result.status == "failed":
        return waits if result is None else replace(waits, status="failed", error=result.error)
    test, validation = (
        f"{answered.accuracy:.1%}" if (answered := result.answers.get(f"end {split}")) else NOTHING for split in ("test", "validation")
    )
    return replace(
        waits,
        status="done",
        test=test,
        validation=validation,
        batches=str(max((point.batch for point in result.points), default=0)),
        calls=f"{result.calls:,} ({result.paid:,} paid)" if result.paid < result.calls else f"{result.calls:,}",
        tokens=f"{result.prompt_tokens + result.completion_tokens:,}",
        cost=NOTHING if result.cost is None else f"{result.cost:,.4f}",
        seconds=duration(result.seconds),
    )
