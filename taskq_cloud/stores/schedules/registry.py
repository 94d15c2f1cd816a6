"""Finds the schedule store for a URL."""

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
    """Make the schedule store for a URL, without a call to its service.

    Args:
        url: ``eventbridge://group?role=arn:...``, ``cloudscheduler://project/location``, ``memory://``, or a URL with
            the scheme of an installed package.
        options: further options for a store from another package.

    Raises:
        ImproperlyConfigured: no store has the URL's scheme, or the store can't read the rest of the URL.
    """
    scheduler: ScheduleStore = SCHEDULERS.open(url, options)
    return scheduler
