"""Reads the dates of ISO 8601 in all their forms, as ``dateutil.parser.isoparse`` does, which Celery uses."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final

_DATE: Final = re.compile(
    r"(?P<year>\d{4})"
    r"(?:(?P<dash>-?)W(?P<week>\d\d)(?:(?P=dash)(?P<weekday>\d))?"
    r"|-(?P<month_only>\d\d)(?!\d|-)"
    r"|(?P<dash2>-?)(?P<month>\d\d)(?P=dash2)(?P<day>\d\d)"
    r"|-?(?P<day_of_year>\d{3})"
    r")?",
    re.ASCII,
)
_TIME: Final = re.compile(
    r"(?P<hour>\d\d)(?:(?P<colon>:?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"(?P<zone>Z|z|[+-].*)?",
    re.ASCII,
)
_ZONE: Final = re.compile(r"(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?", re.ASCII)

_MICROSECOND_DIGITS: Final = 6
_LATEST_MINUTE: Final = 59
_LATEST_HOUR: Final = 23
_MIDNIGHT: Final = 24


def parse(text: str) -> datetime:
    """Read a date, with or without a time and a zone; missing parts are the smallest possible.

    Raises:
        ValueError: the text isn't a date of ISO 8601.
    """
    found = _DATE.match(text)
    if found is None:
        raise ValueError(f"{text!r:.100} isn't a date of ISO 8601")
    day, rest = _day(found), text[found.end() :]
    if rest and not (found["day"] or found["weekday"] or found["day_of_year"]):
        raise ValueError(f"{text!r:.100} has a time, so its date must name a day")
    if not rest:
        return datetime.combine(day, time.min)
    found = _TIME.fullmatch(rest, 1)
    if found is None:
        raise ValueError(f"{text!r:.100} has no time of ISO 8601 after its date")
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    microsecond = int((found["fraction"] or "")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0"))
    later = timedelta(0)
    if hour == _MIDNIGHT and not (minute or second or microsecond):
        hour, later = 0, timedelta(days=1)
    zone = _zone(found["zone"])
    return datetime(day.year, day.month, day.day, hour, minute, second, microsecond, zone) + later


def _day(found: re.Match[str]) -> date:
    year = int(found["year"])
    if found["week"]:
        return date.fromisocalendar(year, int(found["week"]), int(found["weekday"] or 1))
    if found["day_of_year"]:
        day = date(year, 1, 1) + timedelta(days=int(found["day_of_year"]) - 1)
        if day.year != year:
            raise ValueError(f"the year {year} has no day {found['day_of_year']}")
        return day
    return date(year, int(found["month"] or found["month_only"] or 1), int(found["day"] or 1))


def _zone(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text in "Zz":
        return UTC
    found = _ZONE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r:.100} isn't an offset from UTC")
    hours, minutes = int(found["hours"]), int(found["minutes"] or 0)
    if minutes > _LATEST_MINUTE or hours > _LATEST_HOUR:
        raise ValueError(f"{text!r:.100} isn't an offset from UTC: it is more than a day, or has more than 59 minutes")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if found["sign"] == "-" else offset)
