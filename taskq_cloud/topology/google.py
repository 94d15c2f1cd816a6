"""What an application needs on Google Cloud: topics, subscriptions, and the time Cloud Run leaves a worker to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

from taskq_cloud.brokers._pubsub_options import PubSubOptions, read_options
from taskq_cloud.core.ports import dead_letter_queue, is_ordered
from taskq_cloud.settings import Settings
from taskq_cloud.topology.deployment import Deployment
from taskq_cloud.topology.model import ServedTask, Subscription

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


def _options(settings: Settings) -> PubSubOptions:
    return read_options(urlsplit(settings.broker), settings.broker_transport_options)


def _short(name: str) -> str:
    return name.rpartition("/")[2]
