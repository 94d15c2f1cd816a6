"""Runs the native ticker for the periodic tasks of a Celery application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taskq_cloud.celery.schedules import native_entry

if TYPE_CHECKING:
    from taskq_cloud.beat.ticker import Ticker


def native_beat_schedule(schedule: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Turn the value of Celery's setting ``beat_schedule`` into the value of the native setting.

    Args:
        schedule: the declarations by name: mappings, or entries of a scheduler.

    Raises:
        ScheduleError: a schedule or an argument needs a scheduler of Celery's kind; the error names the periodic task.
    """
    return {name: native_entry(name, declared) for name, declared in schedule.items()}


def make_native_ticker(app: Any) -> Ticker:
    """Make a native ticker for the periodic tasks of a Celery application.

    Raises:
        ImproperlyConfigured: the application has no name, its result store has no locks, or a periodic task needs a
            scheduler of Celery's kind.
    """
    from taskq_cloud.beat.run import make_ticker

    native_beat_schedule(app.conf.beat_schedule)  # the native settings leave out what they can't take
    return make_ticker(app.native, app.native.schedule_entries())


def run_native_ticker(app: Any, ticker: Ticker) -> None:
    """Run a ticker until a signal ends it."""
    import asyncio

    from taskq_cloud.beat.run import tick_until_signal

    asyncio.run(tick_until_signal(ticker, app.native.arun, app.native.aclose))
