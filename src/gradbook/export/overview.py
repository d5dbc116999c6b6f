"""The overview: the tree of steps with its scores as a table and as a figure, and the training split epoch by epoch."""

import json
from base64 import b64encode
from typing import TYPE_CHECKING

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from gradbook.effects import str_share
from gradbook.export.html import details, first_line, fixed, table, text
from gradbook.export.scores import WIDTH, rerun_groups, score_figure, score_png, scored, scored_splits
from gradbook.export.steps import markdown
from gradbook.export.telling import count, methods_used, rerun_from, stage_name, what
from gradbook.metrics import Metrics
from gradbook.records import SplitName, Step
from gradbook.tables import method_line
from gradbook.tree import walk

if TYPE_CHECKING:
    from gradbook.recording import Recording

ROWS_SHOWN = 30
"""A longer table of steps is folded, behind one of the steps to look at first."""
_EPOCHS_SHOWN = 12
_DEEPEST = 8


def overview(case: "Recording") -> list[NotebookNode]:
    """The table of steps, the cell that opens the case, the figure, and training accuracy where it was tracked."""
    splits = scored_splits(case)
    folder = json.dumps(case.path.resolve().name, ensure_ascii=False)
    source = (
        f"import gradbook as gb\nfrom gradbook.export import score_figure\n\ncase = gb.Recording({folder})  # its folder, seen from here"
    )
    return [
        markdown("overview", "## Overview", "" if splits else "<p>No split has been scored so far.</p>", *_tables(case, splits)),
        new_code_cell(source, id="open"),
        *(_plot(case) if splits else []),
        *_training(case),
    ]


# --- the table of steps ------------------------------------------------------------------------------------------------


def _tables(case: "Recording", splits: list[SplitName]) -> list[str]:
    best = _best(case, splits)
    arms = len(methods_used(case)) > 1
    rows = {step.id: _rows(case, step, level, splits, best, arms) for level, step in walk(case)}
    noted = any(case.note(step).strip() for step in case)
    head = ["Step", "What", *(split.capitalize() for split in splits), *(["Note"] if noted else [])]
    rows = rows if noted else {id: [row[:-1] for row in of_step] for id, of_step in rows.items()}
    every = table(head, [row for of_step in rows.values() for row in of_step])
    if len(rows) <= ROWS_SHOWN:
        return [every]
    last = {step.variable: step.id for step in case if step.origin is None}
    shown = [step for step in case if step.id in rows and (step.id in last.values() or _landmark(case, step, best))]
    first = [row for step in shown for row in rows[step.id]]
    return [table(head, first), details(f"All {count(len(rows) - 1, 'step')}", every)]


def _landmark(case: "Recording", step: Step, best: dict[int, list[str]]) -> bool:
    """Whether a step is worth looking at first: the seed, the best, a branch, what is noted or under way."""
    return step.parent is None or step.id in best or step.origin is not None or bool(case.note(step).strip()) or not step.done


def _best(case: "Recording", splits: list[SplitName]) -> dict[int, list[str]]:
    """The splits on which a step's prompt is the best that is scored, by step, where several prompts are."""
    found: dict[int, list[str]] = {}
    for split in splits:
        shares = {
            s.id: m.accuracy.value
            for s in case
            if s.variable == "prompt" and not s.replicate_of is not None and (m := scored(case, s, split))
        }
        if len(set(shares.values())) > 1:
            found.setdefault(max(shares, key=lambda id: (shares[id], -id)), []).append(split)
    return found


def _rows(case: "Recording", step: Step, level: int, splits: list[SplitName], best: dict[int, list[str]], arms: bool) -> list[list[str]]:
    told = [what(case, step)]
    told += [text(method_line(case.method_of(step)))] if arms and step.parent is not None else []
    told += [f"<strong>not finished, next: {stage_name(step.next_stage)}</strong>"] if not step.done else []
    told += [f"<em>best on {' and '.join(best[step.id])}</em>"] if step.id in best else []
    scores = [_metrics(step, scored(case, step, split)) for split in splits]
    row = [_indented(level, f"{step.id}"), "<br>".join(told), *scores, first_line(case.note(step))]
    return [row, *_rerun_rows(case, step, level, splits)]


def _rerun_rows(case: "Recording", step: Step, level: int, splits: list[SplitName]) -> list[list[str]]:
    groups = {split: rerun_groups(case, step, split) for split in splits}
    rows = []
    for stage in dict.fromkeys(stage for group in groups.values() for stage in group):
        runs = max(len(groups[split].get(stage, ())) for split in splits)
        told = f"{count(runs, 'replicate')} of step {step.id}, {rerun_from(stage)}"
        spans = [_span(groups[split].get(stage, [])) for split in splits]
        rows.append([_indented(level + 1, ""), f"<em>{told}</em>", *spans, ""])
    return rows


def _metrics(step: Step, metrics: Metrics | None) -> str:
    """The scores of a step; those of a critic are named, since they are of another kind."""
    if metrics is None:
        return "–"
    critic = step.variable == "critic"
    balanced = [f"balanced {metrics.balanced:.1%}"] if metrics.recall else []
    others = map(fixed, [*balanced, f"{'unusable' if critic else 'unparsed'} {metrics.unparsed.count}"])
    share = fixed(str_share(metrics.accuracy))
    return "<br>".join([f"agreement {share}" if critic else f"<strong>{share}</strong>", *others])


def _span(values: list[float]) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    return fixed(f"{low:.1%}" if low == high else f"{low:.1%} to {high:.1%}")


def _indented(level: int, name: str) -> str:
    return fixed(f"{'&#8195;' * (min(level, _DEEPEST) - 1)}└ {name}") if level else name


# --- the tree ----------------------------------------------------------------------------------------------------------


# --- the figure and the training split ---------------------------------------------------------------------------------


def _plot(case: "Recording") -> list[NotebookNode]:
    cell = new_code_cell("score_figure(case)", id="plot")
    png, missing = score_png(score_figure(case))
    if png is None:
        return [cell, markdown("plot-missing", f"The plot is left out, since {missing}. The table above holds its numbers.")]
    critic = " Below, the agreement of the critic." if any(question.variable == "critic" for question in case.recorded_questions()) else ""
    alt = f"Accuracy of each step's prompt with its 95 % interval, a panel a split.{critic} The table above holds the numbers."
    data = {"image/png": b64encode(png).decode(), "text/plain": alt}
    cell.outputs = [new_output("display_data", data=data, metadata={"image/png": {"alt": alt, "width": WIDTH}})]
    return [cell]


def _training(case: "Recording") -> list[NotebookNode]:
    """Accuracy on the whole training split at the end of each epoch, where a method tracks it."""
    if not any(case.method_of(step).train_every for step in case):
        return []
    last = max(step.id for step in case if step.origin is None)
    tracked = case.training(last).to_dict("records")
    rows = [_epoch(case, row["step"], row["epoch"]) for row in tracked if float(row["epoch"]).is_integer()]
    head = ["Epoch", "Step", "Accuracy", "95 % interval", "Balanced", "Unparsed", "Characters", "Tokens"]
    head = head if case.task.labels else [name for name in head if name != "Balanced"]
    told = f"Accuracy on the whole training split, epoch by epoch, on the line of steps to step {last}"
    shown = table(head, rows)
    return [markdown("training", *([f"<p>{told}:</p>", shown] if len(rows) <= _EPOCHS_SHOWN else [details(told, shown)]))] if rows else []


def _epoch(case: "Recording", step: int, epoch: float) -> list[str]:
    metrics = case.metrics(step, "train")
    low, high = metrics.accuracy.interval
    balanced = [f"{metrics.balanced:.1%}"] if case.task.labels else []
    length = "–" if not metrics.length.total else f"{metrics.length.value:.1f}"
    shares = [f"<strong>{str_share(metrics.accuracy)}</strong>", f"{low:.1%} to {high:.1%}", *balanced, str(metrics.unparsed.count)]
    return [f"{epoch:g}", str(step), *shares, length, f"{metrics.tokens.value:.1f}"]
