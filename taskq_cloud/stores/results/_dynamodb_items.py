"""A record as an item of a DynamoDB table, and back; Celery's items are read as well.

A task's item has what Celery's DynamoDB backend writes (``id``, ``result``, ``timestamp``, ``ttl``; Celery 5.7,
``celery.backends.dynamodb``), so that it can read ours, and beside it ``state``, ``version`` and ``fence``, which a
condition can compare. Which calls are made is the store's business (``taskq_cloud.stores.results.dynamodb``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import DecodeError, PayloadTooLarge
from taskq_cloud.stores.results import _celery

Item: TypeAlias = dict[str, dict[str, Any]]
"""Attribute name -> ``{"S": ...}``, ``{"N": ...}``, ``{"B": ...}``, ``{"SS": ...}``."""

LARGEST_RECORD_BYTES: Final = 350 * 1024
"""An item may have 400 KiB, the names of its attributes included ("Quotas in Amazon DynamoDB"); ids take some too."""


def _plain_key(task_id: str) -> str:
    return f"celery-task-meta-{task_id}"


def _celery_key(task_id: str) -> str:
    # Celery makes its key of bytes and then a string of the bytes, so the b'...' is part of it (celery#5455).
    return str(_plain_key(task_id).encode())


KEY_FORMATS: Final[Mapping[str, Callable[[str], str]]] = {"plain": _plain_key, "celery": _celery_key}
"""How a task's id becomes an item's key."""


def numeric(value: float) -> dict[str, str]:
    """A number as an attribute."""
    return {"N": repr(value)}


def ttl(expires_at: float) -> dict[str, str]:
    """A time as DynamoDB's TTL takes it: whole seconds, rounded up, so that nothing ends early."""
    return {"N": str(math.ceil(expires_at))}


def has_expired(item: Item, now: float) -> bool:
    """Whether an item's time is over: DynamoDB itself removes it hours or days later."""
    return "ttl" in item and float(item["ttl"]["N"]) <= now


def from_record(record: Record, key: str, now: float) -> Item:
    """A record as an item.

    Raises:
        PayloadTooLarge: names the task, the size, the limit and the way out.
    """
    payload = record.payload.encode()
    if len(payload) > LARGEST_RECORD_BYTES:
        raise PayloadTooLarge(
            f"the result of task {record.id} is {len(payload)} bytes; DynamoDB takes at most {LARGEST_RECORD_BYTES}: "
            "set TASKQ_PAYLOADS to a bucket for what is larger, or store it elsewhere and return where it is"
        )
    item: Item = {
        "id": {"S": key},
        "result": {"B": payload},
        "timestamp": numeric(now),
        "state": {"S": record.state},
        "version": numeric(record.version),
        "fence": numeric(record.fence),
    }
    if record.expires_at is not None:
        item["ttl"] = ttl(record.expires_at)
    return item


def to_record(task_id: str, item: Item) -> Record:
    """An item as a record. One without a version was written by Celery: its document says what its state is.

    Raises:
        DecodeError: it is no result, or in a form that can't be read here.
    """
    if "result" not in item:
        raise DecodeError(f"the stored result of task {task_id} has no attribute 'result': remove the item", task_id)
    expires_at = float(item["ttl"]["N"]) if "ttl" in item else None
    if "version" in item:
        return Record(
            id=task_id,
            state=item["state"]["S"],
            version=int(item["version"]["N"]),
            payload=bytes(item["result"]["B"]).decode(),
            expires_at=expires_at,
            fence=int(item["fence"]["N"]),
        )
    return _celery.record_of(task_id, bytes(item["result"]["B"]), expires_at)
