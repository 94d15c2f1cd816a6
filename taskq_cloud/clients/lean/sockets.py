"""Exchanges requests for answers in the calling thread, over connections that are kept alive."""

from __future__ import annotations

import select
import socket
import weakref
from contextlib import suppress
from typing import Any, Final

from taskq_cloud.clients.lean.answers import Answer, AnswerReader, BrokenAnswerError, Look
from taskq_cloud.clients.lean.endpoints import (
    NOT_CONNECTED,
    Endpoint,
    no_answer,
    not_connected,
    tls_context,
)
from taskq_cloud.clients.lean.idle import IdleConnections

_AT_ONCE_BYTES: Final = 256 * 1024
"""The most bytes that one read takes."""

PIECE_BYTES: Final = 128 * 1024
"""A body up to this size is sent together with the head, and a larger one in pieces of it."""


def bound_unsent(opened: socket.socket) -> None:
    """Let no more than a piece wait in the system's buffer, beside what is under way.

    Otherwise up to 4 MB of a large body seem to be sent (tcp(7), ``tcp_wmem``), and on a slow connection the answer to
    it would be waited for too soon.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux and macOS
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, PIECE_BYTES)


class Sockets:
    """The connections to one endpoint. Threads may share it; each exchange has a connection of its own.

    Args:
        endpoint: the endpoint.
        connect_seconds: how long it may take to open a connection.
    """

    def __init__(self, endpoint: Endpoint, connect_seconds: float) -> None:
        self._endpoint = endpoint
        self._connect_seconds = connect_seconds
        self._idle: IdleConnections[_Connection] = IdleConnections()
        self._closed = False
        # Connections that nobody has closed end with their owner, in silence, as those of the SDK do.
        weakref.finalize(self, self._idle.close).atexit = False

    def exchange(self, head: bytes, body: bytes, seconds: float, look: Look | None = None) -> Answer:
        """Send a request once, and return its answer.

        Args:
            head: the head of the request.
            body: its body.
            seconds: the longest wait for the next bytes of the answer.
            look: looks at the answer's head before its body is read.

        Raises:
            TransportError: no answer came, or only a part of one.
            CallError: ``look`` has refused the answer.
        """
        kept = self._idle.take()
        connection, begun = kept or self._open(), self._idle.clock()
        try:
            reader = AnswerReader(look)
            connection.exchange(head, body, seconds, reader)
        except BaseException as error:
            # Also when an exception was raised into this thread: the rest of the answer must not be the next call's.
            connection.close()
            if not isinstance(error, OSError | BrokenAnswerError):
                raise
            if kept is not None:
                self._idle.close_unused_since(begun)
            raise no_answer(self._endpoint, error) from error
        if reader.keeps_connection and not self._closed:
            self._idle.put(connection)
        else:
            connection.close()
        return reader.answer()

    def close(self) -> None:
        """Close the connections; those in use are closed after their exchange."""
        self._closed = True
        self._idle.close()

    def _open(self) -> _Connection:
        endpoint = self._endpoint
        context = tls_context(endpoint)
        opened: socket.socket | None = None
        try:
            host: Any = endpoint.host.encode()  # Python would import its tables of Unicode to encode a text
            opened = socket.create_connection((host, endpoint.port), self._connect_seconds)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bound_unsent(opened)
            if context is not None:
                opened = context.wrap_socket(opened, server_hostname=endpoint.host)
        except BaseException as error:
            if opened is not None:
                opened.close()
            if isinstance(error, NOT_CONNECTED):
                raise not_connected(endpoint, error) from error
            raise
        return _Connection(opened, self._connect_seconds)


class _Connection:
    def __init__(self, opened: socket.socket, seconds: float) -> None:
        self._socket = opened
        self._seconds = seconds
        self._poll: Any = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(opened, select.POLLIN)

    def is_open(self) -> bool:
        """Whether an idle connection can be used: a server that closes it makes it readable."""
        if self._poll is not None:
            return not self._poll.poll(0)
        return not select.select([self._socket], [], [], 0)[0]

    def exchange(self, head: bytes, body: bytes, seconds: float, reader: AnswerReader) -> None:
        if seconds != self._seconds:
            self._socket.settimeout(seconds)
            self._seconds = seconds
        # A server may refuse a large body before it has read it, and close the connection: then its answer is here.
        with suppress(BrokenPipeError, ConnectionResetError):
            if len(body) <= PIECE_BYTES:
                self._socket.sendall(head + body)
            else:
                self._socket.sendall(head)
                for at in range(
                    0, len(body), PIECE_BYTES
                ):  # each piece may take as long as the next bytes of an answer
                    self._socket.sendall(memoryview(body)[at : at + PIECE_BYTES])
        while True:
            data = self._socket.recv(_AT_ONCE_BYTES)
            if not data:
                if reader.end():
                    return
                raise BrokenAnswerError("its end is missing" if reader.begun else "there is no answer")
            if reader.feed(data):
                return

    def close(self) -> None:
        self._socket.close()
