"""Lambda's Runtime API on loopback, as AWS's own runtime client asks for it ("Using the Lambda runtime API")."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import uuid4

ARN = "arn:aws:lambda:eu-west-1:000000000000:function:packaged"
_VERSION = "/2018-06-01/runtime"


@dataclass
class RuntimeApi:
    """Hands out events, and keeps what is answered: ``(kind, content)``; kind is response, error or init."""

    events: queue.Queue[Any] = field(default_factory=queue.Queue)
    answers: queue.Queue[tuple[str, Any]] = field(default_factory=queue.Queue)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.events.put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def invoke(self, event: Any, *, seconds: float = 30) -> tuple[str, Any]:
        """Invoke the function with so many seconds until its timeout."""
        self.events.put((event, seconds))
        return self.answer()

    def answer(self) -> tuple[str, Any]:
        return self.answers.get(timeout=30)

    def _handler(api) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                # A function that is ended while it waits resets its connection.
                with suppress(ConnectionError):
                    super().handle()

            def do_GET(self) -> None:
                assert self.path == f"{_VERSION}/invocation/next"
                given = api.events.get()
                if given is None:
                    self.close_connection = True
                    return
                event, seconds = given
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": str(uuid4()),
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": ARN,
                    # The client reads these two unasked, and dies without them.
                    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                    "Content-Type": "application/json",
                }
                self._send(200, json.dumps(event).encode(), headers)

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                kind = "init" if self.path == f"{_VERSION}/init/error" else self.path.rpartition("/")[2]
                self._send(202, b'{"status": "OK"}', {})
                api.answers.put((kind, json.loads(content)))

            def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the base class's name
                """Requests are not worth a line."""

        return Handler
