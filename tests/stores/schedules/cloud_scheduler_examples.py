"""A Cloud Scheduler store and a schedule for it, which the tests of the store share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.stores.schedules.registry import scheduler_from_url

WORK = "projects/my-project/topics/shop-work"
PARENT = "projects/my-project/locations/europe-west1"


def jobs(url: str = "cloudscheduler://my-project/europe-west1") -> ScheduleStore:
    """Make a Cloud Scheduler store."""
    return scheduler_from_url(url, {})


def nightly(**changes: Any) -> PlatformSchedule:
    """Make a schedule that fires every night at three."""
    schedule = PlatformSchedule(name="beat.shop.a_b.0", when="0 3 * * *", target=WORK, body='{"id": "t-1"}')
    return replace(schedule, **changes)
