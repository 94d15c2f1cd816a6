"""Converts a record to an item of a DynamoDB table and back, and reads the items that Celery wrote.

A task's item has the attributes that Celery's DynamoDB backend writes (``id``, ``result``, ``timestamp``, ``ttl``;
Celery 5.7, ``celery.backends.dynamodb``), so that Celery can read the item, and also ``state``, ``version`` and
``fence``, which a condition can compare. The calls are made in ``taskq_cloud.stores.results.dynamodb``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import DecodeError, PayloadTooLarge

Item: TypeAlias = dict[str, dict[str, Any]]
"""Attribute name -> ``{"S": ...}``, ``{"N": ...}``, ``{"B": ...}``, ``{"SS": ...}``."""

LARGEST_RECORD_BYTES: Final = 350 * 1024
"""The largest payload of one record. An item may have 400 KiB, including the names of its attributes ("Quotas in Amazon
DynamoDB"); ids take some of that, too."""


def _plain_key(task_id: str) -> str:
    return f"celery-task-meta-{task_id}"


def _celery_key(task_id: str) -> str:
    # Celery makes the key as bytes and then turns the bytes into a string, so b'...' is part of the key (celery#5455).
    return str(_plain_key(task_id).encode())


KEY_FORMATS: Final[Mapping[str, Callable[[str], str]]] = {"plain": _plain_key, "celery": _celery_key}
"""Key format -> the function that makes an item's key from a task's id."""


def numeric(value: float) -> dict[str, str]:
    """Write a number as an attribute."""
    return {"N": repr(value)}


def ttl(expires_at: float) -> dict[str, str]:
    """Write a time for DynamoDB's TTL: whole seconds since the epoch, rounded up, so that no item expires early."""
    return {"N": str(math.ceil(expires_at))}


def has_expired(item: Item, now: float) -> bool:
    """Whether an item has expired. DynamoDB itself removes an expired item only hours or days later."""
    return "ttl" in item and float(item["ttl"]["N"]) <= now


def from_record(record: Record, key: str, now: float) -> Item:
    """Make an item from a record.

    Args:
        record: the record.
        key: the item's key.
        now: the time, in seconds since the epoch.

    Raises:
        PayloadTooLarge: the payload exceeds the limit; the error names the task, the size, the limit and the remedy.
    """
    payload = record.body
    if len(payload) > LARGEST_RECORD_BYTES:
        raise PayloadTooLarge(
            f"the result of task {record.id} is {len(payload)} bytes; DynamoDB takes at most {LARGEST_RECORD_BYTES}: "
            "set TASKQ_PAYLOADS to a bucket for larger results, or store the data elsewhere and return its location"
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
    """Make a record from an item. Celery wrote an item without a version; the state is then read from the document.

    Args:
        task_id: the task's id.
        item: the item.

    Raises:
        DecodeError: the item isn't a result, or has a form that can't be read.
    """
    if "result" not in item:
        raise DecodeError(f"the stored result of task {task_id} has no attribute 'result': remove the item", task_id)
    expires_at = float(item["ttl"]["N"]) if "ttl" in item else None
    if "version" in item:
        return Record(
            id=task_id,
            state=item["state"]["S"],
            version=int(item["version"]["N"]),
            payload=unpacked(bytes(item["result"]["B"])),
            expires_at=expires_at,
            fence=int(item["fence"]["N"]),
        )
    from taskq_cloud.stores.results import _celery  # few tables are shared with Celery's workers

    return _celery.record_of(task_id, bytes(item["result"]["B"]), expires_at)
