"""Bytes of arguments and results: serializers and compression, under the names and content types Celery gives them.

JSON carries what Celery's JSON carries beyond the standard: each such value as ``{"__type__": ..., "__value__": ...}``.
Source: kombu 5.7, ``kombu.utils.json`` and ``kombu.compression``.
"""

from __future__ import annotations

import base64
import bz2
import json
import pickle
import uuid
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from taskq_cloud.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured

LARGEST_EXPANDED_BYTES: Final = 64 * 1024 * 1024
"""A compressed body that grows past this is refused: a few kilobytes can hold gigabytes of zeros."""


def dumps(value: Any) -> str:
    """Encode a value as compact JSON text, with the rich types.

    Raises:
        EncodeError: names the part of the value that JSON can't carry.
    """
    try:
        text = json.dumps(value, default=_rich, separators=(",", ":"))
        if '"__type__"' in text:
            # A dict of the caller's own may look like a rich value that nobody can read: better refused here.
            loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"not serialisable as JSON: {error}") from error
    return text


def loads(text: str | bytes) -> Any:
    """Decode JSON text, with the rich types.

    Raises:
        DecodeError: it is not JSON, or names a type that is not known here.
    """
    try:
        return json.loads(text, object_hook=_from_rich)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DecodeError(f"not readable as JSON: {error}") from error


def _rich(value: Any) -> Any:
    reduce_to_json = getattr(value, "__json__", None)
    if reduce_to_json is not None:
        return reduce_to_json()
    if isinstance(value, bytes):
        try:
            return {"__type__": "bytes", "__value__": value.decode()}
        except UnicodeDecodeError:
            return {"__type__": "base64", "__value__": base64.b64encode(value).decode()}
    for kind, name, encode in _ENCODERS:
        if isinstance(value, kind):
            return {"__type__": name, "__value__": encode(value)}
    raise TypeError(f"{value!r:.200} of type {type(value).__module__}.{type(value).__qualname__}")


def _from_rich(pairs: dict[str, Any]) -> Any:
    if pairs.keys() != {"__type__", "__value__"}:
        return pairs
    decode = _DECODERS.get(pairs["__type__"]) if isinstance(pairs["__type__"], str) else None
    if decode is None:
        raise ValueError(f"unknown __type__ {pairs['__type__']!r}")
    return decode(pairs["__value__"])


# datetime stands before date, of which it is a subclass.
_ENCODERS: Final[tuple[tuple[type, str, Callable[[Any], Any]], ...]] = (
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (Decimal, "decimal", str),
    (uuid.UUID, "uuid", lambda value: {"hex": value.hex}),
)
_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda value: datetime.fromisoformat(value).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda value: uuid.UUID(hex=value["hex"]),
    "bytes": str.encode,
    "base64": lambda value: base64.b64decode(value, validate=True),
}


@dataclass(frozen=True, slots=True)
class Serializer:
    """A way to make bytes of a value.

    Args:
        name: as settings name it.
        content_type: as messages name it.
        encoding: ``utf-8`` where the bytes are text, ``binary`` where they are not.
        encode: value -> bytes.
        decode: bytes -> value.
    """

    name: str
    content_type: str
    encoding: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _pickle_loads(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:  # a pickle may raise anything at all
        raise DecodeError(f"not readable as pickle: {type(error).__name__}: {error}") from error


def _pickle_dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception as error:  # likewise
        raise EncodeError(f"not serialisable as pickle: {error}") from error


_SERIALIZERS: Final = (
    Serializer("json", "application/json", "utf-8", lambda value: dumps(value).encode(), loads),
    Serializer("pickle", "application/x-python-serialize", "binary", _pickle_dumps, _pickle_loads),
)
_BY_NAME: Final = {serializer.name: serializer for serializer in _SERIALIZERS}
_BY_CONTENT_TYPE: Final = {serializer.content_type: serializer for serializer in _SERIALIZERS}


def serializer_named(name: str) -> Serializer:
    """The serializer that settings call ``name``.

    Raises:
        ImproperlyConfigured: there is none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ImproperlyConfigured(f"unknown serializer {name!r}; known: {', '.join(sorted(_BY_NAME))}") from None


def serializer_for(content_type: str, accept: Collection[str]) -> Serializer:
    """The serializer of a content type, if it is accepted.

    Args:
        content_type: as the message names it.
        accept: the names or content types of the serializers that may be read (``accept_content``).

    Raises:
        ContentDisallowed: it is unknown, or not accepted.
    """
    serializer = _BY_CONTENT_TYPE.get(content_type) or _BY_NAME.get(content_type)
    if serializer is not None and (serializer.name in accept or serializer.content_type in accept):
        return serializer
    known = "not accepted" if serializer else "unknown"
    raise ContentDisallowed(f"content type {content_type!r} is {known} here (accept_content: {', '.join(accept)})")


# gzip and zlib are the same thing on Celery's wire: zlib's format, under gzip's content type.
_COMPRESSIONS: Final[dict[str, tuple[str, Callable[[bytes], bytes], Callable[[], Any]]]] = {
    "zlib": ("application/x-gzip", zlib.compress, zlib.decompressobj),
    "gzip": ("application/x-gzip", zlib.compress, zlib.decompressobj),
    "bzip2": ("application/x-bz2", bz2.compress, bz2.BZ2Decompressor),
}
_DECOMPRESSORS: Final = {content_type: make for content_type, _, make in _COMPRESSIONS.values()}


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """Compress; the bytes, and the content type that says how.

    Raises:
        ImproperlyConfigured: the compression is unknown.
    """
    try:
        content_type, deflate, _ = _COMPRESSIONS[name]
    except KeyError:
        raise ImproperlyConfigured(f"unknown compression {name!r}; known: {', '.join(sorted(_COMPRESSIONS))}") from None
    return deflate(data), content_type


def decompress(data: bytes, content_type: str) -> bytes:
    """Undo ``compress``.

    Raises:
        DecodeError: the compression is unknown, the bytes are damaged, or they grow past ``LARGEST_EXPANDED_BYTES``.
    """
    make = _DECOMPRESSORS.get(content_type)
    if make is None:
        raise ContentDisallowed(f"compression {content_type!r} is unknown here")
    expander = make()
    try:
        expanded: bytes = expander.decompress(data, LARGEST_EXPANDED_BYTES)
    except (zlib.error, OSError, EOFError, ValueError) as error:
        raise DecodeError(f"damaged {content_type} body: {error}") from error
    if not expander.eof:
        raise DecodeError(f"damaged {content_type} body, or one of more than {LARGEST_EXPANDED_BYTES} bytes")
    return expanded
