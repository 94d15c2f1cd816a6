"""Stores results wherever objects can be written on conditions: records, fenced locks, and the slots of rate limits.

Every write is conditional, either on the object's absence or on the version of the object that was read
(``_conditional_writes``), so the service itself keeps a late or repeated attempt from replacing a final state. An
object without our fields was written by Celery, which writes without conditions: Celery's last write stands. Reads
leave out expired objects, which the service or a sweep removes later. Joins are in the subclasses: see ``_objects``
and ``_documents``.

=========================================  =====================================================================
``celery-task-meta-<id>``                  a task's result document, with the key and the body of Celery's backends;
                                           the compared fields are metadata: state, version, fence, expires
``taskq-claim-<key>``                      the fenced lock on a claimed key: owner, fence, lapses_at
``taskq-rate-<key>``                       the next slot of a rate limit
=========================================  =====================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import ClassVar, Final
from urllib.parse import quote, unquote

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.rates import take_slot
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FencedLock, Record, claimed, may_replace
from taskq_cloud.errors import PayloadTooLarge
from taskq_cloud.stores.buckets import StoredObject
from taskq_cloud.stores.results import _celery
from taskq_cloud.stores.results._conditional_writes import ConditionalWrites, Decision

SAFE_CHARACTERS: Final = "!*'()"
"""The characters that a key may contain besides letters, digits and ``_.-~``. Other characters of an id are percent-
encoded, above all "/", since clients shorten "a/../b" (Amazon S3 User Guide, "Object key naming guidelines")."""


class ConditionalResults:
    """A result store whose objects are written on conditions.

    Args:
        objects: reads and writes the objects.
        prefix: the beginning of all keys.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities]
    too_large_advice = (
        "set TASKQ_PAYLOADS to a bucket for larger results, or store the data elsewhere and return its location"
    )

    def __init__(self, objects: ConditionalWrites, prefix: str, clock: Callable[[], float]) -> None:
        self._writes = objects
        self.prefix = prefix
        self._clock = clock

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records: see ``ResultStore.load``.

        Raises:
            DecodeError: Celery wrote a record that can't be decoded; the error names the task.
        """
        keys = {self._key(each): each for each in ids}
        now = self._clock()
        found = yield from self._writes.read(keys)
        records = (self._record_of(keys[key], stored) for key, stored in found.items() if stored is not None)
        return {each.id: each for each in records if each.expires_at is None or each.expires_at > now}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records: see ``ResultStore.save``.

        Raises:
            PayloadTooLarge: a payload exceeds the limit; the error names the task, the size, the limit and the remedy.
        """
        saved: list[bool] = []
        for each in (yield from self._save(records, [self._object_of(record) for record in records])):
            if isinstance(each, Exception):
                raise each
            saved.append(each)
        return saved

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        yield from self._writes.delete(dict.fromkeys(map(self._key, ids)))

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Take, renew or give up the fenced lock on a key: see ``ResultStore.claim``."""
        name, now = self._name("claim", key), self._clock()

        def decide(stored: StoredObject | None) -> StoredObject | None:
            held = None if stored is None else FencedLock(**json.loads(stored.body))
            lock = claimed(held, owner, ttl_seconds, now)
            if lock is None:
                return None
            forgotten_at = lock.lapses_at + FENCE_KEPT_SECONDS
            return StoredObject(json.dumps(asdict(lock)).encode(), {}, expires_at=forgotten_at)

        # A lock must be read before it is given up. The first lock on a key, the usual case, is written without a read.
        found = (yield from self._writes.read([name])) if ttl_seconds <= 0 else {}
        written = (yield from self._writes.change({name: decide}, found))[name]
        return None if written is None else FencedLock(**json.loads(written.body)).fence

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot, in a read and a write: see ``ResultStore.reserve``.

        Raises:
            OperationalError: other processes take slots of this key so fast that no write succeeded.
        """
        name, now = self._name("rate", key), self._clock()

        def decide(stored: StoredObject | None) -> StoredObject | None:
            next_slot = None if stored is None else json.loads(stored.body)["next_slot"]
            slot = take_slot(next_slot, credit_seconds, now)
            if slot is None:
                return None
            # From then on the key's next slot would be the same without the object.
            spent_at = slot + interval_seconds + credit_seconds
            body = json.dumps({"next_slot": slot + interval_seconds}).encode()
            return StoredObject(body, {}, expires_at=spent_at)

        written = (yield from self._writes.change({name: decide}, (yield from self._writes.read([name]))))[name]
        return None if written is None else json.loads(written.body)["next_slot"] - interval_seconds

    def _save(self, records: Sequence[Record], objects: Sequence[StoredObject]) -> Flow[list[bool | Exception]]:
        """Write records whose objects are made, and those of one id one after the other."""
        now = self._clock()
        outcomes: dict[int, bool | Exception] = {}
        left = list(enumerate(records))
        while left:
            first = dict[str, int]()
            for number, record in left:
                first.setdefault(record.id, number)
            decisions: dict[str, Decision] = {
                self._key(each): partial(self._replacement, records[number], objects[number], now)
                for each, number in first.items()
            }
            written = yield from self._writes.change_each(decisions)
            for each, number in first.items():
                outcome = written[self._key(each)]
                outcomes[number] = outcome if isinstance(outcome, Exception) else outcome is not None
            left = [each for each in left if each[0] not in outcomes]
        return [outcomes[number] for number in range(len(records))]

    def _replacement(
        self, record: Record, new: StoredObject, now: float, stored: StoredObject | None
    ) -> StoredObject | None:
        existing = None if stored is None else self._record_of(record.id, stored)
        return new if may_replace(existing, record, now) else None

    def _object_of(self, record: Record) -> StoredObject:
        body, limit = self._body(record), self.capabilities.largest_record_bytes
        if len(body) > limit:
            raise PayloadTooLarge(
                f"the result of task {record.id} is {len(body)} bytes; the store takes at most {limit}: "
                f"{self.too_large_advice}"
            )
        # All services accept these names: Azure's must be identifiers, and S3's are lower case.
        metadata = {"state": quote(record.state), "version": str(record.version), "fence": str(record.fence)}
        if record.expires_at is not None:
            metadata["expires"] = repr(record.expires_at)
        return StoredObject(body, metadata, expires_at=record.expires_at)

    def _body(self, record: Record) -> bytes:
        """The payload as the store keeps it."""
        return record.body

    def _record_of(self, task_id: str, stored: StoredObject) -> Record:
        metadata = stored.metadata
        if "version" not in metadata:
            return _celery.record_of(task_id, stored.body, stored.expires_at)
        return Record(
            id=task_id,
            state=unquote(metadata["state"]),
            version=int(metadata["version"]),
            payload=unpacked(stored.body),
            expires_at=float(metadata["expires"]) if "expires" in metadata else None,
            fence=int(metadata["fence"]),
        )

    def _key(self, task_id: str) -> str:
        return f"{self.prefix}celery-task-meta-{self._encoded(task_id)}"

    def _name(self, kind: str, key: str) -> str:
        """The key of an object that Celery doesn't know: a lock, a rate or a join."""
        return f"{self.prefix}taskq-{kind}-{self._encoded(key)}"

    def _encoded(self, name: str) -> str:
        return quoted(name)


def quoted(name: str) -> str:
    """Percent-encode a task's id or a key, so that every service and client takes it as a part of its own keys."""
    return quote(name, safe=SAFE_CHARACTERS)
