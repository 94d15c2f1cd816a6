"""Payloads as objects of a bucket: S3, Azure Blob Storage or Google Cloud Storage, by the adapters of ``results``.

=========================================  =====================================================================
``arguments/<day>/<task id>-<digest>``     a message's arguments, as bytes of its serializer and compression; with
                                           ``payload_format=sqs-extended`` its whole body
``results/<day>/<task id>-<digest>``       a result document, compressed where that helps
=========================================  =====================================================================

Nothing is removed when a task ends, since its message may be delivered once more: the bucket's lifecycle does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Flow, Gather
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.payload_references import Payload
from taskq_cloud.core.payloads.policy import ARGUMENTS, DAY_SECONDS, RESULTS
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import TaskQError, Unreachable
from taskq_cloud.stores.buckets import Bucket, LifecycleRule, Meaning

_WRITE_ATTEMPTS: Final = 5
"""How often a write is made again that another one of the same object got in the way of."""


class ObjectPayloads:
    """A store of payloads on a bucket.

    Args:
        bucket: the provider's.
        place: it, as claims say it: ``"s3://bucket"``.
        prefix: of all keys: ``"prefix/"``, or nothing.
        services: the clients its calls need.
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
            raced: list[int] = []
            for at, answer in zip(waiting, stored, strict=True):
                match self._bucket.facts.meaning(answer):
                    case Meaning.LOST:
                        continue  # it is there already: its key has its digest
                    case Meaning.RACED:
                        raced.append(at)
                    case _:
                        answers[at] = self._refused(answer)
            waiting = raced
            if not waiting:
                return answers
        for at in waiting:
            keeps_changing = f"{self._bucket.facts.name}: {payloads[at].key} is being written by others: send it again"
            answers[at] = Refused(Unreachable(keeps_changing))
        return answers

    def get(self, wanted: Sequence[tuple[str, str]]) -> Flow[list[bytes | None]]:
        """Read objects, one call each, in parallel: see ``PayloadStore.get``."""
        buckets = [self._bucket if name == self._name else self._bucket.named(name) for name, _ in wanted]
        answers = yield from _together([bucket.get(key) for bucket, (_, key) in zip(buckets, wanted, strict=True)])
        return [_data(bucket, answer) for bucket, answer in zip(buckets, answers, strict=True)]

    def delete(self, keys: Sequence[str]) -> Flow[None]:
        """Remove objects, one call each, in parallel."""
        for answer in (yield from _together([self._bucket.delete(key) for key in keys])):
            if self._bucket.facts.meaning(answer) is not Meaning.ABSENT:
                self._bucket.facts.answered(answer)

    def lifecycle_rules(self, expires_days: int, result_expires_seconds: float | None) -> list[LifecycleRule]:
        """What the bucket's lifecycle is to remove.

        Args:
            expires_days: how long arguments are kept (``payload_expires_days``).
            result_expires_seconds: how long results are (``result_expires``); None: for ever.
        """
        rules = [LifecycleRule("taskq-arguments", f"{self.prefix}{ARGUMENTS}/", expires_days)]
        if result_expires_seconds is not None:
            # A day longer than the record that names it, which was written later.
            days = math.ceil(result_expires_seconds / DAY_SECONDS) + 1
            rules.append(LifecycleRule("taskq-large-results", f"{self.prefix}{RESULTS}/", days))
        return rules

    def _refused(self, answer: Any) -> Refused | None:
        try:
            self._bucket.facts.answered(answer)
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


def _data(bucket: Bucket, answer: Any) -> bytes | None:
    if bucket.facts.meaning(answer) is Meaning.ABSENT:
        return None
    return bucket.bytes_of(bucket.facts.answered(answer))
