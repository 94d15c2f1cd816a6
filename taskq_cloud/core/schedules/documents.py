"""Timings as JSON, as messages carry them, and back; and durations as texts, such as ``"5m"``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from taskq_cloud.core.model.option_values import aware
from taskq_cloud.core.schedules.base import Schedule, length_of
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.entry import Timing
from taskq_cloud.core.schedules.interval import schedule
from taskq_cloud.core.schedules.sun import solar
from taskq_cloud.errors import ScheduleError

_UNITS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def duration(value: float | str | timedelta, what: str) -> timedelta:
    """Read a length of time.

    Args:
        value: a timedelta, a number of seconds, or a text such as ``"90s"``, ``"5m"``, ``"1h30m"``, ``"2d"``.
        what: a name for the value, for the error.

    Raises:
        ScheduleError: the text or the number isn't a length of time.
        TypeError: the value has another type.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return length_of(value, what)
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}; give a timedelta, a number of seconds or a text such as '5m'")
    found = _DURATION.fullmatch(value.strip())
    if found is None or not any(found.groups()):
        raise ScheduleError(f"{what} is {value!r}; write a length of time such as '90s', '5m', '1h30m' or '2d'")
    pairs = zip(found.groups("0"), _UNITS.values(), strict=True)
    return length_of(sum(int(number) * unit for number, unit in pairs), what)


def schedule_to_document(each: Schedule) -> dict[str, Any]:
    """Write a schedule as JSON.

    Raises:
        ScheduleError: the schedule isn't a crontab, schedule or solar.
    """
    match each:
        case crontab():
            # Spaces separate the fields here, so those within a list are dropped.
            fields = " ".join(field.replace(" ", "") for field in each.written)
            both = {"both_hours": True} if each.both_hours else {}
            return {"crontab": fields, "timezone": each.timezone, **both}
        case schedule(relative=True):
            return {"every": each.seconds, "relative": True, "timezone": each.timezone}
        case schedule():
            return {"every": each.seconds}
        case solar():
            return {"solar": [each.event, each.lat, each.lon]}
    raise ScheduleError(f"the schedule {each!r} can't be written into a message; use crontab, schedule or solar")


def schedule_from_document(document: Mapping[str, Any]) -> Schedule:
    """Read a schedule from JSON.

    Raises:
        ScheduleError, TypeError: the document isn't a schedule.
    """
    match document:
        case {"crontab": str(text)}:
            both_hours = document.get("both_hours") is True
            return crontab.from_string(text, timezone=document.get("timezone"), both_hours=both_hours)
        case {"every": int() | float() as seconds}:
            return schedule(seconds, document.get("relative") is True, timezone=document.get("timezone"))
        case {"solar": [str(event), int() | float() as lat, int() | float() as lon]}:
            return solar(event, lat, lon)
    raise ScheduleError(f"the document isn't a schedule: {document!r:.200}")


def to_document(timing: Timing) -> dict[str, Any]:
    """Write a timing as JSON; raises the errors of ``schedule_to_document``."""
    document = schedule_to_document(timing.schedule)
    for name, bound in (("start", timing.start), ("end", timing.end)):
        if bound is not None:
            document[name] = bound.isoformat()
    return document


def from_document(document: Mapping[str, Any]) -> Timing:
    """Read a timing from JSON.

    Raises:
        ScheduleError, TypeError, ValueError: the document isn't a timing.
    """
    bounds = {
        name: aware(datetime.fromisoformat(document[name]))
        for name in ("start", "end")
        if document.get(name) is not None
    }
    return Timing(schedule=schedule_from_document(document), **bounds)
