"""``crontab``: local times that match a minute, an hour, a weekday, a day and a month.

Around changes of a zone's clock the times are those of Celery 5.7. A time that the clock skips is moved later by the
length of the gap; of several skipped times, only the first is due. A time that repeats is due the first time, and with
``both_hours`` both times.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final

from taskq_cloud.core.model.option_values import aware
from taskq_cloud.core.schedules import fields
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
from taskq_cloud.core.schedules.fields import CronSpec
from taskq_cloud.errors import ScheduleError

LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LOOK_BACK: Final = timedelta(hours=26)
"""A time longer than any change of a clock: the greatest was Samoa's in 2011, of a whole day."""
_CRONTAB_FIELDS: Final = 5


@dataclass(frozen=True, slots=True, init=False, repr=False)
class crontab:
    """A schedule of all local times that match five fields.

    Two crontabs are equal if they stand for the same times, however their fields are written.

    Args:
        minute: 0 to 59.
        hour: 0 to 23.
        day_of_week: 0 (Sunday) to 6, or names: ``"mon-fri"``.
        day_of_month: 1 to 31; unlike in cron, a day must match both this field and ``day_of_week``.
        month_of_year: 1 to 12, or names.
        timezone: the IANA name of the time zone of the fields; None: the entry's, the application's, or else UTC.
        nowfun: a function that returns the time now; for tests.
        both_hours: only with ``hour="*"``: when the clock is set back, the task also runs in the hour that repeats, as
            in cron. By default it pauses for that hour, as in Celery.

    Each field is a number, a collection of numbers, or a text: ``*``, ``a-b`` (which wraps around if ``b`` is less),
    ``*/step``, ``a-b/step``, names, or a list of these with commas.

    Raises:
        ScheduleError: a field can't be read or is out of range, no month has such a day, or the zone is unknown.
        TypeError: a field has another type.
    """

    minute: frozenset[int]
    hour: frozenset[int]
    day_of_week: frozenset[int]
    day_of_month: frozenset[int]
    month_of_year: frozenset[int]
    timezone: str | None
    nowfun: Now | None
    both_hours: bool
    written: tuple[str, ...] = field(compare=False)
    """The fields as they were written, in the order of a crontab file."""

    def __init__(
        self,
        minute: CronSpec = "*",
        hour: CronSpec = "*",
        day_of_week: CronSpec = "*",
        day_of_month: CronSpec = "*",
        month_of_year: CronSpec = "*",
        *,
        timezone: str | tzinfo | None = None,
        nowfun: Now | None = None,
        both_hours: bool = False,
    ) -> None:
        given = {
            fields.MINUTE: minute,
            fields.HOUR: hour,
            fields.DAY_OF_MONTH: day_of_month,
            fields.MONTH_OF_YEAR: month_of_year,
            fields.DAY_OF_WEEK: day_of_week,
        }
        # An iterator can be read only once, and the fields are read twice.
        given = {each: _listed(spec) for each, spec in given.items()}
        for each, spec in given.items():
            object.__setattr__(self, each.name, each.expand(spec))
        object.__setattr__(self, "timezone", zone_name(timezone))
        object.__setattr__(self, "nowfun", nowfun)
        object.__setattr__(self, "both_hours", both_hours)
        object.__setattr__(self, "written", tuple(map(fields.text_of, given.values())))
        if not any(day <= LONGEST_MONTHS[month - 1] for month in self.month_of_year for day in self.day_of_month):
            raise ScheduleError(
                f"crontab: day_of_month={self.written[2]!r} never occurs in month_of_year={self.written[3]!r}"
            )
        if both_hours and self.hour != fields.HOUR.all:
            raise ScheduleError(
                f"crontab: both_hours=True needs hour='*', and hour is {self.written[1]!r}: a task of certain hours "
                "would run twice on the day on which an hour repeats; remove both_hours"
            )

    @classmethod
    def from_string(cls, text: str, timezone: str | tzinfo | None = None, *, both_hours: bool = False) -> crontab:
        """Read the five fields of a crontab file: minute, hour, day of month, month, day of week.

        Raises:
            ScheduleError: the text has another number of fields, or a field can't be read.
        """
        parts = text.split()
        if len(parts) != _CRONTAB_FIELDS:
            raise ScheduleError(
                f"crontab {text!r:.99} has {len(parts)} fields, not five: "
                "minute, hour, day of month, month, day of week"
            )
        minute, hour, day_of_month, month_of_year, day_of_week = parts
        return cls(minute, hour, day_of_week, day_of_month, month_of_year, timezone=timezone, both_hours=both_hours)

    def __repr__(self) -> str:
        zone = f", timezone={self.timezone!r}" if self.timezone else ""
        zone += ", both_hours=True" if self.both_hours else ""
        return f"crontab.from_string({' '.join(each.replace(' ', '') for each in self.written)!r}{zone})"

    def in_timezone(self, timezone: str) -> crontab:
        """A copy of the crontab in a time zone; the crontab itself if it has a zone already."""
        if self.timezone is not None:
            return self
        minute, hour, day_of_month, month_of_year, day_of_week = self.written
        more: dict[str, Any] = {"nowfun": self.nowfun, "both_hours": self.both_hours}
        return crontab(minute, hour, day_of_week, day_of_month, month_of_year, timezone=timezone, **more)

    @property
    def zone(self) -> tzinfo:
        """The time zone of the fields."""
        return zone_named(self.timezone)

    def remaining_delta(
        self, last_run_at: datetime, tz: str | tzinfo | None = None
    ) -> tuple[datetime, timedelta, datetime]:
        """The last run, the time from it to the next run on the local clock, and the time now, all in one zone."""
        zone = self.zone if tz is None else zone_named(zone_name(tz))
        last = aware(last_run_at).astimezone(zone)
        wall = last.replace(tzinfo=None)
        return last, self._next_wall(wall) - wall, now_of(self.nowfun).astimezone(zone)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time from now until a task that last ran at ``last_run_at`` is due; negative if that time is past."""
        return self._step(aware(last_run_at)) - now_of(self.nowfun)

    def is_due(self, last_run_at: datetime) -> ScheduleState:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds until it is due next."""
        remaining = self.remaining_estimate(last_run_at)
        if remaining > timedelta(0):
            return ScheduleState(is_due=False, next=remaining.total_seconds())
        now = now_of(self.nowfun)
        return ScheduleState(is_due=True, next=(self._step(now) - now).total_seconds())

    def following(self, moment: datetime, anchor: datetime = EPOCH) -> datetime:
        """The first time after ``moment`` that matches, in UTC; ``anchor`` isn't used."""
        skipped = self._offset(moment) - self._offset(moment - _LOOK_BACK)
        if skipped <= timedelta(0) or self._offset(moment - skipped) == self._offset(moment):
            return self._step(moment)
        # The times just after a skipped hour depend on the times within it.
        due = moment - skipped - timedelta(minutes=1)
        while (due := self._step(due)) <= moment:
            pass
        return due

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(UTC).astimezone(self.zone).utcoffset() or timedelta(0)

    def _step(self, last: datetime) -> datetime:
        zone = self.zone
        wall = last.astimezone(zone).replace(tzinfo=None)
        if self.both_hours:
            return self._step_in_both_hours(last, wall)
        while True:
            wall = self._next_wall(wall)
            moment = utc_of(wall, zone)
            # Celery differs after a run in the second of two equal hours: it goes on with the times of the first one.
            if moment > last:
                return moment

    def _step_in_both_hours(self, last: datetime, wall: datetime) -> datetime:
        # If the clock is set back soon, local times before this one come again.
        wall -= max(self._offset(last) - self._offset(last + _LOOK_BACK), timedelta(0))
        second: datetime | None = None
        while True:
            wall = self._next_wall(wall)
            first, *again = instants_of(wall, self.zone)
            if second is None:
                second = next((each for each in again if each > last), None)
            if first > last:
                return first if second is None else min(first, second)

    def matches_day(self, day: date) -> bool:
        """Whether a local day matches the fields for day, month and weekday."""
        return (
            day.month in self.month_of_year
            and day.day in self.day_of_month
            and day.isoweekday() % 7 in self.day_of_week
        )

    def _next_wall(self, wall: datetime) -> datetime:
        """The first matching local time after the minute of ``wall``."""
        if self.matches_day(wall.date()):
            if wall.hour in self.hour:
                later = [minute for minute in self.minute if minute > wall.minute]
                if later:
                    return wall.replace(minute=min(later), second=0, microsecond=0)
            hours = [hour for hour in self.hour if hour > wall.hour]
            if hours:
                return wall.replace(hour=min(hours), minute=min(self.minute), second=0, microsecond=0)
        day = next(day for day in self._days(wall.date()) if day > wall.date())
        return datetime(day.year, day.month, day.day, min(self.hour), min(self.minute))  # noqa: DTZ001 - a wall clock

    def _days(self, begin: date) -> Iterator[date]:
        """The matching days from the month of ``begin`` on."""
        for year in range(begin.year, date.max.year + 1):
            for month in sorted(self.month_of_year):
                if year == begin.year and month < begin.month:
                    continue
                for day in sorted(self.day_of_month):
                    if day <= monthrange(year, month)[1] and self.matches_day(date(year, month, day)):
                        yield date(year, month, day)


def _listed(spec: CronSpec) -> CronSpec:
    return frozenset(spec) if isinstance(spec, Iterable) and not isinstance(spec, str) else spec
