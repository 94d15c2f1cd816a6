"""The ports for stores with conditional writes: buckets of objects, and collections of documents.

The adapters of S3, Azure Blob Storage and Google Cloud Storage implement ``Bucket``, those of document databases and
key-value stores ``Collection``. Both keep objects by key, and ``StoreErrors`` translates the failures of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import AccessDenied, OperationalError, PayloadTooLarge, StoreNotFound, Unreachable


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's content and version.

    Args:
        body: the object's bytes.
        metadata: the object's own metadata, by name.
        tag: the version that a conditional write compares: an ETag or a generation; None: the object is not stored yet.
        expires_at: when the object may be removed, in seconds since the epoch; None: never. Only a collection keeps it:
            a bucket's objects are removed by the bucket's lifecycle.
    """

    body: bytes
    metadata: Mapping[str, str]
    tag: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """A conditional write of one object.

    Args:
        key: its key.
        new: the object to write.
        over: the object as it was found, the only version that may be replaced; None: only if there is no object.
    """

    key: str
    new: StoredObject
    over: StoredObject | None


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
    STORE_NOT_FOUND = "the bucket or the collection does not exist"
    TOO_LARGE_TO_WRITE = "the store takes no object of this size"
    ACCESS_DENIED = "a permission or a credential is missing"
    CLOCK_SKEW = "this machine's clock is wrong"


@dataclass(frozen=True, slots=True)
class StoreErrors:
    """Translates one store's failed calls into this package's errors.

    Args:
        name: the bucket or the collection as an error names it: ``"S3 bucket shop (eu-west-1)"``.
        creation: the command that creates it.
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
        """Return the answer of a successful call, or raise an error that names the store and the remedy.

        Raises:
            StoreNotFound: the bucket or the collection does not exist.
            PayloadTooLarge: the store takes no object of this size.
            AccessDenied: a permission or a credential is missing, or this machine's clock is wrong.
            OperationalError: the service refused the call for another reason.
            Unreachable: the service gave no answer.
        """
        if not isinstance(answer, CallError):
            return answer
        raise self.error(answer) from answer

    def error(self, failure: CallError) -> OperationalError:
        """The error of a failed call: see ``check``."""
        kind = self.kind(failure)
        reason = f"{failure.code}: {failure.message}"
        if kind is FailureKind.STORE_NOT_FOUND:
            return StoreNotFound(f"{self.name} does not exist; create it: {self.creation}")
        if kind is FailureKind.CLOCK_SKEW:
            return AccessDenied(
                f"{self.name} refused the request because this machine's clock is off by minutes ({reason}); "
                "synchronize the clock with NTP"
            )
        permission = self.permissions[failure.call.operation]
        if kind is FailureKind.TOO_LARGE_TO_WRITE:
            return PayloadTooLarge(
                f"{self.name}: {permission} was refused because of the size ({reason}): set TASKQ_PAYLOADS to a bucket "
                "for larger results, or store the data elsewhere and return its location"
            )
        if kind is FailureKind.ACCESS_DENIED or failure.trouble is Trouble.CREDENTIALS:
            return AccessDenied(
                f"{self.name}: {permission} was denied: {reason}; check the credentials and that they grant this "
                "permission"
            )
        if failure.trouble is Trouble.REFUSED:
            return OperationalError(f"{self.name}: {permission} was refused: {reason}")
        return Unreachable(
            f"{self.name} gave no answer to {permission} after the retries ({reason}); check the network and the "
            "endpoint"
        )


class Bucket(Protocol):
    """One bucket of one provider: makes the calls and reads their answers."""

    errors: StoreErrors

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


class Collection(Protocol):
    """The documents of one database, or the values of a key-value store: makes the calls and reads their answers.

    A call may be about several keys. If the service changes one document in a request, ``writes_together`` is 1, and
    the requests are made at the same time.
    """

    errors: StoreErrors
    reads_together: int
    """The most keys of one ``get``."""
    writes_together: int
    """The most documents of one ``put`` or ``delete``."""
    deletes_versions: bool
    """Whether the service removes a document only in a version that is named, so that it has to be read before."""
    created_early: bool
    """Whether ``creation`` is tried before the first write: the service itself creates a missing collection poorly."""

    def creation(self) -> Sequence[Call]:
        """The calls, one after the other, that create the collection where it is missing; empty: nobody may."""
        ...

    def get(self, keys: Sequence[str]) -> Call:
        """Read documents."""
        ...

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        """The documents in an answer to ``get`` by key; a key without a document is absent."""
        ...

    def put(self, writes: Sequence[Write]) -> Call:
        """Write documents, each on its own condition: one that fails keeps no other from being written.

        Either all of them replace a version that was found, or none of them does.
        """
        ...

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        """What an answer to ``put`` or ``delete`` says of each document, in order: a ``CallError`` if it failed."""
        ...

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        """Remove documents; the values are the documents as they were read if ``deletes_versions`` is set."""
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
