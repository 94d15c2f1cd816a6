"""A reverse proxy for tests and benchmarks that counts the calls to an AWS endpoint and makes chosen calls fail.

The proxy speaks HTTP/1.1 on loopback, keeps connections alive and runs in a thread of its own. It forwards requests
unchanged, except for the header ``Expect``, and does not interpret the answers. The header ``X-Amz-Target`` names the
operation of a request (``"SendMessageBatch"``); a request without it is counted by its method and path
(``"POST /2015-03-31/functions"``).
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

Fault: TypeAlias = Literal["reset_before", "reset_after", "throttle", "expired_token", "server_error"]
"""A fault of a call. Either the connection is dropped, before the call is forwarded or after it (the caller can't know
whether the call took effect), or the call is answered with an error and not forwarded."""

_ERRORS: Final[Mapping[tuple[str, str], tuple[int, str]]] = {
    # SQS and DynamoDB name one error differently (their API references, "Common Errors").
    ("AmazonSQS", "throttle"): (400, "com.amazonaws.sqs#RequestThrottled"),
    ("", "throttle"): (400, "com.amazon.coral.availability#ThrottlingException"),
    ("", "expired_token"): (400, "com.amazon.coral.service#ExpiredTokenException"),
    ("", "server_error"): (500, "com.amazon.coral.service#InternalFailure"),
}

_HOST: Final = re.compile(rb"(?im)^host:[^\r]*")

_LARGEST_HEAD_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Message:
    """A request or a response: the bytes before the body, and the body with its framing, both unchanged."""

    head: bytes
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


class CallCounter:
    """A counting proxy in front of an endpoint. As a context manager it listens from entry to exit.

    Args:
        endpoint_url: the endpoint that calls are forwarded to, such as ``"http://127.0.0.1:4566"``.
        as_host: whether calls name the endpoint in the header ``Host``, and not the counter: fake-gcs-server answers
            requests of the XML API under its own name only.
    """

    def __init__(self, endpoint_url: str, *, as_host: bool = False) -> None:
        self._host = f"Host: {urlsplit(endpoint_url).netloc}".encode() if as_host else None
        upstream = urlsplit(endpoint_url)
        self._upstream = (upstream.hostname or "127.0.0.1", upstream.port or 80)
        self._counts: Counter[str] = Counter()
        self._faults: dict[str, deque[Fault]] = {}
        self._bytes_in = self._bytes_out = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def endpoint_url(self) -> str:
        """The URL at which the counter listens."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def bytes_in(self) -> int:
        """Bytes of requests since the start or ``reset``."""
        return self._bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes of answers since the start or ``reset``."""
        return self._bytes_out

    def counts(self) -> Mapping[str, int]:
        """Calls by operation since the start or ``reset``, including the calls that were made to fail."""
        with self._lock:
            return dict(self._counts)

    def total(self) -> int:
        """All calls since the start or ``reset``."""
        return sum(self.counts().values())

    def reset(self) -> None:
        """Count from zero again, and forget the planned faults."""
        with self._lock:
            self._counts.clear()
            self._faults.clear()
            self._bytes_in = self._bytes_out = 0

    def fail_next(self, operation: str, kind: Fault, times: int = 1) -> None:
        """Make the next ``times`` calls of an operation fail, after the calls that an earlier plan makes fail."""
        with self._lock:
            self._faults.setdefault(operation, deque()).extend([kind] * times)

    def look_at(self, request_line: str, target: str, body: bytes) -> None:
        """Called with each request; a subclass may override it to record more than the count."""

    def look_at_answer(self, request_line: str, status: int) -> None:
        """Called with the HTTP status of each answer from the endpoint; a subclass may override it."""

    def look_at_exchange(self, headers: Mapping[str, str], answer: bytes) -> None:
        """Called with the headers of each answered request, by lower-case name, and with the answer's body."""

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="call-counter", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        """Drop every connection and end the thread."""
        if self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_LARGEST_HEAD_BYTES)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one client's requests over one connection to the endpoint, until either side closes it."""
        upstream = _Upstream(*self._upstream, self._host)
        try:
            async for request in _requests(reader, writer):
                target = request.headers.get("x-amz-target", "")
                fault = self._count(_operation(request, target), len(request.head) + len(request.body))
                self.look_at(request.headers[""], target, request.body)
                answer = _error_answer(target, fault) if fault else None
                if fault == "reset_before":
                    break
                if answer is None:
                    answer = await upstream.exchange(request)
                    self.look_at_answer(request.headers[""], int(answer.headers[""].split(" ")[1]))
                    self.look_at_exchange(request.headers, answer.body)
                if fault == "reset_after":
                    break
                with self._lock:
                    self._bytes_out += len(answer.head) + len(answer.body)
                writer.write(answer.head + answer.body)
                await writer.drain()
                if not (request.keep_alive and answer.keep_alive):
                    break
        except (OSError, asyncio.IncompleteReadError):
            # Either side has closed its connection: the client's connection is dropped, as without the proxy.
            writer.transport.abort()
        finally:
            upstream.close()
            writer.close()

    def _count(self, operation: str, size: int) -> Fault | None:
        with self._lock:
            self._counts[operation] += 1
            self._bytes_in += size
            faults = self._faults.get(operation)
            return faults.popleft() if faults else None


class _Upstream:
    """One connection to the endpoint, which the first request opens."""

    def __init__(self, host: str, port: int, host_header: bytes | None) -> None:
        self._address = (host, port)
        self._host_header = host_header
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def exchange(self, request: _Message) -> _Message:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=_LARGEST_HEAD_BYTES)
        head = request.head
        if self._host_header is not None:
            head = _HOST.sub(self._host_header, head, count=1)
        self._writer.write(head + request.body)
        await self._writer.drain()
        answer = await _read(self._reader, is_answer=True, bodiless=request.headers[""].startswith("HEAD "))
        if answer is None:
            raise ConnectionResetError("the endpoint closed the connection")
        return answer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[_Message]:
    while True:
        request = await _read(reader, is_answer=False, writer=writer)
        if request is None:
            return
        yield request


async def _read(
    reader: asyncio.StreamReader,
    *,
    is_answer: bool,
    bodiless: bool = False,
    writer: asyncio.StreamWriter | None = None,
) -> _Message | None:
    """Read one message, or return None if the other side closed the connection instead of sending one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if writer is not None and headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        kept = [line for line in lines if not line.lower().startswith("expect:")]
        head = "\r\n".join([first_line, *kept, "", ""]).encode("latin-1")
    keep_alive = headers.get("connection", "").lower() != "close"
    if bodiless:
        body = b""  # its Content-Length is the length of the answer to a GET
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif is_answer and first_line.split(" ")[1] not in ("204", "304"):
        body, keep_alive = await reader.read(), False
    else:
        body = b""
    return _Message(head, {"": first_line, **headers}, body, keep_alive)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    framed = bytearray()
    while True:
        size_line = await reader.readuntil(b"\r\n")
        size = int(size_line.split(b";")[0], 16)
        framed += size_line + await reader.readexactly(size + 2)
        if size == 0:
            return bytes(framed)


def _operation(request: _Message, target: str) -> str:
    if target:
        return target.rpartition(".")[2]
    method, path, *_ = request.headers[""].split(" ")
    return f"{method} {path.partition('?')[0]}"


def _error_answer(target: str, fault: Fault) -> _Message | None:
    found = _ERRORS.get((target.partition(".")[0], fault)) or _ERRORS.get(("", fault))
    if found is None:
        return None
    status, code = found
    body = json.dumps({"__type": code, "message": "made to fail by the call counter"}).encode()
    head = f"HTTP/1.1 {status} Error\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {len(body)}\r\n\r\n"
    return _Message(head.encode(), {}, body, keep_alive=True)
