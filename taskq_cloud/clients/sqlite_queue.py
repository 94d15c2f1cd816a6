"""The queue of those who wait to write to a database file, so that none of them waits much longer than the others.

SQLite lets one connection write at a time, and the others try again with pauses that grow up to 0.1 s. So whoever comes
anew is served before those who have waited longest: of ten producers, some wait for seconds. Here, a connection that
meets another's lock waits for its turn at the lock of a file beside the database (``broker.db-turn``). One that has the
turn tries often, as it is the only one that does.

The turn is a courtesy, on which nothing depends: SQLite's own lock decides. A process that was stopped while it had the
turn, or a file that can't be locked, costs the others a second, or nothing. A process that dies has no turn any more.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taskq_cloud.clients.sqlite_errors import is_busy
from taskq_cloud.clients.sqlite_files import give
from taskq_cloud.core.backoff import RNG

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

FILE_SUFFIX: Final = "-turn"

FIRST_PAUSE_SECONDS: Final = 0.0003
"""The pause between two attempts of the connection that has the turn. A transaction takes a millisecond or two."""
LONGEST_PAUSE_SECONDS: Final = 0.005
"""The longest pause of that connection, and of those that wait for the turn."""
PATIENCE_SECONDS: Final = 0.05
"""A connection that has waited this long for its turn asks twice as often, and after twice as long, three times."""

BUSY_SECONDS: Final = 0.5
"""How long a connection that has met another's lock asks for its turn before each transaction."""

LONGEST_TURN_SECONDS: Final = 1.0
"""A connection that has waited this long for its turn goes on without one: whoever has it may have been stopped."""


class WriteQueue:
    """One connection's place among those that wait to write.

    Args:
        path: the database's file.
        longest_seconds: how long a connection waits in all.
    """

    def __init__(self, path: Path, longest_seconds: float) -> None:
        self._path = path
        self._longest_seconds = longest_seconds
        self._file: int | None = None
        self._busy_until = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether the connection has met another's lock lately, and so should not push in before those that wait."""
        return time.monotonic() < self._busy_until

    def begin(self, connection: sqlite3.Connection, statement: str) -> None:
        """Begin a transaction once no other connection writes.

        Args:
            connection: the connection, which has met another's lock.
            statement: begins the transaction.

        Raises:
            sqlite3.OperationalError: another connection has kept its lock for too long.
        """
        began_at = time.monotonic()
        ends_at = began_at + self._longest_seconds
        with self._turn(min(ends_at, began_at + LONGEST_TURN_SECONDS)):
            pause = FIRST_PAUSE_SECONDS
            while True:
                try:
                    connection.execute(statement)
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or time.monotonic() >= ends_at:
                        raise
                    self._busy_until = time.monotonic() + BUSY_SECONDS
                else:
                    return
                time.sleep(pause)
                pause = min(pause * 1.2, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    @contextmanager
    def _turn(self, ends_at: float) -> Iterator[None]:
        """Have the turn in a ``with`` block, if it comes before ``ends_at``."""
        file = self._open()
        if file is None:
            yield
            return
        try:
            self._wait(file, ends_at)
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _wait(self, file: int, ends_at: float) -> None:
        began_at = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                now = time.monotonic()
                self._busy_until = now + BUSY_SECONDS
                if now >= ends_at:
                    return
                pause = LONGEST_PAUSE_SECONDS / (1 + (now - began_at) / PATIENCE_SECONDS)
                time.sleep(RNG.uniform(0.5, 1.0) * pause)
            else:
                return

    def _open(self) -> int | None:
        """Open the file with the permissions of the database; None: it can't be opened."""
        if self._file is None and fcntl is not None:
            place = f"{self._path}{FILE_SUFFIX}"
            try:
                database = self._path.stat()
                made = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                self._file = made
                give(made, database.st_mode & 0o666, database)
            except OSError:  # the folder can't be written to; or the file is another user's, and has its permissions
                pass
        return self._file
