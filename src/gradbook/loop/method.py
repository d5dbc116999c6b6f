"""Method: which stages a step runs, and how."""

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from gradbook.errors import MethodError
from gradbook.loop.table import stages_of
from gradbook.loop.templates import Templates
from gradbook.records import Record, Stage

ONE_CANDIDATE = ("naive", "guard", "pareto")
PROMPT_ONLY = ("rewrite", "improve")
_DATA_UPDATES = "update='three-stage' or 'one-step'"


class Method(Record):
    """The settings of an optimiser of the textual-gradient family: the paper's arms, and what others of the family add.

    `Method.help("labels")` gives the line on one setting. `gradbook.presets` has whole methods.

    Raises:
        MethodError: a setting is unknown or out of range, or settings make no sense together.
    """

    update: Literal["three-stage", "one-step", "rewrite", "improve"] = Field(
        default="three-stage",
        description="three-stage: output critique, prompt critique, rewrite, as a chain rule would have it. one-step: rewrite straight "
        "from examples and evaluations. rewrite: same meaning, other words. improve: better quality and correctness. The last two see "
        "no data.",
    )
    labels: Literal["correct", "wrong", "none"] = Field(
        default="correct",
        description="The labels that the feedback shows: the true ones, a wrong one for each question (always the same), or no "
        "evaluation at all. Scores always use the true label.",
    )
    evaluation: Literal["direct", "critic-binary", "critic-score"] = Field(
        default="direct",
        description="direct: the answer is set against the label. critic-binary, critic-score: a critic reads input and output, "
        "without the label, and says right or wrong, or 0 to 100; its prompt is optimised in steps of its own, by the labels.",
    )
    selection: Literal["naive", "validated", "random", "guard", "pareto"] = Field(
        default="validated",
        description="naive: take the one candidate. validated: the best on the validation split, the old prompt included. random: any "
        "of the candidates, unseen. guard: one candidate, kept only where it is better than the old prompt. pareto, GEPA's own: one "
        "candidate, accepted where its scores on the batch add up to more; the next prompt is drawn from the validation split's front.",
    )
    candidates: int = Field(default=3, ge=1, le=5, description="Rewrites a step, 1 to 5; naive, guard and pareto make one.")
    validation_labels: Literal["correct", "wrong"] = Field(
        default="correct",
        description="The labels that the selection counts by on the validation split; scores that are shown use the true ones.",
    )
    batch_size: int = Field(default=3, ge=1, description="Training examples a step; an epoch sees each once, shuffled by the seed.")
    train_every: int = Field(
        default=0, ge=0, description="Score the whole training split every so many epochs, and once before the first; 0: never."
    )
    errors_only: bool = Field(default=False, description="Critique only the outputs that the evaluation calls wrong.")
    critiques: int = Field(default=1, ge=1, le=5, description="Critiques of each output, 1 to 5, each with a prompt critique of its own.")
    apart: bool = Field(default=False, description="Rewrite after each critique apart, in place of all critiques of the batch together.")
    paraphrases: int = Field(default=0, ge=0, le=5, description="Paraphrases of each rewritten prompt, 0 to 5, as further candidates.")
    beam: int = Field(default=1, ge=1, le=5, description="Prompts carried on side by side, 1 to 5: the best on the validation split.")
    momentum: int = Field(
        default=0,
        ge=0,
        le=20,
        description="Steps back whose prompt critiques the rewrite sees as well; 0: none. TextGrad shows so many of the last prompts.",
    )
    add_only: bool = Field(default=False, description="The old prompt stays as it is, word for word; a rewrite only adds lines to it.")
    engine: Literal["native", "textgrad", "gepa"] = Field(
        default="native",
        description="Whose code runs the stages: gradbook's own; textgrad: the library's forward, loss, backward and optimiser with its "
        "own meta-prompts; gepa: the library's reflection, acceptance and Pareto front, with update one-step and selection pareto. "
        "Batches, labels and scores are gradbook's in each. "
        "The libraries come with gradbook[textgrad] and gradbook[gepa].",
    )
    constraints: tuple[str, ...] = Field(
        default=(), description="What a rewritten prompt must keep to, a sentence each, as TextGrad's optimiser is told it."
    )
    in_context: tuple[str, ...] = Field(
        default=(), description="Examples of good prompts, a text each, that TextGrad's optimiser is to go by when it rewrites."
    )
    templates: Templates = Field(default=Templates(), description="The meta-prompts.")

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            about = f" ({self.help(name)})" if first["type"].startswith(("greater", "less")) else ""
            raise MethodError(f"Method({name}={first['input']!r}): {first['msg'].lower()}{about}") from None

    @classmethod
    def help(cls, setting: str) -> str:
        """The line that explains a setting; raises MethodError where there is no such setting."""
        if setting not in cls.model_fields:
            raise MethodError(f"there is no setting {setting!r}; there are {', '.join(cls.model_fields)}")
        return cls.model_fields[setting].description or ""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of one step, in order."""
        return stages_of(self.update)

    @property
    def sees_data(self) -> bool:
        """Whether a step looks at training examples."""
        return self.update not in PROMPT_ONLY

    @property
    def critic(self) -> bool:
        """Whether a critic evaluates, so that its prompt is a second variable."""
        return self.evaluation != "direct"

    @property
    def validates(self) -> bool:
        """Whether the selection scores prompts on the validation split."""
        return self.selection in ("validated", "guard", "pareto")

    def changed(self) -> dict[str, Any]:
        """The settings that are not the default, without the templates."""
        return self.model_dump(exclude_defaults=True, exclude={"templates"})

    @property
    def used_templates(self) -> tuple[str, ...]:
        """The names of the meta-prompts that steps under this method read."""
        if self.engine == "textgrad":  # it brings its own, but for the critic's
            return (*(name for name in Templates.model_fields if self.critic and name.startswith("critic_")), "evaluation_none")
        evaluation = [name for name in Templates.model_fields if name.startswith(("critic_", "verdict_") if self.critic else "evaluation_")]
        rewrites = {
            "three-stage": ["output_critique", "prompt_critique", "add" if self.add_only else "rewrite"],
            "one-step": ["one_step", "one_step_example"],
            "rewrite": ["paraphrase"],
            "improve": ["improve"],
        }
        if self.engine == "gepa":
            return tuple(evaluation)
        more = ["rewrite_momentum"] * bool(self.momentum) + ["paraphrase"] * bool(self.paraphrases)
        return tuple(evaluation * self.sees_data + rewrites[self.update] + more)

    @property
    def own_templates(self) -> list[str]:
        """The names of those that are not gradbook's own."""
        return [name for name in self.used_templates if getattr(self.templates, name) != getattr(Templates(), name)]

    def __repr__(self) -> str:
        shown = ("update", "labels", "evaluation", "selection", "candidates", "batch_size")
        stated = {name: getattr(self, name) for name in shown} | self.changed()
        own = [f"templates changed: {', '.join(self.own_templates)}"] if self.own_templates else []
        return f"Method({', '.join([*(f'{name}={value!r}' for name, value in stated.items()), *own])})"

    __str__ = __repr__

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """What is left out depends on the rest: prompt-only updates show no labels, some selections have one candidate, GEPA one way."""
        if settings.get("engine") == "gepa":
            settings = {"update": "one-step", "selection": "pareto", **settings}
        update, labels = settings.get("update"), settings.get("labels", "none")
        if update in PROMPT_ONLY and labels != "none":
            nothing = f"update={update!r} sees no data, so labels={labels!r} would change nothing"
            raise MethodError(f"{nothing}: leave labels out, or take {_DATA_UPDATES}")
        defaults: dict[str, Any] = {"labels": "none"} if update in PROMPT_ONLY else {}
        defaults["candidates"] = 1 if settings.get("selection") in ONE_CANDIDATE else 3
        return defaults | settings

    @model_validator(mode="after")
    def _sense(self) -> "Method":
        for nonsense, why in _refusals(self):
            if nonsense:
                raise MethodError(why)
        return self


def _refusals(m: Method) -> list[tuple[bool, str]]:
    """What makes no sense together, each with the sentence that says why and what would."""
    blind, one, other = not m.sees_data, m.selection in ONE_CANDIDATE, m.update != "three-stage"
    critiques = f"needs prompt critiques, and update={m.update!r} makes none: take update='three-stage'"
    evaluation, validated = f"evaluation={m.evaluation!r}", "set selection='validated'"
    return [
        *_of_gepa(m),
        (blind and m.critic, f"update={m.update!r} sees no data, so there is nothing for {evaluation}: take {_DATA_UPDATES}"),
        (m.critic and m.labels == "none", f"labels='none' is no evaluation at all, and {evaluation} is one: take evaluation='direct'"),
        (one and m.candidates > 1, f"{m.selection} selection takes the one candidate there is: set candidates=1, or selection='validated'"),
        (m.validation_labels == "wrong" and not m.validates, f"{m.selection} selection sees no validation labels: {validated} or 'guard'"),
        (blind and m.errors_only, f"update={m.update!r} sees no data, so errors_only=True finds no errors: take {_DATA_UPDATES}"),
        (m.errors_only and m.labels == "none", "errors_only=True needs to know which outputs are wrong: take labels='correct' or 'wrong'"),
        (m.critiques > 1 and other, f"critiques={m.critiques} {critiques}"),
        (m.apart and other, f"apart=True {critiques}"),
        (m.momentum > 0 and other, f"momentum={m.momentum} {critiques}"),
        (m.add_only and other, f"add_only=True {critiques}"),
        (
            m.add_only and m.paraphrases > 0,
            "add_only=True keeps every word of the old prompt, and paraphrases do not: leave one of them out",
        ),
        (m.add_only and m.momentum > 0, "add_only=True never drops a rule, so momentum would say it twice: leave one of them out"),
        (one and m.apart, f"apart=True makes several candidates, and {m.selection} selection takes one: {validated} or 'random'"),
        (one and m.paraphrases > 0, f"paraphrases make several candidates, and {m.selection} selection takes one: {validated} or 'random'"),
        (m.beam > 1 and m.selection != "validated", f"beam={m.beam} keeps the best on the validation split: {validated}"),
        (m.beam > 1 and m.critic, f"beam={m.beam} carries prompts on, not critics: take evaluation='direct'"),
        *_of_engines(m),
    ]


def _of_engines(m: Method) -> list[tuple[bool, str]]:
    """What the engine has not."""
    theirs = m.engine == "textgrad"
    changed = m.changed() if theirs else {}
    lacking = {
        "errors_only": "TextGrad criticises every output of a batch",
        "critiques": "TextGrad takes one gradient of each loss",
        "apart": "TextGrad's optimiser reads all gradients of a batch together",
        "paraphrases": "TextGrad's optimiser paraphrases nothing",
        "add_only": "TextGrad's optimiser writes the whole prompt anew",
    }
    return [
        (bool(m.constraints) and not theirs, "constraints are told to TextGrad's optimiser alone: take engine='textgrad'"),
        (bool(m.in_context) and not theirs, "in_context is shown to TextGrad's optimiser alone: take engine='textgrad'"),
        (
            theirs and m.update != "three-stage",
            f"TextGrad goes back by a chain rule, not by update={m.update!r}: take update='three-stage'",
        ),
        *(
            (name in changed, f"{why}, so it has no {name}={getattr(m, name)!r}: leave {name} out, or take engine='native'")
            for name, why in lacking.items()
        ),
    ]


def _of_gepa(m: Method) -> list[tuple[bool, str]]:
    """What GEPA has not; it has a selection that nobody else has."""
    gepa, ours = m.engine == "gepa", "leave it out, or take engine='native'"
    others = ("validation_labels", "errors_only", "critiques", "apart", "paraphrases", "beam", "momentum", "add_only")
    changed = [f"{name}={value!r}" for name in others if (value := getattr(m, name)) != Method.model_fields[name].default]
    return [
        (not gepa and m.selection == "pareto", "selection='pareto' is GEPA's acceptance and its front: take engine='gepa' with it"),
        (gepa and m.update != "one-step", f"GEPA reflects on outputs and feedback in one step, not update={m.update!r}: {ours}"),
        (gepa and m.selection != "pareto", f"GEPA accepts by the batch and keeps a Pareto front, not selection={m.selection!r}: {ours}"),
        (gepa and m.critic, f"GEPA's scores are those of the task, not evaluation={m.evaluation!r}: {ours}"),
        (gepa and m.candidates > 1, f"GEPA reflects once on a batch, not candidates={m.candidates}: {ours}"),
        (gepa and bool(changed), f"{' and '.join(changed)}: GEPA has no such setting: {ours}"),
    ]


# said once, in the fields, and told by help(Method) as well
_ARGS = "\n".join(f"        {name}: {field.description}" for name, field in Method.model_fields.items())
Method.__doc__ = (Method.__doc__ or "").replace("    Raises:", f"    Args:\n{_ARGS}\n\n    Raises:")
