"""Schedules of periodic tasks: ``crontab``, ``schedule`` and ``solar``, with the names and meanings of Celery's.

All are frozen values: two that mean the same are equal, and they can be keys and can be pickled. A number of seconds or
a ``timedelta`` can stand for a ``schedule`` everywhere.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, overload

from taskq_cloud.core.schedules.base import Schedule, ScheduleState
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.interval import schedule
from taskq_cloud.core.schedules.sun import solar
from taskq_cloud.errors import ParseException

__all__ = ["ParseException", "Schedule", "ScheduleState", "crontab", "maybe_schedule", "schedule", "solar"]


@overload
def maybe_schedule(value: None, relative: bool = False) -> None: ...


@overload
def maybe_schedule(value: Any, relative: bool = False) -> Schedule: ...


def maybe_schedule(value: Any, relative: bool = False) -> Schedule | None:
    """Make a schedule of a number of seconds or a ``timedelta``; a schedule or None is returned unchanged.

    Args:
        value: a schedule, a number of seconds, a ``timedelta`` or None.
        relative: whether an interval is rounded down to its unit: see ``schedule``.

    Raises:
        ScheduleError: the interval is not positive.
        TypeError: the value has another type.
    """
    if value is None or isinstance(value, crontab | schedule | solar):
        return value
    if isinstance(value, int | float | timedelta) and not isinstance(value, bool):
        return schedule(value, relative)
    kind = type(value)
    hint = "; import it from taskq_cloud.schedules, not from Celery" if kind.__module__ == "celery.schedules" else ""
    raise TypeError(f"{value!r} isn't a schedule; use a crontab, schedule, solar, timedelta or number of seconds{hint}")
