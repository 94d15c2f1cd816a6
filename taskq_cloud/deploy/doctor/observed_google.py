"""The resources of a deployment on Google Cloud and Azure as their services describe them; a part of ``observed``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ObservedGoogleBucket:
    """A bucket of Cloud Storage.

    Args:
        lifecycle_rules: its rules, as the JSON API writes them.
        public_access_prevention: ``enforced`` or ``inherited``.
        uniform_access: whether only IAM decides on access, and no access control list.
    """

    lifecycle_rules: Sequence[Mapping[str, Any]]
    public_access_prevention: str
    uniform_access: bool


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """A container of Azure Blob Storage.

    Args:
        public_access: what strangers may read: ``blob`` or ``container``; None: nothing.
    """

    public_access: str | None


@dataclass(frozen=True, slots=True)
class ObservedSubscription:
    """A subscription of Pub/Sub.

    Args:
        topic: the full name of its topic.
        ordered: whether it keeps the order of an ordering key.
        ack_deadline_seconds: how long a message is leased to the receiver that sets no deadline.
        retention_seconds: how long messages are kept.
        expires_after_seconds: after how long without a receive the subscription is deleted; 0: never.
        dead_letter_topic: the full name of the topic of its dead letters; empty: it has none.
        max_delivery_attempts: after how many deliveries a message becomes a dead letter.
        push_endpoint: the URL that messages are pushed to; empty: receivers pull them.
        drops: settings by which messages are left out or changed, such as a filter.
    """

    topic: str
    ordered: bool
    ack_deadline_seconds: int
    retention_seconds: int
    expires_after_seconds: int
    dead_letter_topic: str
    max_delivery_attempts: int
    push_endpoint: str
    drops: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A job of Cloud Scheduler.

    Args:
        fields: the values of the fields that a declared ``SchedulerJob`` has, by field name, with the full name of the
            topic as ``queue``.
        state: its state, such as ``ENABLED`` or ``UPDATE_FAILED``.
    """

    fields: Mapping[str, Any]
    state: str


@dataclass(frozen=True, slots=True)
class ObservedWorkerPool:
    """A worker pool of Cloud Run.

    Args:
        service_account: the address of the service account that its containers run as.
        command: the arguments that the container gives to its image.
        environment: the container's environment variables, without those that come from a secret store.
        memory_mb: the memory of a container, in MiB.
        instances: the number of its containers.
    """

    service_account: str
    command: Sequence[str]
    environment: Mapping[str, str]
    memory_mb: int
    instances: int
