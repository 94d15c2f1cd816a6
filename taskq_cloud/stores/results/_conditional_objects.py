"""Reads, lists and conditionally writes the objects of a bucket.

This module defines how an object is changed while others change it, too: every write names the version that was read,
and a writer that loses a race reads the object again and decides again. ``_objects`` and ``_object_joins`` define the
objects and the decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from taskq_cloud.core.backoff import DEFAULT_BACKOFF, RNG
from taskq_cloud.core.flows import Call, Flow, Gather, Sleep
from taskq_cloud.errors import OperationalError
from taskq_cloud.stores.buckets import Bucket, FailureKind, ListedObject, StoredObject

LARGEST_RECORD_BYTES: Final = 64 * 1024 * 1024
"""The largest payload of one record. The services take gigabytes, but a payload is in memory several times while it is
made, sent and read, and this is the most that Azure's SDK sends in one request (``max_single_put_size``). Larger data
belongs in an object that the task itself writes."""
LARGEST_OBJECT_BYTES: Final = LARGEST_RECORD_BYTES + 1024
"""The largest object that is read: a record, with the blanks that S3's adapter appends."""

_WRITE_ATTEMPTS: Final = 10
"""How often a write is attempted while other writers change the object between the read and the write."""

Decision: TypeAlias = Callable[[StoredObject | None], StoredObject | None]
"""A function of the stored object, None if there is none, that returns the object to write; None: write nothing."""


class ConditionalObjects:
    """The objects of a bucket, each changed only in the version that was read.

    Args:
        bucket: the provider's bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._errors = bucket.errors

    def read(self, keys: Collection[str]) -> Flow[dict[str, StoredObject | None]]:
        """Read objects, one call each, in parallel; None for an object that doesn't exist."""
        answers = yield from self._get(keys, LARGEST_OBJECT_BYTES)
        # No range of an empty object can be read, and its metadata is wanted.
        empty = [key for key, answer in answers.items() if self._errors.kind(answer) is FailureKind.EMPTY]
        answers |= yield from self._get(empty, None)
        return {
            key: None
            if self._errors.kind(answer) is FailureKind.NOT_FOUND
            else self.bucket.object_of(self._errors.check(answer))
            for key, answer in answers.items()
        }

    def delete(self, keys: Collection[str]) -> Flow[None]:
        """Remove objects, in parallel; a key without an object is ignored."""
        for answer in (yield Gather([self.bucket.delete(key) for key in keys])) if keys else []:
            if self._errors.kind(answer) is not FailureKind.NOT_FOUND:
                self._errors.check(answer)

    def list(self, prefix: str) -> Flow[list[ListedObject]]:
        """List all objects whose keys begin with a prefix, a page a call."""
        listed: list[ListedObject] = []
        after: str | None = None
        while True:
            (answer,) = yield Gather([self.bucket.list(prefix, after)])
            page, after = self.bucket.page_of(self._errors.check(answer))
            listed += page
            if after is None:
                return listed

    def replace(
        self, key: str, new: StoredObject, found: StoredObject | None
    ) -> Flow[tuple[bool, StoredObject | None]]:
        """Write an object over the version that was found and over no other; None: only if there is no object.

        Returns:
            Whether it was written, and the object as it was found last: if it wasn't written, another version of it.
        """
        last = found

        def decide(stored: StoredObject | None) -> StoredObject | None:
            nonlocal last
            last = stored
            return new if _tag(stored) == _tag(found) else None

        written = yield from self.change({key: decide}, {key: found})
        return written[key] is not None, last

    def change(
        self, decisions: Mapping[str, Decision], found: Mapping[str, StoredObject | None] | None = None
    ) -> Flow[dict[str, StoredObject | None]]:
        """Write each object as its decision says, and decide again whenever another writer has changed the object.

        Args:
            decisions: key -> decision.
            found: key -> the object as it was read. Without ``found`` the first attempt assumes that no object exists:
                most don't, and this saves the read.

        Returns:
            Key -> the object that was written; None: the decision was to write nothing.

        Raises:
            OperationalError: an object was changed by other writers at every attempt.
        """
        pending: dict[str, StoredObject | None] = dict(found or dict.fromkeys(decisions))
        written: dict[str, StoredObject | None] = {}
        for attempt in range(_WRITE_ATTEMPTS):
            written |= {key: decisions[key](stored) for key, stored in pending.items()}
            puts = {key: new for key in pending if (new := written[key]) is not None}
            if not puts:
                return written
            if attempt > 1:
                yield Sleep(DEFAULT_BACKOFF.seconds(attempt, RNG))
            answers = yield Gather([self.put(key, new, pending[key]) for key, new in puts.items()])
            changed, conflicts = [], {}
            for key, answer in zip(puts, answers, strict=True):
                match self._errors.kind(answer):
                    # Not found: the object that was to be replaced has been deleted.
                    case FailureKind.CONDITION_FAILED | FailureKind.NOT_FOUND:
                        changed.append(key)
                    case FailureKind.CONFLICT:
                        conflicts[key] = pending[key]
                    case _:
                        self._errors.check(answer)
            pending = conflicts | (yield from self.read(changed))
            if not pending:
                return written
        raise OperationalError(
            f"{self._errors.name}: {next(iter(pending))} could not be written: other writers changed it at each of "
            f"{_WRITE_ATTEMPTS} attempts; try again"
        )

    def put(self, key: str, new: StoredObject, over: StoredObject | None) -> Call:
        """The call that writes an object over a version; None: only if there is no object."""
        return self.bucket.put(key, new, _tag(over))

    def _get(self, keys: Collection[str], most_bytes: int | None) -> Flow[dict[str, object]]:
        answers = (yield Gather([self.bucket.get(key, most_bytes) for key in keys])) if keys else []
        return dict(zip(keys, answers, strict=True))


def _tag(stored: StoredObject | None) -> str | None:
    return None if stored is None else stored.tag
