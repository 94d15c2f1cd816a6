"""Settings: keyword arguments of ``TaskQ``, then ``TASKQ_...`` in the environment, then ``.env``, then the defaults.

An option of the command line comes before all of them.
Names, defaults and meanings are Celery's where the concept is Celery's; docs/settings.md says where a default differs.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AliasChoices,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from taskq_cloud.core.model.options import FAN_OUT_MEMBERS, Policy
from taskq_cloud.core.model.rates import parse_rate
from taskq_cloud.errors import ImproperlyConfigured

LOCAL_BROKER: Final = "sqlite:///.taskq/broker.db"
LOCAL_RESULTS: Final = "sqlite:///.taskq/results.db"

COMMAND_LINE: Final = "TASKQ_COMMAND_LINE"
"""The environment variable by which options such as ``--broker`` reach the application that ``taskq`` imports, and the
processes of its pool, which import it again: settings as a JSON object."""

_CELERY_NAMES: Final = {"broker_url": "broker", "result_backend": "results"}


class Settings(BaseSettings):
    """Every setting, with its default. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="TASKQ_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    broker: str = Field(LOCAL_BROKER, validation_alias=AliasChoices("TASKQ_BROKER", "TASKQ_BROKER_URL"))
    results: str | None = Field(None, validation_alias=AliasChoices("TASKQ_RESULTS", "TASKQ_RESULT_BACKEND"))
    """None: beside a local broker a local store; otherwise no results are kept, as in Celery."""
    broker_transport_options: dict[str, Any] = {}
    scheduler: str | None = None
    """What holds schedules: messages that are due later than the broker delays one."""
    payloads: str | None = None
    """A bucket for messages and results that are too large for the broker and the store: see ``core.payloads``."""
    payload_compression: str | None = "gzip"
    """Tried before a payload goes to the bucket, where nothing has compressed it yet."""
    payload_format: str = "taskq"
    payload_sources: tuple[str, ...] = ()
    payload_threshold: PositiveInt | None = None
    """In bytes."""
    payload_expires_days: PositiveInt = 30
    visibility_timeout: PositiveFloat = 60
    """How long a container worker's lease runs; it is renewed for as long as the task does. Not a limit on the task."""
    wait_time_seconds: NonNegativeFloat = 10
    """How long a receive waits for a message."""

    task_default_queue: str = "celery"
    task_routes: dict[str, str | dict[str, Any]] = {}
    task_event_routes: dict[str, str] = {}
    """Patterns of foreign events -> task names: see ``taskq_cloud.core.messages.events``."""
    task_serializer: str = "json"
    task_compression: str | None = None
    accept_content: tuple[str, ...] = ("json",)
    security_key: SecretStr | None = None
    """Of the serializer ``auth``: a PEM file's path, as in Celery, or what such a file holds."""
    security_key_password: SecretStr | None = None
    security_certificate: str | None = None
    """Likewise."""
    security_cert_store: str | None = None
    """The certificates that are trusted: a folder, or a pattern of PEM files' paths."""
    security_digest: str = "sha256"
    security_serializer: str = "json"
    """The serializer of what ``auth`` signs."""
    message_signing_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Every message is signed with the first, and must be signed with one of them: see ``core.security.signing``."""
    message_signature_max_age: PositiveFloat | None = None
    """Seconds for which a signature is good, from its making or the message's eta on."""
    accept_unsigned: tuple[Literal["events", "auth", "all"], ...] = ()
    """What may come without such a signature: see ``taskq_cloud.core.security.policy``."""
    task_time_limit: PositiveFloat | None = None
    task_soft_time_limit: PositiveFloat | None = None
    task_ignore_result: bool = False
    task_store_errors_even_if_ignored: bool = False
    task_track_started: bool = False
    task_track_workflows: bool = True
    """A workflow's shape is stored when it is sent: see ``taskq_cloud.core.workflows.shape``."""
    task_always_eager: bool = False
    task_eager_propagates: bool = False
    task_max_receives: PositiveInt = 5
    """Deliveries of a message, after which what can't be run is dead-lettered: the queue's own maxReceiveCount."""
    task_fan_out_members: NonNegativeInt = FAN_OUT_MEMBERS
    """Groups of more members are sent by a task of their own, ``taskq.fan_out``; 0: none are."""

    task_default_rate_limit: str | float | None = None
    """Of tasks without a ``rate_limit`` of their own."""
    queue_rate_limits: dict[str, str | float] = {}
    """Queue -> the rate of all its tasks together."""
    worker_disable_rate_limits: bool = False

    result_expires: timedelta | NonNegativeFloat | None = 86400
    result_extended: bool = False

    deployment: dict[str, Any] = {}
    """What only the user can say of a deployment: see ``taskq_cloud.deploy.topology.deployment``."""

    beat_schedule: dict[str, Any] = {}
    """Periodic tasks by name, as in Celery: see ``taskq_cloud.beat.declarations``."""
    timezone: str | None = None
    """The zone that crontabs are in which say none; None: UTC."""
    enable_utc: bool = True

    imports: tuple[str, ...] = ()
    """Modules that a worker imports, beside the one that defines the application."""
    worker_pool: str = "processes"
    worker_concurrency: PositiveInt | None = None
    worker_prefetch_multiplier: PositiveInt = 4
    worker_max_tasks_per_child: PositiveInt | None = None
    worker_max_memory_per_child: PositiveInt | None = None
    """In KiB."""
    worker_shutdown_timeout: PositiveFloat = 25
    """From SIGTERM until what still runs is given back; ECS kills after 30 s, Cloud Run after 10."""
    worker_patience: NonNegativeFloat = 300
    """How long a finished run waits for a store or broker that gives no answer."""
    worker_health_port: int | None = None
    worker_task_protection: bool = True
    """On ECS: see ``taskq_cloud.worker.protection``."""

    @field_validator("message_signing_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        """In the environment the keys stand with commas between them."""
        return [key for key in value.split(",") if key.strip()] if isinstance(value, str) else value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from taskq_cloud.core.schedules.base import zone_name  # only with periodic tasks

        return zone_name(value)

    def results_url(self) -> str:
        """The URL of the result store: as given, or the one that fits the broker."""
        if self.results is not None:
            return self.results
        scheme = self.broker.partition(":")[0]
        return {"sqlite": LOCAL_RESULTS, "memory": "memory://"}.get(scheme, "disabled://")

    def policy(self, patience_seconds: float) -> Policy:
        """What the execution of tasks needs of the settings."""
        expires = self.result_expires
        return Policy(
            time_limit=self.task_time_limit,
            soft_time_limit=self.task_soft_time_limit,
            ignore_result=self.task_ignore_result,
            store_errors_even_if_ignored=self.task_store_errors_even_if_ignored,
            track_started=self.task_track_started,
            result_extended=self.result_extended,
            # Celery: 0 and None both keep results for ever.
            result_expires=(expires.total_seconds() if isinstance(expires, timedelta) else expires) or None,
            max_receives=self.task_max_receives,
            patience_seconds=patience_seconds,
            fan_out_members=self.task_fan_out_members,
            default_rate=parse_rate(self.task_default_rate_limit, of="task_default_rate_limit"),
            queue_rate_limits={
                queue: rate
                for queue, given in self.queue_rate_limits.items()
                if (rate := parse_rate(given, of=f"queue_rate_limits: {queue}")) is not None
            },
            disable_rate_limits=self.worker_disable_rate_limits,
        )


def load_settings(given: dict[str, Any]) -> Settings:
    """Read the settings.

    Args:
        given: keyword arguments; they win over the environment. ``broker_url`` and ``result_backend``, Celery's names
            of ``broker`` and ``results``, are taken too.

    Raises:
        ImproperlyConfigured: names the setting, what is wrong with it, and where it was looked for.
    """
    values = {_CELERY_NAMES.get(name, name): value for name, value in given.items()}
    values |= json.loads(os.environ.get(COMMAND_LINE, "{}"))
    unknown = sorted(values.keys() - Settings.model_fields.keys())
    if unknown:
        raise ImproperlyConfigured(f"unknown setting {unknown[0]!r}; known: {', '.join(sorted(Settings.model_fields))}")
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ImproperlyConfigured(f"settings (keyword, TASKQ_... or .env): {problems}") from error
    except SettingsError as error:
        raise ImproperlyConfigured(f"settings (TASKQ_... or .env): {error}: lists and mappings are JSON") from error
