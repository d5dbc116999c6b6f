"""Ways in for runs that are not gradbook's: what another library's loop does, kept as a case."""

from gradbook.bridges.textgrad_loop import record

__all__ = ["record"]
