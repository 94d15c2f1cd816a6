"""Compression of bodies, with Celery's names and content types.

Source: kombu 5.7, ``kombu.compression``. zstd comes from the standard library from Python 3.14 on, before that from its
backport.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from taskq_cloud.errors import ContentDisallowed, DecodeError, ImproperlyConfigured, MissingExtra

LARGEST_EXPANDED_BYTES: Final = 64 * 1024 * 1024
"""The largest size of a stored result when expanded: a few compressed kilobytes can hold gigabytes of zeros."""

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
