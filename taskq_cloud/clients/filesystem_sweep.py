"""Removes the expired files of a folder in steps, so that no write pays for all of them."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from taskq_cloud.clients.filesystem_files import UNFINISHED
from taskq_cloud.clients.filesystem_locks import Locks

END_BYTES: Final = 8192
"""The last bytes of a file, in which its expiry is looked for."""
UNFINISHED_SECONDS: Final = 60.0
"""How old a file with an unfinished value is when its process must have died."""


class Sweep:
    """Removes the files that have expired, a few at a time, from the first to the last of the folder and then anew.

    Args:
        folder: the folder.
        locks: the locks of the files.
    """

    def __init__(self, folder: Path, locks: Locks) -> None:
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
                elif name.startswith(UNFINISHED):
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
