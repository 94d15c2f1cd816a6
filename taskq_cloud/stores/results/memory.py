"""Results in this process's memory: for tests, and for an application that runs its tasks in its own threads."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.rates import LocalSlots
from taskq_cloud.core.ports import Service, StoreCapabilities
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FencedLock, Record, claimed, may_replace
from taskq_cloud.core.urls import query_of

SWEEP_INTERVAL_SECONDS = 60
"""How often, at most, a write also looks for what has expired: a sweep takes time in proportion to what is kept."""


@dataclass(frozen=True, slots=True)
class _Join:
    members: frozenset[str] = frozenset()
    expires_at: float | None = None


@dataclass(slots=True)
class _Kept:
    records: dict[str, Record] = field(default_factory=dict)
    joins: dict[str, _Join] = field(default_factory=dict)
    claims: dict[str, FencedLock] = field(default_factory=dict)


class MemoryResults:
    """The store behind ``memory://``; any thread may use it.

    Args:
        clock: the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=sys.maxsize,
        joins=True,
        claims=True,
        reservations_per_second=math.inf,
        shared_between_processes=False,
        durable=False,
    )

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept = _Kept()
        self._slots = LocalSlots()
        self._swept_at = clock()

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> MemoryResults:
        """``memory://``."""
        query_of(url)
        return cls()

    @property
    def services(self) -> Mapping[str, Service]:
        """None: its flows make no calls."""
        return {}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records: see ``ResultStore.load``."""
        yield from ()
        now = self._clock()
        with self._lock:
            found = {each: self._kept.records[each] for each in ids if each in self._kept.records}
        return {each: record for each, record in found.items() if not _over(record.expires_at, now)}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records: see ``ResultStore.save``."""
        yield from ()
        now = self._clock()
        with self._lock:
            self._sweep(now)
            return [self._save(record, now) for record in records]

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        yield from ()
        with self._lock:
            for each in ids:
                self._kept.records.pop(each, None)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member: see ``ResultStore.join``."""
        yield from ()
        now = self._clock()
        with self._lock:
            self._sweep(now)
            join = self._kept.joins.get(join_id, _Join())
            if _over(join.expires_at, now):
                join = _Join()
            join = self._kept.joins[join_id] = _Join(join.members | {member}, expires_at)
            return len(join.members) >= size

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Claim a key: see ``ResultStore.claim``."""
        yield from ()
        now = self._clock()
        with self._lock:
            self._sweep(now)
            stored = self._kept.claims.get(key)
            claim = claimed(stored, owner, ttl_seconds, now)
            if claim is None:
                return None
            self._kept.claims[key] = claim
            return claim.fence

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot: see ``ResultStore.reserve``."""
        yield from ()
        return self._slots.take(key, interval_seconds, credit_seconds, self._clock())

    def _save(self, record: Record, now: float) -> bool:
        if not may_replace(self._kept.records.get(record.id), record, now):
            return False
        self._kept.records[record.id] = record
        return True

    def _sweep(self, now: float) -> None:
        if now - self._swept_at < SWEEP_INTERVAL_SECONDS:
            return
        self._swept_at = now
        kept = self._kept
        kept.records = {key: each for key, each in kept.records.items() if not _over(each.expires_at, now)}
        kept.joins = {key: each for key, each in kept.joins.items() if not _over(each.expires_at, now)}
        kept.claims = {key: each for key, each in kept.claims.items() if each.lapses_at + FENCE_KEPT_SECONDS > now}


def _over(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and expires_at <= now
