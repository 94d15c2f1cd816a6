"""Results over a store's limit: the store keeps a small document, and the large one is checked in elsewhere.

The small document has the keys that Celery's readers expect, with a sentence in place of the value, and beside them
``taskq_claim``, or ``taskq_compressed`` where compression alone made it fit. A task can't write either key: they stand
beside its result, not in it. Records that fit are passed through as they are, at no further call.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.model.payload_references import REFERENCE_KEY, Payload, PayloadReference, reference_from_json
from taskq_cloud.core.payloads.policy import LARGEST_PAYLOAD_BYTES, RESULTS, Payloads, is_plain
from taskq_cloud.core.ports import ResultStore, Service, StoreCapabilities
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import EXCEPTION_STATES, Record
from taskq_cloud.errors import ClaimError, DecodeError, PayloadTooLarge

COMPRESSED: Final = "taskq_compressed"
"""The key of a result document that holds the whole one: the compression's content type, and its bytes in base64."""


@dataclass(frozen=True, slots=True)
class LargeResults:
    """A result store whose records may be as large as a payload.

    Args:
        store: keeps the records.
        payloads: keeps what is too large for it.
        clock: seconds since the epoch.
    """

    store: ResultStore
    payloads: Payloads
    clock: Callable[[], float]

    @property
    def capabilities(self) -> StoreCapabilities:
        """The store's, with a larger limit."""
        return replace(self.store.capabilities, largest_record_bytes=LARGEST_PAYLOAD_BYTES)

    @property
    def services(self) -> Mapping[str, Service]:
        """The store's clients; those of the payloads are the application's to add."""
        return self.store.services

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records, and fetch together what they claim: see ``ResultStore.load``.

        Raises:
            ClaimError: what a record claims is gone or altered; names the task and the object.
        """
        found = yield from self.store.load(ids)
        whole = {task_id: _expanded(record) for task_id, record in found.items()}
        claims = {task_id: claim for task_id, record in whole.items() if (claim := _reference_of(record)) is not None}
        answers = yield from self.payloads.fetch_all([*claims.values()])
        for (task_id, claim), answer in zip(claims.items(), answers, strict=True):
            if isinstance(answer, ClaimError):
                raise ClaimError(f"the result of task {task_id} can't be had: {answer}", task_id) from answer
            whole[task_id] = replace(whole[task_id], payload=_text(answer, claim.compression))
        return whole

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records, what is too large for them first: see ``ResultStore.save``.

        Raises:
            PayloadTooLarge: names the task, the size and the limit.
        """
        small: list[Record] = []
        payloads: list[Payload] = []
        for record in records:
            kept, payload = self._fitting(record)
            small.append(kept)
            if payload is not None:
                payloads.append(payload)
        for answer in (yield from self.payloads.put(payloads)):
            if isinstance(answer, Refused):
                raise answer.error
        return (yield from self.store.save(small))

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records, and then what they claim."""
        found = yield from self.store.load(ids)
        yield from self.store.delete(ids)
        own = f"{self.payloads.store.place}/{self.payloads.store.prefix}"
        claims = [claim for record in found.values() if (claim := _reference_of(record)) is not None]
        # In its own place only: a record that someone else has written is not to remove what they can't.
        keys = [each.key for each in claims if str(each).startswith(f"{own}{RESULTS}/") and is_plain(each.key)]
        if keys:
            yield from self.payloads.store.delete(keys)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """The store's own."""
        return (yield from self.store.join(join_id, member, size, expires_at))

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """The store's own."""
        return (yield from self.store.claim(key, owner, ttl_seconds))

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """The store's own."""
        return (yield from self.store.reserve(key, interval_seconds, credit_seconds))

    def _fitting(self, record: Record) -> tuple[Record, Payload | None]:
        largest = self.store.capabilities.largest_record_bytes
        whole = record.payload.encode()
        if len(whole) <= largest:
            return record, None
        if len(whole) > LARGEST_PAYLOAD_BYTES:
            raise PayloadTooLarge(
                f"the result of task {record.id} is {len(whole)} bytes; at most {LARGEST_PAYLOAD_BYTES} are stored: "
                "write it to an object of its own and return where it is"
            )
        packed, compression = self.payloads.compressed(whole)
        if compression is not None:
            note = {"compression": compression, "data": base64.b64encode(packed).decode()}
            inline = _small_document(record, {COMPRESSED: note}, f"{len(whole)} bytes, compressed by taskq-cloud")
            if len(inline) <= largest:
                return replace(record, payload=inline), None
        claim, payload = self.payloads.check_in(RESULTS, record.id, packed, self.clock())
        claim = replace(claim, compression=compression)
        document = _small_document(record, {REFERENCE_KEY: claim.as_json()}, f"{len(whole)} bytes in {claim}")
        return replace(record, payload=document), payload


def _small_document(record: Record, extra: Mapping[str, Any], sentence: str) -> str:
    whole = json.loads(record.payload)
    # What Celery's readers make an exception of must look like one.
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


def _top_level(record: Record, key: str) -> Any:
    """What a record's document has under a key of ours; one that can't have it is not parsed."""
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
    return (data if compression is None else serializers.decompress(data, compression)).decode()
