"""What every schedule is to those who use it, and the time zones it may be in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import NamedTuple, Protocol, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from taskq_cloud.core.model.validation import aware
from taskq_cloud.errors import ScheduleError, TimeZonesMissing

Now: TypeAlias = Callable[[], datetime]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""What intervals are counted from where nothing else is said."""


class ScheduleState(NamedTuple):
    """Whether a task is due, and in how many seconds it is, or is again: Celery's ``schedstate``."""

    is_due: bool
    next: float


class Schedule(Protocol):
    """When a task is due."""

    @property
    def timezone(self) -> str | None:
        """The IANA name of the zone it is meant in; None: nobody has said, and it is UTC."""
        ...

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long until it is due, for one that last ran then; negative where that is past."""
        ...

    def is_due(self, last_run_at: datetime) -> ScheduleState:
        """Whether it is due, and when to ask again."""
        ...

    def following(self, moment: datetime, anchor: datetime = EPOCH) -> datetime:
        """The first time after ``moment`` at which it is due, in UTC.

        Args:
            moment: aware.
            anchor: what an interval is counted from, aware; others don't need it.
        """
        ...

    def in_timezone(self, timezone: str) -> Schedule:
        """The same schedule in a zone, if it has none of its own."""
        ...


def zone_named(name: str | None) -> tzinfo:
    """The time zone of a name; UTC for None.

    Raises:
        ScheduleError: there is none of that name; says which are close.
        TimeZonesMissing: there is none at all.
    """
    if name is None or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        known = available_timezones()
        if not known:
            raise TimeZonesMissing(name) from None
        close = get_close_matches(str(name), known, n=3)
        raise ScheduleError(
            f"unknown time zone {name!r}; it takes a name of the IANA database, such as "
            f"{', '.join(map(repr, close or ['Europe/Paris', 'UTC']))}"
        ) from None


def zone_name(timezone: str | tzinfo | None) -> str | None:
    """The checked name of a time zone, given by name or as a ``ZoneInfo``.

    Raises:
        ScheduleError: it is unknown, or has no name of the IANA database.
    """
    if timezone is None or timezone is UTC:
        return None if timezone is None else "UTC"
    name = timezone if isinstance(timezone, str) else getattr(timezone, "key", None)
    if name is None:
        raise ScheduleError(f"the time zone {timezone!r} has no name of the IANA database; give it by name")
    zone_named(name)
    return str(name)


def utc_of(wall: datetime, zone: tzinfo, fold: int = 0) -> datetime:
    """The instant of a naive local time: the first of two; one that is skipped comes as much later as was skipped."""
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def instants_of(wall: datetime, zone: tzinfo) -> list[datetime]:
    """Every instant of a naive local time, two where it repeats; one that is skipped has the one it moves to."""
    first, second = utc_of(wall, zone), utc_of(wall, zone, fold=1)
    return [first, second] if second > first else [first]


def now_of(nowfun: Now | None) -> datetime:
    """The time, aware."""
    return aware(nowfun()) if nowfun else datetime.now(UTC)
