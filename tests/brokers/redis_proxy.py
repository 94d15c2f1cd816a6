"""A proxy in front of a Redis server that breaks connections where a test wants it."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from types import TracebackType
from typing import Self


class BreakingProxy:
    """Passes bytes on between clients and a server. As a context manager it listens from entry to exit.

    Args:
        port: the server's port.
    """

    def __init__(self, port: int) -> None:
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", port)) as server:
                    proxy.pass_on(self.request, server)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._ended = threading.Event()
        self._lost = threading.Lock()
        self._answers_to_lose = 0
        self._text = b""
        self.broken = 0
        """How many connections were broken."""

    @property
    def url(self) -> str:
        """The URL of the proxy."""
        return f"redis://127.0.0.1:{self._server.server_address[1]}/0"

    def lose_answers(self, count: int, text: bytes) -> None:
        """Pass the next ``count`` requests that contain a text on to the server, and break instead of an answer."""
        self._answers_to_lose, self._text = count, text

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Pass bytes on until one side ends, or the connection is to be broken."""
        loses = False
        while not self._ended.is_set():
            for end in select.select([client, server], [], [], 0.02)[0]:
                try:
                    data = end.recv(65536)
                    if not data or (end is server and loses):
                        return
                    (server if end is client else client).sendall(data)
                except OSError:
                    return
                loses = end is client and self._loses_answer_to(data)

    def _loses_answer_to(self, data: bytes) -> bool:
        with self._lost:
            loses = self._answers_to_lose > 0 and self._text in data
            self._answers_to_lose -= loses
            self.broken += loses
        return loses

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
