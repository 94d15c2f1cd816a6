"""Sockets of the Redis client: plain or with TLS, for threads and for event loops."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from taskq_cloud.clients.redis_errors import CLOSED_BY_SERVER, NO_ANSWER
from taskq_cloud.clients.redis_protocol import NotRedisError, Replies, packed
from taskq_cloud.core.servers.redis import RedisServer
from taskq_cloud.errors import ImproperlyConfigured

_CLOSED_HERE: Final = "the connection is closed"
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_NO_HANDSHAKE: Final = "no answer to the beginning of TLS: for a server without TLS, write redis://"


def connected(server: RedisServer, seconds: float) -> socket.socket:
    """Connect to a server.

    Args:
        server: the server.
        seconds: how long each step may take.

    Raises:
        OSError: the server can't be reached.
        ImproperlyConfigured: a file of certificates can't be read.
    """
    context = tls_context(server)
    if server.path:
        opened = socket.socket(socket.AF_UNIX)
    else:
        opened = socket.create_connection((server.host, server.port), seconds)
    try:
        opened.settimeout(seconds)
        if server.path:
            opened.connect(server.path)
        else:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return opened if context is None else _encrypted(opened, context, server)
    except BaseException:
        opened.close()
        raise


def _encrypted(opened: socket.socket, context: ssl.SSLContext, server: RedisServer) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(opened, server_hostname=server.host)
    except TimeoutError:
        # A server without TLS waits for the end of a command.
        raise TimeoutError(_NO_HANDSHAKE) from None


def set_timeout(opened: socket.socket, seconds: float) -> None:
    """Set how long each send and each receive of a socket may take.

    Python's own timeout costs a system call more for each of them, so the kernel's is used where there is one: it
    raises ``BlockingIOError``. A socket with TLS, or of gevent or eventlet, waits in its own way.
    """
    if os.name != "posix" or type(opened).__module__ != "socket":
        opened.settimeout(seconds)
        return
    if opened.gettimeout() is not None:
        opened.settimeout(None)
    whole = int(seconds)
    value = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def has_ended(opened: socket.socket, timeout_seconds: float) -> bool:
    """Whether the server has closed an idle connection, or has sent what nobody asked for."""
    opened.settimeout(0)
    try:
        opened.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        set_timeout(opened, timeout_seconds)
    return True


def tls_context(server: RedisServer) -> ssl.SSLContext | None:
    """Return the context of a server that is used with TLS; None for one without.

    Raises:
        ImproperlyConfigured: a file of certificates can't be read.
    """
    if server.tls is None:
        return None
    options = dict(server.tls)
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:
        files = ", ".join(f"{name}={options[name]}" for name in _FILES if name in options)
        raise ImproperlyConfigured(f"{server}: a file of certificates can't be read ({files}): {error}") from None
    context.check_hostname = options["ssl_check_hostname"] == "true" and options["ssl_cert_reqs"] != "none"
    context.verify_mode = ssl.VerifyMode[f"CERT_{options['ssl_cert_reqs'].upper()}"]
    return context


async def async_connected(server: RedisServer, seconds: float, answer_seconds: float) -> AsyncConnection:
    """Connect to a server on the running event loop.

    Args:
        server: the server.
        seconds: how long that may take.
        answer_seconds: how long an answer may take.

    Raises:
        OSError: the server can't be reached.
        ImproperlyConfigured: a file of certificates can't be read.
    """
    context, loop = tls_context(server), asyncio.get_running_loop()

    def protocol() -> AsyncConnection:
        return AsyncConnection(str(server), answer_seconds)

    try:
        async with asyncio.timeout(seconds):
            if server.path:
                _, connection = await loop.create_unix_connection(protocol, server.path)
            else:
                _, connection = await loop.create_connection(protocol, server.host, server.port, ssl=context)
    except TimeoutError:
        raise TimeoutError(NO_ANSWER if context is None else _NO_HANDSHAKE) from None
    return connection


class AsyncConnection(asyncio.Protocol):
    """A connection of an event loop. Several callers may ask at once; the answers come in order.

    Args:
        name: the server's name in errors.
        timeout_seconds: how long an answer may take.
    """

    def __init__(self, name: str, timeout_seconds: float) -> None:
        self.name = name
        self.closed = False
        self.timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._replies = Replies()
        self._asked: deque[tuple[int, asyncio.Future[list[Any]], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self._on_message: Callable[[Any], object] | None = None
        self._on_lost: Callable[[], object] | None = None

    def hear(self, on_message: Callable[[Any], object], on_lost: Callable[[], object]) -> None:
        """Use the connection for subscriptions: hand over whatever comes, and tell when the connection is closed."""
        self._on_message, self._on_lost = on_message, on_lost

    def write(self, data: bytes) -> None:
        """Send bytes without waiting for an answer."""
        if not self.closed:
            self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who asked."""
        complete = self._replies.complete
        try:
            self._replies.feed(data)
        except NotRedisError as error:
            self._fail(error)
            return
        if self._on_message is not None:
            while complete:
                self._on_message(complete.popleft())
        while self._asked and len(complete) >= self._asked[0][0]:
            count, future, _ = self._asked.popleft()
            answers = [complete.popleft() for _ in range(count)]
            if not future.done():
                future.set_result(answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls that have no answer yet."""
        self._fail(exc or ConnectionResetError(CLOSED_BY_SERVER))

    async def ask(self, commands: Sequence[Sequence[Any]], seconds: float = 0.0) -> list[Any]:
        """Send commands, and return their answers; they may take ``seconds`` longer than usual."""
        if self.closed:
            raise ConnectionResetError(_CLOSED_HERE)
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        ends_at = self._loop.time() + self.timeout_seconds + seconds
        self._asked.append((len(commands), future, ends_at))
        self._transport.write(packed(commands))
        if self._timer is None:
            self._timer = self._loop.call_at(ends_at, self._look_at_time)
        return await future

    def close(self) -> None:
        """Close the connection. Calls that have no answer yet fail."""
        self._fail(ConnectionResetError(_CLOSED_HERE))

    def _look_at_time(self) -> None:
        self._timer = None
        if self._asked:
            ends_at = self._asked[0][2]
            if ends_at <= self._loop.time():
                self._fail(TimeoutError(NO_ANSWER))
            else:
                self._timer = self._loop.call_at(ends_at, self._look_at_time)

    def _fail(self, error: Exception) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.abort()
        while self._asked:
            _, future, _ = self._asked.popleft()
            if not future.done():
                future.set_exception(error)
        if self._on_lost is not None:
            self._on_lost()
