"""``ffwd``: a step forwards in time, which ``celery.utils.time`` offers and ``crontab`` answers with."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta
from typing import Any, TypeVar, overload

T = TypeVar("T")


def _given(fields: dict[str, T | None]) -> dict[str, T]:
    return {name: value for name, value in fields.items() if value is not None}


class ffwd:
    """A step forwards in time, which sets fields of the time it is added to, and then adds weeks.

    Args:
        year: the year.
        month: the month.
        weeks: the weeks to add.
        weekday: the weekday to go forward to, 0 (Monday) to 6.
        day: the day; in a month without that day, the month's last day.
        hour: the hour.
        minute: the minute.
        second: the second.
        microsecond: the microsecond.
    """

    def __init__(
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        minute: int | None = None,
        second: int | None = None,
        microsecond: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.year, self.month, self.day = year, month, day
        self.hour, self.minute, self.second, self.microsecond = hour, minute, second, microsecond
        self.weeks, self.weekday, self.days = weeks, weekday, weeks * 7

    def __repr__(self) -> str:
        fields = {**self._fields(), **_given({"weeks": self.weeks, "weekday": self.weekday})}
        return f"ffwd({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    @overload
    def __radd__(self, other: datetime) -> datetime: ...
    @overload
    def __radd__(self, other: date) -> date: ...
    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, date):
            return NotImplemented
        year, month = self.year or other.year, self.month or other.month
        day = min(monthrange(year, month)[1], self.day or other.day)
        found = other.replace(**{**self._fields(), "year": year, "month": month, "day": day})
        ahead = 0 if self.weekday is None else (self.weekday - found.weekday()) % 7
        return found + timedelta(days=ahead + self.days)

    def _fields(self) -> dict[str, int]:
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return _given({name: getattr(self, name) for name in names})
