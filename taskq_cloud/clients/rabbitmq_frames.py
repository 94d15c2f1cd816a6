"""The frames and methods of AMQP 0-9-1 as bytes, without any I/O; the values in them are in ``rabbitmq_values``.

One table (``METHODS``) has the arguments of each method that this package sends or reads. Frames that tasks need, those
of publishing, delivery and acknowledgement, are written and read by functions of their own.

Source: AMQP 0-9-1 specification, sections 2.3.5 (frames) and 4.2; RabbitMQ's "AMQP 0-9-1 Extensions".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from taskq_cloud.clients.rabbitmq_values import (
    ValueTooLargeError,
    cached_short_string,
    properties,
    read_properties,
    read_short_string,
    read_table,
    short_string,
    table,
)

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
FRAME_OVERHEAD: Final = 8
_END: Final = 0xCE
_END_BYTE: Final = b"\xce"
_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8

_FRAME: Final = struct.Struct(">BHI")
_IDS: Final = struct.Struct(">HH")
_CONTENT: Final = struct.Struct(">HHQ")
_TAG: Final = struct.Struct(">Q")
_ACK: Final = struct.Struct(">BHIHHQBB")
_ACK_IDS: Final = _IDS.pack(60, 80)
_CONFIRM: Final = struct.Struct(">QB")
_SHAPES: Final = {"u": struct.Struct(">H"), "i": struct.Struct(">I"), "q": struct.Struct(">Q"), "o": struct.Struct("B")}

METHODS: Final[dict[str, tuple[int, int, str]]] = {
    "connection.start": (10, 10, "ooFSS"),
    "connection.start-ok": (10, 11, "FsSs"),
    "connection.tune": (10, 30, "uiu"),
    "connection.tune-ok": (10, 31, "uiu"),
    "connection.open": (10, 40, "ssb"),
    "connection.open-ok": (10, 41, "s"),
    "connection.close": (10, 50, "usuu"),
    "connection.close-ok": (10, 51, ""),
    "connection.blocked": (10, 60, "s"),
    "connection.unblocked": (10, 61, ""),
    "channel.open": (20, 10, "s"),
    "channel.open-ok": (20, 11, "S"),
    "channel.flow": (20, 20, "b"),
    "channel.flow-ok": (20, 21, "b"),
    "channel.close": (20, 40, "usuu"),
    "channel.close-ok": (20, 41, ""),
    "exchange.declare": (40, 10, "ussbbbbbF"),
    "exchange.declare-ok": (40, 11, ""),
    "exchange.bind": (40, 30, "usssbF"),
    "exchange.bind-ok": (40, 31, ""),
    "queue.declare": (50, 10, "usbbbbbF"),
    "queue.declare-ok": (50, 11, "sii"),
    "queue.bind": (50, 20, "usssbF"),
    "queue.bind-ok": (50, 21, ""),
    "queue.purge": (50, 30, "usb"),
    "queue.purge-ok": (50, 31, "i"),
    "queue.delete": (50, 40, "usbbb"),
    "queue.delete-ok": (50, 41, "i"),
    "basic.qos": (60, 10, "iub"),
    "basic.qos-ok": (60, 11, ""),
    "basic.consume": (60, 20, "ussbbbbF"),
    "basic.consume-ok": (60, 21, "s"),
    "basic.cancel": (60, 30, "sb"),
    "basic.cancel-ok": (60, 31, "s"),
    "basic.return": (60, 50, "usss"),
    "basic.deliver": (60, 60, "sqbss"),
    "basic.get": (60, 70, "usb"),
    "basic.get-ok": (60, 71, "qbssi"),
    "basic.get-empty": (60, 72, "s"),
    "basic.ack": (60, 80, "qb"),
    "basic.nack": (60, 120, "qbb"),
    "confirm.select": (85, 10, "b"),
    "confirm.select-ok": (85, 11, ""),
}
"""Name -> class, method, and the types of the arguments: o octet, u 16 bits, i 32 bits, q 64 bits, s short string, S
long string, F table, b bit."""

OFF: Final = False
ON: Final = True
"""The bits among a method's arguments."""

_NAMES: Final = {(kind, number): (name, types) for name, (kind, number, types) in METHODS.items()}


class FrameError(Exception):
    """The server has sent bytes that aren't AMQP."""


class Method(NamedTuple):
    """A method that came from the server.

    Args:
        channel: its channel.
        name: its name in ``METHODS``.
        arguments: its arguments.
    """

    channel: int
    name: str
    arguments: Sequence[Any]


class Content(NamedTuple):
    """A message that came from the server, with the method that announced it.

    Args:
        method: ``basic.deliver``, ``basic.get-ok`` or ``basic.return``.
        header: the frame of its properties, still encoded.
        body: its body.
    """

    method: Method
    header: bytes
    body: bytes

    def properties(self) -> dict[str, Any]:
        """Read the properties."""
        return read_properties(self.header, _CONTENT.size)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Write one frame."""
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END_BYTE


def method(channel: int, name: str, *arguments: Any) -> bytes:
    """Write the frame of a method."""
    kind, number, types = METHODS[name]
    parts, bits, bit = [_IDS.pack(kind, number)], 0, 0
    for letter, value in zip(types, arguments, strict=True):
        if letter == "b":
            bits |= bool(value) << bit
            bit += 1
            continue
        if bit:
            parts.append(bytes([bits]))
            bits = bit = 0
        parts.append(_argument(letter, value))
    if bit:
        parts.append(bytes([bits]))
    return frame(_METHOD, channel, b"".join(parts))


def _argument(letter: str, value: Any) -> bytes:
    if letter == "s":
        return short_string(value)
    if letter == "S":
        return b"".join((_SHAPES["i"].pack(len(value)), value))
    if letter == "F":
        return table(value)
    return _SHAPES[letter].pack(value)


@lru_cache(maxsize=256)
def publishing(channel: int, exchange: str, routing_key: str) -> bytes:
    """Write the frame of ``basic.publish``, mandatory: a message that no queue takes comes back."""
    key = short_string(routing_key)
    return frame(_METHOD, channel, b"\x00\x3c\x00\x28\x00\x00" + cached_short_string(exchange) + key + b"\x01")


def content(channel: int, values: Mapping[str, Any], body: bytes, frame_max: int) -> list[bytes]:
    """Write the frames of a message's properties and body, of ``frame_max`` bytes at most.

    Raises:
        ValueTooLargeError: AMQP can't carry one of the properties, or they don't fit into a frame.
    """
    header = _CONTENT.pack(60, 0, len(body)) + properties(values)
    most = frame_max - FRAME_OVERHEAD
    if len(header) > most:
        raise ValueTooLargeError(f"the headers of a message have {len(header)} bytes, and the server takes {most}")
    frames = [_FRAME.pack(_HEADER, channel, len(header)), header, _END_BYTE]
    for start in range(0, len(body), most):
        piece = body[start : start + most]
        frames += (_FRAME.pack(_BODY, channel, len(piece)), piece, _END_BYTE)
    return frames


def acknowledging(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Write the frame of ``basic.ack``."""
    return _ACK.pack(_METHOD, channel, 13, 60, 80, tag, multiple, _END)


class FrameReader:
    """Makes methods and messages of the bytes of a connection, in whatever pieces they come."""

    def __init__(self) -> None:
        self._left = b""
        # channel -> the message that is being read: its method, its header, its size and the pieces of its body
        self._partial: dict[int, tuple[Method, bytes, int, list[bytes]]] = {}
        self._announced: dict[int, Method] = {}

    def feed(self, data: bytes) -> Iterator[Method | Content]:
        """Read bytes, and give out what is complete.

        Raises:
            FrameError: the bytes aren't AMQP.
        """
        data = self._left + data if self._left else data
        at, size = 0, len(data)
        while size - at >= FRAME_OVERHEAD:
            kind, channel, length = _FRAME.unpack_from(data, at)
            end = at + 7 + length
            if end >= size:
                break
            if data[end] != _END:
                raise FrameError(f"a frame has no end: the server sent {data[at : at + 8]!r}")
            found = self._read(kind, channel, data[at + 7 : end])
            at = end + 1
            if found is not None:
                yield found
        self._left = data[at:]
        if self._left and self._left[0] > _HEARTBEAT:  # such as the version of AMQP that the server speaks
            raise FrameError(f"the server speaks another protocol than AMQP 0-9-1: {self._left[:8]!r}")

    def _read(self, kind: int, channel: int, payload: bytes) -> Method | Content | None:
        if kind == _METHOD:
            if payload.startswith(_ACK_IDS):  # one for each message that is published
                tag, multiple = _CONFIRM.unpack_from(payload, len(_ACK_IDS))
                return Method(channel, "basic.ack", [tag, bool(multiple)])
            found = read_method(channel, payload)
            if found.name not in _WITH_CONTENT:
                return found
            self._announced[channel] = found
        elif kind == _HEADER:
            size = _CONTENT.unpack_from(payload)[2]
            return self._add(channel, self._announced.pop(channel), payload, size, [])
        elif kind == _BODY:
            announced, header, size, pieces = self._partial.pop(channel)
            pieces.append(payload)
            return self._add(channel, announced, header, size - len(payload), pieces)
        elif kind != _HEARTBEAT:
            raise FrameError(f"a frame of the unknown type {kind}")
        return None

    def _add(self, channel: int, announced: Method, header: bytes, left: int, pieces: list[bytes]) -> Content | None:
        if left > 0:
            self._partial[channel] = (announced, header, left, pieces)
            return None
        return Content(announced, header, pieces[0] if len(pieces) == 1 else b"".join(pieces))


_WITH_CONTENT: Final = frozenset({"basic.deliver", "basic.get-ok", "basic.return"})


def read_method(channel: int, payload: bytes) -> Method:
    """Read the payload of a method's frame."""
    known = _NAMES.get(_IDS.unpack_from(payload))
    if known is None:
        raise FrameError(f"an unknown method {_IDS.unpack_from(payload)}")
    name, types = known
    if name == "basic.deliver":
        return Method(channel, name, _read_deliver(payload))
    arguments: list[Any] = []
    at, bit = 4, 0
    for letter in types:
        if letter == "b":
            arguments.append(bool(payload[at] >> bit & 1))
            bit += 1
            continue
        if bit:
            at, bit = at + 1, 0
        value, at = _read_argument(letter, payload, at)
        arguments.append(value)
    return Method(channel, name, arguments)


def _read_deliver(payload: bytes) -> tuple[str, int, bool, str, str]:
    tag_end = 5 + payload[4]
    consumer = payload[5:tag_end].decode()
    exchange, at = read_short_string(payload, tag_end + 9)
    routing_key, _ = read_short_string(payload, at)
    return consumer, _TAG.unpack_from(payload, tag_end)[0], payload[tag_end + 8] != 0, exchange, routing_key


def _read_argument(letter: str, payload: bytes, at: int) -> tuple[Any, int]:
    if letter == "s":
        return read_short_string(payload, at)
    if letter == "F":
        return read_table(payload, at)
    if letter == "S":
        end = at + 4 + _SHAPES["i"].unpack_from(payload, at)[0]
        return payload[at + 4 : end], end
    shape = _SHAPES[letter]
    return shape.unpack_from(payload, at)[0], at + shape.size
