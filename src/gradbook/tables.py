"""A case as DataFrames; `steps`, `predictions`, `training`, `scores` and `long` are methods of `Recording`."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradbook.loop import Method
from gradbook.metrics import Metrics
from gradbook.plan import epoch_length
from gradbook.records import SPLITS, SplitName, Step, sha256

if TYPE_CHECKING:
    from gradbook.recording import Recording


def steps(case: "Recording") -> pd.DataFrame:
    """One row a step: where it stands in the tree, its method and edits, the accuracy of the task's prompt on each split and
    on the step's batch, a critic's agreement with the gold answers there, prompt, seconds, note, and the model that scored.

    A draw (`replicate` above 0) stands with its own answers, or with those that its prompt gave another step where it has none.
    """
    scored_by = (case.shown_model() or {"name": None})["name"]
    rows = [
        {
            "step": step.id,
            "parent": step.parent,
            "origin": step.origin,
            "depth": step.depth,
            "status": "done" if step.done else f"before {step.next_stage}",
            "variable": step.variable,
            "method": method_line(case.method_of(step)),
            "edits": "; ".join(
                " ".join(map(str, filter(lambda x: x is not None, (e.kind, e.field, e.example, e.candidate)))) for e in step.edits
            ),
            "replicate": step.replicate,
            "fresh_from": step.fresh_from,
            "finding": step.finding,
            "chosen": None if step.select is None else step.select.chosen,
            **{split: _accuracy(_own(case, step, split)) for split in SPLITS},
            "batch": _batch_accuracy(step) if case.task.labelled else None,
            "agreement": agreement(step),
            "prompt": step.chosen_prompt,
            "seconds": case.seconds(step),
            "note": case.note(step),
            "scored_by": scored_by,
        }
        for step in case
    ]
    return pd.DataFrame(rows).astype({"parent": "Int64", "origin": "Int64", "chosen": "Int64"}).set_index("step")


def _own(case: "Recording", step: Step, split: SplitName) -> Metrics | None:
    return case.metrics(step, split, step.replicate, "prompt") or case.metrics(step, split, variable="prompt")


def predictions(case: "Recording") -> pd.DataFrame:
    """One row an example of a step's batch: input, target, output, answer, evaluation and critiques; `brought` says where a person brought
    its output and output critiques from, where one did."""
    return pd.DataFrame([_row(case, step, name) for step in case for name in step.batch])


def scores(case: "Recording") -> pd.DataFrame:
    """One row a score, of any model: prompt (SHA-256), the steps that end with it, split, replicate, model and metrics, shares 0 to 1.

    low and high are the Wilson interval of the accuracy at 95 %; length is in characters, both it and tokens a mean.
    """
    by_prompt: dict[tuple[str, str | None], list[int]] = {}
    for step in case:
        question = case.question(step, "test")
        by_prompt.setdefault((question.prompt, question.judged), []).append(step.id)
    return pd.DataFrame(
        [
            {
                "variable": q.variable,
                "prompt": q.prompt,
                "steps": by_prompt.get((q.prompt, q.judged), []),
                "split": q.split,
                "replicate": q.replicate,
            }
            | {"model": case.model_facts.get(q.model, {"name": "unknown"})["name"], "model_id": q.model}
            | _metrics(case.metrics_on(q))
            for q in case.recorded_questions()
        ]
    )


def long(case: "Recording", split: SplitName | None = None) -> pd.DataFrame:
    """The recorded answers in the long form that evalstats and other packages read: one row an answer.

    Columns: prompt ("step 3", the first step that ends with it), item (an example's id), run (the replicate), score (1 for a right answer,
    else 0), split, and model, which is called answered_by where it is only one, so that it is no factor. As in
    `es.compare(es.load_from(case.long("test")), factors="prompt")`, which compares prompts as they stand; the draws of both arms of an edit
    are in `Effect.long`.

    Args:
        split: "train", "validation" or "test"; by default all that are scored.
    """
    steps: dict[str, int] = {}
    for step in case:
        if step.done and not step.aside:
            steps.setdefault(sha256(step.ends_with("prompt")), step.id)
    asked = [q for q in case.recorded_questions() if q.variable == "prompt" and q.form == case.task.form and split in (None, q.split)]
    names = {q.model: case.model_facts.get(q.model, {"name": "unknown"})["name"] for q in asked}
    twice = {name for name, count in Counter(names.values()).items() if count > 1}
    by = "model" if len(names) > 1 else "answered_by"
    rows = [
        {
            "prompt": f"step {steps[q.prompt]}" if q.prompt in steps else f"prompt {q.prompt[:8]}",
            "item": answer.example,
            "run": q.replicate,
            "score": int(answer.correct),
            "split": q.split,
            by: f"{names[q.model]} {q.model[:6]}" if names[q.model] in twice else names[q.model],
        }
        for q in asked
        for answer in case.recorded(q).answers
    ]
    return pd.DataFrame(rows, columns=["prompt", "item", "run", "score", "split", by])


def findings(case: "Recording") -> pd.DataFrame:
    """One row a finding: its id, kind, the step and split it is about, verdict, sentence as told then, parameters, calls, seconds."""
    rows = [
        {"id": f.id, "kind": f.kind, "step": f.step, "split": f.split, "verdict": f.verdict, "finding": f.sentence, **f.params}
        | {"calls": case.spent_for(f).calls, "seconds": f.seconds}
        for f in case.found.values()
    ]
    return pd.DataFrame(rows)


def training(case: "Recording", step: Step | int | None = None) -> pd.DataFrame:
    """One row a score of the whole training split on the line of steps to `step` (by default the current one).

    Where the method has `train_every`, at those epochs; without, wherever `score(step, "train")` was asked for.

    Columns: step, batches, epoch, then metrics as in `scores`.
    """
    line = [case.current if step is None else case[step]]
    while line[-1].parent is not None:
        line.append(case[line[-1].parent])
    rows = []
    for at in (at for at in reversed(line) if at.variable == "prompt"):
        method = case.method_of(at)
        epoch = at.depth / epoch_length(case.task, method)
        # a prompt that stays over several steps has one score, which is that of each of them
        asked = not method.train_every or epoch % method.train_every == 0
        if asked and (metrics := case.metrics(at, "train")):
            rows.append({"step": at.id, "batches": at.depth, "epoch": epoch} | _metrics(metrics))
    return pd.DataFrame(rows, columns=None if rows else ["step", "batches", "epoch", "n", "accuracy", "low", "high"])


def method_line(method: Method) -> str:
    """A method in a line: the paper's four dimensions, then what else is not the default."""
    labels = f"{'no' if method.labels == 'none' else method.labels} labels"
    arms = [method.update, labels, method.evaluation] if method.sees_data else [method.update]
    chosen = {"validated": f"validated of {method.candidates}", "random": f"random of {method.candidates}"}
    others = {k: v for k, v in method.changed().items() if k not in ("update", "labels", "evaluation", "selection", "candidates")}
    if method.engine == "gepa":  # which has one update and one selection
        arms, others = ["GEPA", labels], {k: v for k, v in others.items() if k != "engine"}
    told = [name.replace("_", " ") + ("" if value is True else f" {setting_told(value)}") for name, value in others.items()]
    selection = [] if method.engine == "gepa" else [chosen.get(method.selection, method.selection)]
    return ", ".join([*arms, *selection, *told])


def setting_told(value: Any) -> str:
    """The value of a setting in words."""
    return (" · ".join(value) or "none") if isinstance(value, tuple) else str(value)


def agreement(step: Step) -> float | None:
    """How often a critic's verdicts on a batch agree with the gold answers, 0 to 1; None where no critic judged it.

    A verdict that cannot be used agrees with nothing.
    """
    if step.variable == "critic":
        return _batch_accuracy(step)
    if not any(e.score is not None or e.unusable or e.lost for e in step.evaluate or ()):
        return None
    right = {prediction.example: prediction.correct for prediction in step.predict or ()}
    agree = [e.score is not None and (e.score >= 0.5) == right[e.example] for e in step.evaluate or ()]
    return sum(agree) / len(agree)


def _batch_accuracy(step: Step) -> float | None:
    return sum(p.correct for p in step.predict) / len(step.predict) if step.predict else None


def _accuracy(metrics: Metrics | None) -> float | None:
    return None if metrics is None else metrics.accuracy.value


def _metrics(metrics: Metrics) -> dict[str, Any]:
    return {
        "n": metrics.accuracy.total,
        "accuracy": metrics.accuracy.value,
        **dict(zip(("low", "high"), metrics.accuracy.interval, strict=True)),
        "balanced": metrics.balanced,
        "unparsed": metrics.unparsed.value,
        "cut_off": metrics.cut_off.value,
        "no_reply": metrics.no_reply.value,
        "length": metrics.length.value,
        "tokens": metrics.tokens.value,
    } | {f"recall {label}": metrics.recall[label].value for label in metrics.shown()[0]}


def _row(case: "Recording", step: Step, name: str) -> dict[str, Any]:
    example = case.subject(step).example(name)
    row: dict[str, Any] = {"step": step.id, "variable": step.variable, "example": name, "input": example.input, "target": example.target}
    for prediction in step.predict or ():
        if prediction.example == name:
            row |= {"output": prediction.output, "answer": prediction.answer, "correct": prediction.correct if case.task.labelled else None}
    for evaluation in step.evaluate or ():
        if evaluation.example == name:
            row |= {"label": evaluation.label, "score": evaluation.score, "unusable": evaluation.unusable}
    for stage in ("evaluate", "output_critique", "prompt_critique"):
        row[stage] = "\n".join(record.text for record in getattr(step, stage) or () if record.example == name)
    records = [record for stage in (step.predict, step.output_critique) for record in stage or () if record.example == name]
    if brought := dict.fromkeys(record.brought for record in records if record.brought):
        row["brought"] = "; ".join(brought)
    return row
