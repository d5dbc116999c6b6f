"""What `connect` has found out about a model, without a key or password: enough to connect again, in any process."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator

from gradbook.records import Record

if TYPE_CHECKING:
    from gradbook.models.endpoint import Model

_OURS = {"model", "messages", "stream"}
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ModelSpec(Record):
    """A model, frozen, as JSON or a pickle may hold it. A budget is not part of it: it cannot be shared with another process.

    Args:
        name: as the endpoint knows it.
        identity: what calls are cached under: base URL and name, or "sha256:…" of local weights.
        kind: "embedded" or "remote".
        sampling: sent with every request as it is.
        base_url: of a remote model, without user, password and query.
        concurrency, price, retries, timeout, seeded, merge_system, context: as in `connect`.
        weights: name or path of an embedded model's.
        cache: path of the call cache, or None for none.
    """

    name: str
    identity: str
    kind: Literal["embedded", "remote"]
    sampling: dict[str, Any]
    base_url: str | None = None
    concurrency: int = Field(ge=1)
    price: tuple[_Price, _Price] | None = None
    retries: int = Field(5, ge=0)
    timeout: float = Field(300.0, gt=0, allow_inf_nan=False)
    seeded: bool = True
    merge_system: bool = False
    context: int | None = Field(None, ge=1)
    weights: str | None = None
    cache: str | None = None

    @field_validator("sampling")
    @classmethod
    def _can_be_sent(cls, sampling: dict[str, Any]) -> dict[str, Any]:
        if ours := _OURS & sampling.keys():
            raise ValueError(f"{', '.join(sorted(ours))} must be left to gradbook")
        try:
            json.dumps(sampling, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"JSON cannot hold it, {error}") from None
        return sampling

    def connect(self) -> "Model":
        """The model, with its key from the environment.

        Raises:
            ModelError: weights that cannot be had or have another hash, or a call cache that cannot be used.
        """
        from gradbook.models.resolve import from_spec

        return from_spec(self)


def public_url(url: str) -> str:
    """A URL without user, password, query, fragment and closing slash."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
