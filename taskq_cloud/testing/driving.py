"""Drives flows in tests, either in threads or on an event loop, so that one test covers both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import Service

T = TypeVar("T")


class Drive(Protocol):
    """Drives flows to their ends."""

    def __call__(self, flow: Flow[T]) -> T:
        """Drive a flow, and return its value."""
        ...

    def together(self, flows: Sequence[Flow[Any]]) -> list[Any]:
        """Drive several flows at the same time, and return their values in order."""
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
    """Drives flows on its own event loop."""

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
    """Make a ``Drive`` with its own clients, which are closed at the end.

    Args:
        colour: ``"sync"`` for threads, or ``"async"`` for an event loop.
        services: the clients that the adapter's calls need: its ``services``.
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
