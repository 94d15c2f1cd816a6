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
and is not written by us, unless it has been like this for two seconds: then an empty one counts as no file.

The locks are those of files in the folder ``.taskq`` (``filesystem_locks``). The system frees the lock of a process
that is killed, and nothing is left behind. A name's lock is one of 64, so their number doesn't grow. On NFS they need
version 4, or the lock service of version 3.

``sweep`` removes files in steps, a few for each write (``filesystem_sweep``). It names the ``beginnings`` of the files
that may go, the ``pattern`` of a time in the last bytes of such a file, and ``now``.

A folder that is made can be read by its user alone, as can the files, unless the folder's group can write to it. After
a write, processes that wait for its name are told (``file_announcements``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from taskq_cloud.clients.base import ThreadedClient, shortest
from taskq_cloud.clients.file_announcements import announcements_of
from taskq_cloud.clients.filesystem_files import BEING_WRITTEN, flush, share, unfinished, value_of, version_of
from taskq_cloud.clients.filesystem_locks import HAS_LOCKS, Locks
from taskq_cloud.clients.filesystem_sweep import Sweep
from taskq_cloud.clients.sqlite_files import LinkRefused, make_file
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured

LOCK_TIMEOUT_SECONDS: Final = 5.0
"""The longest wait for another process's write, which takes milliseconds unless its disk is slow."""

SWEPT: Final = 4
"""How many files each write looks at: with as many as it writes, expired files would be as many as the others."""

OWN_FOLDER: Final = ".taskq"
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


def open_client(service: str, options: Mapping[str, Any]) -> FolderClient:
    """Make the client of one folder, which the first call creates if it is missing.

    Args:
        service: the service's name, for errors.
        options: ``path``: the folder.

    Raises:
        ImproperlyConfigured: this system has no locks of files.
    """
    if not HAS_LOCKS:
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
        self._locks = Locks(folder / OWN_FOLDER, lock_seconds)
        self._announcements = announcements_of(self._marker)
        self._sweep = Sweep(folder, self._locks)
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
            value = value_of(self._folder / name)
            if value:
                found[name] = value, version_of(value)
        return found

    def _write(self, given: Mapping[str, Any]) -> list[bool]:
        self._make_folder()
        made = [self._write_one(*write) for write in given["writes"]]
        if any(made):
            flush(self._folder)
            names = (name for (name, _, _), written in zip(given["writes"], made, strict=True) if written)
            self._announcements.announce(names)
        self._sweep.step(SWEPT * len(made), **given["sweep"])
        return made

    def _write_one(self, name: str, value: bytes, version: str | None) -> bool:
        path = self._folder / name
        with unfinished(self._folder, value) as file, self._locks.held(name):
            there = value_of(path)
            if there == BEING_WRITTEN or version != (None if there is None else version_of(there)):
                return False
            file.replace(path)
            return True

    def _append(self, given: Mapping[str, Any]) -> bytes:
        self._make_folder()
        path, flags = self._folder / given["name"], os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with self._locks.held(given["name"]):
            is_new = not path.exists()
            with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
                share(file.fileno(), self._folder)
                file.write(given["value"])
                os.fsync(file.fileno())
                file.seek(0)
                whole = file.read()
        if is_new:
            flush(self._folder)
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
