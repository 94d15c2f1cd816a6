"""Statements on a connection to PostgreSQL that belongs to the caller: of psycopg, asyncpg, SQLAlchemy or Django.

Nothing here opens, commits or closes anything, and no driver is imported: who has a connection has its driver. A
statement's parameters are psycopg's, ``%(name)s``, and are written anew for a driver that has others. Errors of the
driver come out as they are: they are the caller's own, in the caller's own transaction.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.clients.base import Operation
from taskq_cloud.core.flows import arun, run

_PARAMETER: Final = re.compile(r"%\((\w+)\)s")

KINDS: Final = (
    "a connection of psycopg 3 or asyncpg; a Connection, Session, AsyncConnection or AsyncSession of SQLAlchemy; or a "
    "connection of Django"
)


class NotInTransaction(Exception):
    """A connection has no transaction that a statement could be part of; the text says why."""


class NeedsLoop(TypeError):
    """An asynchronous connection was used by a synchronous caller."""


class CallersConnection:
    """A caller's connection. A subclass knows its library.

    Args:
        connection: the connection.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @property
    def physical(self) -> Any:
        """The object that stands for the connection to the server as long as it is open; None: not known yet."""
        return self.connection

    def steps(self, sql: str, parameters: Mapping[str, Any]) -> Operation:
        """Execute a statement: yields what may have to be awaited, and returns its rows as dicts."""
        raise NotImplementedError

    def begun(self) -> Operation:
        """Return if the connection is in a transaction, or will be with its next statement.

        Raises:
            NotInTransaction: it commits each statement by itself, or its transaction has failed.
        """
        raise NotImplementedError


class _Psycopg(CallersConnection):
    def steps(self, sql: str, parameters: Mapping[str, Any]) -> Operation:
        psycopg = sys.modules["psycopg"]  # the caller has imported it
        sync = isinstance(self.connection, psycopg.Connection)
        # Not by the caller's own factories, which may know other parameters and rows.
        kind = psycopg.Cursor if sync else psycopg.AsyncCursor
        cursor = kind(self.connection, row_factory=psycopg.rows.tuple_row)
        yield cursor.execute(sql, parameters)
        if self.connection.info.pipeline_status.name == "OFF":
            return _rows(cursor.description, (yield cursor.fetchall()) if cursor.description else [])
        try:  # a pipeline tells nothing of a result before its rows are fetched
            rows = yield cursor.fetchall()
        except psycopg.ProgrammingError as error:
            if error.sqlstate is not None:
                raise
            return []  # the statement has no rows
        return _rows(cursor.description, rows)

    def begun(self) -> Operation:
        yield from ()
        status = self.connection.info.transaction_status.name
        if status == "INERROR":
            raise NotInTransaction(_FAILED)
        if status == "IDLE" and self.connection.autocommit:
            raise NotInTransaction("it is in autocommit mode: open a transaction with connection.transaction() first")


class _Asyncpg(CallersConnection):
    @property
    def physical(self) -> Any:
        return getattr(self.connection, "_con", self.connection)  # the connection behind a pool's proxy

    def steps(self, sql: str, parameters: Mapping[str, Any]) -> Operation:
        rows = yield self.connection.fetch(*_numbered(sql, parameters))
        return [dict(row) for row in rows]

    def begun(self) -> Operation:
        yield from ()
        if not self.connection.is_in_transaction():
            raise NotInTransaction("no transaction is open: open one with connection.transaction() first")


class _SQLAlchemy(CallersConnection):
    def _connection(self) -> Operation:
        """The connection of a session, which it takes from its pool for its first statement."""
        if hasattr(self.connection, "exec_driver_sql"):
            return self.connection
        return (yield self.connection.connection())

    @property
    def physical(self) -> Any:
        return None  # a session may change its connection

    def steps(self, sql: str, parameters: Mapping[str, Any]) -> Operation:
        connection = yield from self._connection()
        written: tuple[str, Any] = (sql, dict(parameters))
        if connection.dialect.paramstyle == "numeric_dollar":
            text, *values = _numbered(sql, parameters)
            written = text, tuple(values)
        result = yield connection.exec_driver_sql(*written)
        return [dict(row) for row in result.mappings().all()] if result.returns_rows else []

    def begun(self) -> Operation:
        connection: Any = yield from self._connection()
        if connection.dialect.name != "postgresql":
            raise NotInTransaction(f"it is a connection to {connection.dialect.name}, not to PostgreSQL")
        connection = getattr(connection, "sync_connection", None) or connection
        if connection.connection.dbapi_connection.autocommit:
            raise NotInTransaction("its isolation level is AUTOCOMMIT: use a connection that begins transactions")
        if connection.get_transaction() is not None and not connection.get_transaction().is_active:
            raise NotInTransaction(_FAILED)


class _Django(CallersConnection):
    @property
    def physical(self) -> Any:
        return self.connection.connection

    def steps(self, sql: str, parameters: Mapping[str, Any]) -> Operation:
        yield from ()
        with self.connection.cursor() as cursor:
            cursor.execute(sql, dict(parameters))
            return _rows(cursor.description, cursor.fetchall() if cursor.description else [])

    def begun(self) -> Operation:
        yield from ()
        if self.connection.vendor != "postgresql":
            raise NotInTransaction(f"it is a connection to {self.connection.vendor}, not to PostgreSQL")
        if self.connection.needs_rollback:
            raise NotInTransaction(_FAILED)
        if self.connection.get_autocommit():
            raise NotInTransaction("it is in autocommit mode: call the task within transaction.atomic()")


_FAILED: Final = "its transaction has failed, and can only be rolled back"

_LIBRARIES: Final[dict[str, type[CallersConnection]]] = {
    "asyncpg": _Asyncpg,
    "django": _Django,
    "psycopg": _Psycopg,
    "sqlalchemy": _SQLAlchemy,
}


def callers_connection(connection: Any) -> CallersConnection:
    """Wrap a caller's connection.

    Args:
        connection: the connection, or the alias of one of Django's.

    Raises:
        TypeError: it is nothing that statements can be executed on.
    """
    if isinstance(connection, str):
        from django.db import connections  # an alias of Django's

        connection = connections[connection]
    for cls in type(connection).__mro__:
        found = _LIBRARIES.get(cls.__module__.partition(".")[0])
        if found is not None and _executes(connection):
            return found(connection)
    raise TypeError(f"app.transaction takes {KINDS}, not {type(connection).__qualname__}")


def _executes(connection: Any) -> bool:
    names = ("exec_driver_sql", "connection", "fetch", "execute", "cursor")
    return any(callable(getattr(connection, name, None)) for name in names)


def _numbered(sql: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Write a statement with ``$1`` in place of ``%(name)s``, followed by the values."""
    names: dict[str, str] = {}
    text = _PARAMETER.sub(lambda match: names.setdefault(match[1], f"${len(names) + 1}"), sql)
    return [text, *(parameters[name] for name in names)]


def _rows(description: Any, rows: Sequence[Any]) -> list[dict[str, Any]]:
    names = [column[0] for column in description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows]


def at_once(operation: Operation) -> Any:
    """Take the steps of an operation in this thread.

    Raises:
        NeedsLoop: the connection is an asynchronous one.
    """
    return run(operation, _finished)


async def on_loop(operation: Operation) -> Any:
    """Take the steps of an operation on the running event loop, on a connection of either colour."""
    return await arun(operation, _awaited)


def _finished(result: Any) -> Any:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise NeedsLoop("this connection is asynchronous: use async with app.transaction(...), and adelay in it")
    return result


async def _awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
