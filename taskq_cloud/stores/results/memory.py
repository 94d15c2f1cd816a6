"""Stores results in this process's memory: for tests, and for an application that runs its tasks in its own threads."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.announcements import Announcements, Listener
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.local_clock import LatestTime
from taskq_cloud.core.model.rates import LocalSlots
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FencedLock, Record, claimed, may_replace
from taskq_cloud.core.urls import query_of

SWEEP_INTERVAL_SECONDS = 60
"""The shortest time between two sweeps. A write may also remove expired entries, which takes time in proportion to the
number of all entries."""


@dataclass(frozen=True, slots=True)
class _Join:
    members: frozenset[str] = frozenset()
    expires_at: float | None = None


@dataclass(slots=True)
class _Entries:
    records: dict[str, Record] = field(default_factory=dict)
    joins: dict[str, _Join] = field(default_factory=dict)
    locks: dict[str, FencedLock] = field(default_factory=dict)


class MemoryResults:
    """The store behind ``memory://``; any thread may use it.

    Args:
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=sys.maxsize,
        joins=True,
        claims=True,
        reservations_per_second=math.inf,
        shared_between_processes=False,
        durable=False,
        loads_together=True,
    )

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries = _Entries()
        self._ends = Announcements()
        self._slots = LocalSlots()
        self._swept_at = now = clock()
        self._latest = LatestTime(now)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> MemoryResults:
        """Make an empty store for ``memory://``."""
        query_of(url)
        return cls()

    @property
    def services(self) -> Mapping[str, Service]:
        """No clients: the store makes no calls."""
        return {}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records: see ``ResultStore.load``."""
        yield from ()
        now = self._clock()
        with self._lock:
            found = {each: self._entries.records[each] for each in ids if each in self._entries.records}
        return {each: record for each, record in found.items() if not _has_expired(record.expires_at, now)}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records: see ``ResultStore.save``."""
        yield from ()
        now = self._clock()
        with self._lock:
            self._sweep(now)
            saved = [self._save(record, now) for record in records]
        self._ends.announce([record.id for record in records if record.final])
        return saved

    def listen(self, ids: Sequence[str], listener: Listener) -> Flow[bool]:
        """Let a listener hear of the ends of tasks: see ``TellsOfEnds.listen``."""
        yield from ()
        self._ends.enter(listener, {each: each for each in ids})
        return True

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        yield from ()
        with self._lock:
            for each in ids:
                self._entries.records.pop(each, None)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member: see ``ResultStore.join``."""
        yield from ()
        now = self._clock()
        with self._lock:
            self._sweep(now)
            join = self._entries.joins.get(join_id, _Join())
            if _has_expired(join.expires_at, now):
                join = _Join()
            join = self._entries.joins[join_id] = _Join(join.members | {member}, expires_at)
            return len(join.members) >= size

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Take, renew or give up the fenced lock on a key: see ``ResultStore.claim``."""
        yield from ()
        now = self._clock()
        with self._lock:
            self._follow_clock(now)
            self._sweep(now)
            lock = claimed(self._entries.locks.get(key), owner, ttl_seconds, now)
            if lock is None:
                return None
            self._entries.locks[key] = lock
            return lock.fence

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot: see ``ResultStore.reserve``."""
        yield from ()
        return self._slots.take(key, interval_seconds, credit_seconds, self._clock())

    def _save(self, record: Record, now: float) -> bool:
        if not may_replace(self._entries.records.get(record.id), record, now):
            return False
        self._entries.records[record.id] = record
        return True

    def _follow_clock(self, now: float) -> None:
        """Move the locks' times back if the clock was set back: see ``core.model.local_clock``."""
        back_seconds = self._latest.step_back(now)
        if back_seconds:
            locks = self._entries.locks
            locks.update({key: replace(each, lapses_at=each.lapses_at - back_seconds) for key, each in locks.items()})

    def _sweep(self, now: float) -> None:
        self._swept_at = min(self._swept_at, now)
        if now - self._swept_at < SWEEP_INTERVAL_SECONDS:
            return
        self._swept_at = now
        old = self._entries
        self._entries = _Entries(
            records={key: each for key, each in old.records.items() if not _has_expired(each.expires_at, now)},
            joins={key: each for key, each in old.joins.items() if not _has_expired(each.expires_at, now)},
            locks={key: each for key, each in old.locks.items() if each.lapses_at + FENCE_KEPT_SECONDS > now},
        )


def _has_expired(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and expires_at <= now
