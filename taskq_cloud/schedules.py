"""Schedules of periodic tasks: ``crontab``, ``schedule`` and ``solar``, with the names and meanings of Celery's.

All are frozen values: two that mean the same are equal, and they can be keys and can be pickled. A number of seconds or
a ``timedelta`` can stand for a ``schedule`` everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypedDict, overload

from taskq_cloud.core.schedules.base import Schedule, ScheduleState
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.entry import CatchUp, Overlap
from taskq_cloud.core.schedules.interval import schedule
from taskq_cloud.core.schedules.sun import solar
from taskq_cloud.errors import ParseException

__all__ = [
    "ParseException",
    "PeriodicKeywords",
    "Schedule",
    "ScheduleState",
    "crontab",
    "maybe_schedule",
    "schedule",
    "solar",
]


class PeriodicKeywords(TypedDict, total=False):
    """The options by which ``@app.task`` declares a periodic task; one of the first three is needed.

    Attributes:
        every: the interval: seconds, a ``timedelta``, or a text such as ``"5m"`` or ``"1h30m"``.
        cron: the five fields of a crontab, as text.
        schedule: a schedule of this module, a ``timedelta``, or seconds.
        args: the positional arguments of each call.
        kwargs: the keyword arguments of each call.
        options: the options of each call: those of ``apply_async``.
        timezone: the IANA name of the schedule's time zone.
        enabled: whether the task is called; a periodic task that isn't enabled is only declared.
        start: the time before which the task isn't called.
        end: the time after which the task isn't called.
        jitter: the longest random delay of a call: seconds, a ``timedelta``, or a text.
        overlap: the handling of a call that comes before the previous one has ended: it runs too, or it is left out.
        catch_up: the calls that run after a time in which nothing could be called: one, all, or none.
    """

    every: float | str | timedelta
    cron: str
    schedule: Schedule | timedelta | float
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    timezone: str | tzinfo | None
    enabled: bool
    start: datetime | str | None
    end: datetime | str | None
    jitter: float | str | timedelta
    overlap: Overlap
    catch_up: CatchUp


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
