"""What the servers share: a socket, one request at a time, a password, and failures that a test asks for."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """A request, with its path still encoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """An answer; a body that isn't bytes is sent as JSON."""

    status: int
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class DocumentServer:
    """A server in threads of this process. As a context manager it answers from entry to exit.

    Args:
        user: the only user; empty: everybody is served.
        password: the user's password.

    Attributes:
        requests: all requests up to now, as ``"METHOD path"``.
        failures: answers that the next requests get, instead of being carried out.
    """

    unauthorized: ClassVar[Answer] = Answer(401)

    def __init__(self, user: str = "", password: str = "") -> None:
        self.requests: list[str] = []
        self.failures: list[Answer] = []
        self._credentials = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port at which it answers."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """The address at which it answers."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Request) -> Answer:
        """Carry out a request."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(f"{request.method} {request.path}")
            if self.failures:
                return self.failures.pop(0)
            if self._credentials and request.headers.get("Authorization") != self._credentials:
                return self.unauthorized
            return self.answer(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answered = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65_537)
                if not self.raw_requestline:
                    self.close_connection = True
                    return
                if not self.parse_request():
                    return
                target = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = dict(parse_qsl(target.query, keep_blank_values=True))
                self._send(answered(Request(self.command, target.path, query, self.headers, body)))  # type: ignore[arg-type]

            def _send(self, answer: Answer) -> None:
                encoded = isinstance(answer.body, bytes)
                content = answer.body if encoded else json.dumps(answer.body).encode()
                kind = "text/plain" if encoded else "application/json; charset=utf-8"
                self.send_response(answer.status)
                for name, value in {"Content-Type": kind, **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
