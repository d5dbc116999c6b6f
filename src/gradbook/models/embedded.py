"""Local weights behind llama.cpp's own server on loopback, so that a local model is called like any other."""

import atexit
import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from gradbook.errors import ModelError

if TYPE_CHECKING:
    from gradbook.models.client import Address

CORES = os.cpu_count() or 1
# Each slot reads a shared prompt for itself, and without spare cores a batch is not faster than one reply after the other:
# 24 short requests with a common prompt cost 49 s of processor time on 2 slots and 71 s on 8.
SLOTS = min(8, CORES)
CONTEXT = 4096


_servers: dict[tuple[Path, int], "tuple[Address, Any]"] = {}
_starting = threading.Lock()


def serve(path: Path, context: int = CONTEXT) -> "Address":
    """Where the server of a weights file is: started on first use, shared by everything in this process, stopped with it.

    Args:
        path: of a `.gguf` file.
        context: tokens that a prompt and its reply may have together; each context has a server of its own.

    Raises:
        ModelError: the file cannot be loaded.
    """
    file = path.resolve()
    with _starting:
        if (file, context) not in _servers:
            _servers[file, context] = _start(file, context)
        return _servers[file, context][0]


def threads() -> int:
    """GRADBOOK_THREADS, else all cores of a small machine and all but one of a larger one.

    llama.cpp's threads wait for each other at every layer: where something else keeps one core of two busy, two threads
    are five to ten times slower than one, so set GRADBOOK_THREADS=1 there.

    Raises:
        ModelError: GRADBOOK_THREADS is not a whole number above 0.
    """
    named = os.environ.get("GRADBOOK_THREADS")
    if not named:
        return CORES if CORES <= 2 else CORES - 1
    if not named.isdecimal() or int(named) < 1:
        raise ModelError(f"GRADBOOK_THREADS must be a whole number above 0, not {named!r}.")
    return int(named)


def check(path: str | Path) -> None:
    """Refuse at once a file that cannot be weights; loading it is left to `serve`.

    Raises:
        ModelError: there is no such file, or it does not begin as a GGUF file does.
    """
    try:
        with Path(path).open("rb") as stream:
            magic = stream.read(4)
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be
        raise ModelError(f"Cannot read the weights {path} ({getattr(error, 'strerror', None) or error}).") from None
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file, so it cannot be loaded as weights.")


def _start(file: Path, context: int) -> "tuple[Address, Any]":
    import xllamacpp

    from gradbook.models.client import Address

    check(file)
    key = secrets.token_urlsafe(24)
    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.api_keys = [key]
    settings.n_parallel = SLOTS
    settings.n_ctx = SLOTS * context
    settings.cpuparams.n_threads = threads()
    settings.cache_ram_mib = 0  # copying slots to and from it was slower than reading the shared prompt again
    settings.ui = False
    settings.verbosity = -1
    try:
        native = xllamacpp.Server(settings)
    except RuntimeError:
        raise ModelError(f"llama.cpp cannot load {file}: the file is damaged, of an unknown kind, or too large for the memory.") from None
    return Address(SecretStr(f"{native.listening_address}/v1"), SecretStr(key)), native


# before the interpreter goes down, and native threads with it
atexit.register(_servers.clear)
