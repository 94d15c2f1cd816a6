"""Stores results as objects of a bucket: the part that S3, Azure Blob Storage and Google Cloud Storage have in common.

This module defines the objects. A provider's operations and error codes are in the provider's adapter, which
implements ``Bucket`` (``stores.buckets``). Every write is conditional, either on the object's absence or on the tag of
the object that was read (``_conditional_objects``), so the service itself keeps a late or repeated attempt from
replacing a final state.

=========================================  =====================================================================
``celery-task-meta-<id>``                  a task's result document, with the key and the body of Celery's backends;
                                           the compared fields are metadata: state, version, fence, expires
``taskq-claim-<key>``                      the fenced lock on a claimed key: owner, fence, lapses_at
``taskq-rate-<key>``                       the next slot of a rate limit
``taskq-join-place-<join>/<member>``       a member's arrival at a join, or a marker: see ``_object_joins``
=========================================  =====================================================================

One request writes the metadata together with the body. An object without metadata was written by Celery, which writes
without conditions: Celery's last write stands. Reads leave out expired objects; the bucket's lifecycle removes them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import ClassVar, Final
from urllib.parse import SplitResult, quote, unquote

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.rates import take_slot
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FencedLock, Record, claimed, may_replace
from taskq_cloud.errors import PayloadTooLarge
from taskq_cloud.stores.buckets import Bucket, LifecycleRule, StoredObject
from taskq_cloud.stores.results import _celery
from taskq_cloud.stores.results import _object_joins as joins
from taskq_cloud.stores.results._conditional_objects import LARGEST_RECORD_BYTES, ConditionalObjects

SAFE_CHARACTERS: Final = "!*'()"
"""The characters that a key may contain besides letters, digits and ``_.-~``. Other characters of an id are percent-
encoded, above all "/", since clients shorten "a/../b" (Amazon S3 User Guide, "Object key naming guidelines")."""

RESERVATIONS_PER_SECOND: Final = 5
"""The most reservations of one key in a second. Each one reads an object and then writes it, which takes about 50 ms a
call, and writers that conflict start again."""

_DAY_SECONDS: Final = 86_400


class ObjectResults:
    """A result store on a bucket.

    Args:
        bucket: the provider's bucket.
        prefix: the prefix of all keys; a ``/`` is added to it.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=True,
    )

    def __init__(self, bucket: Bucket, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self.objects = ConditionalObjects(bucket)
        self.prefix = f"{prefix}/" if prefix else ""
        self._clock = clock

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records, one call each, in parallel: see ``ResultStore.load``.

        Raises:
            DecodeError: Celery wrote a record that can't be decoded; the error names the task.
        """
        keys = {self._key(each): each for each in ids}
        now = self._clock()
        found = yield from self.objects.read(keys)
        records = (_record_of(keys[key], stored) for key, stored in found.items() if stored is not None)
        return {each.id: each for each in records if each.expires_at is None or each.expires_at > now}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records, in parallel: see ``ResultStore.save``.

        Raises:
            PayloadTooLarge: a payload exceeds the limit; the error names the task, the size, the limit and the remedy.
        """
        now = self._clock()
        new = {self._key(each.id): (each, _object_of(each)) for each in records}
        written = yield from self.objects.change({key: partial(_replacement, *each, now) for key, each in new.items()})
        return [written[key] is not None for key in new]

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        yield from self.objects.delete(dict.fromkeys(map(self._key, ids)))

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member, in one write for most members: see ``ResultStore.join`` and ``_object_joins``."""
        arrival = joins.Arrival(int(member), self._clock(), expires_at)
        directory = f"{self.prefix}{joins.PREFIX}{_quoted(join_id)}/"
        return (yield from joins.Join(self.objects, directory, size, arrival).arrive())

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Take, renew or give up the fenced lock on a key: see ``ResultStore.claim``."""
        name, now = f"{self.prefix}taskq-claim-{_quoted(key)}", self._clock()

        def decide(stored: StoredObject | None) -> StoredObject | None:
            held = None if stored is None else FencedLock(**json.loads(stored.body))
            lock = claimed(held, owner, ttl_seconds, now)
            return None if lock is None else StoredObject(json.dumps(asdict(lock)).encode(), {})

        # A lock must be read before it is given up. The first lock on a key, the usual case, is written without a read.
        found = (yield from self.objects.read([name])) if ttl_seconds <= 0 else {}
        written = (yield from self.objects.change({name: decide}, found))[name]
        return None if written is None else FencedLock(**json.loads(written.body)).fence

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot, in a read and a write: see ``ResultStore.reserve``.

        Raises:
            OperationalError: other processes take slots of this key so fast that no write succeeded.
        """
        name, now = f"{self.prefix}taskq-rate-{_quoted(key)}", self._clock()

        def decide(stored: StoredObject | None) -> StoredObject | None:
            next_slot = None if stored is None else json.loads(stored.body)["next_slot"]
            slot = take_slot(next_slot, credit_seconds, now)
            if slot is None:
                return None
            return StoredObject(json.dumps({"next_slot": slot + interval_seconds}).encode(), {})

        written = (yield from self.objects.change({name: decide}, (yield from self.objects.read([name]))))[name]
        return None if written is None else json.loads(written.body)["next_slot"] - interval_seconds

    def lifecycle_rules(self, result_expires_seconds: float) -> list[LifecycleRule]:
        """The rules by which the bucket's lifecycle removes expired objects.

        Args:
            result_expires_seconds: how many seconds results are kept (``result_expires``).
        """
        days = max(1, math.ceil(result_expires_seconds / _DAY_SECONDS))
        longer = days + FENCE_KEPT_SECONDS // _DAY_SECONDS
        return [
            LifecycleRule("taskq-results", f"{self.prefix}celery-task-meta-", days),
            # A message may be redelivered for as long as its queue keeps it, and must then find the earlier arrivals.
            LifecycleRule("taskq-joins", f"{self.prefix}taskq-join", longer),
            LifecycleRule("taskq-claims", f"{self.prefix}taskq-claim-", longer),
            LifecycleRule("taskq-rates", f"{self.prefix}taskq-rate-", longer),
        ]

    def _key(self, task_id: str) -> str:
        return f"{self.prefix}celery-task-meta-{_quoted(task_id)}"


def prefix_of(url: SplitResult) -> str:
    """The prefix of keys that a URL's path names, without slashes at either end."""
    return unquote(url.path).strip("/")


def _quoted(name: str) -> str:
    return quote(name, safe=SAFE_CHARACTERS)


def _replacement(record: Record, new: StoredObject, now: float, stored: StoredObject | None) -> StoredObject | None:
    existing = None if stored is None else _record_of(record.id, stored)
    return new if may_replace(existing, record, now) else None


def _object_of(record: Record) -> StoredObject:
    body = record.body
    if len(body) > LARGEST_RECORD_BYTES:
        raise PayloadTooLarge(
            f"the result of task {record.id} is {len(body)} bytes; the store takes at most {LARGEST_RECORD_BYTES}: "
            "write the data to an object of the task's own and return its location"
        )
    # All three services accept these names: Azure's must be identifiers, and S3's are lower case.
    metadata = {"state": quote(record.state), "version": str(record.version), "fence": str(record.fence)}
    if record.expires_at is not None:
        metadata["expires"] = repr(record.expires_at)
    return StoredObject(body, metadata)


def _record_of(task_id: str, stored: StoredObject) -> Record:
    metadata = stored.metadata
    if "version" not in metadata:
        return _celery.record_of(task_id, stored.body)
    return Record(
        id=task_id,
        state=unquote(metadata["state"]),
        version=int(metadata["version"]),
        payload=unpacked(stored.body),
        expires_at=float(metadata["expires"]) if "expires" in metadata else None,
        fence=int(metadata["fence"]),
    )
