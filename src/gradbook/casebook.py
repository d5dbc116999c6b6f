"""The notebooks and recorded cases that come with gradbook, laid out in a folder of one's own."""

import shutil
from pathlib import Path

from gradbook.errors import CaseError
from gradbook.files import explain

PARTS = ("notebooks", "casestudies")
_HERE = Path(__file__).parent
SOURCE = _HERE / "casebook" if (_HERE / "casebook").is_dir() else _HERE.parent.parent  # in a wheel; in a clone
_NOT = shutil.ignore_patterns("cases", "*.lock", ".*", "__pycache__")


def lay_out(folder: str | Path) -> tuple[Path, ...]:
    """Copy the notebooks and the cases that they read to a folder, which is made where it is not there; returns the two new folders.

    Raises:
        CaseError: one of them is there already, or the folder cannot be written to.
    """
    places = tuple(Path(folder) / part for part in PARTS)
    for place in places:
        if place.exists():
            raise CaseError(f"{place} is there already, and nothing in it is touched; name another folder")
    for part, place in zip(PARTS, places, strict=True):
        try:
            shutil.copytree(SOURCE / part, place, ignore=_NOT)
        except OSError as error:
            raise explain(error, place) from None
    return places
