"""A case or a study in one file, to hand on. `pack` writes it; `unpack` makes the folder again and takes nothing but what belongs there."""

import contextlib
import os
import re
import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gradbook.errors import CaseError, PackError
from gradbook.files import MOST_WHOLE, OWN, Folder, explain
from gradbook.journal import NAME as CASE
from gradbook.recording import Recording
from gradbook.studies import Study
from gradbook.studies.design import EXAMPLES
from gradbook.studies.design import NAME as STUDY
from gradbook.studies.store import NAME as RESULTS
from gradbook.tasks import Task

ENDING = ".zip"
_NAMES = {*OWN, STUDY, EXAMPLES, RESULTS}
_PART = re.compile(r"[^\W_][\w.-]{0,99}", re.ASCII)  # a folder of a study: no dot before it, and nothing that leads elsewhere
_FIRST = re.compile(r"[^.\\/:\x00-\x1f][^\\/:\x00-\x1f]{0,199}")
_DEEPEST = 3  # folders below the first: trials/ARM/TRIAL
_MEMBERS = 500_000
_TIME = (1980, 1, 1, 0, 0, 0)  # the same case makes the same file
_CHUNK = 1 << 20
# what zipfile raises of a file that a stranger bent: names that are no UTF-8, offsets beyond it, members that want a password
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, RuntimeError)
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def pack(path: str | Path, out: str | Path | None = None, *, private: bool = False) -> Path:
    """Write a case or a study as one zip file, to be opened by `unpack`, and return where to.

    Only gradbook's own files go in: journal, calls, settings, README; of a study its trials as well. A file that is there already is
    replaced in one go. The same case gives the same bytes.

    Args:
        path: the folder of a case or of a study.
        out: the file, which ends in `.zip`; by default beside the folder, by its name.
        private: whether examples that must not be published may go in; whoever gets the file has them.

    Raises:
        PackError: another ending, examples that must not be published, or the file cannot be written.
        CaseError: the folder is neither, is damaged, or holds something else than plain files.
    """
    folder = Folder(path)
    tasks = _tasks(folder.path)
    if not private and (kept := next((task.name for task in tasks if task.private), None)):
        raise PackError(f"{folder.path} holds examples of {kept}, which must not be published; pass private=True if the file stays private")
    target = Path(out).expanduser() if out else folder.path.with_name(folder.path.name + ENDING)
    if target.suffix.lower() != ENDING:
        raise PackError(f"{target.name} should end in {ENDING}")
    draft = target.with_name(f".{secrets.token_hex(8)}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
            for inner, name in _files(folder):
                _put(file, inner, name, PurePosixPath(folder.path.name, *inner.path.relative_to(folder.path).parts, name))
        os.replace(draft, target)
    except OSError as error:
        raise PackError(str(explain(error, target))) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return target


def unpack(file: str | Path, into: str | Path | None = None, *, most: int = MOST_WHOLE) -> Path:
    """Make the folder of a packed case or study, from whoever sent it, and return where it is.

    It is data: nothing in it runs, and nothing is written outside the new folder, which is there once all of it was checked and opens.
    `gb.Recording` and `gb.Study` read it.

    Args:
        file: what `pack` wrote.
        into: the new folder; by default beside the file, by the name of the folder that was packed.
        most: bytes that it may take unpacked, a gigabyte unless said otherwise: a small file can hold endless zeros.

    Raises:
        PackError: it is no such file, something of the folder's name is there, or it holds a link, a path that leads elsewhere, a file
            that belongs to no case, or more than `most`.
        CaseError: what was packed is damaged, or is neither a case nor a study.
    """
    source = Path(file).expanduser()
    try:
        with zipfile.ZipFile(source) as packed:
            members = _checked(packed, source, most)
            target = Folder(into if into is not None else source.absolute().with_name(next(iter(members.values())).parts[0])).path
            if os.path.lexists(target):
                raise PackError(f"{target} is there already; name another folder")
            draft = target.with_name(f".{secrets.token_hex(8)}.new")
            try:
                for member, inside in members.items():
                    _take(packed, member, draft.joinpath(*inside.parts[1:]), source)
                _tasks(draft)  # what does not open is not left behind
                os.rename(draft, target)
            except CaseError as error:
                raise CaseError(str(error).replace(str(draft), f"{source}: {target.name}")) from None
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise PackError(str(explain(error, error.filename or source))) from None
    except _DAMAGE as error:
        raise PackError(f"{source} is no packed case, or was damaged on its way ({str(error)[:120]}); ask for it again") from None
    return target


def _tasks(path: Path) -> list[Task]:
    """The tasks of the case or study in a folder, which is opened to see that it can be."""
    if Folder(path).has(STUDY):
        study = Study(path)
        study.store.results()
        return list(study.design.tasks.values())
    if Folder(path).has(CASE):
        return [Recording(path).task]
    raise CaseError(f"{path} is neither a case nor a study: it holds no {CASE} and no {STUDY}")


def _files(folder: Folder, depth: int = 0) -> Iterator[tuple[Folder, str]]:
    """Gradbook's own files in a folder and below it, in order."""
    for name in sorted(_NAMES):
        if folder.has(name):
            yield folder, name
    if depth < _DEEPEST:
        with os.scandir(folder.path) as found:
            below = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False) and _PART.fullmatch(entry.name))
        for name in below:
            yield from _files(Folder(folder.path / name), depth + 1)


def _put(file: zipfile.ZipFile, folder: Folder, name: str, place: PurePosixPath) -> None:
    info = zipfile.ZipInfo(str(place), _TIME)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, (stat.S_IFREG | 0o644) << 16
    with file.open(info, "w", force_zip64=True) as to:
        for chunk in folder.chunks(name):
            to.write(chunk)


def _checked(packed: zipfile.ZipFile, source: Path, most: int) -> dict[zipfile.ZipInfo, PurePosixPath]:
    """Where each file goes, once nothing in the list of them is other than it should be."""
    members = [member for member in packed.infolist() if not member.filename.endswith("/")]
    if not members or len(members) > _MEMBERS:
        raise PackError(f"{source} holds {len(members):,} files, and a packed case holds 1 to {_MEMBERS:,}")
    places = {member: _place(member, source) for member in members}
    if len({str(place).casefold() for place in places.values()}) < len(members):
        raise PackError(f"{source} holds two files of one name; ask for it again")
    if len({place.parts[0] for place in places.values()}) > 1:
        raise PackError(f"{source} holds several folders, and a packed case is one")
    if (size := sum(member.file_size for member in members)) > most:
        raise PackError(f"{source} would take {size:,} bytes, more than {most:,}; pass most= if you trust whoever sent it")
    return places


def _place(member: zipfile.ZipInfo, source: Path) -> PurePosixPath:
    """The place of a file below the folder; raises PackError where it is no plain file of a case."""
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    place = PurePosixPath(name)
    if kind not in (0, stat.S_IFREG):
        raise PackError(f"{source} holds {name[:100]!r}, which is a link or a device; a case is plain files only")
    folders = place.parts[:-1]
    inside = folders and _FIRST.fullmatch(folders[0]) and all(map(_PART.fullmatch, folders[1:]))
    if not inside or str(place) != name:
        raise PackError(f"{source} holds {name[:100]!r}, which leads out of its folder; nothing was unpacked")
    if place.name not in _NAMES or len(folders) > _DEEPEST + 1:
        raise PackError(f"{source} holds {name[:100]!r}, which is no file of a case or a study; nothing was unpacked")
    if member.flag_bits & 1 or member.compress_type not in _PLAIN:
        raise PackError(f"{source} holds {name[:100]!r} encrypted or packed in an unusual way; ask for a file that gradbook pack wrote")
    return place


def _take(packed: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, source: Path) -> None:
    """Write one file, of no more bytes than were told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with packed.open(member) as data, open(path, "xb") as to:
        while chunk := data.read(_CHUNK):
            if (left := left - len(chunk)) < 0:
                raise PackError(f"{source} holds more of {member.filename!r} than it says; nothing was unpacked")
            to.write(chunk)
