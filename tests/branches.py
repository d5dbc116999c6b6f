"""A case with many branches, for what must stay quick at any size: its journal is written event by event from one real branch."""

from pathlib import Path

import pytest

import gradbook as gb
from gradbook import edits, files, settings
from gradbook.events import Noted, Scored, StageDone
from gradbook.files import Folder
from gradbook.journal import Journal
from gradbook.records import Edit, Step, sha256
from small import small_task


def branched(path: Path, model: gb.Model, branches: int) -> Path:
    """Make a case of two steps and so many branches by hand of the first, each scored on validation, every hundredth noted."""
    case = gb.Case(path, task=small_task(), model=model, method=gb.Method(selection="naive"))
    case.run(batches=2)
    first = case.perturb(1, _edit(1))
    for step in (0, first):
        case.score(step)
    score = case.scored(first)
    case.close()
    folder = Folder(path)
    written = Journal(folder, lambda: settings.read(folder))
    assert written.take() and score
    with pytest.MonkeyPatch.context() as quick:  # thousands of lines that need not survive a power cut
        quick.setattr(files.os, "fsync", lambda _: None)
        for number in range(2, branches + 1):
            step = _branch(written, case, first, number)
            question = score.question.model_copy(update={"prompt": sha256(step.chosen_prompt)})
            written.append(Scored(score=score.model_copy(update={"question": question}), seconds=0.1))
            if number % 100 == 0:
                written.append(Noted(step=step.id, text=f"The {number}th way to **say** it."))
    written.close()
    return path


def _edit(number: int) -> Edit:
    return edits.replace("prompt_critique", example=0, text=f"blue means K3, said in way {number}", why=f"way {number}")


def _branch(written: Journal, case: gb.Case, first: Step, number: int) -> Step:
    step = written.begin(lambda id: edits.branch(case[1], (_edit(number),), id, case.subject(1), case.method_of(1)))
    for stage in ("prompt_critique", "rewrite", "select"):
        records = getattr(first, stage)
        if stage == "prompt_critique":
            records = (records[0].model_copy(update={"text": _edit(number).text}), *records[1:])
        if stage == "rewrite":
            records = tuple(c.model_copy(update={"prompt": f"{c.prompt} Way {number}."}) for c in records)
        written.append(StageDone(step=step.id, stage=stage, seconds=0.1, models={}, **{stage: records}))
    return written.state.steps[step.id]
