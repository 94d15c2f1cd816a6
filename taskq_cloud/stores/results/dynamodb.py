"""Stores results in one DynamoDB table, whose key is ``id``, a string, and whose TTL attribute is ``ttl``.

Every write is one conditional call, so that the table itself keeps a late or repeated attempt from replacing a final
state. Reads are consistent and leave out expired items. ``_dynamodb_items`` describes the items of tasks. A join's item
has the set of its ``members``; the item of a claimed key has the fenced lock: ``owner``, ``fence`` and ``lapses_at``; a
rate limit's item has the next ``slot``.

With ``key_format=celery`` the keys are those of Celery's own backend, and one table serves Celery's workers and taskq
workers. Celery writes without a condition, so Celery's last write stands, except that Celery doesn't replace a SUCCESS.
This store's own writes are checked against the item that Celery wrote.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call, Flow, Gather
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION, Record, may_replace
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, PayloadTooLarge, TaskQError
from taskq_cloud.stores.results import _dynamodb_items as items
from taskq_cloud.stores.results._dynamodb_items import Item
from taskq_cloud.stores.results._dynamodb_table import Table

LARGEST_JOIN_BYTES: Final = 350 * 1024
"""The largest total size of a join's members, which share one item. Each arrival costs one write unit for every KiB of
the item, so a join's cost grows with the square of its size: 1,000 members of 36 bytes cost about 18,000 units."""

RESERVATIONS_PER_SECOND: Final = 1000
"""The most reservations of one key in a second. Every reservation writes the key's item, and a partition takes 1,000
write units a second (Amazon DynamoDB Developer Guide, "DynamoDB burst and adaptive capacity")."""

CELERYS_TABLE: Final = "celery"
"""The table that Celery uses if its URL names only a region."""
CELERYS_LOCAL_REGION: Final = "us-east-1"
"""The region that Celery uses with a local endpoint (``dynamodb://@localhost:8000/table``)."""
_LOCAL: Final = re.compile(r"(?:localhost|\d+\.\d+\.\d+\.\d+)(?::\d+)?")

_WRITE_ATTEMPTS: Final = 5
"""How often a write is attempted while other writers change the item between the read and the write."""

# The condition is records.may_replace. In DynamoDB a comparison with a missing attribute is false, so an item without a
# ttl has not expired, and an item without a version (Celery's) is not replaced.
_REPLACEABLE: Final = (
    "attribute_not_exists(#id) OR #ttl <= :now OR (#version <= :highest_replaceable AND #fence <= :fence)"
)
_UNCHANGED: Final = "attribute_not_exists(#version) AND #result = :seen"
_OWNED: Final = "#owner = :me AND #lapses_at > :now"
_FREE: Final = "attribute_not_exists(#id) OR #lapses_at <= :now"

# The conditions are rates.take_slot in two halves. An item that is past its ttl needs no condition: its slot is in the
# past.
_SLOT_AHEAD: Final = "#slot > :earliest AND #slot <= :farthest"
_SLOT_BEHIND: Final = "attribute_not_exists(#slot) OR #slot <= :earliest"
_REMEMBERED_KEYS: Final = 10_000


class DynamoDBResults:
    """The store behind ``dynamodb://table``.

    Args:
        table: the table's name.
        region: the table's region; None: the SDK's own chain finds the region.
        endpoint_url: the service's endpoint; None: the SDK's own chain finds the endpoint.
        key_format: ``"plain"``, or ``"celery"`` to share the results of Celery's DynamoDB backend.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=items.LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=True,
        saves_together=True,
        loads_together=True,
    )

    def __init__(
        self,
        table: str,
        region: str | None = None,
        *,
        endpoint_url: str | None = None,
        key_format: str = "plain",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if key_format not in items.KEY_FORMATS:
            raise ImproperlyConfigured(
                f"key_format={key_format!r} is unknown; the key formats are {', '.join(items.KEY_FORMATS)}"
            )
        self.table_name = table
        self._table = Table(table, endpoint_url or region or "the SDK's region")
        self._client_options = (("region", region), ("endpoint_url", endpoint_url))
        self._shares_with_celery = key_format == "celery"
        self._key = items.KEY_FORMATS[key_format]
        self._clock = clock
        self._last_slots: dict[str, float] = {}
        # The tasks of which this process has saved a state that isn't final.
        self._begun: dict[str, None] = {}

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> DynamoDBResults:
        """Make the store for ``dynamodb://table``, ``dynamodb://region/table``, or Celery's ``dynamodb://@region/table``.

        Args:
            url: the URL; takes the options ``region``, ``endpoint_url`` and ``key_format``, and Celery's ``read`` and
                ``write``, which have no effect, as no table is created.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL doesn't name a table, or has an unknown option or credentials.
        """
        query = query_of(url, ("region", "endpoint_url", "key_format", "read", "write"))
        userinfo, at_sign, place = url.netloc.rpartition("@")
        region, _, table = f"{place}{url.path}".strip("/").rpartition("/")
        endpoint_url = query.get("endpoint_url")
        if at_sign and not region:
            region, table = table, CELERYS_TABLE
        if at_sign and _LOCAL.fullmatch(region):
            endpoint_url, region = endpoint_url or f"http://{region}", CELERYS_LOCAL_REGION
        named = re.fullmatch(r"[a-zA-Z0-9_.-]{3,255}", table) and re.fullmatch(r"[a-z0-9-]*", region)
        if userinfo.strip(":") or not named:
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name a table: write dynamodb://table or dynamodb://region/table, without "
                "credentials, which the SDK finds (environment, profile, role)"
            )
        return cls(
            table,
            query.get("region") or region or None,
            endpoint_url=endpoint_url,
            key_format=query.get("key_format", "plain"),
        )

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of DynamoDB."""
        return {"dynamodb": Service("aws", tuple((name, value) for name, value in self._client_options if value))}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records: see ``ResultStore.load``.

        Raises:
            DecodeError: Celery wrote a record that can't be decoded; the error names the task.
        """
        keys = {self._key(each): each for each in ids}
        if len(keys) == 1:
            item = yield from self._table.get(*keys)
            found = [] if item is None else [item]
        else:
            found = yield from self._table.get_many([*keys])
        now = self._clock()
        read = (items.to_record(keys[item["id"]["S"]], item) for item in found if not items.has_expired(item, now))
        return {record.id: record for record in read}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records: see ``ResultStore.save`` and ``save_each``."""
        saved: list[bool] = []
        for answer in (yield from self.save_each(records)):
            if isinstance(answer, Exception):
                raise answer
            saved.append(answer)
        return saved

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Write records: see ``SavesTogether.save_each``.

        One record is one conditional call. Several are inserted together, 25 in a call, and those that the table has
        already are then written by a conditional call each, in parallel. A refused insertion costs a write unit, so a
        record is not inserted if this process has saved an earlier state of its task.
        """
        now = self._clock()
        contents = [items.from_record(record, self._key(record.id), now) for record in records]
        saved: list[bool | Exception] = [False] * len(records)
        if len(records) > 1:
            first = dict[str, int]()
            for position, record in enumerate(records):
                if record.id not in self._begun:
                    first.setdefault(record.id, position)
            inserted = yield from self._table.insert_many([contents[position] for position in first.values()])
            for position, done in zip(first.values(), inserted, strict=True):
                saved[position] = done
        left = [position for position, done in enumerate(saved) if not done]
        answers = (yield Gather([self._put(records[each], contents[each], now) for each in left])) if left else []
        for position, answer in zip(left, answers, strict=True):
            try:
                saved[position] = self._table.condition_held(answer)
                if not saved[position] and self._shares_with_celery:
                    saved[position] = yield from self._save_over_celery(records[position], now)
            except TaskQError as error:
                saved[position] = error
        for record in records:
            self._note_begun(record)
        return saved

    def _note_begun(self, record: Record) -> None:
        if record.final:
            self._begun.pop(record.id, None)
            return
        if len(self._begun) >= _REMEMBERED_KEYS:
            self._begun.clear()
        self._begun[record.id] = None

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        yield from self._table.delete_many([*dict.fromkeys(map(self._key, ids))])

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member: see ``ResultStore.join``.

        Raises:
            PayloadTooLarge: the members don't fit in one item.
            OperationalError: the join expires before its members arrive.
        """
        expected = size * len(member.encode())
        if expected > LARGEST_JOIN_BYTES:
            raise PayloadTooLarge(
                f"join {join_id} of {size} members takes about {expected} bytes; a join in DynamoDB takes at most "
                f"{LARGEST_JOIN_BYTES}: split it into several smaller joins"
            )
        values: Item = {":member": {"SS": [member]}, ":now": items.numeric(self._clock())}
        if expires_at is None:
            first, later = "SET #members = :member REMOVE #ttl", "ADD #members :member REMOVE #ttl"
        else:
            values[":ttl"] = items.ttl(expires_at)
            first, later = "SET #members = :member, #ttl = :ttl", "ADD #members :member SET #ttl = :ttl"
        # The item of an expired join may still exist. The first member to find it replaces it; later members join that.
        add, restart = (later, "attribute_not_exists(#ttl) OR #ttl > :now"), (first, "#ttl <= :now")
        for update, condition in (add, restart, add):
            joined = yield from self._table.update(f"taskq-join-{join_id}", update, condition, values)
            if joined is not None:
                return len(joined["members"]["SS"]) >= size
        raise OperationalError(
            f"join {join_id} in {self._table} expired before its members arrived (at {expires_at} seconds since the "
            "epoch); set a larger result_expires"
        )

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Take, renew or give up the fenced lock on a key: see ``ResultStore.claim``."""
        now = self._clock()
        lapses_at = now + max(ttl_seconds, 0)
        values: Item = {
            ":me": {"S": owner},
            ":now": items.numeric(now),
            ":lapses_at": items.numeric(lapses_at),
            ":ttl": items.ttl(lapses_at + FENCE_KEPT_SECONDS),
        }
        item_key, times = f"taskq-claim-{key}", "#lapses_at = :lapses_at, #ttl = :ttl"
        lock = None
        if ttl_seconds > 0:
            update = f"SET #owner = :me, {times} ADD #fence :one"
            lock = yield from self._table.update(item_key, update, _FREE, {**values, ":one": items.numeric(1)})
        if lock is None:
            # Somebody holds the lock; if it is this owner, the lock is renewed or given up.
            lock = yield from self._table.update(item_key, f"SET {times}", _OWNED, values)
        return None if lock is None else int(lock["fence"]["N"])

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot: see ``ResultStore.reserve``.

        The condition decides. The slot that this process last saw only determines which half to try first.
        """
        now = self._clock()
        earliest, farthest = now - credit_seconds, now + FARTHEST_SLOT_SECONDS
        values: Item = {
            ":earliest": items.numeric(earliest),
            ":interval": items.numeric(interval_seconds),
            ":ttl": items.ttl(farthest + interval_seconds + credit_seconds),
        }
        beyond: Item = {":farthest": items.numeric(farthest)}
        ahead = ("SET #slot = #slot + :interval, #ttl = :ttl", _SLOT_AHEAD, values | beyond)
        behind = ("SET #slot = :earliest + :interval, #ttl = :ttl", _SLOT_BEHIND, values)
        halves = [ahead, behind] if self._last_slots.get(key, -math.inf) > earliest else [behind, ahead]
        # The first half is tried again: between the two tries, others may have moved the key's next slot ahead.
        for update, condition, named in (*halves, halves[0]):
            item = yield from self._table.update(f"taskq-rate-{key}", update, condition, named)
            if item is not None:
                following = float(item["slot"]["N"])
                if len(self._last_slots) >= _REMEMBERED_KEYS:
                    self._last_slots.clear()
                self._last_slots[key] = following
                return following - interval_seconds
        return None

    def _save_over_celery(self, record: Record, now: float) -> Flow[bool]:
        """Save a record that was refused, perhaps only because Celery's stored item has no version to compare."""
        key = self._key(record.id)
        for _ in range(_WRITE_ATTEMPTS):
            item = yield from self._table.get(key)
            stored = None if item is None else items.to_record(record.id, item)
            if not may_replace(stored, record, now):
                return False
            seen = None if item is None or "version" in item else item["result"]
            item = items.from_record(record, key, now)
            (answer,) = yield Gather([self._put(record, item, now, seen)])
            if self._table.condition_held(answer):
                return True
        raise OperationalError(
            f"the result of task {record.id} in {self._table} could not be saved: other writers changed it at each of "
            f"{_WRITE_ATTEMPTS} attempts; save it again"
        )

    def _put(self, record: Record, item: Item, now: float, seen: Mapping[str, Any] | None = None) -> Call:
        """Make the call that writes a record over an older one; ``seen`` is the ``result`` of Celery's item, if any."""
        if seen is not None:
            return self._table.put(item, _UNCHANGED, {":seen": seen})
        return self._table.put(
            item,
            _REPLACEABLE,
            {
                ":now": items.numeric(now),
                ":highest_replaceable": items.numeric(min(record.version, FINAL_VERSION - 1)),
                ":fence": items.numeric(record.fence),
            },
        )
