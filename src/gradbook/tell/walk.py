"""The tree of steps as lines, each with its indentation: how the workbench, the export and the command line list a case."""

from collections.abc import Iterable

from gradbook.records import Step


def walk(steps: Iterable[Step]) -> list[tuple[int, Step]]:
    """Steps with their indentation; replicates and arms of findings are left out.

    A branch stands below its origin, one in; the first child of a step is level with it, others are one in. The steps of a
    beam follow each other on one level, since they ran as one line.
    """
    branches: dict[int, list[Step]] = {}
    after: dict[int, list[Step]] = {}
    beams: dict[int, list[int]] = {}  # members so far, by the first of them
    everything = {step.id: step for step in steps}
    by_id = {step.id: step for step in everything.values() if not step.aside}
    for step in by_id.values():
        if step.origin is not None:
            branches.setdefault(_listed(step.origin, everything), []).append(step)
        elif step.parent is not None:
            parent = by_id[_listed(step.parent, everything)]
            fellows = beams.setdefault(_first(step), [])
            before = fellows or (beams.get(_first(parent), []) if parent.origin is None else [])
            after.setdefault(before[-1] if before else parent.id, []).append(step)
            fellows.append(step.id)
    lines, pending = [], [(0, by_id[0])]
    while pending:  # a loop, since a case may be deeper than Python's recursion goes
        indent, step = pending.pop()
        lines.append((indent, step))
        first, *others = after.get(step.id, [None])
        below = [(indent + 1, other) for other in [*branches.get(step.id, []), *others]] + ([(indent, first)] if first else [])
        pending += reversed(below)
    return lines


def _listed(id: int, steps: dict[int, Step]) -> int:
    """The step itself, or what a step that is not listed was made from."""
    while (step := steps[id]).aside:
        id = next(other for other in (step.replicate_of, step.origin, step.parent) if other is not None)
    return id


def _first(step: Step) -> int:
    """The first step of the beam that a step is a member of; without a beam the step itself."""
    return step.fellows[0] if step.fellows else step.id
