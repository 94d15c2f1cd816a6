"""When a periodic task is due: ``crontab``, ``schedule`` and ``solar``, by Celery's names and with their meanings.

All are frozen values: equal if they say the same, usable as keys, picklable. A number of seconds or a ``timedelta``
stands for a ``schedule`` wherever one is asked for.
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
    """A schedule, of a schedule, a number of seconds or a ``timedelta``.

    Args:
        value: it; None stays None.
        relative: of a number or a timedelta: see ``schedule``.

    Raises:
        ScheduleError: the interval is not positive.
        TypeError: it is none of those.
    """
    if value is None or isinstance(value, crontab | schedule | solar):
        return value
    if isinstance(value, int | float | timedelta) and not isinstance(value, bool):
        return schedule(value, relative)
    kind = type(value)
    hint = ": that is Celery's; import it from taskq_cloud.schedules" if kind.__module__ == "celery.schedules" else ""
    raise TypeError(f"{value!r} is no schedule: a crontab, schedule, solar, timedelta or number of seconds is{hint}")
