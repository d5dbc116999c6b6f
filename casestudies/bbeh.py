"""One step on a task of BIG-Bench Extra Hard, told in figures alone.

`python casestudies/bbeh.py FOLDER/bbeh_causal_understanding.json --into cases/bbeh`. The case holds the task's text and stays where it
is recorded; the `figures.json` in its folder holds no word of the task, and is what may be published.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import gradbook as gb

SIZES = (12, 20, 20)


def record(folder: Path, data: Path, model: gb.Model) -> gb.Case:
    """A naive step from a batch of three, both prompts scored on validation, and its effect on test from three draws of both."""
    task = gb.tasks.bbeh(data, sizes=SIZES, seed=0)
    case = gb.Case(folder, title=f"One step on {task.name}", task=task, model=model, method=gb.Method(selection="naive"), seed=0)
    case.score(0)
    case.score(case.step())
    case.compare(0, 1, "test", replicates=3)
    return case


def figures(case: gb.Recording) -> dict[str, Any]:
    """What such a case came to, without a word of its task: answers as right (1) or wrong, texts as their length in words."""
    effect, step, calls, model = case.compare(0, 1, "test", replicates=3), case[1], case.calls(), case.shown_model()
    return {
        "task": {"name": case.task.name, "sha256": case.task.source["sha256"], "sizes": SIZES},
        "model": {key: (model or {}).get(key) for key in ("name", "identity", "sampling")},
        "calls": {"paid": int(calls["paid"].sum()), "tokens": int(calls[["prompt_tokens", "completion_tokens"]].sum().sum())},
        "batch": [bool(prediction.correct) for prediction in step.predict or ()],
        "words": {
            "output critiques": [len(critique.text.split()) for critique in step.output_critique or ()],
            "prompt critiques": [len(critique.text.split()) for critique in step.prompt_critique or ()],
            "seed prompt": len(case.task.seed_prompt.split()),
            "rewritten prompt": len(step.chosen_prompt.split()),
        },
        "validation": {str(id): _shares(case, id) for id in (0, 1)},
        "test": {
            name: [list(map(int, draw)) for draw in arm.right] for name, arm in (("seed prompt", effect.before), ("step", effect.after))
        },
    }


def _shares(case: gb.Recording, step: int) -> dict[str, list[int]]:
    found = case.metrics(step)
    if found is None:
        raise gb.CaseError(f"step {step} is not scored on validation; record the case anew")
    shares = {"right": found.accuracy, "not read": found.unparsed, "cut off": found.cut_off, **found.recall}
    return {name: [share.count, share.total] for name, share in shares.items()}


def main() -> None:
    """Record a case of the task that the command line names, and write its figures into its folder."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="a task's JSON file, from github.com/google-deepmind/bbeh")
    options.add_argument("--into", type=Path, default=Path("cases/bbeh"), help="a folder that is not there yet (default: cases/bbeh)")
    chosen = options.parse_args()
    if chosen.into.exists():
        sys.exit(f"{chosen.into} is there already; name another with --into")
    case = record(chosen.into, chosen.data, gb.connect("qwen2.5-coder-1.5b"))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(found)}" for name, found in figures(case).items())
    (chosen.into / "figures.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(case)


if __name__ == "__main__":
    main()
