"""Schedules of periodic tasks with the classes and the behaviour of ``celery.schedules``.

They compute exactly Celery's times, as their tests compare with it. ``native_schedule`` turns one into a schedule of
``taskq_cloud.schedules``, which tickers and cloud platforms understand.
"""

from __future__ import annotations

from taskq_cloud.celery.schedules.base import BaseSchedule, Cronspec, cronfield, schedstate
from taskq_cloud.celery.schedules.cron import crontab
from taskq_cloud.celery.schedules.cron_fields import ParseException, crontab_parser
from taskq_cloud.celery.schedules.interval import maybe_schedule, schedule
from taskq_cloud.celery.schedules.native import native_entry, native_schedule
from taskq_cloud.celery.schedules.sun import solar

__all__ = (
    "BaseSchedule",
    "Cronspec",
    "ParseException",
    "cronfield",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "native_entry",
    "native_schedule",
    "schedstate",
    "schedule",
    "solar",
)
