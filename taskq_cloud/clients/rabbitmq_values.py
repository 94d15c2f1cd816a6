"""The values of AMQP 0-9-1 as bytes: short strings, tables, and the properties of a message.

Integers in tables are written as kombu's client writes them, as 32 or 64 bits. A table that comes from elsewhere may
have any type that RabbitMQ knows.

Source: RabbitMQ's "AMQP 0-9-1 Errata", section 3 (types in tables); AMQP 0-9-1 specification, section 4.2.5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final

LONGEST_SHORT_STRING: Final = 255

_U8: Final = struct.Struct(">B")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_LARGEST_INT32: Final = 2**31
_LARGEST_INT64: Final = 2**63

PROPERTIES: Final[tuple[tuple[str, str, int], ...]] = (
    ("content_type", "s", 1 << 15),
    ("content_encoding", "s", 1 << 14),
    ("headers", "F", 1 << 13),
    ("delivery_mode", "o", 1 << 12),
    ("priority", "o", 1 << 11),
    ("correlation_id", "s", 1 << 10),
    ("reply_to", "s", 1 << 9),
    ("expiration", "s", 1 << 8),
    ("message_id", "s", 1 << 7),
    ("timestamp", "L", 1 << 6),
    ("type", "s", 1 << 5),
    ("user_id", "s", 1 << 4),
    ("app_id", "s", 1 << 3),
    ("cluster_id", "s", 1 << 2),
)
"""Name, type and flag of each property: a short string, a table, an octet or a time."""


class ValueTooLargeError(ValueError):
    """A value doesn't fit into the form that AMQP has for it."""


def short_string(text: str) -> bytes:
    """Write a short string.

    Raises:
        ValueTooLargeError: it has more than 255 bytes.
    """
    data = text.encode()
    if len(data) > LONGEST_SHORT_STRING:
        raise ValueTooLargeError(f"{text[:60]!r}... has {len(data)} bytes, and AMQP takes 255 here")
    return _U8.pack(len(data)) + data


cached_short_string: Final = cache(short_string)
"""``short_string``, for names that come again: those of headers, exchanges and queues."""


def table(values: Mapping[str, Any]) -> bytes:
    """Write a table; raises ``ValueTooLargeError`` for an integer or a key that AMQP can't carry."""
    parts = []
    for name, value in values.items():
        parts.append(cached_short_string(name) if len(name) < _LONGEST_CACHED else short_string(name))
        if value is None:
            parts.append(b"V")
        elif type(value) is str:
            data = value.encode()
            parts += (_STRING_HEAD.pack(_STRING, len(data)), data)
        else:
            parts.append(_value(value))
    return _sized(b"".join(parts))


_LONGEST_CACHED: Final = 40
_STRING_HEAD: Final = struct.Struct(">BI")
_STRING: Final = ord("S")


def _sized(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


def _value(value: Any) -> bytes:
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    raise ValueTooLargeError(f"{value!r:.60} is a {type(value).__name__}, which a header of AMQP can't hold")


def _string(value: str) -> bytes:
    return b"S" + _sized(value.encode())


def _array(values: Sequence[Any]) -> bytes:
    return b"A" + _sized(b"".join([_value(each) for each in values]))


def _mapping(values: Mapping[Any, Any]) -> bytes:
    return b"F" + table({str(name): each for name, each in values.items()})


def _integer(value: int) -> bytes:
    if -_LARGEST_INT32 <= value < _LARGEST_INT32:
        return b"I" + struct.pack(">i", value)
    if -_LARGEST_INT64 <= value < _LARGEST_INT64:
        return b"l" + struct.pack(">q", value)
    raise ValueTooLargeError(f"{value} is an integer of more than 64 bits, which a header of AMQP can't hold")


_WRITERS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    str: _string,
    type(None): lambda _: b"V",
    bool: lambda value: b"t\x01" if value else b"t\x00",
    int: _integer,
    float: lambda value: b"d" + struct.pack(">d", value),
    list: _array,
    tuple: _array,
    dict: _mapping,
    bytes: lambda value: b"x" + _sized(value),
}


def read_short_string(data: bytes, at: int) -> tuple[str, int]:
    """Read a short string, and return it with the place behind it."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(errors="replace"), end


def read_table(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    """Read a table, and return it with the place behind it."""
    end = at + 4 + _U32.unpack_from(data, at)[0]
    at += 4
    found: dict[str, Any] = {}
    while at < end:
        name_end = at + 1 + data[at]
        name = _key(data[at + 1 : name_end])
        kind, at = data[name_end], name_end + 1
        if kind == _STRING:  # most values are texts or nothing
            begin = at + 4
            at = begin + _U32.unpack_from(data, at)[0]
            found[name] = data[begin:at].decode("utf-8", "replace")
        elif kind == _VOID:
            found[name] = None
        else:
            found[name], at = _READERS[kind](data, at)
    return found, end


@lru_cache(maxsize=1024)
def _key(data: bytes) -> str:
    """Read the name of a header, which is likely to come again."""
    return data.decode(errors="replace")


_VOID: Final = ord("V")


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    end = at + 4 + _U32.unpack_from(data, at)[0]
    return data[at + 4 : end].decode(errors="replace"), end


def _read_bytes(data: bytes, at: int) -> tuple[str, int]:
    # Envelopes are JSON, which has no bytes.
    return _read_string(data, at)


def _read_array(data: bytes, at: int) -> tuple[list[Any], int]:
    end = at + 4 + _U32.unpack_from(data, at)[0]
    at += 4
    found = []
    while at < end:
        value, at = _READERS[data[at]](data, at + 1)
        found.append(value)
    return found, end


def _read_bool(data: bytes, at: int) -> tuple[bool, int]:
    return data[at] != 0, at + 1


def _read_decimal(data: bytes, at: int) -> tuple[float, int]:
    value = Decimal(struct.unpack_from(">i", data, at + 1)[0]).scaleb(-data[at])
    return float(value), at + 5


def _plain(form: str) -> Callable[[bytes, int], tuple[Any, int]]:
    shape = struct.Struct(">" + form)

    def read(data: bytes, at: int) -> tuple[Any, int]:
        return shape.unpack_from(data, at)[0], at + shape.size

    return read


_READERS: Final[Mapping[int, Callable[[bytes, int], tuple[Any, int]]]] = {
    ord(kind): reader
    for kind, reader in {
        "S": _read_string,
        "x": _read_bytes,
        "F": read_table,
        "A": _read_array,
        "V": lambda _, at: (None, at),
        "t": _read_bool,
        "D": _read_decimal,
        "b": _plain("b"),
        "B": _plain("B"),
        "s": _plain("h"),
        "u": _plain("H"),
        "I": _plain("i"),
        "i": _plain("I"),
        "l": _plain("q"),
        "L": _plain("q"),  # py-amqp's, and so Celery's
        "T": _plain("Q"),
        "f": _plain("f"),
        "d": _plain("d"),
    }.items()
}


def properties(values: Mapping[str, Any]) -> bytes:
    """Write the flags and the properties of a message; raises ``ValueTooLargeError``."""
    flags, parts = 0, []
    for name, kind, flag in PROPERTIES:
        value = values.get(name)
        if value is None:
            continue
        flags |= flag
        if kind == "s":
            parts.append(short_string(value))
        elif kind == "F":
            parts.append(table(value))
        else:
            try:
                parts.append((_U8 if kind == "o" else _U64).pack(value))
            except struct.error:
                text = f"the property {name!r} is {value!r:.60}, and AMQP takes a whole number from 0 to 255 here"
                raise ValueTooLargeError(text) from None
    return _U16.pack(flags) + b"".join(parts)


def read_properties(data: bytes, at: int) -> dict[str, Any]:
    """Read the properties of a message from their flags on."""
    flags, at = _U16.unpack_from(data, at)[0], at + 2
    found: dict[str, Any] = {}
    for name, kind, flag in PROPERTIES:
        if not flags & flag:
            continue
        if kind == "s":
            found[name], at = read_short_string(data, at)
        elif kind == "F":
            found[name], at = read_table(data, at)
        elif kind == "o":
            found[name], at = data[at], at + 1
        else:
            found[name], at = _U64.unpack_from(data, at)[0], at + 8
    return found
