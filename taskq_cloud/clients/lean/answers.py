"""Reads HTTP/1.1 answers from the bytes of a connection, for both kinds of connections (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from taskq_cloud.core.flows import CallError

LARGEST_HEAD_BYTES: Final = 256 * 1024
"""The largest head of an answer, and the largest line in a chunked body."""

_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")

_FINAL: Final = 200
"""Answers with a lower status are provisional: another one follows."""


class Answer(NamedTuple):
    """An answer.

    Args:
        status: the HTTP status.
        headers: lower-case name -> value; the values of a repeated header are joined.
        fields: the headers as they came.
        body: the body.
    """

    status: int
    headers: dict[str, str]
    fields: list[tuple[str, str]]
    body: bytes


Look: TypeAlias = Callable[[int, dict[str, str]], CallError | None]
"""Looks at the status and the headers before the body is read; an error that it returns ends the call."""


class BrokenAnswerError(Exception):
    """The answer is not HTTP, or its end is missing."""


class AnswerReader:
    """Reads one answer.

    Args:
        look: looks at the head of the answer.
    """

    def __init__(self, look: Look | None = None) -> None:
        self.begun = False
        self.keeps_connection = False
        self._look = look
        self._status = 0
        self._headers: dict[str, str] = {}
        self._fields: list[tuple[str, str]] = []
        self._data = b""
        self._at = 0  # the bytes before it have been read
        self._parts: list[bytes] = []
        self._missing = 0
        self._step: Callable[[], bool | None] = self._read_head  # None: go on with the step that is now set

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, and return whether the answer is complete.

        Raises:
            BrokenAnswerError: the bytes are not an answer.
            CallError: ``look`` has refused the answer.
        """
        self.begun = True
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        while (complete := self._step()) is None:
            pass
        return complete

    def end(self) -> bool:
        """Note the end of the connection, and return whether the answer is complete."""
        self.keeps_connection = False
        return self._step == self._read_to_end

    def answer(self) -> Answer:
        """Return the answer, which is complete."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        return Answer(self._status, self._headers, self._fields, body)

    def _read_head(self) -> bool | None:
        while True:
            end = self._data.find(b"\r\n\r\n", self._at)
            if end < 0:
                if len(self._data) > LARGEST_HEAD_BYTES:
                    raise BrokenAnswerError("the answer's head has no end")
                return False
            head, self._at = self._data[self._at : end], end + 4
            self._take_head(head.decode("latin-1"))
            if self._status >= _FINAL:
                break
        self._choose_body()
        if self._look is not None:
            refused = self._look(self._status, self._headers)
            if refused is not None:
                raise refused
        return None

    def _take_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or len(status) < len("200") or not status.isdecimal():
            raise BrokenAnswerError(f"the answer begins with {first[:80]!r}")
        self._status = int(status)
        headers: dict[str, str] = {}
        fields: list[tuple[str, str]] = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise BrokenAnswerError(f"the answer has the header {line[:80]!r}")
            value = value.strip(" \t")
            fields.append((name, value))
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._headers, self._fields = headers, fields
        wanted = {each.strip() for each in headers.get("connection", "").lower().split(",")}
        self.keeps_connection = "close" not in wanted and (version == "HTTP/1.1" or "keep-alive" in wanted)

    def _choose_body(self) -> None:
        length = self._headers.get("content-length")
        if self._status in (204, 304):
            self._missing, self._step = 0, self._read_length
        elif "chunked" in self._headers.get("transfer-encoding", "").lower():
            self._step = self._read_chunk_size
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise BrokenAnswerError(f"the answer has the length {length[:80]!r}")
            self._missing, self._step = int(length), self._read_length
        else:
            self.keeps_connection, self._step = False, self._read_to_end

    def _read_length(self) -> bool:
        if not self._take():
            return False
        self._look_for_more()
        return True

    def _look_for_more(self) -> None:
        if self._at < len(self._data):  # an answer that nobody asked for
            self.keeps_connection = False

    def _read_to_end(self) -> bool:
        self._parts.append(self._data[self._at :])
        self._at = len(self._data)
        return False

    def _read_chunk_size(self) -> bool | None:
        line = self._line()
        if line is None:
            return False
        size = line.partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            raise BrokenAnswerError(f"a chunk of the answer begins with {line[:80]!r}")
        self._missing = int(size, 16)
        self._step = self._read_chunk if self._missing else self._read_trailer
        return None

    def _read_chunk(self) -> bool | None:
        if not self._take() or len(self._data) < self._at + len(b"\r\n"):
            return False
        if not self._data.startswith(b"\r\n", self._at):
            raise BrokenAnswerError("a chunk of the answer is longer than its size")
        self._at += len(b"\r\n")
        self._step = self._read_chunk_size
        return None

    def _read_trailer(self) -> bool:
        while (line := self._line()) is not None:
            if not line:
                self._look_for_more()
                return True
        return False

    def _take(self) -> bool:
        """Take the bytes of the body that are there, and return whether all have come."""
        if self._missing:
            taken = self._data[self._at : self._at + self._missing]
            self._at += len(taken)
            self._missing -= len(taken)
            self._parts.append(taken)
        return self._missing == 0

    def _line(self) -> bytes | None:
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            if len(self._data) - self._at > LARGEST_HEAD_BYTES:
                raise BrokenAnswerError("a line of the answer has no end")
            return None
        line, self._at = self._data[self._at : end], end + len(b"\r\n")
        return line
