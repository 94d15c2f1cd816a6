"""The files of a folder: each is read as a whole, and written as a whole under another name before it gets its own."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

CELERYS_SECONDS: Final = 2.0
"""How long Celery may take for a write that it has begun. It may have been killed within it."""

UNFINISHED: Final = ".taskq-unfinished-"
"""The beginning of the name of a file that hasn't got its own yet."""

BEING_WRITTEN: Final = b""
"""The content of a file of which Celery has not written all."""


def value_of(path: Path) -> bytes | None:
    """The content of a file; None if there is no file, and ``BEING_WRITTEN`` if Celery has not written all of it.

    Raises:
        OSError: it can't be read, or is a link or a folder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        value = file.read()
        is_whole = value and (value[:1] != b"{" or value[-1:] == b"}")
        if not is_whole and time.time() - os.fstat(descriptor).st_mtime < CELERYS_SECONDS:
            return BEING_WRITTEN
    return value or None


def version_of(value: bytes) -> str:
    """The version of a file with this content."""
    return hashlib.blake2b(value, digest_size=16).hexdigest()


@contextmanager
def unfinished(folder: Path, value: bytes) -> Iterator[Path]:
    """A file with a value that is on the disk, and that hasn't got its name yet; it is removed if it never gets it."""
    path = folder / f"{UNFINISHED}{os.getpid()}-{os.urandom(6).hex()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            share(descriptor, folder)
            file.write(value)
            file.flush()
            os.fsync(descriptor)
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def share(descriptor: int, folder: Path) -> None:
    """Let the folder's group read and write a file if it can write to the folder, and so can replace the file."""
    status = folder.stat()
    if status.st_mode & stat.S_IWGRP:
        with suppress(OSError):  # the file is another user's
            os.fchmod(descriptor, 0o660)
            os.fchown(descriptor, -1, status.st_gid)


def flush(folder: Path) -> None:
    """Have the names of a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
