"""SQLite as a service: one operation that writes, one that reads, each a transaction.

``transaction`` runs its statements in one ``BEGIN IMMEDIATE``, ``query`` in one deferred transaction, which never waits
for a writer. Both take ``statements``, a sequence of ``(sql, parameters)``, and optionally ``schema``, a script of
``CREATE ... IF NOT EXISTS`` that is run before its first use on a connection. Both answer, for each statement, the list
of its rows, each row a dict.

The database is in WAL mode with ``synchronous=FULL``: what a commit has promised survives the process being killed
and the machine losing power. ``NORMAL`` survives a kill just as well, but may forget the last commits when the power
fails, and a task that was accepted is not to be forgotten (https://www.sqlite.org/pragma.html#pragma_synchronous).

A broker and a result store may be in different files, so a service is named for its file: ``"sqlite:" + path``. What
the statements mean is the adapters' business.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured

OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING (https://www.sqlite.org/lang_returning.html)."""

BUSY_TIMEOUT_SECONDS = 5.0
"""How long a call waits for another process's transaction. Ours take milliseconds; a backup or a shell may take longer.
After it the call fails as transient, and is made again as ``core.calls.retrying`` says."""

_OPEN_TRANSACTION = {"transaction": "BEGIN IMMEDIATE", "query": "BEGIN"}

_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_READONLY: "the file or its directory can't be written to: check the permissions of both",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened: check that its directory exists and can be written to",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database: name another path, or move the file away",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: restore it, or recover it with sqlite3's .recover",
}
"""What to do about the errors that the same call would meet again, by SQLite's primary result code."""


def open_client(service: str, options: Mapping[str, Any]) -> SQLiteClient:
    """Make the client of one database file.

    Args:
        service: the service's name.
        options: ``path``, the database's file; it and its directory are created when missing.

    Raises:
        ImproperlyConfigured: this Python's SQLite is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ImproperlyConfigured(
            f"{service} needs SQLite {'.'.join(map(str, OLDEST_SQLITE))}, and this Python has {sqlite3.sqlite_version}"
        )
    return SQLiteClient(Path(options["path"]))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncSQLiteClient:
    """``open_client`` for an event loop."""
    return AsyncSQLiteClient(open_client(service, options))


class SQLiteClient:
    """One connection to one database file, used by one thread at a time: any thread may call.

    Args:
        path: the database's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._schemas: set[str] = set()
        self._lock = threading.Lock()
        _CLIENTS.add(self)

    def call(self, call: Call) -> list[list[dict[str, Any]]]:
        """Run one transaction.

        Raises:
            CallError: transient when another process kept the database locked; refused for everything else.
        """
        opening = _OPEN_TRANSACTION.get(call.operation)
        if opening is None:
            raise CallError(call, "UnknownOperation", "SQLite is called by transaction or query", Trouble.REFUSED)
        with self._lock:
            try:
                connection = self._open(call.parameters.get("schema"))
                return _transact(connection, opening, call.parameters["statements"])
            except (sqlite3.Error, OSError) as error:
                raise self._described(call, error) from error

    def close(self) -> None:
        """Close the connection. A later call opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._schemas.clear()
        if connection is not None:
            connection.close()

    def _open(self, schema: str | None) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.row_factory = _as_dict
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        if schema is not None and schema not in self._schemas:
            try:
                self._connection.executescript(f"BEGIN IMMEDIATE;\n{schema};\nCOMMIT")
            except BaseException:
                _roll_back(self._connection)
                raise
            self._schemas.add(schema)
        return self._connection

    def _described(self, call: Call, error: sqlite3.Error | OSError) -> CallError:
        if isinstance(error, OSError):
            message = f"{self._path}: {error.strerror or error}: check that the directory can be created and written to"
            return CallError(call, type(error).__name__, message, Trouble.REFUSED)
        # An error of the sqlite3 module itself (a wrong number of parameters) has no code of SQLite's.
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        # The low byte is the primary code; the others only say more precisely why (https://www.sqlite.org/rescode.html).
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            message = f"{self._path}: another process kept the database locked for {BUSY_TIMEOUT_SECONDS:g} s"
            return CallError(call, name, message, Trouble.TRANSIENT)
        hint = _HINTS.get(primary)
        message = f"{self._path}: {error}" + (f": {hint}" if hint else "")
        return CallError(call, name, message, Trouble.REFUSED)


class AsyncSQLiteClient:
    """A ``SQLiteClient`` in a thread of its own, so that a wait for the disk never stops the event loop.

    Args:
        client: the client.
    """

    def __init__(self, client: SQLiteClient) -> None:
        self._client = client
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="taskq-sqlite")

    async def call(self, call: Call) -> list[list[dict[str, Any]]]:
        """Run one transaction: ``SQLiteClient.call``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._client.call, call)

    async def close(self) -> None:
        """Close the connection, after the calls that are under way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._client.close)
        self._thread.shutdown(wait=False)


def _transact(
    connection: sqlite3.Connection, opening: str, statements: Sequence[tuple[str, Sequence[Any] | Mapping[str, Any]]]
) -> list[list[dict[str, Any]]]:
    connection.execute(opening)
    try:
        answer = [connection.execute(sql, parameters).fetchall() for sql, parameters in statements]
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise
    return answer


def _roll_back(connection: sqlite3.Connection) -> None:
    # A full disk has SQLite roll back by itself, and then there is nothing left to roll back.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


_CLIENTS: weakref.WeakSet[SQLiteClient] = weakref.WeakSet()
_held_for_fork: list[SQLiteClient] = []
_inherited: list[sqlite3.Connection] = []
_forking = threading.Lock()


def _before_fork() -> None:
    # A fork in the middle of another thread's call would leave SQLite's own locks held for ever in the child.
    _forking.acquire()
    _held_for_fork[:] = list(_CLIENTS)
    for client in _held_for_fork:
        client._lock.acquire()  # noqa: SLF001 - this module's own


def _after_fork_in_parent() -> None:
    for client in _held_for_fork:
        client._lock.release()  # noqa: SLF001
    _held_for_fork.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    # A connection may not be used, nor even closed, on the other side of a fork ("How To Corrupt An SQLite Database
    # File", section 2.6), so the child keeps its parent's open and unused, and opens its own.
    for client in _held_for_fork:
        if client._connection is not None:  # noqa: SLF001
            _inherited.append(client._connection)  # noqa: SLF001
            client._connection = None  # noqa: SLF001
        client._schemas.clear()  # noqa: SLF001
        client._lock.release()  # noqa: SLF001
    _held_for_fork.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
