"""The stages as cards: what each gave, editable where it stands."""

from collections import Counter
from collections.abc import Callable
from textwrap import shorten
from typing import Any

import ipywidgets as w

from gradbook.diff import words_html
from gradbook.edits import replace
from gradbook.loop.stages import judged_right
from gradbook.loop.table import EDIT_STAGE, STAGE_INFO
from gradbook.recording import Recording
from gradbook.records import Candidate, EditField, Evaluation, Prediction, Replace, Selection, Stage, Step
from gradbook.ui.helps import help_line
from gradbook.ui.parts import Editable, box, button, close_all, esc, html
from gradbook.ui.tree import prompt_step

CHOICE: tuple[EditField, str, int] = ("selection", "", 0)


class Cards(w.VBox):
    """The cards of one step. Edits wait here until they are run as a branch.

    Args:
        case: the case.
        on_pending: called whenever an edit begins, changes or is given up.
        on_run: called to run the waiting edits as a branch.
    """

    def __init__(self, case: Recording, on_pending: Callable[[], None], on_run: Callable[[], None]) -> None:
        self._case, self._on_pending, self._on_run = case, on_pending, on_run
        self._drafts: dict[int, dict[tuple[EditField, str, int], str]] = {}
        self._pending: dict[tuple[EditField, str, int], str] = {}
        self._bars: dict[Stage, w.Box] = {}
        self.editables: dict[tuple[EditField, str, int], Editable] = {}
        super().__init__()
        self.add_class("gb-cards")

    @property
    def pending(self) -> list[Replace]:
        """The edits that wait, as `Case.perturb` takes them."""
        why = self.why.value.strip() if self.why else ""
        return [_wish(field, position, index, text, why) for (field, position, index), text in self._pending.items()]

    def show(self, step: Step) -> None:
        """Draw the cards of `step`, with the edits of it that still wait."""
        old = self.children
        waiting = dict(self._drafts.get(step.id, {}))
        self._pending = self._drafts[step.id] = {}
        self.editables, self._bars = {}, {}
        self.why: w.Text | None = None
        self._step, self._locked = step, self._lock()
        self._subject, self._method = self._case.subject(step), self._case.method_of(step)
        self.children = [self._prompt(step)] + [self._card(number, stage) for number, stage in enumerate(step.stages, start=1)]
        for place, text in waiting.items():
            if place == CHOICE:
                self._pick.value = text
            else:
                self.editables[place].begin()
                self.editables[place].area.value = text
        for child in old:
            close_all(child)

    def forget(self, step: int) -> None:
        """Drop the waiting edits of a step, once they have become a branch."""
        self._drafts.pop(step, None)
        self._pending = {}

    def _lock(self) -> str:
        if self._case.read_only:
            return f"This case is read only: {self._case.read_only_because}"
        return "" if getattr(self._case, "models", None) else "Open the case with a model to edit and re-run"

    def _prompt(self, step: Step) -> w.Widget:
        critic = step.variable == "critic"
        name = "The critic’s prompt" if critic else "Prompt"
        held = ""
        if step.held:
            whose = f"The task’s prompt, whose outputs of step {step.parent} it judged" if critic else "The critic’s prompt in force"
            held = f'<details class="gb-text gb-fixed gb-held"><summary>{whose}</summary>{esc(step.held)}</details>'
        return html(
            f'<section class="gb-card"><h3>{name} θ</h3><p class="gb-help">{self._begun(step)}.</p>'
            f'<div class="gb-text">{esc(step.prompt)}</div><p class="gb-help">Fixed format instruction, never optimised:</p>'
            f'<div class="gb-text gb-fixed">{esc(self._subject.format_instruction)}</div>{held}</section>',
            "gb-prompt",
        )

    def _begun(self, step: Step) -> str:
        """Where the prompt that a step began with comes from."""
        if step.parent is None:
            return "The seed prompt"
        if step.variable == "critic":
            return f"The critic’s prompt under which it evaluated step {step.parent}"
        source = prompt_step(self._case, self._case[step.parent])
        how = "as step {} ended" if source.chosen_prompt == step.prompt else "one of those that step {} carried on"
        return f"The prompt that this step began with, {how.format(source.id)}"

    def _card(self, number: int, stage: Stage) -> w.Widget:
        records = getattr(self._step, stage)
        state = "done" if records is not None else ("next" if stage == self._step.next_stage else "not yet run")
        told = esc(help_line(stage, self._step, self._method))
        head = html(f'<h3>{number} {STAGE_INFO[stage].title} <span class="gb-state">{state}</span></h3><p class="gb-help">{told}</p>')
        body = [] if records is None else getattr(self, f"_{stage}")(records)
        self._bars[stage] = box(classes=("gb-pending",))
        return box(head, *body, self._bars[stage], classes=("gb-card", f"gb-stage-{stage}", f"gb-is-{state.replace(' ', '-')}"))

    def _predict(self, records: tuple[Prediction, ...]) -> list[w.Widget]:
        rows = []
        for record in records:
            example = self._subject.example(record.example)
            answer, mark = self._answer(record)
            head = self._example(record.example, f"{answer} · true label {esc(example.target)} · {mark}")
            rows += [head, html(_folded("Input", example.input)), self._editable("prediction", record.example, 0, "output", record.output)]
        return rows

    def _answer(self, record: Prediction) -> tuple[str, str]:
        """What was read from an output, and whether that is right, in words."""
        if self._step.variable == "critic":
            kind = "verdict" if self._method.evaluation == "critic-binary" else "score"
            said = f"no usable {kind}" if record.answer is None else f"{kind} {esc(record.answer)}"
            return said, "✓ agrees" if record.correct else "✗ disagrees"
        return "unparsed" if record.answer is None else f"answer {esc(record.answer)}", "✓ right" if record.correct else "✗ wrong"

    def _evaluate(self, records: tuple[Evaluation, ...]) -> list[w.Widget]:
        by_critic = self._method.critic and self._step.variable == "prompt"
        rows = [self._agreement(records)] if by_critic else []
        for record in records:
            rows += [self._example(record.example), self._verdict(record) if by_critic else self._label(record)]
            rows.append(self._editable("evaluation", record.example, 0, "evaluation", record.text))
        return rows

    def _label(self, record: Evaluation) -> w.Widget:
        """The label that the feedback shows, beside the true one where they differ; it can be swapped, or put in where there is none."""
        true = record.target or self._subject.example(record.example).target
        edit = self._edit_of("label", record.example, 0)
        shown = self._shown("label", record.example, 0, record.label or "")
        if record.label is None:
            drawn = f"{shown} <i>no label shown</i> · true: {esc(true)}".strip()
        else:
            why = "not the true one" if edit else "wrong on purpose"
            beside = f" · true: {esc(true)} · <b>⚠ {why}</b>" if record.label != true else ""
            drawn = f"Label shown: {shown or esc(record.label)}{beside}"
        drawn = f'{_by_hand(edit)}<div class="gb-text gb-inline">{drawn}</div>'
        hint = f"One of {', '.join(self._subject.labels)}" if self._subject.labels else ""
        return self._editable("label", record.example, 0, "label", record.label or "", drawn, hint)

    def _right(self, record: Evaluation) -> bool:
        """Whether the output that an evaluation is of is right, by the true label."""
        return next(p.correct for p in self._step.predict if p.example == record.example)

    def _agrees(self, record: Evaluation) -> bool:
        return record.score is not None and (record.score >= 0.5) == self._right(record)

    def _agreement(self, records: tuple[Evaluation, ...]) -> w.Widget:
        agreed = sum(self._agrees(record) for record in records)
        unusable = Counter(record.unusable for record in records if record.unusable)
        lost = f"; {unusable.total()} unusable ({', '.join(unusable)})" if unusable else ""
        return html(f'<p class="gb-summary">The critic agrees with the gold answer on {agreed} of {len(records)}{lost}.</p>')

    def _verdict(self, record: Evaluation) -> w.Widget:
        binary = self._method.evaluation == "critic-binary"
        if record.score is None:
            said = f"no usable {'verdict' if binary else 'score'} ({record.unusable or 'missing'})"
        else:
            verdict = "right" if record.score >= 0.5 else "wrong"
            said = f"verdict {verdict}" if binary else f"score {record.score * 100:g}: {verdict}"
        truth = "right" if self._right(record) else "wrong"
        mark = "✓ agrees" if self._agrees(record) else "✗ disagrees"
        return html(f'<div class="gb-text gb-inline">{esc(said)} · gold: {truth} · {mark}</div>')

    def _output_critique(self, records: Any) -> list[w.Widget]:
        return self._critiques("output_critique", "output critique", records)

    def _prompt_critique(self, records: Any) -> list[w.Widget]:
        return self._critiques("prompt_critique", "prompt critique", records)

    def _critiques(self, field: EditField, label: str, records: Any) -> list[w.Widget]:
        several = Counter(record.example for record in records)
        rows = []
        for record in records:
            number = f" {record.index + 1} of {several[record.example]}" if several[record.example] > 1 else ""
            rows.append(self._example(record.example, before=f"critique{number} · " if number else ""))
            rows.append(self._editable(field, record.example, record.index, f"{label}{number}", record.text))
        return rows + self._not_criticised([name for name in self._step.batch if name not in several])

    def _not_criticised(self, names: list[str]) -> list[w.Widget]:
        """Which examples only errors_only left out, by their position in the batch."""
        if not names:
            return []
        several = "s" * (len(names) > 1)
        where = ", ".join(str(self._step.batch.index(name)) for name in names)
        return [html(f'<p class="gb-help gb-left-out">Not criticised: example{several} {where}, which the evaluation calls right.</p>')]

    def _rewrite(self, records: tuple[Candidate, ...]) -> list[w.Widget]:
        rows = [] if records else [html("<p>No output of the batch was called wrong, so nothing was rewritten.</p>")]
        for record in records:
            by_hand = self._edit_of("candidate", str(record.index), 0)
            marks = words_html(self._step.prompt, record.prompt)
            same = " · the same words as the old prompt" if record.prompt == self._step.prompt else ""
            head = f"Candidate {record.index}{self._follows(record)}{same}"
            rows.append(html(f'<div class="gb-example">{head}</div>{_by_hand(by_hand)}'))
            shown = f'<div class="gb-text">{marks}</div>'
            rows.append(self._editable("candidate", str(record.index), 0, f"candidate {record.index}", record.prompt, shown))
        return rows + self._not_told()

    def _follows(self, candidate: Candidate) -> str:
        """What a candidate was made from, where that is not all of the batch."""
        if candidate.paraphrase_of is not None:
            return f" · candidate {candidate.paraphrase_of} in other words"
        if candidate.example is None:
            return ""
        number = f" {candidate.critique + 1}" if self._method.critiques > 1 else ""
        return f" · follows critique{number} of example {self._step.batch.index(candidate.example)}"

    def _not_told(self) -> list[w.Widget]:
        """Where there are no critique cards, the examples that the optimiser was not told of."""
        if self._method.update != "one-step" or not self._method.errors_only:
            return []
        pairs = zip(self._step.predict, self._step.evaluate, strict=True)
        return self._not_criticised([p.example for p, e in pairs if judged_right(self._subject, p, e)])

    def _select(self, record: Selection) -> list[w.Widget]:
        options = [(_candidate(i), str(i)) for i in (-1, *(c.index for c in self._step.rewrite))]
        self._pick = w.Dropdown(options=options, value=str(record.chosen), description="Choose", disabled=bool(self._locked))
        kept = str(record.chosen)
        self._pick.observe(lambda change: self._changed(*CHOICE, None if change["new"] == kept else change["new"]), "value")
        by_hand = _by_hand(self._edit_of(*CHOICE))
        return [html(f'{self._scores(record)}{by_hand}<p class="gb-help">{esc(record.reason)}</p>'), self._pick]

    def _scores(self, record: Selection) -> str:
        """A table of what there was to choose from, as far as it was scored."""
        scores = {int(index): f"{score:.1%}" for index, score in record.scores.items()} or {record.chosen: ""}
        counted = "agreement on validation" if self._step.variable == "critic" else "right on validation"
        wrong = ", as wrong labels count it" if record.labels == "wrong" else ""
        head = f"<tr><td></td><td></td><td>{counted}{wrong}</td></tr>" if record.scores else ""
        marks = {index: "▹ carried on" for index in record.kept if len(record.kept) > 1} | {record.chosen: "➤ chosen"}
        rows = "".join(f"<tr><td>{marks.get(i, '')}</td><th>{_candidate(i)}</th><td>{score}</td></tr>" for i, score in scores.items())
        return f'<table class="gb-table">{head}{rows}</table>'

    def _example(self, name: str, more: str = "", before: str = "") -> w.Widget:
        position = self._step.batch.index(name)
        said = more or esc(shorten(self._case.task.example(name).input, 40, placeholder=" …"))
        return html(f'<div class="gb-example">Example {position} <span class="gb-id">{esc(name)}</span> · {before}{said}</div>')

    def _editable(self, field: EditField, position: str, index: int, label: str, text: str, shown: str = "", hint: str = "") -> Editable:
        drawn = shown or self._text(field, position, index, text)
        made = Editable(label, text, lambda new: self._changed(field, position, index, new), drawn, self._locked, hint)
        self.editables[field, position, index] = made
        return made

    def _text(self, field: EditField, position: str, index: int, text: str) -> str:
        marks = self._shown(field, position, index, text)
        if not marks:
            return f'<div class="gb-text">{esc(text) or "<i>empty</i>"}</div>'
        return f'{_by_hand(self._edit_of(field, position, index))}<div class="gb-text">{marks}</div>'

    def _shown(self, field: EditField, position: str, index: int, text: str) -> str:
        edit = self._edit_of(field, position, index)
        return words_html(edit.before or "", text) if edit else ""

    def _edit_of(self, field: EditField, position: str, index: int) -> Replace | None:
        return self._case.edit_at(self._step, field, position, index)

    def _changed(self, field: EditField, position: str, index: int, text: str | None) -> None:
        if text is None:
            self._pending.pop((field, position, index), None)
        else:
            self._pending[field, position, index] = text
        self._offer()
        self._on_pending()

    def _offer(self) -> None:
        """Put the button that runs the edits into the cards that hold one."""
        waiting = {EDIT_STAGE[field] for field, _, _ in self._pending}
        for stage, bar in self._bars.items():
            if bool(bar.children) != (stage in waiting):
                run = button("Run as a branch", self._on_run, "Run again what depends on the edit, as a branch", "gb-primary")
                self.why = self.why or w.Text(placeholder="Why? Kept with the edit; may stay empty.", description="Reason")
                bar.children = [self.why, run] if stage in waiting else []


def _wish(field: EditField, position: str, index: int, text: str, note: str) -> Replace:
    if field == "candidate":
        return replace(field, candidate=int(position), text=text, why=note)
    return replace(field, example=position or None, index=index, text=text, why=note)


def _by_hand(edit: Replace | None) -> str:
    if edit is None:
        return ""
    return f'<div class="gb-byhand">✎ edited by hand{f": {esc(edit.why)}" if edit.why else ""}</div>'


def _candidate(index: int) -> str:
    return "the old prompt" if index < 0 else f"candidate {index}"


def _folded(name: str, text: str) -> str:
    if len(text) < 400:
        return f'<div class="gb-text gb-input">{esc(text)}</div>'
    return f'<details class="gb-text gb-input"><summary>{name}: {esc(text[:160])}…</summary>{esc(text)}</details>'
