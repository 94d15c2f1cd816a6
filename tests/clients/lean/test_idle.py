"""Tests of connections that wait for their next exchange, and of those that something on the way has forgotten."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable

import pytest

from taskq_cloud.clients.lean.endpoints import LARGEST_POOL, endpoint_of
from taskq_cloud.clients.lean.idle import LONGEST_IDLE_SECONDS, IdleConnections
from taskq_cloud.clients.lean.sockets import Sockets
from taskq_cloud.core.flows import CallError, Trouble
from tests.clients.lean.test_faults import ANSWER, Asker, Serve, Server, answering, ask, serving

__all__ = ["ask", "serving"]

RESET = b"\1\0\0\0\0\0\0\0"
"""Has a socket's ``close`` reset the connection."""


class Connection:
    """A connection that notes whether it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def is_open(self) -> bool:
        return not self.closed

    def close(self) -> None:
        assert not self.closed
        self.closed = True


@pytest.mark.parametrize("code", ["ConnectionClosedError", pytest.param("ReadTimeoutError", marks=pytest.mark.slow)])
async def test_forgotten_connections_fail_one_call_and_not_each_the_next(
    ask: Asker, serving: Callable[[Serve], Server], code: str
) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        while server.read(connection):
            if connection in forgotten:
                if code == "ReadTimeoutError":
                    server.end.wait(10)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
                return
            if 1 < len(server.requests) <= 6:
                together.wait(10)
            connection.sendall(ANSWER)

    forgotten: list[socket.socket] = []
    together = threading.Barrier(5)
    server = serving(serve)
    await ask(server, read_timeout_seconds=1 if code == "ReadTimeoutError" else 5)
    await asyncio.gather(*(ask(server) for _ in range(5)))
    forgotten += server.connections
    assert len(forgotten) == 5
    with pytest.raises(CallError) as caught:
        await ask(server)
    assert (caught.value.code, caught.value.trouble) == (code, Trouble.TRANSIENT)
    for _ in range(3):
        assert (await ask(server))["Item"] == {"id": {"S": "1"}}
    assert len(server.connections) == 6


def test_connection_that_was_used_since_the_failed_one_is_kept() -> None:
    now = 1.0
    idle: IdleConnections[Connection] = IdleConnections(lambda: now)
    forgotten, failing, proven = Connection(), Connection(), Connection()
    idle.put(forgotten)
    idle.put(failing)
    assert idle.take() is failing
    now = 3.0
    idle.put(proven)
    assert idle.close_unused_since(2.0) == [forgotten]
    assert (forgotten.closed, proven.closed) == (True, False)
    assert (idle.take(), idle.take()) == (proven, None)


def test_connection_that_was_not_used_for_too_long_is_closed() -> None:
    now = 0.0
    idle: IdleConnections[Connection] = IdleConnections(lambda: now)
    first, second, third = Connection(), Connection(), Connection()
    idle.put(first)
    now = LONGEST_IDLE_SECONDS - 1
    idle.put(second)
    assert not first.closed
    now = LONGEST_IDLE_SECONDS
    idle.put(third)
    assert (first.closed, second.closed) == (True, False)
    now = 2 * LONGEST_IDLE_SECONDS - 1
    assert (idle.take(), idle.take()) == (third, None)
    assert second.closed


def test_no_more_connections_than_the_largest_pool_are_kept() -> None:
    idle: IdleConnections[Connection] = IdleConnections()
    connections = [Connection() for _ in range(LARGEST_POOL + 1)]
    for connection in connections:
        idle.put(connection)
    assert [connection.closed for connection in connections] == [False] * LARGEST_POOL + [True]
    assert idle.close() == connections[:LARGEST_POOL]
    assert idle.take() is None


def test_connections_that_nobody_closes_end_in_silence_with_their_owner(
    serving: Callable[[Serve], Server], recwarn: pytest.WarningsRecorder
) -> None:
    server = serving(answering(ANSWER))
    endpoint = endpoint_of(server.url, None)
    assert endpoint is not None
    sockets = Sockets(endpoint, 5)
    sockets.exchange(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"", 5)
    holder: list[object] = [sockets]
    holder.append(holder)  # a circle, in which the socket's own end could come first
    del sockets, holder
    gc.collect()
    assert not [each for each in recwarn if issubclass(each.category, ResourceWarning)]
    [connection] = server.connections
    assert connection.fileno() == -1 or connection.recv(1) == b"", "the server sees the end"
