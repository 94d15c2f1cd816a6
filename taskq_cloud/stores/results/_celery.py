"""Reads a result that Celery stored, for a table or a bucket that Celery's workers share with taskq workers."""

from __future__ import annotations

from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import Record, version_of
from taskq_cloud.errors import DecodeError


def record_of(task_id: str, stored: bytes, expires_at: float | None = None) -> Record:
    """Make a record of the bytes that Celery 5.7's key-value backends store for a task.

    Args:
        task_id: the task's id.
        stored: Celery's result document, compressed or not; the state is taken from the document.
        expires_at: when the record expires, in seconds since the epoch; None: never.

    Raises:
        DecodeError: the bytes can't be decoded; the error names the task and the Celery settings that are needed.
    """
    payload = _payload(task_id, stored)
    document = result_document.decode(payload)
    state, retries = document["status"], document.get("retries") or 0
    return Record(id=task_id, state=state, version=version_of(state, retries), payload=payload, expires_at=expires_at)


def _payload(task_id: str, stored: bytes) -> str:
    try:
        return unpacked(stored)
    except DecodeError as error:
        raise DecodeError(
            f"Celery's result of task {task_id} can't be read: {error}; set Celery's result_serializer to 'json', and "
            "its result_compression, if any, to 'gzip' or 'bzip2'",
            task_id,
        ) from error
