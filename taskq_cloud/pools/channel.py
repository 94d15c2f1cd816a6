"""The protocol between the worker and one process of its pool: frames of pickled values over a socket pair.

A frame is four bytes of length, big-endian, followed by a pickle. Pickle is safe here: both ends run the same
installation of this package, and nobody else can reach the socket. It also carries arguments that came in a pickle
message through unchanged.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from dataclasses import dataclass
from typing import Any

from taskq_cloud.core.model.outcome import Outcome

HEADER_BYTES = 4
# A length above this isn't a length: something else has written to the socket.
LARGEST_FRAME_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Setup:
    """The worker's first frame: its module search path, so that the process imports the modules the worker imports."""

    search_path: list[str]


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has imported the application."""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The process could not import the application; ``text`` is the traceback."""

    text: str


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The process has taken a task. If the process dies before it says so, the task has not been started."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A task's outcome, and how much memory the process holds after it (its resident set, in KiB)."""

    outcome: Outcome
    resident_kib: int


class BrokenFrame(Exception):
    """The bytes read from a channel aren't a frame."""


def pack(value: Any) -> bytes:
    """Return a value as a frame."""
    return frame(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


def frame(payload: bytes) -> bytes:
    """Return a pickle as a frame.

    Raises:
        ValueError: the pickle is larger than a frame can be.
    """
    if len(payload) > LARGEST_FRAME_BYTES:
        raise ValueError(
            f"a message between the worker and a process of its pool has {len(payload)} bytes, and may have at most "
            f"{LARGEST_FRAME_BYTES}: pass large arguments and results by reference"
        )
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def receive(channel: socket.socket) -> bytes | None:
    """Return the next frame's pickle, or None at the end of the channel. The process reads the channel this way."""
    header = _receive_exactly(channel, HEADER_BYTES)
    return None if header is None else _receive_exactly(channel, int.from_bytes(header, "big"))


def _receive_exactly(channel: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = channel.recv(min(size - len(parts), 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)


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
