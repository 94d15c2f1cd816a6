"""Stores results in a bucket of Google Cloud Storage.

``_objects`` defines the objects and how they change; this module has Google's operations and error codes. Conditional
writes use ifGenerationMatch, where 0 means that the object must not exist (Cloud Storage documentation, "Request
preconditions").
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, LifecycleRule, ListedObject, StoredObject, StoreErrors
from taskq_cloud.stores.results._objects import ObjectResults, prefix_of

_KINDS: Final = {
    "NoSuchObject": FailureKind.NOT_FOUND,
    "ObjectTooLarge": FailureKind.TOO_LARGE,
    "PreconditionFailed": FailureKind.CONDITION_FAILED,
    "Conflict": FailureKind.CONFLICT,
    "NoSuchBucket": FailureKind.STORE_NOT_FOUND,
    "Forbidden": FailureKind.ACCESS_DENIED,
    "ClockIsWrong": FailureKind.CLOCK_SKEW,
}
"""Error code -> kind of failure: the SDK's errors and the codes of ``clients.gcs`` (Cloud Storage's "HTTP status and
error codes for JSON")."""

_PERMISSIONS: Final = {
    "download": "storage.objects.get",
    # Overwriting an object also needs the permission to delete it.
    "upload": "storage.objects.create or storage.objects.delete",
    "delete": "storage.objects.delete",
    "list_blobs": "storage.objects.list",
}

RESERVATIONS_PER_SECOND: Final = 1
"""The most reservations of one key in a second. Cloud Storage takes one write of an object a second (its "Quotas &
limits"), and answers more writes with 429."""


class GCSResults(ObjectResults):
    """The store behind ``gs://bucket/prefix``.

    Args:
        bucket: the bucket's name.
        prefix: the prefix of all objects' names; a ``/`` is added to it.
        project: the project that calls are billed to; None: google-auth's default project.
        clock: returns the time, in seconds since the epoch.
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
        """Make the store for ``gs://bucket`` or ``gs://bucket/prefix``.

        Args:
            url: the URL; takes the option ``project``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL doesn't name a bucket, or has an unknown option or credentials.
        """
        query = query_of(url, ("project",))
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", url.netloc):
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name a bucket: write gs://bucket or gs://bucket/prefix, without credentials, "
                "which the SDK finds (workload identity, service account, gcloud)"
            )
        return cls(url.netloc, prefix_of(url), query.get("project"))

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of Cloud Storage."""
        return {"gcs": Service("gcs", (("project", self._project),) if self._project else ())}

    def lifecycle(self, result_expires_seconds: float) -> list[dict[str, Any]]:
        """The ``rule`` list for the bucket's lifecycle configuration.

        Args:
            result_expires_seconds: how many seconds results are kept (``result_expires``).
        """
        return [lifecycle_rule(rule) for rule in self.lifecycle_rules(result_expires_seconds)]


def lifecycle_rule(rule: LifecycleRule) -> dict[str, Any]:
    """Write a rule in the form of the bucket's lifecycle configuration."""
    return {"action": {"type": "Delete"}, "condition": {"age": rule.days, "matchesPrefix": [rule.prefix]}}


class _GCSBucket:
    def __init__(self, name: str) -> None:
        self._name = name
        self.errors = StoreErrors(
            f"Google Cloud Storage bucket {name}",
            f"gcloud storage buckets create gs://{name} --location=LOCATION",
            _KINDS,
            _PERMISSIONS,
        )

    def named(self, name: str) -> _GCSBucket:
        return _GCSBucket(name)

    def create(self, key: str, body: bytes) -> Call:
        return self._call("upload", name=key, data=body, metadata={}, if_generation_match=0)

    def get(self, key: str, most_bytes: int | None) -> Call:
        return self._call("download", name=key, most_bytes=most_bytes)

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

    def page_of(self, answer: Any) -> tuple[Sequence[ListedObject], str | None]:
        return [ListedObject(*each) for each in answer["objects"]], answer["page_token"]

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call("gcs", operation, {"bucket": self._name, **parameters})
