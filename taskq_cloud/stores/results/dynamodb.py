"""Results in one DynamoDB table, whose key is ``id``, a string, and whose TTL attribute is ``ttl``.

Every write is one conditional call, so that the table itself keeps a late or repeated attempt from replacing a final
state. Reads are consistent, and filter what has expired. The items of tasks are in ``dynamodb_items``; a join's item
has the set of its ``members``, a claim's its ``owner``, its ``fence`` and when it lapses, a rate limit's the ``slot``
that is next.

With ``key_format=celery`` the keys are those of Celery's own backend, and one table serves the workers of both. Celery
writes without a condition, so what it writes last stands, except that it lets a SUCCESS be; what we write is checked
against what Celery has left.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call, Flow, Gather
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS
from taskq_cloud.core.ports import Service, StoreCapabilities
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION, Record, may_replace
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, PayloadTooLarge
from taskq_cloud.stores.results import _dynamodb_items as items
from taskq_cloud.stores.results._dynamodb_items import Item
from taskq_cloud.stores.results._dynamodb_table import Table

LARGEST_JOIN_BYTES: Final = 350 * 1024
"""The members of a join, together: they share one item. A member costs as many write units as the item has KiB by
then, so a join's cost grows with the square of its size: 1,000 members of 36 bytes cost about 18,000 units."""

RESERVATIONS_PER_SECOND: Final = 1000
"""Every one writes the key's item, and a partition takes 1,000 write units a second (Amazon DynamoDB Developer Guide,
"DynamoDB burst and adaptive capacity")."""

_WRITE_ATTEMPTS: Final = 5
"""How often a write is decided anew when others change the item between its reading and its writing."""

# records.may_replace. DynamoDB finds a comparison with a missing attribute false, so an item without a ttl has not
# expired, and one without a version (Celery's) is not replaced.
_REPLACEABLE: Final = (
    "attribute_not_exists(#id) OR #ttl <= :now OR (#version <= :highest_replaceable AND #fence <= :fence)"
)
_UNCHANGED: Final = "attribute_not_exists(#version) AND #result = :seen"
_HELD: Final = "#owner = :me AND #lapses_at > :now"
_FREE: Final = "attribute_not_exists(#id) OR #lapses_at <= :now"

# rates.take_slot, in two halves. What is left of an item past its ttl counts for nothing: its slot is in the past.
_SLOT_AHEAD: Final = "#slot > :earliest AND #slot <= :farthest"
_SLOT_BEHIND: Final = "attribute_not_exists(#slot) OR #slot <= :earliest"
_REMEMBERED_KEYS: Final = 10_000


class DynamoDBResults:
    """The store behind ``dynamodb://table``.

    Args:
        table: the table's name.
        region: its region; None: the SDK's own chain finds it.
        endpoint_url: where the service answers; None: the SDK's own chain finds it.
        key_format: ``"plain"``, or ``"celery"`` to share the results of Celery's DynamoDB backend.
        clock: the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=items.LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=True,
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
            raise ImproperlyConfigured(f"key_format={key_format!r} is none of {', '.join(items.KEY_FORMATS)}")
        self.table_name = table
        self._table = Table(table, endpoint_url or region or "the SDK's region")
        self._client_options = (("region", region), ("endpoint_url", endpoint_url))
        self._shares_with_celery = key_format == "celery"
        self._key = items.KEY_FORMATS[key_format]
        self._clock = clock
        self._last_slots: dict[str, float] = {}

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> DynamoDBResults:
        """``dynamodb://table`` or ``dynamodb://region/table``, and ``?region=``, ``endpoint_url=``, ``key_format=``.

        Raises:
            ImproperlyConfigured: it names no table, or has anything else in it.
        """
        query = query_of(url, ("region", "endpoint_url", "key_format"))
        region, _, table = f"{url.netloc}{url.path}".strip("/").rpartition("/")
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{3,255}", table) or not re.fullmatch(r"[a-z0-9-]*", region):
            raise ImproperlyConfigured(
                f"{shown(url)} names no table: write dynamodb://table or dynamodb://region/table; credentials are found"
                " by the SDK (environment, profile, role)"
            )
        return cls(
            table,
            query.get("region") or region or None,
            endpoint_url=query.get("endpoint_url"),
            key_format=query.get("key_format", "plain"),
        )

    @property
    def services(self) -> Mapping[str, Service]:
        """DynamoDB."""
        return {"dynamodb": Service("aws", tuple((name, value) for name, value in self._client_options if value))}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records: see ``ResultStore.load``.

        Raises:
            DecodeError: Celery has written one that can't be read here; names the task.
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
        """Write records, one call each, in parallel: see ``ResultStore.save``."""
        now = self._clock()
        puts = [self._put(record, now) for record in records]
        saved = [self._table.met(answer) for answer in (yield Gather(puts))] if puts else []
        if self._shares_with_celery:
            for position, record in enumerate(records):
                saved[position] = saved[position] or (yield from self._save_over_celery(record, now))
        return saved

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        yield from self._table.delete_many([*dict.fromkeys(map(self._key, ids))])

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member: see ``ResultStore.join``.

        Raises:
            PayloadTooLarge: so many members don't fit in one item.
        """
        expected = size * len(member.encode())
        if expected > LARGEST_JOIN_BYTES:
            raise PayloadTooLarge(
                f"join {join_id} of {size} members takes about {expected} bytes; a join in DynamoDB takes at most "
                f"{LARGEST_JOIN_BYTES}: make several smaller joins of it"
            )
        values: Item = {":member": {"SS": [member]}, ":now": items.numeric(self._clock())}
        if expires_at is None:
            first, later = "SET #members = :member REMOVE #ttl", "ADD #members :member REMOVE #ttl"
        else:
            values[":ttl"] = items.ttl(expires_at)
            first, later = "SET #members = :member, #ttl = :ttl", "ADD #members :member SET #ttl = :ttl"
        # The item of an expired join may still be there. Whoever finds it so begins anew, the others join that.
        add, begin_anew = (later, "attribute_not_exists(#ttl) OR #ttl > :now"), (first, "#ttl <= :now")
        for update, condition in (add, begin_anew, add):
            joined = yield from self._table.update(f"taskq-join-{join_id}", update, condition, values)
            if joined is not None:
                return len(joined["members"]["SS"]) >= size
        raise OperationalError(f"join {join_id} in {self._table} expires before its members arrive: {expires_at}")

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Claim a key: see ``ResultStore.claim``."""
        now = self._clock()
        lapses_at = now + max(ttl_seconds, 0)
        values: Item = {
            ":me": {"S": owner},
            ":now": items.numeric(now),
            ":lapses_at": items.numeric(lapses_at),
            ":ttl": items.ttl(lapses_at + FENCE_KEPT_SECONDS),
        }
        claim_id, times = f"taskq-claim-{key}", "#lapses_at = :lapses_at, #ttl = :ttl"
        claimed = None
        if ttl_seconds > 0:
            update = f"SET #owner = :me, {times} ADD #fence :one"
            claimed = yield from self._table.update(claim_id, update, _FREE, {**values, ":one": items.numeric(1)})
        if claimed is None:
            # The claim is held, perhaps by this very owner.
            claimed = yield from self._table.update(claim_id, f"SET {times}", _HELD, values)
        return None if claimed is None else int(claimed["fence"]["N"])

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot: see ``ResultStore.reserve``.

        The condition decides; what this process has last seen of the key only says which half of it to try first.
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
        # A third try: between the two of them, others may have taken the key's next slot from behind to ahead.
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
        """Save what was refused, perhaps only because the stored item is Celery's and has no version to compare."""
        key = self._key(record.id)
        for _ in range(_WRITE_ATTEMPTS):
            item = yield from self._table.get(key)
            stored = None if item is None else items.to_record(record.id, item)
            if not may_replace(stored, record, now):
                return False
            seen = None if item is None or "version" in item else item["result"]
            (answer,) = yield Gather([self._put(record, now, seen)])
            if self._table.met(answer):
                return True
        raise OperationalError(f"the result of task {record.id} in {self._table} keeps changing: save it again")

    def _put(self, record: Record, now: float, seen: Mapping[str, Any] | None = None) -> Call:
        """The call that writes a record over an older one, or over Celery's, whose ``result`` is ``seen``."""
        item = items.from_record(record, self._key(record.id), now)
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
