"""The client of RabbitMQ: AMQP 0-9-1 in this package, for threads and for event loops.

=========== ============================================= ==================================================
operation   parameters                                    answer
=========== ============================================= ==================================================
``publish`` needs, messages                               for each message "" or the reason against it
``receive`` needs, queue, limit, wait_seconds, now, until messages: receipt, redelivered, exchange, routing
                                                          key, properties, body
``settle``  acknowledge, give_back                        (nothing)
``extend``  receipts, now, until                          for each receipt whether its lease goes on
``ask``     needs, methods                                the answers of methods of administration
=========== ============================================= ==================================================

``needs`` are declarations that the server must have had on this connection before: a name, a method that shows that
nothing has to be declared or None, and the methods. A message to publish is its exchange, routing key, properties and
body. A receipt is valid on the connection that gave it: if that is lost, its messages have other receivers.

Publishing has a connection of its own. Servers of ``urls`` are alternatives: the next one is tried if one can't be
reached. Libraries cost too much: see docs/design.md.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.clients.rabbitmq_consuming import Consumption, Taken
from taskq_cloud.clients.rabbitmq_loop import LoopConnection
from taskq_cloud.clients.rabbitmq_operations import CONSUMING, OPERATIONS, stop
from taskq_cloud.clients.rabbitmq_publishing import BLOCKED
from taskq_cloud.clients.rabbitmq_session import LostError, RefusedError, SessionError
from taskq_cloud.clients.rabbitmq_settings import Settings, settings_of
from taskq_cloud.clients.rabbitmq_sockets import SocketConnection
from taskq_cloud.core.flows import Call, CallError, Trouble

UNREACHABLE: Final = "Unreachable"
"""Our own code for servers that none could be reached of."""

_FAILURES: Final = (SessionError, OSError)
_PUT_BACK_SECONDS: Final = 2.0
"""How long a client that is closed waits for messages to be put back."""
_PASSING: Final = frozenset({320, 504, 541})
"""Reply codes of failures that pass: the server shuts down, a channel was closed meanwhile, an internal error."""


def open_client(service: str, options: Mapping[str, Any]) -> RabbitMQClient:
    """Open a client for threads; it connects when the first call is made.

    Args:
        service: the service's name.
        options: see ``rabbitmq_settings.settings_of``; ``failover_strategy``.
    """
    return RabbitMQClient(Servers(service, options))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncRabbitMQClient:
    """Open a client for an event loop: see ``open_client``."""
    return AsyncRabbitMQClient(Servers(service, options))


class Servers:
    """The servers that a client may use, in the order in which it tries them.

    Args:
        service: the service's name.
        options: the service's.
    """

    def __init__(self, service: str, options: Mapping[str, Any]) -> None:
        self.none = LostError(f"{service}: no server is configured")
        self._settings = settings_of(options)
        self._shuffles = options.get("failover_strategy") == "shuffle"
        self._next = 0
        self.used = self._settings[0]

    def __iter__(self) -> Iterator[Settings]:
        order = list(range(len(self._settings)))
        if self._shuffles:
            random.shuffle(order)
        else:
            order = order[self._next :] + order[: self._next]
        for number in order:
            self._next, self.used = number, self._settings[number]
            yield self.used

    def call_error(self, call: Call, error: Exception) -> CallError:
        """Turn an error of a session or a socket into that of a call."""
        name = self.used.name
        if isinstance(error, RefusedError):
            return CallError(call, error.code, f"{name}: {error}", _trouble(error), {"server": name})
        if isinstance(error, SessionError):
            # An alarm lasts longer than a few attempts, each of which would wait for its end.
            trouble = Trouble.REFUSED if error.code == BLOCKED else Trouble.TRANSIENT
            return CallError(call, error.code, f"{name}: {error}", trouble)
        if isinstance(error, ssl.SSLCertVerificationError):
            return CallError(call, type(error).__name__, f"{name}: {error}", Trouble.REFUSED)
        said = str(error) or type(error).__name__
        return CallError(call, UNREACHABLE, f"{self._all_names()}: {said}", Trouble.TRANSIENT)

    def _all_names(self) -> str:
        return ", ".join(each.name for each in self._settings)


def _trouble(error: RefusedError) -> Trouble:
    timed_out = error.number == _PRECONDITION_FAILED and "timed out" in str(error)
    return Trouble.TRANSIENT if error.number in _PASSING or timed_out else Trouble.REFUSED


_PRECONDITION_FAILED: Final = 406


class RabbitMQClient:
    """A client for threads.

    Args:
        servers: the servers.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._connections: dict[str, SocketConnection] = {}
        self._opening = threading.Lock()

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
            Exception: the exception that was raised into the call, such as a time limit.
        """
        purpose, operation = OPERATIONS[call.operation]
        before = sys.exception()
        try:
            connection = self._connection(purpose)
            return connection.run(operation(connection.session, call.parameters))
        except _FAILURES as error:
            interruption = interruption_in(error, before)
            if interruption is not None:
                raise interruption from None
            raise self._servers.call_error(call, error) from error

    def close(self) -> None:
        """Close the connections."""
        connections, self._connections = self._connections, {}
        for each in connections.values():
            each.close()

    def _connection(self, purpose: str) -> SocketConnection:
        found = self._connections.get(purpose)
        if found is not None and found.is_open():
            return found
        with self._opening:
            found = self._connections.get(purpose)
            if found is None or not found.is_open():
                if found is not None:
                    found.close()
                found = self._connections[purpose] = self._open()
        return found

    def _open(self) -> SocketConnection:
        failure: Exception = self._servers.none
        for settings in self._servers:
            try:
                return SocketConnection(settings)
            except _FAILURES as error:
                failure = error
        raise failure


class AsyncRabbitMQClient:
    """A client for one event loop.

    Args:
        servers: the servers.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._connections: dict[str, LoopConnection] = {}
        self._opening = asyncio.Lock()
        self._putting_back: set[asyncio.Task[None]] = set()

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
        """
        purpose, operation = OPERATIONS[call.operation]
        try:
            connection = self._connections.get(purpose)
            if connection is None or not connection.is_open():
                connection = await self._connect(purpose)
            return await connection.run(operation(connection.session, call.parameters))
        except _FAILURES as error:
            raise self._servers.call_error(call, error) from error

    async def close(self) -> None:
        """Close the connections, after messages that nobody has taken were put back."""
        consuming = self._connections.get(CONSUMING)
        if consuming is not None and consuming.is_open():
            with suppress(*_FAILURES):
                await consuming.run(stop(consuming.session))
            if self._putting_back:
                await asyncio.wait(self._putting_back, timeout=_PUT_BACK_SECONDS)
        for task in self._putting_back:
            task.cancel()
        connections, self._connections = self._connections, {}
        for each in connections.values():
            await each.close()

    async def _connect(self, purpose: str) -> LoopConnection:
        async with self._opening:
            found = self._connections.get(purpose)
            if found is None or not found.is_open():
                if found is not None:
                    found.abort()  # the server may keep it open, as while its memory is full
                found = self._connections[purpose] = await self._open()
                if purpose == CONSUMING:
                    found.session.put_back = partial(self._put_back_soon, found)
        return found

    def _put_back_soon(self, connection: LoopConnection, consumption: Consumption, taken: Sequence[Taken]) -> None:
        task = asyncio.get_running_loop().create_task(self._put_back(connection, consumption, taken))
        self._putting_back.add(task)
        task.add_done_callback(self._putting_back.discard)

    async def _put_back(self, connection: LoopConnection, consumption: Consumption, taken: Sequence[Taken]) -> None:
        """Publish messages once more and acknowledge them; those for which that fails are given back."""
        tags, messages = [], []
        for each in taken:
            properties = each.unseen()
            if properties is not None:
                tags.append(each.tag)
                messages.append(("", consumption.queue, properties, each.content.body))
        answers: Sequence[str] = ()
        if messages:
            with suppress(CallError):
                answers = await self.call(Call("", "publish", {"needs": (), "messages": messages}))
        accepted = [tag for tag, text in zip(tags, answers, strict=False) if not text]
        consumption.acknowledge(accepted)
        consumption.give_back([each.tag for each in taken if each.tag not in {*accepted}])
        connection.flush_soon()

    async def _open(self) -> LoopConnection:
        failure: Exception = self._servers.none
        for settings in self._servers:
            try:
                return await LoopConnection.connect(settings)
            except _FAILURES as error:
                failure = error
        raise failure
