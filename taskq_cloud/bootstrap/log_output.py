"""The stream that log lines are written to: standard error, without waiting for whoever reads it.

A pipe holds 64 KiB. When its reader stops reading, a write to it waits, and with it would the worker's event loop,
which renews the leases of all messages. So lines that the pipe has no room for are kept in memory, up to a limit, and a
thread writes them when there is room again. While there is room, lines are written at once: the last words of a process
that crashes are not lost.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, TextIO

logger = logging.getLogger("taskq_cloud.log")

KEPT_BYTES: Final = 1 << 20
"""How much is kept for a reader that does not read. Further lines are dropped and counted."""
LAST_WAIT_SECONDS: Final = 1.0
"""How long a process that ends waits for the reader."""
_POLL_SECONDS: Final = 0.01


def log_output(stream: TextIO | None = None) -> TextIO | PatientOutput:
    """Return the stream for log lines: standard error itself unless it is a pipe or a socket, whose reader may stop.

    Args:
        stream: another stream than standard error.
    """
    stream = sys.stderr if stream is None else stream
    try:
        descriptor = stream.fileno()
        writer = _writer(descriptor)
    except (OSError, ValueError, AttributeError):  # a test has replaced it, or it is closed
        return stream
    return stream if writer is None else PatientOutput(descriptor, *writer)


class PatientOutput:
    """A stream whose ``write`` never waits. Calls must not overlap; the lock of a logging handler sees to it.

    Args:
        descriptor: the descriptor to write to.
        write_now: writes a part of some bytes and returns how many; raises ``BlockingIOError`` instead of waiting.
        close: frees what ``write_now`` needs.
    """

    def __init__(self, descriptor: int, write_now: Callable[[bytes], int], close: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._write_now = write_now
        self._close = close
        self._begin()

    def _begin(self) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # Two counters, because each is changed by one thread only.
        self._kept_bytes = 0
        self._written_bytes = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._process_id = os.getpid()

    def write(self, text: str) -> int:
        """Write some lines now, or keep them for later if the reader is behind."""
        if self._process_id != os.getpid():  # a fork has no copy of the thread
            self._begin()
        rest = text.encode("utf-8", "backslashreplace")
        if self._kept_bytes == self._written_bytes:
            rest = self._write_part(rest)
        if not rest:
            return len(text)
        if self._kept_bytes - self._written_bytes + len(rest) > KEPT_BYTES:
            self._dropped += 1
            return len(text)
        self._kept_bytes += len(rest)
        self._lines.put(rest)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_kept_lines, name="taskq-log", daemon=True)
            self._thread.start()
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is held back while the reader reads."""

    def close(self, seconds: float = LAST_WAIT_SECONDS) -> None:
        """Wait for the reader to take the kept lines, for some seconds at most. Lines that come later are dropped."""
        until = time.monotonic() + seconds
        while self._kept_bytes != self._written_bytes and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        self._write_now = _drop  # the number of the closed descriptor may soon be another file's
        self._close()

    def _write_part(self, data: bytes) -> bytes:
        try:
            while data:
                data = data[self._write_now(data) :]
        except BlockingIOError:
            return data
        except OSError:  # the reader is gone, and nobody will miss the line
            return b""
        return data

    def _write_kept_lines(self) -> None:
        while True:
            line = rest = self._lines.get()
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # as above
                pass
            self._written_bytes += len(line)
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                text = "%d log lines were dropped, because nobody read the log for a while"
                logger.warning(text, dropped, extra={"action": "log.dropped"})


def _drop(_data: bytes) -> int:
    raise BrokenPipeError


def _writer(descriptor: int) -> tuple[Callable[[bytes], int], Callable[[], None]] | None:
    """Return a function that writes without waiting, and one that closes what it needs.

    None: a write never waits for a reader here, as to a file.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        channel = socket.socket(fileno=os.dup(descriptor))
        return lambda data: channel.send(data, socket.MSG_DONTWAIT), channel.close
    if not stat.S_ISFIFO(mode) or not hasattr(os, "O_NONBLOCK"):  # Windows can't tell whether a pipe has room
        return None
    try:
        # A second opening of the pipe has its own mode. Setting the mode of the descriptor would set that of all
        # processes that share it, and a print() of theirs would fail.
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # there is no /proc, or another user has made the pipe
        return lambda data: _write_if_there_is_room(descriptor, data), lambda: None
    return lambda data: os.write(own, data), lambda: os.close(own)


def _write_if_there_is_room(descriptor: int, data: bytes) -> int:
    # A pipe counts as writable while it has room for PIPE_BUF bytes.
    if not select.select([], [descriptor], [], 0)[1]:
        raise BlockingIOError
    return os.write(descriptor, data[: select.PIPE_BUF])
