"""Payloads as objects of a bucket in S3, Azure Blob Storage or Google Cloud Storage.

The adapters in ``stores.results`` make the calls on the buckets.

=========================================  =====================================================================
``arguments/<day>/<task id>-<digest>``     a message's arguments, as bytes of its serializer and compression; with
                                           ``payload_format=sqs-extended`` the whole message body
``results/<day>/<task id>-<digest>``       a result document, compressed where that makes it smaller
=========================================  =====================================================================

The end of a task removes nothing, since the task's message may be delivered once more: the bucket's lifecycle removes
old objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Flow, Gather
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.payload_references import Payload, WantedPayload
from taskq_cloud.core.payloads.policy import ARGUMENTS, DAY_SECONDS, RESULTS
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import ClaimError, TaskQError, Unreachable
from taskq_cloud.stores.buckets import Bucket, FailureKind, LifecycleRule

_WRITE_ATTEMPTS: Final = 5
"""How often a write is attempted while other writes of the same object are in progress."""


class ObjectPayloads:
    """A payload store on a bucket.

    Args:
        bucket: the provider's bucket.
        place: the bucket's URL as payload references state it: ``"s3://bucket"``.
        prefix: the prefix of all keys: ``"prefix/"``, or an empty string.
        services: the clients that the bucket's calls need.
    """

    def __init__(self, bucket: Bucket, place: str, prefix: str, services: Mapping[str, Service]) -> None:
        self._bucket = bucket
        self._name = place.partition("://")[2]
        self.place = place
        self.prefix = prefix
        self.services = services

    def __repr__(self) -> str:
        return f"<ObjectPayloads {self.place}/{self.prefix}>"

    def put(self, payloads: Sequence[Payload]) -> Flow[list[Refused | None]]:
        """Store payloads, one call each, in parallel: see ``PayloadStore.put``."""
        answers: list[Refused | None] = [None] * len(payloads)
        waiting = list(range(len(payloads)))
        for _ in range(_WRITE_ATTEMPTS):
            calls = [self._bucket.create(payloads[at].key, payloads[at].data) for at in waiting]
            stored = yield from _together(calls)
            conflicts: list[int] = []
            for at, answer in zip(waiting, stored, strict=True):
                match self._bucket.errors.kind(answer):
                    case FailureKind.CONDITION_FAILED:
                        continue  # the object exists already, with these very bytes: its key contains their digest
                    case FailureKind.CONFLICT:
                        conflicts.append(at)
                    case _:
                        answers[at] = self._refused(answer)
            waiting = conflicts
            if not waiting:
                return answers
        for at in waiting:
            conflict = (
                f"{self._bucket.errors.name}: {payloads[at].key} could not be written because other writes of the same "
                f"object were in progress at each of {_WRITE_ATTEMPTS} attempts; try again"
            )
            answers[at] = Refused(Unreachable(conflict))
        return answers

    def get(self, wanted: Sequence[WantedPayload]) -> Flow[list[bytes | Refused | None]]:
        """Read objects, one call each, in parallel: see ``PayloadStore.get``."""
        buckets = [self._bucket if each.bucket == self._name else self._bucket.named(each.bucket) for each in wanted]
        calls = [bucket.get(each.key, each.most_bytes) for bucket, each in zip(buckets, wanted, strict=True)]
        answers = yield from _together(calls)
        return [_data(bucket, answer) for bucket, answer in zip(buckets, answers, strict=True)]

    def delete(self, keys: Sequence[str]) -> Flow[None]:
        """Remove objects, one call each, in parallel."""
        for answer in (yield from _together([self._bucket.delete(key) for key in keys])):
            if self._bucket.errors.kind(answer) is not FailureKind.NOT_FOUND:
                self._bucket.errors.check(answer)

    def lifecycle_rules(self, expires_days: int, result_expires_seconds: float | None) -> list[LifecycleRule]:
        """The rules by which the bucket's lifecycle removes old payloads.

        Args:
            expires_days: how many days arguments are kept (``payload_expires_days``).
            result_expires_seconds: how many seconds results are kept (``result_expires``); None: for ever.
        """
        rules = [LifecycleRule("taskq-arguments", f"{self.prefix}{ARGUMENTS}/", expires_days)]
        if result_expires_seconds is not None:
            # The record that refers to a result is written after the result, so the result lives a day longer.
            days = math.ceil(result_expires_seconds / DAY_SECONDS) + 1
            rules.append(LifecycleRule("taskq-large-results", f"{self.prefix}{RESULTS}/", days))
        return rules

    def _refused(self, answer: Any) -> Refused | None:
        try:
            self._bucket.errors.check(answer)
        except TaskQError as error:
            return Refused(error)
        return None


def _together(calls: Sequence[Call]) -> Flow[list[Any]]:
    if len(calls) != 1:
        return (yield Gather(calls)) if calls else []
    try:
        return [(yield calls[0])]
    except CallError as error:
        return [error]


def _data(bucket: Bucket, answer: Any) -> bytes | Refused | None:
    match bucket.errors.kind(answer):
        case FailureKind.NOT_FOUND:
            return None
        case FailureKind.EMPTY:
            return b""
        case FailureKind.TOO_LARGE:
            return Refused(ClaimError(answer.message))
    return bucket.bytes_of(bucket.errors.check(answer))
