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
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Protocol, TypeVar

from taskq_cloud.core.flows import Call, CallError, Flow, Gather, RenewCredentials, Sleep, Trouble, arun, retrying, run
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
        self._expired: dict[str, Client] = {}
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
                return self._call(step)
            case Gather():
                return self._call_together(step)
            case Sleep():
                time.sleep(step.seconds)
                return None
            case RenewCredentials():
                self._drop(step.service)
                return None
        raise TypeError(f"a flow yielded {step!r}, which is no step of taskq_cloud.core.flows")

    def close(self) -> None:
        """Close every client. The next call opens what it needs again."""
        with self._lock:
            clients, self._clients = self._clients, {}
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()
        for client in clients.values():
            client.close()

    def _call_together(self, step: Gather) -> list[Any]:
        if len(step.calls) == 1:
            return [self._outcome(step.calls[0])]
        self._forget_if_forked()
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(PARALLEL_CALLS, thread_name_prefix="taskq-call")
            threads = self._threads
        return list(threads.map(self._outcome, step.calls))

    def _call(self, call: Call) -> Any:
        client = self._client(call.service)
        try:
            return client.call(call)
        except CallError as error:
            if error.trouble is Trouble.CREDENTIALS:
                self._expired[call.service] = client
            raise

    def _outcome(self, call: Call) -> Any:
        try:
            return self._call(call)
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
        """Forget a client whose credentials have expired: once, for all the calls that have met them."""
        with self._lock:
            client = self._expired.pop(service, None)
            if client is None or self._clients.get(service) is not client:
                return
            del self._clients[service]
        client.close()

    def _forget_if_forked(self) -> None:
        # A forked child shares its parent's sockets: using them, or closing them properly, would disturb the parent.
        if os.getpid() != self._process_id:
            self._lock = threading.Lock()
            self._clients = {}
            self._expired = {}
            self._threads = None
            self._process_id = os.getpid()


class AsyncConnections:
    """Runs flows on event loops; each loop has its own clients, as aiohttp's sockets demand.

    Args:
        services: how to open each service's client.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = dict(services)
        self._loops: dict[asyncio.AbstractEventLoop, _LoopClients] = {}

    async def run(self, flow: Flow[T]) -> T:
        """Drive a flow to its end, repeating failed calls as ``core.calls.retrying`` says."""
        return await arun(retrying(flow), self.perform)

    async def perform(self, step: Any) -> Any:
        """Answer one step of a flow."""
        match step:
            case Call():
                return await self._call(step)
            case Gather():
                gate = asyncio.Semaphore(PARALLEL_ASYNC_CALLS)
                return list(await asyncio.gather(*(self._outcome(call, gate) for call in step.calls)))
            case Sleep():
                await asyncio.sleep(step.seconds)
                return None
            case RenewCredentials():
                here = self._loops.get(asyncio.get_running_loop())
                if here is not None:
                    await here.renew(step.service)
                return None
        raise TypeError(f"a flow yielded {step!r}, which is no step of taskq_cloud.core.flows")

    async def close(self) -> None:
        """Close the clients of the running event loop. The next call opens what it needs again."""
        here = self._loops.get(asyncio.get_running_loop())
        if here is not None:
            await here.lifetime.aclose()

    async def _outcome(self, call: Call, gate: asyncio.Semaphore) -> Any:
        async with gate:
            try:
                return await self._call(call)
            except CallError as error:
                return error

    async def _call(self, call: Call) -> Any:
        here = await self._here()
        return await (await here.opened(call.service)).call(call)

    async def _here(self) -> _LoopClients:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            # A loop that was closed without ceremony has left its clients; nobody can close them any more.
            for each in [each for each in list(self._loops) if each.is_closed()]:
                self._loops.pop(each, None)
            here = self._loops[loop] = _LoopClients(self._services, self._live(loop))
            await anext(here.lifetime)
        return here

    async def _live(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
        """Close a loop's clients at its end: ``asyncio.run`` ends the async generators of its loop before it closes it.

        So a script or a framework that never calls ``close`` leaves no open socket, and no warning of one.
        """
        try:
            yield
        finally:
            here = self._loops.pop(loop, None)
            if here is not None:
                await here.close()


class _OpenClient:
    """A client, and how many calls of it are under way: it is closed after the last, so that none is cut off."""

    def __init__(self, client: AsyncClient) -> None:
        self.expired = False
        self._client = client
        self._calls = 0
        self._dropped = False

    async def call(self, call: Call) -> Any:
        self._calls += 1
        try:
            return await self._client.call(call)
        except CallError as error:
            self.expired = self.expired or error.trouble is Trouble.CREDENTIALS
            raise
        finally:
            self._calls -= 1
            await self._close_if_unused()

    async def drop(self) -> None:
        self._dropped = True
        await self._close_if_unused()

    async def close(self) -> None:
        await self._client.close()

    async def _close_if_unused(self) -> None:
        if self._dropped and self._calls == 0:
            await self.close()


class _LoopClients:
    """The clients of one event loop.

    Args:
        services: how to open them.
        lifetime: its end closes them.
    """

    def __init__(self, services: Mapping[str, Service], lifetime: AsyncGenerator[None]) -> None:
        self.lifetime = lifetime
        self._services = services
        self._clients: dict[str, _OpenClient] = {}
        self._opening = asyncio.Lock()

    async def opened(self, service: str) -> _OpenClient:
        client = self._clients.get(service)
        if client is None:
            async with self._opening:
                client = self._clients.get(service)
                if client is None:
                    module = _module(self._services, service)
                    opened = await module.open_async_client(service, dict(self._services[service].options))
                    client = self._clients[service] = _OpenClient(opened)
        return client

    async def renew(self, service: str) -> None:
        """Forget a client whose credentials have expired: once, for all the calls that have met them."""
        client = self._clients.get(service)
        if client is not None and client.expired:
            del self._clients[service]
            await client.drop()

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()


def _module(services: Mapping[str, Service], service: str) -> Any:
    return import_module(f"taskq_cloud.clients.{services[service].module}")
