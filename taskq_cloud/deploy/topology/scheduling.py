"""The schedule group of the ``scheduler`` setting, with its role and dead-letter queue, and schedules for Terraform."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, is_ordered
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.urls import query_of
from taskq_cloud.deploy.topology.model import LONGEST_RETENTION_SECONDS, DeadLetterQueue, Schedule, ScheduleGroup
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings
from taskq_cloud.stores.schedules.eventbridge import OPTIONS
from taskq_cloud.stores.schedules.registry import scheduler_from_url

_SCHEME = "eventbridge"


def schedule_group(settings: Settings, kms_key_arn: str | None) -> ScheduleGroup | None:
    """Return the group that contains the schedules; None unless the ``scheduler`` setting is EventBridge Scheduler.

    Args:
        settings: the application's settings.
        kms_key_arn: the key of a deployment, for a setting that names none.

    Raises:
        ImproperlyConfigured: the setting is wrong; the error says why.
    """
    if settings.scheduler is None or urlsplit(settings.scheduler).scheme != _SCHEME:
        return None
    scheduler_from_url(settings.scheduler, {})
    url = urlsplit(settings.scheduler)
    query = query_of(url, OPTIONS)
    dead = query.get("dead_letter")
    _, *path, role_name = query["role"].rpartition(":")[2].split("/")
    return ScheduleGroup(
        name=url.netloc,
        role_name=role_name,
        role_path="/".join(["", *path, ""]),
        role_arn=query["role"],
        dead_letter_queue=DeadLetterQueue(
            name=dead.rpartition(":")[2], message_retention_seconds=LONGEST_RETENTION_SECONDS
        )
        if dead
        else None,
        kms_key_arn=query.get("kms_key") or kms_key_arn,
    )


def with_key(scheduler: str, kms_key_arn: str) -> str:
    """Let a ``scheduler`` setting name the key of a deployment, if it is EventBridge Scheduler and names none.

    Args:
        scheduler: the setting.
        kms_key_arn: the key.
    """
    url = urlsplit(scheduler)
    if url.scheme != _SCHEME or "kms_key" in query_of(url, OPTIONS):
        return scheduler
    return f"{scheduler}&kms_key={kms_key_arn}"


def schedules(group: ScheduleGroup | None, found: Sequence[PlatformSchedule]) -> tuple[Schedule, ...]:
    """Return schedules in the form in which Terraform creates them in EventBridge Scheduler.

    Args:
        group: the group that they belong to; None: there is no group.
        found: the schedules; the target of each is the name of its queue.

    Raises:
        ImproperlyConfigured: there is no group, or a schedule needs more than a message's body and group.
    """
    if found and group is None:
        raise ImproperlyConfigured(
            "deployment: schedules='terraform' needs a schedule group: set TASKQ_SCHEDULER to"
            " eventbridge://group?role=ARN"
        )
    return tuple(_schedule(each) for each in sorted(found, key=lambda each: each.name))


def _schedule(found: PlatformSchedule) -> Schedule:
    ordered = is_ordered(found.target)
    if found.attributes or (found.group and not ordered):
        raise ImproperlyConfigured(
            f"{found.description}: a schedule that Terraform creates can send no message attributes, and a"
            " MessageGroupId to FIFO queues only: remove the option, or set deployment's schedules to 'beat' and run"
            " taskq beat apply"
        )
    assert not isinstance(found.when, datetime)  # for the type checker: periodic schedules have expressions
    return Schedule(
        name=found.name,
        expression=found.when,
        timezone=found.timezone,
        queue=found.target,
        input=found.body,
        # A FIFO queue of the Terraform module deduplicates by content, and the content includes the time of the call.
        message_group_id=(found.group or DEFAULT_GROUP) if ordered else None,
        enabled=found.enabled,
        end_date=None if found.end is None else found.end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        description=found.description,
    )
