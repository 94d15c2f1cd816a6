"""The limits on the bodies that are read: their bytes, and the memory that their values take.

A few bytes of text can stand for much memory: ``[],`` becomes a list of 64 bytes. So a body is looked at before it is
parsed, and refused if its values would take more than ``MEMORY_PER_BYTE`` times the largest body.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.errors import DecodeError

LARGEST_BODY_BYTES: Final = 4 * 1024 * 1024
"""The default of ``task_max_body_bytes``: four times SQS's largest message."""

MEMORY_PER_BYTE: Final = 8
"""The memory that the values of a body may take, for each byte of the largest body: an ordinary body takes 2 to 5."""

HEADERS_BYTES: Final = 1024 * 1024
"""The room for a message's headers, beside its body."""

OBJECT_BYTES: Final = 200
"""The memory of an object with one key (CPython 3.11 to 3.14)."""
LIST_BYTES: Final = 100
KEY_BYTES: Final = 60
VALUE_BYTES: Final = 48
_MOST_FOR_A_BYTE: Final = OBJECT_BYTES / len("{},")
"""The most memory that one byte of JSON stands for."""

_PART_BYTES: Final = 65_536
"""The part of a text that is looked at in one piece, while no other thread can run."""


def largest_text(most_bytes: int) -> int:
    """The longest text of a whole message, given the size of the largest body: JSON in JSON doubles its quotes."""
    return 2 * most_bytes + HEADERS_BYTES


def check_text(text: str, most_bytes: int) -> None:
    """Check the text of a whole message, before it is parsed.

    Args:
        text: JSON, whose strings may hold further JSON.
        most_bytes: the size of the largest body.

    Raises:
        DecodeError: the text is too long, or its values would take too much memory.
    """
    if len(text) > largest_text(most_bytes):
        raise DecodeError(
            f"the message has {len(text)} characters, and at most {largest_text(most_bytes)} are read ({remedy()})"
        )
    if len(text) * _MOST_FOR_A_BYTE > MEMORY_PER_BYTE * most_bytes:
        check_json(text.encode(errors="surrogatepass"), most_bytes)


def check_bytes(data: bytes, most_bytes: int) -> None:
    """Check the size of a body.

    Raises:
        DecodeError: the body has more than ``most_bytes``.
    """
    if len(data) > most_bytes:
        raise DecodeError(f"the body has {len(data)} bytes, and at most {most_bytes} are read ({remedy()})")


def check_json(data: bytes, most_bytes: int) -> None:
    """Check that the values of a JSON text don't take too much memory, without parsing the text.

    Args:
        data: the text.
        most_bytes: the size of the largest body.

    Raises:
        DecodeError: the values would take more than ``MEMORY_PER_BYTE`` times ``most_bytes``.
    """
    most_memory = MEMORY_PER_BYTE * most_bytes
    if len(data) * _MOST_FOR_A_BYTE <= most_memory or _memory_of(data) <= most_memory:
        return
    # Commas and brackets within strings were counted too.
    memory = _memory_outside_strings(data)
    if memory > most_memory:
        raise too_much_memory(memory, most_memory)


def too_much_memory(memory: int, most_memory: int) -> DecodeError:
    """The error for a body whose values would take too much memory."""
    return DecodeError(
        f"the body holds so many lists, objects and values that they would take {memory:,} bytes of memory or more; at "
        f"most {most_memory:,} are allowed ({remedy()})"
    )


def remedy() -> str:
    """The way out of a refusal, for error messages."""
    return "write large data to an object of your own and send its place, or raise task_max_body_bytes on all sides"


def _memory_of(data: bytes) -> int:
    return (
        OBJECT_BYTES * data.count(b"{")
        + LIST_BYTES * data.count(b"[")
        + KEY_BYTES * data.count(b":")
        + VALUE_BYTES * data.count(b",")
    )


def _memory_outside_strings(data: bytes) -> int:
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quotation mark that is left begins or ends a string
    memory, within = 0, False
    for start in range(0, len(data), _PART_BYTES):
        parts = data[start : start + _PART_BYTES].split(b'"')
        memory += _memory_of(b"".join(parts[within::2]))
        within ^= len(parts) % 2 == 0
    return memory
