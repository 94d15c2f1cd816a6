"""The SQLite client, which treats a database file as a service: two of its operations are one transaction each.

``transaction`` runs its statements in one ``BEGIN IMMEDIATE``; ``query`` runs them in one deferred transaction, which
never waits for a writer. Both take ``statements``, a sequence of ``(sql, parameters)``, and optionally ``schema``, a
script of ``CREATE ... IF NOT EXISTS`` that runs before its first use on a connection. Both answer with a list of rows
for each statement; a row is a dict. A list of parameters in place of parameters runs a statement once for each, with no
rows as its answer.

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
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskq_cloud.clients.base import ThreadedClient, shortest
from taskq_cloud.clients.file_announcements import announcements_of
from taskq_cloud.clients.sqlite_files import Shrinking, identity, make_file
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from taskq_cloud.clients.sqlite_queue import WriteQueue

logger = logging.getLogger(__name__)

OLDEST_SQLITE = (3, 35, 0)
"""The first version with RETURNING (https://www.sqlite.org/lang_returning.html)."""

BUSY_TIMEOUT_SECONDS = 5.0
"""The longest wait for another process's transaction. This package's own take milliseconds; a backup or a shell may
take longer. After that long the call fails as transient, and ``core.flows.retrying`` repeats it."""

BUSY_PAUSE_SECONDS = 0.005

LONGEST_LOSS_SECONDS = 1.0
"""So long after a connection's last durable commit, even a lease is durable, and so is its first one. A task that takes
the machine down again and again would otherwise never be counted."""

LARGEST_LOG_BYTES = 16 * 1024 * 1024
"""The size to which the write-ahead log shrinks again after a large transaction, or many during a long read."""

_OPEN_TRANSACTION = {"transaction": "BEGIN IMMEDIATE", "query": "BEGIN"}


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
        self._durable: bool | None = True  # None: an exception has struck while this changed
        self._durable_at = -math.inf
        self._queue: WriteQueue | None = None
        self._shrinking = Shrinking()
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
            if announced := call.parameters.get("announce"):
                self._announcements.announce(announced)
            return rows
        if call.operation == "listen":
            if self._connection is None:  # there may be no file yet
                self._run(Call(call.service, "query", {"statements": ()}), _OPEN_TRANSACTION["query"])
            return self._announcements.listen(call.parameters["listener"], call.parameters["topics"])
        text = "the operation must be transaction, query or listen"
        raise CallError(call, "UnknownOperation", text, Trouble.REFUSED)

    def call_at_once(self, call: Call) -> tuple[Any] | None:
        """Make a ``query`` or a ``listen`` if it has to wait for nothing: a call under way, a lock, or new tables.

        Returns:
            The answer, in a tuple; None: ``call`` has to make the call.
        """
        if self._connection is None or call.operation == "transaction":
            return None
        if call.operation == "listen":
            return (self.call(call),)
        if not self._lock.acquire(blocking=False):
            return None
        try:
            schema, connection = call.parameters.get("schema"), self._connection
            has_tables = schema is None or schema in self._schemas
            if connection is None or not has_tables or identity(self._path) != self._file:
                return None
            return (_read(connection, call.parameters["statements"]),)
        except (sqlite3.Error, OSError) as error:
            from taskq_cloud.clients.interruptions import interruption_in

            if interruption_in(error, None) is error:
                raise
            return None  # another process opens the file; and ``call`` says what is wrong
        finally:
            self._lock.release()

    def _run(self, call: Call, opening: str) -> list[list[dict[str, Any]]]:
        with self._lock:
            ends_at = time.monotonic() + self._busy_timeout_seconds
            while True:
                try:
                    rows = self._try(call, opening)
                except (sqlite3.Error, OSError) as error:
                    from taskq_cloud.clients.interruptions import interruption_in  # few calls fail
                    from taskq_cloud.clients.sqlite_errors import call_error, is_busy

                    if interruption_in(error, None) is error:
                        raise
                    if not is_busy(error) or time.monotonic() >= ends_at:
                        raise call_error(call, error, self._path, self._busy_timeout_seconds) from error
                else:
                    self._shrinking.after_call(self._connection)
                    return rows
                time.sleep(BUSY_PAUSE_SECONDS)  # another process opens the file, or closes it as the last one

    def _try(self, call: Call, opening: str) -> list[list[dict[str, Any]]]:
        connection = self._open(call.parameters.get("schema"))
        asked = call.parameters.get("durable", True)
        durable = asked or time.monotonic() - self._durable_at >= LONGEST_LOSS_SECONDS
        if durable is not self._durable and call.operation == "transaction":
            self._durable = None
            connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
            self._durable = durable
        with connection:
            self._begin(connection, opening)
            rows = [_run_statement(connection, *statement) for statement in call.parameters["statements"]]
        if durable and call.operation == "transaction" and not (asked and self._durable_at == -math.inf):
            self._durable_at = time.monotonic()
        return rows

    def _begin(self, connection: sqlite3.Connection, opening: str) -> None:
        if self._queue is not None and opening != "BEGIN" and self._queue.is_busy:
            self._queue.begin(connection, opening)
            return
        try:
            connection.execute(opening)
        except sqlite3.OperationalError as error:
            from taskq_cloud.clients.sqlite_errors import is_busy  # many processes never meet another's lock
            from taskq_cloud.clients.sqlite_queue import WriteQueue

            if not is_busy(error):
                raise
            if self._queue is None:
                self._queue = WriteQueue(self._path, self._busy_timeout_seconds)
            self._queue.begin(connection, opening)

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
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()
        self._schemas.clear()
        return connection

    def _open(self, schema: str | None) -> sqlite3.Connection:
        if self._connection is not None and identity(self._path) != self._file:
            self._abandon_connection()
        if self._connection is None:
            make_file(self._path)
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; an old one stays as it is
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG_BYTES}")
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
            self._durable, self._durable_at = True, -math.inf
            self._connection, self._file = connection, identity(self._path)
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
        """Run one transaction, or let a listener hear of others': see ``SQLiteClient.call``."""
        takes_no_time = call.operation == "listen" or call.parameters.get("quick")
        answer = self._sqlite.call_at_once(call) if takes_no_time else None
        return await super().call(call) if answer is None else answer[0]


def _read(connection: sqlite3.Connection, statements: Iterable[tuple[str, Any]]) -> list[list[dict[str, Any]]]:
    with connection:
        connection.execute(_OPEN_TRANSACTION["query"])
        return [_run_statement(connection, *statement) for statement in statements]


def _run_statement(connection: sqlite3.Connection, sql: str, parameters: Any) -> list[dict[str, Any]]:
    if isinstance(parameters, list):
        connection.executemany(sql, parameters)
        return []
    cursor = connection.execute(sql, parameters)
    rows = cursor.fetchall()
    if not rows:
        return rows
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


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
