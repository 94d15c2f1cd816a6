"""Redis's protocol (RESP 2): commands as bytes, and answers from bytes. The module has no I/O.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass

_END: Final = b"\r\n"
_ARRAY, _BULK, _INTEGER, _SIMPLE, _ERROR = b"*$:+-"


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An answer that is an error.

    Args:
        code: its first word: ``"ERR"``, ``"WRONGTYPE"``.
        message: the server's whole text.
    """

    code: str
    message: str


class NotRedisError(Exception):
    """The bytes that came aren't an answer of this protocol."""


def packed(commands: Iterable[Sequence[Any]]) -> bytes:
    """Write commands, whose parts are texts, bytes and numbers."""
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for part in command:
            content = part if part.__class__ is bytes else str(part).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(content), content))
    return b"".join(parts)


class Replies:
    """Reads answers from the bytes of one connection: bytes, integers, None, lists of these, and ``ErrorReply``.

    A large answer comes in many pieces. They are joined once it can be complete, so that its cost grows with its size.
    """

    def __init__(self) -> None:
        self.complete: deque[Any] = deque()
        """The answers that have come and that nobody has taken."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = 1
        self._open: list[tuple[list[Any], int]] = []

    def feed(self, data: bytes) -> None:
        """Take the bytes that came next.

        Raises:
            NotRedisError: they aren't an answer.
        """
        self._pieces.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return
        buffer = data if len(self._pieces) == 1 else b"".join(self._pieces)
        try:
            position = self._read(buffer)
        except ValueError:
            raise NotRedisError(f"{buffer[:40]!r} isn't an answer of a Redis server") from None
        rest = buffer[position:]
        self._pieces, self._size = [rest] if rest else [], len(rest)

    def _read(self, buffer: bytes) -> int:
        """Read what is complete, and return where the rest begins."""
        position, size = 0, len(buffer)
        while True:
            end = buffer.find(_END, position)
            if end < 0:
                self._needed = size - position + 1
                return position
            kind, line = buffer[position], buffer[position + 1 : end]
            after = end + 2
            value: Any
            if kind == _BULK:
                length = int(line)
                if length < 0:
                    value = None
                else:
                    after += length + 2
                    if size < after:
                        self._needed = after - position
                        return position
                    value = buffer[end + 2 : after - 2]
            elif kind == _ARRAY:
                count = int(line)
                if count > 0:
                    self._open.append(([], count))
                    position = after
                    continue
                value = [] if count == 0 else None
            else:
                value = _value_of(kind, line)
            position = after
            self._add(value)

    def _add(self, value: Any) -> None:
        while self._open:
            items, count = self._open[-1]
            items.append(value)
            if len(items) < count:
                return
            self._open.pop()
            value = items
        self.complete.append(value)


def _value_of(kind: int, line: bytes) -> Any:
    if kind == _INTEGER:
        return int(line)
    if kind == _SIMPLE:
        return line
    if kind == _ERROR:
        message = line.decode(errors="replace")
        return ErrorReply(message.partition(" ")[0], message)
    raise ValueError(kind)
