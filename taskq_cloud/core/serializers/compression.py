"""Compression of bodies, under the names and content types that Celery gives it.

Source: kombu 5.7, ``kombu.compression``. zstd is the standard library's from Python 3.14 on, its backport before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from taskq_cloud.errors import ContentDisallowed, DecodeError, ImproperlyConfigured, MissingExtra

LARGEST_EXPANDED_BYTES: Final = 64 * 1024 * 1024
"""A compressed body that grows past this is refused: a few kilobytes can hold gigabytes of zeros."""

LARGEST_LZMA_MEMORY_BYTES: Final = 128 * 1024 * 1024
"""An LZMA header may ask for a dictionary of 4 GiB; the strongest preset needs 65 MiB."""


@dataclass(frozen=True, slots=True)
class _Compression:
    """One way to compress.

    Args:
        names: as settings name it; the first is the one errors show.
        content_type: as messages name it.
        modules: where it is implemented; the first that can be imported.
        expander: the module -> an object with ``decompress(data, most_bytes)`` and ``eof``.
        error: the module's exception, by name.
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
    # gzip and zlib are the same thing on Celery's wire: zlib's format, under gzip's content type.
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
    """Whether a compression can be used here.

    Raises:
        ImproperlyConfigured: it is unknown, or its package is not installed.
    """
    _named(name).module()


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """Compress; the bytes, and the content type that says how.

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


def decompress(data: bytes, content_type: str) -> bytes:
    """Undo ``compress``.

    Raises:
        ContentDisallowed: the compression is unknown, or its package is not installed.
        DecodeError: the bytes are damaged, or they grow past ``LARGEST_EXPANDED_BYTES``.
    """
    compression = _BY_CONTENT_TYPE.get(content_type)
    if compression is None:
        raise ContentDisallowed(f"compression {content_type!r} is unknown here")
    try:
        module = compression.module()
    except MissingExtra as error:
        raise ContentDisallowed(str(error)) from None
    errors = (OSError, EOFError, ValueError, *((getattr(module, compression.error),) if compression.error else ()))
    try:
        expander = compression.expander(module)
        expanded: bytes = expander.decompress(data, LARGEST_EXPANDED_BYTES)
    except errors as error:
        raise DecodeError(f"damaged {content_type} body: {error}") from error
    if not expander.eof:
        raise DecodeError(f"damaged {content_type} body, or one of more than {LARGEST_EXPANDED_BYTES} bytes")
    return expanded
