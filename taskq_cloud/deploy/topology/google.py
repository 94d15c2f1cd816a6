"""The part of a topology that is on Google Cloud: topics, subscriptions, schedules, and shutdown times on Cloud Run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from taskq_cloud.brokers._pubsub_options import PubSubOptions, read_options
from taskq_cloud.core.model.capabilities import dead_letter_queue, is_ordered
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.deploy.topology.deployment import Deployment
from taskq_cloud.deploy.topology.model import SchedulerJob, Subscription
from taskq_cloud.deploy.topology.runtimes import Served
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import RETRIES, job_id, read_location, to_job

STOP_TIMEOUT_SECONDS: Final = 10
"""The time from SIGTERM to SIGKILL (Cloud Run documentation, "Container runtime contract")."""

LONGEST_SHUTDOWN_SECONDS: Final = 8
"""The longest shutdown of a worker that ends safely before SIGKILL."""

LONGEST_DEADLINE_SECONDS: Final = 600
LEAST_DEADLINE_SECONDS: Final = 10
MOST_ATTEMPTS: Final = 100
"""The limits of a subscription (Pub/Sub documentation, "Subscription properties" and "Dead-letter topics")."""

SPARE_ATTEMPTS: Final = 5
"""Attempts beyond a worker's own limit, because Pub/Sub also counts a delayed message each time it is given back."""

_DAY_SECONDS: Final = 86_400


def project_of(settings: Settings) -> str:
    """Return the project of the broker's URL."""
    return _options(settings).project


def shutdown_timeout(settings: Settings) -> float:
    """Return ``worker_shutdown_timeout`` in seconds, limited to the time that Cloud Run allows."""
    return min(settings.worker_shutdown_timeout, LONGEST_SHUTDOWN_SECONDS)


def subscriptions(settings: Settings, deployment: Deployment, served: Sequence[Served]) -> tuple[Subscription, ...]:
    """Return the topics and subscriptions of the queues."""
    options = _options(settings)
    lease = math.ceil(settings.visibility_timeout)
    found = []
    for each in served:
        place, dead = options.location(each.queue), options.location(dead_letter_queue(each.queue))
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
    """Return schedules in the form in which Terraform creates them in Cloud Scheduler.

    Args:
        settings: the settings.
        found: the schedules; the target of each is the name of its queue.

    Raises:
        ImproperlyConfigured: the ``scheduler`` setting names no location, or a schedule uses an option that jobs lack.
        PayloadTooLarge: the message of a schedule is too large for a job.
    """
    if not found:
        return ()
    url = urlsplit(settings.scheduler or "")
    if url.scheme != "cloudscheduler":
        raise ImproperlyConfigured(
            "deployment: schedules='terraform' needs a location of Cloud Scheduler when the broker is Pub/Sub: set"
            " TASKQ_SCHEDULER to cloudscheduler://project/location"
        )
    location, options = read_location(url), _options(settings)
    jobs = []
    for each in sorted(found, key=lambda each: each.name):
        job = to_job(replace(each, target=options.location(each.target).topic), location)
        jobs.append(
            SchedulerJob(
                name=job_id(each.name),
                location=location.region,
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
