"""Celery's own reader of ISO 8601, which it has deprecated: ``datetime.fromisoformat`` is the better one."""

from __future__ import annotations

import re
import warnings
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final

from taskq_cloud.celery.exceptions import CPendingDeprecationWarning

__all__ = ("parse_iso8601",)

_FORM: Final = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{1,2})(?:-(?P<day>[0-9]{1,2})"
    r"(?:.(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>Z|[-+][0-9]{2}:[0-9]{2})?)?)?)?"
)


def parse_iso8601(datestring: str) -> datetime:
    """Read a date and a time. The digits after the point are a number of microseconds, as in Celery.

    Raises:
        ValueError: the text doesn't begin with a date, or a number is out of range.
        TypeError: the text has no month or no day.
    """
    warnings.warn(
        "parse_iso8601 is deprecated: use datetime.datetime.fromisoformat",
        CPendingDeprecationWarning,
        stacklevel=2,
    )
    found = _FORM.match(datestring)
    if found is None:
        raise ValueError(f"unable to parse date string {datestring!r}")
    year, month, day = (int(found[part]) for part in ("year", "month", "day"))
    hour, minute, second, fraction = (int(found[part] or 0) for part in ("hour", "minute", "second", "fraction"))
    return datetime(year, month, day, hour, minute, second, fraction, _zone(found["zone"]))


def _zone(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text == "Z":
        return timezone(timedelta(0))
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)
