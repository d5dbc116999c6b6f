"""What was found about a step, in frozen views: one for every kind of finding, so that one panel and one section lay all of them out.

To tell a kind: a module here with a function of the recording (None for a finding that tells itself alone) and the record of its kind,
and a row in `_TELLERS`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradbook.costs import plan
from gradbook.errors import GradbookError
from gradbook.findings import ASKS, Ask, Finding
from gradbook.tell.findings.ablation import ablate
from gradbook.tell.findings.noise import noise
from gradbook.tell.findings.prevalence import prevalence
from gradbook.tell.findings.probes import additivity, sign, step_size
from gradbook.tell.findings.probes_locality import locality
from gradbook.tell.findings.probes_noise import batch_noise
from gradbook.tell.findings.trace import trace
from gradbook.tell.findings.views import AskView, FindingView, FoundRow

if TYPE_CHECKING:
    from gradbook.recording import Recording

__all__ = ["AskView", "FindingView", "FoundRow", "asks", "finding"]

_TELLERS: dict[str, Callable[["Recording | None", Any], FindingView]] = {
    "noise": noise,
    "trace": trace,
    "ablate": ablate,
    "prevalence": prevalence,
    "batch_noise": batch_noise,
    "sign": sign,
    "step_size": step_size,
    "additivity": additivity,
    "locality": locality,
}
"""What tells the record of each kind."""


def finding(rec: "Recording | None", found: Finding) -> FindingView:
    """What was found, to be laid out; with its recording, also what it cost."""
    told = _TELLERS[found.kind](rec, found)
    sentence = told.sentence.removeprefix(f"{told.verdict}: ")  # the word stands above it
    remarks = (*filter(None, [found.looked]), *told.remarks)
    told = replace(told, sentence=sentence[:1].upper() + sentence[1:], remarks=remarks)
    event = rec.found.get(found.id) if rec else None
    return told if rec is None or event is None else replace(told, spent=str(rec.spent_for(event)))


def asks(rec: "Recording", step: int, locked: str = "") -> tuple[AskView, ...]:
    """What can be asked of a step, with its price; `locked` says why nothing can be run."""
    return tuple(_ask(rec, kind, ask, step, locked) for kind, ask in ASKS.items())


def _ask(rec: "Recording", kind: str, ask: Ask, step: int, locked: str) -> AskView:
    try:
        cost = plan(rec, ask.calls(rec, rec[step]))
        price, closed = f"{cost}." if cost.calls else "No calls: what it needs is on record.", bool(locked)
    except GradbookError as error:
        price, closed = f"Not here: {error}", True
    return AskView(kind, ask.record.title, ask.record.hypothesis, price, closed)
