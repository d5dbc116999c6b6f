"""A case in one file: it comes back as it was, and a file from someone else writes nothing but its own folder."""

import shutil
import stat
import warnings
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradbook as gb
from gradbook import packing
from gradbook.cli import main
from gradbook.errors import CaseError, PackError
from small import reply, small_task
from stub import Stub

RECORDED = Path(__file__).resolve().parent.parent / "casestudies" / "first_step"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def written(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def recorded(prefix: str = "case/") -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [(prefix + name, data) for name, data in files(RECORDED).items() if not name.endswith(".lock")]


def test_a_case_comes_back_as_it_was_and_the_same_case_makes_the_same_file(tmp_path):
    first = gb.pack(RECORDED, tmp_path / "one.zip")
    back = gb.unpack(first, tmp_path / "elsewhere" / "mine")
    assert files(back) == dict(recorded(""))
    again, case = gb.Recording(back), gb.Recording(RECORDED)
    assert [str(step) for step in again] == [str(step) for step in case] and again.scores().equals(case.scores())
    assert gb.pack(RECORDED, tmp_path / "two.zip").read_bytes() == first.read_bytes()
    assert first.stat().st_size < sum(map(len, files(RECORDED).values())) / 3


def test_a_case_is_named_by_its_folder_and_lies_beside_the_file(tmp_path):
    shutil.copytree(RECORDED, tmp_path / "my case")
    packed = gb.pack(tmp_path / "my case")
    assert packed == tmp_path / "my case.zip"
    (tmp_path / "there").mkdir()
    moved = packed.rename(tmp_path / "there" / "sent.zip")
    assert gb.unpack(moved) == tmp_path / "there" / "my case"


def test_a_study_comes_back_with_its_trials(tmp_path):
    with Stub(reply=reply) as stub:
        model = gb.connect("small", base_url=stub.url, api_key="k", cache=tmp_path / "calls.sqlite")
        arms = {"a": gb.Method(selection="naive"), "b": gb.Method(selection="naive", labels="wrong")}
        study = gb.Study(tmp_path / "study", tasks=small_task(), models=model, arms=arms, trials=2, steps=1)
        study.run()
    (tmp_path / "study" / "notes.txt").write_text("mine")
    back = gb.unpack(gb.pack(tmp_path / "study"), tmp_path / "back")
    there = gb.Study(back)
    columns = [name for name in study.trials() if name != "path"]
    assert there.trials()[columns].equals(study.trials()[columns]) and there.verdicts().equals(study.verdicts())
    assert len(gb.Recording(there.trials()["path"][3])) == 2
    assert not (back / "notes.txt").exists(), "only gradbook's own files are handed on"


@pytest.mark.parametrize(
    "name",
    [
        "../evil/journal.jsonl",
        "/etc/journal.jsonl",
        "case/../../journal.jsonl",
        "case/./journal.jsonl",
        "case//journal.jsonl",
        "case\\..\\..\\journal.jsonl",
        "C:/journal.jsonl",
        "./journal.jsonl",
        "journal.jsonl",
        ".ssh/journal.jsonl",
        "case/.git/journal.jsonl",
        "case/trials/../../x/journal.jsonl",
        "case/a/b/c/d/journal.jsonl",
        "case/run.py",
        "case/.ipynb_checkpoints/journal.jsonl",
        "case/authorized_keys",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_and_nothing_is_written(tmp_path, name):
    (tmp_path / "in").mkdir()
    bad = written(tmp_path / "in" / "bad.zip", *recorded(), (name, b"x"))
    before = files(tmp_path)
    with pytest.raises(PackError, match=r"bad\.zip holds"):
        gb.unpack(bad)
    assert files(tmp_path) == before and [path.name for path in (tmp_path / "in").iterdir()] == ["bad.zip"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.text(st.sampled_from("./\\:ab~-_ \x1f%$"), min_size=1, max_size=24))
def test_no_name_of_a_member_leads_out_of_the_folder(tmp_path, name):
    inside = tmp_path / "box" / "in"
    shutil.rmtree(tmp_path / "box", ignore_errors=True)
    inside.mkdir(parents=True)
    bad = inside / "bad.zip"
    with zipfile.ZipFile(bad, "w") as file:
        file.writestr(name + "/journal.jsonl", b"x")
    with pytest.raises(gb.GradbookError):
        gb.unpack(bad)
    assert files(tmp_path / "box").keys() == {"in/bad.zip"}


def test_links_devices_and_doubles_are_refused(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR):
        link = zipfile.ZipInfo("case/README.md")
        link.external_attr = (kind | 0o777) << 16
        with pytest.raises(PackError, match="link or a device"):
            gb.unpack(written(tmp_path / f"{kind}.zip", *recorded()[1:], (link, b"/etc/passwd")))
    with warnings.catch_warnings(action="ignore"):  # zipfile says so itself
        double = written(tmp_path / "double.zip", *recorded(), ("case/journal.jsonl", b"{}"))
    for bad, why in ((double, "two files of one name"), (written(tmp_path / "two.zip", *recorded(), *recorded("b/")), "several folders")):
        with pytest.raises(PackError, match=why):
            gb.unpack(bad)
    with pytest.raises(PackError, match="two files of one name"):
        gb.unpack(written(tmp_path / "case.zip", *recorded(), ("CASE/journal.jsonl", b"{}")))


def test_what_would_fill_the_disk_is_refused_before_it_is_written(tmp_path):
    bomb = written(tmp_path / "bomb.zip", ("case/journal.jsonl", b"0" * (1 << 24)))
    assert bomb.stat().st_size < 1 << 16
    with pytest.raises(PackError, match="16,777,216 bytes, more than 1,000,000; pass most="):
        gb.unpack(bomb, most=1_000_000)
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.zip"]


def test_what_says_less_than_it_holds_is_refused(tmp_path):
    lies = written(tmp_path / "lies.zip", *recorded())
    data = bytearray(lies.read_bytes())
    with zipfile.ZipFile(lies) as file:
        size = file.getinfo("case/journal.jsonl").file_size
    short = (size - 100).to_bytes(4, "little")
    lies.write_bytes(bytes(data).replace(size.to_bytes(4, "little"), short))
    with pytest.raises(PackError, match=r"damaged on its way|more of"):
        gb.unpack(lies)
    assert [path.name for path in tmp_path.iterdir()] == ["lies.zip"]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(bent=st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from([0, 1, 127, 128, 255])), min_size=1, max_size=4))
def test_a_file_that_is_bent_anywhere_is_refused_in_a_sentence_or_unpacked(tmp_path, bent):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    whole = bytearray(written(tmp_path / "bent.zip", ("cäse/journal.jsonl", b"{}\n"), ("cäse/case.toml", b"a = 1\n")).read_bytes())
    for place, byte in bent:
        whole[place % len(whole)] = byte
    (tmp_path / "bent.zip").write_bytes(whole)
    with pytest.raises(gb.GradbookError, match=r"bent\.zip"):
        gb.unpack(tmp_path / "bent.zip", tmp_path / "out", most=1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["bent.zip"]


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_file_that_is_cut_or_no_zip_is_refused_in_a_sentence(tmp_path, cut):
    whole = gb.pack(RECORDED, tmp_path / "whole.zip").read_bytes()
    bad = tmp_path / "cut.zip"
    bad.write_bytes(whole[: int(cut * len(whole)) if cut < 1 else cut])
    with pytest.raises(PackError, match=r"cut\.zip is no packed case"):
        gb.unpack(bad)


def test_what_does_not_open_is_not_left_behind(tmp_path):
    members = [(name, data if "journal" not in name else data[: len(data) // 2] + b"\n{oops\n" + data[-200:]) for name, data in recorded()]
    with pytest.raises(CaseError, match=r"journal.jsonl, line \d+, is damaged") as told:
        gb.unpack(written(tmp_path / "damaged.zip", *members))
    assert ".new" not in str(told.value)
    with pytest.raises(CaseError, match="neither a case nor a study"):
        gb.unpack(written(tmp_path / "nothing.zip", ("case/README.md", b"hello")))
    assert {path.name for path in tmp_path.iterdir()} == {"damaged.zip", "nothing.zip"}


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    packed = gb.pack(RECORDED, tmp_path / "case.zip")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "link"):
        with pytest.raises(PackError, match=f"{name} is there already"):
            gb.unpack(packed, tmp_path / name)
    assert not list((tmp_path / "there").iterdir())


def test_examples_that_must_not_be_published_are_packed_only_on_purpose(tmp_path):
    task = gb.Task.from_frame(
        pd.DataFrame([{"q": f"is {n}?", "a": "ab"[n % 2]} for n in range(12)]), input="q", target="a", sizes=(4, 4, 4), private=True
    )
    gb.Case(tmp_path / "case", task=task).close()
    with pytest.raises(PackError, match="must not be published"):
        gb.pack(tmp_path / "case")
    assert (gb.unpack(gb.pack(tmp_path / "case", private=True), tmp_path / "back") / ".gitignore").read_text() == "*\n"


def test_a_link_in_a_case_is_not_followed(tmp_path):
    shutil.copytree(RECORDED, tmp_path / "case")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "case" / "README.md").unlink()
    (tmp_path / "case" / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(CaseError, match="is a link"):
        gb.pack(tmp_path / "case")
    assert not (tmp_path / "case.zip").exists() and not list(tmp_path.glob(".*"))


def test_an_unfit_ending_is_refused(tmp_path):
    with pytest.raises(PackError, match=r"should end in \.zip"):
        gb.pack(RECORDED, tmp_path / "case.tar")


def test_the_command_line_packs_and_unpacks(tmp_path, capsys):
    assert main(["pack", str(RECORDED), str(tmp_path / "a.zip")]) == 0 and main(["unpack", str(tmp_path / "a.zip")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "a.zip"), str(tmp_path / "first_step")]
    assert main(["unpack", str(tmp_path / "a.zip"), str(tmp_path / "b"), "--most", "10"]) == 1
    assert main(["unpack", str(tmp_path / "none.zip")]) == 1
    said = capsys.readouterr().err
    assert "more than 10" in said and "none.zip cannot be used: it is not there" in said and "Traceback" not in said


def test_packing_never_leaves_a_draft(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_put", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(PackError, match="disk is full"):
        gb.pack(RECORDED, tmp_path / "case.zip")
    assert not list(tmp_path.iterdir())
