"""Every number in the README, in the pages of the cases and in the notebooks is what the records say."""

import pytest

from prose import ROOT, problems, prose, stated, unbound

PAGES = ("README.md", "casestudies/*/README.md", "notebooks/*.ipynb")
FILES = [path.relative_to(ROOT).as_posix() for pages in PAGES for path in sorted(ROOT.glob(pages))]


@pytest.mark.parametrize("file", FILES)
def test_every_number_is_what_the_record_says(file):
    assert not list(problems(file))


def test_what_is_bound_is_of_a_file_that_is_there():
    assert set(stated()) - {"common"} <= set(FILES)


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("casestudies")])
def test_a_wrong_number_is_found(file):
    """The last number of every phrase that is measured is changed in turn: in the text alone, and in the text and where it is bound."""
    text, said = prose(ROOT / file), stated()
    says = said[file]["says"]
    for phrase, code in says.items():
        number = unbound(phrase, [])[-1].split(" in ")[0]
        before, _, after = phrase.rpartition(number)
        planted = f"{before}{number[:-1]}{(int(number[-1]) + 1) % 10}{after}"
        changed = text.replace(phrase, planted)
        assert any("is bound and does not stand there" in told for told in problems(file, changed, said))
        others = {each: other for each, other in says.items() if each != phrase}
        bound = {**said, file: {**said[file], "says": others | {planted: code}}}
        assert any("the record says" in told for told in problems(file, changed, bound))
        unsaid = {**said, file: {**said[file], "says": others}}
        assert any("is no number of" in told for told in problems(file, changed, unsaid))
