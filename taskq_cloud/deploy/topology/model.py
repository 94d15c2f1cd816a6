"""The topology of an application: what has to exist for it to run. Its JSON Schema is ``schema.json`` beside this file.

Names of queues, functions, tables and buckets are the provider's, complete with prefix; ``queue`` always is the
application's own name. ARNs hold the placeholders ``{partition}``, ``{region}`` and ``{account}``: an application does
not know in which account it is deployed. How the values come about is ``build``'s business.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LARGEST_VISIBILITY_SECONDS = 43_200
"""SQS Developer Guide, "sqs-visibility-timeout"."""

LONGEST_RETENTION_SECONDS = 1_209_600
"""SQS Developer Guide, "quotas-messages"."""

LONGEST_FUNCTION_SECONDS = 900
"""Lambda Developer Guide, "gettingstarted-limits"."""

Runtime = Literal["lambda", "container"]


class Model(BaseModel):
    """What all parts of a topology have in common: they are values, and know no further fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class ServedTask(Model):
    """A task, the runtime that serves it, and why it is that one."""

    name: str
    runtime: Runtime
    reason: str
    time_limit_seconds: float | None
    memory_mb: int | None


class DeadLetterQueue(Model):
    """Where a queue's messages go that can't be run."""

    name: str
    message_retention_seconds: Annotated[int, Field(ge=60, le=LONGEST_RETENTION_SECONDS)]


class Queue(Model):
    """A queue of SQS. It is encrypted, with ``Topology.kms_key_arn`` or SSE-SQS, and refuses what comes without TLS."""

    queue: str
    name: Annotated[str, Field(max_length=80)]
    fifo: bool
    runtime: Runtime
    tasks: tuple[ServedTask, ...]
    visibility_timeout_seconds: Annotated[int, Field(ge=0, le=LARGEST_VISIBILITY_SECONDS)]
    receive_wait_time_seconds: Annotated[int, Field(ge=0, le=20)] = 20
    """For receives that name no wait of their own, such as an operator's."""
    message_retention_seconds: Annotated[int, Field(ge=60, le=LONGEST_RETENTION_SECONDS)]
    max_receive_count: Annotated[int, Field(ge=5, le=1000)]
    """Throttled invocations of a function use receives up (Lambda Developer Guide, "services-sqs-configure")."""
    dead_letter_queue: DeadLetterQueue


class Function(Model):
    """A Lambda function that serves one queue, and its event source mapping, which reports batch item failures."""

    name: Annotated[str, Field(max_length=64)]
    role: str
    queue: str
    timeout_seconds: Annotated[int, Field(ge=1, le=LONGEST_FUNCTION_SECONDS)]
    memory_mb: Annotated[int, Field(ge=128, le=10_240)]
    batch_size: Annotated[int, Field(ge=1, le=10_000)]
    batching_window_seconds: Annotated[int, Field(ge=0, le=300)]
    maximum_concurrency: Annotated[int, Field(ge=2, le=1000)]
    reserved_concurrency: Annotated[int, Field(ge=0)] | None
    environment: dict[str, str]
    report_batch_item_failures: Literal[True] = True


class Service(Model):
    """Containers that run ``taskq worker``: on ECS, or on Cloud Run where the broker is Pub/Sub."""

    name: Annotated[str, Field(max_length=64)]
    role: str | None
    """On AWS; Google's services run as accounts of their own."""
    queues: tuple[str, ...]
    command: tuple[str, ...]
    cpu_units: int
    """Thousands and twenty-fourths of a virtual CPU, as ECS counts."""
    memory_mb: int
    minimum_tasks: Annotated[int, Field(ge=0)]
    """0: none runs while the queues are empty."""
    maximum_tasks: Annotated[int, Field(ge=1)]
    backlog_per_task: Annotated[int, Field(ge=1)]
    """Messages waiting for each running container, which scaling aims at."""
    stop_timeout_seconds: Annotated[int, Field(ge=2, le=120)]
    """From SIGTERM to SIGKILL; longer than ``worker_shutdown_timeout``."""
    environment: dict[str, str]


class Table(Model):
    """A table of DynamoDB with a string as its key, paid by request, encrypted."""

    name: str
    region: str | None
    hash_key: str = "id"
    ttl_attribute: str = "ttl"


class LifecycleRule(Model):
    """Objects that a bucket's lifecycle removes."""

    id: str
    prefix: str
    expire_days: Annotated[int, Field(ge=1)]


class Bucket(Model):
    """A bucket of S3, Cloud Storage, or a container of Azure Blob Storage. Private, encrypted, over TLS only."""

    provider: Literal["aws", "google", "azure"]
    name: str
    region: str | None
    prefixes: tuple[str, ...]
    """What the keys begin with that the application reads and writes; an empty one: all."""
    lifecycle_rules: tuple[LifecycleRule, ...]
    endpoint: str | None = None
    """Azure: the URL of the storage account."""


class Schedule(Model):
    """A recurring schedule of EventBridge that puts a complete message on a queue."""

    name: Annotated[str, Field(max_length=64)]
    expression: str
    timezone: str
    queue: str
    input: str
    message_group_id: str | None = None
    flexible_window_minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    enabled: bool = True
    end_date: str | None = None
    """From when on it fires no more, in UTC and ISO 8601."""
    description: str = ""


class ScheduleGroup(Model):
    """The group of EventBridge Scheduler that holds the schedules, and the role with which they send."""

    name: Annotated[str, Field(max_length=64)]
    role_name: Annotated[str, Field(max_length=64)]
    role_path: Annotated[str, Field(pattern=r"^/(.*/)?$", max_length=512)] = "/"
    role_arn: str
    dead_letter_queue: DeadLetterQueue | None
    """For what could not be sent within a day; None: it is lost."""


class SchedulerJob(Model):
    """A job of Google's Cloud Scheduler that publishes a complete message to a queue's topic, again and again."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,500}$")]
    location: str
    schedule: str
    """In unix-cron."""
    timezone: str
    queue: str
    message: str
    attributes: dict[str, str]
    retries: Annotated[int, Field(ge=0, le=5)]
    """Of a publish that fails."""
    enabled: bool
    description: Annotated[str, Field(max_length=500)]


class Subscription(Model):
    """A queue of Pub/Sub: a topic and its subscription, and the same for its dead letters. None of them expires."""

    queue: str
    tasks: tuple[ServedTask, ...]
    topic: str
    subscription: str
    ordered: bool
    ack_deadline_seconds: Annotated[int, Field(ge=10, le=600)]
    message_retention_seconds: Annotated[int, Field(ge=600, le=2_678_400)]
    max_delivery_attempts: Annotated[int, Field(ge=5, le=100)]
    dead_letter_topic: str
    dead_letter_subscription: str


class Condition(Model):
    """A condition of a statement: operator, key and values as IAM writes them."""

    operator: str
    key: str
    values: tuple[str, ...]


class Statement(Model):
    """Actions that a role is allowed."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    by: Literal["application", "platform"] = "application"
    """Who makes the calls: this package, or the platform in the role's name (an event source mapping, log drivers)."""
    conditions: tuple[Condition, ...] = ()


class Role(Model):
    """What a part of the deployment may do on AWS, and which service assumes the role; None: whoever runs the code."""

    name: Annotated[str, Field(max_length=64)]
    assumed_by: str | None
    statements: tuple[Statement, ...]


class Topology(Model):
    """Everything an application needs; sequences are sorted by name, so that a small change is a small difference."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    provider: Literal["aws", "google"]
    region: str | None
    """The broker's; None: the environment's."""
    project: str | None = None
    """Google's, of the broker."""
    kms_key_arn: str | None
    """None: keys that the services own (SSE-SQS, SSE-S3)."""
    environment: dict[str, str]
    """For whoever calls tasks; functions and services have it with what is theirs alone."""
    queues: tuple[Queue, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    functions: tuple[Function, ...] = ()
    services: tuple[Service, ...] = ()
    tables: tuple[Table, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    schedule_group: ScheduleGroup | None = None
    schedules: tuple[Schedule, ...] = ()
    scheduler_jobs: tuple[SchedulerJob, ...] = ()
    """Google's schedules."""
    roles: tuple[Role, ...] = ()

    def queue_named(self, queue: str) -> Queue:
        """A queue by the application's name for it.

        Raises:
            KeyError: there is none.
        """
        for each in self.queues:
            if each.queue == queue:
                return each
        raise KeyError(queue)

    def role_named(self, name: str) -> Role:
        """A role by its name.

        Raises:
            KeyError: there is none.
        """
        for each in self.roles:
            if each.name == name:
                return each
        raise KeyError(name)
