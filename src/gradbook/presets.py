"""Other methods of the textual-gradient family, as settings of the same stages. Each docstring says what is kept and what differs.

    case = gb.Case("cases/mine", task=task, model=model, method=gb.presets.protegi())

Any setting of `Method` may be given in place of the preset's own.
"""

from typing import Any

from gradbook.loop import Method


def protegi(**settings: Any) -> Method:
    """ProTeGi, "prompt optimization with textual gradients": Pryzant et al. 2023, arXiv 2305.03495.

    Kept: only errors are criticised; several critiques of each; each critique is edited into the prompt apart, several times;
    each edit is paraphrased; a beam of the best prompts is carried on.

    Differs: there one call names several reasons for a group of errors, here each critique is a call about one error, and goes
    through a prompt critique of its own. There a bandit (UCB, successive rejects) spends a budget of evaluations on the
    candidates, here every one is scored on the whole validation split. There the successors of a prompt are sampled down to
    eight, here all are kept: with a batch of 3, at most 3 · 2 · 2 · (1 + 1) = 24 a prompt. Their experiments take batches of 64,
    four critiques of four errors together, one edit and two paraphrases. Meta-prompts are gradbook's own.
    """
    return _preset(settings, errors_only=True, critiques=2, apart=True, candidates=2, paraphrases=1, beam=4, selection="validated")


def momentum(steps: int = 3, **settings: Any) -> Method:
    """Momentum over past critiques, as TextGrad's optimiser offers it: Yuksekgonul et al. 2024, arXiv 2406.07496.

    Args:
        steps: how many steps back.

    Kept: the optimiser reads the feedback of the last steps beside that of the batch, and may say again what was lost.

    Differs: TextGrad shows past values of the variable together with their feedback, here the past prompt critiques alone,
    as one list, oldest first; what a step did not take over is in it as well as what it took.
    """
    return _preset(settings, momentum=steps)


def textgrad(**settings: Any) -> Method:
    """TextGrad itself, its own code with its own meta-prompts: Yuksekgonul et al. 2024, arXiv 2406.07496. Needs `gradbook[textgrad]`.

    Kept: forward, loss, backward and optimiser are the library's, called one at a time; the one rewrite is taken unseen.

    Differs: the calls are gradbook's, and those of a batch run together; gradients come in the order of the batch, where TextGrad's sets
    have none; the format part of the prompt is shown in the conversation and not optimised. Where TextGrad's own script keeps a prompt
    only if it is no worse on the validation split, take selection="guard".
    """
    return _preset(settings, engine="textgrad", selection="naive")


def gepa(**settings: Any) -> Method:
    """GEPA itself, its own reflection, acceptance and Pareto front: Agrawal et al. 2025, arXiv 2507.19457. Needs `gradbook[gepa]`.

    Kept: the reflection's prompt and how its reply is read, the acceptance by the sum of the scores on a minibatch of 3, the validation of
    what is accepted, the front, and the draw of each parent from it are the library's, with the defaults of `gepa.optimize`.

    Differs: a candidate is one prompt; there is no merge. The feedback is gradbook's evaluation. The last batch of an epoch is shorter
    where GEPA fills it up, and the draw is seeded by case and step. A reply that was cut off makes no candidate.
    """
    return _preset(settings, engine="gepa")


def add_only(**settings: Any) -> Method:
    """Add-only edits: the prompt grows and nothing that is in it is ever changed.

    Kept: the idea that users of GEPA (issue 269) ask for and that keeps a small model from dropping rules: an edit may add, not
    rewrite. It is enforced: the reply is put after the old prompt.

    Differs: an optimiser of that kind usually works on a list of entries with counters (as ACE does: Zhang et al. 2025, arXiv
    2510.04618); here the prompt stays a text, and nothing removes what is said twice in other words.
    """
    return _preset(settings, add_only=True)


def _preset(settings: dict[str, Any], **own: Any) -> Method:
    return Method(**(own | settings))
