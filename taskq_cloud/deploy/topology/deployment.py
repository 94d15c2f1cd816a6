"""Reads the ``deployment`` setting: the choices about a deployment that only the user can make.

Every option has a default. Values that follow from the options of the tasks (timeouts, dead-letter queues) are not set
here: ``build`` computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from taskq_cloud.deploy.topology.model import LONGEST_FUNCTION_SECONDS
from taskq_cloud.errors import ImproperlyConfigured


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PollerOptions(_Options):
    """The event pollers of a function's mapping (Lambda Developer Guide, "services-sqs-scaling")."""

    minimum: Annotated[int, Field(ge=2, le=200)] = 2
    maximum: Annotated[int, Field(ge=2, le=10_000)] = 200

    @model_validator(mode="after")
    def _check_numbers(self) -> PollerOptions:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum ({self.minimum}) is greater than maximum ({self.maximum})")
        return self


class FunctionOptions(_Options):
    """Options of functions: ``function`` is for all of them, ``functions[queue]`` for the one that serves a queue."""

    memory_mb: Annotated[int, Field(ge=128, le=10_240)] = 512
    batch_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """The most messages of one invocation; None: as many as fit into two minutes at their time limits, 1 to 10."""
    batching_window_seconds: Annotated[int, Field(ge=0, le=300)] = 0
    maximum_concurrency: Annotated[int, Field(ge=2, le=1000)] = 20
    """The most instances that serve a queue; without effect with ``provisioned_pollers``, which exclude it."""
    provisioned_pollers: PollerOptions | None = None
    """Event pollers that are always there, for queues whose load rises within seconds."""
    reserved_concurrency: Annotated[int, Field(ge=0)] | None = None
    recursive_loop: Literal["Allow", "Terminate"] = "Allow"
    """Whether a chain of messages may pass the function any number of times, or is stopped after about 16 times."""
    environment: dict[str, str] = {}

    def with_changes(self, other: FunctionOptions) -> FunctionOptions:
        """Return these options, overridden by the options that the other one sets explicitly."""
        return self.model_copy(update=other.model_dump(include=other.model_fields_set))


class ServiceOptions(_Options):
    """Options of one service of containers."""

    queues: tuple[str, ...] = ()
    """The queues that it serves; empty: the queues that no other service names."""
    cpu_units: Annotated[int, Field(ge=256)] = 512
    memory_mb: Annotated[int, Field(ge=512)] = 1024
    minimum_tasks: Annotated[int, Field(ge=0)] = 0
    maximum_tasks: Annotated[int, Field(ge=1)] = 4
    backlog_per_task: Annotated[int, Field(ge=1)] = 100
    environment: dict[str, str] = {}

    @model_validator(mode="after")
    def _check_tasks(self) -> ServiceOptions:
        if self.minimum_tasks > self.maximum_tasks:
            raise ValueError(
                f"minimum_tasks ({self.minimum_tasks}) is greater than maximum_tasks ({self.maximum_tasks})"
            )
        return self


class Deployment(_Options):
    """The ``deployment`` setting: how an application is deployed."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] | None = None
    """The prefix of the names of functions, services and roles; None: the application's name."""
    runtime: Literal["auto", "lambda", "container"] = "auto"
    """The runtime of tasks whose own ``runtime`` is ``auto``."""
    longest_function_seconds: Annotated[int, Field(ge=10, le=LONGEST_FUNCTION_SECONDS)] = LONGEST_FUNCTION_SECONDS
    """The longest timeout of a function that the account, its Region and Terraform's provider allow. Tasks that need
    more are run in containers."""
    message_retention_days: Annotated[int, Field(ge=1, le=13)] = 4
    """At most 13, so that dead letters, which keep their age, are kept longer: the limit of SQS is 14 days."""
    kms_key_arn: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/.+$")] | None = None
    schedules: Literal["beat", "terraform"] = "beat"
    """Whether ``taskq beat apply`` or Terraform, through its variables, manages the schedules of periodic tasks."""
    retired_queues: dict[str, str] = {}
    """A queue that no task goes to any more -> the queue that took over; both have the same runtime and limits."""
    environment: dict[str, str] = {}
    """Environment variables of functions, services and callers, besides the variables that follow from the settings."""
    function: FunctionOptions = FunctionOptions()
    functions: dict[str, FunctionOptions] = {}
    services: dict[str, ServiceOptions] = {}

    def function_options(self, queue: str) -> FunctionOptions:
        """Return the options of the function that serves a queue."""
        own = self.functions.get(queue)
        return self.function if own is None else self.function.with_changes(own)


def read_deployment(given: Mapping[str, Any]) -> Deployment:
    """Read the ``deployment`` setting.

    Args:
        given: the value of the setting.

    Raises:
        ImproperlyConfigured: an option is unknown or has a wrong value; the error names the option and the reason.
    """
    try:
        return Deployment.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ImproperlyConfigured(f"deployment: {problems}") from error
