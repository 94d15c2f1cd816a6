"""The schedule group of the ``scheduler`` setting, its role and its dead-letter queue."""

from __future__ import annotations

from urllib.parse import urlsplit

from taskq_cloud.core.urls import query_of
from taskq_cloud.schedulers.registry import scheduler_from_url
from taskq_cloud.settings import Settings
from taskq_cloud.topology.model import LONGEST_RETENTION_SECONDS, DeadLetterQueue, ScheduleGroup

_SCHEME = "eventbridge"


def schedule_group(settings: Settings) -> ScheduleGroup | None:
    """The group that keeps schedules; None: nothing does, or not EventBridge.

    Raises:
        ImproperlyConfigured: the setting is wrong.
    """
    if settings.scheduler is None or urlsplit(settings.scheduler).scheme != _SCHEME:
        return None
    scheduler_from_url(settings.scheduler, {})
    url = urlsplit(settings.scheduler)
    query = query_of(url, ("dead_letter", "endpoint_url", "region", "role"))
    dead = query.get("dead_letter")
    return ScheduleGroup(
        name=url.netloc,
        role_name=query["role"].rpartition("/")[2],
        role_arn=query["role"],
        dead_letter_queue=DeadLetterQueue(
            name=dead.rpartition(":")[2], message_retention_seconds=LONGEST_RETENTION_SECONDS
        )
        if dead
        else None,
    )
