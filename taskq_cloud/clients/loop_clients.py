"""The clients of one event loop, for the asynchronous driver in ``connections``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from taskq_cloud.clients.base import AsyncClient, client_module
from taskq_cloud.clients.combining import AsyncCombiner
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.ports import Service


class OpenClient:
    """A client that counts its calls, so that a discarded client is closed only after the last call has ended."""

    def __init__(self, client: AsyncClient) -> None:
        self.expired = False
        self._client = client
        self._calls = 0
        self._discarded = False

    async def call(self, call: Call) -> Any:
        """Make one call, once: see ``AsyncClient.call``."""
        self._calls += 1
        try:
            return await self._client.call(call)
        except CallError as error:
            self.expired = self.expired or error.trouble is Trouble.CREDENTIALS
            raise
        finally:
            self._calls -= 1
            await self._close_if_unused()

    async def discard(self) -> None:
        """Close the client after its last call."""
        self._discarded = True
        await self._close_if_unused()

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def _close_if_unused(self) -> None:
        if self._discarded and self._calls == 0:
            await self.close()


class LoopClients:
    """The clients of one event loop.

    Args:
        services: service name -> how to open its client.
        lifetime: a generator whose end closes the clients.
        combiner: combines the parts of the loop's flows.
    """

    def __init__(
        self, services: Mapping[str, Service], lifetime: AsyncGenerator[None], combiner: AsyncCombiner
    ) -> None:
        self.lifetime = lifetime
        self.combiner = combiner
        self._services = services
        self._clients: dict[str, OpenClient] = {}
        self._opening = asyncio.Lock()

    async def get(self, service: str) -> OpenClient:
        """Return the client of a service, which is opened if need be."""
        client = self._clients.get(service)
        if client is None:
            async with self._opening:
                client = self._clients.get(service)
                if client is None:
                    module = client_module(self._services[service])
                    opened = await module.open_async_client(service, dict(self._services[service].options))
                    client = self._clients[service] = OpenClient(opened)
        return client

    async def renew(self, service: str) -> None:
        """Discard a client whose credentials have expired, once for all the calls that met the expired credentials."""
        client = self._clients.get(service)
        if client is not None and client.expired:
            del self._clients[service]
            await client.discard()

    async def close(self) -> None:
        """Close all clients."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()
