"""A proxy in front of a Redis server that breaks connections where a test wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class BreakingProxy:
    """Passes bytes on between clients and a server. As a context manager it listens from entry to exit.

    Args:
        port: the server's port.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._answers_lost = 0
        self._breaks_on: Callable[[bytes], bool] = lambda data: False
        self._lock = threading.Lock()
        self.broken = 0
        """How many connections were broken."""

    @property
    def url(self) -> str:
        """The URL of the proxy."""
        return f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"

    def lose_answers(self, count: int, text: bytes) -> None:
        """Pass the next ``count`` requests that contain a text on to the server, and break before the answer."""
        self._answers_lost = count
        self._breaks_on = lambda data: text in data

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            for target in (self._requests, self._answers):
                threading.Thread(target=target, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(client):
            with self._lock:
                breaks = self._answers_lost > 0 and self._breaks_on(data)
                self._answers_lost -= breaks
            if breaks:
                _end(client)  # first, so that the answer can't get through
                server.sendall(data)
                self.broken += 1
                return
            server.sendall(data)
        _end(server)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(server):
            try:
                client.sendall(data)
            except OSError:
                continue  # the request has to reach the server all the same
        _end(client)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


def _end(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side was faster
        pass
    finally:
        end.close()
