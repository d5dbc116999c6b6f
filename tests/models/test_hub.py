"""Any GGUF file of Hugging Face's, by name."""

import pytest

from gradbook.errors import ModelError
from gradbook.models import connect, weights


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that gives the same bytes; the names that were fetched."""
    monkeypatch.setenv("GRADBOOK_WEIGHTS", str(tmp_path / "weights"))
    fetched = []

    def download(wanted, partial):
        fetched.append((wanted.repo, wanted.filename))
        if "missing" in wanted.repo:
            raise weights._Unavailable("Hugging Face did not answer (EntryNotFoundError)")
        partial.write_bytes(b"GGUF" + bytes(100))

    monkeypatch.setattr(weights, "SOURCES", [download])
    return fetched


def test_a_file_is_fetched_once_and_its_hash_is_told_and_held_to(hub, capsys, tmp_path):
    model = connect("hf:owner/repo/sub/mine.gguf", context=8192)
    digest = weights.digest(tmp_path / "weights/hub/owner/repo/sub/mine.gguf")
    assert (model.name, model.identity, model.spec.context) == ("mine", f"sha256:{digest}", 8192)
    assert capsys.readouterr().out == f"hf:owner/repo/sub/mine.gguf: SHA-256 {digest}\n"
    assert model.spec.connect().spec == model.spec
    assert hub == [("owner/repo", "sub/mine.gguf")]
    (tmp_path / "weights/hub/owner/repo/sub/mine.gguf").write_bytes(b"GGUFother")
    with pytest.raises(ModelError, match=rf"are sha256:\w+ here, not sha256:{digest}"):
        model.spec.connect()


@pytest.mark.parametrize(
    "name", ["hf:", "hf:a", "hf:a/b", "hf:a/b/c.bin", "hf:a/b/../c.gguf", "hf:../b/c.gguf", "hf:a/b//c.gguf", "hf:/b/c.gguf"]
)
def test_a_name_of_another_form(hub, name):
    with pytest.raises(ModelError, match=r"should look like hf:OWNER/REPO/FILE.gguf"):
        connect(name)
    assert not hub


def test_a_file_that_is_not_there(hub):
    with pytest.raises(ModelError, match=r"Cannot fetch hf:a/missing/c.gguf: Hugging Face did not answer"):
        connect("hf:a/missing/c.gguf")
