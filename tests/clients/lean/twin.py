"""An endpoint that gives the requests of several clients the same answer, and keeps the requests for a comparison."""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

CANNOT_DIFFER = {"host", "content-type", "x-amz-target", "x-amzn-query-mode", "range", "if-match", "if-none-match"}
"""Headers that must be equal, beside those whose names begin with ``x-amz-``."""

OF_THE_TIME = {"x-amz-date"}


class Seen(NamedTuple):
    """What matters of a request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Canned(NamedTuple):
    """An answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Twin:
    """Listens on loopback as a context manager.

    Args:
        upstream: where the first request after ``forget`` goes, whose answer later ones get, too.
    """

    def __init__(self, upstream: tuple[str, int] | None = None) -> None:
        self.seen: list[Seen] = []
        self.answer: Canned | None = None
        self._upstream = upstream
        twin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                twin._handle(self)

            def do_POST(self) -> None:
                twin._handle(self)

            def do_PUT(self) -> None:
                twin._handle(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forget(self, answer: Canned | None = None) -> None:
        """Begin anew: with this answer, or with the upstream's to the next request."""
        self.seen, self.answer = [], answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = {name: value for name, value in headers.items() if name in CANNOT_DIFFER or name.startswith("x-amz-")}
        content: Any = json.loads(body) if "x-amz-target" in headers else body
        self.seen.append(
            Seen(
                request.command,
                request.path,
                {name: value for name, value in kept.items() if name not in OF_THE_TIME},
                content,
            )
        )
        if self.answer is None:
            self.answer = self._forward(request, headers, body)
        request.send_response_only(self.answer.status)
        for name, value in self.answer.headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(self.answer.body)))
        request.end_headers()
        request.wfile.write(self.answer.body)

    def _forward(self, request: BaseHTTPRequestHandler, headers: dict[str, str], body: bytes) -> Canned:
        assert self._upstream is not None
        connection = http.client.HTTPConnection(*self._upstream)
        sent = {name: value for name, value in headers.items() if name not in ("expect", "connection")}
        connection.request(request.command, request.path, body, sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        skipped = {"content-length", "transfer-encoding", "connection"}
        return Canned(
            answer.status, tuple(each for each in answer.getheaders() if each[0].lower() not in skipped), content
        )
