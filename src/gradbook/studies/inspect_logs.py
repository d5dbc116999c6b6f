"""Trials as logs of Inspect (inspect.aisi.org.uk): the answers that the end prompt of a trial gave on the test split, in its log format 2.

Only the answers: that format has no place for critiques, rewrites and branches, which are in the trial's case.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbook.errors import StudyError
from gradbook.files import Folder
from gradbook.ledger import Ledger
from gradbook.recording import Recording
from gradbook.records import Call, short_id
from gradbook.studies.design import Place
from gradbook.studies.trial import Result, best_of_beam

if TYPE_CHECKING:
    from gradbook.studies.study import Study

SCORER = "gradbook"
_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}


def inspect_logs(study: "Study", folder: str | Path) -> list[Path]:
    """Write a log a finished trial, for `inspect view` and `inspect_ai.analysis`; returns the files.

    Args:
        study: of which trials are done.
        folder: is made where it is not there; a log that is there already is written again.

    Raises:
        StudyError: a file cannot be written, or a trial's case is not there.
    """
    into, files = Path(folder).expanduser().absolute(), []
    for place, result in study.store.results().items():
        if result.status != "done":
            continue
        case = study.path / study.design.folder(place)
        file = into / f"{place.task}_{place.model}_{place.arm}_{place.trial}.json".replace("/", "-").replace(" ", "-")
        told = log(Recording(case, study.design.tasks[place.task]), place, result)
        try:
            into.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        except OSError as error:
            raise StudyError(f"{file} cannot be written: {(error.strerror or str(error)).lower()}") from None
        files.append(file)
    return files


def log(case: Recording, place: Place, result: Result) -> dict[str, Any]:
    """The log of one trial, as JSON has it."""
    step, task = best_of_beam(case), case.task
    samples = list(_samples(case, step.id))
    model, facts = place.model, case.shown_model() or {}
    right = sum(sample["scores"][SCORER]["value"] == "C" for sample in samples)
    made, run = datetime.fromtimestamp(result.time, UTC).isoformat(timespec="seconds"), short_id(*place)
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    for sample in samples:
        for name, count in sample["model_usage"].get(model, {}).items():
            usage[name] += count
    accuracy = right / len(samples)
    metrics = {"accuracy": {"name": "accuracy", "value": accuracy, "params": {}}}
    dataset = {"name": task.name, "samples": len(samples), "sample_ids": [sample["id"] for sample in samples], "shuffled": False}
    told = {"arm": place.arm, "trial": place.trial, "registered": result.registered, "prompt": result.prompt}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": run, "run_id": run, "task_id": run, "created": made, "task": task.name, "task_version": 0, "task_attribs": {},
            "task_args": {}, "dataset": dataset, "model": model, "model_args": {}, "config": {},
            "packages": {"gradbook": version("gradbook")}, "metadata": told | {"method": case.method.changed(), "model": facts},
            "scorers": [{"name": SCORER, "options": {}, "metrics": [{"name": "accuracy", "options": {}}], "metadata": {}}],
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": len(samples), "completed_samples": len(samples),
            "scores": [{"name": SCORER, "scorer": SCORER, "params": {}, "metrics": metrics}],
        },
        "stats": {"started_at": made, "completed_at": made, "model_usage": {model: usage}},
        "samples": samples,
    }  # fmt: skip


def _samples(case: Recording, step: int) -> Iterator[dict[str, Any]]:
    question = case.question(step, "test", variable="prompt")
    answers = {answer.example: answer for answer in case.recorded(question).answers}
    calls = _calls(case, question.id)
    for example in case.task.test:
        answer, call = answers[example.id], calls.get(example.id)
        told = {"value": "C" if answer.correct else "I", "answer": answer.answer or "", "metadata": {"lost": answer.lost}}
        text = call.text if call else ""
        choice = {
            "message": {"role": "assistant", "content": text, "source": "generate"},
            "stop_reason": _STOPS.get((call and call.finish_reason) or "stop", "unknown"),
        }
        usage = {}
        if call and call.prompt_tokens is not None and call.completion_tokens is not None:
            sums = {"input_tokens": call.prompt_tokens, "output_tokens": call.completion_tokens}
            usage = {call.model: sums | {"total_tokens": sum(sums.values())}}
        asked = [{"role": message["role"], "content": message["content"]} for message in (call.messages if call else ())]
        yield {
            "id": example.id, "epoch": 1, "input": example.input, "target": example.target, "messages": [*asked, choice["message"]],
            "output": {"model": call.model if call else "", "choices": [choice], "completion": text, "time": call.seconds if call else 0.0},
            "scores": {SCORER: told}, "metadata": {}, "store": {}, "events": [], "model_usage": usage,
        }  # fmt: skip


def _calls(case: Recording, question: str) -> dict[str, Call]:
    """The calls that a score was made of, by example."""
    ledger = Ledger(Folder(case.path), lambda _: False)
    asked = ("score", question, "test", "predict")
    return {str(line.place[4]): line.call for line in ledger.lines() if tuple(line.place[:4]) == asked}
