"""Results over a result store's limit: the store keeps a small document, and an object store keeps the large one.

The small document has the keys that Celery's readers expect, with a sentence in place of the value, and a further key:
``taskq_claim`` for a reference, or ``taskq_compressed`` if the compressed document fits into the record. A task can't
write either key, as they are next to its result, not in it. Records that fit are passed through without further calls.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Compute, Flow
from taskq_cloud.core.lazy.values import dataclass, field, replace
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.model.payload_references import REFERENCE_KEY, Payload, PayloadReference, reference_from_json
from taskq_cloud.core.payloads.forwarding import ForwardingResults
from taskq_cloud.core.payloads.policy import LARGEST_PAYLOAD_BYTES, RESULTS, Payloads, is_plain
from taskq_cloud.core.ports import ResultStore, SavesTogether
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.compressed import packed
from taskq_cloud.core.records.record import EXCEPTION_STATES, Record
from taskq_cloud.core.serializers.compression import QUICK_CHARACTERS
from taskq_cloud.errors import ClaimError, DecodeError, PayloadTooLarge

T = TypeVar("T")

COMPRESSED: Final = "taskq_compressed"
"""The key that holds the whole document compressed: the compression's content type, and the bytes in base64."""


@dataclass(frozen=True, slots=True)
class LargeResults(ForwardingResults):
    """A result store whose records may be as large as a payload.

    Args:
        store: the store of the records.
        payloads: the store of documents that are too large for a record.
        clock: returns seconds since the epoch.
        compression: the compression of the records, with which more of them fit; None: they are not compressed.

    Attributes:
        capabilities: the capabilities of the store of records, with a larger limit.
    """

    store: ResultStore
    payloads: Payloads
    clock: Callable[[], float]
    compression: str | None = None
    capabilities: StoreCapabilities = field(init=False)

    def __post_init__(self) -> None:
        # Made once, because each task that ends asks for them.
        larger = replace(self.store.capabilities, largest_record_bytes=LARGEST_PAYLOAD_BYTES)
        object.__setattr__(self, "capabilities", larger)

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records, and fetch together the documents they refer to: see ``ResultStore.load``.

        Raises:
            ClaimError: a document is missing or altered; the error names the task and the object.
        """
        return (yield from self._completed((yield from self.store.load(ids))))

    def load_small(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read the small documents only: see ``LoadsInParts.load_small``."""
        return (yield from self.store.load(ids))

    def complete(self, record: Record) -> Flow[Record]:
        """Fetch a record's large document: see ``LoadsInParts.complete``."""
        return (yield from self._completed({record.id: record}))[record.id]

    def _completed(self, records: Mapping[str, Record]) -> Flow[dict[str, Record]]:
        whole: dict[str, Record] = {}
        for task_id, record in records.items():
            whole[task_id] = yield from _quickly(record, partial(_expanded, record))
        references: dict[str, PayloadReference] = {}
        for task_id, record in whole.items():
            reference = yield from _quickly(record, partial(_reference_of, record))
            if reference is not None:
                references[task_id] = reference
        answers = yield from self.payloads.fetch_all([*references.values()])
        for (task_id, reference), answer in zip(references.items(), answers, strict=True):
            if isinstance(answer, ClaimError):
                raise ClaimError(f"the result of task {task_id} can't be read: {answer}", task_id) from answer
            text = yield Compute(partial(_text, answer, reference.compression))
            whole[task_id] = replace(whole[task_id], payload=text)
        return whole

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Store large documents and then the records: see ``ResultStore.save``.

        Raises:
            PayloadTooLarge: a document is too large for the object store; the error names task, size and limit.
        """
        small, failures = yield from self._with_stored_documents(records)
        for error in failures.values():
            raise error
        return (yield from self.store.save([*small.values()]))

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Store large documents and then the records: see ``SavesTogether.save_each``."""
        small, failures = yield from self._with_stored_documents(records)
        saved = yield from cast("SavesTogether", self.store).save_each([*small.values()])
        answers: dict[int, bool | Exception] = {**failures, **dict(zip(small, saved, strict=True))}
        return [answers[position] for position in range(len(records))]

    def _with_stored_documents(self, records: Sequence[Record]) -> Flow[tuple[dict[int, Record], dict[int, Exception]]]:
        """Store large documents. Return the records to save, and the errors of the others, by their positions."""
        small: dict[int, Record] = {}
        failures: dict[int, Exception] = {}
        payloads: dict[int, Payload] = {}
        for position, record in enumerate(records):
            try:
                small[position], payload = self._fitting(record)
            except PayloadTooLarge as error:
                failures[position] = error
            else:
                if payload is not None:
                    payloads[position] = payload
        for position, stored in zip(payloads, (yield from self.payloads.put([*payloads.values()])), strict=True):
            if isinstance(stored, Refused):
                failures[position] = stored.error
                del small[position]
        return small, failures

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records, and then the documents they refer to."""
        found = yield from self.store.load(ids)
        yield from self.store.delete(ids)
        own = f"{self.payloads.store.place}/{self.payloads.store.prefix}"
        references = [reference for record in found.values() if (reference := _reference_of(record)) is not None]
        # Only objects in our own place are removed, so that a forged record can't remove any other object.
        keys = [each.key for each in references if str(each).startswith(f"{own}{RESULTS}/") and is_plain(each.key)]
        if keys:
            yield from self.payloads.store.delete(keys)

    def _fitting(self, record: Record) -> tuple[Record, Payload | None]:
        largest = self.store.capabilities.largest_record_bytes
        whole = record.payload.encode()
        if len(whole) <= largest or (self.compression and len(packed(record.payload, self.compression)) <= largest):
            return record, None
        if len(whole) > LARGEST_PAYLOAD_BYTES:
            raise PayloadTooLarge(
                f"the result of task {record.id} has {len(whole)} bytes; at most {LARGEST_PAYLOAD_BYTES} are stored: "
                "write it to an object of your own and return the object's place"
            )
        smaller, compression = self.payloads.compressed(whole)
        if compression is not None:
            note = {"compression": compression, "data": base64.b64encode(smaller).decode()}
            inline = _small_document(record, {COMPRESSED: note}, f"{len(whole)} bytes, compressed by taskq-cloud")
            if len(inline) <= largest:
                return replace(record, payload=inline), None
        reference, payload = self.payloads.check_in(RESULTS, record.id, smaller, self.clock())
        reference = replace(reference, compression=compression)
        document = _small_document(record, {REFERENCE_KEY: reference.as_json()}, f"{len(whole)} bytes in {reference}")
        return replace(record, payload=document), payload


def _small_document(record: Record, extra: Mapping[str, Any], sentence: str) -> str:
    whole = json.loads(record.payload)
    # Celery's readers make an exception of the result of a failed task, so this must have an exception's form.
    elsewhere = result_document.encode_error(ErrorInfo("ClaimError", [sentence], "taskq_cloud.errors"))
    return serializers.dumps(
        {
            "status": whole["status"],
            "result": json.loads(elsewhere) if record.state in EXCEPTION_STATES else sentence,
            "traceback": None,
            "children": [],
            "date_done": whole.get("date_done"),
            "task_id": record.id,
            **extra,
        }
    )


def _quickly(record: Record, function: Callable[[], T]) -> Flow[T]:
    """Call a function that reads a record, off the event loop if that may take long."""
    if len(record.payload) > QUICK_CHARACTERS or f'"{COMPRESSED}"' in record.payload:
        answer: T = yield Compute(function)
        return answer
    return function()


def _top_level(record: Record, key: str) -> Any:
    """The value under one of our keys in a record's document; a document without the key's name isn't parsed."""
    if f'"{key}"' not in record.payload:
        return None
    return result_document.decode(record.payload).get(key)


def _reference_of(record: Record) -> PayloadReference | None:
    value = _top_level(record, REFERENCE_KEY)
    return None if value is None else reference_from_json(value)


def _expanded(record: Record) -> Record:
    match _top_level(record, COMPRESSED):
        case None:
            return record
        case {"compression": str(compression), "data": str(data)}:
            try:
                return replace(record, payload=_text(base64.b64decode(data, validate=True), compression))
            except (binascii.Error, ValueError) as error:
                raise DecodeError(f"the stored result of task {record.id} is damaged: {error}", record.id) from error
    raise DecodeError(f"the stored result of task {record.id} is damaged", record.id)


def _text(data: bytes, compression: str | None) -> str:
    try:
        return (data if compression is None else serializers.decompress(data, compression)).decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"the stored result isn't text: {error}") from None
