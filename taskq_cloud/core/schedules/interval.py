"""``schedule``: an interval, counted from the last run, or from an anchor where the times are to be the same for all.

``relative`` rounds down to the interval's own unit on the local clock: days, hours or minutes. What that gives where
a clock is changed is what Celery 5.7 makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from taskq_cloud.core.model.validation import aware
from taskq_cloud.core.schedules.base import (
    EPOCH,
    Now,
    ScheduleState,
    instants_of,
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
class schedule:  # noqa: N801 - Celery's name
    """An interval.

    Args:
        run_every: a timedelta, or seconds.
        relative: the time that the interval leads to is rounded down to its unit: an interval of days to midnight, of
            hours to the hour, of minutes to the minute.
        timezone: the zone whose clock that is, by its IANA name; None: the entry's or the application's, or that of
            the time it is asked about.
        nowfun: what gives the time.

    Raises:
        ScheduleError: the interval is not positive, or the zone is unknown.
        TypeError: it is no interval.
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
            raise TypeError(f"schedule: run_every is a timedelta or a number of seconds, not {run_every!r}")
        every = run_every if isinstance(run_every, timedelta) else timedelta(seconds=run_every)
        if every <= timedelta(0):
            raise ScheduleError(f"schedule: run_every is {every.total_seconds():g} s; it has to be more than 0")
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
        """What a relative interval is rounded to; None below a minute."""
        return next((unit for unit in (DAY, HOUR, MINUTE) if self.run_every >= unit), None)

    def in_timezone(self, timezone: str) -> schedule:
        """The same interval by the clock of a zone, if it has none of its own."""
        if self.timezone is not None:
            return self
        return schedule(self.run_every, self.relative, self.nowfun, timezone=timezone)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long until it is due, for one that last ran then; negative where that is past."""
        return self._step(aware(last_run_at)) - now_of(self.nowfun)

    def is_due(self, last_run_at: datetime) -> ScheduleState:
        """Whether it is due, and in how many seconds it is, or is again."""
        remaining = self.remaining_estimate(last_run_at)
        if remaining > timedelta(0):
            return ScheduleState(is_due=False, next=remaining.total_seconds())
        if not self.relative:
            return ScheduleState(is_due=True, next=self.seconds)
        now = now_of(self.nowfun)
        again = self._step(now.astimezone(aware(last_run_at).tzinfo)) - now
        return ScheduleState(is_due=True, next=again.total_seconds() if again > timedelta(0) else self.seconds)

    def following(self, moment: datetime, anchor: datetime = EPOCH) -> datetime:
        """The first time after ``moment`` at which it is due, counted from an anchor, in UTC.

        Relative intervals of days are counted in calendar days from the anchor's, those of hours and minutes in whole
        units from the anchor's last full one.
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
        )  # a midnight that is skipped comes later than the day begins

    def steps(self, anchor: datetime) -> tuple[timedelta, datetime]:
        """What its times are apart, and one of them, in UTC; not of relative days, which are not all as long."""
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
