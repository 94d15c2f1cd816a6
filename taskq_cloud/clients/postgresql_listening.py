"""Announcements between the processes of a database, by LISTEN and NOTIFY, for both colours.

A process has one connection for all that it listens to, and a thread that reads it. It is opened when somebody first
waits. If it breaks, everybody who waits is woken to look, and the next one who waits opens another. Whoever waits looks
now and then all the same. A process stops listening to a channel when it hears something there, and nobody has waited
for that for a while.
"""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import psycopg
from psycopg import sql

from taskq_cloud.clients.postgresql_connections import Connection, connect_arguments
from taskq_cloud.core.model.announcements import Announcements, Listener
from taskq_cloud.core.servers.postgresql import CONNECTIONS

LISTEN_TIMEOUT_SECONDS: Final = 5.0
"""How long somebody who wants to listen waits for the server's answer. Without one, the caller looks more often."""

QUIET_SECONDS: Final = 10.0
"""How long nobody has waited for a channel when the process stops listening to it."""

PAUSE_AFTER_FAILURE_SECONDS: Final = 1.0


class Listening:
    """Hears of a database for one process. Threads and event loops share it.

    Args:
        options: the options of the client.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._arguments = connect_arguments(options)
        self._lock = threading.Lock()
        self._here = Announcements()
        self._in_use = Counter[str]()
        self._reader: _Reader | None = None
        self._failed_at = -PAUSE_AFTER_FAILURE_SECONDS

    def hears(self, topics: Iterable[str]) -> bool:
        """Whether the process hears these topics already."""
        reader = self._reader
        return reader is not None and reader.has(_channels(topics))

    def listen(self, listener: Listener, topics: Mapping[str, str]) -> bool:
        """Let a listener hear of topics until it is closed; False: the server can't be listened to now.

        Args:
            listener: the listener.
            topics: what is announced -> the topic that the listener hears.
        """
        channels = _channels(topics)
        with self._lock:
            self._in_use.update(channels)
        listener.on_close(partial(self._leave, channels))
        self._here.enter(listener, dict[Hashable, str](topics.items()))
        if self.hears(topics):
            return True
        reader = self._open()
        return reader is not None and reader.add(channels)

    def abandon(self) -> None:
        """Begin anew in a forked child, which has its parent's connection, but not the thread."""
        reader, self._reader = self._reader, None
        self._lock = threading.Lock()
        self._in_use.clear()
        self._here.__init__()  # type: ignore[misc]  # in place: a listener of the parent's may still close
        if reader is not None:
            reader.abandon()

    def _open(self) -> _Reader | None:
        with self._lock:
            if self._reader is None or self._reader.ended:
                if time.monotonic() - self._failed_at < PAUSE_AFTER_FAILURE_SECONDS:
                    return None
                self._failed_at = time.monotonic()
                try:
                    self._reader = _Reader(Connection.connect(**self._arguments), self._here, self._in_use)
                except (psycopg.Error, OSError, RuntimeError):  # RuntimeError: no threads at the end of Python
                    return None
                weakref.finalize(self, self._reader.stop)
            return self._reader

    def _leave(self, channels: Iterable[str]) -> None:
        with self._lock:
            self._in_use.subtract(channels)


class _Reader:
    """A connection that listens, and its thread, which alone uses it.

    Raises:
        RuntimeError: the thread can't be started.
    """

    def __init__(self, connection: Connection, here: Announcements, in_use: Counter[str]) -> None:
        self.ended = False
        self._stopping = False
        self._connection = connection
        self._here = here
        self._in_use = in_use
        self._lock = threading.Lock()
        self._wanted: list[tuple[set[str], threading.Event]] = []
        self._used_at: dict[str, float] = {}
        self._heard: list[str] = []
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        connection.add_notify_handler(lambda notify: self._hear(notify.channel, notify.payload))
        try:
            threading.Thread(target=self._read, name="taskq-postgresql-listener", daemon=True).start()
        except RuntimeError:
            self._end()
            raise

    def has(self, channels: set[str]) -> bool:
        """Whether the connection listens to these channels."""
        now = time.monotonic()
        with self._lock:
            if self.ended or not channels <= self._used_at.keys():
                return False
            self._used_at.update(dict.fromkeys(channels, now))
        return True

    def add(self, channels: set[str]) -> bool:
        """Listen to channels, too; False: the server didn't answer."""
        done = threading.Event()
        with self._lock:
            if self.ended:
                return False
            self._wanted.append((channels, done))
            self._wake()
        return done.wait(LISTEN_TIMEOUT_SECONDS) and self.has(channels)

    def stop(self) -> None:
        """End the thread and the connection."""
        with self._lock:
            self._stopping = True
            if not self.ended:
                self._wake()

    def abandon(self) -> None:
        """Give the parent's connection up in a forked child, without a word to the server."""
        _parents.append(self._connection)
        self._lock = threading.Lock()
        if not self.ended:  # the numbers of a pipe that is closed may be those of other files by now
            self.ended = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full: the thread will wake
            os.write(self._wake_write, b"w")

    def _hear(self, channel: str, payload: str) -> None:
        self._heard.append(f"{channel} {payload}" if payload else channel)

    def _read(self) -> None:
        try:
            while not self._stopping:
                if not self._obey():
                    select.select([self._connection.fileno(), self._wake_read], [], [])
                    with suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
        except (psycopg.Error, OSError, ValueError):  # ValueError: the connection's socket is gone
            pass
        self._end()
        self._here.announce_all()

    def _obey(self) -> bool:
        """Change what is listened to, and announce what was heard; False: there was nothing to do."""
        with self._lock:
            wanted, self._wanted = self._wanted, []
            new = {channel for channels, _ in wanted for channel in channels} - self._used_at.keys()
        if new:
            self._execute("LISTEN", new)
        with self._lock:
            self._used_at.update(dict.fromkeys(new, time.monotonic()))
        for _, done in wanted:
            done.set()
        pgconn = self._connection.pgconn
        pgconn.consume_input()
        for each in iter(pgconn.notifies, None):
            self._hear(each.relname.decode(), each.extra.decode())
        heard, self._heard = self._heard, []
        self._here.announce(heard)
        quiet = self._quiet(_channels(heard))
        if quiet:
            self._execute("UNLISTEN", quiet)
        return bool(wanted or heard)

    def _quiet(self, channels: set[str]) -> set[str]:
        """Forget those of some channels that nobody has used for a while."""
        before = time.monotonic() - QUIET_SECONDS
        with self._lock:
            quiet = {each for each in channels if not self._in_use[each] and self._used_at.get(each, 0) < before}
            for each in quiet:
                self._used_at.pop(each, None)
        return quiet

    def _execute(self, command: str, channels: Iterable[str]) -> None:
        parts = [sql.SQL(f"{command} {{}}").format(sql.Identifier(channel)) for channel in sorted(channels)]
        self._connection.execute(sql.SQL("; ").join(parts))

    def _end(self) -> None:
        with self._lock:
            self.ended = True
            wanted, self._wanted = self._wanted, []
            self._connection.pgconn.finish()
            os.close(self._wake_read)
            os.close(self._wake_write)
        for _, done in wanted:
            done.set()


def _channels(topics: Iterable[str]) -> set[str]:
    return {topic.partition(" ")[0] for topic in topics}


_LISTENING: weakref.WeakValueDictionary[tuple[Any, ...], Listening] = weakref.WeakValueDictionary()
_parents: list[Any] = []
_locks = [threading.Lock()]


def listening_of(options: Mapping[str, Any]) -> Listening:
    """Return the one ``Listening`` of this process for a database.

    Args:
        options: the options of the client.
    """
    key = (options["conninfo"], options[CONNECTIONS])
    with _locks[0]:
        found = _LISTENING.get(key)
        if found is None:
            found = _LISTENING[key] = Listening(options)
        return found


def _after_fork_in_child() -> None:
    _locks[0] = threading.Lock()  # another thread of the parent may have held it
    for listening in list(_LISTENING.values()):
        listening.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
