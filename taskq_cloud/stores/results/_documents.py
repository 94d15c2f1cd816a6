"""Stores results as documents of a collection, or as values of a key-value store.

``_conditional_results`` defines the documents; this module adds joins, each in one document, the answers to records
that are saved together, and the fields by which a document keeps our metadata beside Celery's value. A service's
operations and error codes are in the service's adapter, which implements ``Collection`` (``stores.buckets``). The
adapter of a service with better primitives overrides the methods that they improve.

=========================================  =====================================================================
``taskq-join-<join>``                      the members of a join that have arrived: see ``_document_joins``
=========================================  =====================================================================
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.backoff import RNG
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import OperationalError, PayloadTooLarge
from taskq_cloud.stores.buckets import Collection, StoredObject
from taskq_cloud.stores.results._conditional_documents import ConditionalDocuments
from taskq_cloud.stores.results._conditional_results import ConditionalResults
from taskq_cloud.stores.results._document_joins import Arrived

RESERVATIONS_PER_SECOND: Final = 10
"""The most reservations of one key in a second. Each one reads a document and then writes it, which takes some 10 ms a
call in a data centre, and writers that conflict start again."""

LONGEST_PAUSE_SECONDS: Final = 2.0
"""The longest pause of a member whose join is changed by others. It is a part of the time in which all members that are
missing could write one after the other, so it is short for the last ones, whom the chord waits for."""

FIELDS: Final = "taskq"
"""The field of a document that Celery's documents don't have: our metadata of the value."""

_DIGEST: Final = "of"

SWEEP_SECONDS: Final = 600
"""How often a process removes expired documents, if the service doesn't."""
SWEPT_AT_ONCE: Final = 1_000
"""The most documents that one sweep removes: it is a part of a task's own save, which must not take long."""

_log: Final = logging.getLogger("taskq_cloud.stores")


class DocumentResults(ConditionalResults):
    """A result store on a collection. A subclass declares the capabilities.

    Args:
        collection: the service's collection.
        prefix: the beginning of all keys.
        clock: returns the time, in seconds since the epoch.
    """

    keeps_bytes = False
    """Whether a value may be bytes that aren't text. If not, results are not compressed: Celery doesn't either."""

    def __init__(self, collection: Collection, prefix: str = "", clock: Callable[[], float] = time.time) -> None:
        self.documents = ConditionalDocuments(collection)
        super().__init__(self.documents, prefix, clock)
        self._sweeps_at: float | None = None

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records: see ``ResultStore.save``; now and then, remove expired documents, too."""
        saved = yield from super().save(records)
        yield from self._sweep_if_due()
        return saved

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Write records: see ``SavesTogether.save_each``."""
        objects: list[StoredObject] = []
        refused: dict[int, Exception] = {}
        fitting: list[Record] = []
        for number, record in enumerate(records):
            try:
                objects.append(self._object_of(record))
            except PayloadTooLarge as error:
                refused[number] = error
            else:
                fitting.append(record)
        saved = iter((yield from self._save(fitting, objects)))
        yield from self._sweep_if_due()
        return [refused[number] if number in refused else next(saved) for number in range(len(records))]

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member, in a read and a write: see ``ResultStore.join`` and ``_document_joins``."""
        name, now = self._name("join", join_id), self._clock()
        arrived = Arrived()

        def decide(stored: StoredObject | None) -> StoredObject | None:
            nonlocal arrived
            before = Arrived.read(stored, now)
            arrived = before.with_member(int(member), expires_at)
            return None if arrived == before else arrived.document()

        def pause(write_seconds: float) -> float:
            return RNG.uniform(0, min(2 * write_seconds * max(size - arrived.count, 1), LONGEST_PAUSE_SECONDS))

        yield from self.documents.change({name: decide}, (yield from self.documents.read([name])), pause)
        return arrived.count >= size

    def sweep(self, now: float) -> Flow[None]:
        """Remove some of the documents that have expired; a service that removes them by itself has nothing to do."""
        yield from ()

    def _sweep_if_due(self) -> Flow[None]:
        now = self._clock()
        if self._sweeps_at is None:  # processes that start together don't sweep together
            self._sweeps_at = now + RNG.uniform(0, SWEEP_SECONDS)
        if now < self._sweeps_at:
            return
        self._sweeps_at = now + SWEEP_SECONDS
        try:
            yield from self.sweep(now)
        except OperationalError as error:
            # The records are saved, and another sweep follows.
            _log.warning("expired results could not be removed: %s", error, extra={"action": "results.sweep_failed"})

    def _encoded(self, name: str) -> str:
        return name

    def _body(self, record: Record) -> bytes:
        return record.body if self.keeps_bytes else record.payload.encode()


def fields_of(new: StoredObject) -> dict[str, str]:
    """Our metadata of a value, for the field ``FIELDS`` of its document.

    Celery changes the value of a document and leaves its other fields as they are. So the metadata name their value by
    its digest.
    """
    return {**new.metadata, _DIGEST: _digest(new.body)} if new.metadata else {}


def object_of(value: str | bytes, fields: Any, tag: str, expires_at: float | None = None) -> StoredObject:
    """Make the object of a document's value.

    Args:
        value: the value, as Celery's backends keep it.
        fields: what the document has under ``FIELDS``; None: nothing, as Celery wrote it.
        tag: the document's version.
        expires_at: when it may be removed, if the document says.
    """
    body = value.encode() if isinstance(value, str) else value
    metadata: Mapping[str, str] = fields if isinstance(fields, Mapping) else {}
    if metadata and metadata.get(_DIGEST) != _digest(body):
        return StoredObject(body, {}, tag)  # Celery has changed the value since
    return StoredObject(body, metadata, tag, expires_at)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=12).hexdigest()
