"""Triggers: the local times at which a platform fires for a periodic task.

A platform fires at whole minutes, at local times that match five fields. Schedules can mean more than that, and the
difference is bridged in one of two ways:

- By a guard: the platform fires more often than the task is due, and a worker runs nothing for a firing at which the
  task isn't due (``core.execution.steps.tick_policy``). This is used for crontabs that limit days of the month and
  weekdays, for intervals that don't divide a day, and, in UTC, for local times that a zone skips or repeats, where
  platforms differ from Celery.
- By a span: each firing stands for all ticks of the following minute, or of up to a quarter of an hour. A worker sends
  them, and the broker holds them back until they are due. This is used for intervals of seconds, for intervals whose
  guard would fire more often than a span, and for the sun.

Both give exact times, and no firing depends on an earlier one: after a lost firing, the next one works as always.
Anchored ``rate`` expressions are not used, as a schedule can't be changed while its anchor lies in the past.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import groupby, pairwise
from math import gcd
from typing import Final, TypedDict

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.schedules import fields
from taskq_cloud.core.schedules.base import zone_named
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.entry import Timing
from taskq_cloud.core.schedules.interval import DAY, schedule
from taskq_cloud.core.schedules.sun import solar
from taskq_cloud.errors import ScheduleError

LONG_SPAN_SECONDS: Final = 900
"""The longest span: SQS holds a message back for at most that (``DelaySeconds``); other brokers may need less."""
SHORT_SPAN_SECONDS: Final = 60
"""The span of intervals under a minute: 60 messages at once are enough, and a pause takes effect sooner."""
HORIZON_YEARS: Final = 30
"""Clock changes that are further ahead than this are ignored."""
_HOUR_MINUTES: Final = 60
_DAY_MINUTES: Final = 1440
_WEEK_DAYS: Final = 7
_SOLAR_SAMPLE_DAYS: Final = 2 * 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """The local times at which a platform is to fire, for ``eventbridge`` and ``cloud_scheduler`` to write down.

    Args:
        minute: the minutes of an hour.
        hour: the hours of a day.
        month_of_year: the months.
        day_of_month: the days of a month; None: every day.
        day_of_week: the days of a week, with 0 for Sunday; None: every day. Never given together with ``day_of_month``.
        week: 1 for the first such weekday of a month only, 2 for the second...; only with a single ``day_of_week``.
        timezone: the IANA name of the time zone.
        span_seconds: the length of the span that each firing stands for; 0 if a firing stands for its own time.
    """

    minute: frozenset[int]
    hour: frozenset[int]
    month_of_year: frozenset[int] = fields.MONTH_OF_YEAR.all
    day_of_month: frozenset[int] | None = None
    day_of_week: frozenset[int] | None = None
    week: int | None = None
    timezone: str = "UTC"
    span_seconds: int = 0

    def matches_day(self, day: date) -> bool:
        """Whether the trigger fires on a local day."""
        return (
            day.month in self.month_of_year
            and (self.day_of_month is None or day.day in self.day_of_month)
            and (self.day_of_week is None or day.isoweekday() % _WEEK_DAYS in self.day_of_week)
            and (self.week is None or (day.day - 1) // _WEEK_DAYS + 1 == self.week)
        )

    @property
    def firings_a_year(self) -> int:
        """The number of firings in a year of 365 days that begins on a Thursday."""
        days = sum(self.matches_day(date(2026, 1, 1) + timedelta(days=n)) for n in range(365))
        return days * len(self.hour) * len(self.minute)


def triggers_of(
    timing: Timing, now: datetime, *, weeks: bool, longest_span_seconds: float = LONG_SPAN_SECONDS
) -> list[Trigger]:
    """Translate a timing into triggers, which together fire whenever the task is due.

    Args:
        timing: the timing.
        now: the time; only fire times after it matter.
        weeks: whether the platform can say "the second Monday of a month".
        longest_span_seconds: the longest time for which a tick can be held back: no span is longer.

    Raises:
        ScheduleError: the schedule isn't a crontab, schedule or solar, or it needs a longer span than is possible.
    """
    match timing.schedule:
        case crontab() as cron:
            return _of_crontab(cron, now, weeks=weeks)
        case schedule(relative=True, unit=unit) as interval if unit == DAY:
            # The platform fires at every local midnight; a guard leaves out the days between.
            return _of_crontab(crontab(0, 0, timezone=interval.timezone), now, weeks=weeks)
        case schedule() as interval:
            return _of_interval(interval, timing.anchor, longest_span_seconds)
        case solar() as sun:
            return [_of_sun(sun, now, _span(longest_span_seconds))]
    raise ScheduleError(f"a platform can't be given the schedule {timing.schedule!r}; use crontab, schedule or solar")


def silent_hour(cron: crontab, now: datetime) -> tuple[datetime, datetime] | None:
    """The next time at which the clock is set back and a crontab of consecutive hours pauses; None: it never does.

    Args:
        cron: the crontab.
        now: the time.

    Returns:
        The first and the last tick around the pause, in the crontab's zone.
    """
    if cron.both_hours:
        return None
    zone = cron.zone
    for begin, end, before, after in _clock_changes(cron.timezone or "UTC", now.year):
        # The local times from begin to end come again at the offset ``after``.
        again = begin.replace(tzinfo=UTC) - timedelta(minutes=after)
        if before <= after or again <= now.astimezone(UTC) or not _matches_between(cron, begin, end):
            continue
        last = cron.following(again - (end - begin) - timedelta(seconds=1))
        while (following := cron.following(last)) < again:
            last = following
        pause = last.astimezone(zone), following.astimezone(zone)
        if pause[1].replace(tzinfo=None) - pause[0].replace(tzinfo=None) <= timedelta(hours=1):
            return pause  # by the clock on the wall, it hasn't paused
    return None


def _of_crontab(cron: crontab, now: datetime, *, weeks: bool) -> list[Trigger]:
    name = cron.timezone or "UTC"
    if any(_matches_between(cron, *change) for change in _clock_changes(name, now.year)):
        return _in_utc(cron, now)
    return [Trigger(minute=cron.minute, hour=cron.hour, timezone=name, **_days(cron, weeks=weeks))]


class _Days(TypedDict):
    """The arguments of ``Trigger`` that say on which days it fires."""

    month_of_year: frozenset[int]
    day_of_month: frozenset[int] | None
    day_of_week: frozenset[int] | None
    week: int | None


def _days(cron: crontab, *, weeks: bool) -> _Days:
    """The days of a crontab for a trigger. If days of both kinds are limited, the kind with fewer days is used."""
    of_month = None if cron.day_of_month == fields.DAY_OF_MONTH.all else cron.day_of_month
    of_week = None if cron.day_of_week == fields.DAY_OF_WEEK.all else cron.day_of_week
    week: int | None = None
    if of_month is not None and of_week is not None:
        whole = [each for each in range(1, 5) if of_month == frozenset(range(7 * each - 6, 7 * each + 1))]
        if weeks and whole and len(of_week) == 1:
            of_month, week = None, whole[0]
        elif len(of_month) / 30.4 <= len(of_week) / _WEEK_DAYS:
            of_week = None
        else:
            of_month = None
    return {"month_of_year": cron.month_of_year, "day_of_month": of_month, "day_of_week": of_week, "week": week}


def _in_utc(cron: crontab, now: datetime) -> list[Trigger]:
    """Triggers in UTC that cover the local times of a crontab under each of the zone's offsets."""
    offsets = sorted({offset for change in _clock_changes(cron.timezone or "UTC", now.year) for offset in change[2:]})
    days: dict[int, tuple[frozenset[int], frozenset[int], frozenset[int]]] = {}
    for offset in offsets:
        for local in (hour * 60 + minute for hour in cron.hour for minute in cron.minute):
            shift, minute = divmod(local - offset, _DAY_MINUTES)
            added = _shifted(cron, shift)
            known = days.get(minute, added)
            days[minute] = (known[0] | added[0], known[1] | added[1], known[2] | added[2])
    triggers = []
    for of_day in sorted(set(days.values()), key=lambda each: [sorted(part) for part in each]):
        months, of_month, of_week = of_day
        # _days needs a crontab, to choose the kind of days with fewer days.
        chosen = crontab(day_of_week=of_week, day_of_month=of_month, month_of_year=months)
        minutes = [minute for minute, each in days.items() if each == of_day]
        for hours, of_hour in _by_hours(minutes):
            triggers.append(Trigger(minute=of_hour, hour=hours, **_days(chosen, weeks=False)))
    return triggers


def _shifted(cron: crontab, shift: int) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    """Shift the months and days of a crontab by some days; the result has more days where months differ in length."""
    of_week = frozenset((day + shift) % _WEEK_DAYS for day in cron.day_of_week)
    if shift == 0 or (cron.day_of_month == fields.DAY_OF_MONTH.all and cron.month_of_year == fields.MONTH_OF_YEAR.all):
        return cron.month_of_year, cron.day_of_month, of_week
    months = cron.month_of_year | {(month - 1 + shift) % 12 + 1 for month in cron.month_of_year}
    of_month = {day + shift for day in cron.day_of_month} & fields.DAY_OF_MONTH.all
    if shift > 0 and cron.day_of_month & {28, 29, 30, 31}:
        of_month |= {1}
    if shift < 0 and 1 in cron.day_of_month:
        of_month |= {28, 29, 30, 31}
    return frozenset(months), frozenset(of_month), of_week


def _by_hours(minutes_of_day: Iterable[int]) -> list[tuple[frozenset[int], frozenset[int]]]:
    """Split minutes of a day into pairs of hours and minutes; hours with equal minutes share a pair."""
    of_hour: dict[int, set[int]] = {}
    for each in minutes_of_day:
        of_hour.setdefault(each // 60, set()).add(each % 60)
    pairs = sorted((sorted(minutes), hour) for hour, minutes in of_hour.items())
    return [
        (frozenset(hour for _, hour in hours), frozenset(minutes))
        for minutes, hours in groupby(pairs, key=lambda pair: pair[0])
    ]


def _span(longest_seconds: float) -> int:
    """The longest span of whole minutes that divides an hour, up to ``LONG_SPAN_SECONDS``."""
    minutes = int(min(longest_seconds, LONG_SPAN_SECONDS)) // 60
    if minutes < 1:
        raise ScheduleError(
            "its messages have to be held back for a minute, but its queue can't do that in addition to the countdown "
            "and the jitter: lower them, or use another queue"
        )
    return 60 * next(each for each in range(minutes, 0, -1) if _HOUR_MINUTES % each == 0)


def _of_interval(interval: schedule, anchor: datetime, longest_span_seconds: float) -> list[Trigger]:
    every, begin = interval.steps(anchor)
    seconds, first = int(every.total_seconds()), int(begin.timestamp())
    if seconds % 60 == 0 and first % 60 == 0:
        apart = gcd(seconds // 60, _DAY_MINUTES)
        exact = apart == seconds // 60
        if exact or apart * 60 >= min(LONG_SPAN_SECONDS, longest_span_seconds):
            minutes = range(first // 60 % apart, _DAY_MINUTES, apart)
            return [Trigger(minute=minute, hour=hour) for hour, minute in _by_hours(minutes)]
    span_seconds = _span(SHORT_SPAN_SECONDS if seconds < SHORT_SPAN_SECONDS else longest_span_seconds)
    return [_every(min(span_seconds, _span(longest_span_seconds)), fields.HOUR.all)]


def _of_sun(sun: solar, now: datetime, span_seconds: int) -> Trigger:
    """A trigger whose spans cover the hours of UTC in which, or close to which, the sun's event occurs."""
    hours, due = set(), now.astimezone(UTC)
    for _ in range(_SOLAR_SAMPLE_DAYS):
        due = sun.following(due)
        hours |= {(due + timedelta(minutes=minutes)).hour for minutes in (-10, 0, 10)}
    return _every(span_seconds, frozenset(hours))


def _every(span_seconds: int, hours: frozenset[int]) -> Trigger:
    return Trigger(minute=frozenset(range(0, 60, span_seconds // 60)), hour=hours, span_seconds=span_seconds)


def _matches_between(cron: crontab, begin: datetime, end: datetime, *_offsets: int) -> bool:
    """Whether a crontab matches a local time from ``begin`` on and before ``end``."""
    while begin < end:
        if begin.hour in cron.hour and begin.minute in cron.minute and cron.matches_day(begin.date()):
            return True
        begin += timedelta(minutes=1)
    return False


@lru_cache(maxsize=32)
def _clock_changes(name: str, year: int) -> tuple[tuple[datetime, datetime, int, int], ...]:
    """The local times that a zone skips or repeats, from the year before on, and the offsets around each in minutes."""
    zone, found = zone_named(name), []
    days = [datetime(year - 1, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(366 * (HORIZON_YEARS + 1))]
    for begin, end in pairwise(days):
        if begin.astimezone(zone).utcoffset() == end.astimezone(zone).utcoffset():
            continue
        low, high = begin, end
        while high - low > timedelta(minutes=1):
            middle = low + (high - low) // 2
            middle = middle.replace(second=0, microsecond=0)
            if middle.astimezone(zone).utcoffset() == begin.astimezone(zone).utcoffset():
                low = middle
            else:
                high = middle
        before, after = _offset(low, zone), _offset(high, zone)
        wall = high.replace(tzinfo=None)
        first, last = sorted((before, after))
        found.append((wall + timedelta(minutes=first), wall + timedelta(minutes=last), before, after))
    return tuple(found)


def _offset(moment: datetime, zone: tzinfo) -> int:
    offset = moment.astimezone(zone).utcoffset() or timedelta(0)
    return int(offset.total_seconds()) // 60
