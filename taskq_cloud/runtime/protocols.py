"""Protocols by which other rooms know an application: ``Backend`` for results, ``Application`` for everything else.

``TaskQ`` satisfies both. A function that needs an application takes an argument of one of these types, so that its
module imports neither ``TaskQ`` nor ``Task``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import Broker, ResultStore, ScheduleStore

if TYPE_CHECKING:
    from taskq_cloud.core.execution.annotations import Arguments
    from taskq_cloud.core.execution.runner import TaskRunner
    from taskq_cloud.core.messages.sending import Outbox
    from taskq_cloud.core.model.options import TaskOptions
    from taskq_cloud.core.model.priorities import PriorityLevels
    from taskq_cloud.settings import Settings

V = TypeVar("V")


class Backend(Protocol):
    """The part of an application that results need: a store to read, and drivers of flows."""

    @property
    def store(self) -> ResultStore:
        """The result store."""
        ...

    @property
    def scheduler(self) -> ScheduleStore | None:
        """The scheduler that holds messages that are due late; None: the application has none."""
        ...

    def run(self, flow: Flow[V]) -> V:
        """Drive a flow in the calling thread."""
        ...

    async def arun(self, flow: Flow[V]) -> V:
        """Drive a flow on the running event loop."""
        ...

    def result_expires_at(self) -> float | None:
        """Return when a record that is written now expires, in seconds since the epoch; None: never."""
        ...


class Application(Backend, Protocol):
    """The part of an application that calls, schedules and deployments need."""

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
        """The outbox through which messages leave: codec, broker and scheduler."""
        ...

    @property
    def priorities(self) -> PriorityLevels:
        """The levels of priority that queues have."""
        ...

    @property
    def runner(self) -> TaskRunner:
        """The runner of task functions, for tasks that run in place."""
        ...

    @property
    def serializes_in_place(self) -> bool:
        """Whether the arguments and values of tasks that run in place are serialised, as if they were sent."""
        ...

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks that are registered here, by name."""
        ...

    def gen_task_name(self, name: str, module: str) -> str:
        """Make the name of a task that was declared without a name."""
        ...

    def options_of(self, task: str) -> TaskOptions:
        """Return the options that a task was declared with, or the defaults if it is not registered here."""
        ...

    def plain_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Write the arguments of a signature as plain values, if its task is registered here with ``typed=True``."""
        ...

    def plain_call(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Write the arguments of a whole call as plain values, if its task is registered here with ``typed=True``."""
        ...

    def route(self, task: str) -> str:
        """Return the queue that a task's messages go to."""
        ...

    def route_options(self, task: str) -> Mapping[str, Any]:
        """Return the options that the settings have for a task's calls, without those that the task itself has."""
        ...

    def queues(self) -> list[str]:
        """Return the queues that the registered tasks go to, the default queue, and the queues of their levels."""
        ...

    def is_registered(self, task: str) -> bool:
        """Tell whether a task with this name can run here."""
        ...

    def check_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against a task's signature, if it is registered here; raises ``TypeError``."""
        ...
