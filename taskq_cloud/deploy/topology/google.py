"""What an application needs on Google Cloud: topics, subscriptions, schedules, and the time a worker has to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import urlsplit

from taskq_cloud.brokers._pubsub_options import PubSubOptions, read_options
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import dead_letter_queue, is_ordered
from taskq_cloud.deploy.topology.deployment import Deployment
from taskq_cloud.deploy.topology.model import SchedulerJob, ServedTask, Subscription
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import RETRIES, job_id, read_place, to_job

STOP_TIMEOUT_SECONDS: Final = 10
"""From SIGTERM to SIGKILL (Cloud Run documentation, "Container runtime contract")."""

LONGEST_SHUTDOWN_SECONDS: Final = 8
LONGEST_DEADLINE_SECONDS: Final = 600
LEAST_DEADLINE_SECONDS: Final = 10
MOST_ATTEMPTS: Final = 100
"""The last three: Pub/Sub documentation, "Subscription properties" and "Dead-letter topics"."""

SPARE_ATTEMPTS: Final = 5
"""Pub/Sub counts a message that is given back until it is due; a worker's own limit is to be reached first."""

_DAY_SECONDS: Final = 86_400


class Served(Protocol):
    """A queue and its tasks."""

    @property
    def queue(self) -> str:
        """Its name."""
        ...

    @property
    def tasks(self) -> tuple[ServedTask, ...]:
        """What goes to it."""
        ...


def project_of(settings: Settings) -> str:
    """The project of the broker's URL."""
    return _options(settings).project


def shutdown_timeout(settings: Settings) -> float:
    """``worker_shutdown_timeout`` as Cloud Run allows it."""
    return min(settings.worker_shutdown_timeout, LONGEST_SHUTDOWN_SECONDS)


def subscriptions(settings: Settings, deployment: Deployment, served: Sequence[Served]) -> tuple[Subscription, ...]:
    """The topics and subscriptions of the queues."""
    options = _options(settings)
    lease = math.ceil(settings.visibility_timeout)
    found = []
    for each in served:
        place, dead = options.place(each.queue), options.place(dead_letter_queue(each.queue))
        found.append(
            Subscription(
                queue=each.queue,
                tasks=each.tasks,
                topic=_short(place.topic),
                subscription=_short(place.subscription),
                ordered=is_ordered(each.queue),
                ack_deadline_seconds=max(LEAST_DEADLINE_SECONDS, min(lease, LONGEST_DEADLINE_SECONDS)),
                message_retention_seconds=deployment.message_retention_days * _DAY_SECONDS,
                max_delivery_attempts=min(settings.task_max_receives + SPARE_ATTEMPTS, MOST_ATTEMPTS),
                dead_letter_topic=_short(dead.topic),
                dead_letter_subscription=_short(dead.subscription),
            )
        )
    return tuple(found)


def scheduler_jobs(settings: Settings, found: Sequence[PlatformSchedule]) -> tuple[SchedulerJob, ...]:
    """Schedules as Terraform keeps them in Cloud Scheduler.

    Args:
        settings: the settings.
        found: the schedules, each with its queue as its target.

    Raises:
        ImproperlyConfigured: the scheduler setting names no place for them, or one needs what a job doesn't have.
        PayloadTooLarge: the message of one is too large.
    """
    if not found:
        return ()
    url = urlsplit(settings.scheduler or "")
    if url.scheme != "cloudscheduler":
        raise ImproperlyConfigured(
            "deployment: schedules='terraform' needs a location for those of Pub/Sub: set TASKQ_SCHEDULER to "
            "cloudscheduler://project/location"
        )
    place, options = read_place(url), _options(settings)
    jobs = []
    for each in sorted(found, key=lambda each: each.name):
        job = to_job(replace(each, target=options.place(each.target).topic), place)
        jobs.append(
            SchedulerJob(
                name=job_id(each.name),
                location=place.location,
                schedule=job["schedule"],
                timezone=job["time_zone"],
                queue=each.target,
                message=each.body,
                attributes=dict(each.attributes),
                retries=RETRIES,
                enabled=each.enabled,
                description=job["description"],
            )
        )
    return tuple(jobs)


def _options(settings: Settings) -> PubSubOptions:
    return read_options(urlsplit(settings.broker), settings.broker_transport_options)


def _short(name: str) -> str:
    return name.rpartition("/")[2]
