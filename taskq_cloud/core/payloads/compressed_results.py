"""Results that are stored compressed: the setting ``result_compression``. Every store reads them by itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

from taskq_cloud.core.flows import Compute, Flow
from taskq_cloud.core.lazy.values import dataclass, field, replace
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.payloads.forwarding import ForwardingResults
from taskq_cloud.core.ports import ResultStore, SavesTogether
from taskq_cloud.core.records.compressed import packed
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.serializers.compression import QUICK_CHARACTERS


@dataclass(frozen=True, slots=True)
class CompressedResults(ForwardingResults):
    """A result store whose records are compressed.

    Args:
        store: the store of the records.
        compression: the name of the compression.

    Attributes:
        capabilities: the capabilities of that store.
    """

    store: ResultStore
    compression: str
    capabilities: StoreCapabilities = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "capabilities", self.store.capabilities)

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Compress and write records: see ``ResultStore.save``."""
        return (yield from self.store.save((yield from self._packed(records))))

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Compress and write records: see ``SavesTogether.save_each``."""
        store = cast("SavesTogether", self.store)
        return (yield from store.save_each((yield from self._packed(records))))

    def _packed(self, records: Sequence[Record]) -> Flow[list[Record]]:
        done = []
        for record in records:
            pack = partial(packed, record.payload, self.compression)
            # A large document is compressed off the event loop.
            body: bytes = (yield Compute(pack)) if len(record.payload) > QUICK_CHARACTERS else pack()
            done.append(replace(record, packed=body))
        return done
