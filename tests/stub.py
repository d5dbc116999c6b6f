"""A real OpenAI-compatible server on loopback: for tests, in a thread; for benchmarks and notebooks, `python tests/stub.py`.

    with Stub(reply=lambda messages, body: "yes", latency=0.05) as stub:
        model = connect("stub", base_url=stub.url)

It answers POST /v1/chat/completions, GET /v1/models and GET /stats, keeps connections open, and misbehaves on demand:
`stub.fail(429, "cut", times=2)`.
"""

import argparse
import asyncio
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Reply = Callable[[list[dict[str, Any]], dict[str, Any]], "str | dict[str, Any]"]
FAULTS = ("hang", "cut", "cut_body", "malformed", "drip", "endless")


@dataclass(frozen=True)
class Said:
    """A scripted answer: status, body (as it is, or as JSON) and headers."""

    status: int
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


def echo_hash(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
    """The default reply: words that depend on the content and the seed, and on nothing else."""
    content = json.dumps([messages, body.get("seed")], sort_keys=True)
    return "reply " + hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass
class Request:
    """One request as it came in; times in seconds of `time.monotonic()`."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    began: float
    in_flight: int
    ended: float | None = None
    fault: "int | str | Said | None" = None


@dataclass
class Stub:
    """The server; a context manager that serves from a thread of its own.

    Args:
        reply: gives the text of a reply from messages and body, or a whole body as a dict.
        latency: seconds that every chat request takes.
        key: the API key to insist on, or None.
        models: what /v1/models lists.
        retry_after: seconds, sent along with 429.
        gate: hold every chat request back until `open_gate()`.
    """

    reply: Reply = echo_hash
    latency: float = 0.0
    key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ("stub",)
    retry_after: float = 0.01
    gate: bool = False
    port: int = 0
    requests: list[Request] = field(default_factory=list, repr=False)
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self._faults: deque[int | str | Said] = deque()
        self._in_flight = 0
        self._arrived = threading.Condition()
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """The base URL, ending in /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    def fail(self, *faults: "int | str | Said", times: int = 1) -> None:
        """Let the next chat requests fail: by HTTP status, by a scripted answer, or as one of FAULTS ("drip": a byte every 50 ms)."""
        assert all(isinstance(fault, int | Said) or fault in FAULTS for fault in faults), faults
        self._faults.extend(faults * times)

    def wait_for(self, count: int, timeout: float = 20.0) -> None:
        """Wait until `count` chat requests have come in."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, timeout), f"{len(self.requests)} of {count} requests came"

    def open_gate(self) -> None:
        """Let the requests go on that a gate holds back, and all after them."""
        self._loop.call_soon_threadsafe(self._opened.set)

    def shut_gate(self) -> None:
        """Hold back every chat request from here on."""
        self._loop.call_soon_threadsafe(self._opened.clear)

    def __enter__(self) -> "Stub":
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), name="stub", daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the stub did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    async def serve(self) -> None:
        """Serve until the `with` block ends, or for ever."""
        self._loop, self._closing, self._opened = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        if not self.gate:
            self._opened.set()
        self._connections: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._closing.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.current_task())
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(asyncio.current_task())
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or "{}")
        if path.partition("?")[0].endswith("/chat/completions"):
            return await self._chat(Request(path, headers, body, time.monotonic(), self._in_flight + 1), writer)
        if path.endswith("/models"):
            status = 200 if self._allowed(headers) else 401
            return _send(writer, status, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})
        if path == "/stats":
            return _send(writer, 200, {"requests": len(self.requests), "most_in_flight": self.most_in_flight})
        return _send(writer, 404, {"error": {"message": f"no {path} here"}})

    async def _chat(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        request.fault = self._faults.popleft() if self._faults else None
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        try:
            await self._opened.wait()
            if self.latency:
                await asyncio.sleep(self.latency)
            return await self._answer(request, writer)
        finally:
            self._in_flight -= 1
            request.ended = time.monotonic()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if not self._allowed(request.headers):
            # repeats the key, as some endpoints do
            return _send(writer, 401, {"error": {"message": f"Incorrect API key: {request.headers.get('authorization')}"}})
        match request.fault:
            case int() as status:
                said = f"scripted {status} for {request.headers.get('authorization')}"
                return _send(writer, status, {"error": {"message": said}}, {"Retry-After": str(self.retry_after)} if status == 429 else {})
            case Said(status, body, headers):
                return _send(writer, status, body, headers)
            case "hang":
                await self._closing.wait()
                return False
            case "drip" | "endless" as pace:
                piece = b" " if pace == "drip" else b" " * 65536
                writer.write(_head(200, 1 << 40, {}))
                while not self._closing.is_set():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.05 if pace == "drip" else 0)
                return False
            case "cut":
                return False
        done = json.dumps(self._completion(request.body)).encode()
        if request.fault == "malformed":
            return _send(writer, 200, done[: len(done) // 2])
        if request.fault == "cut_body":
            writer.write(_head(200, len(done), {}) + done[: len(done) // 2])
            return False
        return _send(writer, 200, done)

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        text = self.reply(body["messages"], body)
        if isinstance(text, dict):
            return text
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        words = len(text.split())
        return {
            "id": f"stub-{len(self.requests)}",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model"),
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words},
        }

    def _allowed(self, headers: dict[str, str]) -> bool:
        return self.key is None or headers.get("authorization") == f"Bearer {self.key}"


def _head(status: int, length: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Stub", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def _send(writer: asyncio.StreamWriter, status: int, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> bool:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    writer.write(_head(status, len(content), headers or {}) + content)
    return True


def serve(stub: Stub) -> None:
    """Serve until stopped, in a process of its own; the first line printed is the base URL."""

    def announce() -> None:
        stub._ready.wait()
        print(stub.url, flush=True)

    threading.Thread(target=announce, daemon=True).start()
    asyncio.run(stub.serve())


def main() -> None:
    """Serve as the command line says."""
    options = argparse.ArgumentParser(description="An OpenAI-compatible stub on loopback.")
    options.add_argument("--port", type=int, default=0, help="0 for any free one")
    options.add_argument("--latency", type=float, default=0.0, help="seconds that every chat request takes")
    options.add_argument("--key", help="an API key to insist on")
    chosen = options.parse_args()
    serve(Stub(port=chosen.port, latency=chosen.latency, key=chosen.key))


if __name__ == "__main__":
    main()
