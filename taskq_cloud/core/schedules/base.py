"""The interface that every schedule has, and the handling of time zones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Final, NamedTuple, Protocol, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from taskq_cloud.core.model.option_values import aware
from taskq_cloud.errors import ScheduleError, TimeZonesMissing

Now: TypeAlias = Callable[[], datetime]

_LONGEST_ZONE_CHARACTERS: Final = 60
"""More characters than any zone's name has."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The anchor from which an interval is counted if no other is given."""


class ScheduleState(NamedTuple):
    """Whether a task is due, and the seconds until it is due next: Celery's ``schedstate``."""

    is_due: bool
    next: float


class Schedule(Protocol):
    """The times at which a task is due."""

    @property
    def timezone(self) -> str | None:
        """The IANA name of the schedule's time zone; None if none was given, which means UTC."""
        ...

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time from now until a task that last ran at ``last_run_at`` is due; negative if that time is past."""
        ...

    def is_due(self, last_run_at: datetime) -> ScheduleState:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds after which to ask again."""
        ...

    def following(self, moment: datetime, anchor: datetime = EPOCH) -> datetime:
        """The first time after ``moment`` at which the task is due, in UTC.

        Args:
            moment: an aware time.
            anchor: the aware time from which an interval is counted; other schedules don't use it.
        """
        ...

    def in_timezone(self, timezone: str) -> Schedule:
        """A copy of the schedule in a time zone; the schedule itself if it has a zone already."""
        ...


def zone_named(name: str | None) -> tzinfo:
    """Look up a time zone by its IANA name; None means UTC.

    Raises:
        ScheduleError: no time zone has that name; the error suggests similar names.
        TimeZonesMissing: this system has no time zones at all.
    """
    if name is None or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        known = available_timezones()
        if not known:
            raise TimeZonesMissing(name) from None
        close = get_close_matches(str(name)[:_LONGEST_ZONE_CHARACTERS], known, n=3)
        raise ScheduleError(
            f"unknown time zone {name!r:.200}: give a name of the IANA database, such as "
            f"{', '.join(map(repr, close or ['Europe/Paris', 'UTC']))}"
        ) from None


def zone_name(timezone: str | tzinfo | None) -> str | None:
    """Check a time zone, given by name or as a ``ZoneInfo``, and return its IANA name; None stays None.

    Raises:
        ScheduleError: the time zone is unknown, or has no name in the IANA database.
    """
    if timezone is None or timezone is UTC:
        return None if timezone is None else "UTC"
    name = timezone if isinstance(timezone, str) else getattr(timezone, "key", None)
    if name is None:
        raise ScheduleError(f"the time zone {timezone!r:.200} has no name in the IANA database: give it by its name")
    zone_named(name)
    return str(name)


def utc_of(wall: datetime, zone: tzinfo, fold: int = 0) -> datetime:
    """The instant of a naive local time in a zone, in UTC.

    Of a local time that repeats, ``fold`` 0 and 1 choose the first and the second instant. A local time that the zone's
    clock skips is moved later by the length of the gap.
    """
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def instants_of(wall: datetime, zone: tzinfo) -> list[datetime]:
    """All instants of a naive local time in a zone, in UTC: two for a time that repeats, else the one of ``utc_of``."""
    first, second = utc_of(wall, zone), utc_of(wall, zone, fold=1)
    return [first, second] if second > first else [first]


def now_of(nowfun: Now | None) -> datetime:
    """The time now as an aware ``datetime``, by ``nowfun`` if it is given."""
    return aware(nowfun()) if nowfun else datetime.now(UTC)


def length_of(number: float, what: str) -> timedelta:
    """Make a length of time of a number of seconds.

    Args:
        number: the number.
        what: a name for the value, for the error.

    Raises:
        ScheduleError: the number is not finite, or is too large.
    """
    try:
        return timedelta(seconds=number)
    except (ValueError, OverflowError):
        raise ScheduleError(f"{what} is {number!r:.100}; give a number of seconds") from None
