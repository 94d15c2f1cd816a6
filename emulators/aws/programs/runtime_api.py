"""Lambda's Runtime API on loopback, as AWS's own runtime client asks for it ("Using the Lambda runtime API").

The standard library is all it needs: it is imported by tests, and by LocalStack's interpreter.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from uuid import uuid4

ARN: Final = "arn:aws:lambda:eu-west-1:000000000000:function:packaged"
EXIT: Final = "exit"
TIMEOUT: Final = "timeout"

_VERSION = "/2018-06-01/runtime"
_LOOK_SECONDS = 0.1


@dataclass
class RuntimeApi:
    """Hands out events to one function, and what it answers. A context manager: listens from entry to exit."""

    _events: queue.Queue[tuple[bytes, float] | None] = field(default_factory=queue.Queue)
    _answers: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def invoke(self, event: Any, *, seconds: float = 30) -> tuple[str, Any]:
        """Invoke the function with an event that is JSON: ``call``, and the answer read as such."""
        kind, content = self.call(json.dumps(event).encode(), seconds=seconds)
        return kind, json.loads(content)

    def call(
        self, event: bytes, *, seconds: float = 30, ended: Callable[[], int | None] = lambda: None
    ) -> tuple[str, bytes]:
        """Invoke the function once.

        Args:
            event: what it is given.
            seconds: until its timeout.
            ended: the exit code of the function's process, or None while it runs.

        Returns:
            The kind of its answer and what it says: ``"response"``, ``"error"``, ``"init"`` for an error before it
            could be invoked; ``EXIT`` and ``TIMEOUT``, with Lambda's own words, where it gave none.
        """
        self._events.put((event, seconds))
        deadline = time.monotonic() + seconds
        while (code := ended()) is None and time.monotonic() < deadline:
            with suppress(queue.Empty):
                return self._answers.get(timeout=_LOOK_SECONDS)
        if code is None:
            return TIMEOUT, _error("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")
        with suppress(queue.Empty):  # the last thing it did may have been to answer
            return self._answers.get_nowait()
        return EXIT, _error("Runtime.ExitError", f"Runtime exited with error: exit status {code}")

    def answer(self) -> tuple[str, Any]:
        """The answer to no event: what the function says of its own accord when it can't be loaded."""
        kind, content = self._answers.get(timeout=30)
        return kind, json.loads(content)

    def _handler(api) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                # A function that is ended while it waits resets its connection.
                with suppress(ConnectionError):
                    super().handle()

            def do_GET(self) -> None:
                assert self.path == f"{_VERSION}/invocation/next"
                given = api._events.get()
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
                self._send(200, event, headers)

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                kind = "init" if self.path == f"{_VERSION}/init/error" else self.path.rpartition("/")[2]
                self._send(202, b'{"status": "OK"}', {})
                api._answers.put((kind, content))

            def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *values: object) -> None:
                """Requests are not worth a line."""

        return Handler


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
