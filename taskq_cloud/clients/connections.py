"""Performs the steps of flows: opens the client a call needs, once, and makes the call.

A client module (``aws``, ``sqlite``) has ``open_client(service, options) -> Client`` and
``open_async_client(service, options) -> AsyncClient``; it turns a ``Call`` into its SDK's call and its SDK's exceptions
into ``CallError``. Clients are opened at the first call, never in a constructor, and never carried over a fork.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Protocol, TypeVar

from taskq_cloud.core.calls import Call, CallError, Flow, Renew, Sleep, Together, arun, retrying, run
from taskq_cloud.core.ports import Service

T = TypeVar("T")

PARALLEL_CALLS = 10
"""Calls made at once by a synchronous caller: the size of botocore's connection pool, its ``max_pool_connections``."""

PARALLEL_ASYNC_CALLS = 50
"""Calls made at once on an event loop."""


class Client(Protocol):
    """One service's SDK, behind data."""

    def call(self, call: Call) -> Any:
        """Make the call; a failure is a ``CallError``."""
        ...

    def close(self) -> None:
        """Let go of sockets and files."""
        ...


class AsyncClient(Protocol):
    """One service's asynchronous SDK, behind data."""

    async def call(self, call: Call) -> Any:
        """Make the call; a failure is a ``CallError``."""
        ...

    async def close(self) -> None:
        """Let go of sockets and files."""
        ...


class Connections:
    """Runs flows in the calling thread. Safe to share between threads and across a fork.

    Args:
        services: how to open each service's client.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = dict(services)
        self._clients: dict[str, Client] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._process_id = os.getpid()

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow to its end, repeating failed calls as ``core.calls.retrying`` says."""
        return run(retrying(flow), self.perform)

    def perform(self, step: Any) -> Any:
        """Answer one step of a flow."""
        match step:
            case Call():
                return self._client(step.service).call(step)
            case Together():
                return self._call_together(step)
            case Sleep():
                time.sleep(step.seconds)
                return None
            case Renew():
                self._drop(step.service)
                return None
        raise TypeError(f"a flow yielded {step!r}, which is no step of taskq_cloud.core.calls")

    def close(self) -> None:
        """Close every client. The next call opens what it needs again."""
        with self._lock:
            clients, self._clients = self._clients, {}
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()
        for client in clients.values():
            client.close()

    def _call_together(self, step: Together) -> list[Any]:
        if len(step.calls) == 1:
            return [self._outcome(step.calls[0])]
        self._forget_if_forked()
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(PARALLEL_CALLS, thread_name_prefix="taskq-call")
            threads = self._threads
        return list(threads.map(self._outcome, step.calls))

    def _outcome(self, call: Call) -> Any:
        try:
            return self._client(call.service).call(call)
        except CallError as error:
            return error

    def _client(self, service: str) -> Client:
        self._forget_if_forked()
        client = self._clients.get(service)
        if client is None:
            with self._lock:
                client = self._clients.get(service)
                if client is None:
                    client = self._clients[service] = _module(self._services, service).open_client(
                        service, dict(self._services[service].options)
                    )
        return client

    def _drop(self, service: str) -> None:
        with self._lock:
            client = self._clients.pop(service, None)
        if client is not None:
            client.close()

    def _forget_if_forked(self) -> None:
        # A forked child shares its parent's sockets: using them, or closing them properly, would disturb the parent.
        if os.getpid() != self._process_id:
            self._lock = threading.Lock()
            self._clients = {}
            self._threads = None
            self._process_id = os.getpid()


class AsyncConnections:
    """Runs flows on event loops; each loop has its own clients, as aiohttp's sockets demand.

    Args:
        services: how to open each service's client.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = dict(services)
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClients]
        self._loops = weakref.WeakKeyDictionary()

    async def run(self, flow: Flow[T]) -> T:
        """Drive a flow to its end, repeating failed calls as ``core.calls.retrying`` says."""
        return await arun(retrying(flow), self.perform)

    async def perform(self, step: Any) -> Any:
        """Answer one step of a flow."""
        match step:
            case Call():
                client = await self._client(step.service)
                return await client.call(step)
            case Together():
                gate = asyncio.Semaphore(PARALLEL_ASYNC_CALLS)
                return list(await asyncio.gather(*(self._outcome(call, gate) for call in step.calls)))
            case Sleep():
                await asyncio.sleep(step.seconds)
                return None
            case Renew():
                client_or_none = self._here().clients.pop(step.service, None)
                if client_or_none is not None:
                    await client_or_none.close()
                return None
        raise TypeError(f"a flow yielded {step!r}, which is no step of taskq_cloud.core.calls")

    async def close(self) -> None:
        """Close the clients of the running event loop."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        if here is not None:
            for client in here.clients.values():
                await client.close()

    async def _outcome(self, call: Call, gate: asyncio.Semaphore) -> Any:
        async with gate:
            try:
                client = await self._client(call.service)
                return await client.call(call)
            except CallError as error:
                return error

    async def _client(self, service: str) -> AsyncClient:
        here = self._here()
        client = here.clients.get(service)
        if client is None:
            async with here.opening:
                client = here.clients.get(service)
                if client is None:
                    client = here.clients[service] = await _module(self._services, service).open_async_client(
                        service, dict(self._services[service].options)
                    )
        return client

    def _here(self) -> _LoopClients:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            here = self._loops[loop] = _LoopClients()
        return here


class _LoopClients:
    """The clients of one event loop."""

    def __init__(self) -> None:
        self.clients: dict[str, AsyncClient] = {}
        self.opening = asyncio.Lock()


def _module(services: Mapping[str, Service], service: str) -> Any:
    return import_module(f"taskq_cloud.clients.{services[service].module}")
