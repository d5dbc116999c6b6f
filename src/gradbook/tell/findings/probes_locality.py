"""The probe of locality in words and rows."""

from typing import TYPE_CHECKING, get_args

import numpy as np

from gradbook.findings.probes_locality import Critiques, Locality
from gradbook.tell.findings.probes_noise import GOOD
from gradbook.tell.findings.views import FindingView, GridView
from gradbook.tell.overviews import Figure
from gradbook.tell.words import NOTHING, count, spaced

_PARTS = ("nearest third of the pairs", "middle third", "farthest third")

if TYPE_CHECKING:
    from gradbook.recording import Recording


def locality(_: "Recording | None", found: Locality) -> FindingView:
    """How far critiques are apart, by how far their prompts are."""
    prompts = tuple(
        (Figure(name), Figure(_points(found.apart[0][n])), *(Figure(_points(found.between(stage)[0, n])) for stage in get_args(Critiques)))
        for n, name in enumerate(found.prompts)
    )
    of = tuple(f"their {spaced(stage)}s" for stage in get_args(Critiques))
    return FindingView(
        id=found.id,
        kind=found.kind,
        title=found.title,
        step=found.step,
        split="",
        asked=f"{found.hypothesis} {count(len(found.prompts), 'prompt')}, criticised on {count(len(found.examples), 'example')}, "
        f"{found.replicates} times each. The margin is {100 * found.margin:g} points; each word is wrong in at most 5 %.",
        verdict=found.verdict,
        good=GOOD.get(found.verdict),
        sentence=str(found),
        grids=(
            GridView("How far texts are apart on the mean, 0 to 100 (1 minus the cosine of TF–IDF)", ("", "prompts", *of), _pairs(found)),
            GridView("How far each prompt is from the first; of the first, fresh draws", ("prompt", "prompts", *of), prompts),
        ),
        remarks=_remarks(found),
        code=f'case.finding("{found.id}")',
    )


def _pairs(found: Locality) -> tuple[tuple[Figure, ...], ...]:
    """Fresh draws of one prompt, and the pairs of prompts in thirds from near to far."""
    pairs = np.triu_indices(len(found.prompts), 1)
    apart = np.array(found.apart, dtype=float)[pairs]
    tables = {stage: found.between(stage)[pairs] for stage in get_args(Critiques)}
    first = (Figure("fresh draws of one prompt"), Figure(_points(0.0)), *(Figure(_points(found.floor(stage))) for stage in tables))

    def third(name: str, some: np.ndarray) -> tuple[Figure, ...]:
        known = {stage: table[some][np.isfinite(table[some])] for stage, table in tables.items()}
        means = (Figure(_points(values.mean() if values.size else None)) for values in known.values())
        return (Figure(name), Figure(_points(apart[some].mean())), *means)

    return (first, *map(third, _PARTS, np.array_split(np.argsort(apart, kind="stable"), 3)))


def _remarks(found: Locality) -> tuple[str, ...]:
    said = []
    if any(value is None for table in found.critiques.values() for row in table for value in row):
        said.append("Some critiques are missing, as they were lost or as the output was not called wrong: those pairs are left out.")
    if len(words := {found.word(stage) for stage in get_args(Critiques)}) > 1 and "cannot tell" not in words:
        other = next(stage for stage in get_args(Critiques) if stage != found.by)
        said.append(f"By the {spaced(other)}s it {found.word(other)}.")
    return tuple(said)


def _points(value: float | None) -> str:
    return NOTHING if value is None or not np.isfinite(value) else f"{100 * value:.1f}"
