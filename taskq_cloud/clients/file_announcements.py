"""Announcements between the processes that share a database file, so that none of them has to poll for another's write.

A process that waits has a named pipe in a folder beside the database (``broker.db-listeners/``), and a thread that
reads it. Whoever has committed something writes into each pipe of the folder what it was about: four bytes for each
topic, its CRC-32. A process that reads a topic for which it has a listener wakes that listener, which then looks into
the database. Two topics with one CRC cost a look in vain.

A pipe without a reader belongs to a process that has died, and whoever meets it removes it. A pipe is made under a name
that is passed over, opened, and then renamed, so that it never seems to be without a reader. A process removes its pipe
when it hears of something, and nobody in it has listened for a while.

Where no pipe can be made (Windows, a folder that can't be written to, some network file systems), nobody is announced
anything, and those who wait poll. Pipe and folder belong to those who can write to the database.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from zlib import crc32

from taskq_cloud.clients.sqlite_files import give
from taskq_cloud.core.model.announcements import Announcements, Listener

FOLDER_SUFFIX: Final = "-listeners"

QUIET_SECONDS: Final = 1.0
"""How long nobody has listened before a process removes its pipe. A process that waits again and again keeps it."""

UNOPENED_SECONDS: Final = 60.0
"""How old a pipe without its final name is when its process must have died before it could rename it."""

_KEY: Final = struct.Struct("=I")
_EVERYTHING: Final = 0
"""The key that wakes everybody. No topic has it."""

_MOST_KEYS: Final = 1000
"""More topics than these are announced as everything, which is one write."""

_KEYS_IN_A_WRITE: Final = 128
"""512 bytes: POSIX's least value of PIPE_BUF, up to which writes into a pipe don't mix with those of others."""

_FULL_BYTES: Final = 4096
"""A pipe from which so much could be read at once may have been full, so that further announcements were lost."""


class FileAnnouncements:
    """The announcements of one database file, for one process. Threads may share it.

    Args:
        path: the database's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = Path(f"{path}{FOLDER_SUFFIX}")
        self._lock = threading.Lock()
        self._here = Announcements()
        self._pipe: _Pipe | None = None
        self._listened_at = 0.0

    def listen(self, listener: Listener, topics: Mapping[str, str]) -> bool:
        """Let a listener hear of topics until it is closed; False: announcements can't be heard here.

        Args:
            listener: the listener.
            topics: what is announced -> the topic that the listener hears.
        """
        with self._lock:
            if self._pipe is not None and not self._pipe.is_there:
                self._pipe.end()  # somebody has removed the folder
            if self._pipe is None or self._pipe.ended:
                self._pipe = None  # its thread closes it, and its numbers become those of others
                try:
                    self._pipe = _Pipe(self._path, self._folder, self)
                except (OSError, RuntimeError, AttributeError):  # not permitted; at the end of Python; on Windows
                    return False
            self._listened_at = time.monotonic()
            self._here.enter(listener, {_key(each): topic for each, topic in topics.items()})
        return True

    def announce(self, topics: Iterable[str]) -> None:
        """Wake those who wait for one of these topics, in this process and in others."""
        keys = [_key(topic) for topic in topics]
        self._here.announce(keys)
        try:
            with os.scandir(self._folder) as entries:
                names = [entry.name for entry in entries]
        except OSError:  # nobody has ever waited
            return
        pipe = self._pipe
        for name in names:
            if not name.startswith(".") and (pipe is None or name != pipe.name):
                _write(f"{self._folder}/{name}", keys if len(keys) <= _MOST_KEYS else [_EVERYTHING])

    def hear(self, data: bytes) -> bool:
        """Take note of what was read from this process's pipe; False: nobody listens, and the pipe was removed."""
        keys = [key for (key,) in _KEY.iter_unpack(data[: len(data) // _KEY.size * _KEY.size])]
        if _EVERYTHING in keys or len(data) >= _FULL_BYTES:
            self._here.announce_all()
        else:
            self._here.announce(keys)
        now = time.monotonic()
        with self._lock:
            if self._here:
                self._listened_at = now
            elif now - self._listened_at >= QUIET_SECONDS and self._pipe is not None:
                self._pipe.remove()
                self._pipe = None
                return False
        return True

    def forget_parents_pipe(self) -> None:
        """Begin anew in a forked process, which shares the open pipe with its parent, but not the thread."""
        self._lock = threading.Lock()
        self._here.__init__()  # type: ignore[misc]  # in place: a listener of the parent's may still close
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close_in_child()


class _Pipe:
    """A named pipe with its reader: a thread, which ends when the pipe's owner is gone.

    Raises:
        OSError: the pipe can't be made.
        RuntimeError: the thread can't be started.
    """

    def __init__(self, database: Path, folder: Path, owner: FileAnnouncements) -> None:
        self.name = f"{os.getpid()}-{os.urandom(6).hex()}"
        self.ended = False
        self._closed = False
        self._closing = threading.RLock()  # the end of the owner may come while the thread closes the pipe
        self._place = folder / self.name
        status = database.stat()
        _make_folder(folder, status)
        self._read_end, self._write_end = _open_pipe(self._place, status)
        self._finalizer = weakref.finalize(owner, self.end)
        thread = threading.Thread(
            target=_read, args=(self, weakref.ref(owner)), name="taskq-announcements", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # there can be no more threads
            self.close()
            raise

    @property
    def is_there(self) -> bool:
        """Whether the pipe still has its name."""
        return os.path.lexists(self._place)  # False if the folder can't be looked into either

    def remove(self) -> None:
        """Remove the pipe's name: nobody writes into it from now on."""
        self.ended = True
        self._finalizer.detach()
        with suppress(OSError):
            self._place.unlink()

    def close_in_child(self) -> None:
        """Close a forked process's copies, and leave the pipe to the parent."""
        self._finalizer.detach()
        self.ended = True
        if self._closed:  # the numbers may be other files' by now
            return
        self._closed = True
        os.close(self._read_end)
        os.close(self._write_end)

    def close(self) -> None:
        """Remove the pipe and close both ends."""
        self.remove()
        with self._closing:
            self._closed = True
            os.close(self._read_end)
            os.close(self._write_end)

    def read(self) -> bytes:
        """Wait until something is written, and return it."""
        return os.read(self._read_end, 65536)

    def end(self) -> None:
        """Remove the pipe, and let the thread close it: its owner is gone, or Python ends."""
        self.remove()
        with self._closing, suppress(OSError):
            if not self._closed:  # otherwise the number may be another file's by now
                os.write(self._write_end, _KEY.pack(_EVERYTHING))


def _open_pipe(place: Path, database: os.stat_result) -> list[int]:
    """Make a named pipe, and return both ends of it, which are open before it gets its name.

    Raises:
        OSError: the pipe can't be made.
    """
    unfinished = place.with_name(f".{place.name}")
    os.mkfifo(unfinished, 0o600)
    ends: list[int] = []
    try:
        give(unfinished, _for_writers(database, 0o6), database)
        ends.append(os.open(unfinished, os.O_RDONLY | os.O_NONBLOCK))
        ends.append(os.open(unfinished, os.O_WRONLY | os.O_NONBLOCK))  # so that reading never ends
        os.set_blocking(ends[0], True)
        unfinished.rename(place)
    except BaseException:
        for end in ends:
            os.close(end)
        with suppress(OSError):
            unfinished.unlink()
        raise
    return ends


def _read(pipe: _Pipe, owner: weakref.ref[FileAnnouncements]) -> None:
    """Read a pipe until its owner is gone or doesn't need it any more."""
    try:
        while True:
            data = pipe.read()
            announcements = owner()
            if announcements is None or pipe.ended or not announcements.hear(data):
                return
            del announcements  # while nothing is announced, this thread must not keep the owner alive
    finally:
        pipe.close()


def _write(place: str, keys: Sequence[int]) -> None:
    """Write keys into a pipe. A pipe that has no reader is removed."""
    try:
        write_end = os.open(place, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ENXIO:
            with suppress(OSError):
                Path(place).unlink()
        return
    try:
        if not stat.S_ISFIFO(os.fstat(write_end).st_mode):
            return
        # With an end for reading of its own, this process gets no SIGPIPE if the reader goes at this moment: a program
        # that has restored the signal's default would be ended by it.
        read_end = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            for start in range(0, len(keys), _KEYS_IN_A_WRITE):
                os.write(write_end, b"".join(map(_KEY.pack, keys[start : start + _KEYS_IN_A_WRITE])))
        finally:
            os.close(read_end)
    except OSError:  # the pipe is full, and its reader finds that out; or the reader has just gone
        pass
    finally:
        os.close(write_end)


def _make_folder(folder: Path, database: os.stat_result) -> None:
    """Make the folder of the pipes, for the users of the database; remove pipes that a dead process has left half made.

    Raises:
        OSError: the folder can't be made, or it is something else.
    """
    with suppress(FileExistsError):
        folder.mkdir(0o700)
        give(folder, _for_writers(database, 0o7), database)
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise NotADirectoryError(folder)
    for place in folder.glob(".*"):
        with suppress(OSError):
            if time.time() - place.lstat().st_mtime > UNOPENED_SECONDS:
                place.unlink()


def _for_writers(database: os.stat_result, permission: int) -> int:
    """The mode that gives a permission to the owner, and to those who can write to the database.

    Who can only read it could otherwise read announcements that others wait for.
    """
    mode = permission << 6
    for shift in (3, 0):
        if database.st_mode >> shift & 0o2:
            mode |= permission << shift
    return mode


def _key(topic: str) -> int:
    return crc32(topic.encode()) or 1


_ALL: weakref.WeakValueDictionary[str, FileAnnouncements] = weakref.WeakValueDictionary()


def announcements_of(path: Path) -> FileAnnouncements:
    """Return the announcements of a database file, which all clients of this process share."""
    # Two threads that are here for the first time at once may get two objects, which hear each other by their pipes.
    return _ALL.get(str(path)) or _ALL.setdefault(str(path), FileAnnouncements(path))


def _after_fork_in_child() -> None:
    for each in list(_ALL.values()):
        each.forget_parents_pipe()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
