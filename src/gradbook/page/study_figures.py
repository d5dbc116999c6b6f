"""What is drawn of a study: its arms, their training, numbers of candidates against accuracy, and p by comparison; each as a chart."""

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from gradbook import stats
from gradbook.page import charts
from gradbook.page.charts import Axis, Chart, Form, Panel, Series
from gradbook.page.svg import COLOURS, line, svg, tag, text

if TYPE_CHECKING:
    from gradbook.studies import Result, Study
    from gradbook.studies.verdicts import Judged
    from gradbook.tell.study import VerdictView

KINDS = ("arms", "training", "candidates", "p")
VERDICTS: dict[str, tuple[str, Form]] = {"holds": ("good", "dot"), "does not hold": ("bad", "diamond"), "cannot tell": ("before", "ring")}
"""Colour and form of each verdict."""
_WIDE = 230


def chart(study: "Study", kind: str, judged: "Sequence[Judged] | None" = None) -> Chart:
    """The chart of a kind, one of KINDS; `judged` where that is known already."""
    if kind in ("arms", "training"):
        return arms(study) if kind == "arms" else training(study)
    judged = study.judged() if judged is None else judged
    return candidates(study, judged) if kind == "candidates" else p(study, judged)


def arms(study: "Study", notes: Sequence[str] = (), empty: bool = False) -> Chart:
    """What the trials of each arm ended with on the test split, and the seed prompt there, a panel for each task and model.

    Args:
        study: what is drawn.
        notes: words beside the rows, of all panels in turn.
        empty: whether arms are shown before any trial is done.
    """
    places = list(cells(study))
    found = {cell: {arm: _ends(study, (*cell, arm)) for arm in study.design.arms} for cell, _ in places}
    seeds = {cell: _seeds(study, cell) for cell, _ in places}
    title, names, panels = "Accuracy on the test split by arm", tuple(map(_flat, study.design.arms)), []
    if not empty and not any(ends for by_arm in found.values() for ends in by_arm.values()):
        return Chart(title, (), Axis("", 0, 1), Axis("", 0, 1))
    for n, (cell, where) in enumerate(places):
        series = (*_arms(found[cell]), *_seed(seeds[cell], len(names)))
        panels.append(Panel(where, series, names, tuple(notes[n * len(names) : (n + 1) * len(names)])))
    drawn = [each for panel in panels for each in panel.series]
    edges = [edge for each in drawn for span in each.spans for edge in span if not math.isnan(edge)]
    axis = Axis("accuracy on the test split", *_range([x for each in drawn for x, _ in each.points] + edges))
    return Chart(title, tuple(panels), axis, Axis("", 0, 1))


def _arms(found: dict[str, list[tuple[int, float]]]) -> Iterator[Series]:
    points, told, means, spans, said = [], [], [], [], []
    for row, (arm, ends) in enumerate(found.items()):
        for k, (trial, value) in enumerate(ends):
            same = sum(other == value for _, other in ends[:k])  # what came out alike stands above and below each other
            points.append((value, row - 0.12 + min((same + 1) // 2 * 0.11, 0.22) * (-1) ** same))
            told.append(f"{arm}, trial {trial}: {value:.1%}")
        if ends:
            shares = [value for _, value in ends]
            low, high = stats.mean_interval(shares)
            means.append((fmean(shares), row + 0.32))
            spans.append((low, high) if math.isnan(low) else (max(low, 0.0), min(high, 1.0)))
            said.append(f"{arm}, mean of {len(shares)}: {fmean(shares):.1%}" + ("" if math.isnan(low) else f" ({low:.1%} to {high:.1%})"))
    yield Series("a trial", "before", "ring", tuple(points), tuple(told))
    yield Series("mean with its 95 % interval", "after", "diamond", tuple(means), tuple(said), tuple(spans))


def _seed(value: float | None, rows: int) -> Iterator[Series]:
    if value is not None:
        yield Series("seed prompt", "rerun", "dash", ((value, -0.5), (value, rows - 0.5)))


def training(study: "Study") -> Chart:
    """The share of each minibatch that was right, and accuracy on validation where it was scored, over the batches, a panel an arm."""
    panels, deepest = [], 1
    for cell, where in cells(study):
        for arm in study.design.arms:
            trials = [result for result in _done(study) if result.place[:3] == (*cell, arm) and result.points]
            if not trials:
                continue
            deepest = max(deepest, *(point.batch for result in trials for point in result.points))
            series: list[Series] = []
            for name, kind in (("right", "before"), ("validation", "after")):
                label = {"right": "of the minibatch", "validation": "on validation"}[name]
                lines = [
                    [(float(point.batch), float(y)) for point in result.points if (y := getattr(point, name)) is not None]
                    for result in trials
                ]
                if any(lines):
                    series.append(Series(f"a trial, {label}", kind, "thin", tuple(_broken(lines))))
                    series.append(Series(f"mean, {label}", kind, "line", tuple(_means(lines))))
            if series:  # an update that sees no data has no minibatches
                panels.append(Panel(" · ".join(filter(None, [arm, where])), tuple(series)))
    return Chart("Training", tuple(panels), Axis("batches", 1, max(2, deepest), "count"), Axis("right", 0, 1))


def candidates(study: "Study", judged: "Sequence[Judged]") -> Chart:
    """What trials ended with over how many candidates there were to choose from, with the trend and Kendall's τ."""
    panels, values, doses = [], list[float](), list[float]()
    for one in judged:
        found, h = one.found, one.found.hypothesis
        if not h.doses:
            continue
        points, told = [], []
        for arm, dose in zip(h.arms, h.doses, strict=True):
            for trial, value in _ends(study, (one.task, one.model, arm)):
                points.append((dose, value))
                told.append(f"{arm}, trial {trial}: {value:.1%}")
        if not points:
            continue
        values += [value for _, value in points]
        doses += h.doses
        tau = "" if math.isnan(found.tau) else f" · τ = {found.tau:+.2f}, p = {found.p:.2g}".replace("-", "−")
        where = _where(study, one.task, one.model)
        series = (Series("a trial", "before", "ring", tuple(points), tuple(told)), Series("trend", "after", "line", tuple(_trend(points))))
        panels.append(Panel(f"{h.name}{f' · {where}' if where else ''}{tau}", series))
    wide = 0.04 * (max(doses, default=1) - min(doses, default=0)) or 1.0
    varied = len({arm.method.candidates for arm in study.design.arms.values()}) > 1
    axis = Axis("candidates" if varied else "dose", min(doses, default=0) - wide, max(doses, default=1) + wide, "count")
    nothing = "No trend over numbers of candidates is asked for, or none of its trials is done."
    return Chart("Candidates against accuracy on the test split", tuple(panels), axis, Axis("", *_range(values)), nothing)


def p(study: "Study", judged: "Sequence[Judged]") -> Chart:
    """The corrected p of each comparison on a logarithmic scale, with alpha; the form of a mark says the verdict."""
    alpha = study.registered.alpha
    panels, least = [], alpha
    for cell, where in cells(study):
        found = [one.found for one in judged if (one.task, one.model) == cell and not math.isnan(one.found.corrected)]
        if not found:
            continue
        least = min([least, *(each.corrected for each in found), *(each.corrected_against for each in found)])
        rows = tuple(f"{_flat(each.hypothesis.name)}\n{_compared(each)}" for each in found)
        series = [
            Series(
                word,
                kind,
                form,
                tuple((each.corrected, float(row)) for row, each in enumerate(found) if each.verdict == word),
                tuple(
                    f"{_flat(name)}: corrected p = {each.corrected:.2g}"
                    for name, each in zip(rows, found, strict=True)
                    if each.verdict == word
                ),
            )
            for word, (kind, form) in VERDICTS.items()
        ]
        said = tuple(
            f"{_flat(name)}: corrected p against it = {each.corrected_against:.2g}" for name, each in zip(rows, found, strict=True)
        )
        against = Series("p against it", "rerun", "cross", tuple((each.corrected_against, float(n)) for n, each in enumerate(found)), said)
        limit = Series(f"alpha = {alpha:g}", "after", "dash", ((alpha, -0.5), (alpha, len(rows) - 0.5)))
        panels.append(Panel(where, (limit, against, *series), rows))
    axis = Axis("corrected p", 10.0 ** math.floor(math.log10(max(least, 1e-5)) - 1e-9), 1.25, "p")
    return Chart("p by comparison", tuple(panels), axis, Axis("", 0, 1), "Nothing can be compared so far.")


def interval(row: "VerdictView", reach: float) -> Markup:
    """An effect in points about zero with its interval, the margin as a band; the form of its mark says the verdict."""
    if math.isnan(row.value):
        return Markup("")
    kind, form = VERDICTS[row.verdict]

    def x(share: float) -> float:
        return 8 + (min(max(share / reach, -1.0), 1.0) + 1) / 2 * (_WIDE - 16)

    band = {"class_": "gb-band", "fill": COLOURS["band"], "fill_opacity": 0.18}
    parts = [tag("rect", x=x(-row.margin), y=1.0, width=x(row.margin) - x(-row.margin), height=22.0, **band)]
    parts += [line(x(at), 1, x(at), 23, "rule") for at in (-reach, 0.0, reach)]
    parts += [
        text(x(at), 35, f"{100 * at:+.0f}".replace("-", "−") if at else "0", who)
        for at, who in ((-reach, "start"), (0.0, "middle"), (reach, "end"))
    ]
    parts.append(line(x(row.low), 12, x(row.high), 12, kind, 2.0, None if math.isfinite(row.low) and math.isfinite(row.high) else 0.35))
    sign = Series("", kind, form, ())
    parts.append(charts.sign(x(row.value), 12, sign, row.effect.text))
    return svg(_WIDE, 39, f"{row.name}: {row.effect.text}, {row.effect.interval}; margin {100 * row.margin:g} points", parts)


# --- what is drawn -----------------------------------------------------------------------------------------------------------


def cells(study: "Study") -> Iterator[tuple[tuple[str, str], str]]:
    """Each task and model, with the words that tell it from the others."""
    for task in study.design.tasks:
        for model in study.design.models:
            yield (task, model), _where(study, task, model)


def _where(study: "Study", task: str, model: str) -> str:
    several = len(study.design.tasks) > 1, len(study.design.models) > 1
    return " · ".join(name for name, told in zip((task, model), several, strict=True) if told)


def _compared(found: Any) -> str:
    return _flat((" < " if found.hypothesis.doses else " − ").join(found.hypothesis.arms))


def _flat(name: str) -> str:
    return " ".join(name.split())


def _done(study: "Study") -> "list[Result]":
    return [result for result in study.store.results().values() if result.status == "done"]


def _ends(study: "Study", cell: tuple[str, str, str]) -> list[tuple[int, float]]:
    """The trials of a cell that are done: number and accuracy on the test split."""
    return sorted((result.trial, result.answers["end test"].accuracy) for result in _done(study) if result.place[:3] == cell)


def _seeds(study: "Study", cell: tuple[str, str]) -> float | None:
    shares = [result.answers["seed test"].accuracy for result in _done(study) if result.place[:2] == cell]
    return fmean(shares) if shares else None


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    more = max(0.06, 0.1 - (high - low) / 2)
    return max(0.0, low - more), min(1.0, high + more)


def _broken(lines: Iterable[list[tuple[float, float]]]) -> Iterator[tuple[float, float]]:
    """Several lines as one with gaps."""
    for each in lines:
        yield from each
        yield (math.nan, math.nan)


def _means(lines: Iterable[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    found: dict[float, list[float]] = {}
    for each in lines:
        for x, y in each:
            found.setdefault(x, []).append(y)
    return [(x, fmean(found[x])) for x in sorted(found)]


def _trend(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The least squares line through points, from the first to the last."""
    x, y = fmean(at for at, _ in points), fmean(value for _, value in points)
    spread = sum((at - x) ** 2 for at, _ in points)
    slope = sum((at - x) * (value - y) for at, value in points) / spread if spread else 0.0
    return [(at, y + slope * (at - x)) for at in (min(points)[0], max(points)[0])]
