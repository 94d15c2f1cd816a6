"""A result store that changes records on their way to another store, and forwards everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import ResultStore, Service, TellsOfEnds
from taskq_cloud.core.records.record import Record


class ForwardingResults:
    """The part of such a store that forwards.

    Attributes:
        store: the other store.
        capabilities: the capabilities that this store has by it.
    """

    __slots__ = ()

    store: ResultStore
    capabilities: StoreCapabilities

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients of the other store."""
        return self.store.services

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """See ``ResultStore.load``."""
        return (yield from self.store.load(ids))

    def listen(self, ids: Sequence[str], listener: Listener) -> Flow[bool]:
        """See ``TellsOfEnds.listen``: the other store tells, if it can."""
        return (yield from self.store.listen(ids, listener)) if isinstance(self.store, TellsOfEnds) else False

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """See ``ResultStore.delete``."""
        yield from self.store.delete(ids)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """See ``ResultStore.join``."""
        return (yield from self.store.join(join_id, member, size, expires_at))

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """See ``ResultStore.claim``."""
        return (yield from self.store.claim(key, owner, ttl_seconds))

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """See ``ResultStore.reserve``."""
        return (yield from self.store.reserve(key, interval_seconds, credit_seconds))
