"""What there is to say of a stage, in one table: to add a stage, add a row, and a function of its name in `stages.py`."""

from dataclasses import dataclass

from gradbook.records import EditField, Role, Stage, Step


@dataclass(frozen=True)
class StageInfo:
    """A stage: `title` is for people, `updates` are the ones that run it, `fields` what can be edited in it.

    `reads` names the stages whose records it is made from: of several lists, the first that the step has all stages of. `roles` are
    asked by it. `templates` maps its meta-prompts to the placeholders that each needs.
    """

    title: str
    updates: tuple[str, ...]
    reads: tuple[tuple[Stage, ...], ...]
    fields: tuple[EditField, ...]
    roles: tuple[Role, ...]
    templates: dict[str, tuple[str, ...]]


STAGE_INFO: dict[Stage, StageInfo] = {
    "predict": StageInfo("Predict", ("three-stage", "one-step"), ((),), ("prediction",), ("task", "critic"), {}),
    "evaluate": StageInfo(
        title="Evaluate",
        updates=("three-stage", "one-step"),
        reads=(("predict",),),
        fields=("label", "evaluation"),
        roles=("critic",),
        templates={
            "evaluation_right": (),
            "evaluation_wrong": ("label",),
            "evaluation_unparsed": ("label",),
            "evaluation_none": (),
            "critic_seed": (),
            "critic_input": ("input", "output"),
            "critic_binary": (),
            "critic_score": (),
            "verdict_right": (),
            "verdict_wrong": ("label",),
            "verdict_unparsed": ("label",),
        },
    ),
    "output_critique": StageInfo(
        title="Output critique · ∂L/∂ŷ",
        updates=("three-stage",),
        reads=(("predict", "evaluate"),),
        fields=("output_critique",),
        roles=("critic",),
        templates={"output_critique": ("input", "output", "evaluation")},
    ),
    "prompt_critique": StageInfo(
        title="Prompt critique · ∂L/∂θ",
        updates=("three-stage",),
        reads=(("predict", "output_critique"),),
        fields=("prompt_critique",),
        roles=("critic",),
        templates={"prompt_critique": ("prompt", "output_critique")},
    ),
    "rewrite": StageInfo(
        title="Rewrite",
        updates=("three-stage", "one-step", "rewrite", "improve"),
        reads=(("prompt_critique",), ("predict", "evaluate"), ()),
        fields=("candidate",),
        roles=("optimizer",),
        templates={
            "rewrite": ("prompt", "critiques"),
            "rewrite_momentum": ("prompt", "past", "critiques"),
            "add": ("prompt", "critiques"),
            "one_step": ("prompt", "examples"),
            "one_step_example": ("input", "output", "evaluation"),
            "paraphrase": ("prompt",),
            "improve": ("prompt",),
        },
    ),
    "select": StageInfo(
        "Select", ("three-stage", "one-step", "rewrite", "improve"), (("rewrite",),), ("selection",), ("task", "critic"), {}
    ),
}
EDIT_STAGE: dict[EditField, Stage] = {field: stage for stage, info in STAGE_INFO.items() for field in info.fields}
"""The stage that an edit of a field is executed at."""


def stages_of(update: str) -> tuple[Stage, ...]:
    """The stages that an update runs, in order."""
    return tuple(stage for stage, info in STAGE_INFO.items() if update in info.updates)


def upstream(step: Step, stage: Stage) -> tuple[Stage, ...]:
    """The stages of a step whose records `stage` is made from."""
    return next(reads for reads in STAGE_INFO[stage].reads if set(reads) <= set(step.stages))
