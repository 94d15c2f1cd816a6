"""A result that Celery has stored, as a record: read where one of its workers shares a table or a bucket with ours."""

from __future__ import annotations

from typing import Final

from taskq_cloud.core import serializers
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import Record, version_of
from taskq_cloud.errors import DecodeError

_COMPRESSED: Final = b"\x00celery-compressed\x00"


def record_of(task_id: str, stored: bytes, expires_at: float | None = None) -> Record:
    """What Celery 5.7's key-value backends store for a task; its document says what its state is.

    Raises:
        DecodeError: it can't be read here; names the task and the settings that it takes.
    """
    payload = _payload(task_id, stored)
    document = result_document.decode(payload)
    state, retries = document["status"], document.get("retries") or 0
    return Record(id=task_id, state=state, version=version_of(state, retries), payload=payload, expires_at=expires_at)


def _payload(task_id: str, stored: bytes) -> str:
    try:
        if stored.startswith(_COMPRESSED):
            content_type, _, compressed = stored.removeprefix(_COMPRESSED).partition(b"\x00")
            stored = serializers.decompress(compressed, content_type.decode())
        return stored.decode()
    except (UnicodeDecodeError, DecodeError) as error:
        raise DecodeError(
            f"Celery's result of task {task_id} can't be read: {error}; Celery's result_serializer must be 'json', and "
            "its result_compression, if any, 'gzip' or 'bzip2'",
            task_id,
        ) from error
