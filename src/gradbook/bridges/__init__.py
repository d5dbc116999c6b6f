"""Ways in for runs that are not gradbook's: what another library's loop does, kept as a case; `bridges.gepa` is imported by its name."""

from gradbook.bridges.textgrad_loop import record

__all__ = ["record"]
