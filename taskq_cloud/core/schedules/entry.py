"""A periodic task as it was declared, and the times at which it is due. How it may be declared is ``periodic``'s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from taskq_cloud.core.schedules.base import EPOCH, Schedule
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.interval import schedule
from taskq_cloud.errors import ScheduleError

Overlap = Literal["allow", "skip"]
CatchUp = Literal["one", "all", "skip"]

_MINUTE_SECONDS: Final = 60
_LONGEST_LOOK_BACK: Final = timedelta(days=366 * 41)
"""The 29th of February falls on a given weekday every 28 years, or every 40 where a century is no leap year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of a periodic task: a schedule's, from a start to an end.

    Args:
        schedule: when it is due; its time zone is known.
        start: the first moment at which it may be, and what an interval is counted from; None: an interval is counted
            from 1970-01-01T00:00Z.
        end: the first moment at which it may not be any more.
    """

    schedule: Schedule
    start: datetime | None = None
    end: datetime | None = None

    @property
    def anchor(self) -> datetime:
        """What an interval is counted from."""
        return self.start or EPOCH

    def following(self, moment: datetime) -> datetime | None:
        """The first time after ``moment``, in UTC; None: there is none before the end."""
        if self.start is not None:
            moment = max(moment, self.start - timedelta(seconds=1))
        try:
            due = self.schedule.following(moment, self.anchor)
        except (OverflowError, StopIteration):  # after the year 9999
            return None
        return due if self.end is None or due < self.end else None

    def between(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """The times from ``begin`` on and before ``end``."""
        due = self.following(begin - timedelta(seconds=1))
        while due is not None and due < end:
            yield due
            due = self.following(due)

    def fires_at(self, moment: datetime) -> bool:
        """Whether it is due at that very second."""
        return self.following(moment - timedelta(seconds=1)) == moment

    def latest(self, moment: datetime) -> datetime | None:
        """The last time at or before ``moment``; None: there was none."""
        reach = timedelta(minutes=1)
        while (due := self.following(moment - reach)) is None or due > moment:
            if reach > _LONGEST_LOOK_BACK or (self.start is not None and moment - reach < self.start):
                return None
            reach *= 2
        while (later := self.following(due)) is not None and later <= moment:
            due = later
        return due

    @property
    def whole_minutes(self) -> bool:
        """Whether it is due at the beginning of minutes only."""
        match self.schedule:
            case crontab():
                return True
            case schedule(run_every=every):
                seconds = every.total_seconds()
                return seconds % _MINUTE_SECONDS == 0 and self.anchor.timestamp() % _MINUTE_SECONDS == 0
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """A periodic task.

    Args:
        name: its own; no two of an application have the same.
        task: the task's name.
        timing: when it is due.
        args: what the task is called with.
        kwargs: likewise.
        options: of each call, by the names of ``apply_async``; ``expires`` and ``countdown`` count from the time at
            which it is due.
        enabled: False: declared, and not due until it is enabled.
        jitter_seconds: each call comes up to so much later.
        overlap: what becomes of a call that comes while the one before has not ended: it runs as well (``allow``), or
            not (``skip``).
        catch_up: what becomes of calls that come late, after the next one was due: ``one`` runs for all that were due
            until it began, ``all`` run, or none does (``skip``).
    """

    name: str
    task: str
    timing: Timing
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    jitter_seconds: float = 0
    overlap: Overlap = "allow"
    catch_up: CatchUp = "one"

    @property
    def schedule(self) -> Schedule:
        """When it is due."""
        return self.timing.schedule

    @property
    def timezone(self) -> str:
        """The IANA name of the zone its schedule is in."""
        return self.schedule.timezone or "UTC"

    def fire_times(self, after: datetime) -> Iterator[datetime]:
        """The times after a moment at which it is due, in UTC."""
        due = self.timing.following(after.astimezone(UTC))
        while due is not None:
            yield due
            due = self.timing.following(due)


def check(entry: ScheduleEntry) -> ScheduleEntry:
    """Whether what an entry says can be had, as far as it can be told without the application.

    Raises:
        ScheduleError: it can't; names the entry.
    """
    where = f"periodic task {entry.name!r}"
    if not entry.name:
        raise ScheduleError(f"the periodic task that calls {entry.task} has an empty name")
    match entry.schedule:
        case schedule(run_every=every) if every % timedelta(seconds=1):
            raise ScheduleError(f"{where}: an interval is a whole number of seconds, not {every.total_seconds():g}")
    start, end = entry.timing.start, entry.timing.end
    if start is not None and end is not None and start >= end:
        raise ScheduleError(f"{where}: it ends at {end.isoformat()}, before it starts, at {start.isoformat()}")
    if any(each is not None and each.microsecond for each in (start, end)):
        raise ScheduleError(f"{where}: start and end are whole seconds")
    if not 0 <= entry.jitter_seconds <= 86_400:  # noqa: PLR2004 - EventBridge's longest flexible window
        raise ScheduleError(f"{where}: jitter is {entry.jitter_seconds:g} s; it is from 0 to a day, 86400")
    for name, value, known in (
        ("overlap", entry.overlap, ("allow", "skip")),
        ("catch_up", entry.catch_up, ("one", "all", "skip")),
    ):
        if value not in known:
            raise ScheduleError(f"{where}: {name} is {value!r}; it is one of {', '.join(known)}")
    return entry
