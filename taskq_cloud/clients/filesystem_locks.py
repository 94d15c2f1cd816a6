"""Locks of names, between the threads of a process and between processes; the system frees those of a killed one."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zlib import crc32

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCKS: Final = 64
LOCK_PAUSE_SECONDS: Final = 0.001

HAS_LOCKS: Final = fcntl is not None
"""Whether this system has locks of files."""


class Locks:
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
