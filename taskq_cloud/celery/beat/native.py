"""Turns the setting ``beat_schedule`` of a Celery application into the native setting, and runs the native ticker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taskq_cloud.celery.beat.entry import BeatLazyFunc
from taskq_cloud.celery.schedules import BaseSchedule, native_schedule
from taskq_cloud.errors import ScheduleError

if TYPE_CHECKING:
    from taskq_cloud.beat.ticker import Ticker


def native_beat_schedule(schedule: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Turn the value of Celery's setting ``beat_schedule`` into the value of the native setting.

    Args:
        schedule: the declarations by name: mappings, or entries of a scheduler.

    Raises:
        ScheduleError: a schedule or an argument needs a scheduler of Celery's kind; the error names the periodic task.
    """
    return {name: _native_entry(name, declared) for name, declared in schedule.items()}


def _native_entry(name: str, declared: Any) -> dict[str, Any]:
    if not isinstance(declared, Mapping):
        fields = ("task", "schedule", "args", "kwargs", "options")
        declared = {field: getattr(declared, field) for field in fields}
    given = dict(declared)
    values = [*(given.get("args") or ()), *(given.get("kwargs") or {}).values()]
    if any(isinstance(value, BeatLazyFunc) for value in values):
        raise ScheduleError(f"periodic task {name!r}: a BeatLazyFunc is computed only by a scheduler of Celery's kind")
    if isinstance(given.get("schedule"), BaseSchedule):
        given["schedule"] = native_schedule(given["schedule"])
        given.pop("relative", None)
    options = dict(given.get("options") or {})
    given["options"] = {**options, "headers": {**(options.get("headers") or {}), "celery_beat_task": True}}
    return given


def make_native_ticker(app: Any) -> Ticker:
    """Make a native ticker for the periodic tasks of a Celery application.

    Raises:
        ImproperlyConfigured: the application has no name, its result store has no locks, or a periodic task needs a
            scheduler of Celery's kind.
    """
    from taskq_cloud.beat.declarations import Declaration, make_entries
    from taskq_cloud.beat.run import make_ticker

    declared = [
        Declaration(name=name, given=given) for name, given in native_beat_schedule(app.conf.beat_schedule).items()
    ]
    return make_ticker(app.native, make_entries(app.native, declared))


def run_native_ticker(app: Any, ticker: Ticker) -> None:
    """Run a ticker until a signal ends it."""
    import asyncio

    from taskq_cloud.beat.run import tick_until_signal

    asyncio.run(tick_until_signal(ticker, app.native.arun, app.native.aclose))
