"""Timings as JSON, for the messages that carry them, and back; and the short texts a schedule may be declared by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from taskq_cloud.core.model.validation import aware
from taskq_cloud.core.schedules.base import Schedule
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.entry import Timing
from taskq_cloud.core.schedules.interval import schedule
from taskq_cloud.core.schedules.sun import solar
from taskq_cloud.errors import ScheduleError

_UNITS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def duration(value: float | str | timedelta, what: str) -> timedelta:
    """A length of time: a timedelta, a number of seconds, or a text such as ``"90s"``, ``"5m"``, ``"1h30m"``, ``"2d"``.

    Args:
        value: it.
        what: what it is of, for the error.

    Raises:
        ScheduleError: the text is none.
        TypeError: it is nothing of that.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value)
    if not isinstance(value, str):
        raise TypeError(f"{what} is a timedelta, a number of seconds or a text such as '5m', not {value!r}")
    found = _DURATION.fullmatch(value.strip())
    if found is None or not any(found.groups()):
        raise ScheduleError(f"{what} is {value!r}; as a text it is one such as '90s', '5m', '1h30m' or '2d'")
    pairs = zip(found.groups("0"), _UNITS.values(), strict=True)
    return timedelta(seconds=sum(int(number) * unit for number, unit in pairs))


def schedule_to_document(each: Schedule) -> dict[str, Any]:
    """A schedule as JSON.

    Raises:
        ScheduleError: it is of no kind that is known here.
    """
    match each:
        case crontab():
            # A list may have been written with spaces, which separate fields here.
            fields = " ".join(field.replace(" ", "") for field in each.written)
            return {"crontab": fields, "timezone": each.timezone}
        case schedule(relative=True):
            return {"every": each.seconds, "relative": True, "timezone": each.timezone}
        case schedule():
            return {"every": each.seconds}
        case solar():
            return {"solar": [each.event, each.lat, each.lon]}
    raise ScheduleError(f"{each!r} can't be written into a message: only crontab, schedule and solar can")


def schedule_from_document(document: Mapping[str, Any]) -> Schedule:
    """The schedule that a document says.

    Raises:
        ScheduleError, TypeError: it says none.
    """
    match document:
        case {"crontab": str(text)}:
            return crontab.from_string(text, timezone=document.get("timezone"))
        case {"every": int() | float() as seconds}:
            return schedule(seconds, document.get("relative") is True, timezone=document.get("timezone"))
        case {"solar": [str(event), int() | float() as lat, int() | float() as lon]}:
            return solar(event, lat, lon)
    raise ScheduleError(f"no schedule: {document!r:.200}")


def to_document(timing: Timing) -> dict[str, Any]:
    """A timing as JSON; raises as ``schedule_to_document``."""
    document = schedule_to_document(timing.schedule)
    for name, moment in (("start", timing.start), ("end", timing.end)):
        if moment is not None:
            document[name] = moment.isoformat()
    return document


def from_document(document: Mapping[str, Any]) -> Timing:
    """The timing that a document says.

    Raises:
        ScheduleError, TypeError, ValueError: it says none.
    """
    moments = {
        name: aware(datetime.fromisoformat(document[name]))
        for name in ("start", "end")
        if document.get(name) is not None
    }
    return Timing(schedule=schedule_from_document(document), **moments)
