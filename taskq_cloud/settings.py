"""All settings of an application, with their types and defaults, as pydantic checks them.

An application reads its settings by ``runtime.plain_settings``, which makes the same of every value without pydantic.

A setting is looked up in this order: options of the ``taskq`` command, keyword arguments of ``TaskQ``, environment
variables (``TASKQ_`` and the setting's name in capitals), the file ``.env``, and the default below. A deployment can
have its environment override the keyword arguments: see ``core.model.environments``.

Settings that Celery has too keep Celery's names, defaults and meanings; docs/settings.md lists the exceptions.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    SettingsConfigDict,
    SettingsError,
)

from taskq_cloud.clients.env_files import variables_of_environment
from taskq_cloud.clients.settings_sources import Duration, DurationOrZero, Expiry, SourcedSettings, command_line
from taskq_cloud.core.model import settings_values
from taskq_cloud.core.model.environments import PREFIX, environment_first, variable_of
from taskq_cloud.core.model.options import FAN_OUT_MEMBERS, Policy
from taskq_cloud.core.model.priorities import HIGHEST, LEVELS
from taskq_cloud.core.model.settings_values import CELERY_NAMES, LOCAL_BROKER
from taskq_cloud.core.security.signing import public_key
from taskq_cloud.core.serializers.compression import LARGEST_BODY_BYTES
from taskq_cloud.errors import ImproperlyConfigured

__all__ = ["Settings", "load_settings", "public_key"]


class Settings(SourcedSettings, BaseSettings):
    """Every setting of an application, with its default. Durations are in seconds, unless a setting says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    # -- Where messages, results, schedules and large payloads are

    broker: str = LOCAL_BROKER
    """The URL of the message broker; the default, an SQLite file, needs no configuration."""
    broker_url: str | None = None
    """Celery's name of ``broker``. None: the value of ``broker``."""
    results: str | None = None
    """The URL of the result store. None means a local store with a local broker, and otherwise no results (as in
    Celery)."""
    result_backend: str | None = None
    """Celery's name of ``results``. None: the value of ``results``."""
    broker_transport_options: dict[str, Any] = {}
    """Options of the broker; each broker documents its own."""
    result_backend_transport_options: dict[str, Any] = {}
    """Options of the result store; each store documents its own."""
    scheduler: str | None = None
    """The URL of the scheduler, which sends periodic tasks and tasks that are due later than the broker can delay them.
    None: late tasks are delayed by the broker again and again until they are due."""
    visibility_timeout: Duration = 60
    """The duration of a container worker's lease on a message. Leases are renewed, so tasks may run longer; a short
    lease returns a dead worker's messages soon."""
    wait_time_seconds: DurationOrZero = 10
    """How long one receive request waits for a message; the longer it waits, the fewer requests an idle queue costs."""
    service_timeout: Duration = 10
    """How long a caller waits for a call to the broker or a store that gives no answer, with all repetitions of the
    call. Then the caller gets ``Unreachable``."""
    aws_lean_client: bool = True
    """Whether calls on SQS, DynamoDB and S3 may be made without AWS's SDK, which needs several times as much CPU time.
    False: the SDK makes every call."""
    payloads: str | None = None
    """The URL of a bucket for messages and results that are too large for the broker and the store (see
    ``core.payloads``). None: they are refused."""
    payload_compression: str | None = "gzip"
    """The compression that is tried before a payload goes to the bucket; None: no compression."""
    payload_format: str = "taskq"
    """The format of references to the bucket: ``taskq``, or ``sqs-extended`` for Amazon's libraries."""
    payload_sources: tuple[str, ...] = ()
    """Other buckets, as ``bucket`` or ``bucket/prefix``, that payloads may be read from."""
    payload_pointers: bool = False
    """Whether an application that signs its messages follows pointers of Amazon's SQS Extended Client libraries, which
    no signature covers. With ``payload_format="sqs-extended"``, and without signatures, they are always followed."""
    payload_threshold: PositiveInt | None = None
    """The size in bytes above which a message goes to the bucket; None: the broker's own limit."""
    payload_expires_days: PositiveInt = 30
    """The days after which the bucket's lifecycle rule deletes arguments; SQS keeps a message for at most 14 days."""

    # -- Tasks

    task_default_queue: str = "celery"
    """The queue of tasks that no route or option sends elsewhere."""
    task_routes: dict[str, str | dict[str, Any]] = {}
    """Task name, or pattern with ``*`` -> queue, or ``{"queue": name}``."""
    task_event_routes: dict[str, str] = {}
    """Pattern of an event that another service sends -> name of the task that handles it (see
    ``core.messages.events``)."""
    task_default_priority: Annotated[int, Field(ge=0, le=HIGHEST)] | None = None
    """The priority of tasks without their own; None: 0, the lowest."""
    task_queue_max_priority: Annotated[int, Field(ge=0, le=HIGHEST)] | None = None
    """The highest priority of all queues; None or 0: messages have a priority, but no queue obeys it. With it, a queue
    has levels of priority, each with a queue of its own (see ``core.model.priorities``)."""
    queue_max_priorities: dict[str, Annotated[int, Field(ge=0, le=HIGHEST)]] = {}
    """Queue -> its highest priority, which comes before ``task_queue_max_priority``; 0: the queue has no levels."""
    queue_priority_levels: Annotated[int, Field(ge=2, le=10)] = LEVELS
    """The most levels of a queue with priorities: several priorities share a level."""
    task_serializer: str = "json"
    """The serializer of arguments."""
    task_compression: str | None = None
    """The compression of arguments; None: no compression."""
    accept_content: tuple[str, ...] = ("json",)
    """The serializers that a worker accepts; a message in another one is dead-lettered."""
    task_acks_late: bool = True
    """Whether messages are acknowledged after the run, unless a task says otherwise."""
    task_acks_on_failure_or_timeout: bool = True
    """Whether the messages of failed tasks are acknowledged. False: after a failure the message is dead-lettered, and
    after the hard time limit it is given back until its receives run out."""
    task_acks_on_failure: bool | None = None
    """The part of ``task_acks_on_failure_or_timeout`` that is about failures; None: the value of that setting."""
    task_acks_on_timeout: bool | None = None
    """The part of ``task_acks_on_failure_or_timeout`` that is about time limits; None: the value of that setting."""
    task_time_limit: Duration | None = None
    """The hard time limit of tasks without their own; None: no limit."""
    task_soft_time_limit: Duration | None = None
    """The soft time limit of tasks without their own; None: no limit."""
    task_ignore_result: bool = False
    """Whether results are ignored, unless a task or a call says otherwise."""
    task_store_errors_even_if_ignored: bool = False
    """Whether failures are stored although results are ignored."""
    task_track_started: bool = False
    """Whether the state STARTED is stored before each run; it costs one more write per run."""
    task_track_workflows: bool = True
    """Whether a workflow's shape is stored when it is sent, so that it can be watched and revoked by its id (see
    ``core.workflows.shape``). It costs one write per workflow."""
    task_always_eager: bool = False
    """Whether calls run the task at once, in the calling process, instead of sending a message."""
    task_eager_propagates: bool = False
    """Whether eager calls raise the task's exception."""
    task_store_eager_result: bool = False
    """Whether the results of eager calls are stored, too."""
    task_max_receives: PositiveInt = 5
    """The deliveries after which a message that can't be run is dead-lettered; a queue's ``maxReceiveCount`` should
    not be lower."""
    task_max_body_bytes: PositiveInt = LARGEST_BODY_BYTES
    """The size of the largest message body, expanded, that is sent and read. Its values may take eight times as much
    memory; a body with more of them is refused, too."""
    task_fan_out_members: NonNegativeInt = FAN_OUT_MEMBERS
    """The members above which a group is sent by a task, ``taskq.fan_out``, instead of by the caller; 0: never."""
    task_default_rate_limit: str | float | None = None
    """The rate limit of tasks without a ``rate_limit``; None: no limit."""
    queue_rate_limits: dict[str, str | float] = {}
    """Queue -> the rate limit of all its tasks together."""

    # -- Signatures

    message_signing_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Shared secrets: messages are signed with the first one, and accepted with any of them (see
    ``core.security.signing``)."""
    message_signature_max_age: Duration | None = None
    """How long a signature is valid, counted from the signing or from the message's eta; None: for ever."""
    accept_unsigned: tuple[Literal["events", "auth", "all"], ...] = ()
    """The kinds of messages that are accepted without such a signature (see ``core.security.policy``)."""
    security_key: SecretStr | None = None
    """The private key of the serializer ``auth``: the path of a PEM file, as in Celery, or its content."""
    security_key_password: SecretStr | None = None
    """The password of the private key."""
    security_certificate: str | None = None
    """The certificate of the serializer ``auth``: the path of a PEM file, as in Celery, or its content."""
    security_cert_store: str | None = None
    """The certificates that are trusted: a folder, or a pattern of the paths of PEM files."""
    security_digest: str = "sha256"
    """The digest of signatures of the serializer ``auth``."""
    security_serializer: str = "json"
    """The serializer of the content that the serializer ``auth`` signs."""

    # -- Results

    result_expires: Expiry | None = 86400
    """How long a result is stored; 0 or None: for ever."""
    result_compression: str | None = None
    """The compression of stored results; None: no compression. They are read whatever its value is."""
    result_extended: bool = False
    """Whether results also hold the task's name, arguments, worker, retries, queue and start time."""

    # -- Periodic tasks and deployment

    beat_schedule: dict[str, Any] = {}
    """Name -> periodic task, as in Celery (see ``taskq_cloud.beat.declarations``)."""
    timezone: str | None = None
    """The IANA name of the time zone of crontabs without their own; None: UTC."""
    enable_utc: bool = True
    """Celery's setting; False is refused if there are periodic tasks but no ``timezone``."""
    deployment: dict[str, Any] = {}
    """Facts of the deployment that the application's code doesn't hold (see
    ``taskq_cloud.deploy.topology.deployment``)."""

    # -- Workers

    imports: tuple[str, ...] = ()
    """Modules that a worker imports besides the application's own module."""
    worker_pool: str = "processes"
    """The kind of pool that runs tasks: ``processes``, ``threads``, ``asyncio``, ``gevent``, ``eventlet`` or
    ``solo``."""
    worker_concurrency: PositiveInt | Literal["auto"] | None = None
    """The number of tasks that run at the same time; None: the number of CPUs that the process may use; ``auto``: the
    CPU limit of the container, rounded up."""
    worker_prefetch_multiplier: PositiveInt = 4
    """The messages that a worker holds per running task, including the running one."""
    lambda_concurrency: PositiveInt = 1
    """The tasks of one batch that a Lambda function runs at the same time: coroutine functions on one event loop, plain
    functions in threads."""
    worker_priority_weights: tuple[PositiveInt, ...] = ()
    """The weight of each level of priority, from the lowest: of the tasks that a busy worker begins, each level has a
    share by its weight. Empty: tasks of a higher level always go first."""
    worker_max_tasks_per_child: PositiveInt | None = None
    """The tasks after which a process of the pool is replaced; None: never."""
    worker_max_memory_per_child: PositiveInt | None = None
    """The memory, in KiB, above which a process of the pool is replaced after a task; None: never."""
    worker_shutdown_timeout: Duration = 25
    """The time from SIGTERM until running tasks are returned to their queues. ECS kills a container after 30 s, Cloud
    Run after 10 s."""
    worker_patience: DurationOrZero = 300
    """How long a finished run waits for a store or broker that doesn't answer, before its message is returned to be
    run again."""
    worker_disable_rate_limits: bool = False
    """Whether workers ignore all rate limits."""
    worker_health_port: int | None = None
    """The port of ``GET /healthz``; None: the worker serves no health check."""
    worker_task_protection: bool = True
    """Whether a worker on ECS asks for its container to be kept while a long task runs (see
    ``taskq_cloud.worker.protection``)."""

    @model_validator(mode="before")
    @classmethod
    def _read_celerys_names(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Let Celery's name of a setting stand for ours, unless that is given too."""
        celerys = {ours: data[name] for name, ours in CELERY_NAMES.items() if data.get(name) is not None}
        return {**celerys, **data}

    @model_validator(mode="after")
    def _fill_celerys_names(self) -> Self:
        for name, ours in CELERY_NAMES.items():
            self.__dict__[name] = getattr(self, ours)  # the model is frozen for everybody else
        return self

    @field_validator("message_signing_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        """Split the keys of the environment variable, which are separated by commas."""
        return [key for key in value.split(",") if key.strip()] if isinstance(value, str) else value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from taskq_cloud.core.schedules.base import zone_name  # only with periodic tasks

        return zone_name(value)

    def results_url(self) -> str:
        """Return the URL of the result store: the setting, or a local store if the broker is local."""
        return settings_values.results_url(self)

    def policy(self, patience_seconds: float) -> Policy:
        """Return the settings that the execution of tasks needs.

        Args:
            patience_seconds: how long a finished run waits for a broker or store that doesn't answer.

        Raises:
            ImproperlyConfigured: a rate limit can't be read.
        """
        return settings_values.policy(self, patience_seconds)


def load_settings(given: dict[str, Any]) -> Settings:
    """Read the settings of an application from its keyword arguments, the command line and the environment.

    Args:
        given: the keyword arguments. Celery's names ``broker_url`` and ``result_backend`` stand for ``broker`` and
            ``results``.

    Raises:
        ImproperlyConfigured: a keyword is not a setting, or a value is wrong; the message names the setting.
    """
    values = settings_values.given_values(given, command_line(), Settings.model_fields)
    if environment_first(os.environ):
        there = variables_of_environment()
        for name, ours in CELERY_NAMES.items():
            if variable_of(name) in there and variable_of(ours) not in there:
                values.pop(ours, None)  # otherwise this keyword would win over the variable of Celery's name
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ImproperlyConfigured(f"wrong setting (keyword, TASKQ_... or .env): {problems}") from error
    except SettingsError as error:
        raise ImproperlyConfigured(
            f"wrong setting (TASKQ_... or .env): {error}; lists and mappings are JSON"
        ) from error
