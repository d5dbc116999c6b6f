"""Which model a name and the environment mean."""

import pytest

from gradbook.errors import ModelError
from gradbook.models import connect, registry, resolve, weights
from stub import Stub

URL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def no_download(monkeypatch, tmp_path):
    """Known weights count as fetched."""
    monkeypatch.setattr(weights, "fetch", lambda name: tmp_path / f"{name}.gguf")


def test_nothing_set_means_the_embedded_default():
    model = connect()
    assert (model.name, model.kind) == (registry.DEFAULT, "embedded")
    assert model.identity == f"sha256:{registry.MODELS[registry.DEFAULT].sha256}"
    assert model.sampling == {"temperature": 0.5, "top_p": 0.95, "max_tokens": 512}
    assert (model.concurrency, model.price) == (8, (0.0, 0.0))


def test_the_environment_names_the_model(monkeypatch):
    monkeypatch.setenv("GRADBOOK_MODEL", "smollm2-135m")
    assert connect().name == "smollm2-135m"
    assert connect("qwen2.5-coder-0.5b").name == "qwen2.5-coder-0.5b"


def test_an_endpoint_in_the_environment_gives_its_only_model(monkeypatch):
    with Stub(models=("just-me",)) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        model = connect()
    assert (model.name, model.kind, model.identity) == ("just-me", "remote", f"{stub.url} just-me")
    assert model.sampling["max_tokens"] == 5000
    assert model.concurrency == 16


def test_an_endpoint_with_several_models_asks_for_one(monkeypatch):
    with Stub(models=tuple(f"m{i}" for i in range(9))) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        with pytest.raises(ModelError, match=r"9 models \(m0, m1, .*…\); name one in connect\(\) or in GRADBOOK_MODEL"):
            connect()
        monkeypatch.setenv("GRADBOOK_MODEL", "m3")
        assert connect().name == "m3"


def test_a_known_name_is_embedded_even_with_a_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk")
    assert connect("smollm2-135m").kind == "embedded"
    assert connect("smollm2-135m", base_url=URL).kind == "remote"
    assert connect("gpt-x").identity == f"{resolve.OPENAI_URL} gpt-x"


def test_another_name_needs_an_endpoint():
    with pytest.raises(ModelError, match=r"OPENAI_API_KEY or OPENAI_BASE_URL, or take an embedded model: qwen2.5-coder-1.5b, "):
        connect("gpt-x")


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.gguf"
    with pytest.raises(ModelError, match=r"Cannot read the weights"):
        connect(str(file))
    file.write_bytes(b"PK\3\4")
    with pytest.raises(ModelError, match=r"not a GGUF file"):
        connect(str(file))
    file.write_bytes(b"GGUF" + bytes(100))
    model = connect(str(file))
    assert (model.name, model.kind, model.identity) == ("mine", "embedded", f"sha256:{weights.digest(file)}")
    with pytest.raises(ModelError, match=r"cannot load .*mine.gguf"):
        model.ask("hello")


def test_a_parameter_can_be_left_out():
    model = connect("m", base_url=URL, sampling={"max_tokens": None, "max_completion_tokens": 9, "top_k": 4})
    assert model.sampling == {"temperature": 0.5, "top_p": 0.95, "max_completion_tokens": 9, "top_k": 4}


@pytest.mark.parametrize(
    ("settings", "sentence"), [({"base_url": "localhost:80/v1"}, "http://"), ({"concurrency": 0}, "greater than or equal to 1")]
)
def test_settings_that_cannot_work(settings, sentence):
    with pytest.raises(ModelError, match=sentence):
        connect("m", **{"base_url": URL, **settings})
