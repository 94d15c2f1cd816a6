"""Stands in front of an emulator of Cosmos DB, and corrects the one answer in which it differs from the service.

``@vercel/cosmosdb-server`` answers 500 to a request for an item that doesn't exist, and the service 404.
"""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
"""The key that every emulator of Cosmos DB has (Azure's "Azure Cosmos DB emulator")."""

_FAILED_TO_FIND = b"reading 'id'"


class CorrectedCosmosDB:
    """The emulator as the service would answer. As a context manager it answers from entry to exit.

    Args:
        emulator: the emulator's URL.
    """

    def __init__(self, emulator: str) -> None:
        class Handler(_Handler):
            netloc = urlsplit(emulator).netloc

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """The address at which it answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    netloc: str

    def setup(self) -> None:
        super().setup()
        self.emulator = http.client.HTTPConnection(self.netloc, timeout=30)

    def finish(self) -> None:
        self.emulator.close()
        super().finish()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.emulator.request(self.command, self.path, body, dict(self.headers))
        answer = self.emulator.getresponse()
        content = answer.read()
        missing = answer.status == http.client.INTERNAL_SERVER_ERROR and _FAILED_TO_FIND in content
        self.send_response(http.client.NOT_FOUND if missing else answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        pass
