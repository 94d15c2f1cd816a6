"""Reads and writes the frames of Cassandra's native protocol, version 4.

Source: "CQL Binary Protocol v4".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 4
HEADER: Final = struct.Struct(">BBhBI")
ERROR, READY, AUTHENTICATE, SUPPORTED, RESULT, AUTHENTICATED = 0x00, 0x02, 0x03, 0x06, 0x08, 0x10
VOID, ROWS, SET_KEYSPACE, PREPARED, SCHEMA_CHANGE = range(1, 6)

PROTOCOL: Final = 0x000A
BAD_CREDENTIALS: Final = 0x0100
UNAVAILABLE: Final = 0x1000
OVERLOADED: Final = 0x1001
WRITE_TIMEOUT: Final = 0x1100
READ_TIMEOUT: Final = 0x1200
SYNTAX: Final = 0x2000
UNAUTHORIZED: Final = 0x2100
INVALID: Final = 0x2200
CONFIGURATION: Final = 0x2300
EXISTS: Final = 0x2400
UNPREPARED: Final = 0x2500

_TYPES: Final = {
    "text": 0x0D,
    "blob": 0x03,
    "timestamp": 0x0B,
    "boolean": 0x04,
    "int": 0x09,
    "uuid": 0x0C,
    "inet": 0x10,
}


@dataclass(frozen=True)
class Failure:
    """An error that a statement gets.

    Args:
        code: the error's code.
        message: its text.
        more: what the error's frame has behind the text.
        carries_out: whether the statement is carried out nevertheless.
    """

    code: int
    message: str
    more: bytes = b""
    carries_out: bool = False


def unavailable() -> Failure:
    """Too few replicas are up."""
    return Failure(UNAVAILABLE, "Cannot achieve consistency level LOCAL_QUORUM", struct.pack(">HII", 6, 2, 1))


def read_timeout() -> Failure:
    """Too few replicas have answered a read."""
    more = struct.pack(">HIIB", 6, 1, 2, 0)
    return Failure(READ_TIMEOUT, "Operation timed out - received only 1 responses.", more)


def write_timeout(kind: str = "CAS", *, carries_out: bool) -> Failure:
    """Too few replicas have answered a write, which may have been carried out."""
    more = struct.pack(">HII", 6, 1, 2) + string(kind)
    return Failure(WRITE_TIMEOUT, "Operation timed out - received only 1 responses.", more, carries_out)


def overloaded() -> Failure:
    """The node has too many requests."""
    return Failure(OVERLOADED, "Server is overloaded")


class Refused(Exception):
    def __init__(self, code: int, message: str, more: bytes = b"") -> None:
        super().__init__(message)
        self.failure = Failure(code, message, more)


class Body:
    """Reads the parts of a frame's body."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take(self, length: int) -> bytes:
        self._place += length
        return self._content[self._place - length : self._place]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def value(self) -> bytes | None:
        length = int.from_bytes(self.take(4), "big", signed=True)
        return None if length < 0 else self.take(length)

    def short_bytes(self) -> bytes:
        return self.take(self.short())

    def long_string(self) -> str:
        return (self.value() or b"").decode()

    def parameters(self) -> list[bytes | None]:
        """The values of a query."""
        self.short()
        flags = self.byte()
        return [self.value() for _ in range(self.short())] if flags & 1 else []


def string(text: str) -> bytes:
    return short_bytes(text.encode())


def short_bytes(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content


def options(given: Mapping[str, Sequence[str]]) -> bytes:
    content = struct.pack(">H", len(given))
    for name, values in given.items():
        content += string(name) + struct.pack(">H", len(values)) + b"".join(map(string, values))
    return content


def error(failure: Failure) -> bytes:
    return struct.pack(">I", failure.code) + string(failure.message) + failure.more


def columns_of(columns: Sequence[tuple[str, str]]) -> bytes:
    return b"".join(string(name) + struct.pack(">H", _TYPES[kind]) for name, kind in columns)


def metadata(columns: Sequence[tuple[str, str]], table: tuple[str, str]) -> bytes:
    return struct.pack(">II", 1, len(columns)) + string(table[0] or "celery") + string(table[1]) + columns_of(columns)


def rows(columns: Sequence[tuple[str, str]], found: Sequence[Mapping[str, Any]], table: tuple[str, str]) -> bytes:
    content = struct.pack(">I", ROWS) + metadata(columns, table) + struct.pack(">I", len(found))
    return content + b"".join(encoded(kind, row.get(name)) for row in found for name, kind in columns)


def encoded(kind: str, value: Any) -> bytes:
    match value:
        case None:
            return struct.pack(">i", -1)
        case bool():
            content = bytes([value])
        case int():
            content = struct.pack(">q" if kind == "timestamp" else ">i", value)
        case str():
            content = value.encode()
        case _:
            content = value
    return struct.pack(">i", len(content)) + content


def decoded(kind: str, value: bytes | None) -> Any:
    if value is None:
        return None
    match kind:
        case "text":
            return value.decode()
        case "timestamp" | "int":
            return int.from_bytes(value, "big", signed=True)
    return value
