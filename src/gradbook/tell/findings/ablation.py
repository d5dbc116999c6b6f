"""A section map in words: the prompt in place with what each section is worth and whose words it carries, and a row a section by class."""

from typing import TYPE_CHECKING, Literal

from gradbook.findings.ancestry import Origin
from gradbook.findings.base import ALPHA
from gradbook.findings.section_map import Section, SectionMap, Worth, points
from gradbook.findings.sections import sections
from gradbook.tell.findings.views import BarView, FindingView, GridView, SectionView
from gradbook.tell.overviews import Figure
from gradbook.tell.words import NOTHING, brief, count, spaced

if TYPE_CHECKING:
    from gradbook.recording import Recording

_MOST = 12  # classes in the table
_TONES: dict[str, Literal["good", "bad"]] = {"helps": "good", "harms": "bad"}


def ablate(_: "Recording | None", found: SectionMap) -> FindingView:
    """A section map."""
    most = max([2 * found.margin, *(abs(section.worth.value) for section in found.sections if section.worth)])
    done = [f"{count(len(found.removed), 'run')} answered without random subsets of the sections"] * bool(found.removed)
    if found.confirmed:
        drawn = count(len(found.full), "draw")
        done.append(f"{count(len(found.confirmed), 'section')} left out alone, with {drawn} of each and of the whole prompt")
    cuts = "" if sections(found.prompt) == found.spans else f", cuts={list(found.cuts)}"
    return FindingView(
        id=found.id,
        kind=found.kind,
        title=found.title,
        step=found.step,
        split=found.split or "",
        asked=f"{found.hypothesis} For that, {'; '.join(done)}. What matters is {100 * found.margin:g} points or more; a verdict on a "
        f"section that does nothing is wrong in at most {ALPHA:.0%} of maps.",
        verdict=found.verdict,
        good={"helps": True, "harms": False}.get(found.verdict),
        sentence=str(found),
        bars=tuple(_bar(section, section.worth) for section in found.sections if section.worth),
        axis="points that the section adds",
        sections=tuple(_section(section, most) for section in found.sections),
        grids=(_classes(found),) if found.classes else (),
        remarks=found.remarks,
        code=f"case.ablate({found.step}, split={found.split!r}{cuts})",
    )


def _bar(section: Section, worth: Worth) -> BarView:
    label = f"{section.number} {brief(section.text, 30)}"
    return BarView(label, worth.value, worth.low, worth.high, f"{points(worth).split()[0]}, {worth.word}", _TONES.get(worth.word, "quiet"))


def _section(section: Section, most: float) -> SectionView:
    worth = section.worth
    shown = worth is not None and not worth.low <= 0 <= worth.high
    return SectionView(
        text=section.text,
        worth=points(worth),
        shade=worth.value / most if worth and shown else 0.0,
        verdict=worth.word if worth else "",
        origins=tuple(dict.fromkeys(map(origin, section.origins))),
        steps=tuple(dict.fromkeys(one.step for one in section.origins)),
    )


def origin(found: Origin) -> str:
    """Whose words a section carries: "step 3, prompt critique of train-5 (83% of the section, 60% of that in its words)"."""
    share = f"{found.share:.0%} of the section"
    if found.source == "seed":
        return f"the seed prompt ({share})"
    if found.source == "rewrite":
        return f"step {found.step}, the rewrite’s own words ({share})"
    if found.source == "hand":
        what = "edited by hand"
    else:
        of = f" of step {found.of}" if found.of != found.step else ""
        which = f", {found.index + 1}" if found.index else ""
        what = f"{spaced(found.source)}{of}" + (f" {found.example}" if found.source == "example" else f" of {found.example}{which}")
        what += " as edited" if found.edited else ""
    return f"step {found.step}, {what} ({share}, {found.overlap:.0%} of that in its words)"


def _classes(found: SectionMap) -> GridView:
    sizes = [sum(place == label for _, label in found.items) for place in range(len(found.classes))]
    shown = sorted(range(len(sizes)), key=lambda place: -sizes[place])[:_MOST]
    names = [found.classes[place] for place in sorted(shown)]
    rows = tuple(
        (Figure(f"{section.number} {brief(section.text, 40)}"), _figure(section.worth), *(_figure(section.recall.get(n)) for n in names))
        for section in found.sections
    )
    more = f"; the {_MOST} with the most examples of {len(sizes):,}" if len(sizes) > _MOST else ""
    return GridView(
        f"Points that each section adds to accuracy and to the recall of each class{more}", ("section", "accuracy", *names), rows
    )


def _figure(worth: Worth | None) -> Figure:
    if worth is None:
        return Figure(NOTHING)
    value, _, reach = points(worth).partition(" points ")
    return Figure(f"{value}, {worth.word}", reach.strip("()"))
