"""Runs flows for tests the way scripts do and the way event loops do, so that one test covers both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from taskq_cloud.clients.connections import AsyncConnections, Connections
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import Service

T = TypeVar("T")


class Drive(Protocol):
    """Drives flows to their end."""

    def __call__(self, flow: Flow[T]) -> T:
        """Drive one."""
        ...

    def together(self, flows: Sequence[Flow[Any]]) -> list[Any]:
        """Drive several at the same time; what they return, in their order."""
        ...


class SyncDrive:
    """Drives flows in threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def __call__(self, flow: Flow[T]) -> T:
        return self._connections.run(flow)

    def together(self, flows: Sequence[Flow[Any]]) -> list[Any]:
        with ThreadPoolExecutor(len(flows)) as threads:
            return list(threads.map(self._connections.run, flows))


class AsyncDrive:
    """Drives flows on an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, connections: AsyncConnections) -> None:
        self._runner = runner
        self._connections = connections

    def __call__(self, flow: Flow[T]) -> T:
        return self._runner.run(self._connections.run(flow))

    def together(self, flows: Sequence[Flow[Any]]) -> list[Any]:
        async def gather() -> list[Any]:
            return await asyncio.gather(*(self._connections.run(flow) for flow in flows))

        return self._runner.run(gather())


@contextmanager
def driving(colour: str, services: Mapping[str, Service]) -> Iterator[Drive]:
    """A drive with clients of its own, which are closed at the end.

    Args:
        colour: ``"sync"`` or ``"async"``.
        services: the adapter's.
    """
    if colour == "sync":
        connections = Connections(services)
        try:
            yield SyncDrive(connections)
        finally:
            connections.close()
        return
    with asyncio.Runner() as runner:
        async_connections = AsyncConnections(services)
        try:
            yield AsyncDrive(runner, async_connections)
        finally:
            runner.run(async_connections.close())
