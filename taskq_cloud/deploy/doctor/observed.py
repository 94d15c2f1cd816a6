"""A deployment as its services describe it, in values: ``observe`` reads it, and ``checks`` judges it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskq_cloud.deploy.doctor.observed_google import (
    ObservedContainer,
    ObservedGoogleBucket,
    ObservedJob,
    ObservedSubscription,
    ObservedWorkerPool,
)
from taskq_cloud.deploy.doctor.observed_monitoring import ObservedAlarm, ObservedAlarmTopic, ObservedLogGroup
from taskq_cloud.deploy.doctor.observed_servers import ObservedServer


@dataclass(frozen=True, slots=True)
class ObservedQueue:
    """A queue of SQS.

    Args:
        url: its URL.
        attributes: all of its attributes, as ``GetQueueAttributes`` returns them.
    """

    url: str
    attributes: Mapping[str, str]

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return self.attributes["QueueArn"]

    def seconds(self, attribute: str) -> int:
        """Return an attribute that is a number; 0 if it is not set."""
        return int(self.attributes.get(attribute, "0"))

    def flag(self, attribute: str) -> bool:
        """Return an attribute that is true or false; False if it is not set."""
        return self.attributes.get(attribute) == "true"

    def document(self, attribute: str) -> Mapping[str, Any]:
        """Return an attribute that is a JSON object, such as a policy; an empty one if it is not set."""
        found: Mapping[str, Any] = json.loads(self.attributes.get(attribute) or "{}")
        return found


@dataclass(frozen=True, slots=True)
class ObservedTable:
    """A table of DynamoDB.

    Args:
        key_schema: attribute -> ``HASH`` or ``RANGE``.
        attribute_types: attribute -> ``S``, ``N`` or ``B``.
        ttl_attribute: the attribute that holds an item's expiry; None: items do not expire.
        kms_key: the ARN of the key that encrypts it; None: DynamoDB's own key.
        on_demand: whether each request is paid for; otherwise the table has a capacity of its own.
    """

    key_schema: Mapping[str, str]
    attribute_types: Mapping[str, str]
    ttl_attribute: str | None
    kms_key: str | None = None
    on_demand: bool = True


@dataclass(frozen=True, slots=True)
class ObservedBucket:
    """A bucket of S3.

    Args:
        lifecycle_rules: its rules, as ``GetBucketLifecycleConfiguration`` returns them.
        public_access_block: the four settings that block public access, by name.
        policy: the bucket policy; None: the bucket has none.
        kms_key: the key that encrypts new objects by default; None: SSE-S3.
    """

    lifecycle_rules: Sequence[Mapping[str, Any]]
    public_access_block: Mapping[str, bool]
    policy: Mapping[str, Any] | None
    kms_key: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedMapping:
    """An event source mapping, which hands the messages of a queue to a function.

    Args:
        uuid: its id.
        state: ``Enabled``, ``Disabled``, or a state on the way there.
        batch_size: the most messages of one invocation.
        window_seconds: how long Lambda collects a batch.
        response_types: the response types that are on, such as ``ReportBatchItemFailures``.
        maximum_concurrency: the most instances that the mapping starts; None: no limit.
        pollers: the least and the most event pollers that are provisioned for it; None: it has none.
        qualifier: the alias or version of the function that it invokes; None: the newest code, ``$LATEST``.
        filters: the patterns of its filters; Lambda deletes a message that matches none of them.
    """

    uuid: str
    state: str
    batch_size: int
    window_seconds: int
    response_types: Sequence[str]
    maximum_concurrency: int | None
    pollers: tuple[int, int] | None = None
    filters: Sequence[str] = ()
    qualifier: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedFunction:
    """A Lambda function, in the version that its messages reach.

    Args:
        timeout_seconds: how long an invocation may take.
        memory_mb: its memory, in MiB.
        environment: its environment variables.
        mappings: its mappings from the queue that it is declared to serve.
        role: the name of its role.
        reserved_concurrency: the instances that are reserved for it; None: it shares the instances of the account.
        competing_functions: the names of other functions that have a mapping from that queue.
        kms_key: the ARN of the key that encrypts its environment; None: Lambda's own key.
        in_vpc: whether it runs in a VPC.
        traced: whether X-Ray traces it.
        destinations: the ARNs that Lambda sends asynchronous invocations to, and the records of them.
        recursive_loop: its recursion configuration: ``Allow`` or ``Terminate``.
        aliases: the names of its aliases.
        snapshots: whether SnapStart makes snapshots of the versions that are published.
        snapshot: whether instances of this version start from a snapshot.
        further_versions: version -> the function in this version, of those that an alias shifts some messages to.
        log_format: the format of its log lines: ``JSON`` or ``Text``.
        log_group: the name of its log group.
    """

    timeout_seconds: int
    memory_mb: int
    environment: Mapping[str, str]
    mappings: Sequence[ObservedMapping]
    role: str
    reserved_concurrency: int | None = None
    competing_functions: Sequence[str] = ()
    kms_key: str | None = None
    in_vpc: bool = False
    traced: bool = False
    destinations: Sequence[str] = ()
    recursive_loop: str = "Allow"
    aliases: frozenset[str] = frozenset()
    snapshots: bool = False
    snapshot: bool = False
    further_versions: Mapping[str, ObservedFunction] = field(default_factory=dict)
    log_format: str = "JSON"
    log_group: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedService:
    """A service of ECS, with the container of its task definition that runs the worker.

    Args:
        role: the name of the task role; None: the task has no role.
        command: the container's command; empty: the command of its image.
        environment: the container's environment variables, without those that come from a secret store.
        cpu_units: the CPU units of the task; 1,024 are one virtual CPU.
        memory_mb: the memory of the task, in MiB.
        stop_timeout_seconds: how long after SIGTERM the container is killed; None: ECS's default of 30 s.
        log_group: the name of the log group of CloudWatch that it writes to; None: its logs go elsewhere.
    """

    role: str | None
    command: Sequence[str]
    environment: Mapping[str, str]
    cpu_units: int
    memory_mb: int
    stop_timeout_seconds: int | None
    log_group: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedScaling:
    """How Application Auto Scaling scales a service of ECS.

    Args:
        minimum_tasks: the least containers.
        maximum_tasks: the most containers.
        backlog_per_task: the messages for each container, by the policy's first step; None: it has one step at most.
    """

    minimum_tasks: int
    maximum_tasks: int
    backlog_per_task: float | None


@dataclass(frozen=True, slots=True)
class ObservedSchedule:
    """A schedule of EventBridge Scheduler.

    Args:
        fields: the values of the fields that a declared ``Schedule`` has, by field name.
        role: the ARN of the role that it sends messages with.
        dead_letter: the ARN of the queue for messages that it can't send; None: it has no such queue.
        kms_key: the ARN of the key that encrypts it; None: the scheduler's own key.
    """

    fields: Mapping[str, Any]
    role: str
    dead_letter: str | None
    kms_key: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedRole:
    """A role, or a policy that callers attach to their own roles.

    Args:
        statements: the statements of all its policies, inline and attached, as IAM writes them.
        trust: the statements that say who may assume the role.
    """

    statements: Sequence[Mapping[str, Any]]
    trust: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """A deployment; a resource that does not exist is absent from its mapping.

    Args:
        queues: name in SQS -> queue; dead-letter queues are included.
        undeclared: name in SQS -> queue, of queues that were deployed for the application and are no longer declared.
        tables: name -> table.
        buckets: name -> bucket.
        functions: name -> function.
        services: name -> service.
        worker_pools: name -> worker pool of Cloud Run.
        scaling: name of a service -> its scaling.
        schedule_groups: the names of the schedule groups that exist.
        schedules: name -> schedule, of the declared schedules.
        topics: full name of a topic -> settings by which it leaves messages out or changes them.
        subscriptions: full name -> subscription of Pub/Sub.
        access: full name of a topic or a subscription -> role -> the members that have the role on this resource.
        jobs: full name -> job of Cloud Scheduler.
        google_buckets: name -> bucket of Cloud Storage.
        containers: name -> container of Azure Blob Storage.
        alarms: name -> alarm, of the alarms that Terraform makes for the declaration.
        alarm_topics: ARN -> topic that these alarms are published to.
        log_groups: name -> log group of a function or a service.
        roles: name -> role; a declared role that no service assumes is the policy of its name.
        servers: ``broker`` and ``results`` -> the server in this use.
        skipped: the areas that were not observed.
    """

    queues: Mapping[str, ObservedQueue] = field(default_factory=dict)
    undeclared: Mapping[str, ObservedQueue] = field(default_factory=dict)
    tables: Mapping[str, ObservedTable] = field(default_factory=dict)
    buckets: Mapping[str, ObservedBucket] = field(default_factory=dict)
    functions: Mapping[str, ObservedFunction] = field(default_factory=dict)
    services: Mapping[str, ObservedService] = field(default_factory=dict)
    worker_pools: Mapping[str, ObservedWorkerPool] = field(default_factory=dict)
    scaling: Mapping[str, ObservedScaling] = field(default_factory=dict)
    schedule_groups: frozenset[str] = frozenset()
    schedules: Mapping[str, ObservedSchedule] = field(default_factory=dict)
    topics: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subscriptions: Mapping[str, ObservedSubscription] = field(default_factory=dict)
    access: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    jobs: Mapping[str, ObservedJob] = field(default_factory=dict)
    google_buckets: Mapping[str, ObservedGoogleBucket] = field(default_factory=dict)
    containers: Mapping[str, ObservedContainer] = field(default_factory=dict)
    alarms: Mapping[str, ObservedAlarm] = field(default_factory=dict)
    alarm_topics: Mapping[str, ObservedAlarmTopic] = field(default_factory=dict)
    log_groups: Mapping[str, ObservedLogGroup] = field(default_factory=dict)
    roles: Mapping[str, ObservedRole] = field(default_factory=dict)
    servers: Mapping[str, ObservedServer] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
