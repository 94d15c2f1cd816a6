"""What only the user can say of a deployment: the ``deployment`` setting, a mapping that stands beside the tasks.

Everything in it has a default; what follows from the tasks' own options (timeouts, dead-letter queues) isn't in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from taskq_cloud.errors import ImproperlyConfigured


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FunctionOptions(_Options):
    """Of the functions: ``function`` for all, ``functions[queue]`` for the one that serves a queue."""

    memory_mb: Annotated[int, Field(ge=128, le=10_240)] = 512
    batch_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """None: as many as fit into the function's timeout at their time limits, at most ten."""
    batching_window_seconds: Annotated[int, Field(ge=0, le=300)] = 0
    maximum_concurrency: Annotated[int, Field(ge=2, le=1000)] = 20
    reserved_concurrency: Annotated[int, Field(ge=0)] | None = None
    environment: dict[str, str] = {}

    def with_changes(self, other: FunctionOptions) -> FunctionOptions:
        """These, with what the other sets explicitly."""
        return self.model_copy(update=other.model_dump(include=other.model_fields_set))


class ServiceOptions(_Options):
    """Of one service of containers."""

    queues: tuple[str, ...] = ()
    """Those it serves; empty: those that no other service names."""
    cpu_units: Annotated[int, Field(ge=256)] = 512
    memory_mb: Annotated[int, Field(ge=512)] = 1024
    minimum_tasks: Annotated[int, Field(ge=0)] = 0
    maximum_tasks: Annotated[int, Field(ge=1)] = 4
    backlog_per_task: Annotated[int, Field(ge=1)] = 100
    environment: dict[str, str] = {}

    @model_validator(mode="after")
    def _check_tasks(self) -> ServiceOptions:
        if self.minimum_tasks > self.maximum_tasks:
            raise ValueError(f"minimum_tasks ({self.minimum_tasks}) is over maximum_tasks ({self.maximum_tasks})")
        return self


class Deployment(_Options):
    """How an application is deployed."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] | None = None
    """What functions, services and roles are called after; None: the application's name."""
    runtime: Literal["auto", "lambda", "container"] = "auto"
    """Of tasks that say ``auto``, or nothing."""
    message_retention_days: Annotated[int, Field(ge=1, le=13)] = 4
    """13 at most, so that dead letters, which keep their age, are kept for longer: SQS's own limit is 14."""
    kms_key_arn: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/.+$")] | None = None
    schedules: Literal["beat", "terraform"] = "beat"
    """Who keeps the schedules of periodic tasks: ``taskq beat apply``, or Terraform, whose input then has them."""
    environment: dict[str, str] = {}
    """For all parts beside what the settings say."""
    function: FunctionOptions = FunctionOptions()
    functions: dict[str, FunctionOptions] = {}
    services: dict[str, ServiceOptions] = {}

    def function_options(self, queue: str) -> FunctionOptions:
        """The options of the function that serves a queue."""
        own = self.functions.get(queue)
        return self.function if own is None else self.function.with_changes(own)


def read_deployment(given: Mapping[str, Any]) -> Deployment:
    """Read the ``deployment`` setting.

    Args:
        given: as it was set.

    Raises:
        ImproperlyConfigured: names the option, and what is wrong with it.
    """
    try:
        return Deployment.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ImproperlyConfigured(f"deployment: {problems}") from error
