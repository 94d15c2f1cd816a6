"""Dates, intervals and time zones: the functions of ``celery.utils.time``.

Their meanings are Celery's. Only the libraries under them differ: ``dateutil`` and ``tzlocal`` aren't needed here.
"""

from __future__ import annotations

import logging
import random
import time as _time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import timezone as _fixed_zone
from functools import cached_property
from numbers import Real
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from taskq_cloud.celery.utils._clock_changes import fold_matters, is_skipped, moved_out_of_gap
from taskq_cloud.celery.utils._ffwd import ffwd
from taskq_cloud.celery.utils._iso_dates import parse
from taskq_cloud.celery.utils._local_zone import get_localzone
from taskq_cloud.celery.utils._relative_ends import DAY, round_down, rounded_end

__all__ = (
    "LocalTimezone",
    "add_seconds_to_datetime",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "subtract_datetimes",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
)

logger: Final = logging.getLogger(__name__)

DAYNAMES: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WEEKDAYS: Final = {name: number for number, name in enumerate(DAYNAMES)}
MONTHNAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
YEARMONTHS: Final = {name: number for number, name in enumerate(MONTHNAMES, 1)}

ZERO: Final = timedelta(0)

_RATE_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_UNITS: Final = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))
_UTC_NAME: Final = "UTC"


class LocalTimezone(tzinfo):
    """The zone of this machine by the rules of the C library; used where the zone's name can't be found out."""

    _offset_cache: ClassVar[dict[int, tzinfo]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.STDOFFSET = timedelta(seconds=-_time.timezone)
        self.DSTOFFSET = timedelta(seconds=-_time.altzone) if _time.daylight else self.STDOFFSET
        self.DSTDIFF = self.DSTOFFSET - self.STDOFFSET

    def __repr__(self) -> str:
        return f"<LocalTimezone: UTC{int(self.DSTOFFSET.total_seconds() / 3600):+03d}>"

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """The offset at a local time."""
        return self.DSTOFFSET if self._isdst(dt) else self.STDOFFSET

    def dst(self, dt: datetime | None) -> timedelta:
        """The part of the offset that daylight saving time adds."""
        return self.DSTDIFF if self._isdst(dt) else ZERO

    def tzname(self, dt: datetime | None) -> str:
        """The abbreviation of the zone's name at a local time."""
        return _time.tzname[self._isdst(dt)]

    def fromutc(self, dt: datetime) -> datetime:
        """Convert a time in UTC; the result has a fixed offset."""
        minutes = int(self.utcoffset(dt).total_seconds() // 60)
        zone = self._offset_cache.setdefault(minutes, _fixed_zone(timedelta(minutes=minutes)))
        return zone.fromutc(dt.replace(tzinfo=zone))

    def _isdst(self, dt: datetime | None) -> bool:
        if dt is None:
            raise TypeError("a zone with daylight saving time has no offset without a time")
        stamp = _time.mktime((dt.year, dt.month, dt.day, dt.hour, dt.minute, dt.second, dt.weekday(), 0, 0))
        return _time.localtime(stamp).tm_isdst > 0


class _Zone:
    """The time zones of an application, and conversions between them."""

    def tz_or_local(self, tzinfo: str | tzinfo | None = None) -> tzinfo:
        """The given zone, or the machine's if it is None."""
        return self.local if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, dt: datetime, local: str | tzinfo | None = None, orig: tzinfo | None = None) -> datetime:
        """Convert a time to a zone.

        Args:
            dt: the time.
            local: the zone; None: the machine's.
            orig: the zone of a naive time; None: UTC.
        """
        if is_naive(dt):
            dt = make_aware(dt, orig or self.utc)
        return localize(dt, self.tz_or_local(local))

    def to_system(self, dt: datetime) -> datetime:
        """Convert a time to the fixed offset that the C library gives it on this machine."""
        return dt.astimezone(tz=None)

    def to_local_fallback(self, dt: datetime) -> datetime:
        """Convert a time to the machine's zone; a naive time is taken as being in it already."""
        return make_aware(dt, self.local) if is_naive(dt) else localize(dt, self.local)

    def get_timezone(self, zone: str | tzinfo) -> tzinfo:
        """Look up a zone by its IANA name; a zone is returned unchanged.

        Raises:
            ZoneInfoNotFoundError: no zone has that name.
        """
        return ZoneInfo(zone) if isinstance(zone, str) else zone

    @cached_property
    def local(self) -> tzinfo:
        """The machine's zone."""
        try:
            found = get_localzone()
        except Exception as error:
            # The C library still knows the zone of a machine whose files are wrong.
            logger.warning("Failed to retrieve local timezone (%s): %s", type(error).__name__, error, exc_info=True)
            found = None
        return found or LocalTimezone()

    @cached_property
    def utc(self) -> tzinfo:
        """UTC, as a ``ZoneInfo``."""
        return self.get_timezone(_UTC_NAME)


timezone: Final = _Zone()


def maybe_timedelta(delta: Any) -> Any:
    """Make a ``timedelta`` of a number of seconds; any other value is returned unchanged."""
    return timedelta(seconds=float(delta)) if isinstance(delta, Real) else delta


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """Round a time down to the unit of an interval: days, hours or minutes; no unit below a second."""
    return round_down(dt, delta)


def remaining(
    start: datetime, ends_in: timedelta | ffwd, now: datetime | None = None, relative: bool = False
) -> timedelta:
    """The time from now until an interval ends.

    Args:
        start: the start of the interval.
        ends_in: the interval.
        now: the time now.
        relative: the end is rounded down to the unit of the interval; an interval of days is counted on the calendar.
    """
    now = now or datetime.now(UTC)
    in_elapsed_time = isinstance(ends_in, timedelta) and not (relative and ends_in >= DAY)
    end: datetime = (
        add_seconds_to_datetime(start, ends_in.total_seconds())
        if isinstance(ends_in, timedelta) and in_elapsed_time
        else start + ends_in
    )
    if relative and isinstance(ends_in, timedelta):
        end = rounded_end(start, ends_in, end)
    return end.astimezone(UTC) - now.astimezone(UTC)


def rate(r: Any) -> float:
    """Read a rate such as ``"10/m"`` as a number per second; a number is returned unchanged, and nothing is 0.

    Raises:
        KeyError: the unit is neither s, m nor h.
        ValueError: the part before the slash isn't a number.
    """
    if not isinstance(r, str) or not r:
        return r or 0
    number, _, unit = r.partition("/")
    per_unit, seconds = float(number), _RATE_SECONDS[unit or "s"]
    # Celery divides an hour's rate twice, and the last digit of the result depends on it.
    return (per_unit / 60.0 / 60.0 if unit == "h" else per_unit / seconds) or 0


def _position(name: str, positions: dict[str, int]) -> int:
    try:
        return positions[name[:3].lower()]
    except KeyError:
        raise KeyError(name) from None


def weekday(name: str) -> int:
    """The number of a weekday: 0, Sunday, to 6.

    Raises:
        KeyError: the first three letters aren't those of a weekday.
    """
    return _position(name, WEEKDAYS)


def yearmonth(name: str) -> int:
    """The number of a month: 1, January, to 12.

    Raises:
        KeyError: the first three letters aren't those of a month.
    """
    return _position(name, YEARMONTHS)


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """Write a length of time in its largest unit: ``"2.00 hours"``.

    Args:
        secs: the seconds.
        prefix: the text before the number.
        sep: the text between the prefix and the number.
        now: the text for less than a second.
        microseconds: whether a part of a second is written too.
    """
    secs = float(f"{float(secs):.2f}")
    for unit, seconds in _UNITS:
        if secs >= seconds:
            count = secs / seconds
            return f"{prefix}{sep}{count:.2f} {unit}{'' if count == 1 else 's'}"
    return f"{prefix}{sep}{secs:.2f} seconds" if microseconds and secs > 0 else now


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """Read a date of ISO 8601; a time or None is returned unchanged, and an empty text is None.

    Raises:
        ValueError: the text isn't a date of ISO 8601.
    """
    if not dt:
        return None
    return dt if isinstance(dt, datetime) else parse(dt)


def is_naive(dt: datetime) -> bool:
    """Whether a time has no zone, or a zone without an offset."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """Add elapsed seconds to a time, whatever its zone's clock does meanwhile."""
    more = timedelta(seconds=seconds)
    return dt + more if is_naive(dt) else (dt.astimezone(UTC) + more).astimezone(dt.tzinfo)


def subtract_datetimes(end: datetime, start: datetime) -> timedelta:
    """The elapsed time between two times; a naive time is in UTC."""
    return maybe_make_aware(end).astimezone(UTC) - maybe_make_aware(start).astimezone(UTC)


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """Set the zone of a time.

    A time that repeats is the first one. A time that the zone's clock skips is moved by the change of the clock.
    """
    dt = dt.replace(tzinfo=tz)
    if not fold_matters(dt):
        return dt
    return moved_out_of_gap(dt) if is_skipped(dt) else dt.replace(fold=0)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """Convert a time in UTC to a zone, and set the zone of a naive time; other times keep their zone."""
    if is_naive(dt):
        dt = make_aware(dt, tz)
    return dt.astimezone(tz) if dt.tzinfo == ZoneInfo(_UTC_NAME) else dt


def to_utc(dt: datetime) -> datetime:
    """Set the zone of a time to UTC."""
    return make_aware(dt, timezone.utc)


def maybe_make_aware(dt: datetime, tz: str | tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """Give a naive time a zone; an aware time is returned unchanged.

    Args:
        dt: the time.
        tz: the zone of the result; None: UTC.
        naive_as_utc: whether the time is in UTC, and not in the zone of the result.
    """
    if not is_naive(dt):
        return dt
    return localize(to_utc(dt) if naive_as_utc else dt, timezone.utc if tz is None else timezone.tz_or_local(tz))


def utcoffset(time: Any = _time, localtime: Callable[..., Any] = _time.localtime) -> float:
    """The hours by which the machine's clock is behind UTC now.

    Args:
        time: a module with the ``timezone`` and ``altzone`` of ``time``.
        localtime: returns the local time.
    """
    seconds: int = time.altzone if localtime().tm_isdst else time.timezone
    return seconds / 3600


def adjust_timestamp(ts: float, offset: float, here: Callable[..., float] = utcoffset) -> float:
    """Convert a timestamp of a machine whose offset, as of ``utcoffset``, is given to this machine's."""
    return ts - (offset - here()) * 3600


def get_exponential_backoff_interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """The seconds to wait before a retry: ``factor * 2 ** retries``, at most ``maximum`` and at least 0.

    Args:
        factor: the seconds before the first retry.
        retries: how many retries there were.
        maximum: the longest wait.
        full_jitter: a random wait up to that length is returned.
    """
    seconds: int = min(maximum, factor * 2**retries)
    return max(0, random.randrange(seconds + 1) if full_jitter else seconds)
