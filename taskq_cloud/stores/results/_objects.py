"""Results as objects of a bucket: what the stores on S3, Azure Blob Storage and Google Cloud Storage share.

Written here once: which objects there are, and how they change. A provider's operations, codes and words are its
adapter's: a ``Bucket`` (``_bucket``). Every write is conditional, on the object's absence or on the tag of the one that
was read, so the service itself keeps a late or repeated attempt from replacing a final state. Whoever loses a race
reads again and decides anew.

=========================================  =====================================================================
``celery-task-meta-<id>``                  a task's result document, the key and the body as Celery's backends have
                                           them; what we compare is metadata: state, version, fence, expires
``taskq-claim-<key>``                      a claim: owner, fence, when it lapses
``taskq-rate-<key>``                       the next slot of a rate limit
``taskq-join-<join>/<member>/<arrival>``   an arrival: see ``_object_joins``
=========================================  =====================================================================

Metadata is written with its body, in one request. An object without it was written by Celery, which knows no
conditions: what it writes last stands. What has expired is filtered on read; the bucket's lifecycle removes it.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import SplitResult, quote, unquote

from taskq_cloud.core.backoff import DEFAULT_BACKOFF
from taskq_cloud.core.flows import Call, Flow, Gather, Sleep
from taskq_cloud.core.model.rates import take_slot
from taskq_cloud.core.ports import StoreCapabilities
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FencedLock, Record, claimed, may_replace
from taskq_cloud.errors import OperationalError, PayloadTooLarge
from taskq_cloud.stores.buckets import Bucket, LifecycleRule, Meaning, StoredObject
from taskq_cloud.stores.results import _celery
from taskq_cloud.stores.results import _object_joins as joins

LARGEST_RECORD_BYTES: Final = 64 * 1024 * 1024
"""The services take gigabytes. A payload is in memory several times while it is made, sent and read, and this is what
Azure's SDK sends in one request (``max_single_put_size``); what is larger belongs in an object of the task's own."""

SAFE_CHARACTERS: Final = "!*'()"
"""Kept in keys beside letters, digits and ``_.-~``; anything else in an id is percent-encoded, "/" above all, since
clients shorten "a/../b" (Amazon S3 User Guide, "Object key naming guidelines")."""

RESERVATIONS_PER_SECOND: Final = 5
"""Each is a read and then a write of one object, some 50 ms each, and those who meet there begin again."""

_WRITE_ATTEMPTS: Final = 10
"""How often a write is decided anew when others change the object between its reading and its writing."""

_DAY_SECONDS: Final = 86_400

_RNG: Final = random.Random()


Decision: TypeAlias = Callable[[StoredObject | None], StoredObject | None]
"""What to write over what is there; None: leave it."""


class ObjectResults:
    """A result store on a bucket.

    Args:
        bucket: the provider's.
        prefix: of all keys; a ``/`` is put behind it.
        clock: the time, in seconds since the epoch.
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
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._clock = clock

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records, one call each, in parallel: see ``ResultStore.load``.

        Raises:
            DecodeError: Celery has written one that can't be read here; names the task.
        """
        keys = {self._key(each): each for each in ids}
        now = self._clock()
        found = yield from self._read(keys)
        records = (_record_of(keys[key], stored) for key, stored in found.items() if stored is not None)
        return {each.id: each for each in records if each.expires_at is None or each.expires_at > now}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records, in parallel: see ``ResultStore.save``.

        Raises:
            PayloadTooLarge: names the task, the size, the limit and the way out.
        """
        now = self._clock()
        new = {self._key(each.id): (each, _object_of(each)) for each in records}
        written = yield from self._change({key: partial(_replacement, *each, now) for key, each in new.items()})
        return [written[key] is not None for key in new]

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        calls = [self.bucket.delete(key) for key in dict.fromkeys(map(self._key, ids))]
        for answer in (yield Gather(calls)) if calls else []:
            if self._meaning(answer) is not Meaning.ABSENT:
                self._answered(answer)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member by listing the join: see ``ResultStore.join`` and ``_object_joins``.

        A listing has 1,000 keys a page. The core counts in sets of far fewer (``membership.SHARD_MEMBERS``), so an
        arrival is two calls, however large the chord.
        """
        arrival = joins.Arrival(member, self._clock(), expires_at)
        directory = f"{self.prefix}{joins.PREFIX}{_quoted(join_id)}/"
        # It is there already when the first answer was lost on its way.
        came_again = not (yield from self._create(f"{directory}{arrival.key}", b""))
        keys = yield from self._list(directory)
        present = joins.present([joins.arrival_of(key.removeprefix(directory)) for key in keys])
        if len({each.member for each in present}) < size:
            return False
        if came_again or any(each.member == member and each != arrival for each in present):
            return True
        # Those who arrive at once may each see all the others. The one who says so first has completed the join.
        completed = f"{self.prefix}{joins.COMPLETED_PREFIX}{_quoted(join_id)}/{present[0].arrived_at}"
        if (yield from self._create(completed, member.encode())):
            return True
        stored = (yield from self._read([completed]))[completed]
        return stored is not None and stored.body == member.encode()

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Claim a key: see ``ResultStore.claim``."""
        name, now = f"{self.prefix}taskq-claim-{_quoted(key)}", self._clock()

        def decide(stored: StoredObject | None) -> StoredObject | None:
            held = None if stored is None else FencedLock(**json.loads(stored.body))
            claim = claimed(held, owner, ttl_seconds, now)
            return None if claim is None else StoredObject(json.dumps(asdict(claim)).encode(), {})

        # Giving a claim up begins with reading it; the first claim of a key, which is the usual one, does not.
        found = (yield from self._read([name])) if ttl_seconds <= 0 else {}
        written = (yield from self._change({name: decide}, found))[name]
        return None if written is None else FencedLock(**json.loads(written.body)).fence

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot, in a read and a write: see ``ResultStore.reserve``.

        Raises:
            OperationalError: so many others take slots of the key that no write came through.
        """
        name, now = f"{self.prefix}taskq-rate-{_quoted(key)}", self._clock()

        def decide(stored: StoredObject | None) -> StoredObject | None:
            next_slot = None if stored is None else json.loads(stored.body)["next_slot"]
            slot = take_slot(next_slot, credit_seconds, now)
            if slot is None:
                return None
            return StoredObject(json.dumps({"next_slot": slot + interval_seconds}).encode(), {})

        written = (yield from self._change({name: decide}, (yield from self._read([name]))))[name]
        return None if written is None else json.loads(written.body)["next_slot"] - interval_seconds

    def lifecycle_rules(self, result_expires_seconds: float) -> list[LifecycleRule]:
        """What the bucket's lifecycle is to remove, where results expire after so many seconds."""
        days = max(1, math.ceil(result_expires_seconds / _DAY_SECONDS))
        longer = days + FENCE_KEPT_SECONDS // _DAY_SECONDS
        return [
            LifecycleRule("taskq-results", f"{self.prefix}celery-task-meta-", days),
            # A message may come back for as long as its queue keeps it, and must then find who has arrived.
            LifecycleRule("taskq-joins", f"{self.prefix}taskq-join", longer),
            LifecycleRule("taskq-claims", f"{self.prefix}taskq-claim-", longer),
            LifecycleRule("taskq-rates", f"{self.prefix}taskq-rate-", longer),
        ]

    def _key(self, task_id: str) -> str:
        return f"{self.prefix}celery-task-meta-{_quoted(task_id)}"

    def _read(self, keys: Collection[str]) -> Flow[dict[str, StoredObject | None]]:
        answers = (yield Gather([self.bucket.get(key) for key in keys])) if keys else []
        return {
            key: None if self._meaning(answer) is Meaning.ABSENT else self.bucket.object_of(self._answered(answer))
            for key, answer in zip(keys, answers, strict=True)
        }

    def _create(self, key: str, body: bytes) -> Flow[bool]:
        """Write an object if there is none; whether it was so."""
        new = StoredObject(body, {})
        written = yield from self._change({key: lambda stored: new if stored is None else None})
        return written[key] is not None

    def _list(self, prefix: str) -> Flow[list[str]]:
        keys: list[str] = []
        after: str | None = None
        while True:
            (answer,) = yield Gather([self.bucket.list(prefix, after)])
            page, after = self.bucket.page_of(self._answered(answer))
            keys += page
            if after is None:
                return keys

    def _change(
        self, decisions: Mapping[str, Decision], found: Mapping[str, StoredObject | None] | None = None
    ) -> Flow[dict[str, StoredObject | None]]:
        """Write objects as their decisions say, made anew as long as others get in between; what was written.

        Without ``found`` they are taken to be absent: most are, and saving them takes no read then.
        """
        open_ones: dict[str, StoredObject | None] = dict(found or dict.fromkeys(decisions))
        written: dict[str, StoredObject | None] = {}
        for attempt in range(_WRITE_ATTEMPTS):
            written |= {key: decisions[key](there) for key, there in open_ones.items()}
            puts = {key: new for key in open_ones if (new := written[key]) is not None}
            if not puts:
                return written
            if attempt > 1:
                yield Sleep(DEFAULT_BACKOFF.seconds(attempt, _RNG))
            answers = yield Gather([self._put(key, new, open_ones[key]) for key, new in puts.items()])
            lost, raced = [], {}
            for key, answer in zip(puts, answers, strict=True):
                match self._meaning(answer):
                    # Absent: what was to be replaced has been deleted.
                    case Meaning.LOST | Meaning.ABSENT:
                        lost.append(key)
                    case Meaning.RACED:
                        raced[key] = open_ones[key]
                    case _:
                        self._answered(answer)
            open_ones = raced | (yield from self._read(lost))
            if not open_ones:
                return written
        raise OperationalError(
            f"{self.bucket.facts.name}: {next(iter(open_ones))} keeps changing: it was tried {_WRITE_ATTEMPTS} times"
        )

    def _put(self, key: str, new: StoredObject, over: StoredObject | None) -> Call:
        return self.bucket.put(key, new, None if over is None else over.tag)

    def _meaning(self, answer: Any) -> Meaning | None:
        return self.bucket.facts.meaning(answer)

    def _answered(self, answer: Any) -> Any:
        return self.bucket.facts.answered(answer)


def prefix_of(url: SplitResult) -> str:
    """The prefix of keys that a URL's path names: without a slash before it."""
    return unquote(url.path).strip("/")


def _quoted(name: str) -> str:
    return quote(name, safe=SAFE_CHARACTERS)


def _replacement(record: Record, new: StoredObject, now: float, stored: StoredObject | None) -> StoredObject | None:
    there = None if stored is None else _record_of(record.id, stored)
    return new if may_replace(there, record, now) else None


def _object_of(record: Record) -> StoredObject:
    body = record.payload.encode()
    if len(body) > LARGEST_RECORD_BYTES:
        raise PayloadTooLarge(
            f"the result of task {record.id} is {len(body)} bytes; at most {LARGEST_RECORD_BYTES} are stored: write it "
            "to an object of its own and return where it is"
        )
    # Names that all three take: Azure's are identifiers, S3's are lower case.
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
        payload=stored.body.decode(),
        expires_at=float(metadata["expires"]) if "expires" in metadata else None,
        fence=int(metadata["fence"]),
    )
