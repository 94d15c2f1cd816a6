"""Reads and conditionally writes the documents of a collection, as many in one call as the service takes.

``_documents`` defines the documents, and ``_conditional_writes`` how they are changed. A missing collection is created
at the first use, if the service and its permissions allow that.
"""

from __future__ import annotations

import logging
from collections import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from taskq_cloud.core.backoff import RNG, Backoff
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep
from taskq_cloud.errors import OperationalError, StoreNotFound
from taskq_cloud.stores.buckets import Collection, FailureKind, StoredObject, Write
from taskq_cloud.stores.results._conditional_writes import ConditionalWrites

T = TypeVar("T")

_EXISTS: Final = frozenset({FailureKind.CONDITION_FAILED, FailureKind.CONFLICT})
_log: Final = logging.getLogger("taskq_cloud.stores")

PATIENT: Final = Backoff(attempts=100, base_seconds=0.01, ceiling_seconds=0.5)
"""The members of a chord write one document, perhaps a hundred of them at once, of which one succeeds in each round of
reads and writes."""

_MOST_BYTES: Final = 8 * 1024 * 1024
"""The most bytes of the values in one request, unless it has only one: services and proxies refuse large requests."""


class ConditionalDocuments(ConditionalWrites):
    """The documents of a collection, each changed only in the version that was read.

    Args:
        collection: the service's collection.
    """

    backoff = PATIENT

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.errors = collection.errors
        self._created = not collection.created_early

    def read(self, keys: abc.Collection[str]) -> Flow[dict[str, StoredObject | None]]:
        """Read documents; None for a document that doesn't exist."""
        parts = list(_parts(list(keys), self.collection.reads_together))
        answers = yield from self._make([self.collection.get(part) for part in parts])
        found: dict[str, StoredObject | None] = dict.fromkeys(keys)
        for part, answer in zip(parts, answers, strict=True):
            if self.errors.kind(answer) is not FailureKind.NOT_FOUND:
                found |= self.collection.found(part, self.errors.check(answer))
        return found

    def put(self, writes: Sequence[Write]) -> Flow[Sequence[Any]]:
        """Write documents, and return one answer for each, in order; a failed call is the failure of all its writes."""
        yield from self.prepare()
        # The sort keeps the order of equals: first the documents that are created, and then the others.
        order = sorted(range(len(writes)), key=lambda number: writes[number].over is not None)
        parts = list(self._requests([writes[number] for number in order]))
        outcomes = yield from self._outcomes([(part, self.collection.put(part)) for part in parts])
        by_number = dict(zip(order, outcomes, strict=True))
        return [by_number[number] for number in range(len(writes))]

    def prepare(self) -> Flow[None]:
        """Create the collection before the first write, if its service would create it without what it needs."""
        if not self._created:
            self._created = True
            yield from self._create(required=False)

    def delete(self, keys: abc.Collection[str]) -> Flow[None]:
        """Remove documents; a key without a document is ignored."""
        left = list(dict.fromkeys(keys))
        for attempt in range(self.backoff.attempts):
            found: dict[str, StoredObject | None] = dict.fromkeys(left)
            if self.collection.deletes_versions:
                found = {key: stored for key, stored in (yield from self.read(left)).items() if stored is not None}
            left = yield from self.remove(found)
            if not left:
                return
            yield Sleep(self.backoff.seconds(attempt, RNG))  # another writer has changed them since they were read
        raise OperationalError(
            f"{self.errors.name}: {left[0]} could not be removed: it changed at each attempt; try again"
        )

    def remove(self, found: Mapping[str, StoredObject | None]) -> Flow[list[str]]:
        """Remove documents in the versions that were found, and return the keys of those that have changed."""
        parts = list(_parts(list(found), self.collection.writes_together))
        calls = [self.collection.delete({key: found[key] for key in part}) for part in parts]
        changed = list[str]()
        for key, outcome in zip(found, (yield from self._outcomes(list(zip(parts, calls, strict=True)))), strict=True):
            match self.errors.kind(outcome):
                case FailureKind.CONDITION_FAILED | FailureKind.CONFLICT:
                    changed.append(key)
                case FailureKind.NOT_FOUND:
                    pass
                case _:
                    self.errors.check(outcome)
        return changed

    def _outcomes(self, requests: Sequence[tuple[Sequence[Any], Call]]) -> Flow[list[Any]]:
        """Make calls about several documents each, and return the answer for each document, in order."""
        outcomes: list[Any] = []
        answers = yield from self._make([call for _, call in requests])
        for (part, call), answer in zip(requests, answers, strict=True):
            failed = isinstance(answer, CallError)
            outcomes += [answer] * len(part) if failed else self.collection.outcomes(call, answer)
        return outcomes

    def _make(self, calls: Sequence[Call]) -> Flow[list[Any]]:
        """Make calls at once; if they fail because the collection is missing, create it and make them again."""
        if not calls:
            return []
        answers: list[Any] = yield Gather(calls)
        if not any(self.errors.kind(answer) is FailureKind.STORE_NOT_FOUND for answer in answers):
            return answers
        if not (yield from self._create(required=True)):
            return answers
        again: list[Any] = yield Gather(calls)
        return again

    def _create(self, *, required: bool) -> Flow[bool]:
        """Create the collection, and return whether that was tried.

        Raises:
            StoreNotFound: the collection is required, and can't be created.
        """
        calls = self.collection.creation()
        for call in calls:
            (answer,) = yield Gather([call])
            if not isinstance(answer, CallError) or self.errors.kind(answer) in _EXISTS:
                continue
            reason = f"{answer.code}: {answer.message}"
            if required:
                raise StoreNotFound(
                    f"{self.errors.name} does not exist and could not be created ({reason}); "
                    f"create it: {self.errors.creation}"
                ) from answer
            # It may be there already, and made by someone with more permissions.
            _log.info(
                "%s could not be prepared: %s",
                self.errors.name,
                reason,
                extra={"action": "results.not_prepared"},
            )
        return bool(calls)

    def _requests(self, writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
        """Divide writes, of which those that create come first, into requests of either kind."""
        part: list[Write] = []
        part_bytes = 0
        for write in writes:
            size = len(write.new.body)
            full = len(part) == self.collection.writes_together or part_bytes + size > _MOST_BYTES
            if part and (full or (part[-1].over is None) != (write.over is None)):
                yield part
                part, part_bytes = [], 0
            part.append(write)
            part_bytes += size
        if part:
            yield part


def _parts(whole: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (whole[start : start + most] for start in range(0, len(whole), most))
