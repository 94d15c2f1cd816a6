"""The application, as the rooms below it ask for it: one protocol for results, one for everything else.

``TaskQ`` satisfies both. A room that works for an application takes it as an argument of one of these types, and
imports neither ``TaskQ`` nor ``Task``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import Broker, ResultStore, ScheduleStore

if TYPE_CHECKING:
    from taskq_cloud.core.execution.runner import TaskRunner
    from taskq_cloud.core.messages.sending import Outbox
    from taskq_cloud.core.model.options import TaskOptions
    from taskq_cloud.settings import Settings

V = TypeVar("V")


class Backend(Protocol):
    """An application as results see it: a store to read, and something that drives flows."""

    @property
    def store(self) -> ResultStore:
        """The result store."""
        ...

    @property
    def scheduler(self) -> ScheduleStore | None:
        """The scheduler that holds messages that are due late; None where there is none."""
        ...

    def run(self, flow: Flow[V]) -> V:
        """Drive a flow in the calling thread."""
        ...

    async def arun(self, flow: Flow[V]) -> V:
        """Drive a flow on the running event loop."""
        ...

    def result_expires_at(self) -> float | None:
        """When a record that is written now expires, in seconds since the epoch; None: never."""
        ...


class Application(Backend, Protocol):
    """An application as callers, schedules and deployments see it."""

    main: str | None

    @property
    def conf(self) -> Settings:
        """The settings."""
        ...

    @property
    def broker(self) -> Broker:
        """The message broker."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The place where messages leave: codec, broker and scheduler."""
        ...

    @property
    def runner(self) -> TaskRunner:
        """The runner of task functions, for tasks that run in place."""
        ...

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks that are registered here, by name."""
        ...

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that is given none."""
        ...

    def options_of(self, task: str) -> TaskOptions:
        """The options that a task was declared with; the defaults for a task that is not registered here."""
        ...

    def route(self, task: str) -> str:
        """The queue that a task's messages go to."""
        ...

    def queues(self) -> list[str]:
        """Every queue that the registered tasks go to, and the default queue."""
        ...

    def is_registered(self, task: str) -> bool:
        """Whether a task of that name can be run here."""
        ...

    def check_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the signature of a task that is registered here; raises ``TypeError``."""
        ...
