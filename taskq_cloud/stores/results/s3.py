"""Stores results in an Amazon S3 bucket, or in a bucket of another service that supports S3's conditional writes.

``_objects`` defines the objects and how they change; this module has S3's operations and error codes. Conditional
writes use If-None-Match and If-Match (Amazon S3 User Guide, "How to prevent object overwrites with conditional
writes").
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from secrets import randbits
from typing import Any, Final
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, LifecycleRule, ListedObject, StoredObject, StoreErrors
from taskq_cloud.stores.results._objects import ObjectResults, prefix_of

_KINDS: Final = {
    "NoSuchKey": FailureKind.NOT_FOUND,
    "InvalidRange": FailureKind.EMPTY,
    "ObjectTooLarge": FailureKind.TOO_LARGE,
    "PreconditionFailed": FailureKind.CONDITION_FAILED,
    "ConditionalRequestConflict": FailureKind.CONFLICT,
    "OperationAborted": FailureKind.CONFLICT,
    "NoSuchBucket": FailureKind.STORE_NOT_FOUND,
    "AccessDenied": FailureKind.ACCESS_DENIED,
    "AllAccessDisabled": FailureKind.ACCESS_DENIED,
    "SignatureDoesNotMatch": FailureKind.ACCESS_DENIED,
    "RequestTimeTooSkewed": FailureKind.CLOCK_SKEW,
}
"""Error code -> kind of failure (Amazon S3 API Reference, "Error responses"; ObjectTooLarge is ``clients.aws``'s)."""

_PERMISSIONS: Final = {
    # Without s3:ListBucket, S3 answers "access denied" for an object that does not exist.
    "get_object": "s3:GetObject or s3:ListBucket",
    "put_object": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
    "list_objects_v2": "s3:ListBucket",
}

_SALT_BITS: Final = 64
_SALT: Final = re.compile(rb"\n[ \t]{%d}\Z" % _SALT_BITS)


class S3Results(ObjectResults):
    """The store behind ``s3://bucket/prefix``.

    Args:
        bucket: the bucket's name.
        prefix: the prefix of all keys; a ``/`` is added to it.
        region: the bucket's region; None: the SDK's own chain finds the region.
        endpoint_url: the service's endpoint; None: the SDK's own chain finds the endpoint.
        addressing_style: ``"path"`` for a service that doesn't accept the bucket's name as part of its host name.
        clock: returns the time, in seconds since the epoch.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        region: str | None = None,
        *,
        endpoint_url: str | None = None,
        addressing_style: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client_options = {
            "region": region,
            "endpoint_url": endpoint_url,
            "addressing_style": addressing_style,
        }
        super().__init__(_S3Bucket(bucket, endpoint_url or region or "the SDK's region"), prefix, clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> S3Results:
        """Make the store for ``s3://bucket`` or ``s3://bucket/prefix``.

        Args:
            url: the URL; takes the options ``region``, ``endpoint_url`` and ``addressing_style``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL doesn't name a bucket, or has an unknown option or credentials.
        """
        query = query_of(url, ("region", "endpoint_url", "addressing_style"))
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", url.netloc):
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name a bucket: write s3://bucket or s3://bucket/prefix, without credentials, "
                "which the SDK finds (environment, profile, role)"
            )
        return cls(
            url.netloc,
            prefix_of(url),
            query.get("region"),
            endpoint_url=query.get("endpoint_url"),
            addressing_style=query.get("addressing_style"),
        )

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of S3."""
        return {"s3": Service("aws", tuple((name, value) for name, value in self._client_options.items() if value))}

    def lifecycle(self, result_expires_seconds: float) -> list[dict[str, Any]]:
        """The ``Rules`` for the bucket's lifecycle configuration.

        Args:
            result_expires_seconds: how many seconds results are kept (``result_expires``).
        """
        return [lifecycle_rule(rule) for rule in self.lifecycle_rules(result_expires_seconds)]


def lifecycle_rule(rule: LifecycleRule) -> dict[str, Any]:
    """Write a rule in the form of PutBucketLifecycleConfiguration."""
    return {
        "ID": rule.name,
        "Filter": {"Prefix": rule.prefix},
        "Status": "Enabled",
        "Expiration": {"Days": rule.days},
    }


class _S3Bucket:
    def __init__(self, name: str, location: str) -> None:
        self._name = name
        self._location = location
        self.errors = StoreErrors(
            f"S3 bucket {name} ({location})",
            f"aws s3api create-bucket --bucket {name} --create-bucket-configuration LocationConstraint=REGION",
            _KINDS,
            _PERMISSIONS,
        )

    def named(self, name: str) -> _S3Bucket:
        return _S3Bucket(name, self._location)

    def create(self, key: str, body: bytes) -> Call:
        return self._call("put_object", Key=key, Body=body, IfNoneMatch="*")

    def get(self, key: str, most_bytes: int | None) -> Call:
        # The range limits what S3 sends. Its answer has the object's size, which the client looks at first.
        ranged = {} if most_bytes is None else {"Range": f"bytes=0-{most_bytes}"}
        return self._call("get_object", Key=key, **ranged)

    def put(self, key: str, new: StoredObject, over: str | None) -> Call:
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        return self._call("put_object", Key=key, Body=_salted(new.body), Metadata=dict(new.metadata), **condition)

    def delete(self, key: str) -> Call:
        return self._call("delete_object", Key=key)

    def list(self, prefix: str, after: str | None) -> Call:
        page = {} if after is None else {"ContinuationToken": after}
        return self._call("list_objects_v2", Prefix=prefix, **page)

    def bytes_of(self, answer: Any) -> bytes:
        body: bytes = answer["Body"]
        return body

    def object_of(self, answer: Any) -> StoredObject:
        return StoredObject(_SALT.sub(b"", answer["Body"]), answer["Metadata"], answer["ETag"])

    def page_of(self, answer: Any) -> tuple[Sequence[ListedObject], str | None]:
        listed = [
            ListedObject(each["Key"], each["Size"], each["LastModified"], each["ETag"])
            for each in answer.get("Contents", ())
        ]
        return listed, answer.get("NextContinuationToken")

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call("s3", operation, {"Bucket": self._name, **parameters})


def _salted(body: bytes) -> bytes:
    """Append random blanks to a body, so that every write has a different body and thus a different ETag.

    An ETag is a digest of the body and not of the metadata. Without the blanks, If-Match could not tell two states with
    one document apart, such as two attempts that have started. JSON ignores the blanks, and so does Celery.
    """
    blanks = format(randbits(_SALT_BITS), f"0{_SALT_BITS}b").replace("0", " ").replace("1", "\t")
    return b"%b\n%b" % (body, blanks.encode())
