"""Keeps schedules in this process's memory, for tests on any clock. A test sends the due schedules itself (``due``).

The store returns expressions as they were put and doesn't evaluate them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import ScheduleCapabilities
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule, SchedulePage
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of


class MemorySchedules:
    """The store behind ``memory://``; any thread may use it."""

    capabilities: ClassVar[ScheduleCapabilities] = ScheduleCapabilities(
        precision_seconds=0,
        least_lead_seconds=0,
        largest_body_bytes=sys.maxsize,
        shared_between_processes=False,
        durable=False,
        expressions="eventbridge",
    )
    services: ClassVar[Mapping[str, Service]] = {}

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schedules: dict[str, PlatformSchedule] = {}

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> MemorySchedules:
        """Make an empty store for ``memory://``."""
        query_of(url)
        return cls()

    def due(self, now: float) -> list[PlatformSchedule]:
        """Remove and return the one-off schedules that are due, in the order of their times.

        Args:
            now: the time, in seconds since the epoch.
        """
        with self._lock:
            once = [each for each in self._schedules.values() if isinstance(each.when, datetime) and each.enabled]
            taken = [each for each in once if _timestamp(each) <= now]
            for each in taken:
                del self._schedules[each.name]
        return sorted(taken, key=_timestamp)

    def kept(self, schedule: PlatformSchedule) -> PlatformSchedule:
        """Return the schedule unchanged: see ``ScheduleStore.kept``."""
        return schedule

    def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
        """Keep schedules: see ``ScheduleStore.put``."""
        yield from ()
        with self._lock:
            for each in schedules:
                if replace or each.name not in self._schedules:
                    self._schedules[each.name] = each
        return [None] * len(schedules)

    def delete(self, names: Sequence[str]) -> Flow[list[bool | Refused]]:
        """Remove schedules: see ``ScheduleStore.delete``."""
        yield from ()
        with self._lock:
            return [self._schedules.pop(name, None) is not None for name in names]

    def names(self, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> Flow[SchedulePage]:
        """List a page of names in alphabetical order: see ``ScheduleStore.names``."""
        yield from ()
        with self._lock:
            found = sorted(name for name in self._schedules if name.startswith(prefix) and name > (cursor or ""))
        page = found[:limit]
        return SchedulePage(page, page[-1] if len(found) > limit else None)

    def load(self, names: Sequence[str]) -> Flow[dict[str, PlatformSchedule]]:
        """Read schedules: see ``ScheduleStore.load``."""
        yield from ()
        with self._lock:
            return {name: self._schedules[name] for name in names if name in self._schedules}


def _timestamp(schedule: PlatformSchedule) -> float:
    assert isinstance(schedule.when, datetime)  # due() passes only such schedules
    return schedule.when.timestamp()
