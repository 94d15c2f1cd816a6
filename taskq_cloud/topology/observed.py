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
    """

    uuid: str
    state: str
    batch_size: int
    window_seconds: int
    response_types: Sequence[str]
    maximum_concurrency: int | None


@dataclass(frozen=True, slots=True)
class ObservedFunction:
    """A Lambda function.

    Args:
        timeout_seconds: when it is ended.
        memory_mb: what it has.
        environment: its variables.
        mappings: from the queue that it is to serve.
    """

    timeout_seconds: int
    memory_mb: int
    environment: Mapping[str, str]
    mappings: Sequence[ObservedMapping]


@dataclass(frozen=True, slots=True)
class Observed:
    """A deployment; what is not there is absent from the mappings.

    Args:
        queues: name in SQS -> queue, dead-letter queues among them.
        tables: name -> table.
        buckets: name -> bucket.
        functions: name -> function.
        schedule_groups: those that exist.
        roles: name -> the actions that its inline policies allow, where the role could be looked at.
    """

    queues: Mapping[str, ObservedQueue] = field(default_factory=dict)
    tables: Mapping[str, ObservedTable] = field(default_factory=dict)
    buckets: Mapping[str, ObservedBucket] = field(default_factory=dict)
    functions: Mapping[str, ObservedFunction] = field(default_factory=dict)
    schedule_groups: frozenset[str] = frozenset()
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
