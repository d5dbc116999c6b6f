"""From a name and the environment to a model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from gradbook import background
from gradbook.errors import ModelError
from gradbook.models import embedded, weights
from gradbook.models.budget import Budget
from gradbook.models.cache import CallCache
from gradbook.models.endpoint import Model
from gradbook.models.registry import DEFAULT, MODELS
from gradbook.models.spec import ModelSpec, public_url

if TYPE_CHECKING:
    from gradbook.models.client import Address

OPENAI_URL = "https://api.openai.com/v1"
_SAMPLING = {"temperature": 0.5, "top_p": 0.95}
_DEFAULTS = {"remote": (5000, 16, 300.0), "embedded": (512, 8, 3600.0)}  # tokens, concurrency, seconds: local requests wait in turn
_FREE = (0.0, 0.0)
_LISTED = 6
_LIST_TIMEOUT = 20.0


def connect(
    name: str | None = None,
    *,
    base_url: str | SecretStr | None = None,
    api_key: str | SecretStr | None = None,
    sampling: dict[str, Any] | None = None,
    concurrency: int | None = None,
    price: tuple[float, float] | None = None,
    budget: Budget | None = None,
    cache: bool | str | Path | CallCache = True,
    retries: int = 5,
    timeout: float | None = None,
    seeded: bool = True,
    merge_system: bool = False,
    context: int | None = None,
) -> Model:
    """A model: `name`, else GRADBOOK_MODEL, else the only one of the endpoint in the environment, else the embedded default.

    A name of known weights (see `gradbook models`), a path that ends in `.gguf` or `hf:OWNER/REPO/FILE.gguf` means a model on
    this machine, unless `base_url` is given. Any other name means an OpenAI-compatible endpoint: OpenAI's own, or OPENAI_BASE_URL.

    Args:
        name: of the model.
        base_url: of an endpoint, usually ending in /v1; by default OPENAI_BASE_URL.
        api_key: by default OPENAI_API_KEY, where it is best kept; it is shown and stored nowhere.
        sampling: sent with every request, on top of temperature 0.5, top_p 0.95 and max_tokens 5000 (embedded: 512);
            None leaves a parameter out, as in {"max_tokens": None, "max_completion_tokens": 4000}.
        concurrency: requests under way at the same time; by default 16, embedded 8.
        price: for a million tokens of prompt and of reply; an embedded model is free.
        budget: stops calls before it is passed; may be shared with other models.
        cache: keep finished calls in the user's call cache (True), nowhere (False), in this file or in this CallCache.
        retries: how often a request that failed in passing is tried again.
        timeout: for one try, from the request to the whole reply, in seconds; by default 300, embedded 3600.
        seeded: send seeds; False for an endpoint that refuses them.
        merge_system: put the system message into the user's, for an endpoint that takes none.
        context: tokens that a prompt and its reply may have together in an embedded model; by default 4096.

    Raises:
        ModelError: no such model, no endpoint for it, weights that cannot be had, or a call cache that cannot be used.
    """
    # wrapped from the first line on: a verbose traceback prints local variables
    api_key, key_name = (_wrapped(api_key), "api_key") if api_key else (_environment("OPENAI_API_KEY"), "OPENAI_API_KEY")
    here = not base_url
    base_url, url_name = (_wrapped(base_url), "base_url") if base_url else (_environment("OPENAI_BASE_URL"), "OPENAI_BASE_URL")
    name = (name or os.environ.get("GRADBOOK_MODEL") or "").strip() or None
    local = name in MODELS or name.endswith(".gguf") or name.startswith(weights.HUB) if name else not (base_url or api_key)
    is_here = here and local
    tokens, at_once, seconds = _DEFAULTS["embedded" if is_here else "remote"]
    settings: dict[str, Any] = {
        "sampling": {**_SAMPLING, "max_tokens": tokens, **(sampling or {})},
        "concurrency": at_once if concurrency is None else concurrency,
        "timeout": seconds if timeout is None else timeout,
        "price": price,
        "retries": retries,
        "seeded": seeded,
        "merge_system": merge_system,
    }
    if is_here:
        settings |= {"price": price or _FREE, "context": embedded.CONTEXT if context is None else context}
        return _embedded(name or DEFAULT, settings, budget, _cache(cache))
    if not (base_url or api_key):
        raise ModelError(
            f"There is no endpoint for {name!r}; set OPENAI_API_KEY or OPENAI_BASE_URL, or take an embedded model: {', '.join(MODELS)}."
        )
    address = _address(_checked_url(base_url or SecretStr(OPENAI_URL), url_name), api_key and _checked_key(api_key, key_name))
    name, stored = name or _only_model(address), _cache(cache)
    spec = _spec(name, f"{address.public} {name}", stored, kind="remote", base_url=address.public, **settings)
    return Model(spec, lambda: address, budget, stored)


def from_spec(spec: ModelSpec) -> Model:
    """The model of a spec, in any process; see `ModelSpec.connect`."""
    cache = CallCache(spec.cache) if spec.cache else None
    if spec.kind == "embedded":
        settings = spec.model_dump(exclude={"name", "identity", "kind", "base_url", "weights", "cache"})
        model = _embedded(spec.weights or spec.name, settings, None, cache)
        if model.identity != spec.identity:
            raise ModelError(f"The weights {spec.weights} are {model.identity} here, not {spec.identity}; fetch those that the model had.")
        return model
    url, key = _environment("OPENAI_BASE_URL"), _environment("OPENAI_API_KEY")
    if url is None or public_url(url.get_secret_value()) != spec.base_url:  # the environment's may have a password
        url = SecretStr(spec.base_url or OPENAI_URL)
    address = _address(_checked_url(url, "OPENAI_BASE_URL"), key and _checked_key(key, "OPENAI_API_KEY"))
    return Model(spec, lambda: address, cache=cache)


def _environment(name: str) -> SecretStr | None:
    return _wrapped(os.environ.get(name) or "") or None


def _wrapped(value: str | SecretStr) -> SecretStr:
    """A secret without white space round it."""
    return SecretStr((value if isinstance(value, str) else value.get_secret_value()).strip())


def _checked_key(key: SecretStr, name: str) -> SecretStr:
    """The key; a header takes nothing but plain signs."""
    for place, sign in enumerate(key.get_secret_value(), start=1):
        if not "!" <= sign <= "~":
            what = "a line break" if sign in "\r\n" else "a curly quote" if sign in "“”‘’„‚" else f"U+{ord(sign):04X}"
            raise ModelError(f"The key in {name} holds {what} as character {place}, which no key has; copy it anew.")
    return key


def _checked_url(url: SecretStr, name: str) -> SecretStr:
    """The base URL; what is wrong with it is told without it, since it may hold a password."""
    fault = ""
    if any(sign <= " " or sign == "\x7f" for sign in url.get_secret_value()):
        fault = "holds a blank, a line break or a control character"
    elif not url.get_secret_value().lower().startswith(("http://", "https://")):
        fault = "must begin with http:// or https://"
    else:
        try:
            parts = urlsplit(url.get_secret_value())
            fault = "" if parts.hostname and parts.port != 0 else "names no host or an impossible port"
            (parts.hostname or "").encode("idna")
        except ValueError:
            fault = "has an address or a port that is none"
    if fault:
        raise ModelError(f"The base URL in {name} {fault}; it should look like http://localhost:8000/v1.")
    return url


def _cache(cache: bool | str | Path | CallCache) -> CallCache | None:
    if isinstance(cache, bool):
        return CallCache() if cache else None
    return cache if isinstance(cache, CallCache) else CallCache(cache)


def _embedded(name: str, settings: dict[str, Any], budget: Budget | None, cache: CallCache | None) -> Model:
    if name in MODELS or name.startswith(weights.HUB):
        path = weights.fetch(name)
    else:
        path = Path(name).expanduser().absolute()
        embedded.check(path)
        name = str(path)
    digest = MODELS[name].sha256 if name in MODELS else weights.digest(path)
    spec = _spec(path.stem, f"sha256:{digest}", cache, kind="embedded", weights=name, **settings)
    return Model(spec, lambda: embedded.serve(path, spec.context or embedded.CONTEXT), budget, cache)


def _spec(name: str, identity: str, cache: CallCache | None, *, sampling: dict[str, Any], **settings: Any) -> ModelSpec:
    sent = {key: value for key, value in sampling.items() if value is not None}
    try:
        return ModelSpec(name=name, identity=identity, sampling=sent, cache=cache and str(cache.path), **settings)
    except ValidationError as error:
        fault = error.errors()[0]
    # out here, so that it is not chained to the library's
    raise ModelError(
        f"{'.'.join(map(str, fault['loc']))} of the model cannot be {fault['input']!r:.80}: {fault['msg'].removeprefix('Value error, ')}."
    )


def _address(url: SecretStr, key: SecretStr | None) -> "Address":
    from gradbook.models.client import Address

    return Address(url, key)


def _only_model(address: "Address") -> str:
    from gradbook.models.client import model_names

    names = background.run(model_names(address, timeout=_LIST_TIMEOUT))
    if len(names) == 1:
        return names[0]
    some = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    raise ModelError(f"{address.public} has {len(names)} models ({some or 'it lists none'}); name one in connect() or in GRADBOOK_MODEL.")
