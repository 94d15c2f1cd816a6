"""SQLite's errors as ``CallError``: what has happened, to which file, whether it may pass, and the remedy."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from taskq_cloud.clients.sqlite_files import LinkRefused
from taskq_cloud.core.flows import Call, CallError, Trouble

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


def _primary_code(error: Exception) -> int:
    # The low byte is the primary result code; the other bytes give the details (https://www.sqlite.org/rescode.html).
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def is_busy(error: Exception) -> bool:
    """Whether another connection's lock was in the way."""
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def call_error(call: Call, error: sqlite3.Error | OSError, path: Path, waited_seconds: float) -> CallError:
    """Make the error of a call that has failed.

    Args:
    call: the call.
    error: its error.
    path: the database's file.
    waited_seconds: how long the call waits for others' locks.
    """
    if isinstance(error, LinkRefused):
        return CallError(call, "SymbolicLink", str(error), Trouble.REFUSED)
    if isinstance(error, OSError):
        reason = error.strerror or error
        message = f"{path}: {reason}: check that its directory can be created and is writable"
        return CallError(call, type(error).__name__, message, Trouble.REFUSED)
    # An error that Python's sqlite3 module found (a wrong number of parameters) has no SQLite result code.
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    primary = _primary_code(error)
    if is_busy(error):
        message = f"{path}: another process kept the database locked for {waited_seconds:g} s"
        return CallError(call, name, message, Trouble.TRANSIENT)
    hint = _HINTS.get(primary)
    message = f"{path}: {error}" + (f": {hint}" if hint else "")
    return CallError(call, name, message, Trouble.TRANSIENT if primary in _TRANSIENT else Trouble.REFUSED)
