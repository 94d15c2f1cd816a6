"""The client of a folder of files, as a service: values by name, each of which changes as a whole and on a condition.

==========  =================================  ====================================================================
operation   parameters                         answer
==========  =================================  ====================================================================
``read``    names                              name -> the value and its version, for the names that have a file
``write``   writes, sweep                      for each write whether it was made, in order
``append``  name, value, sweep                 the whole value, to which this one was appended
``delete``  names                              (nothing)
``listen``  listener, topics                   whether the listener hears of the topics, names of files
==========  =================================  ====================================================================

A write is ``(name, value, version)``, and is made if the file has this version; None: if there is no file. The version
is a digest of the content. Whoever writes holds a lock, writes the value into a file of another name, and gives this
file its name, so that a reader sees the old value or the new one, also if the writer is killed. What ``write`` answers
is on the disk (``fsync``).

Celery empties a file and then writes it. A file that is empty, or holds a part of a document, has no value for a reader
and is not written by us, unless it has been like this for ``CELERYS_SECONDS``: then an empty one counts as no file.

The locks are those of files in the folder ``.taskq`` (``flock``). The system frees the lock of a process that is
killed, and nothing is left behind. A name's lock is one of ``LOCKS``, so their number doesn't grow. On NFS they need
version 4, or the lock service of version 3.

``sweep`` removes files in steps: a few for each write. It names the ``beginnings`` of the files that may go, the
``pattern`` of a time in the last bytes of such a file, and ``now``.

A folder that is made can be read by its user alone, as can the files, unless the folder's group can write to it. After
a write, processes that wait for its name are told (``file_announcements``).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from taskq_cloud.clients.base import ThreadedClient, shortest
from taskq_cloud.clients.file_announcements import announcements_of
from taskq_cloud.clients.sqlite_files import LinkRefused, make_file
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCKS: Final = 64
LOCK_TIMEOUT_SECONDS: Final = 5.0
"""The longest wait for another process's write, which takes milliseconds unless its disk is slow."""
LOCK_PAUSE_SECONDS: Final = 0.001

SWEPT: Final = 4
"""How many files each write looks at: with as many as it writes, expired files would be as many as the others."""
END_BYTES: Final = 8192
"""The last bytes of a file, in which its expiry is looked for."""
UNFINISHED_SECONDS: Final = 60.0
"""How old a file with an unfinished value is when its process must have died."""

CELERYS_SECONDS: Final = 2.0
"""How long Celery may take for a write that it has begun. It may have been killed within it."""

OWN_FOLDER: Final = ".taskq"
_UNFINISHED: Final = ".taskq-unfinished-"
_THREADS: Final = 4

_PASSING: Final = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EIO: "the disk can't be read or written: check it and its file system",
    errno.ESTALE: "the file server has forgotten the file",
}
"""Failures of the disk, which may end while the caller waits: nothing was changed."""

_HINTS: Final = {
    errno.ELOOP: "it is a symbolic link, which is not followed, as somebody else may have made it: remove it",
    errno.ENOLCK: "the file system has no locks: use a local folder, or NFS 4",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "the file would be larger than this process, or the file system, may have it",
}

_BEING_WRITTEN: Final = b""


def open_client(service: str, options: Mapping[str, Any]) -> FolderClient:
    """Make the client of one folder, which the first call creates if it is missing.

    Args:
        service: the service's name, for errors.
        options: ``path``: the folder.

    Raises:
        ImproperlyConfigured: this system has no locks of files.
    """
    if fcntl is None:
        raise ImproperlyConfigured(f"{service} needs locks of files, which Windows doesn't have: use sqlite:///path")
    return FolderClient(Path(options["path"]), shortest(LOCK_TIMEOUT_SECONDS, options))


async def open_async_client(service: str, options: Mapping[str, Any]) -> ThreadedClient:
    """Make the client of one folder for an event loop; see ``open_client``."""
    return ThreadedClient(open_client(service, options), _THREADS, "taskq-files")


class FolderClient:
    """A client of one folder. Threads may share it.

    Args:
        folder: the folder.
        lock_seconds: the longest wait for another's write.
    """

    def __init__(self, folder: Path, lock_seconds: float) -> None:
        self._folder = folder
        self._marker = folder / OWN_FOLDER / "results"
        self._locks = _Locks(folder / OWN_FOLDER, lock_seconds)
        self._announcements = announcements_of(self._marker)
        self._sweep = _Sweep(folder, self._locks)
        self._operations: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
            "read": self._read,
            "write": self._write,
            "append": self._append,
            "delete": self._delete,
            "listen": self._listen,
        }

    def call(self, call: Call) -> Any:
        """Carry out one operation.

        Raises:
            CallError: transient if the disk is full or fails, or another process keeps a lock; refused otherwise.
        """
        operation = self._operations.get(call.operation)
        if operation is None:
            raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)
        try:
            return operation(call.parameters)
        except OSError as error:
            from taskq_cloud.clients.interruptions import interruption_in  # few calls fail

            if interruption_in(error, None) is error:
                raise
            raise _call_error(call, error, self._folder) from error

    def close(self) -> None:
        """Nothing is kept open between two calls."""

    def _read(self, given: Mapping[str, Any]) -> dict[str, tuple[bytes, str]]:
        found: dict[str, tuple[bytes, str]] = {}
        for name in given["names"]:
            value = _value(self._folder / name)
            if value:
                found[name] = value, _version(value)
        return found

    def _write(self, given: Mapping[str, Any]) -> list[bool]:
        self._make_folder()
        made = [self._write_one(*write) for write in given["writes"]]
        if any(made):
            _flush(self._folder)
            names = (name for (name, _, _), written in zip(given["writes"], made, strict=True) if written)
            self._announcements.announce(names)
        self._sweep.step(SWEPT * len(made), **given["sweep"])
        return made

    def _write_one(self, name: str, value: bytes, version: str | None) -> bool:
        path = self._folder / name
        with _unfinished(self._folder, value) as unfinished, self._locks.held(name):
            there = _value(path)
            if there == _BEING_WRITTEN or version != (None if there is None else _version(there)):
                return False
            unfinished.replace(path)
            return True

    def _append(self, given: Mapping[str, Any]) -> bytes:
        self._make_folder()
        path, flags = self._folder / given["name"], os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with self._locks.held(given["name"]):
            is_new = not path.exists()
            with open(os.open(path, flags, 0o600), "r+b", buffering=0) as file:  # noqa: PTH123 - a descriptor
                _share(file.fileno(), self._folder)
                file.write(given["value"])
                os.fsync(file.fileno())
                file.seek(0)
                whole = file.read()
        if is_new:
            _flush(self._folder)
        self._sweep.step(SWEPT, **given["sweep"])
        return whole

    def _delete(self, given: Mapping[str, Any]) -> None:
        for name in given["names"]:
            (self._folder / name).unlink(missing_ok=True)

    def _listen(self, given: Mapping[str, Any]) -> bool:
        self._make_folder()
        return self._announcements.listen(given["listener"], given["topics"])

    def _make_folder(self) -> None:
        if not self._marker.exists():
            make_file(self._marker)


class _Locks:
    """Locks of names, between the threads of this process and between processes.

    Args:
        folder: the folder of the locks' files.
        seconds: the longest wait for a lock.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._here = [threading.Lock() for _ in range(LOCKS)]

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold the lock of a name.

        Raises:
            OSError: another process doesn't give it up, or the file system has no locks.
        """
        number = crc32(name.encode(errors="surrogatepass")) % LOCKS
        ends_at = time.monotonic() + self._seconds
        # On NFS, the lock of a file is the process's, and doesn't keep its other threads out.
        with self._here[number]:
            descriptor = os.open(self._folder / f"lock-{number}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                self._lock(descriptor, ends_at)
                yield
            finally:
                # A process that was forked meanwhile has the descriptor, too, and would keep the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def _lock(self, descriptor: int, ends_at: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= ends_at:
                    text = f"another process kept the lock of a file for {self._seconds:g} s"
                    raise TimeoutError(errno.ETIMEDOUT, text) from None
                time.sleep(LOCK_PAUSE_SECONDS)
            else:
                return


class _Sweep:
    """Removes the files that have expired, a few at a time, from the first to the last of the folder and then anew.

    Args:
        folder: the folder.
        locks: the locks of the files.
    """

    def __init__(self, folder: Path, locks: _Locks) -> None:
        self._folder = folder
        self._locks = locks
        self._names: Iterator[str] = iter(())
        self._stepping = threading.Lock()

    def step(self, count: int, *, beginnings: Sequence[str], pattern: bytes, now: float) -> None:
        """Look at so many files, and remove those that have expired. Failures are left to the steps to come."""
        if not self._stepping.acquire(blocking=False):
            return
        try:
            for _ in range(count):
                name = next(self._names, None)
                if name is None:
                    self._names = _names_in(self._folder)
                elif name.startswith(_UNFINISHED):
                    self._remove_unfinished(name)
                elif name.startswith(tuple(beginnings)):
                    self._remove_expired(name, pattern, now)
        except OSError:
            self._names = iter(())
        finally:
            self._stepping.release()

    def _remove_expired(self, name: str, pattern: bytes, now: float) -> None:
        path = self._folder / name
        if _has_expired(path, pattern, now):
            with self._locks.held(name):
                if _has_expired(path, pattern, now):
                    path.unlink(missing_ok=True)

    def _remove_unfinished(self, name: str) -> None:
        path = self._folder / name
        with suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > UNFINISHED_SECONDS:
                path.unlink()


def _names_in(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def _has_expired(path: Path, pattern: bytes, now: float) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        end = os.pread(descriptor, END_BYTES, max(size - END_BYTES, 0))
    finally:
        os.close(descriptor)
    found = re.search(pattern, end, re.DOTALL)
    return found is not None and float(found[1]) <= now


def _value(path: Path) -> bytes | None:
    """The content of a file; None if there is no file, and ``_BEING_WRITTEN`` if Celery has not written all of it.

    Raises:
        OSError: it can't be read, or is a link or a folder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        value = file.read()
        is_whole = value and (value[:1] != b"{" or value[-1:] == b"}")
        if not is_whole and time.time() - os.fstat(descriptor).st_mtime < CELERYS_SECONDS:
            return _BEING_WRITTEN
    return value or None


def _version(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest()


@contextmanager
def _unfinished(folder: Path, value: bytes) -> Iterator[Path]:
    """A file with a value that is on the disk, and that hasn't got its name yet; it is removed if it never gets it."""
    path = folder / f"{_UNFINISHED}{os.getpid()}-{os.urandom(6).hex()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            _share(descriptor, folder)
            file.write(value)
            file.flush()
            os.fsync(descriptor)
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def _share(descriptor: int, folder: Path) -> None:
    """Let the folder's group read and write a file if it can write to the folder, and so can replace the file."""
    status = folder.stat()
    if status.st_mode & stat.S_IWGRP:
        with suppress(OSError):  # the file is another user's
            os.fchmod(descriptor, 0o660)
            os.fchown(descriptor, -1, status.st_gid)


def _flush(folder: Path) -> None:
    """Have the names of a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _call_error(call: Call, error: OSError, folder: Path) -> CallError:
    name = type(error).__name__
    if isinstance(error, LinkRefused):
        return CallError(call, name, str(error), Trouble.REFUSED)
    place, reason = error.filename or folder, error.strerror or str(error)
    passing = _PASSING.get(error.errno or 0)
    if passing is not None or isinstance(error, TimeoutError):
        return CallError(call, name, f"{place}: {passing or reason}", Trouble.TRANSIENT)
    hint = _HINTS.get(error.errno or 0, "check that the folder can be created, and is writable")
    return CallError(call, name, f"{place}: {reason}: {hint}", Trouble.REFUSED)
