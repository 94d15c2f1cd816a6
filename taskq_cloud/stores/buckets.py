"""The port for object stores: the operations on a bucket that results and payloads need, and the bucket's errors.

The adapters of S3, Azure Blob Storage and Google Cloud Storage implement ``Bucket``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import AccessDenied, OperationalError, StoreNotFound, Unreachable


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's content and version.

    Args:
        body: the object's bytes.
        metadata: the object's own metadata, by name.
        tag: the version that a conditional write compares: an ETag or a generation; None: the object is not stored yet.
    """

    body: bytes
    metadata: Mapping[str, str]
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing shows it.

    Args:
        key: its key.
        size: its size in bytes.
        modified: when it was written last, by the service's clock.
        tag: its version, as in ``StoredObject``.
    """

    key: str
    size: int
    modified: datetime
    tag: str


class FailureKind(Enum):
    """The reasons for a failed call that a store handles, whatever error codes the provider uses for them."""

    NOT_FOUND = "the object does not exist"
    CONDITION_FAILED = "the condition of the write does not hold: the object has changed"
    EMPTY = "the object has no bytes"
    TOO_LARGE = "the object has more bytes than were to be read"
    CONFLICT = "another write of the object was in progress: repeat the same call"
    BUCKET_NOT_FOUND = "the bucket does not exist"
    ACCESS_DENIED = "a permission or a credential is missing"
    CLOCK_SKEW = "this machine's clock is wrong"


@dataclass(frozen=True, slots=True)
class BucketErrors:
    """Translates one bucket's failed calls into this package's errors.

    Args:
        name: the bucket as an error names it: ``"S3 bucket shop (eu-west-1)"``.
        creation: the command that creates the bucket.
        kinds: the service's error codes -> the reasons that a store handles.
        permissions: the operation of a call -> the permission that the operation needs.
    """

    name: str
    creation: str
    kinds: Mapping[str, FailureKind]
    permissions: Mapping[str, str]

    def kind(self, answer: Any) -> FailureKind | None:
        """Classify an answer; None if the call succeeded, or failed for a reason that no store handles."""
        return self.kinds.get(answer.code) if isinstance(answer, CallError) else None

    def check(self, answer: Any) -> Any:
        """Return the answer of a successful call, or raise an error that names the bucket and the remedy.

        Raises:
            StoreNotFound: the bucket does not exist.
            AccessDenied: a permission or a credential is missing, or this machine's clock is wrong.
            OperationalError: the service refused the call for another reason.
            Unreachable: the service gave no answer.
        """
        if not isinstance(answer, CallError):
            return answer
        kind = self.kind(answer)
        reason = f"{answer.code}: {answer.message}"
        if kind is FailureKind.BUCKET_NOT_FOUND:
            raise StoreNotFound(f"{self.name} does not exist; create it: {self.creation}") from answer
        if kind is FailureKind.CLOCK_SKEW:
            raise AccessDenied(
                f"{self.name} refused the request because this machine's clock is off by minutes ({reason}); "
                "synchronize the clock with NTP"
            ) from answer
        permission = self.permissions[answer.call.operation]
        if kind is FailureKind.ACCESS_DENIED or answer.trouble is Trouble.CREDENTIALS:
            raise AccessDenied(
                f"{self.name}: {permission} was denied: {reason}; check the credentials and that they grant this "
                "permission"
            ) from answer
        if answer.trouble is Trouble.REFUSED:
            raise OperationalError(f"{self.name}: {permission} was refused: {reason}") from answer
        raise Unreachable(
            f"{self.name} gave no answer to {permission} after the retries ({reason}); check the network and the "
            "endpoint"
        ) from answer


class Bucket(Protocol):
    """One bucket of one provider: makes the calls and reads their answers."""

    errors: BucketErrors

    def named(self, name: str) -> Bucket:
        """Another bucket, reached through the same client."""
        ...

    def create(self, key: str, body: bytes) -> Call:
        """Write exactly these bytes, unless the object exists."""
        ...

    def get(self, key: str, most_bytes: int | None) -> Call:
        """Read an object; one that has more than ``most_bytes`` is a failure, and is not read. None: read it whole."""
        ...

    def put(self, key: str, new: StoredObject, over: str | None) -> Call:
        """Write over the object version whose tag is ``over``; None: only if the object does not exist."""
        ...

    def delete(self, key: str) -> Call:
        """Remove an object."""
        ...

    def list(self, prefix: str, after: str | None) -> Call:
        """List one page of the objects whose keys begin with ``prefix``; ``after`` is the previous page's token."""
        ...

    def bytes_of(self, answer: Any) -> bytes:
        """The bytes in an answer to ``get``, for an object that ``create`` or another program wrote."""
        ...

    def object_of(self, answer: Any) -> StoredObject:
        """The object in an answer to ``get``, for an object that ``put`` wrote."""
        ...

    def page_of(self, answer: Any) -> tuple[Sequence[ListedObject], str | None]:
        """The objects in an answer to ``list``, and the token for the next page; None: this is the last page."""
        ...


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """A rule for the bucket's lifecycle, which removes expired objects. The infrastructure applies the rule.

    Args:
        name: the rule's name.
        prefix: the prefix of the keys that the rule covers.
        days: the age, in days, at which an object is removed.
    """

    name: str
    prefix: str
    days: int
