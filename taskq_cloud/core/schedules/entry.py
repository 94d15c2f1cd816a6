"""A declared periodic task and the times at which it is due. ``beat.declarations`` reads the declarations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.schedules.base import EPOCH, Schedule
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.interval import schedule
from taskq_cloud.errors import ScheduleError

Overlap = Literal["allow", "skip"]
CatchUp = Literal["one", "all", "skip"]
OVERLAPS: Final[tuple[str, ...]] = get_args(Overlap)
CATCH_UPS: Final[tuple[str, ...]] = get_args(CatchUp)

_SECOND: Final = timedelta(seconds=1)
_MINUTE_SECONDS: Final = 60
_LONGEST_JITTER_SECONDS: Final = 86_400
"""The longest flexible window of EventBridge Scheduler."""
_LONGEST_LOOK_BACK: Final = timedelta(days=366 * 41)
"""The 29th of February falls on a given weekday every 28 years, or after 40 if a century year isn't a leap year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The fire times of a periodic task: the times of a schedule, from a start to an end.

    Args:
        schedule: the schedule, with a known time zone.
        start: the first possible fire time, from which an interval is counted too; None: there is no first one, and an
            interval is counted from 1970-01-01T00:00Z.
        end: the time from which on the task is never due; None: there is no end.
    """

    schedule: Schedule
    start: datetime | None = None
    end: datetime | None = None

    @property
    def anchor(self) -> datetime:
        """The time from which an interval is counted."""
        return self.start or EPOCH

    def following(self, moment: datetime) -> datetime | None:
        """The first fire time after ``moment``, in UTC; None if there is none before the end."""
        try:
            if self.start is not None:
                moment = max(moment, self.start - _SECOND)
            due = self.schedule.following(moment, self.anchor)
        except (OverflowError, StopIteration):  # before the year 1 or after the year 9999
            return None
        return due if self.end is None or due < self.end else None

    def between(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """The fire times from ``begin`` on and before ``end``, in UTC."""
        due = self.following(begin - _SECOND)
        while due is not None and due < end:
            yield due
            due = self.following(due)

    def fires_at(self, moment: datetime) -> bool:
        """Whether the task is due in exactly this second."""
        return self.following(moment - _SECOND) == moment

    def latest(self, moment: datetime, known: datetime | None = None) -> datetime | None:
        """The last fire time at or before ``moment``, in UTC; None if there was none.

        The number of its steps depends on how long ago that was, and not on how often the task was due.

        Args:
            moment: an aware time.
            known: a fire time at or before ``moment``, if one is known; it saves the search for one.
        """
        due, reach = known, timedelta(minutes=1)
        while due is None:
            due = self.following(moment - reach)
            if due is not None and due <= moment:
                break
            if reach > _LONGEST_LOOK_BACK or (self.start is not None and moment - reach < self.start):
                return None
            due, reach = None, reach * 2
        # A fire time is known at or before which the last one can't be, and a time after which there is none.
        none_after = moment
        while (later := self.following(due)) is not None and later <= none_after:
            due = later
            middle = due + (none_after - due) / 2
            if (after := self.following(middle)) is not None and after <= none_after:
                due = after
            else:
                none_after = middle
        return due

    @property
    def whole_minutes(self) -> bool:
        """Whether all fire times are at the beginning of a minute."""
        match self.schedule:
            case crontab():
                return True
            case schedule(run_every=every):
                seconds = every.total_seconds()
                return seconds % _MINUTE_SECONDS == 0 and self.anchor.timestamp() % _MINUTE_SECONDS == 0
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """A periodic task: a task, its arguments, and the times at which it is called.

    Args:
        name: the entry's name, unique in its application.
        task: the name of the task that is called.
        timing: the times at which the task is due.
        args: the positional arguments of each call.
        kwargs: the keyword arguments of each call.
        options: the options of each call, by the names of ``apply_async``; ``expires`` and ``countdown`` count from the
            time at which the call is due.
        enabled: whether the task is called; an entry that isn't enabled is only declared.
        jitter_seconds: the largest random delay of a call.
        overlap: the handling of a call that comes before the previous one has ended: it runs too (``allow``), or it is
            left out (``skip``).
        catch_up: the handling of late calls, which would begin after the next call is due: one call runs for all that
            are due by then (``one``), all of them run (``all``), or none of them runs (``skip``).
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
        """The schedule of the entry's timing."""
        return self.timing.schedule

    @property
    def timezone(self) -> str:
        """The IANA name of the schedule's time zone."""
        return self.schedule.timezone or "UTC"

    def fire_times(self, after: datetime) -> Iterator[datetime]:
        """The fire times after a time, in UTC."""
        due = self.timing.following(after.astimezone(UTC))
        while due is not None:
            yield due
            due = self.timing.following(due)


def check(entry: ScheduleEntry) -> ScheduleEntry:
    """Check an entry as far as that is possible without its application, and return it.

    Raises:
        ScheduleError: the entry asks for something that isn't supported; the error names the entry.
    """
    where = f"periodic task {entry.name!r}"
    if not entry.name:
        raise ScheduleError(f"the periodic task that calls {entry.task} has an empty name")
    match entry.schedule:
        case schedule(run_every=every) if every % timedelta(seconds=1):
            raise ScheduleError(f"{where}: the interval is {every.total_seconds():g} s; use a whole number of seconds")
    start, end = entry.timing.start, entry.timing.end
    if start is not None and end is not None and start >= end:
        raise ScheduleError(f"{where}: it ends at {end.isoformat()}, before it starts at {start.isoformat()}")
    if any(each is not None and each.microsecond for each in (start, end)):
        raise ScheduleError(f"{where}: start and end must be whole seconds")
    if not 0 <= entry.jitter_seconds <= _LONGEST_JITTER_SECONDS:
        raise ScheduleError(f"{where}: jitter is {entry.jitter_seconds:g} s; use a time from 0 to a day, 86400 s")
    for name, value, known in (
        ("overlap", entry.overlap, OVERLAPS),
        ("catch_up", entry.catch_up, CATCH_UPS),
    ):
        if value not in known:
            raise ScheduleError(f"{where}: {name} is {value!r}; use one of {', '.join(known)}")
    return entry
