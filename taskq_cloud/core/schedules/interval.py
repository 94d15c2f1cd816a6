"""``schedule``: an interval, counted from the last run, or from an anchor that makes its times equal everywhere.

A ``relative`` interval is rounded down to its unit on the local clock: days, hours or minutes. Around changes of the
clock its times are those of Celery 5.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from taskq_cloud.core.model.option_values import aware
from taskq_cloud.core.schedules.base import (
    EPOCH,
    Now,
    ScheduleState,
    instants_of,
    length_of,
    now_of,
    utc_of,
    zone_name,
    zone_named,
)
from taskq_cloud.errors import ScheduleError

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class schedule:
    """A schedule of times that are one interval apart.

    Args:
        run_every: the interval as a timedelta, or in seconds.
        relative: each time is rounded down to the interval's unit: an interval of days to midnight, of hours to the
            hour, of minutes to the minute.
        timezone: the IANA name of the time zone for ``relative``; None: the entry's, the application's, or the zone of
            the time that a method is given.
        nowfun: a function that returns the time now; for tests.

    Raises:
        ScheduleError: the interval is not positive, or the zone is unknown.
        TypeError: ``run_every`` isn't an interval.
    """

    run_every: timedelta
    relative: bool
    timezone: str | None
    nowfun: Now | None = field(default=None)

    def __init__(
        self,
        run_every: float | timedelta,
        relative: bool = False,
        nowfun: Now | None = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        if isinstance(run_every, bool) or not isinstance(run_every, int | float | timedelta):
            raise TypeError(f"schedule: run_every is {run_every!r}; give a timedelta or a number of seconds")
        every = run_every if isinstance(run_every, timedelta) else length_of(run_every, "schedule: run_every")
        if every <= timedelta(0):
            raise ScheduleError(f"schedule: run_every is {every.total_seconds():g} s; it must be more than 0")
        object.__setattr__(self, "run_every", every)
        object.__setattr__(self, "relative", relative)
        object.__setattr__(self, "timezone", zone_name(timezone))
        object.__setattr__(self, "nowfun", nowfun)

    def __repr__(self) -> str:
        relative = ", relative=True" if self.relative else ""
        zone = f", timezone={self.timezone!r}" if self.timezone else ""
        return f"schedule({self.seconds:g}{relative}{zone})"

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return self.run_every.total_seconds()

    @property
    def unit(self) -> timedelta | None:
        """The unit to which a relative interval is rounded; None below a minute."""
        return next((unit for unit in (DAY, HOUR, MINUTE) if self.run_every >= unit), None)

    def in_timezone(self, timezone: str) -> schedule:
        """A copy of the schedule in a time zone; the schedule itself if it has a zone already."""
        if self.timezone is not None:
            return self
        return schedule(self.run_every, self.relative, self.nowfun, timezone=timezone)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time from now until a task that last ran at ``last_run_at`` is due; negative if that time is past."""
        return self._step(aware(last_run_at)) - now_of(self.nowfun)

    def is_due(self, last_run_at: datetime) -> ScheduleState:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds until it is due next."""
        remaining = self.remaining_estimate(last_run_at)
        if remaining > timedelta(0):
            return ScheduleState(is_due=False, next=remaining.total_seconds())
        if not self.relative:
            return ScheduleState(is_due=True, next=self.seconds)
        now = now_of(self.nowfun)
        again = self._step(now.astimezone(aware(last_run_at).tzinfo)) - now
        return ScheduleState(is_due=True, next=again.total_seconds() if again > timedelta(0) else self.seconds)

    def following(self, moment: datetime, anchor: datetime = EPOCH) -> datetime:
        """The first time after ``moment`` at which the task is due, counted from an anchor, in UTC.

        Relative intervals of days are counted in calendar days from the anchor's day, relative intervals of hours and
        minutes in whole units from the last full hour or minute at the anchor.
        """
        moment = moment.astimezone(UTC)
        if not self.relative or self.unit != DAY:
            every, first = self.steps(anchor)
            return first + every * ((moment - first) // every + 1)
        zone, every = zone_named(self.timezone), self.run_every // DAY * DAY
        wall = _floor(anchor.astimezone(zone).replace(tzinfo=None), DAY)
        steps = (moment.astimezone(zone).replace(tzinfo=None) - wall) // every
        return next(
            due for ahead in range(3) if (due := utc_of(wall + every * (steps + ahead), zone)) > moment
        )  # where the clock skips midnight, the day's time comes later

    def steps(self, anchor: datetime) -> tuple[timedelta, datetime]:
        """The distance between the times, and one of them, in UTC. Relative days have none, as their lengths differ."""
        anchor = anchor.astimezone(UTC)
        if not self.relative or self.unit is None:
            return self.run_every, anchor
        zone = zone_named(self.timezone)
        wall = _floor(anchor.astimezone(zone).replace(tzinfo=None), self.unit)
        return self.run_every // self.unit * self.unit, max(each for each in instants_of(wall, zone) if each <= anchor)

    def _step(self, last: datetime) -> datetime:
        if not self.relative:
            return last.astimezone(UTC) + self.run_every
        zone = last.tzinfo if self.timezone is None else zone_named(self.timezone)
        if zone is None:
            raise AssertionError("aware() gives every time a zone")
        local = last.astimezone(zone)
        start, wall = last.astimezone(UTC), local.replace(tzinfo=None)
        if self.unit == DAY:
            return min(each for each in instants_of(_floor(wall + self.run_every, DAY), zone) if each > start)
        end = start + self.run_every
        end_wall = end.astimezone(zone).replace(tzinfo=None)
        unit = self.unit or timedelta(seconds=1)
        candidates = instants_of(_floor(end_wall, unit), zone)
        rounded = max((each for each in candidates if each <= end), default=min(candidates))
        if rounded > start or self.unit is None:
            return rounded
        # The clock went back by less than the unit: the rounded time lies before the last run.
        for other in (end_wall + self.unit, wall + self.run_every):
            candidates += instants_of(_floor(other, self.unit), zone)
        future = [each for each in candidates if each > start]
        return max((each for each in future if each <= end), default=min(future, default=end))


def _floor(wall: datetime, unit: timedelta) -> datetime:
    return wall - (wall - datetime(1, 1, 1)) % unit  # noqa: DTZ001 - a wall clock
