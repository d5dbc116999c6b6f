"""A static site of the cases, studies and notebooks: `python casestudies/gallery.py --into build/gallery`, or `make gallery`.

It opens from the file system and asks for nothing from elsewhere. A case and a study are the pages that they export by themselves.
"""

import argparse
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import mistune
import nbformat
from markupsafe import Markup, escape

import gradbook as gb
from gradbook import page
from gradbook.export.report import Part

ROOT = Path(__file__).resolve().parent.parent
_MARKDOWN = mistune.create_markdown(plugins=["table"])
SEARCH = """const field = document.querySelector("input"), rows = [...document.querySelectorAll("li[data-page]")];
const said = document.querySelector("[role=status]");
field.oninput = () => {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    shown += !row.hidden;
  }
  for (const part of document.querySelectorAll("section")) part.hidden = !part.querySelector("li[data-page]:not([hidden])");
  said.textContent = words.length ? `${shown} of ${rows.length} shown` : "";
};"""
NOTEBOOK = """
.gb-code { background: light-dark(#f3f5f7, #1c2229); border-left: 3px solid var(--gb-accent); padding: 8px 12px; overflow-x: auto; }
pre { overflow-x: auto; }
nav > ol { list-style: none; padding: 0; }
nav:not(:has(li)) { display: none; }
table.dataframe { border: 0; border-collapse: collapse; font-size: 13px; }
table.dataframe :is(td, th) { border: 0; border-bottom: 1px solid var(--gb-line); padding: 4px 10px; }
table.dataframe :is(td, th) { text-align: left !important; vertical-align: top !important; } /* pandas' own rules come later */
.gb-scroll { margin-bottom: 1em; }
table:not([class]) { border-collapse: collapse; }
table:not([class]) :is(td, th) { padding: 4px 16px 4px 0; border-bottom: 1px solid var(--gb-line); text-align: left; }
@media (max-width: 600px) { table.dataframe td.gb-long { min-width: 16em; } }
"""
INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>gradbook: the casebook</title>
<style>{style}
.gb-search {{ width: min(100%, 28rem); min-height: 32px; padding: 0 8px; }}
.gb-cases {{ list-style: none; padding: 0; }}
.gb-cases > li {{ padding: 12px 0; border-bottom: 1px solid var(--gb-line); }}</style></head>
<body><main class="gradbook gradbook-report"><h1>The casebook</h1>
<p>What was recorded and read with gradbook {version}. Each page reads by itself; to perturb a case, open it:
<code>gradbook replay casestudies/NAME</code>.</p>
<p><label>Search <input type="search" class="gb-search"></label> <span role="status" class="gb-dim"></span></p>
{sections}</main><script>{script}</script></body></html>
"""


@dataclass(frozen=True)
class Entry:
    """A page of the gallery: its file, what it is called, the line that says what it shows, and the whole of what is told about it."""

    file: str
    title: str
    line: str
    about: Markup


def build(into: Path, root: Path = ROOT) -> Path:
    """Make the site in a new or empty folder, and return its index.

    Raises:
        GradbookError: the folder holds something.
    """
    if into.exists() and any(into.iterdir()):
        raise gb.GradbookError(f"{into} holds something already; name a new folder, or empty it")
    into.mkdir(parents=True, exist_ok=True)
    sections = {"Notebooks": list(_notebooks(root, into)), "Cases and studies": list(_cases(root, into))}
    told = "".join(_section(name, entries) for name, entries in sections.items())
    hashed = b64encode(sha256(SEARCH.encode()).digest()).decode()
    index = INDEX.format(hash=hashed, style=page.style(), version=gb.__version__, sections=told, script=SEARCH)
    (into / "index.html").write_text(index, encoding="utf-8")
    return into / "index.html"


def _section(name: str, entries: list[Entry]) -> str:
    rows = Markup("").join(
        Markup('<li data-page="{file}"><a href="{file}"><strong>{title}</strong></a><br>{line}{about}</li>').format(**vars(entry))
        for entry in entries
    )
    return f'<section><h2>{escape(name)}</h2><ul class="gb-cases">{rows}</ul></section>'


def _cases(root: Path, into: Path) -> Iterator[Entry]:
    for folder in sorted(path.parent for path in (root / "casestudies").glob("*/README.md")):
        file = f"{folder.name}.html"
        text = (folder / "README.md").read_text(encoding="utf-8")
        title, line = [*_title(text).split(": ", 1), ""][:2]
        if (folder / "study.toml").exists():
            gb.Study(folder).export(into / file)
        elif (folder / "journal.jsonl").exists():
            gb.Recording(folder).export(into / file)
        else:  # its texts may not be published
            _write(into / file, title, [Part("title", 1, _title(text)), Part("about", html=_below(text))])
        _lead_back(into / file)
        about = Markup("<details><summary>What was run, and what it does not show</summary>{}</details>").format(_below(text))
        yield Entry(file, title, line[:1].upper() + line[1:], about)


def _notebooks(root: Path, into: Path) -> Iterator[Entry]:
    asks = dict(re.findall(r"^\| \[`(\w+)`\]\(.*?\) \| (.*) \|$", (root / "README.md").read_text(encoding="utf-8"), re.M))
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        text = notebook.cells[0].source
        title = _title(text)
        notebook.cells[0].source = text.partition("\n")[2]
        parts = [Part("title", 1, title), *(part for n, cell in enumerate(notebook.cells) for part in _cell(cell, f"cell-{n}"))]
        _write(into / f"{path.stem}.html", title, parts)
        _lead_back(into / f"{path.stem}.html")
        if not (line := asks.get(path.stem, "")):
            raise gb.GradbookError(f"README.md asks no question for {path.name}: give it a row in the table of the casebook")
        yield Entry(f"{path.stem}.html", title, line[:1].upper() + line[1:], _headings(notebook))


def _write(file: Path, title: str, parts: list[Part]) -> None:
    html = page.render("report", title=title, style=page.style() + Markup(NOTEBOOK), parts=parts)
    file.write_text(html, encoding="utf-8")


def _headings(notebook: nbformat.NotebookNode) -> Markup:
    found = [
        line.lstrip("# ")
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line[:3] == "## "
    ]
    rows = Markup("").join(Markup("<li>{}</li>").format(each) for each in found)
    return Markup("<details><summary>What is in it</summary><ul>{}</ul></details>").format(rows)


def _cell(cell: nbformat.NotebookNode, id: str) -> Iterator[Part]:
    """A cell as it is stored: Markdown, in pieces that begin with its headings, or code with its outputs."""
    if cell.cell_type == "code":
        code = Markup('<pre class="gb-code"><code>{}</code></pre>').format(cell.source)
        yield Part(id, html=code + Markup("").join(_output(output) for output in cell.outputs))
        return
    first, *others = re.split(r"^## (.*)$", _linked(cell.source), flags=re.M)
    yield Part(id, html=Markup(_MARKDOWN(first)))
    for n, (heading, text) in enumerate(zip(others[::2], others[1::2], strict=True)):
        yield Part(f"{id}-{n}", title=heading, html=Markup(_MARKDOWN(text)))


def _output(output: nbformat.NotebookNode) -> Markup:
    data = output.get("data", {})
    if "text/html" in data:
        html = re.sub(r"<td>(?=[^<]{60})", '<td class="gb-long">', data["text/html"])  # on a phone a text needs room, and a number none
        return Markup('<div class="gb-scroll" tabindex="0" role="region" aria-label="Output">{}</div>').format(Markup(html))
    if "image/png" in data:
        return Markup('<img alt="Output of the cell above" style="max-width:100%" src="data:image/png;base64,{}">').format(
            data["image/png"]
        )
    return Markup('<pre class="gb-text">{}</pre>').format(output.get("text") or data.get("text/plain", ""))


def _title(text: str) -> str:
    return text.removeprefix("# ").partition("\n")[0]


def _below(text: str) -> Markup:
    """A README below its title."""
    return Markup(_MARKDOWN(_linked(text.partition("\n")[2])))


def _linked(text: str) -> str:
    """Markdown whose links lead to pages of the gallery; what has no page here is named without one."""

    def led(link: re.Match[str]) -> str:
        place = Path(link[2].partition("#")[0])
        name = place.stem if place.suffix == ".ipynb" else place.parent.name if place.name == "README.md" else place.name
        there = place.suffix == ".ipynb" or (ROOT / "casestudies" / name / "README.md").exists()
        return f"[{link[1]}]({name}.html)" if name and there else link[1]

    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)]*)\)", led, text)


def _lead_back(file: Path) -> None:
    """Put a way back to the index above a page."""
    mark = '<main class="gradbook gradbook-report">'
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(mark, f'{mark}<p><a href="index.html">← The casebook</a></p>', 1), encoding="utf-8")


def main() -> None:
    """Build the site from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "gallery")
    parser.add_argument("--anew", action="store_true", help="empty the folder first")
    options = parser.parse_args()
    if options.anew and options.into.exists():
        shutil.rmtree(options.into)
    print(build(options.into))


if __name__ == "__main__":
    main()
