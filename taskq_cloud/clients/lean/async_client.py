"""Makes a call by the lean driver on an event loop."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from taskq_cloud.clients.lean.client import NOT_MADE, read_answer, transport_failure, wire_of
from taskq_cloud.clients.lean.endpoints import TransportError
from taskq_cloud.clients.lean.loop import LoopConnections
from taskq_cloud.clients.lean.requests import Request, Setting
from taskq_cloud.clients.lean.signing import Keys
from taskq_cloud.core.flows import Call, CallError


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
        self._connections: dict[tuple[str, float], LoopConnections] = {}

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
        connections = self._connections.get((request.endpoint.host, request.seconds))
        if connections is None:
            connections = self._connections_for(request)
        try:
            answer = await connections.exchange(request.head, request.body, request.seconds, request.look)
        except TransportError as error:
            failure = transport_failure(call, error, before)
            if isinstance(failure, CallError):
                raise failure from error
        else:
            return read_answer(request, answer)
        raise failure

    async def close(self) -> None:
        """Close the connections."""
        for each in list(self._connections.values()):
            await each.close()

    def _connections_for(self, request: Request) -> LoopConnections:
        """The connections to a host, such as a bucket's; long polls have others, so that nothing waits for them."""
        made = LoopConnections(request.endpoint, self._connect_seconds)
        return self._connections.setdefault((request.endpoint.host, request.seconds), made)
