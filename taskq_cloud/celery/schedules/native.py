"""Turns Celery's schedules and periodic tasks into native ones, which tickers and cloud platforms understand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from taskq_cloud.celery.schedules.base import BaseSchedule
from taskq_cloud.celery.schedules.cron import crontab
from taskq_cloud.celery.schedules.interval import schedule
from taskq_cloud.celery.schedules.sun import solar
from taskq_cloud.core.schedules.base import Schedule
from taskq_cloud.errors import ScheduleError


def native_schedule(value: Any, relative: bool = False) -> Schedule:
    """Turn a schedule of Celery's into a native one; numbers of seconds, timedeltas and native schedules work too.

    The result has no time zone of its own, so that it gets the one of its periodic task or its application.

    Args:
        value: the schedule.
        relative: whether an interval that is given as a number or a timedelta is rounded: see ``schedule``.

    Raises:
        ScheduleError: the schedule has a class of the user's, or its interval isn't positive.
        TypeError: the value isn't a schedule.
    """
    from taskq_cloud import schedules

    # A derived class may compute other times, and a native schedule would not ask it.
    if type(value) is schedule:
        return schedules.schedule(value.run_every, value.relative, value.nowfun)
    if type(value) is crontab:
        fields = (value.minute, value.hour, value.day_of_week, value.day_of_month, value.month_of_year)
        return schedules.crontab(*map(_written, fields, (60, 24, 7, 31, 12)), nowfun=value.nowfun)
    if type(value) is solar:
        return schedules.solar(value.event, value.lat, value.lon, value.nowfun)
    if value is None or isinstance(value, int | float | timedelta | schedules.crontab | schedules.schedule):
        return schedules.maybe_schedule(value, relative)
    if isinstance(value, schedules.solar):
        return value
    if hasattr(value, "is_due"):
        raise ScheduleError(
            f"{value!r:.200}: a schedule of the class {type(value).__qualname__} runs only in a process of its own: "
            "start beat with a scheduler class, as in: beat -S celery.beat:Scheduler"
        )
    raise TypeError(f"{value!r:.200} isn't a schedule; use a crontab, schedule, solar, timedelta or number of seconds")


def native_entry(name: str, declared: Any) -> dict[str, Any]:
    """Turn one value of Celery's setting ``beat_schedule`` into a value of the native setting.

    Args:
        name: the name of the periodic task, for errors.
        declared: the declaration: a mapping, or an entry of a scheduler.

    Raises:
        ScheduleError: the schedule or an argument needs a scheduler of Celery's kind.
    """
    fields = ("task", "schedule", "args", "kwargs", "options")
    given = dict(declared) if isinstance(declared, Mapping) else {field: getattr(declared, field) for field in fields}
    arguments = [*(given.get("args") or ()), *(given.get("kwargs") or {}).values()]
    if any(getattr(type(value), "computed_for_each_call", False) for value in arguments):
        raise ScheduleError(
            f"periodic task {name!r}: a BeatLazyFunc is computed only by a scheduler of Celery's kind: start beat with "
            "one, as in: beat -S celery.beat:Scheduler"
        )
    if isinstance(given.get("schedule"), BaseSchedule):
        given["schedule"] = native_schedule(given["schedule"])
        given.pop("relative", None)
    options = given.get("options") or {}
    # Celery marks the calls of a scheduler so, too.
    given["options"] = {**options, "headers": {**(options.get("headers") or {}), "celery_beat_task": True}}
    return given


def _written(numbers: set[int], count: int) -> Any:
    """A field for the native crontab: a star where each number of the field is in it."""
    return "*" if len(numbers) == count else frozenset(numbers)
