"""The one way to an LLM: the openai library's client over its aiohttp transport, bounded in time and size."""

import asyncio
import base64
import email.utils
import json
import logging
import os
import re
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import openai
from pydantic import SecretStr

try:
    import httpx2 as httpx  # what openai 3 uses
except ModuleNotFoundError:
    import httpx  # type: ignore[no-redef]

from gradbook.errors import ModelError
from gradbook.models.completion import Reply, read
from gradbook.models.faults import Fault, answered, parsed, scrubbed
from gradbook.models.spec import public_url

_CONNECT_TIMEOUT = 10.0
_LARGEST = 8 << 20  # bytes of a body, after decompression too
_LONG = 1 << 20  # bytes of a body that takes the loop too long to parse
_LONGEST_ERROR = 1 << 16  # bytes that are read of a body that tells an error
_KEY = 8  # shorter keys, such as "none" or "ollama", are words that an endpoint's reason may need
_VARIABLES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Address:
    """Where a model is asked. `url` and `key` are secret: a URL may carry a password, in front of the host or in its query.

    Args:
        url: base URL, usually ending in /v1.
        key: None where the endpoint asks for none.
    """

    url: SecretStr
    key: SecretStr | None = None

    @cached_property
    def public(self) -> str:
        """The URL as it may be shown and stored: without user, password, query and fragment."""
        return public_url(self.url.get_secret_value())

    @property
    def local(self) -> bool:
        """Whether it is on this machine, so that no proxy may come between."""
        host = urlsplit(self.public).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, in each form in which an endpoint may repeat it."""
        key, parts = self.key.get_secret_value() if self.key else "", urlsplit(self.url.get_secret_value())
        given = [parts.username, parts.password, *(value for _, value in parse_qsl(parts.query))]
        plain = [key] * (len(key) >= _KEY) + [unquote(each) for each in given if each and len(each) > 2]
        return tuple({*plain, *map(quote, plain), *(_basic(parts.username, parts.password) if parts.username else "").split()[1:]})

    def client(self, timeout: float) -> openai.AsyncOpenAI:
        """A client that tries once. User and password go into a header and the query apart from the URL, which is logged.

        Raises:
            ModelError: the proxy or the certificates in the environment cannot be used.
        """
        failure = ""
        parts = urlsplit(self.url.get_secret_value())
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": _basic(parts.username, parts.password)} if parts.username else {})
        try:
            return openai.AsyncOpenAI(
                base_url=self.public,
                api_key=self.key.get_secret_value() if self.key else "none",
                timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
                max_retries=0,
                default_headers=headers,
                default_query=dict(parse_qsl(parts.query)),
                http_client=openai.DefaultAioHttpClient(trust_env=not self.local, event_hooks={"response": [_bound]}),
            )
        except Exception as error:  # ValueError, ImportError, OSError, ssl.SSLError …, by what is wrong in the environment
            failure = scrubbed(str(error) or type(error).__name__, self.secrets)
        named = [name for name in _VARIABLES if os.environ.get(name) or os.environ.get(name.lower())]
        raise ModelError(f"No connection to {self.public} can be made ({failure}); check {', '.join(named) or 'the base URL'}.")


def _basic(user: str | None, password: str | None) -> str:
    return "Basic " + base64.b64encode(f"{unquote(user or '')}:{unquote(password or '')}".encode()).decode()


async def chat(asked: openai.AsyncOpenAI, model: str, messages: list[dict[str, str]], sampling: dict[str, Any], timeout: float) -> Reply:
    """Ask once and read the reply, in `timeout` seconds from the request to the whole body.

    Raises:
        Fault: the try failed.
    """
    content = await _post(asked, "/chat/completions", {"model": model, "messages": messages, **sampling}, timeout)
    return await asyncio.to_thread(read, content) if len(content) > _LONG else read(content)


async def prompt_tokens(asked: openai.AsyncOpenAI, messages: list[dict[str, str]], sampling: dict[str, Any], timeout: float) -> int:
    """How many tokens a prompt has, as llama.cpp counts them by the model's own template and vocabulary.

    Raises:
        Fault: the try failed, as where the template does not take the messages.
    """
    return int(
        json.loads(await _post(asked, "/chat/completions/input_tokens", {"messages": messages, **sampling}, timeout))["input_tokens"]
    )


async def _post(asked: openai.AsyncOpenAI, path: str, body: dict[str, Any], timeout: float) -> bytes:
    fault = None
    try:
        async with asyncio.timeout(timeout):
            # sent as it is and read by gradbook: the typed methods take longer for what only OpenAI knows
            return (await asked.post(path, cast_to=httpx.Response, body=body)).content
    except Exception as error:  # beside openai's own: what cannot be sent, as a variable of its that holds no plain text
        fault = _fault(error, timeout)
    raise fault  # out here, so that it is not chained to an error that holds the headers


async def model_names(address: Address, *, timeout: float) -> list[str]:
    """The names that the endpoint lists under /models.

    Raises:
        ModelError: it lists none, or cannot be asked.
    """
    fault = None
    try:
        async with address.client(timeout) as asked, asyncio.timeout(timeout):
            return [model.id async for model in asked.models.list()]
    except (openai.OpenAIError, TimeoutError) as error:
        fault = _fault(error, timeout)
    except (ValueError, TypeError, AttributeError):
        fault = Fault(None, "{at} sent a model list that is none; check that the base URL is OpenAI-compatible.", passing=False)
    raise ModelError(fault.sentence("the model list", address.public, 1, address.secrets))


_WHOLE = "^(?!.*(?:ServerDisconnected|ConnectionReset))"  # a connection that is cut is no timeout, though the transport calls it one
_UNREACHED = f"{_WHOLE}.*(?:Connect(?:or)?Error|Connect(?:ion)?Timeout)"
_LATE, _CUT = f"{_WHOLE}(?:API)?TimeoutError", "^API(?:Connection|Timeout)Error"
_ASTRAY = "TooManyRedirects|UnsupportedProtocol|InvalidURL"
_TROUBLES: tuple[tuple[str, bool, bool, str], ...] = (  # the names of what was raised, the outermost first; passing, billed, told
    ("Cert", False, False, "The certificate of {at} is not trusted; name the file of its authority in SSL_CERT_FILE."),
    ("Proxy", True, False, "The proxy on the way to {at} refused or could not be reached; check HTTPS_PROXY and ALL_PROXY."),
    ("^InvalidURL", False, False, "The proxy on the way to {at} has an impossible address; check HTTPS_PROXY and ALL_PROXY."),
    ("SSL", False, False, "{at} makes no secure connection; check whether the base URL begins with https:// or http://."),
    (_ASTRAY, False, False, "{at} passes the request for {name} on to where it is not answered; check the base URL."),
    (_UNREACHED, True, False, "{name} at {at} could not be reached in {tried}; check the base URL and its server."),
    (_LATE, True, True, "{name} at {at} did not answer in full within {timeout} s in {tried}; connect with a larger timeout."),
    (_CUT, True, True, "{at} cut the connection before the reply of {name} was whole, in {tried}; check the endpoint, and any proxy."),
    ("", False, False, "The request to {name} at {at} cannot be made ({error}); check sampling and the OPENAI_ variables."),
)


def _fault(error: Exception, timeout: float) -> Fault:
    if isinstance(error, openai.APIStatusError):
        headers = error.response.headers
        final = headers.get("x-should-retry") == "false"
        return answered(error.status_code, parsed(error.response.content), _asked_wait(headers), final)
    causes = list(_chain(error))
    if found := next((cause for cause in causes if isinstance(cause, Fault)), None):
        return found
    names = " ".join(type(cause).__name__ for cause in causes)
    _, passing, billed, said = next(trouble for trouble in _TROUBLES if re.search(trouble[0], names))
    return Fault(None, said.replace("{timeout}", f"{timeout:g}").replace("{error}", type(error).__name__), passing, billed=billed)


def _chain(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _asked_wait(headers: Any) -> float | None:
    """The seconds that Retry-After asks for, as a number or as a date."""
    said = headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,12}(\.\d*)?", said):
        return float(said)
    date = email.utils.parsedate_tz(said) if said else None
    try:
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None
    except (ValueError, OverflowError):  # a date outside the calendar
        return None


async def _bound(response: httpx.Response) -> None:
    """Put a bound on the size of a body, before the client reads it."""
    encoding = response.headers.pop("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        said = "{at} sent a reply packed in a way that was not asked for; check any proxy before it."
        raise Fault(None, said, passing=False, billed=True)
    response.stream = _Bounded(response.stream, packed=encoding != "identity", error=response.status_code >= 400)


class _Bounded(httpx.AsyncByteStream):
    """A body that ends in a fault where it is too large, unpacked no further than that; one that tells an error just ends."""

    def __init__(self, stream: Any, packed: bool, error: bool) -> None:
        self._stream, self._error = stream, error
        self._unpack = zlib.decompressobj(47) if packed else None  # 47: gzip or zlib, by its first bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _LONGEST_ERROR if self._error else _LARGEST
        async for chunk in self._stream:
            try:
                data = self._unpack.decompress(chunk, left + 1) if self._unpack else chunk
            except zlib.error:
                raise Fault(None, "{at} sent a reply that is packed and damaged, in {tried}.", passing=True, billed=True) from None
            left -= len(data)
            if left < 0 and self._error:
                yield data[:left]
                return
            if left < 0:
                said = f"{{at}} sent a reply of more than {_LARGEST >> 20} MB to {{name}}, which was not read on; lower max_tokens."
                raise Fault(None, said, passing=False, billed=True)
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


def _without_query(record: logging.LogRecord) -> bool:
    """The HTTP library's log of a request shows its URL, whose query may hold a key."""
    if isinstance(record.args, tuple):
        record.args = tuple(public_url(str(each)) if isinstance(each, httpx.URL) else each for each in record.args)
    return True


logging.getLogger(httpx.__name__).addFilter(_without_query)
