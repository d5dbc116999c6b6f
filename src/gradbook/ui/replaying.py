"""A notebook for a recorded case, from the command line."""

import json
import os
from pathlib import Path

from gradbook.files import Folder
from gradbook.recording import Recording
from gradbook.ui.stepper import Stepper
from gradbook.ui.waking import cases, plain_name


def replay(case: Recording) -> Path:
    """A notebook in `cases` of the working folder that opens a recording in the workbench; one that is there already is left as it is.

    Raises:
        CaseError: it cannot be written.
    """
    path = cases() / f"replay_{plain_name(case)}.ipynb"
    folder = Folder(path.parent)
    folder.make()
    if folder.has(path.name):
        return path
    opened = f"gb.Recording({json.dumps(_from(path.parent, case.path), ensure_ascii=False)})"
    shown = (Stepper(case)._repr_mimebundle_() or ({}, {}))[0]
    output = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/html": shown["text/html"]}}
    code = f"import gradbook as gb\n\nstepper = gb.Stepper({opened})\nstepper"
    cell = {"cell_type": "code", "id": "replay", "metadata": {}, "execution_count": 1, "source": code, "outputs": [output]}
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    made = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    folder.write(path.name, json.dumps(made, ensure_ascii=False, indent=1).encode())
    return path


def _from(folder: Path, path: Path) -> str:
    """A path as it is seen from a folder."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # on another drive
        return str(path)
