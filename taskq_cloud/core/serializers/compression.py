"""Compression of bodies, with Celery's names and content types, and the limits on what a body may expand to.

A few bytes of text can stand for much memory: ``[],`` becomes a list of 64 bytes. So a body is looked at before it is
parsed, and refused if its values would take more than ``MEMORY_PER_BYTE`` times the largest body.

Source: kombu 5.7, ``kombu.compression``. zstd comes from the standard library from Python 3.14 on, before that from its
backport.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import ContentDisallowed, DecodeError, ImproperlyConfigured, MissingExtra

LARGEST_EXPANDED_BYTES: Final = 64 * 1024 * 1024
"""The largest size of a stored result when expanded: a few compressed kilobytes can hold gigabytes of zeros."""

LARGEST_BODY_BYTES: Final = 4 * 1024 * 1024
"""The default of ``task_max_body_bytes``: four times SQS's largest message."""

QUICK_CHARACTERS: Final = 65_536
"""Texts up to this length are decoded at once: a thread would cost more time than their JSON, which takes 1 ms."""

MEMORY_PER_BYTE: Final = 8
"""The memory that the values of a body may take, for each byte of the largest body: most bodies take less."""

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

LARGEST_LZMA_MEMORY_BYTES: Final = 128 * 1024 * 1024
"""The memory that LZMA may use: a header can ask for a dictionary of 4 GiB, and the strongest preset needs 65 MiB."""


@dataclass(frozen=True, slots=True)
class _Compression:
    """One compression.

    Args:
        names: its names in settings; errors show the first one.
        content_type: its name in messages.
        modules: modules that implement it; the first that can be imported is used.
        expander: makes an object with ``decompress(data, most_bytes)`` and ``eof`` of the module.
        error: the name of the module's exception; empty if the module has none.
    """

    names: tuple[str, ...]
    content_type: str
    modules: tuple[str, ...]
    expander: Callable[[Any], Any]
    error: str

    def module(self) -> Any:
        for name in self.modules:
            try:
                return import_module(name)
            except ImportError:
                continue
        raise MissingExtra(f"compression {self.names[0]!r}", self.names[0])


_COMPRESSIONS: Final = (
    # On Celery's wire gzip and zlib mean one thing: zlib's format with gzip's content type.
    _Compression(("gzip", "zlib"), "application/x-gzip", ("zlib",), lambda zlib: zlib.decompressobj(), "error"),
    _Compression(("bzip2", "bzip"), "application/x-bz2", ("bz2",), lambda bz2: bz2.BZ2Decompressor(), ""),
    _Compression(
        ("lzma", "xz"),
        "application/x-lzma",
        ("lzma",),
        lambda lzma: lzma.LZMADecompressor(memlimit=LARGEST_LZMA_MEMORY_BYTES),
        "LZMAError",
    ),
    _Compression(
        ("zstd", "zstandard"),
        "application/zstd",
        ("compression.zstd", "backports.zstd"),
        lambda zstd: zstd.ZstdDecompressor(),
        "ZstdError",
    ),
)
_BY_NAME: Final = {name: compression for compression in _COMPRESSIONS for name in compression.names}
_BY_CONTENT_TYPE: Final = {compression.content_type: compression for compression in _COMPRESSIONS}


def check_compression(name: str) -> None:
    """Check that a compression can be used here.

    Raises:
        ImproperlyConfigured: the compression is unknown, or its package is not installed.
    """
    _named(name).module()


def check_name(name: str) -> None:
    """Check the name of a compression, which need not be available here.

    Raises:
        ImproperlyConfigured: the compression is unknown.
    """
    _named(name)


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """Compress bytes, and return them with the compression's content type.

    Raises:
        ImproperlyConfigured: the compression is unknown, or its package is not installed.
    """
    compression = _named(name)
    packed: bytes = compression.module().compress(data)
    return packed, compression.content_type


def _named(name: str) -> _Compression:
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ImproperlyConfigured(f"unknown compression {name!r}; known: {', '.join(sorted(_BY_NAME))}") from None


def decompress(data: bytes, content_type: str, most_bytes: int = LARGEST_EXPANDED_BYTES) -> bytes:
    """Expand bytes that ``compress`` or Celery has compressed.

    Args:
        data: the compressed bytes.
        content_type: the compression's content type.
        most_bytes: the most bytes that they may expand to; no more are expanded.

    Raises:
        ContentDisallowed: the compression is unknown, or its package is not installed.
        DecodeError: the bytes are damaged, or they expand to more than ``most_bytes``.
    """
    compression = _BY_CONTENT_TYPE.get(content_type)
    if compression is None:
        raise ContentDisallowed(f"the compression {content_type!r} is unknown")
    try:
        module = compression.module()
    except MissingExtra as error:
        raise ContentDisallowed(str(error)) from None
    errors = (OSError, EOFError, ValueError, *((getattr(module, compression.error),) if compression.error else ()))
    try:
        expander = compression.expander(module)
        expanded: bytes = expander.decompress(data, most_bytes)
    except errors as error:
        raise DecodeError(f"the {content_type} body is damaged: {error}") from error
    if not expander.eof:
        raise DecodeError(f"the {content_type} body is damaged, or expands to more than {most_bytes} bytes")
    return expanded


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
    memory = _memory_outside_strings(data, most_memory)
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


def _memory_outside_strings(data: bytes, enough: int) -> int:
    """The memory that a text's values take, or of a first part of them more than ``enough``."""
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quotation mark that is left begins or ends a string
    memory, within = 0, False
    for start in range(0, len(data), _PART_BYTES):
        parts = data[start : start + _PART_BYTES].split(b'"')
        memory += _memory_of(b"".join(parts[within::2]))
        within ^= len(parts) % 2 == 0
        if memory > enough:
            break
    return memory
