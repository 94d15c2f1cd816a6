"""The driver of flows on event loops: see ``connections``, which drives flows in the calling thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from taskq_cloud.clients.base import with_longest_call
from taskq_cloud.clients.combining import AsyncCombiner
from taskq_cloud.clients.loop_clients import LoopClients
from taskq_cloud.core.flows import (
    Call,
    CallError,
    Compute,
    Flow,
    Gather,
    RenewCredentials,
    Sleep,
    Together,
    Within,
    arun,
    retrying,
)
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import ImproperlyConfigured, TaskQError

T = TypeVar("T")

PARALLEL_ASYNC_CALLS = 50
"""How many calls of a ``Gather`` run at once on an event loop."""


class AsyncConnections:
    """Runs flows on event loops. Each loop has its own clients, as a socket of aiohttp belongs to one loop.

    Args:
        services: service name -> how to open its client.
        longest_seconds: how long a call other than a long poll may take; None: as long as the clients allow.
    """

    def __init__(self, services: Mapping[str, Service], longest_seconds: float | None = None) -> None:
        self._services = with_longest_call(services, longest_seconds)
        self._loops: dict[asyncio.AbstractEventLoop, LoopClients] = {}
        self._thread: ThreadPoolExecutor | None = None

    async def run(self, flow: Flow[T], longest_seconds: float | None = None) -> T:
        """Run a flow to its end and return its result. ``core.flows.retrying`` repeats failed calls."""
        return await arun(retrying(flow, longest_seconds=longest_seconds), self.perform)

    async def perform(self, step: Any) -> Any:
        """Do what one step of a flow asks for, and return the step's answer.

        Raises:
            CallError: the step is a call, and it failed.
            TypeError: the step has an unknown type.
        """
        answer: Any = None
        match step:
            case Call():
                return await self._call(step)
            case Gather():
                gate = asyncio.Semaphore(PARALLEL_ASYNC_CALLS)
                return list(await asyncio.gather(*(self._call_or_error(call, gate) for call in step.calls)))
            case Within():
                from taskq_cloud.clients import limited_waits

                return await limited_waits.async_answers_within(step, self.perform)
            case Sleep():
                answer = await (asyncio.sleep if step.until is None else step.until.wait_on_loop)(step.seconds)
            case RenewCredentials():
                clients = self._loops.get(asyncio.get_running_loop())
                if clients is not None:
                    await clients.renew(step.service)
            case Compute():
                return await self._compute(step)
            case Together():
                return await (await self._running_loop_clients()).combiner.perform(step)
            case _:
                raise TypeError(f"a flow yielded {step!r}, which isn't a step of taskq_cloud.core.flows")
        return answer

    async def open(self) -> None:
        """Open every client of the running event loop now, so that a wrong setting shows before the first call.

        Raises:
            ImproperlyConfigured: a package or a setting is missing, or a URL is wrong. Other errors may pass, and are
                left to the first call.
        """
        clients = await self._running_loop_clients()
        for service in self._services:
            try:
                await clients.get(service)
            except TaskQError as error:
                if isinstance(error, ImproperlyConfigured):
                    raise

    async def close(self) -> None:
        """Close the clients of the running event loop. The next call opens a new one."""
        clients = self._loops.get(asyncio.get_running_loop())
        if clients is not None:
            await clients.lifetime.aclose()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    async def _compute(self, step: Compute) -> Any:
        if self._thread is None:
            # One thread: large messages are decoded one after the other, so that their memory doesn't add up.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="taskq-compute")
        return await asyncio.get_running_loop().run_in_executor(self._thread, step.function)

    async def _call_or_error(self, call: Call, gate: asyncio.Semaphore) -> Any:
        async with gate:
            try:
                return await self._call(call)
            except CallError as error:
                return error

    async def _call(self, call: Call) -> Any:
        clients = await self._running_loop_clients()
        return await (await clients.get(call.service)).call(call)

    async def _running_loop_clients(self) -> LoopClients:
        loop = asyncio.get_running_loop()
        clients = self._loops.get(loop)
        if clients is None:
            # A loop that was closed without ending its async generators has left its clients open. A client can be
            # closed on its own loop only, so these clients are dropped unclosed.
            for each in [each for each in list(self._loops) if each.is_closed()]:
                self._loops.pop(each, None)
            clients = self._loops[loop] = LoopClients(self._services, self._lifetime(loop), AsyncCombiner(self.run))
            await anext(clients.lifetime)
        return clients

    async def _lifetime(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
        """Close a loop's clients when this generator ends, which is before its loop is closed.

        ``asyncio.run`` ends the async generators of its loop before it closes the loop. So a script or a framework that
        never calls ``close`` leaves no open sockets, and causes no warnings about them.
        """
        try:
            yield
        finally:
            clients = self._loops.pop(loop, None)
            if clients is not None:
                await clients.close()
