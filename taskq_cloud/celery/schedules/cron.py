"""``crontab``: local times that match five fields.

The native crontab computes the next matching time on the calendar. What is here is Celery's: its zones, its answer at
changes of the clock, and the deadline after which a missed run is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final

from taskq_cloud.celery.schedules.base import BaseSchedule, Cronspec, cronfield, schedstate
from taskq_cloud.celery.schedules.cron_fields import crontab_parser
from taskq_cloud.celery.utils.time import ffwd, remaining, timezone
from taskq_cloud.core.schedules import cron as native

_KEPT_CRONTABS: Final = 128
"""How many native crontabs are kept, so that their fields are not read again for each question."""


@lru_cache(maxsize=_KEPT_CRONTABS)
def _calendar(*fields: frozenset[int]) -> native.crontab:
    return native.crontab(*fields, timezone="UTC")


class crontab(BaseSchedule):
    """A schedule of all local times that match five fields; a day must match all three fields of days and months.

    Args:
        minute: 0 to 59.
        hour: 0 to 23.
        day_of_week: 0 (Sunday) to 6, or names: ``"mon-fri"``.
        day_of_month: 1 to 31.
        month_of_year: 1 to 12, or names.
        kwargs: ``nowfun`` and ``app``: see ``BaseSchedule``.

    Raises:
        ValueError: a number is out of range, or the days occur in none of the months.
        ParseException: a text can't be read.
        TypeError: a field is neither a number, a text nor a collection.
    """

    def __init__(
        self,
        minute: Cronspec = "*",
        hour: Cronspec = "*",
        day_of_week: Cronspec = "*",
        day_of_month: Cronspec = "*",
        month_of_year: Cronspec = "*",
        **kwargs: Any,
    ) -> None:
        self._orig_minute = cronfield(minute)
        self._orig_hour = cronfield(hour)
        self._orig_day_of_week = cronfield(day_of_week)
        self._orig_day_of_month = cronfield(day_of_month)
        self._orig_month_of_year = cronfield(month_of_year)
        self._orig_kwargs = kwargs
        self.hour = self._expand_cronspec(hour, 24)
        self.minute = self._expand_cronspec(minute, 60)
        self.day_of_week = self._expand_cronspec(day_of_week, 7)
        self.day_of_month = self._expand_cronspec(day_of_month, 31, 1)
        self.month_of_year = self._expand_cronspec(month_of_year, 12, 1)
        if not any(
            day <= native.LONGEST_MONTHS[month - 1] for month in self.month_of_year for day in self.day_of_month
        ):
            raise ValueError(
                f"Invalid crontab: day_of_month {self._orig_day_of_month!r} never occurs in "
                f"month_of_year {self._orig_month_of_year!r}."
            )
        super().__init__(**kwargs)

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """Read the five fields of a crontab file: minute, hour, day of month, month, day of week.

        Raises:
            ValueError: there are not five fields with single spaces between them, or a field is wrong.
        """
        minute, hour, day_of_month, month_of_year, day_of_week = crontab.split(" ")
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    @staticmethod
    def _expand_cronspec(cronspec: Any, max_: int, min_: int = 0) -> set[Any]:
        """Expand a field: a number, a text or a collection; a set is used as it is."""
        result: set[Any]
        if isinstance(cronspec, int):
            result = {cronspec}
        elif isinstance(cronspec, str):
            result = crontab_parser(max_, min_).parse(cronspec)
        elif isinstance(cronspec, Iterable):
            result = cronspec if isinstance(cronspec, set) else set(cronspec)
        else:
            raise TypeError(
                "Argument cronspec needs to be of any of the following types: int, str, or an iterable type. "
                f"{type(cronspec)!r} was given."
            )
        for number in result:
            if not min_ <= number < min_ + max_:
                raise ValueError(
                    f"Invalid crontab pattern.  Valid range is {min_}-{max_ - 1 + min_}. '{number}' was found."
                )
        return result

    def __repr__(self) -> str:
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_month,
            self._orig_month_of_year,
            self._orig_day_of_week,
        )
        return f"<crontab: {' '.join(map(str, fields))} (m/h/dM/MY/d)>"

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_week,
            self._orig_day_of_month,
            self._orig_month_of_year,
        )
        return type(self), fields, self._orig_kwargs

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__init__(**state)
        self._orig_kwargs = dict(state)

    def remaining_delta(
        self, last_run_at: datetime, tz: str | tzinfo | None = None, ffwd: Any = ffwd
    ) -> tuple[datetime, Any, datetime]:
        """The last run, the step from it to the next run on the local clock, and the time now, all in one zone.

        Args:
            last_run_at: the last run.
            tz: the zone; None: the schedule's.
            ffwd: the class of the step.
        """
        zone = timezone.get_timezone(tz or self.tz)
        last = self.maybe_make_aware(last_run_at).astimezone(zone)
        return last, ffwd(**self._step(last)), self.maybe_make_aware(self.now()).astimezone(zone)

    def _step(self, last: datetime) -> dict[str, int]:
        """The fields that differ between a local time and the next one that matches."""
        wall = last.replace(tzinfo=UTC, fold=0)
        fields = (self.minute, self.hour, self.day_of_week, self.day_of_month, self.month_of_year)
        upcoming = _calendar(*map(frozenset, fields)).following(wall)
        step = {"minute": upcoming.minute, "second": 0, "microsecond": 0}
        if (upcoming.date(), upcoming.hour) == (wall.date(), wall.hour):
            return step
        step["hour"] = upcoming.hour
        if upcoming.date() == wall.date():
            return step
        if self._orig_day_of_month == self._orig_month_of_year == "*":
            return {**step, "weekday": upcoming.weekday(), "weeks": int(upcoming.weekday() == wall.weekday())}
        return {**step, "year": upcoming.year, "month": upcoming.month, "day": upcoming.day}

    def remaining_estimate(self, last_run_at: datetime, ffwd: Any = ffwd) -> timedelta:
        """The time from now until a task that last ran at ``last_run_at`` is due; negative if that time is past."""
        return remaining(*self.remaining_delta(last_run_at, ffwd=ffwd))

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds after which to ask again.

        The setting ``beat_cron_starting_deadline`` is the longest delay, in seconds, of a run that was missed.
        """
        seconds = self.remaining_estimate(last_run_at).total_seconds()
        if seconds > 0:
            return schedstate(is_due=False, next=seconds)
        deadline = self.app.conf.beat_cron_starting_deadline
        is_late = deadline is not None and seconds < 0 and not self._was_due_within(deadline)
        again = self.remaining_estimate(self.now()).total_seconds()
        return schedstate(is_due=not is_late, next=max(again, 0))

    def _was_due_within(self, seconds: float) -> bool:
        """Whether the latest time that matches lies at most some seconds back."""
        now = self.maybe_make_aware(self.now())
        # A step looks for times after its start, and the start itself counts too.
        start = now.astimezone(timezone.utc) - timedelta(seconds=seconds, microseconds=1)
        return self.remaining_estimate(start.astimezone(now.tzinfo)) <= timedelta(0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, crontab):
            return NotImplemented
        fields = ("month_of_year", "day_of_month", "day_of_week", "hour", "minute")
        return all(getattr(other, name) == getattr(self, name) for name in fields) and super().__eq__(other)

    __hash__ = None
