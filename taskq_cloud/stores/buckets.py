"""What an object store must do to keep results, or payloads: the port of the providers' adapters, and its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import AccessDenied, OperationalError, StoreNotFound, Unreachable


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object. ``tag`` is what a conditional write compares: an ETag, a generation; None: not stored yet."""

    body: bytes
    metadata: Mapping[str, str]
    tag: str | None = None


class Meaning(Enum):
    """What the code of a failed call says to a store."""

    ABSENT = "there is no such object"
    LOST = "the condition does not hold: the object is another one now"
    RACED = "another write of the object was under way: make the same one again"
    NO_BUCKET = "there is no such bucket"
    DENIED = "a permission or a credential is missing"
    CLOCK = "this machine's clock is wrong"


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """A bucket in words.

    Args:
        name: what to call it in an error: ``"S3 bucket shop (eu-west-1)"``.
        creation: how to create it.
        meanings: what the service's error codes mean.
        permissions: operation of a call -> the permission that it takes.
    """

    name: str
    creation: str
    meanings: Mapping[str, Meaning]
    permissions: Mapping[str, str]

    def meaning(self, answer: Any) -> Meaning | None:
        """What a failed call means; None where it didn't fail, or has no meaning to a store."""
        return self.meanings.get(answer.code) if isinstance(answer, CallError) else None

    def answered(self, answer: Any) -> Any:
        """An answer; a failed call becomes an error that names the bucket and the way out."""
        if not isinstance(answer, CallError):
            return answer
        meaning = self.meaning(answer)
        said = f"{answer.code}: {answer.message}"
        if meaning is Meaning.NO_BUCKET:
            raise StoreNotFound(f"{self.name} does not exist: create it: {self.creation}") from answer
        if meaning is Meaning.CLOCK:
            raise AccessDenied(
                f"{self.name}: refused, as this machine's clock is off by minutes: set it by NTP: {said}"
            ) from answer
        permission = self.permissions[answer.call.operation]
        if meaning is Meaning.DENIED or answer.trouble is Trouble.CREDENTIALS:
            raise AccessDenied(
                f"{self.name}: {permission} was denied: {said}: check the credentials, and that they may do so"
            ) from answer
        if answer.trouble is Trouble.REFUSED:
            raise OperationalError(f"{self.name}: {permission} was refused: {said}") from answer
        raise Unreachable(f"{self.name}: {permission} was not answered: {said}") from answer


class Bucket(Protocol):
    """One bucket of one provider: makes the calls and reads their answers."""

    facts: BucketFacts

    def named(self, name: str) -> Bucket:
        """Another bucket, as the same client reaches it."""
        ...

    def create(self, key: str, body: bytes) -> Call:
        """Write an object of these bytes and no others, if there is none."""
        ...

    def get(self, key: str) -> Call:
        """Read an object."""
        ...

    def put(self, key: str, new: StoredObject, over: str | None) -> Call:
        """Write an object over the one whose tag is ``over``; None: only if there is none."""
        ...

    def delete(self, key: str) -> Call:
        """Remove an object."""
        ...

    def list(self, prefix: str, after: str | None) -> Call:
        """List a page of keys that begin with ``prefix``; ``after`` comes from the page before."""
        ...

    def bytes_of(self, answer: Any) -> bytes:
        """What ``get`` has read of an object that ``create``, or another program, has written."""
        ...

    def object_of(self, answer: Any) -> StoredObject:
        """What ``get`` has read."""
        ...

    def page_of(self, answer: Any) -> tuple[Sequence[str], str | None]:
        """The keys that ``list`` has found, and what the next page comes after, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """What the bucket is to remove: the infrastructure's part of expiry, as data.

    Args:
        name: what to call the rule.
        prefix: of the keys.
        days: how old an object is when it goes.
    """

    name: str
    prefix: str
    days: int
