"""The stub in a process of its own, so that it takes no time from what is measured: `python server.py LATENCY` prints its URL.

Each reply is a prompt of its own, so that every candidate has to be scored.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from stub import Stub, echo_hash, serve


def reply(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
    """Words that depend on content and seed, as a new prompt in the tags that are asked for."""
    tag = "IMPROVED_VARIABLE" if "<IMPROVED_VARIABLE>" in messages[0]["content"] else "prompt"
    return f"<{tag}>Answer K1. {echo_hash(messages, body)}</{tag}>"


if __name__ == "__main__":
    serve(Stub(reply=reply, latency=float(sys.argv[1])))
