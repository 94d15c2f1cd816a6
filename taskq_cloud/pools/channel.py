"""The protocol between the worker and one process of its pool: frames of pickled values over a socket pair.

A frame is four bytes of length, big-endian, followed by a pickle. Pickle is safe here: both ends run the same
installation of this package, and nobody else can reach the socket. It also carries arguments that came in a pickle
message through unchanged.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import pickle
import select
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskq_cloud.core.model.outcome import Outcome

HEADER_BYTES = 4
# A length above this isn't a length: something else has written to the socket.
LARGEST_FRAME_BYTES = 1 << 30
NUMBER_BYTES = 8
# Two numbers: the count of tasks, and the task that holds all greenlets.
SHARED_BYTES = 2 * NUMBER_BYTES


@dataclass(frozen=True, slots=True)
class Setup:
    """The worker's first frame.

    Args:
        search_path: the worker's module search path, so that the process imports the modules the worker imports.
        measures_memory: whether the answers say how much memory the process holds.
    """

    search_path: list[str]
    measures_memory: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has imported the application."""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The process could not import the application; ``text`` is the traceback."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A task's outcome, and how much memory the process holds after it (its resident set, in KiB; 0: not measured)."""

    outcome: Outcome
    resident_kib: int


@dataclass(frozen=True, slots=True)
class Begin:
    """A task for a process with greenlets.

    Args:
        number: the number of the task: 1 for the process's first one, then 2 and so on.
        invocation: the invocation, pickled by itself: one that can't be read harms no other task.
    """

    number: int
    invocation: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The task of this number is to end, because its caller doesn't wait for it any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer for the task of this number.

    Args:
        number: the number of the task.
        answer: an ``Answer``, pickled by itself.
        left: the greenlet of the task was told to end, and goes on.
    """

    number: int
    answer: bytes
    left: bool = False


@dataclass(frozen=True, slots=True)
class Ping:
    """A question whether the greenlets get their turns; the process returns it."""


class BrokenFrame(Exception):
    """The bytes read from a channel aren't a frame."""


class TakenTasks:
    """How many tasks a process has taken, in memory that it shares with the worker: it is read after a death.

    A task that the process had not taken before it died has not been started. The memory is a file without a name,
    which the process inherits as a file descriptor. It also says which task holds up all others of the process.

    Args:
        file: the file descriptor; None: a new file.

    Raises:
        OSError: there is no room for the file.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = _file_without_name() if file is None else file
        self._memory = mmap.mmap(self._file, SHARED_BYTES)
        self._last = 0

    def fileno(self) -> int:
        """The file descriptor, which the process is to inherit."""
        return self._file

    @property
    def count(self) -> int:
        """The number of tasks; after ``close``, the last one."""
        return self._last if self._memory.closed else int.from_bytes(self._memory[:NUMBER_BYTES], "big")

    def take(self) -> None:
        """Count one more task, which is about to start."""
        self._memory[:NUMBER_BYTES] = (self.count + 1).to_bytes(NUMBER_BYTES, "big")

    @property
    def holder(self) -> int:
        """The number of the task that has not let the other greenlets of its process run for a while; 0: none."""
        return 0 if self._memory.closed else int.from_bytes(self._memory[NUMBER_BYTES:SHARED_BYTES], "big")

    @holder.setter
    def holder(self, number: int) -> None:
        self._memory[NUMBER_BYTES:SHARED_BYTES] = number.to_bytes(NUMBER_BYTES, "big")

    def close(self) -> None:
        """Give the memory up. Closing it again does nothing."""
        if not self._memory.closed:
            self._last = self.count
            self._memory.close()
            os.close(self._file)


def _file_without_name() -> int:
    """Make a file that holds zero, and return its descriptor. On Linux no file system has to be writable for it."""
    if sys.platform == "linux":
        file = os.memfd_create("taskq-taken")
    else:
        file, path = tempfile.mkstemp(prefix="taskq-")
        Path(path).unlink()
    os.write(file, bytes(SHARED_BYTES))  # without room, this raises; a page without room would end the process
    return file


def pack(value: Any) -> bytes:
    """Return a value as a frame."""
    return frame(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


def frame(payload: bytes) -> bytes:
    """Return a pickle as a frame.

    Raises:
        ValueError: the pickle is larger than a frame can be.
    """
    check_size(payload)
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def check_size(payload: bytes) -> None:
    """Check that a frame has room for a pickle.

    Raises:
        ValueError: the pickle is larger than a frame can be.
    """
    if len(payload) > LARGEST_FRAME_BYTES:
        raise ValueError(
            f"a message between the worker and a process of its pool has {len(payload)} bytes, and may have at most "
            f"{LARGEST_FRAME_BYTES}: pass large arguments and results by reference"
        )


class Frames:
    """The frames that come over a channel. The process reads the channel this way.

    Args:
        channel: the socket; nothing else reads from it.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._file = channel.makefile("rb")  # its buffer holds most frames: one call of the system reads each

    def receive(self) -> bytes | None:
        """Return the next frame's pickle, or None at the end of the channel."""
        header = self._exactly(HEADER_BYTES)
        return None if header is None else self._exactly(int.from_bytes(header, "big"))

    def _exactly(self, size: int) -> bytes | None:
        try:
            part = self._file.read(size)
        except ConnectionError:
            return None
        return part if len(part) == size else None


def wait_for_end(channel: socket.socket) -> None:
    """Wait until the other end of a channel is closed, without reading from it.

    Linux reports the end apart from what is left to read (POLLRDHUP, poll(2)), and macOS by POLLHUP.
    """
    ends = select.poll()
    ends.register(channel, getattr(select, "POLLRDHUP", 0))  # POLLHUP and POLLERR are always reported
    ends.poll()


async def areceive(reader: asyncio.StreamReader) -> Any:
    """Return the next frame's value. The worker reads the channel this way.

    Raises:
        EOFError: the channel has ended.
        BrokenFrame: the bytes aren't a frame.
    """
    try:
        size = int.from_bytes(await reader.readexactly(HEADER_BYTES), "big")
        if size > LARGEST_FRAME_BYTES:
            raise BrokenFrame(f"a frame of {size} bytes")
        payload = await reader.readexactly(size)
    except ConnectionError as error:
        raise EOFError from error
    try:
        return pickle.loads(payload)
    except Exception as error:
        raise BrokenFrame(f"a frame that can't be unpickled: {error!r}") from error
