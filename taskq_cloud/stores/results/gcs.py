"""Results in a bucket of Google Cloud Storage.

The objects, and how they change, are in ``_objects``; here is what Google calls it. Writes are conditional by
ifGenerationMatch, where 0 stands for no object at all (Cloud Storage documentation, "Request preconditions").
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call
from taskq_cloud.core.ports import Service, StoreCapabilities
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import BucketFacts, LifecycleRule, Meaning, StoredObject
from taskq_cloud.stores.results._objects import ObjectResults, prefix_of

_MEANINGS: Final = {
    "NoSuchObject": Meaning.ABSENT,
    "PreconditionFailed": Meaning.LOST,
    "Conflict": Meaning.RACED,
    "NoSuchBucket": Meaning.NO_BUCKET,
    "Forbidden": Meaning.DENIED,
    "ClockIsWrong": Meaning.CLOCK,
}
"""The SDK's errors, and codes of ``clients.gcs`` (Cloud Storage's "HTTP status and error codes for JSON")."""

_PERMISSIONS: Final = {
    "download": "storage.objects.get",
    # Writing over an object is removing it as well.
    "upload": "storage.objects.create, or storage.objects.delete,",
    "delete": "storage.objects.delete",
    "list_blobs": "storage.objects.list",
}


RESERVATIONS_PER_SECOND: Final = 1
"""Cloud Storage takes one write of an object a second (its "Quotas & limits"), and answers more with 429."""


class GCSResults(ObjectResults):
    """The store behind ``gs://bucket/prefix``.

    Args:
        bucket: the bucket's name.
        prefix: of all objects' names; a ``/`` is put behind it.
        project: the one that calls are counted for; None: google-auth's.
        clock: the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = replace(
        ObjectResults.capabilities, reservations_per_second=RESERVATIONS_PER_SECOND
    )

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        project: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._project = project
        super().__init__(_GCSBucket(bucket), prefix, clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> GCSResults:
        """``gs://bucket`` or ``gs://bucket/prefix``, and ``?project=``.

        Raises:
            ImproperlyConfigured: it names no bucket, or has anything else in it.
        """
        query = query_of(url, ("project",))
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", url.netloc):
            raise ImproperlyConfigured(
                f"{shown(url)} names no bucket: write gs://bucket or gs://bucket/prefix; credentials are found by the "
                "SDK (workload identity, service account, gcloud)"
            )
        return cls(url.netloc, prefix_of(url), query.get("project"))

    @property
    def services(self) -> Mapping[str, Service]:
        """Cloud Storage."""
        return {"gcs": Service("gcs", (("project", self._project),) if self._project else ())}

    def lifecycle(self, result_expires_seconds: float) -> list[dict[str, Any]]:
        """The ``rule`` list of the bucket's lifecycle, where results expire after so many seconds."""
        return [lifecycle_rule(rule) for rule in self.lifecycle_rules(result_expires_seconds)]


def lifecycle_rule(rule: LifecycleRule) -> dict[str, Any]:
    """A rule as the bucket's lifecycle configuration has it."""
    return {"action": {"type": "Delete"}, "condition": {"age": rule.days, "matchesPrefix": [rule.prefix]}}


class _GCSBucket:
    def __init__(self, name: str) -> None:
        self._name = name
        self.facts = BucketFacts(
            f"Google Cloud Storage bucket {name}",
            f"gcloud storage buckets create gs://{name} --location=LOCATION",
            _MEANINGS,
            _PERMISSIONS,
        )

    def named(self, name: str) -> _GCSBucket:
        return _GCSBucket(name)

    def create(self, key: str, body: bytes) -> Call:
        return self._call("upload", name=key, data=body, metadata={}, if_generation_match=0)

    def get(self, key: str) -> Call:
        return self._call("download", name=key)

    def put(self, key: str, new: StoredObject, over: str | None) -> Call:
        generation = 0 if over is None else int(over)
        return self._call(
            "upload", name=key, data=new.body, metadata=dict(new.metadata), if_generation_match=generation
        )

    def delete(self, key: str) -> Call:
        return self._call("delete", name=key)

    def list(self, prefix: str, after: str | None) -> Call:
        return self._call("list_blobs", prefix=prefix, page_token=after)

    def bytes_of(self, answer: Any) -> bytes:
        body: bytes = answer["content"]
        return body

    def object_of(self, answer: Any) -> StoredObject:
        return StoredObject(answer["content"], answer["metadata"], str(answer["generation"]))

    def page_of(self, answer: Any) -> tuple[Sequence[str], str | None]:
        return answer["names"], answer["page_token"]

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call("gcs", operation, {"bucket": self._name, **parameters})
