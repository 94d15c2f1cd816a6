"""The topology of an application: all resources that it needs. Its JSON Schema is ``schema.json`` next to this file.

``name`` is a resource's full name at the provider, with its prefix; ``queue`` is always the application's own name of a
queue. ARNs contain the placeholders ``{partition}``, ``{region}`` and ``{account}``, because an application does not
know the account that it is deployed in. ``build`` computes the values.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LARGEST_VISIBILITY_SECONDS = 43_200
"""SQS Developer Guide, "sqs-visibility-timeout"."""

LONGEST_RETENTION_SECONDS = 1_209_600
"""SQS Developer Guide, "quotas-messages"."""

LONGEST_FUNCTION_SECONDS = 1_800
"""Lambda API Reference, "CreateFunction". Where an account, a Region or Terraform's provider (version 5) still has the
earlier limit of 900 s, the option ``longest_function_seconds`` of a deployment lowers it."""

Runtime = Literal["lambda", "container"]


class Model(BaseModel):
    """The base of all parts of a topology: they are immutable, and other fields are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class ServedTask(Model):
    """A task, the runtime that serves it, and the reason for that runtime."""

    name: str
    runtime: Runtime
    reason: str
    time_limit_seconds: float | None
    memory_mb: int | None


class DeadLetterQueue(Model):
    """A dead-letter queue, which receives the messages of another queue that can't be run."""

    name: str
    message_retention_seconds: Annotated[int, Field(ge=60, le=LONGEST_RETENTION_SECONDS)]


class Queue(Model):
    """A queue of SQS, encrypted with ``Topology.kms_key_arn`` or SSE-SQS; it refuses requests without TLS."""

    queue: str
    name: Annotated[str, Field(max_length=80)]
    fifo: bool
    runtime: Runtime
    tasks: tuple[ServedTask, ...]
    visibility_timeout_seconds: Annotated[int, Field(ge=0, le=LARGEST_VISIBILITY_SECONDS)]
    receive_wait_time_seconds: Annotated[int, Field(ge=0, le=20)] = 20
    """How long a receive waits for a message if it does not say so itself, such as an operator's."""
    message_retention_seconds: Annotated[int, Field(ge=60, le=LONGEST_RETENTION_SECONDS)]
    max_receive_count: Annotated[int, Field(ge=5, le=1000)]
    """At least 5, because throttled invocations use up receives (Lambda Developer Guide, "services-sqs-configure")."""
    dead_letter_queue: DeadLetterQueue


class Pollers(Model):
    """The event pollers that Lambda provisions for a mapping (Lambda Developer Guide, "services-sqs-scaling")."""

    minimum: Annotated[int, Field(ge=2, le=200)]
    maximum: Annotated[int, Field(ge=2, le=10_000)]


class Function(Model):
    """A Lambda function that serves one queue, with its event source mapping, which reports batch item failures."""

    name: Annotated[str, Field(max_length=64)]
    role: str
    queue: str
    timeout_seconds: Annotated[int, Field(ge=1, le=LONGEST_FUNCTION_SECONDS)]
    memory_mb: Annotated[int, Field(ge=128, le=10_240)]
    batch_size: Annotated[int, Field(ge=1, le=10_000)]
    batching_window_seconds: Annotated[int, Field(ge=0, le=300)]
    maximum_concurrency: Annotated[int, Field(ge=2, le=1000)] | None
    """The most instances that the mapping starts; None with ``provisioned_pollers``, whose maximum limits them."""
    provisioned_pollers: Pollers | None = None
    reserved_concurrency: Annotated[int, Field(ge=0)] | None
    recursive_loop: Literal["Allow", "Terminate"]
    """Its recursion configuration: a workflow of 17 tasks is a recursive loop to Lambda (Lambda Developer Guide,
    "invocation-recursion")."""
    environment: dict[str, str]
    report_batch_item_failures: Literal[True] = True


class Service(Model):
    """A service of containers that run ``taskq worker``: on ECS, or on Cloud Run if the broker is Pub/Sub."""

    name: Annotated[str, Field(max_length=64)]
    role: str | None
    """The name of its role on AWS; None on Google Cloud, where a service runs as a service account."""
    queues: tuple[str, ...]
    command: tuple[str, ...]
    cpu_units: int
    """The CPU units of a container; 1,024 are one virtual CPU, as on ECS."""
    memory_mb: int
    minimum_tasks: Annotated[int, Field(ge=0)]
    """The containers that always run; 0: none runs while the queues are empty."""
    maximum_tasks: Annotated[int, Field(ge=1)]
    backlog_per_task: Annotated[int, Field(ge=1)]
    """The waiting messages for each running container that scaling aims at."""
    stop_timeout_seconds: Annotated[int, Field(ge=2, le=120)]
    """The time from SIGTERM to SIGKILL; longer than ``worker_shutdown_timeout``."""
    environment: dict[str, str]


class Table(Model):
    """A table of DynamoDB with a string key, billed per request and encrypted."""

    name: str
    region: str | None
    hash_key: str = "id"
    ttl_attribute: str = "ttl"


class LifecycleRule(Model):
    """A rule by which a bucket removes the objects of a prefix after some days."""

    id: str
    prefix: str
    expire_days: Annotated[int, Field(ge=1)]


class Bucket(Model):
    """A bucket of S3 or Cloud Storage, or a container of Azure Blob Storage: private, encrypted, and over TLS only."""

    provider: Literal["aws", "google", "azure"]
    name: str
    region: str | None
    prefixes: tuple[str, ...]
    """The prefixes of the keys that the application reads and writes; an empty prefix stands for all keys."""
    lifecycle_rules: tuple[LifecycleRule, ...]
    endpoint: str | None = None
    """The URL of the storage account on Azure."""


class Schedule(Model):
    """A recurring schedule of EventBridge Scheduler that sends a complete message to a queue."""

    name: Annotated[str, Field(max_length=64)]
    expression: str
    timezone: str
    queue: str
    input: str
    message_group_id: str | None = None
    flexible_window_minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    enabled: bool = True
    end_date: str | None = None
    """The time from which on it no longer fires, in UTC and ISO 8601."""
    description: str = ""


class ScheduleGroup(Model):
    """The group of EventBridge Scheduler that contains the schedules, and the role that they send messages with."""

    name: Annotated[str, Field(max_length=64)]
    role_name: Annotated[str, Field(max_length=64)]
    role_path: Annotated[str, Field(pattern=r"^/(.*/)?$", max_length=512)] = "/"
    role_arn: str
    dead_letter_queue: DeadLetterQueue | None
    """The queue for messages that could not be sent within a day; None: such messages are lost."""
    kms_key_arn: str | None = None
    """The key that encrypts the schedules; None: a key of AWS."""


class SchedulerJob(Model):
    """A recurring job of Cloud Scheduler that publishes a complete message to a queue's topic."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,500}$")]
    location: str
    schedule: str
    """The schedule in unix-cron format."""
    timezone: str
    queue: str
    message: str
    attributes: dict[str, str]
    retries: Annotated[int, Field(ge=0, le=5)]
    """The retries of a publish that fails."""
    enabled: bool
    description: Annotated[str, Field(max_length=500)]


class Subscription(Model):
    """A queue of Pub/Sub: a topic and a subscription, with another two for dead letters; none of them expires."""

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


class Address(Model):
    """The address of a server."""

    host: str
    port: Annotated[int, Field(ge=1, le=65_535)]


class ServerUse(Model):
    """What an application keeps on a server: its messages or its results."""

    role: Literal["broker", "results"]
    variable: str
    """The environment variable with the URL."""
    database: str | None
    """The database, or the virtual host of RabbitMQ; None: the URL names none."""
    secret: bool
    """Whether the URL holds a user's name or a password. Then it is not in ``environment``, and processes get the
    variable from a secret store."""


class ServerQueue(Model):
    """A queue on a server; brokers on servers create their queues themselves."""

    queue: str
    tasks: tuple[ServedTask, ...]
    dead_letter_queue: str


class Server(Model):
    """A server that an application connects to, such as Redis. It is not deployed, and has no password here."""

    name: Literal["broker", "results"]
    """``broker`` if the messages are on it, and ``results`` if only results are."""
    kind: str
    """The system: ``redis``, ``rabbitmq``, ``postgresql``, ``mariadb``, ``mongodb`` and so on."""
    addresses: tuple[Address, ...]
    """The addresses in the URL: of one server, or of several that hold the same data."""
    tls: bool
    uses: tuple[ServerUse, ...]
    queues: tuple[ServerQueue, ...] = ()


class Condition(Model):
    """A condition of a statement, with its operator, key and values as IAM writes them."""

    operator: str
    key: str
    values: tuple[str, ...]


class Statement(Model):
    """Actions that a role may take on some resources."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    by: Literal["application", "platform"] = "application"
    """Who makes the calls: this package, or the platform with the role (an event source mapping, a log driver)."""
    conditions: tuple[Condition, ...] = ()


class Role(Model):
    """The permissions of one part of the deployment on AWS."""

    name: Annotated[str, Field(max_length=64)]
    assumed_by: str | None
    """The AWS service that assumes the role; None: callers attach the policy to their own roles."""
    statements: tuple[Statement, ...]


class Topology(Model):
    """All resources that an application needs, sorted by name so that a small change makes a small difference."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    provider: Literal["aws", "google"]
    region: str | None
    """The broker's Region; None: the Region of the environment."""
    project: str | None = None
    """The Google Cloud project of the broker; None on AWS."""
    kms_key_arn: str | None
    """The key that encrypts queues, tables and buckets; None: the services' own keys (SSE-SQS, SSE-S3)."""
    environment: dict[str, str]
    """The environment variables of processes that call tasks; functions and services add their own ones."""
    queues: tuple[Queue, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    functions: tuple[Function, ...] = ()
    services: tuple[Service, ...] = ()
    tables: tuple[Table, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    schedule_group: ScheduleGroup | None = None
    schedules: tuple[Schedule, ...] = ()
    scheduler_jobs: tuple[SchedulerJob, ...] = ()
    """The schedules on Google Cloud."""
    roles: tuple[Role, ...] = ()
    servers: tuple[Server, ...] = ()
    """The servers of the broker and of the results; empty if both are services of a cloud."""

    @property
    def server_queues(self) -> tuple[ServerQueue, ...]:
        """The queues of a broker on a server; empty for every other broker."""
        return tuple(queue for server in self.servers for queue in server.queues)

    def google_name(self, collection: str, name: str) -> str:
        """Return the full name of a resource on Google Cloud: ``"projects/shop/topics/orders"``."""
        return f"projects/{self.project}/{collection}/{name}"

    def queue_names(self) -> list[str]:
        """Return the names in SQS of all queues, with the dead-letter queues of queues and of schedules."""
        names = [name for each in self.queues for name in (each.name, each.dead_letter_queue.name)]
        group = self.schedule_group
        return names if group is None or group.dead_letter_queue is None else [*names, group.dead_letter_queue.name]

    def queue_named(self, queue: str) -> Queue:
        """Return a queue by the application's name for it.

        Raises:
            KeyError: there is no such queue.
        """
        for each in self.queues:
            if each.queue == queue:
                return each
        raise KeyError(queue)

    def role_named(self, name: str) -> Role:
        """Return a role by its name.

        Raises:
            KeyError: there is no such role.
        """
        for each in self.roles:
            if each.name == name:
                return each
        raise KeyError(name)
