"""What each schema of the journal was, and one function a version that brings its lines to the next; CHANGELOG.md tells it to people."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradbook.errors import CaseError
from gradbook.records import sha256, short_id
from gradbook.tasks.task import form_of

SCHEMA = 4
_Lines = list[dict[str, Any]]
_STAGES = ("predict", "evaluate", "output_critique", "prompt_critique", "rewrite", "select")
_STAGE_OF = {"prediction": "predict", "label": "evaluate", "evaluation": "evaluate", "candidate": "rewrite", "selection": "select"}


def upgrade(lines: _Lines, version: int, settings: dict[str, Any], path: Path) -> list[bytes]:
    """The lines of a journal of an older `version` as the present schema has them.

    Args:
        lines: of the journal, parsed.
        settings: what `case.toml` says, which schema 1 does not hold.
        path: of the journal, for messages.

    Raises:
        CaseError: a line is not what that version wrote.
    """
    try:
        for old in range(version, SCHEMA):
            lines = _UPGRADES[old](lines, settings)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise CaseError(f"{path} is damaged: it is not what schema {version} was ({error!r:.80}); restore the file from a copy") from None
    return [json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() for line in lines]


def _numbers_with_what_made_them(lines: _Lines, settings: dict[str, Any]) -> _Lines:
    """1 to 2: prompts once and by content, edits typed and executed at their stage, replicates a property of their step, scores under
    the model that made them, the task's settings in the journal, what was paid in `calls.jsonl` alone."""
    return _FromFirst(lines, settings).new


class _FromFirst:
    """Schema 1, read as it is: of two steps with one id the later counts, and a replicate was not inherited."""

    def __init__(self, lines: _Lines, settings: dict[str, Any]) -> None:
        self.settings, self.known = settings, set[str]()
        self.new: _Lines = []
        self.models: dict[str, str] = {}
        self.ids: dict[int, int] = {}
        self.steps: dict[int, dict[str, Any]] = {}
        self.combined: dict[str, tuple[str, str, str]] = {}
        self.method: dict[str, Any] = {}
        last = {line["step"]["id"]: n for n, line in enumerate(lines) if line["event"] == "step"}
        for n, line in enumerate(lines):
            of = line["step"]["id"] if line["event"] == "step" else line.get("step")
            if of is not None and line["event"] in ("step", "stage") and n < last[of]:
                continue  # what a later step of the same id has overwritten
            getattr(self, f"_{line['event']}")(line)

    def _case(self, line: dict[str, Any]) -> None:
        self.new.append({**line, "schema_version": 2})

    def _examples(self, line: dict[str, Any]) -> None:
        told = {"title": str(self.settings["title"]), "settings": self.settings["task"]}
        self.new.append({**line, "event": "task", **told})

    def _method(self, line: dict[str, Any]) -> None:
        self.method = line["method"]
        self.new.append(line)

    def _models(self, line: dict[str, Any]) -> None:
        for role, facts in line["models"].items():
            id = self.models[role] = short_id(facts["identity"], facts["sampling"])
            if id not in self.known:
                self.known.add(id)
                self.new.append({"time": line["time"], "event": "model", "id": id, **facts})

    def _step(self, line: dict[str, Any]) -> None:
        step, edits = dict(line["step"]), line["step"].get("edits", [])
        id = self.ids[step["id"]] = len(self.ids)
        origin = step.get("origin")
        fresh = next((edit for edit in edits if edit["field"] == "resample"), None)
        edited = next((_stage_of(edit) for edit in edits if edit["field"] != "resample"), None)
        records = {stage: step.pop(stage) for stage in _STAGES if step.get(stage) is not None}
        step |= {"id": id, "edits": [_edit(edit, line["time"]) for edit in edits if edit["field"] != "resample"]}
        step |= {name: self.ids[step[name]] for name in ("parent", "origin") if step.get(name) is not None}
        step |= {"fellows": [self.ids[i] for i in step.get("fellows", ())], "queue": [(self.ids[i], c) for i, c in step.get("queue", ())]}
        if fresh:
            step |= {"replicate": fresh["replicate"], "fresh_from": fresh["after"], "replicate_of": step["origin"]}
        self.steps[id] = {**step, **records}
        self._prompts(line["time"], step["prompt"], step.get("held", ""))
        named = {name: sha256(step[name]) for name in ("prompt", "held") if step.get(name)}
        shares = [stage for stage in records if stage != edited] if origin is not None else []
        self.new.append({**line, "step": step | named, "shares": shares})
        if edited:
            self._stage({"time": line["time"], "step": line["step"]["id"], "stage": edited, "seconds": 0.0, edited: records[edited]})

    def _stage(self, line: dict[str, Any]) -> None:
        kept = {name: value for name, value in line.items() if name != "spent"}
        id = self.ids[line["step"]]
        self.steps[id][line["stage"]] = line[line["stage"]]
        for candidate in kept.get("rewrite") or ():
            self._prompts(line["time"], candidate["prompt"])
        if kept.get("rewrite"):
            kept["rewrite"] = [{**candidate, "prompt": sha256(candidate["prompt"])} for candidate in kept["rewrite"]]
        asked = {"critic": ("evaluate", "output_critique", "prompt_critique"), "optimizer": ("rewrite",), "task": ("predict",)}
        models = {role: self.models[role] for role, stages in asked.items() if line["stage"] in stages and role in self.models}
        self.new.append({**kept, "event": "stage", "step": id, "models": models})

    def _score(self, line: dict[str, Any]) -> None:
        old = line["score"]
        role = "task" if old.get("variable", "prompt") == "prompt" else "critic"
        question = {"split": old["split"], "replicate": old.get("replicate", 0), "model": self.models.get(role, "")}
        if role == "task":
            question |= {"prompt": old["prompt"], "form": form_of(self.settings["task"])}
        else:
            prompt, judged, form = self._of_critic(old["prompt"])
            question |= {"prompt": prompt, "judged": judged, "judged_model": self.models.get("task", ""), "form": form}
        self.new.append(
            {"time": line["time"], "event": "score", "seconds": line["seconds"]}
            | {"score": {"question": question, "answers": old["answers"]}}
        )

    def _note(self, line: dict[str, Any]) -> None:
        self.new.append({**line, "step": self.ids[line["step"]]})

    _move = _note

    def _prompts(self, time: str, *texts: str) -> None:
        for text in filter(None, texts):
            if (sha := sha256(text)) not in self.known:
                self.known.add(sha)
                self.new.append({"time": time, "event": "prompt", "sha256": sha, "text": text})

    def _of_critic(self, name: str) -> tuple[str, str, str]:
        """A critic's prompt, the prompt that it judges, and its form, from the one hash under which schema 1 filed them."""
        templates = self.method["templates"]
        form = (templates["critic_binary" if self.method["evaluation"] == "critic-binary" else "critic_score"], templates["critic_input"])
        if name not in self.combined:
            for step in self.steps.values():
                own = {step["prompt"], *(candidate["prompt"] for candidate in step.get("rewrite") or ())}
                critics, tasks = (own, {step["held"]}) if step.get("variable") == "critic" else ({step.get("held", "")}, own)
                for critic, task in ((c, t) for c in critics for t in tasks):
                    self.combined["\0".join([critic, task, *form])] = sha256(critic), sha256(task), short_id(*form)
            self.combined = {sha256(text) if "\0" in text else text: found for text, found in self.combined.items()}
        return self.combined.get(name, (name, "", short_id(*form)))


def _stage_of(edit: dict[str, Any]) -> str:
    return _STAGE_OF.get(edit["field"], edit["field"])


def _edit(edit: dict[str, Any], time: str) -> dict[str, Any]:
    """An edit of schema 1: all were replacements by hand."""
    field, position = edit["field"], edit.get("position", "")
    place = {"candidate": int(position)} if field == "candidate" else ({"example": position} if field != "selection" else {})
    told = {"text": edit["after"], "before": edit["before"], "why": edit.get("note", ""), "at": time}
    return {"kind": "replace", "field": field, "index": edit.get("index", 0), **place, **told}


def _findings(lines: _Lines, settings: dict[str, Any]) -> _Lines:
    """2 to 3: findings, and steps that are arms of them, are new; what there was stays as it is."""
    return [lines[0] | {"schema_version": 3}, *lines[1:]]


def _brought_and_accepted(lines: _Lines, settings: dict[str, Any]) -> _Lines:
    """3 to 4: a record may say where a person brought it from, a selection what its acceptance came to; what there was stays as it is."""
    return [lines[0] | {"schema_version": 4}, *lines[1:]]


_UPGRADES: dict[int, Callable[[_Lines, dict[str, Any]], _Lines]] = {1: _numbers_with_what_made_them, 2: _findings, 3: _brought_and_accepted}
