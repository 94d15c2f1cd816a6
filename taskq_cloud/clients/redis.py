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

A script with an argument of 700 bytes takes 58 microseconds of CPU time with redis-py and 20 with this client, of which
the socket's system calls are 14; on an event loop 101 and 34 (CPython 3.11, redis-py 8.1 without hiredis). Sending a
task would cost half as much again with redis-py, so this package speaks the protocol itself.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.clients.base import shortest
from taskq_cloud.clients.redis_calls import answer_of, has_errors, refuses_writes, repeated, requests
from taskq_cloud.clients.redis_errors import CLOSED_BY_SERVER, FAILURES, NO_ANSWER, connection_error
from taskq_cloud.clients.redis_protocol import Replies, packed
from taskq_cloud.clients.redis_servers import Ask, Connect, Drop, Servers
from taskq_cloud.clients.redis_sockets import AsyncConnection, async_connected, connected, has_ended, set_timeout
from taskq_cloud.core.flows import Call, CallError, arun, run

if TYPE_CHECKING:
    from taskq_cloud.clients.redis_channels import Channels, ThreadChannels
    from taskq_cloud.core.servers.redis import RedisServer

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 10.0
"""How long an answer may take. The largest take a second; a server that syncs its file or loads a script takes more."""

IDLE_SECONDS: Final = 1.0
"""A connection that was idle for longer is looked at before its use, as the server may have closed it."""

_READ_BYTES: Final = 256 * 1024


def open_client(_service: str, options: Mapping[str, Any]) -> RedisClient:
    """Make the client of one server, or of several of which one is used; the first call connects.

    Args:
        options: those of ``core.servers.redis.redis_service``.

    Raises:
        ImproperlyConfigured: a URL can't be read.
    """
    return RedisClient(options)


async def open_async_client(_service: str, options: Mapping[str, Any]) -> AsyncRedisClient:
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
        self.name = str(server)
        self.used_at = time.monotonic()
        self._timeout_seconds = timeouts.answer_seconds
        self._replies = Replies()
        self._socket = connected(server, timeouts.connect_seconds)
        set_timeout(self._socket, self._timeout_seconds)

    def ask(self, commands: Sequence[Sequence[Any]], seconds: float = 0.0) -> list[Any]:
        """Send commands, and return their answers; they may take ``seconds`` longer than usual."""
        if seconds:
            set_timeout(self._socket, self._timeout_seconds + seconds)
        complete, count = self._replies.complete, len(commands)
        try:
            self._socket.sendall(packed(commands))
            while len(complete) < count:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise ConnectionResetError(CLOSED_BY_SERVER)
                self._replies.feed(data)
        except BlockingIOError:  # the kernel's timeout
            raise TimeoutError(NO_ANSWER) from None
        if seconds:
            set_timeout(self._socket, self._timeout_seconds)
        answers = list(complete)
        complete.clear()
        return answers

    def is_stale(self) -> bool:
        """Whether the server has closed the connection since its last use, which was a while ago."""
        return time.monotonic() - self.used_at >= IDLE_SECONDS and has_ended(self._socket, self._timeout_seconds)

    def close(self) -> None:
        self._socket.close()


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
            failed = has_errors(answers)
            if failed and (again := repeated(call, commands, answers)):
                for position, answer in zip(again, connection.ask([*again.values()], seconds), strict=True):
                    answers[position] = answer
        except BaseException as error:
            connection.close()
            if isinstance(error, FAILURES):
                failure: BaseException = connection_error(call, connection.name, error)
                raise _interruption(error, before) or failure from error
            raise
        if failed and refuses_writes(answers):
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
        try:
            while True:
                connection = self._idle.pop()
                if not connection.is_stale():
                    return connection
                connection.close()
        except IndexError:  # there is none, or another thread was faster
            pass
        before = sys.exception()
        try:
            opened: _Connection = run(self._servers.opened(call), self._perform)
        except CallError as error:
            interruption = _interruption(error, before)
            if interruption is not None:
                raise interruption from None
            raise
        return opened

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
        try:
            while True:
                self._idle.pop().close()
        except IndexError:
            pass

    def _listen(self, call: Call) -> bool:
        from taskq_cloud.clients.redis_channels import ThreadChannels  # few processes listen

        if self._channels is None:
            self._channels = ThreadChannels(lambda: AsyncRedisClient(self._options))
        return self._channels.listen(call)


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
        if refuses_writes(answers):
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
        connection: AsyncConnection = await arun(self._servers.opened(call), self._perform)
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
        if refuses_writes(answers):
            connection.close()
        else:
            self._idle.append(connection)
        return answer_of(call, connection.name, answers)

    async def _ask(
        self, call: Call, connection: AsyncConnection, commands: Sequence[Sequence[Any]], seconds: float
    ) -> list[Any]:
        try:
            answers = await connection.ask(commands, seconds)
            if has_errors(answers) and (again := repeated(call, commands, answers)):
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
                seconds = self._timeouts
                return await async_connected(server, seconds.connect_seconds, seconds.answer_seconds)
            case Ask(connection, commands):
                try:
                    return await connection.ask(commands)
                except BaseException:
                    connection.close()
                    raise
            case Drop(connection):
                return connection.close()
        raise TypeError(step)

    async def _listen(self, call: Call) -> bool:
        from taskq_cloud.clients.redis_channels import Channels

        if self._channels is None:
            self._channels = Channels(self.open)
        return await self._channels.listen(call)


def _interruption(error: BaseException, before: BaseException | None) -> BaseException | None:
    from taskq_cloud.clients.interruptions import interruption_in  # few calls fail

    return interruption_in(error, before)
