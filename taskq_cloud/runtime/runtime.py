"""What a worker or a handler is given of an application: enough to serve its queues, nothing of its callers' side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskq_cloud.clients.connections import AsyncConnections, Connections
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.ports import Broker, ResultStore

if TYPE_CHECKING:
    from taskq_cloud.core.execution.pipeline import Pipeline
    from taskq_cloud.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An application, as those see it that run its tasks.

    Args:
        settings: the application's.
        tasks: name -> definition.
        broker: where messages come from.
        store: where states go.
        pipeline: decides what becomes of a delivery.
        runner: runs a task's function.
        route: task name -> queue.
        codec: how it writes and reads its messages.
        connections: makes calls in the calling thread.
        async_connections: makes calls on an event loop.
        app_path: where a process pool's children import the application from: ``"shop:app"``.
    """

    settings: Settings
    tasks: Mapping[str, TaskDefinition]
    broker: Broker
    store: ResultStore
    pipeline: Pipeline
    runner: TaskRunner
    codec: Codec
    route: Callable[[str], str]
    connections: Connections
    async_connections: AsyncConnections
    app_path: str | None = None
