"""Reads and conditionally writes the documents of a collection, as many in one call as the service takes.

``_documents`` defines the documents, and ``_conditional_writes`` how they are changed.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from taskq_cloud.core.backoff import RNG, Backoff
from taskq_cloud.core.flows import CallError, Flow, Gather, Sleep
from taskq_cloud.errors import OperationalError
from taskq_cloud.stores.buckets import Collection, FailureKind, StoredObject, Write
from taskq_cloud.stores.results._conditional_writes import ConditionalWrites

T = TypeVar("T")

PATIENT: Final = Backoff(attempts=100, base_seconds=0.01, ceiling_seconds=0.5)
"""The members of a chord write one document, perhaps a hundred of them at once. One of them succeeds in each round of a
read and a write, so the pauses have to spread them over the time of about a hundred rounds."""


class ConditionalDocuments(ConditionalWrites):
    """The documents of a collection, each changed only in the version that was read.

    Args:
        collection: the service's collection.
    """

    backoff = PATIENT

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.errors = collection.errors

    def read(self, keys: abc.Collection[str]) -> Flow[dict[str, StoredObject | None]]:
        """Read documents; None for a document that doesn't exist."""
        parts = list(_parts(list(keys), self.collection.reads_together))
        answers = (yield Gather([self.collection.get(part) for part in parts])) if parts else []
        found: dict[str, StoredObject | None] = dict.fromkeys(keys)
        for part, answer in zip(parts, answers, strict=True):
            if self.errors.kind(answer) is not FailureKind.NOT_FOUND:
                found |= self.collection.found(part, self.errors.check(answer))
        return found

    def put(self, writes: Sequence[Write]) -> Flow[Sequence[Any]]:
        """Write documents, and return one answer for each, in order; a failed call is the failure of all its writes."""
        parts = list(_parts(writes, self.collection.writes_together))
        calls = [self.collection.put(part) for part in parts]
        outcomes: list[Any] = []
        for part, call, answer in zip(parts, calls, (yield Gather(calls)), strict=True):
            failed = isinstance(answer, CallError)
            outcomes += [answer] * len(part) if failed else self.collection.outcomes(call, answer)
        return outcomes

    def delete(self, keys: abc.Collection[str]) -> Flow[None]:
        """Remove documents; a key without a document is ignored."""
        left = list(dict.fromkeys(keys))
        for attempt in range(self.backoff.attempts):
            found: dict[str, StoredObject | None] = dict.fromkeys(left)
            if self.collection.deletes_versions:
                found = {key: stored for key, stored in (yield from self.read(left)).items() if stored is not None}
            if not found:
                return
            left = yield from self._delete(found)
            if not left:
                return
            yield Sleep(self.backoff.seconds(attempt, RNG))  # another writer has changed them since they were read
        raise OperationalError(
            f"{self.errors.name}: {left[0]} could not be removed: other writers changed it; try again"
        )

    def _delete(self, found: dict[str, StoredObject | None]) -> Flow[list[str]]:
        """Remove documents, and return the keys of those that have changed."""
        parts = list(_parts(list(found), self.collection.writes_together))
        calls = [self.collection.delete({key: found[key] for key in part}) for part in parts]
        changed = list[str]()
        for part, call, answer in zip(parts, calls, (yield Gather(calls)), strict=True):
            failed = isinstance(answer, CallError)
            for key, outcome in zip(
                part, [answer] * len(part) if failed else self.collection.outcomes(call, answer), strict=True
            ):
                match self.errors.kind(outcome):
                    case FailureKind.CONDITION_FAILED | FailureKind.CONFLICT:
                        changed.append(key)
                    case FailureKind.NOT_FOUND:
                        pass
                    case _:
                        self.errors.check(outcome)
        return changed if self.collection.deletes_versions else []


def _parts(whole: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (whole[start : start + most] for start in range(0, len(whole), most))
