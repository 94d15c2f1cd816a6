"""The client of PostgreSQL, by psycopg 3, which treats a database as a service, as ``clients.sqlite`` does.

``transaction`` and ``query`` run their ``statements``, a sequence of ``(sql, parameters)``, in one transaction and one
round trip, and answer with a list of rows for each statement; a row is a dict. Parameters are psycopg's: ``%s`` with a
sequence, ``%(name)s`` with a mapping. A list of parameters in place of parameters runs a statement once for each, with
no rows as its answer.

``schema``, a pair of a query and a script, has the tables created at their first use in a process: if the query doesn't
answer a row of true values, the script runs, in a transaction, while no other process runs one.

A ``transaction`` announces the topics of ``announce`` after its commit, to all who listen to the database. ``listen``
lets a ``listener`` hear of ``topics``, and answers whether it can (``postgresql_listening``). A topic's first word is
the channel of NOTIFY, and the rest its payload.

A process opens up to ``connections`` connections, and uses those first that were used last. After an error or an
interruption a connection is closed, since nobody knows its state. If a connection breaks, those that are idle are
closed, too: a server that was restarted has forgotten them all.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

from taskq_cloud.clients.base import LONGEST_CALL, Operation
from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.core.flows import Call, CallError, Trouble, arun, run
from taskq_cloud.core.servers.postgresql import CONNECTIONS, PGBOUNCER, place_of
from taskq_cloud.errors import MissingExtra

try:
    import psycopg
except ImportError as error:
    raise MissingExtra("PostgreSQL", "postgresql") from error

from taskq_cloud.clients.postgresql_connections import (
    CALL_TIMEOUT_SECONDS,
    OLDEST_SERVER,
    AsyncConnection,
    Connection,
    connect_arguments,
    create_tables,
    run_statements,
)
from taskq_cloud.clients.postgresql_errors import NO_CONNECTION, call_error, connection_error, schema_refused
from taskq_cloud.clients.postgresql_listening import listening_of

_UNDEFINED_TABLE = "42P01"
_INSUFFICIENT_PRIVILEGE = "42501"


def open_client(_service: str, options: Mapping[str, Any]) -> PostgreSQLClient:
    """Make the client of one database; the first call opens a connection.

    Args:
        _service: the service's name, which errors don't need: they name the server.
        options: those of ``core.servers.postgresql.database_of``: ``conninfo``, ``pgbouncer`` and ``connections``.
    """
    return PostgreSQLClient(options)


async def open_async_client(_service: str, options: Mapping[str, Any]) -> AsyncPostgreSQLClient:
    """Make the client of one database for an event loop; see ``open_client``."""
    return AsyncPostgreSQLClient(options)


class _Shared:
    """What the clients of both colours share: the options, the tables that are known to be there, and the errors."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.conninfo: str = options["conninfo"]
        self.arguments = connect_arguments(options)
        self.connections: int = options[CONNECTIONS]
        self.longest_seconds = min(options.get(LONGEST_CALL) or CALL_TIMEOUT_SECONDS, CALL_TIMEOUT_SECONDS)
        self._listening = None if options[PGBOUNCER] else listening_of(options)
        self._schemas: set[tuple[str, str]] = set()

    def steps(self, connection: Any, call: Call) -> Operation:
        """The steps of a call on a connection."""
        if call.operation not in ("transaction", "query"):
            text = "the operation must be transaction, query or listen"
            raise CallError(call, "UnknownOperation", text, Trouble.REFUSED)
        schema = call.parameters.get("schema")
        if schema is not None and schema not in self._schemas:
            yield from self._create(connection, call, schema)
        connection.longest_seconds = self.longest_seconds
        topics = call.parameters.get("announce", ())
        return (yield from run_statements(connection, call.parameters["statements"], topics))

    def _create(self, connection: Any, call: Call, schema: tuple[str, str]) -> Operation:
        try:
            yield from create_tables(connection, schema)
        except psycopg.Error as error:
            if error.sqlstate == _INSUFFICIENT_PRIVILEGE:
                raise schema_refused(call, error, self.conninfo) from error
            raise
        self._schemas.add(schema)

    def check_server(self, call: Call, connection: Any) -> None:
        """Raise the error of a server that is too old."""
        version = connection.info.server_version
        if version < OLDEST_SERVER:
            found, oldest = version // 10_000, OLDEST_SERVER // 10_000
            text = f"PostgreSQL at {place_of(self.conninfo)} has version {found}, but {oldest} is needed: upgrade it"
            raise CallError(call, "OldServer", text, Trouble.REFUSED)

    def failed(self, call: Call, error: Exception) -> CallError:
        """Make the error of a call that has failed on its connection."""
        failure = call_error(call, error, self.conninfo)
        schema = call.parameters.get("schema")
        if failure.code == _UNDEFINED_TABLE and schema in self._schemas:
            self._schemas.discard(schema)  # somebody has removed the tables; the next attempt creates them
            return CallError(call, failure.code, failure.message, Trouble.TRANSIENT)
        return failure

    def listen(self, call: Call) -> bool:
        """Let a listener hear of topics; False: it can't be done here."""
        parameters = call.parameters
        return self._listening is not None and self._listening.listen(parameters["listener"], parameters["topics"])

    def hears_at_once(self, call: Call) -> bool:
        """Whether ``listen`` has to wait for nothing."""
        return self._listening is None or self._listening.hears(call.parameters["topics"])


class PostgreSQLClient:
    """A client with some connections to one database, which threads share.

    Args:
        options: the options of ``open_client``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._shared = _Shared(options)
        self._idle: list[Connection] = []
        self._room = threading.Semaphore(self._shared.connections)
        self._closed = 0
        _CLIENTS.add(self)

    def call(self, call: Call) -> Any:
        """Run one transaction, or let a listener hear of others'.

        Raises:
            CallError: the call failed.
        """
        if call.operation == "listen":
            return self._shared.listen(call)
        if not self._room.acquire(timeout=self._shared.longest_seconds):
            raise _no_room(call, self._shared)
        try:
            return self._call(call)
        finally:
            self._room.release()

    def _call(self, call: Call) -> Any:
        before, closed = sys.exception(), self._closed
        connection = self._take(call, before)
        try:
            answer = run(self._shared.steps(connection, call), _finished)
        except BaseException as error:
            _close(connection)
            if not isinstance(error, psycopg.Error | OSError):
                raise
            interruption = interruption_in(error, before)
            if interruption is not None:
                raise interruption from None
            failure = self._shared.failed(call, error)
            if failure.trouble is Trouble.TRANSIENT:
                self.close()
            raise failure from error
        if closed == self._closed:
            self._idle.append(connection)
        else:
            _close(connection)
        return answer

    def _take(self, call: Call, before: BaseException | None) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            connection = Connection.connect(**self._shared.arguments)
        except (psycopg.Error, OSError) as error:
            interruption = interruption_in(error, before)
            if interruption is not None:
                raise interruption from None
            raise connection_error(call, error, self._shared.conninfo) from error
        try:
            self._shared.check_server(call, connection)
        except BaseException:
            _close(connection)
            raise
        return connection

    def close(self) -> None:
        """Close the connections. A later call opens a new one."""
        self._closed += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            _close(connection)

    def abandon(self) -> None:
        """Forget the connections in a forked child, which must neither use nor close its parent's."""
        _parents.extend(self._idle)
        self._idle = []
        self._room = threading.Semaphore(self._shared.connections)


class AsyncPostgreSQLClient:
    """A client with some connections to one database, for one event loop.

    Args:
        options: the options of ``open_async_client``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._shared = _Shared(options)
        self._idle: list[AsyncConnection] = []
        self._room = asyncio.Semaphore(self._shared.connections)
        self._closed = 0
        _CLIENTS.add(self)

    async def call(self, call: Call) -> Any:
        """Run one transaction, or let a listener hear of others': see ``PostgreSQLClient.call``."""
        if call.operation == "listen":
            if self._shared.hears_at_once(call):
                return self._shared.listen(call)
            return await asyncio.to_thread(self._shared.listen, call)
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(self._shared.longest_seconds) as waiting:
                await self._room.acquire()
        except TimeoutError:
            if not waiting.expired() or time.monotonic() < began_at:
                raise
            raise _no_room(call, self._shared) from None
        try:
            return await self._call(call)
        finally:
            self._room.release()

    async def _call(self, call: Call) -> Any:
        before, closed = sys.exception(), self._closed
        connection = self._idle.pop() if self._idle else await self._connect(call)
        try:
            answer = await arun(self._shared.steps(connection, call), _awaitable)
        except BaseException as error:
            await _aclose(connection)
            if not isinstance(error, psycopg.Error | OSError):
                raise
            interruption = interruption_in(error, before)
            if interruption is not None:
                raise interruption from None
            failure = self._shared.failed(call, error)
            if failure.trouble is Trouble.TRANSIENT:
                await self.close()
            raise failure from error
        if closed == self._closed:
            self._idle.append(connection)
        else:
            await _aclose(connection)
        return answer

    async def _connect(self, call: Call) -> AsyncConnection:
        try:
            connection = await AsyncConnection.connect(**self._shared.arguments)
        except (psycopg.Error, OSError) as error:
            raise connection_error(call, error, self._shared.conninfo) from error
        try:
            self._shared.check_server(call, connection)
        except BaseException:
            await _aclose(connection)
            raise
        return connection

    async def close(self) -> None:
        """Close the connections. A later call opens a new one."""
        self._closed += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            await _aclose(connection)

    def abandon(self) -> None:
        """Forget the connections in a forked child: see ``PostgreSQLClient.abandon``."""
        _parents.extend(self._idle)
        self._idle = []


def _finished(result: Any) -> Any:
    """Hand over the result of a method of the connection for threads."""
    return result


async def _awaitable(result: Any) -> Any:
    """Await what a method of the connection for event loops has returned; some return no awaitable."""
    return await result if hasattr(result, "__await__") else result


def _close(connection: Connection) -> None:
    connection.pgconn.finish()


async def _aclose(connection: AsyncConnection) -> None:
    connection.pgconn.finish()


def _no_room(call: Call, shared: _Shared) -> CallError:
    text = (
        f"PostgreSQL at {place_of(shared.conninfo)}: all {shared.connections} connections of this process were busy for"
        f" {shared.longest_seconds:g} s: raise the URL's {CONNECTIONS}"
    )
    return CallError(call, NO_CONNECTION, text, Trouble.TRANSIENT)


_CLIENTS: weakref.WeakSet[PostgreSQLClient | AsyncPostgreSQLClient] = weakref.WeakSet()
_parents: list[Any] = []
"""The connections of a forked child's parent: to collect them as garbage would end them."""


def _after_fork_in_child() -> None:
    for client in _CLIENTS:
        client.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
