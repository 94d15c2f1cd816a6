"""Rows of tables that Celery's backends read and write, too: Celery's columns, and ours beside them.

A document is taken apart: its result goes into Celery's column, and what is around it into ``taskq_frame``, with a
control character in the result's place. So it is stored once, and read as it was written. Celery writes a row without
our columns. If the state or the checksum of the result differs from ours, Celery has written the row after us, and the
record is made of Celery's columns.

=======================  ==========================================================================================
``taskq_state``          the state that we have written
``taskq_version``        the record's version
``taskq_fence``          the record's fence
``taskq_expires_at``     when the record expires, in seconds since the epoch
``taskq_check``          the checksum of Celery's column ``result`` as we have written it
``taskq_frame``          the document without its result
``taskq_token``          the token of the last write, in MySQL only (``_sql_statements``)
=======================  ==========================================================================================
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.compressed import MARKER, packed, unpacked
from taskq_cloud.core.records.record import Record, version_of
from taskq_cloud.errors import DecodeError

OUR_COLUMNS: Final = {
    "taskq_state": "text",
    "taskq_version": "integer",
    "taskq_fence": "bigint",
    "taskq_expires_at": "double precision",
    "taskq_check": "bigint",
    "taskq_frame": "text",
}
"""Column -> its type in PostgreSQL."""

_HOLE: Final = "\x1f"
"""The place of the result in a frame. No JSON has this character in it."""
_HEAD: Final = re.compile(r'\{"status": ?"[^"\\]*", ?"result": ?')
_SCANNER: Final = json.JSONDecoder()
_COMPRESSIONS: Final = {
    "application/x-gzip": "gzip",
    "application/x-bz2": "bzip2",
    "application/x-lzma": "lzma",
    "application/zstd": "zstd",
}
"""The content type of a compressed document -> the name of its compression."""
_PICKLE: Final = b"\x80"
"""The first byte of every pickle since protocol 2."""


def parted(payload: str) -> tuple[str, str | None]:
    """Take a document apart.

    Returns:
        The frame, and the JSON of the result; None: the document has another form, and the frame is all of it.
    """
    head = _HEAD.match(payload)
    if head is None:
        return payload, None
    try:
        _, end = _SCANNER.raw_decode(payload, head.end())
    except ValueError:
        return payload, None
    return f"{payload[: head.end()]}{_HOLE}{payload[end:]}", payload[head.end() : end]


def around(frame: str) -> Mapping[str, Any]:
    """The document of a frame, with None as its result."""
    found: Mapping[str, Any] = serializers.loads(frame.replace(_HOLE, "null", 1))
    return found


def our_columns(record: Record, frame: str, result: bytes | None) -> dict[str, Any]:
    """The values of our columns."""
    return {
        "taskq_state": record.state,
        "taskq_version": record.version,
        "taskq_fence": record.fence,
        "taskq_expires_at": record.expires_at,
        "taskq_check": _checksum(result),
        "taskq_frame": frame,
    }


def our_record(record_id: str, row: Mapping[str, Any], result: bytes | None) -> Record | None:
    """Read a record that we have written; None: Celery has written the row since, or alone.

    Args:
        record_id: the record's id.
        row: the row.
        result: the bytes of its result, as they are stored.
    """
    state, frame = row["taskq_state"], row["taskq_frame"]
    if state is None or frame is None or row.get("status", state) != state or row["taskq_check"] != _checksum(result):
        return None
    payload = frame if result is None else frame.replace(_HOLE, unpacked(result), 1)
    return Record(record_id, state, row["taskq_version"], payload, row["taskq_expires_at"], row["taskq_fence"])


def celerys_record(record_id: str, document: Mapping[str, Any], result: bytes | None) -> Record:
    """Make a record of a row that Celery has written.

    Args:
        record_id: the record's id.
        document: the document without its result; its ``status`` is the state.
        result: the stored result: JSON, compressed or not, or a pickle of plain values.

    Raises:
        DecodeError: the result can't be decoded; the error names the task and the Celery setting that is needed.
    """
    state, retries = document["status"], document.get("retries") or 0
    rest = {name: value for name, value in document.items() if name != "status" and value is not None}
    rest = {"traceback": None, "children": [], "date_done": None, **rest, "task_id": record_id}
    text = f'{{"status":{json.dumps(state)},"result":{_json_of(record_id, result)},{serializers.dumps(rest)[1:]}'
    return Record(record_id, state, version_of(state, retries), text)


def plain_value(record_id: str, stored: bytes | None) -> Any:
    """Decode a value of another column than the result: arguments, or children."""
    return None if stored is None else serializers.loads(_json_of(record_id, stored))


def encoded(value: Any) -> bytes | None:
    """Write a value as Celery writes it into a column of its own; None for an empty one."""
    return serializers.dumps(value).encode() if value else None


def text_of(value: Any) -> str:
    """Write a value as JSON."""
    return serializers.dumps(value)


def storable(text: Any, longest: int | None = None) -> str | None:
    """A text that a column of Celery's can have: without what PostgreSQL, or UTF-8, has no character for.

    The traceback of an error has any characters that are in the error's text. The frame has them all.

    Args:
        text: the text; None: none.
        longest: the most characters that fit.
    """
    if text is None:
        return None
    return str(text)[:longest].replace("\0", "\ufffd").encode(errors="replace").decode()


def stored_bytes(text: str | None, encoding: str) -> bytes | None:
    """The bytes that a column of text stands for: Celery writes those of binary serializers in base64."""
    if text is None:
        return None
    return base64.b64decode(text) if encoding == "binary" else text.encode()


def described_value(record_id: str, text: str | None, encoding: str) -> Any:
    """Decode arguments, which django-celery-results stores as their ``repr``, encoded or not."""
    try:
        return plain_value(record_id, stored_bytes(text, encoding))
    except (DecodeError, binascii.Error):
        return text


def time_done(document: Mapping[str, Any]) -> datetime | None:
    """When a task ended, by its document, in UTC."""
    done = result_document.date_done(document)
    return None if done is None else done.astimezone(UTC)


def written_time(stored: datetime | str | None) -> str | None:
    """A time in UTC that a database has without its time zone, as documents write it."""
    if stored is None:
        return None
    time = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)).isoformat()


def packed_like(record: Record, result: str) -> bytes:
    """The bytes of a result, compressed if the record's document is."""
    if record.packed is None or not record.packed.startswith(MARKER):
        return result.encode()
    content_type = record.packed.removeprefix(MARKER).partition(b"\x00")[0].decode()
    return packed(result, _COMPRESSIONS[content_type])


def _checksum(stored: bytes | None) -> int:
    return -1 if stored is None else zlib.crc32(stored)


def _json_of(record_id: str, stored: bytes | None) -> str:
    """The JSON of a value that Celery has stored."""
    if stored is None:
        return "null"
    try:
        if stored.startswith(_PICKLE):
            return serializers.dumps(_Plain(io.BytesIO(stored)).load())
        text = unpacked(stored)
        serializers.loads(text)
    except (DecodeError, pickle.UnpicklingError, TypeError, ValueError, EOFError, IndexError, KeyError) as error:
        raise DecodeError(
            f"Celery's result of task {record_id} can't be read: {error}; set Celery's result_serializer to 'json', "
            "and its result_compression, if any, to 'gzip' or 'bzip2'",
            record_id,
        ) from error
    else:
        return text


class _Plain(pickle.Unpickler):
    """Reads pickles of numbers, texts, lists and the like, as Celery before 5.7 wrote results; nothing with code."""

    def find_class(self, module: str, name: str, /) -> Any:
        """Refuse to import anything: a pickle could run whatever its writer likes."""
        raise pickle.UnpicklingError(f"the result is a pickle with {module}.{name} in it")
