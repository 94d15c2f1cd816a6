"""Compressed result documents, in the form of Celery's key-value backends: a marker, the content type, and the bytes.

A document says by its marker whether it is compressed. So results are read whatever the setting ``result_compression``
is, and by whoever wrote them.

Source: Celery 5.7, ``celery.backends.base``.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.core import serializers
from taskq_cloud.errors import DecodeError

MARKER: Final = b"\x00celery-compressed\x00"
"""The beginning of a compressed document. No document of JSON begins with a zero byte."""


def packed(payload: str, compression: str) -> bytes:
    """Compress a document.

    Args:
        payload: the document.
        compression: the name of the compression.

    Raises:
        ImproperlyConfigured: the compression is unknown, or its package is not installed.
    """
    body, content_type = serializers.compress(payload.encode(), compression)
    return b"%b%b\x00%b" % (MARKER, content_type.encode(), body)


def unpacked(stored: bytes) -> str:
    """The document of stored bytes, compressed or not.

    Raises:
        DecodeError: the bytes are damaged, or aren't text.
        ContentDisallowed: the compression is unknown, or its package is not installed.
    """
    if stored.startswith(MARKER):
        content_type, _, body = stored.removeprefix(MARKER).partition(b"\x00")
        stored = serializers.decompress(body, content_type.decode(errors="replace"))
    try:
        return stored.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"the stored result isn't text: {error}") from None
