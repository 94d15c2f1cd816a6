"""Writes our fields into the value that holds a document, for stores whose values are all that they keep of a key.

A document of JSON gets a further key, ``taskq``, as its last one: Celery reads the document and passes over the key.
Any other value, such as a compressed document, gets the fields as a frame behind it, which decompressors pass over:
those of zlib, bzip2 and LZMA end where their data ends, and Zstandard has skippable frames for this (RFC 8878, 3.1.2).

A value without fields was written by Celery.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Final

from taskq_cloud.stores.buckets import StoredObject

_UNTIL: Final = "until"
"""When the value may be removed, if no other field says it."""

_EXPIRES: Final = "expires"
"""When a record expires: one of the fields of ``_conditional_results``."""

_KEY: Final = re.compile(rb',"taskq":(\{[^{}]*\})\}\Z')
_LONGEST_BYTES: Final = 8192
"""The end of a value in which its fields are looked for: a state of hundreds of characters fits."""

_SKIPPABLE: Final = 0x184D2A5A
_FRAME: Final = struct.Struct("<II")
_MARK: Final = b"\x00taskq\x00"
_END: Final = struct.Struct("<I")

EXPIRY_PATTERN: Final = (
    rb'(?:,"taskq":|\x5a\x2a\x4d\x18.{4})\{[^{}]*"(?:expires|until)":"([0-9.e+-]+)"[^{}]*\}(?:\}|.{4}\x00taskq\x00)\Z'
)
"""The time at which a value may be removed, in its last bytes."""


def embedded(new: StoredObject) -> bytes:
    """The value that holds an object with its metadata and its expiry."""
    fields = dict(new.metadata)
    if new.expires_at is not None and _EXPIRES not in fields:
        fields[_UNTIL] = repr(new.expires_at)
    if not fields:
        return new.body
    text = json.dumps(fields, separators=(",", ":")).encode()
    if new.body[:1] == b"{" and new.body[-1:] == b"}" and new.body != b"{}":
        return b'%b,"taskq":%b}' % (new.body[:-1], text)
    content = text + _END.pack(len(text)) + _MARK
    return new.body + _FRAME.pack(_SKIPPABLE, len(content)) + content


def object_in(value: bytes, tag: str | None) -> StoredObject:
    """The object that a value holds.

    Args:
        value: the value.
        tag: the version of the value.
    """
    body, text = _parted(value)
    if text is None:
        return StoredObject(value, {}, tag)
    fields: dict[str, str] = json.loads(text)
    until = fields.get(_EXPIRES) or fields.pop(_UNTIL, None)
    return StoredObject(body, fields, tag, None if until is None else float(until))


def _parted(value: bytes) -> tuple[bytes, bytes | None]:
    if value.endswith(_MARK):
        end = len(value) - len(_MARK) - _END.size
        (length,) = _END.unpack_from(value, end)
        return value[: end - length - _FRAME.size], value[end - length : end]
    tail = value[-_LONGEST_BYTES:]
    found = _KEY.search(tail)
    if found is None:
        return value, None
    return value[: len(value) - len(tail) + found.start()] + b"}", found[1]
