"""Makes a call by the lean driver on an event loop."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from taskq_cloud.clients.lean.client import NOT_MADE, transport_failure, wire_of
from taskq_cloud.clients.lean.endpoints import Endpoint, TransportError
from taskq_cloud.clients.lean.loop import LoopConnections
from taskq_cloud.clients.lean.requests import OtherWayError, Setting
from taskq_cloud.clients.lean.signing import Keys
from taskq_cloud.core.flows import Call


class AsyncCredentialsSource(Protocol):
    """Reads the credentials that the SDK renews."""

    async def keys(self, call: Call) -> Keys:
        """Return the credentials: see ``client.CredentialsSource``."""
        ...


class AsyncLeanClient:
    """Makes the calls that the lean driver knows, on the event loop that opened it.

    Args:
        setting: what the requests share.
        source: reads the credentials; None: the target has them.
    """

    def __init__(self, setting: Setting, source: AsyncCredentialsSource | None = None) -> None:
        self._keys = setting.target.keys
        self._source = source
        self._wire = wire_of(setting)
        self._connect_seconds = setting.waits.connect
        self._connections: dict[str, LoopConnections] = {}

    async def call(self, call: Call) -> Any:
        """Make one call, once: see ``client.LeanClient.call``."""
        keys = self._keys
        if keys is None:
            assert self._source is not None
            keys = await self._source.keys(call)
        request = self._wire.request(call, keys)
        if request is None:
            return NOT_MADE
        before = sys.exception()
        try:
            connections = self._connections.get(request.endpoint.host) or self._connections_to(request.endpoint)
            answer = await connections.exchange(request.head, request.body, request.seconds, request.look)
        except TransportError as error:
            raise transport_failure(call, error, before) from error
        try:
            return request.read(answer)
        except OtherWayError:
            return NOT_MADE

    async def close(self) -> None:
        """Close the connections."""
        for each in list(self._connections.values()):
            await each.close()

    def _connections_to(self, endpoint: Endpoint) -> LoopConnections:
        """The connections to a host; a bucket of S3 has a host of its own."""
        return self._connections.setdefault(endpoint.host, LoopConnections(endpoint, self._connect_seconds))
