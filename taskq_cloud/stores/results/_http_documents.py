"""What the result stores that speak HTTP have in common: their calls and their client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from taskq_cloud.core.flows import Call
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.stores.buckets import Collection, FailureKind, StoreErrors
from taskq_cloud.stores.results._documents import RESERVATIONS_PER_SECOND, DocumentResults

KINDS: Final = {
    "HTTP 401": FailureKind.ACCESS_DENIED,
    "HTTP 403": FailureKind.ACCESS_DENIED,
    "HTTP 413": FailureKind.TOO_LARGE_TO_WRITE,
}
"""Error code -> kind of failure, for the codes that ``clients.http`` gives to the answers of every service."""


class HTTPCollection:
    """The calls of one service. A subclass is a ``Collection``.

    Args:
        server: the server.
        name: the collection as an error names it, without the server.
        creation: the command that creates it.
        kinds: the service's error codes -> the reasons that a store handles.
        needs: the operation of a call -> the permission that it needs.
    """

    reads_together = 200
    writes_together = 200
    deletes_versions = False
    created_early = False

    def __init__(
        self,
        server: HTTPServer,
        name: str,
        creation: str,
        kinds: Mapping[str, FailureKind],
        needs: Mapping[str, str],
    ) -> None:
        self.server = server
        self.service = f"http:{server.url}"
        self.errors = StoreErrors(f"{name} ({server.url})", creation, {**KINDS, **kinds}, needs)

    def creation(self) -> Sequence[Call]:
        """The calls that create the collection."""
        return []

    def call(self, operation: str, method: str, path: str, **parameters: Any) -> Call:
        """Make the call of a request; the operation is its name."""
        return Call(self.service, operation, {"method": method, "path": path, **parameters})


def capabilities(largest_record_bytes: int, *, conditional: bool = True) -> StoreCapabilities:
    """The capabilities of a store that speaks HTTP.

    Args:
        largest_record_bytes: the largest payload of one record.
        conditional: whether exactly one of several writers succeeds that replace one version of a document.
    """
    return StoreCapabilities(
        largest_record_bytes=largest_record_bytes,
        joins=conditional,
        claims=conditional,
        reservations_per_second=RESERVATIONS_PER_SECOND if conditional else 0,
        shared_between_processes=True,
        durable=True,
        saves_together=True,
        loads_together=True,
    )


class HTTPResults(DocumentResults):
    """A result store that speaks HTTP. A subclass declares the capabilities.

    Args:
        collection: the service's collection.
        server: the server.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities]

    def __init__(self, collection: Collection, server: HTTPServer, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(collection, clock=clock)
        self.server = server

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the server."""
        return {f"http:{self.server.url}": Service("http", (("server", self.server),))}
