"""What a change did to the score: two steps side by side."""

from collections.abc import Iterator
from statistics import mean
from typing import TYPE_CHECKING, Any

from gradbook.errors import ComparisonError
from gradbook.metrics import UNPARSED, Metrics
from gradbook.records import SplitName, Stage, Step
from gradbook.tell import names
from gradbook.tell.overviews import DrawnView, EffectView, Figure, FlipView, MetricsView, PairRow, PairView
from gradbook.tell.step import step as tell_step
from gradbook.tell.views import Mark, StepView, Words
from gradbook.tell.words import count, interval, mean_figure, rerun_from, share_figure, sides

if TYPE_CHECKING:
    from gradbook.effects import Arm, Effect
    from gradbook.recording import Recording

_SIGNS: dict[str, tuple[str, bool | None]] = {
    "helps": ("✓", True),
    "harms": ("✗", False),
    "equivalent": ("=", None),
    "undecided": ("?", None),
}
_MARKS = {
    "fixed": Mark("✓ fixed", True),
    "broken": Mark("✗ broken", False),
    "still right": Mark("✓ still right"),
    "still wrong": Mark("✗ still wrong"),
}


def effect(rec: "Recording", before: int | None, after: int, split: SplitName, across_models: bool = False) -> EffectView:
    """A step beside another, as far as both are scored; alone where `before` is None. Arms of different models only `across_models`."""
    at = rec[after]
    title = f"Step {after}" if before is None else f"Step {before} → step {after}"
    told: dict[str, Any] = {"before": before, "after": after, "split": split, "title": title}
    if not at.done:
        return EffectView(**told | {"verdict": "The step has not run to its end yet."})
    if not rec.task.labelled:
        return EffectView(**told | {"verdict": "There are no labels, so no prompt is scored and no change is judged."})
    if before is None or before == after:
        return EffectView(**told | _alone(rec, at, split))
    try:
        found = rec.comparison(before, after, split, across_models=across_models)
    except ComparisonError as error:
        return EffectView(**told | {"verdict": str(error)})
    if found is None:
        missing = dict.fromkeys(step for step in (before, after) if rec.scored(step, split, variable=at.variable) is None)
        named = " and ".join(f"{'the critic of ' * (at.variable == 'critic')}step {step}" for step in missing)
        return EffectView(**told | {"verdict": f"Not yet scored on {split}: {named}."})
    return EffectView(**told | _measured(rec, found))


def _alone(rec: "Recording", at: Step, split: SplitName) -> dict[str, Any]:
    found = rec.metrics(at, split)
    name = "The seed prompt" if at.parent is None else f"Step {at.id}"
    if found is None:
        return {"verdict": f"{name} is not scored on {split}, and there is nothing to compare it with."}
    return {"verdict": f"{name} on {split}:", "metrics": metrics(found)}


def _measured(rec: "Recording", found: "Effect") -> dict[str, Any]:
    at = rec[found.after.step]
    unit = "verdict" if found.after.metrics.judged else "answer"
    about = ""
    if found.after.metrics.judged:
        about = f"The critic before and after, on the same outputs of step {at.parent}’s prompt: agreement with the gold answers."
    told = f"{count(len(found.flips), unit)} changed, of which {found.fixed} fixed and {found.broken} broken."
    drawn = tuple(_drawn(rec, found))
    moved = f"{count(len(drawn), 'example')} answered in another share of the draws" if drawn else "No example changed over the draws."
    price = found.price()
    return {
        "word": Mark(f"{_SIGNS[found.verdict][0]} {found.judged.word}", _SIGNS[found.verdict][1]) if found.verdict else None,
        "verdict": f"{found.same[:1].upper()}{found.same[1:]}." if found.same else found.judged.measured,
        "about": about,
        "floors": tuple(_floor(arm) for arm in (found.before, found.after)),
        "means": means(found),
        "drawn": drawn,
        "moved": moved if found.verdict else "",
        "more": " ".join(filter(None, [found.judged.outlook, f"{'That is' if found.verdict else ''} {price}.".strip() if price else ""])),
        "warnings": found.warnings,
        "ran": found.as_they_ran,
        "metrics": metrics(found.before.metrics, found.after.metrics),
        "flips": tuple(_flips(rec, at, found)),
        "flipped": told if found.flips else f"No {unit} changed.",
        "found": found,
    }


def means(found: "Effect") -> tuple[tuple[str, str, str], ...]:
    """What a verdict stands on: means over the draws of accuracy and of each class's recall, before and after; () without a verdict."""
    if not found.verdict:
        return ()
    before, after, ran = found.before, found.after, found.before.metrics
    rows = [(ran.name, f"{mean(before.floor):.1%}", f"{mean(after.floor):.1%}")]
    rows += [(f"recall of {label}", f"{before.recall(label):.1%}", f"{after.recall(label):.1%}") for label in ran.shown()[0]]
    return tuple(rows)


def _floor(arm: "Arm") -> str:
    if not arm.draws:
        return f"Step {arm.step} has no draws on this split."
    runs = ", ".join(f"{value:.1%}" for value in arm.floor)
    return f"Step {arm.step}, {count(len(arm.draws), 'draw')}, {rerun_from(arm.fresh_from)}: {runs}."


def _drawn(rec: "Recording", found: "Effect") -> Iterator[DrawnView]:
    draws = len(found.before.right), len(found.after.right)
    for name, before, after in found.shares:
        example = rec.task.example(name)
        was, now = (f"{round(share * n)} of {n}" for share, n in zip((before, after), draws, strict=True))
        mark = Mark("↑ right more often", True) if after > before else Mark("↓ right less often", False)
        yield DrawnView(name, example.input, example.target, was, now, mark)


def _flips(rec: "Recording", at: Step, found: "Effect") -> Iterator[FlipView]:
    scores = [rec.scored(step, found.split, variable=at.variable) for step in (found.before.step, found.after.step)]
    before, after = ({answer.example: answer for answer in score.answers} if score else {} for score in scores)
    for flip in found.flips:
        example, old, new = rec.task.example(flip.example), before[flip.example], after[flip.example]
        was, now = (answer.answer or answer.lost or "unparsed" for answer in (old, new))
        yield FlipView(flip.example, example.input, new.target or example.target, was, now, _MARKS[flip.kind])


# --- metrics -----------------------------------------------------------------------------------------------------------------


def metrics(before: Metrics, after: Metrics | None = None) -> MetricsView:
    """One set of metrics or two side by side, each number with its 95 % interval, and the confusion of the classes."""
    columns = [before] if after is None else [before, after]
    classes, others = before.shown()
    rows = [(before.name, tuple(share_figure(m.accuracy) for m in columns))]
    if before.recall:
        balanced = tuple(Figure(f"{m.balanced:.1%}", interval(*m.balanced_interval)) for m in columns)
        rows.append((f"balanced {before.name}", balanced))
    rows += [(f"recall of {label}", tuple(share_figure(m.recall[label]) for m in columns)) for label in classes]
    rows.append(("unusable" if before.judged else "unparsed", tuple(share_figure(m.unparsed) for m in columns)))
    for name, shares in (("cut off", [m.cut_off for m in columns]), ("no reply", [m.no_reply for m in columns])):
        rows += [(name, tuple(map(share_figure, shares)))] if any(share.count for share in shares) else []
    for name, means in (("characters", [m.length for m in columns]), ("tokens", [m.tokens for m in columns])):
        rows += [(name, tuple(map(mean_figure, means)))] if any(mean.total for mean in means) else []
    unread = any(UNPARSED in pair for m in columns for pair in m.confusion)
    answered = (*classes, *([UNPARSED] if unread else []))
    confusion = tuple((true, tuple(_confused(true, label, columns) for label in answered)) for true in classes)
    named = (*classes, *(["no answer"] if unread else []))
    return MetricsView(() if after is None else ("before", "after"), tuple(rows), named, confusion, others)


def _confused(true: str, answered: str, columns: list[Metrics]) -> Figure:
    shares = [m.confused(true, answered) for m in columns]
    tip = " → ".join(f"{low:.0%} to {high:.0%}" for low, high in (share.interval for share in shares if share.total))
    return Figure(" → ".join(str(share.count) for share in shares), f"{tip} of {true}" if tip else "")


# --- pinned --------------------------------------------------------------------------------------------------------------------

_PARTS: tuple[tuple[str, Stage], ...] = (
    ("Outputs", "predict"),
    ("Evaluations", "evaluate"),
    ("Output critiques", "output_critique"),
    ("Prompt critiques", "prompt_critique"),
)


def pair(rec: "Recording", left: int, right: int, split: SplitName) -> PairView:
    """Two steps pinned side by side: their prompts and critiques as differences, and the effect between them."""
    first, second = tell_step(rec, left), tell_step(rec, right)
    prompts = (
        _pair_row("The prompt it began with", first.prompt.text, second.prompt.text),
        _pair_row("The prompt it ends with", rec[left].chosen_prompt, rec[right].chosen_prompt),
    )
    parts = [("Prompts", prompts), *((title, _texts(first, second, stage)) for title, stage in _PARTS)]
    told = (names.what(rec, rec[left]), names.what(rec, rec[right]))
    return PairView(left, right, *told, tuple(part for part in parts if part[1]), effect(rec, left, right, split))


def _texts(first: StepView, second: StepView, stage: Stage) -> tuple[PairRow, ...]:
    """The texts of one stage, those of the same example and place beside each other."""
    found: dict[tuple[str, str], list[str]] = {}  # by example, and by field and index
    for column, step in enumerate((first, second)):
        for record in (record for told in step.stages if told.stage == stage for record in told.records):
            field, _, index = record.key.split("-")
            found.setdefault((f"{record.example}: {record.title}", field + index), ["", ""])[column] = record.text
    return tuple(_pair_row(title, *texts) for (title, _), texts in found.items())


def _pair_row(title: str, left: str, right: str) -> PairRow:
    words: tuple[Words, Words] = sides(left, right)
    return PairRow(title, *words, left == right)
