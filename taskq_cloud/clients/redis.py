"""The client of Redis: a small client of our own for sockets and event loops, without redis-py.

=============  ===========================================  ==========================================================
operation      parameters                                   answer
=============  ===========================================  ==========================================================
``commands``   commands: ``[[name, *parts], ...]``          the answers, in order; an error is a ``CallError`` there
``script``     script, keys, args                           the script's answer
``scripts``    scripts: ``[{script, keys, args}, ...]``     the answers, in order; an error is a ``CallError`` there
``wait``       command, seconds, then                       the answer of the blocking command, and that of ``then``
``listen``     listener, topics                             whether the listener hears of the topics
=============  ===========================================  ==========================================================

The parts of commands are texts, bytes and numbers; answers are bytes, integers, None and lists of these. All commands
or scripts of a call are sent at once and cost one round trip; they are not a transaction.

A script is sent by its SHA-1 digest, and as a text if the server doesn't know it yet. ``wait`` has a connection to
itself: ``command`` blocks for up to ``seconds``, and the script ``then`` (``{script, keys, args}``) is sent along with
it, so that the server runs it as soon as the command ends. If the caller stops waiting, the connection is closed, and
the server does not run it. ``listen`` lets a ``listener`` hear of ``topics`` (channel -> what the listener hears) that
are published; see ``redis_channels``.

On an event loop all calls but ``wait`` share one connection, and don't wait for each other's answers. Threads have a
connection each for as long as a call takes.

CPU time of a script with an argument of 700 bytes, in microseconds, on CPython 3.11 (the socket's system calls are 25
of them): redis-py 91, this client 33; on an event loop redis-py 111, this client 49. So that half of a send is not
spent in the client, this package speaks the protocol itself.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.clients.base import shortest
from taskq_cloud.clients.redis_calls import answer_of, repeated, requests
from taskq_cloud.clients.redis_errors import FAILURES, READ_ONLY, connection_error
from taskq_cloud.clients.redis_protocol import ErrorReply, NotRedisError, Replies, packed
from taskq_cloud.clients.redis_servers import Ask, Connect, Drop, Servers, tls_context
from taskq_cloud.core.flows import Call, CallError, arun, run

if TYPE_CHECKING:
    from taskq_cloud.clients.redis_channels import Channels, ThreadChannels
    from taskq_cloud.core.redis import RedisServer

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 10.0
"""How long an answer may take. The largest take a second; a server that syncs its file or loads a script takes more."""

IDLE_SECONDS: Final = 1.0
"""A connection that was idle for longer is looked at before its use, as the server may have closed it."""

_READ_BYTES: Final = 256 * 1024


def open_client(service: str, options: Mapping[str, Any]) -> RedisClient:
    """Make the client of one server, or of several of which one is used; the first call connects.

    Args:
        service: the service's name, for errors.
        options: those of ``core.redis.redis_service``.

    Raises:
        ImproperlyConfigured: a URL can't be read.
    """
    return RedisClient(options)


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncRedisClient:
    """Make the client of one server for an event loop; see ``open_client``."""
    return AsyncRedisClient(options)


class _Timeouts:
    """How long the parts of a call may take."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.connect_seconds = shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2)
        self.answer_seconds = shortest(ANSWER_TIMEOUT_SECONDS, options, parts=2)


class _Connection:
    """A connection of one thread at a time."""

    def __init__(self, server: RedisServer, timeouts: _Timeouts) -> None:
        context = tls_context(server)
        self.name = str(server)
        self.used_at = time.monotonic()
        self._timeout_seconds = timeouts.answer_seconds
        self._replies = Replies()
        self._socket: socket.socket
        if server.path:
            self._socket = socket.socket(socket.AF_UNIX)
        else:
            self._socket = socket.create_connection((server.host, server.port), timeouts.connect_seconds)
        try:
            self._socket.settimeout(timeouts.connect_seconds)
            if server.path:
                self._socket.connect(server.path)
            else:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if context is not None:
                self._socket = context.wrap_socket(self._socket, server_hostname=server.host)
            self._socket.settimeout(self._timeout_seconds)
        except BaseException:
            self._socket.close()
            raise

    def ask(self, commands: Sequence[Sequence[Any]], seconds: float = 0.0) -> list[Any]:
        """Send commands, and return their answers; they may take ``seconds`` longer than usual."""
        if seconds:
            self._socket.settimeout(self._timeout_seconds + seconds)
        self._socket.sendall(packed(commands))
        complete = self._replies.complete
        while len(complete) < len(commands):
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._replies.feed(data)
        if seconds:
            self._socket.settimeout(self._timeout_seconds)
        answers = list(complete)
        complete.clear()
        return answers

    def is_stale(self, now: float) -> bool:
        """Whether the server has closed the connection since its last use, which was a while ago."""
        if now - self.used_at < IDLE_SECONDS:
            return False
        self._socket.setblocking(False)
        try:
            self._socket.recv(1)
        except (BlockingIOError, TimeoutError):
            return False
        except OSError as error:
            # TLS has no data for us: SSL_ERROR_WANT_READ
            return getattr(error, "errno", None) != _WANT_READ
        finally:
            self._socket.settimeout(self._timeout_seconds)
        return True  # the end, or bytes that nobody asked for

    def close(self) -> None:
        self._socket.close()


_WANT_READ: Final = 2
"""``ssl.SSL_ERROR_WANT_READ``."""


class RedisClient:
    """A client for threads.

    Args:
        options: the service's options.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._servers = Servers(options)
        self._timeouts = _Timeouts(options)
        self._options = options
        self._idle: list[_Connection] = []
        self._channels: ThreadChannels | None = None

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
            Exception: the exception that was raised into the call, such as a time limit.
        """
        if call.operation == "listen":
            return self._listen(call)
        commands, seconds = requests(call)
        before = sys.exception()
        connection = self._take(call)
        try:
            answers = connection.ask(commands, seconds)
            again = repeated(call, commands, answers)
            if again:
                for position, answer in zip(again, connection.ask([*again.values()], seconds), strict=True):
                    answers[position] = answer
        except BaseException as error:
            connection.close()
            if isinstance(error, FAILURES):
                failure: BaseException = connection_error(call, connection.name, error)
                raise _interruption(error, before) or failure from error
            raise
        if _refuses_writes(answers):
            connection.close()
            self._drop_idle()
        else:
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        return answer_of(call, connection.name, answers)

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._drop_idle()
        channels, self._channels = self._channels, None
        if channels is not None:
            channels.close()

    def _take(self, call: Call) -> _Connection:
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                connection = self._idle.pop()
                if not connection.is_stale(time.monotonic()):
                    return connection
                connection.close()
        before = sys.exception()
        try:
            connection, _ = run(self._servers.opened(call), self._perform)
        except CallError as error:
            interruption = _interruption(error, before)
            if interruption is not None:
                raise interruption from None
            raise
        return connection

    def _perform(self, step: Any) -> Any:
        match step:
            case Connect(server):
                return _Connection(server, self._timeouts)
            case Ask(connection, commands):
                try:
                    return connection.ask(commands)
                except BaseException:  # a time limit may end the opening
                    connection.close()
                    raise
            case Drop(connection):
                return connection.close()
        raise TypeError(step)

    def _drop_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    def _listen(self, call: Call) -> bool:
        from taskq_cloud.clients.redis_channels import ThreadChannels  # few processes listen

        if self._channels is None:
            self._channels = ThreadChannels(self._options)
        return self._channels.listen(call)


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
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    async def ask(self, commands: Sequence[Sequence[Any]], seconds: float = 0.0) -> list[Any]:
        """Send commands, and return their answers; they may take ``seconds`` longer than usual."""
        if self.closed:
            raise ConnectionResetError("the connection is closed")
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        ends_at = self._loop.time() + self.timeout_seconds + seconds
        self._asked.append((len(commands), future, ends_at))
        self._transport.write(packed(commands))
        if self._timer is None:
            self._timer = self._loop.call_at(ends_at, self._look_at_time)
        return await future

    def close(self) -> None:
        """Close the connection. Calls that have no answer yet fail."""
        self._fail(ConnectionResetError("the connection is closed"))

    def _look_at_time(self) -> None:
        self._timer = None
        if self._asked:
            ends_at = self._asked[0][2]
            if ends_at <= self._loop.time():
                self._fail(TimeoutError("the server gave no answer in time"))
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


class AsyncRedisClient:
    """A client for one event loop.

    Args:
        options: the service's options.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._servers = Servers(options)
        self._timeouts = _Timeouts(options)
        self._shared: AsyncConnection | None = None
        self._opening: asyncio.Task[AsyncConnection] | None = None
        self._idle: list[AsyncConnection] = []
        self._channels: Channels | None = None

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
        """
        if call.operation == "listen":
            return await self._listen(call)
        commands, seconds = requests(call)
        if call.operation == "wait":
            return await self._wait(call, commands, seconds)
        connection = self._shared
        if connection is None or connection.closed:
            connection = await self._share(call)
        answers = await self._ask(call, connection, commands, 0.0)
        if _refuses_writes(answers):
            connection.close()
        return answer_of(call, connection.name, answers)

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        connections, self._idle = self._idle, []
        if self._shared is not None:
            connections.append(self._shared)
        if self._opening is not None:
            self._opening.cancel()
        for connection in connections:
            connection.close()
        channels, self._channels = self._channels, None
        if channels is not None:
            await channels.close()
        await asyncio.sleep(0)  # transports close their sockets in the next turn of the loop

    async def open(self, call: Call) -> AsyncConnection:
        """Open a connection for a purpose of its own."""
        connection, _ = await arun(self._servers.opened(call), self._perform)
        assert isinstance(connection, AsyncConnection)
        return connection

    async def _wait(self, call: Call, commands: Sequence[Sequence[Any]], seconds: float) -> Any:
        connection = None
        while self._idle and connection is None:
            connection = self._idle.pop()
            connection = None if connection.closed else connection
        if connection is None:
            connection = await self.open(call)
        try:
            answers = await self._ask(call, connection, commands, seconds)
        except BaseException:
            connection.close()  # the server must not run what follows for somebody who has gone
            raise
        if _refuses_writes(answers):
            connection.close()
        else:
            self._idle.append(connection)
        return answer_of(call, connection.name, answers)

    async def _ask(
        self, call: Call, connection: AsyncConnection, commands: Sequence[Sequence[Any]], seconds: float
    ) -> list[Any]:
        try:
            answers = await connection.ask(commands, seconds)
            again = repeated(call, commands, answers)
            if again:
                for position, answer in zip(again, await connection.ask([*again.values()], seconds), strict=True):
                    answers[position] = answer
        except FAILURES as error:
            raise connection_error(call, connection.name, error) from error
        return answers

    async def _share(self, call: Call) -> AsyncConnection:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self.open(call))
        connection = await asyncio.shield(self._opening)
        self._shared = connection
        return connection

    async def _perform(self, step: Any) -> Any:
        match step:
            case Connect(server):
                return await self._connect(server)
            case Ask(connection, commands):
                try:
                    return await connection.ask(commands)
                except BaseException:
                    connection.close()
                    raise
            case Drop(connection):
                return connection.close()
        raise TypeError(step)

    async def _connect(self, server: RedisServer) -> AsyncConnection:
        context, loop = tls_context(server), asyncio.get_running_loop()

        def protocol() -> AsyncConnection:
            return AsyncConnection(str(server), self._timeouts.answer_seconds)

        async with asyncio.timeout(self._timeouts.connect_seconds):
            if server.path:
                _, connection = await loop.create_unix_connection(protocol, server.path)
            else:
                _, connection = await loop.create_connection(protocol, server.host, server.port, ssl=context)
        return connection

    async def _listen(self, call: Call) -> bool:
        from taskq_cloud.clients.redis_channels import Channels

        if self._channels is None:
            self._channels = Channels(self.open)
        return await self._channels.listen(call)


def _refuses_writes(answers: Sequence[Any]) -> bool:
    """Whether the server has become a replica, so that the next call has to look for the primary."""
    return any(isinstance(answer, ErrorReply) and answer.code == READ_ONLY for answer in answers)


def _interruption(error: BaseException, before: BaseException | None) -> BaseException | None:
    from taskq_cloud.clients.interruptions import interruption_in  # few calls fail

    return interruption_in(error, before)
