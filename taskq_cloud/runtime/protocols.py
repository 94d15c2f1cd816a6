"""The parts of an application, as the rooms below it ask for them: said here once, and provided by ``TaskQ``."""

from __future__ import annotations

from typing import Protocol, TypeVar

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import ResultStore, ScheduleStore

V = TypeVar("V")


class Backend(Protocol):
    """What a result asks of its application."""

    @property
    def store(self) -> ResultStore:
        """Where records are."""
        ...

    @property
    def scheduler(self) -> ScheduleStore | None:
        """Where messages wait that are due late."""
        ...

    def run(self, flow: Flow[V]) -> V:
        """Drive a flow in this thread."""
        ...

    async def arun(self, flow: Flow[V]) -> V:
        """Drive a flow on the running loop."""
        ...

    def result_expires_at(self) -> float | None:
        """When a record written now ceases to exist, in seconds since the epoch."""
        ...
