"""Reads, lists and conditionally writes the objects of a bucket, one call for each.

``_objects`` and ``_object_joins`` define the objects, and ``_conditional_writes`` how they are changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Call, Flow, Gather
from taskq_cloud.stores.buckets import Bucket, FailureKind, ListedObject, StoredObject, Write
from taskq_cloud.stores.results._conditional_writes import ConditionalWrites, tag_of

LARGEST_RECORD_BYTES: Final = 64 * 1024 * 1024
"""The largest payload of one record. The services take gigabytes, but a payload is in memory several times while it is
made, sent and read, and this is the most that Azure's SDK sends in one request (``max_single_put_size``). Larger data
belongs in an object that the task itself writes."""
LARGEST_OBJECT_BYTES: Final = LARGEST_RECORD_BYTES + 1024
"""The largest object that is read: a record, with the blanks that S3's adapter appends."""


class ConditionalObjects(ConditionalWrites):
    """The objects of a bucket, each changed only in the version that was read.

    Args:
        bucket: the provider's bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.errors = bucket.errors

    def read(self, keys: Collection[str]) -> Flow[dict[str, StoredObject | None]]:
        """Read objects, one call each, in parallel; None for an object that doesn't exist."""
        answers = yield from self._get(keys, LARGEST_OBJECT_BYTES)
        # No range of an empty object can be read, and its metadata is wanted.
        empty = [key for key, answer in answers.items() if self.errors.kind(answer) is FailureKind.EMPTY]
        answers |= yield from self._get(empty, None)
        return {
            key: None
            if self.errors.kind(answer) is FailureKind.NOT_FOUND
            else self.bucket.object_of(self.errors.check(answer))
            for key, answer in answers.items()
        }

    def put(self, writes: Sequence[Write]) -> Flow[Sequence[Any]]:
        """Write objects, one call each, in parallel."""
        answers: list[Any] = yield Gather([self.put_call(each) for each in writes])
        return answers

    def delete(self, keys: Collection[str]) -> Flow[None]:
        """Remove objects, in parallel; a key without an object is ignored."""
        for answer in (yield Gather([self.bucket.delete(key) for key in keys])) if keys else []:
            if self.errors.kind(answer) is not FailureKind.NOT_FOUND:
                self.errors.check(answer)

    def list(self, prefix: str) -> Flow[list[ListedObject]]:
        """List all objects whose keys begin with a prefix, a page a call."""
        listed: list[ListedObject] = []
        after: str | None = None
        while True:
            (answer,) = yield Gather([self.bucket.list(prefix, after)])
            page, after = self.bucket.page_of(self.errors.check(answer))
            listed += page
            if after is None:
                return listed

    def put_call(self, write: Write) -> Call:
        """The call that writes an object."""
        return self.bucket.put(write.key, write.new, tag_of(write.over))

    def _get(self, keys: Collection[str], most_bytes: int | None) -> Flow[dict[str, object]]:
        answers = (yield Gather([self.bucket.get(key, most_bytes) for key in keys])) if keys else []
        return dict(zip(keys, answers, strict=True))
