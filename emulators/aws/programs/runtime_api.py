"""Lambda's Runtime API on loopback, for AWS's own runtime client ("Using the Lambda runtime API").

Tests and LocalStack's interpreter import this module, so it uses the standard library only.
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
    """Gives events to one function, and returns its answers. As a context manager it listens from entry to exit."""

    _events: queue.Queue[tuple[bytes, float] | None] = field(default_factory=queue.Queue)
    _answers: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)
    asked: threading.Event = field(default_factory=threading.Event)
    """Set when the function asks for an event, which it does for the first time when it has been initialised."""

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
        """Invoke the function with an event that is sent as JSON, and decode its answer: see ``call``."""
        kind, content = self.call(json.dumps(event).encode(), seconds=seconds)
        return kind, json.loads(content)

    def call(
        self, event: bytes, *, seconds: float = 30, ended: Callable[[], int | None] = lambda: None
    ) -> tuple[str, bytes]:
        """Invoke the function once.

        Args:
            event: the event.
            seconds: the function's timeout.
            ended: returns the exit code of the function's process, or None while it runs.

        Returns:
            The kind and the content of the answer. The kind is ``"response"``, ``"error"``, or ``"init"`` for an error
            before the function could be invoked. If the function gave no answer, it is ``EXIT`` or ``TIMEOUT``, and the
            content is an error in Lambda's own words.
        """
        self._events.put((event, seconds))
        deadline = time.monotonic() + seconds
        while (code := ended()) is None and time.monotonic() < deadline:
            with suppress(queue.Empty):
                return self._answers.get(timeout=_LOOK_SECONDS)
        if code is None:
            return TIMEOUT, _error("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")
        with suppress(queue.Empty):  # the function may have answered just before it ended
            return self._answers.get_nowait()
        return EXIT, _error("Runtime.ExitError", f"Runtime exited with error: exit status {code}")

    def answer(self) -> tuple[str, Any]:
        """Return an answer that the function gave without an event: the error if it can't be loaded."""
        kind, content = self._answers.get(timeout=30)
        return kind, json.loads(content)

    def _handler(api) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the name in the handler
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                # A function that is ended while it waits for an event resets its connection.
                with suppress(ConnectionError):
                    super().handle()

            def do_GET(self) -> None:
                assert self.path == f"{_VERSION}/invocation/next"
                api.asked.set()
                given = api._events.get()
                if given is None:
                    self.close_connection = True
                    return
                event, seconds = given
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": str(uuid4()),
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": ARN,
                    # The client reads these two headers in any case, and fails without them.
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
                """Do not log requests."""

        return Handler


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
