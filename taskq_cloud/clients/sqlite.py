"""The SQLite client, which treats a database file as a service: two of its operations are one transaction each.

``transaction`` runs its statements in one ``BEGIN IMMEDIATE``; ``query`` runs them in one deferred transaction, which
never waits for a writer. Both take ``statements``, a sequence of ``(sql, parameters)``, and optionally ``schema``, a
script of ``CREATE ... IF NOT EXISTS`` that runs before its first use on a connection. Both answer with a list of rows
for each statement; a row is a dict.

After its commit, a ``transaction`` announces the topics of ``announce`` to all processes of the file. ``listen`` lets a
``listener`` hear of ``topics``, and answers whether it can (``file_announcements``).

The database is in WAL mode with ``synchronous=FULL``: a committed transaction survives a killed process and a loss of
power. ``NORMAL`` survives a kill too, but a loss of power may undo the last commits, and an accepted task must not be
lost (https://www.sqlite.org/pragma.html#pragma_synchronous). A ``transaction`` with ``durable=False`` is committed with
``NORMAL``, which waits for no disk: for a transaction that a loss of power may undo, such as a lease.

A file that is created can be read by its user alone, as can its folder, since messages and results may hold anything.
SQLite gives its further files (``-wal``, ``-shm``) the permissions of the database. A symbolic link in place of the
file is not followed: in a folder that others can write to, somebody else may have made it.

A call may be interrupted anywhere: a signal handler raises, or a time limit is thrown into the thread. The exception
may strike when ``BEGIN`` has just taken the lock that all processes share. So a transaction is the body of ``with
connection``, whose end commits or rolls back in C code, where no exception strikes.

If a file is deleted or replaced while a connection is open, this process alone would go on with the old file. Each call
compares the path with the open file, and opens the path anew if they differ.

A broker and a result store may use different files, so a service has the name of its file: ``"sqlite:" + path``. The
adapters decide what the statements mean.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskq_cloud.clients.base import ThreadedClient, shortest
from taskq_cloud.clients.file_announcements import announcements_of
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured

logger = logging.getLogger(__name__)

OLDEST_SQLITE = (3, 35, 0)
"""The first version with RETURNING (https://www.sqlite.org/lang_returning.html)."""

BUSY_TIMEOUT_SECONDS = 5.0
"""The longest wait for another process's transaction. This package's own take milliseconds; a backup or a shell may
take longer. After that long the call fails as transient, and ``core.flows.retrying`` repeats it."""

OWN_FOLDER = ".taskq"
"""The folder of the local databases, which must not be a symbolic link either."""

_OPEN_TRANSACTION = {"transaction": "BEGIN IMMEDIATE", "query": "BEGIN"}

_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "the disk can't be read or written: check it and its file system",
    sqlite3.SQLITE_READONLY: "the file or its directory isn't writable: check the permissions of both",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened: check that its directory exists and is writable",
    sqlite3.SQLITE_NOTADB: "the file isn't an SQLite database: name another path, or move the file away",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: restore it, or recover it with sqlite3's .recover",
}
"""SQLite's primary result code -> the remedy."""

_TRANSIENT = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Errors of the disk, which may end while the caller waits: the call has changed nothing, and can be repeated."""


def open_client(service: str, options: Mapping[str, Any]) -> SQLiteClient:
    """Make the client of one database file; the file is opened by the first call.

    Args:
        service: the service's name, for errors.
        options: ``path``, the database's file. The first call creates a missing file and its directory.

    Raises:
        ImproperlyConfigured: this Python's SQLite is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ImproperlyConfigured(
            f"{service} needs SQLite {'.'.join(map(str, OLDEST_SQLITE))}, and this Python has {sqlite3.sqlite_version}"
        )
    return SQLiteClient(Path(options["path"]), shortest(BUSY_TIMEOUT_SECONDS, options))


async def open_async_client(service: str, options: Mapping[str, Any]) -> LoopClient:
    """Make the client of one database file for an event loop; see ``open_client``."""
    return LoopClient(open_client(service, options))


class SQLiteClient:
    """A client with one connection to one database file. Any thread may call; the calls run one at a time.

    Args:
        path: the database's file.
        busy_timeout_seconds: the longest wait for another process's transaction.
    """

    def __init__(self, path: Path, busy_timeout_seconds: float) -> None:
        self._path = path
        self._busy_timeout_seconds = busy_timeout_seconds
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._schemas: set[str] = set()
        self._durable = True
        self._lock = threading.Lock()
        self._announcements = announcements_of(path)
        _CLIENTS.add(self)

    def call(self, call: Call) -> Any:
        """Run one transaction, or let a listener hear of others'.

        Raises:
            CallError: transient if another process kept the database locked, or the disk is full or fails; refused
                otherwise.
        """
        opening = _OPEN_TRANSACTION.get(call.operation)
        if opening is not None:
            rows = self._run(call, opening)
            announced = call.parameters.get("announce")
            if announced:
                self._announcements.announce(announced)
            return rows
        if call.operation == "listen":
            if self._connection is None:  # there may be no file yet
                self._run(Call(call.service, "query", {"statements": ()}), _OPEN_TRANSACTION["query"])
            return self._announcements.listen(call.parameters["listener"], call.parameters["topics"])
        text = "the operation must be transaction, query or listen"
        raise CallError(call, "UnknownOperation", text, Trouble.REFUSED)

    def _run(self, call: Call, opening: str) -> list[list[dict[str, Any]]]:
        with self._lock:
            try:
                connection = self._open(call.parameters.get("schema"))
                durable = call.parameters.get("durable", True)
                if durable is not self._durable and call.operation == "transaction":
                    connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
                    self._durable = durable
                return _transact(connection, opening, call.parameters["statements"])
            except (sqlite3.Error, OSError) as error:
                from taskq_cloud.clients.interruptions import interruption_in  # few calls fail

                if interruption_in(error, None) is error:
                    raise
                raise self._call_error(call, error) from error

    @property
    def is_idle(self) -> bool:
        """Whether the file is open, and no call is under way."""
        return self._connection is not None and not self._lock.locked()

    def close(self) -> None:
        """Close the connection. A later call opens a new one."""
        with self._lock:
            connection = self.give_up_connection()
        if connection is not None:
            connection.close()

    def lock_for_fork(self) -> None:
        """Wait for the end of the call that is under way, and let no call begin before ``unlock_after_fork``."""
        self._lock.acquire()

    def unlock_after_fork(self) -> None:
        """Let calls begin again, on either side of the fork."""
        self._lock.release()

    def give_up_connection(self) -> sqlite3.Connection | None:
        """Take the connection out of the client, so that the next call opens a new one. The lock must be held."""
        connection, self._connection = self._connection, None
        self._schemas.clear()
        return connection

    def _open(self, schema: str | None) -> sqlite3.Connection:
        if self._connection is not None and _identity(self._path) != self._file:
            self._abandon_connection()
        if self._connection is None:
            _make_file(self._path)
            connection = sqlite3.connect(
                self._path, timeout=self._busy_timeout_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
            self._connection, self._file, self._durable = connection, _identity(self._path), True
        if schema is not None and schema not in self._schemas:
            with self._connection:
                self._connection.executescript(f"BEGIN IMMEDIATE;\n{schema};")
            self._schemas.add(schema)
        return self._connection

    def _abandon_connection(self) -> None:
        connection = self.give_up_connection()
        logger.error(
            "%s was deleted or replaced while it was open; this process now uses the file that is there, or makes a "
            "new one. The contents of the old file are lost to it: to restore or move a database, stop its processes "
            "first",
            self._path,
            extra={"action": "sqlite.file_replaced"},
        )
        if connection is not None:
            connection.close()  # SQLite sees that the file has gone, and leaves the new file's journal alone

    def _call_error(self, call: Call, error: sqlite3.Error | OSError) -> CallError:
        if isinstance(error, _LinkRefused):
            return CallError(call, "SymbolicLink", str(error), Trouble.REFUSED)
        if isinstance(error, OSError):
            reason = error.strerror or error
            message = f"{self._path}: {reason}: check that its directory can be created and is writable"
            return CallError(call, type(error).__name__, message, Trouble.REFUSED)
        # An error that Python's sqlite3 module found (a wrong number of parameters) has no SQLite result code.
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        # The low byte is the primary result code; the other bytes give the details
        # (https://www.sqlite.org/rescode.html).
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            message = f"{self._path}: another process kept the database locked for {self._busy_timeout_seconds:g} s"
            return CallError(call, name, message, Trouble.TRANSIENT)
        hint = _HINTS.get(primary)
        message = f"{self._path}: {error}" + (f": {hint}" if hint else "")
        return CallError(call, name, message, Trouble.TRANSIENT if primary in _TRANSIENT else Trouble.REFUSED)


class LoopClient(ThreadedClient):
    """A client for an event loop, whose calls run in a thread, except for those that take less time than that.

    Args:
        client: the client that makes the calls.
    """

    def __init__(self, client: SQLiteClient) -> None:
        # The client has one connection, so more than one thread would only wait for it.
        super().__init__(client, 1, "taskq-sqlite")
        self._sqlite = client

    async def call(self, call: Call) -> Any:
        """Run one transaction, or let a listener hear of others': see ``SQLiteClient.call``.

        A ``query`` that says that it is ``quick`` and a ``listen`` run here, unless a call is under way.
        """
        if self._sqlite.is_idle and (call.operation == "listen" or call.parameters.get("quick")):
            return self._sqlite.call(call)
        return await super().call(call)


class _LinkRefused(OSError):
    """A symbolic link is in place of the database's file or folder."""


def _make_file(path: Path) -> None:
    """Create the file and its folder for this user alone, unless they exist, and refuse symbolic links.

    Raises:
        OSError: the file can't be created, or is a symbolic link.
    """
    folder = path.parent
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
    _check_no_link(path)
    if folder.name == OWN_FOLDER:
        _check_no_link(folder)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        _check_no_link(path)  # it may have been made since the first look


def _check_no_link(path: Path) -> None:
    if path.is_symlink():
        raise _LinkRefused(
            f"{path} is a symbolic link, which is not followed, as somebody else may have made it: remove it, or name "
            f"the place that it leads to, {path.resolve()}"
        )


def _transact(
    connection: sqlite3.Connection, opening: str, statements: Sequence[tuple[str, Sequence[Any] | Mapping[str, Any]]]
) -> list[list[dict[str, Any]]]:
    with connection:
        connection.execute(opening)
        return [_rows(connection.execute(sql, parameters)) for sql, parameters in statements]


def _rows(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    rows = cursor.fetchall()
    if not rows:
        return rows
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from other files; None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


_CLIENTS: weakref.WeakSet[SQLiteClient] = weakref.WeakSet()
"""Every client of this process."""

_clients_in_fork: list[SQLiteClient] = []
_parent_connections: list[sqlite3.Connection] = []
_forking = threading.Lock()


def _before_fork() -> None:
    # A fork in the middle of another thread's call would leave the child with locks of SQLite's that nobody releases.
    _forking.acquire()
    _clients_in_fork[:] = list(_CLIENTS)
    for client in _clients_in_fork:
        client.lock_for_fork()


def _after_fork() -> None:
    for client in _clients_in_fork:
        client.unlock_after_fork()
    _clients_in_fork.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    # A child must neither use nor close a connection that its parent opened ("How To Corrupt An SQLite Database File",
    # section 2.6). The list keeps the connection from being garbage-collected, which would close it.
    for client in _clients_in_fork:
        connection = client.give_up_connection()
        if connection is not None:
            _parent_connections.append(connection)
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
