"""A result store in memory that counts its reads."""

from __future__ import annotations

from collections.abc import Sequence

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.records.record import Record
from taskq_cloud.stores.results.memory import MemoryResults


class CountedResults(MemoryResults):
    """A result store in memory that counts its reads."""

    loads = 0

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        self.loads += 1
        return (yield from super().load(ids))
