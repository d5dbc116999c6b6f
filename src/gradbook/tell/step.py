"""A step in full: its stages with their records, and the same by example."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradbook.loop import Method
from gradbook.loop.stages import Subject, judged_right
from gradbook.loop.table import STAGE_INFO
from gradbook.markdown import note_text
from gradbook.records import Critique, Evaluation, Prediction, Role, Stage, Step
from gradbook.scores import Spent
from gradbook.tables import agreement, method_line
from gradbook.tell import brought, names
from gradbook.tell.choices import candidate_records, choices, lost
from gradbook.tell.helps import help_line
from gradbook.tell.views import (
    Annotations,
    CellView,
    ChangeView,
    ExampleView,
    Mark,
    NoteView,
    Place,
    PromptView,
    RecordView,
    StageView,
    StepView,
    Words,
)
from gradbook.tell.words import brief, candidate_name, count, rerun_from, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

BY_EXAMPLE: tuple[Stage, ...] = ("predict", "evaluate", "output_critique", "prompt_critique")


def step(rec: "Recording", at: Step | int, annotations: Annotations = "all", full: bool = True) -> StepView:
    """A step as far as it has run, with the `annotations` asked for; without what it cost, and the records by example of stages that it
    shares with its origin, unless `full`."""
    return _Telling(rec, rec[at if isinstance(at, int) else at.id], annotations, full).step()


def note(rec: "Recording", at: Step) -> NoteView:
    """The note on a step."""
    text = rec.note(at).strip()
    return NoteView(at.id, text, brief(note_text(text).partition("\n")[0], 160) if text else "")


@dataclass(frozen=True)
class _Telling:
    """One step while it is told: what the functions below share."""

    rec: "Recording"
    at: Step
    annotations: Annotations
    full: bool

    @cached_property
    def method(self) -> Method:
        return self.rec.method_of(self.at)

    @cached_property
    def subject(self) -> Subject:
        return self.rec.subject(self.at)

    @cached_property
    def origin(self) -> Step | None:
        return None if self.at.origin is None else self.rec[self.at.origin]

    @cached_property
    def models(self) -> dict[Stage, dict[Role, dict[str, Any]]]:
        return self.rec.models_of(self.at)

    @cached_property
    def told_of(self) -> dict[Stage, set[str | None]]:
        """The examples that each stage gave something for."""
        return {stage: {record.example for record in getattr(self.at, stage) or ()} for stage in BY_EXAMPLE}

    @cached_property
    def gone(self) -> dict[tuple[Stage, str | None], ChangeView]:
        """What was left out, by stage and example."""
        return {(c.stage, c.place.example): c for c in reversed(self.standing.values()) if c.kind == "drop"}

    @cached_property
    def pairs(self) -> dict[str, tuple[Prediction, Evaluation]]:
        """The output of an example and what the evaluation says of it, where both are there."""
        evaluations = {e.example: e for e in reversed(self.at.evaluate or ())}
        return {p.example: (p, evaluations[p.example]) for p in reversed(self.at.predict or ()) if p.example in evaluations}

    @cached_property
    def changes(self) -> tuple[ChangeView, ...]:
        made = names.changes(self.rec, self.at)
        kept = {"all": ("hand", "name"), "mine": ("hand",), "none": ()}[self.annotations]
        return tuple(change if change.by in kept else replace(change, why="") for change in made)

    @cached_property
    def standing(self) -> names.Changes:
        return names.standing(self.changes)

    @property
    def critic(self) -> bool:
        """Whether the step is of the critic's prompt."""
        return self.at.variable == "critic"

    @property
    def by_critic(self) -> bool:
        """Whether a critic evaluates the outputs."""
        return self.method.critic and not self.critic

    # --- the whole ---------------------------------------------------------------------------------------------------------

    def step(self) -> StepView:
        rec, at = self.rec, self.at
        stages = tuple(self.stage(number, stage) for number, stage in enumerate(at.stages, start=1))
        current = rec.method
        followed = current if at.parent is None else self.method
        before = rec.method_of(at.parent) if at.parent else rec.method_of(min(1, len(rec) - 1))
        repeats = f"Replicate {at.replicate} of step {at.replicate_of}: {rerun_from(at.fresh_from)}, and no change."
        return StepView(
            id=at.id,
            parent=at.parent,
            origin=at.origin,
            variable=at.variable,
            what=names.what(rec, at),
            line=names.line(rec, at),
            where=names.where(rec, at),
            status=self.status(),
            outcome=self.outcome(),
            replicate=repeats if at.replicate_of is not None else "",
            method=method_line(followed),
            method_differs=at.parent is not None and not (followed == before == rec.method_of(min(1, len(rec) - 1))),
            method_next="" if followed == current else next_method(followed, current),
            spent=self.spent(),
            done=at.done,
            next=spaced(at.next_stage or ""),
            prompt=self.prompt(),
            changes=self.changes,
            stages=stages,
            examples=tuple(self.example(stages, position, name) for position, name in enumerate(at.batch)),
            choices=choices(rec, at, self.standing, [record for told in stages if told.stage == "rewrite" for record in told.records]),
            code=self.code(),
            ends=at.chosen_prompt if at.select is not None and at.select.chosen >= 0 else None,
            note=note(rec, at) if self.annotations != "none" else NoteView(at.id, "", ""),
        )

    def code(self) -> str:
        """The line of Python that makes a branch, with the reasons that are told."""
        if self.at.origin is None or self.at.aside or not self.at.edits:
            return ""
        told = {"all": ("hand", "name"), "mine": ("hand",), "none": ()}[self.annotations]
        edits = [edit if edit.by in told else edit.model_copy(update={"why": ""}) for edit in self.at.edits]
        return names.perturbing(self.at.origin, edits)

    def prompt(self) -> PromptView:
        at = self.at
        held = f"The task’s prompt, whose outputs of step {at.parent} it judged" if self.critic else "The critic’s prompt in force"
        name = "The critic’s prompt" if self.critic else "Prompt"
        fixed = self.subject.format_instruction
        return PromptView(name, names.begun(self.rec, at), at.prompt, fixed, held if at.held else "", at.held, at.origin is not None)

    def status(self) -> str:
        at = self.at
        if at.parent is None:
            return ""
        told = [] if at.done else [f"Not finished: the next stage is {spaced(at.next_stage or '')}."]
        if "predict" not in at.stages:
            return " ".join(["No training examples: this update sees none.", *told])
        examples, verdicts = count(len(at.batch), "training example"), count(len(at.batch), "verdict")
        if at.predict is None:
            return " ".join([f"{verdicts if self.critic else examples}.", *told])
        right, agreed = sum(p.correct for p in at.predict), agreement(at)
        if self.critic:
            return " ".join([f"{verdicts}, of which {right} {'agrees' if right == 1 else 'agree'} with the gold answer.", *told])
        judged = "" if agreed is None else f" The critic agrees with the gold answer on {self.agreed()} of them."
        answered = f", {right} answered right" if self.rec.task.labelled else ", without labels"
        return " ".join([f"{examples}{answered}.{judged}", *told])

    def outcome(self) -> str:
        at = self.at
        right = sum(p.correct for p in at.predict or ())
        told = f"{right} of {len(at.batch)} {'agree' if self.critic else 'right'} · " if at.predict and self.rec.task.labelled else ""
        if at.parent is None:
            return ""
        if at.select is None:
            return f"{told}not finished"
        chosen, scores = at.select.chosen, at.select.scores
        choice = "old prompt kept" if chosen < 0 else f"{candidate_name(chosen)} chosen"
        if not scores:
            return told + choice
        name = "agreement on validation" if self.critic else "validation"
        wrong = " by wrong labels" if at.select.labels == "wrong" else ""
        shown = " → ".join(f"{scores[str(index)]:.1%}" for index in dict.fromkeys((-1, chosen)) if str(index) in scores)
        return f"{told}{choice} · {name}{wrong} {shown}"

    def spent(self) -> str:
        seconds, spent = self.rec.seconds(self.at), self.rec.spent_on(self.at) if self.full else Spent()
        return ", ".join([f"{seconds:.1f} s of work"] * (seconds >= 0.05) + [str(spent)] * bool(spent.calls))

    # --- a stage -------------------------------------------------------------------------------------------------------------

    def stage(self, number: int, stage: Stage) -> StageView:
        at = self.at
        ran = getattr(at, stage) is not None
        asked = self.models.get(stage, {}).values()
        kept = ran and self.origin is not None and getattr(at, stage) == getattr(self.origin, stage)
        records = tuple(self.records(stage)) if ran and (self.full or not kept or stage not in BY_EXAMPLE) else ()
        return StageView(
            stage=stage,
            number=number,
            title=STAGE_INFO[stage].title,
            help=brought.help_line(stage, at) or help_line(stage, at, self.method),
            state="done" if ran else "next" if stage == at.next_stage else "not yet run",
            model=" and ".join(dict.fromkeys(facts["name"] for facts in asked)),
            summary=self.summary() if ran and stage == "evaluate" and self.by_critic else "",
            remarks=tuple(filter(None, self.remarks(stage))) if ran else (),
            records=records,
            kept=kept,
        )

    def summary(self) -> str:
        records = self.at.evaluate or ()
        unusable = Counter(record.lost or record.unusable for record in records if record.lost or record.unusable)
        more = f"; {unusable.total()} unusable ({', '.join(map(str, unusable))})" if unusable else ""
        return f"The critic agrees with the gold answer on {self.agreed()} of {len(records)}{more}."

    def agreed(self) -> int:
        return sum(self.agrees(record) for record in self.at.evaluate or ())

    def remarks(self, stage: Stage) -> Iterator[str]:
        said: dict[str, list[int]] = {}
        if stage in BY_EXAMPLE:
            for position, name in enumerate(self.at.batch):
                said.setdefault(self.why_not(stage, name), []).append(position)
        for remark, positions in said.items():
            if remark:
                yield f"Example{'s' * (len(positions) > 1)} {', '.join(map(str, positions))}: {remark}."
        if stage == "rewrite":
            yield "No output of the batch was called wrong, so nothing was rewritten." if self.at.rewrite == () else ""
            yield names.past_read(self.rec, self.at)
            left = [position for position, name in enumerate(self.at.batch) if self.left_out(name)]
            which = f"Example{'s' * (len(left) > 1)} {', '.join(map(str, left))}"
            yield f"{which}: left out of the rewrite, since the evaluation calls it right." if left else ""

    def why_not(self, stage: Stage, name: str) -> str:
        """Why a stage gave nothing for an example; empty where it did."""
        if name in self.told_of[stage]:
            return ""
        if gone := self.gone.get((stage, name)):
            return f"{gone.sign} in step {gone.step}{f': {gone.why}' if gone.why else ''}"
        pair = self.pairs.get(name)
        if pair is None:
            return "nothing to go on with, since what it would be made from was left out"
        if self.method.errors_only and judged_right(self.subject, *pair):
            return f"not criticised, since {'the verdict holds' if self.critic else 'the evaluation calls it right'}"
        return "nothing to go on with, since the reply before was lost or left out"

    def left_out(self, name: str) -> bool:
        """Whether a one-step rewrite is not told of an example."""
        pair = self.pairs.get(name)
        one_step = self.method.update == "one-step" and self.method.errors_only
        return one_step and pair is not None and judged_right(self.subject, *pair)

    # --- a record ------------------------------------------------------------------------------------------------------------

    def records(self, stage: Stage) -> Iterator[RecordView]:
        """The records of a stage in the order of the batch."""
        found: Any = getattr(self.at, stage)
        match stage:
            case "predict":
                yield from (self.prediction(record) for record in found)
            case "evaluate":
                for record in found:
                    yield from self.evaluation(record)
            case "output_critique" | "prompt_critique":
                several = Counter(record.example for record in found)
                yield from (self.critique(stage, record, several[record.example]) for record in found)
            case "rewrite":
                yield from candidate_records(self.rec, self.at, self.standing)

    def record(self, stage: Stage, place: Place, title: str, made: Any, text: str, marks: list[Mark], **more: Any) -> RecordView:
        change = self.standing.get(place)
        before = None if self.origin is None else getattr(self.origin, stage) or ()
        kept = before is not None and made in before
        position = self.at.batch.index(made.example)
        if made.lost and text and Mark(made.lost) not in marks:
            marks = [*marks, Mark(made.lost, False)]
        marks = [*marks, *brought.mark(made)]
        return RecordView(
            key=f"{place.field}-{position}-{place.index}",
            stage=stage,
            title=title,
            text=text,
            words=_differences(change, text),
            against="what stood there before" if change else "",
            marks=tuple(marks),
            example=made.example,
            position=position,
            lost="" if text else lost(made.lost, made.why),
            change=change,
            place=place,
            kept=kept,
            changed=before is not None and not kept,
            **{"empty": "empty", "options": (), **more},
        )

    def prediction(self, made: Prediction) -> RecordView:
        true = made.target or self.subject.example(made.example).target
        said, right, wrong = "answer", "right", "wrong"
        if self.critic:
            said, right, wrong = "verdict" if self.method.evaluation == "critic-binary" else "score", "agrees", "disagrees"
        unread = made.lost or (f"no usable {said}" if self.critic else "unparsed")
        answer = unread if made.answer is None else f"{said} {made.answer}"
        truth = f"the output is {true}" if self.critic else f"true label {true}"
        marks = [Mark(answer), Mark(truth), Mark(f"✓ {right}" if made.correct else f"✗ {wrong}", made.correct)] if true else []
        title = "Verdict" if self.critic else "Output"
        return self.record("predict", Place("prediction", made.example), title, made, made.output, marks)

    def evaluation(self, made: Evaluation) -> Iterator[RecordView]:
        """An evaluation; before it the label that it shows, where no critic made it."""
        if not self.by_critic:
            yield self.label(made)
        title = "Evaluation by the critic" if self.by_critic else "Evaluation"
        marks = self.verdict(made) if self.by_critic else []
        yield self.record("evaluate", Place("evaluation", made.example), title, made, made.text, marks)

    def label(self, made: Evaluation) -> RecordView:
        place = Place("label", made.example)
        true = made.target or self.subject.example(made.example).target
        marks = []
        if true and (made.label is None or not self.subject.correct(made.label, true)):
            marks.append(Mark(f"the true one is {true}"))
        if made.label is not None and marks:
            wrong = "wrong on purpose" if self.method.labels == "wrong" else "not the true one"
            marks.append(Mark(f"⚠ {'swapped by hand' if place in self.standing else wrong}", False))
        options = (*self.subject.labels, "") if self.subject.labels else ()
        more = {"empty": "no label shown", "options": options}
        return self.record("evaluate", place, "Label shown", made, made.label or "", marks, **more)

    def verdict(self, made: Evaluation) -> list[Mark]:
        """What a critic's words come to, and whether that agrees with the gold answer."""
        binary = self.method.evaluation == "critic-binary"
        gold = Mark(f"gold: {'right' if self.right(made) else 'wrong'}")
        if made.score is None:
            return [
                Mark(f"no usable {'verdict' if binary else 'score'}: {made.lost or made.unusable or 'missing'}"),
                gold,
                Mark("✗ disagrees", False),
            ]
        verdict, agrees = "right" if made.score >= 0.5 else "wrong", self.agrees(made)
        said = f"verdict {verdict}" if binary else f"{made.score * 100:g} of 100, so {verdict}"
        return [Mark(said), gold, Mark("✓ agrees" if agrees else "✗ disagrees", agrees)]

    def right(self, made: Evaluation) -> bool:
        """Whether the output that an evaluation is of is right, by the true label."""
        return any(p.correct for p in self.at.predict or () if p.example == made.example)

    def agrees(self, made: Evaluation) -> bool:
        return made.score is not None and (made.score >= 0.5) == self.right(made)

    def critique(self, stage: Stage, made: Critique, several: int) -> RecordView:
        place = Place("output_critique" if stage == "output_critique" else "prompt_critique", made.example, made.index)
        number = f" {made.index + 1} of {several}" if several > 1 else ""
        title = f"{spaced(stage).capitalize()}{number}"
        return self.record(stage, place, title, made, made.text, [])

    # --- by example ------------------------------------------------------------------------------------------------------------

    def example(self, stages: tuple[StageView, ...], position: int, name: str) -> ExampleView:
        cells = tuple(self.cell(stage, name) for stage in stages if stage.stage in BY_EXAMPLE and stage.state == "done")
        given, judged = self.rec.task.example(name), None
        if self.critic and self.at.parent is not None:
            judged = next((p.output for p in self.rec[self.at.parent].predict or () if p.example == name), "")
        true = self.subject.example(name).target
        changed = any(cell.changed for cell in cells)
        kept = self.origin is not None and bool(cells) and not changed
        left = (Mark("left out of the rewrite"),) if self.at.rewrite is not None and self.left_out(name) else ()
        return ExampleView(position, name, given.input, judged, true, left, cells, kept, changed)

    def cell(self, stage: StageView, name: str) -> CellView:
        records = tuple(record for record in stage.records if record.example == name)
        remark = self.why_not(stage.stage, name)
        titles = {"predict": "Verdict" if self.critic else "Output", "evaluate": "Evaluation"}
        title = titles.get(stage.stage, spaced(stage.stage).capitalize())
        return CellView(stage.stage, title, records, remark, (stage.stage, name) in self.gone or any(record.changed for record in records))


def next_method(followed: Method, current: Method) -> str:
    """The method from the next step on, where it is another than the one followed."""
    other = method_line(current)
    return other + (" (other meta-prompts)" if other == method_line(followed) else "")


def _differences(change: ChangeView | None, text: str) -> Words:
    """The differences that a change made, of the text as it stands."""
    return change.difference if change and text else ()
