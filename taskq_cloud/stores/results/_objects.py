"""Stores results as objects of a bucket: the part that S3, Azure Blob Storage and Google Cloud Storage have in common.

``_conditional_results`` defines the objects; this module adds joins and the rules of the bucket's lifecycle, which
removes expired objects. A provider's operations and error codes are in the provider's adapter, which implements
``Bucket`` (``stores.buckets``).

=========================================  =====================================================================
``taskq-join-place-<join>/<member>``       a member's arrival at a join, or a marker: see ``_object_joins``
=========================================  =====================================================================

One request writes the metadata together with the body.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS
from taskq_cloud.stores.buckets import Bucket, LifecycleRule
from taskq_cloud.stores.results import _object_joins as joins
from taskq_cloud.stores.results._conditional_objects import LARGEST_RECORD_BYTES, ConditionalObjects
from taskq_cloud.stores.results._conditional_results import ConditionalResults, quoted

RESERVATIONS_PER_SECOND: Final = 5
"""The most reservations of one key in a second. Each one reads an object and then writes it, which takes about 50 ms a
call, and writers that conflict start again."""

_DAY_SECONDS: Final = 86_400


class ObjectResults(ConditionalResults):
    """A result store on a bucket.

    Args:
        bucket: the provider's bucket.
        prefix: the prefix of all keys; a ``/`` is added to it.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=True,
    )
    too_large_advice = "write the data to an object of the task's own and return its location"

    def __init__(self, bucket: Bucket, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self.objects = ConditionalObjects(bucket)
        super().__init__(self.objects, f"{prefix}/" if prefix else "", clock)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member, in one write for most members: see ``ResultStore.join`` and ``_object_joins``."""
        arrival = joins.Arrival(int(member), self._clock(), expires_at)
        directory = f"{self.prefix}{joins.PREFIX}{quoted(join_id)}/"
        return (yield from joins.Join(self.objects, directory, size, arrival).arrive())

    def lifecycle_rules(self, result_expires_seconds: float) -> list[LifecycleRule]:
        """The rules by which the bucket's lifecycle removes expired objects.

        Args:
            result_expires_seconds: how many seconds results are kept (``result_expires``).
        """
        days = max(1, math.ceil(result_expires_seconds / _DAY_SECONDS))
        longer = days + FENCE_KEPT_SECONDS // _DAY_SECONDS
        return [
            LifecycleRule("taskq-results", f"{self.prefix}celery-task-meta-", days),
            # A message may be redelivered for as long as its queue keeps it, and must then find the earlier arrivals.
            LifecycleRule("taskq-joins", f"{self.prefix}taskq-join", longer),
            LifecycleRule("taskq-claims", f"{self.prefix}taskq-claim-", longer),
            LifecycleRule("taskq-rates", f"{self.prefix}taskq-rate-", longer),
        ]


def prefix_of(url: SplitResult) -> str:
    """The prefix of keys that a URL's path names, without slashes at either end."""
    return unquote(url.path).strip("/")
