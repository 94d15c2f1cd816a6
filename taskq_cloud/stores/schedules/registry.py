"""Finds a store of schedules by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.core.urls import Registry

SCHEDULERS: Final = Registry(
    "scheduler",
    {
        "cloudscheduler": "taskq_cloud.stores.schedules.cloud_scheduler:CloudSchedulerJobs",
        "eventbridge": "taskq_cloud.stores.schedules.eventbridge:EventBridgeSchedules",
        "memory": "taskq_cloud.stores.schedules.memory:MemorySchedules",
    },
    "taskq_cloud.schedulers",
)


def scheduler_from_url(url: str, options: Mapping[str, Any]) -> ScheduleStore:
    """The store of schedules of a URL; no call is made.

    Args:
        url: ``eventbridge://group?role=arn:...``, ``cloudscheduler://project/location``, ``memory://``, or an installed
            package's.
        options: what a store of another package may want to know beside it.

    Raises:
        ImproperlyConfigured: no store has the URL's scheme, or it doesn't understand the rest.
    """
    scheduler: ScheduleStore = SCHEDULERS.open(url, options)
    return scheduler
