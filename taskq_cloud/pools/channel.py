"""What the worker and a process of its pool say to each other: one socket pair a process, frames of pickled values.

A frame is four bytes of length, big-endian, and a pickle. Both ends are the same installation of this package and the
socket is no one else's, so pickle is safe here; and an argument that a pickle message carried gets through unchanged.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from dataclasses import dataclass
from typing import Any

from taskq_cloud.core.model.outcome import Outcome

HEADER_BYTES = 4
# A length over this is no length: something else has written to the socket.
LARGEST_FRAME_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Setup:
    """The worker's first frame: the module search path, so that the process finds what the worker finds."""

    search_path: list[str]


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has imported the application."""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The process could not import the application; ``text`` is the traceback."""

    text: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The process has taken a task. Dead before it said so, it has lost none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A task's outcome, and how much memory the process holds after it, in KiB (its resident set)."""

    outcome: Outcome
    resident_kib: int


class BrokenFrame(Exception):
    """What was read from a channel is no frame."""


def pack(value: Any) -> bytes:
    """A value as a frame."""
    return frame(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


def frame(payload: bytes) -> bytes:
    """A pickle as a frame.

    Raises:
        ValueError: it is larger than a frame can be.
    """
    if len(payload) > LARGEST_FRAME_BYTES:
        raise ValueError(f"{len(payload)} bytes are too many for a frame between a worker and its processes")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def receive(channel: socket.socket) -> bytes | None:
    """The next frame's pickle, or None at the end: the process's side."""
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
    """The next frame's value: the worker's side.

    Raises:
        EOFError: the channel has ended.
        BrokenFrame: what came is no frame.
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
