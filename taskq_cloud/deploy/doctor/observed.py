"""What is there: a deployment as its services describe it. Observing is ``observe``'s business, judging ``checks``'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ObservedQueue:
    """A queue of SQS.

    Args:
        url: its URL.
        attributes: all of them, as ``GetQueueAttributes`` has them.
    """

    url: str
    attributes: Mapping[str, str]

    @property
    def arn(self) -> str:
        """Its ARN."""
        return self.attributes["QueueArn"]

    def seconds(self, attribute: str) -> int:
        """An attribute that is a number; 0 where it is not there."""
        return int(self.attributes.get(attribute, "0"))


@dataclass(frozen=True, slots=True)
class ObservedTable:
    """A table of DynamoDB.

    Args:
        key_schema: attribute -> ``HASH`` or ``RANGE``.
        attribute_types: attribute -> ``S``, ``N`` or ``B``.
        ttl_attribute: where an item's expiry stands; None: items do not expire.
        kms_key: of its encryption; None: DynamoDB's own key.
    """

    key_schema: Mapping[str, str]
    attribute_types: Mapping[str, str]
    ttl_attribute: str | None
    kms_key: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedBucket:
    """A bucket of S3.

    Args:
        lifecycle_rules: as ``GetBucketLifecycleConfiguration`` has them.
        public_access_block: the four settings.
        policy: the bucket policy; None: there is none.
        kms_key: of its encryption by default; None: SSE-S3.
    """

    lifecycle_rules: Sequence[Mapping[str, Any]]
    public_access_block: Mapping[str, bool]
    policy: Mapping[str, Any] | None
    kms_key: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedMapping:
    """An event source mapping.

    Args:
        uuid: its id.
        state: ``Enabled``, ``Disabled``, or on the way there.
        batch_size: messages for one invocation.
        window_seconds: how long a batch is collected.
        response_types: among them ``ReportBatchItemFailures``.
        maximum_concurrency: None: no limit.
        filters: patterns; a message that none of them fits is deleted.
    """

    uuid: str
    state: str
    batch_size: int
    window_seconds: int
    response_types: Sequence[str]
    maximum_concurrency: int | None
    filters: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ObservedFunction:
    """A Lambda function.

    Args:
        timeout_seconds: when it is ended.
        memory_mb: what it has.
        environment: its variables.
        mappings: from the queue that it is to serve.
        role: the name of the role that it has.
        reserved_concurrency: None: what the account has left.
        others: names of other functions that take from that queue.
    """

    timeout_seconds: int
    memory_mb: int
    environment: Mapping[str, str]
    mappings: Sequence[ObservedMapping]
    role: str
    reserved_concurrency: int | None = None
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ObservedService:
    """A service of ECS, with the container of its task definition that runs the worker.

    Args:
        role: the name of the task role; None: it has none.
        command: the container's.
        environment: its variables; not those from a secret store.
        cpu_units: of the task.
        memory_mb: of the task.
        stop_timeout_seconds: None: ECS's own, 30 s.
    """

    role: str | None
    command: Sequence[str]
    environment: Mapping[str, str]
    cpu_units: int
    memory_mb: int
    stop_timeout_seconds: int | None


@dataclass(frozen=True, slots=True)
class ObservedSchedule:
    """A schedule of EventBridge Scheduler.

    Args:
        fields: those that a declared ``Schedule`` has, as far as they are told: name of the field -> value.
        role: the ARN of the role that it sends with.
        dead_letter: the ARN of the queue of what can't be sent; None: there is none.
    """

    fields: Mapping[str, Any]
    role: str
    dead_letter: str | None


@dataclass(frozen=True, slots=True)
class ObservedRole:
    """A role, or a policy that is attached to roles of others.

    Args:
        statements: of all its policies, inline and attached, as IAM writes them.
        trusted: the services that may assume it.
    """

    statements: Sequence[Mapping[str, Any]]
    trusted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observed:
    """A deployment; what is not there is absent from the mappings.

    Args:
        queues: name in SQS -> queue, dead-letter queues among them.
        tables: name -> table.
        buckets: name -> bucket.
        functions: name -> function.
        services: name -> service.
        schedule_groups: those that exist.
        schedules: name -> schedule, of those that are declared.
        roles: name -> role; of one that nobody assumes the policy of its name.
        skipped: the areas that nobody looked at.
    """

    queues: Mapping[str, ObservedQueue] = field(default_factory=dict)
    tables: Mapping[str, ObservedTable] = field(default_factory=dict)
    buckets: Mapping[str, ObservedBucket] = field(default_factory=dict)
    functions: Mapping[str, ObservedFunction] = field(default_factory=dict)
    services: Mapping[str, ObservedService] = field(default_factory=dict)
    schedule_groups: frozenset[str] = frozenset()
    schedules: Mapping[str, ObservedSchedule] = field(default_factory=dict)
    roles: Mapping[str, ObservedRole] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
