"""Periodic tasks with the classes and the behaviour of ``celery.beat``.

The command ``beat`` needs none of these classes: the native ticker sends the tasks, keeps its state in the result store
and can run in several processes (see ``beat.native``). The classes are here for projects that derive their own
schedulers from them.
"""

from __future__ import annotations

from taskq_cloud.celery.beat.embedded import EmbeddedService, _Process, _Threaded
from taskq_cloud.celery.beat.entry import BeatLazyFunc, ScheduleEntry, SchedulingError, event_t
from taskq_cloud.celery.beat.native import native_beat_schedule
from taskq_cloud.celery.beat.persistent import PersistentScheduler
from taskq_cloud.celery.beat.remote_control import NODENAME_DEFAULT, BeatPidbox, beat_nodename
from taskq_cloud.celery.beat.scheduler import DEFAULT_MAX_INTERVAL, Scheduler, logger
from taskq_cloud.celery.beat.service import Service

__all__ = (
    "DEFAULT_MAX_INTERVAL",
    "NODENAME_DEFAULT",
    "BeatLazyFunc",
    "BeatPidbox",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
    "_Process",
    "_Threaded",
    "beat_nodename",
    "event_t",
    "logger",
    "native_beat_schedule",
)
