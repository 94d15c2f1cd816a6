"""A bucket in memory, for tests that choose the order in which the calls of several writers take effect."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from taskq_cloud.core.flows import Call, CallError, Gather, Step, Trouble
from taskq_cloud.stores.buckets import Bucket, FailureKind, ListedObject, StoredObject, StoreErrors

KINDS = {"missing": FailureKind.NOT_FOUND, "changed": FailureKind.CONDITION_FAILED}


class BucketInMemory:
    """A bucket whose calls ``perform`` carries out, each as a whole.

    Attributes:
        operations: the operations of all calls up to now.
    """

    errors = StoreErrors("bucket in memory", "nothing creates it", KINDS, {})

    def __init__(self) -> None:
        self._objects: dict[str, StoredObject] = {}
        self._modified: dict[str, datetime] = {}
        self.operations: list[str] = []

    def perform(self, step: Step) -> Any:
        """Carry out the calls of a step and return its answer."""
        assert isinstance(step, Gather)
        return [self._answer(call) for call in step.calls]

    def _answer(self, call: Call) -> Any:
        self.operations.append(call.operation)
        key, given = call.parameters["key"], call.parameters
        stored = self._objects.get(key)
        match call.operation:
            case "get":
                return stored or CallError(call, "missing", "", Trouble.REFUSED)
            case "put":
                if given["over"] != (None if stored is None else stored.tag):
                    return CallError(call, "changed", "", Trouble.REFUSED)
                number = len(self.operations)
                self._objects[key] = StoredObject(given["new"].body, given["new"].metadata, str(number))
                self._modified[key] = datetime.fromtimestamp(number, UTC)
            case "list":
                found = sorted(name for name in self._objects if name.startswith(key))
                return [
                    ListedObject(name, len(each.body), self._modified[name], each.tag or "")
                    for name, each in ((name, self._objects[name]) for name in found)
                ]
            case "delete":
                self._objects.pop(key, None)
        return None

    def named(self, name: str) -> Bucket:
        raise NotImplementedError

    def create(self, key: str, body: bytes) -> Call:
        return self.put(key, StoredObject(body, {}), None)

    def get(self, key: str, most_bytes: int | None) -> Call:
        return Call("memory", "get", {"key": key})

    def put(self, key: str, new: StoredObject, over: str | None) -> Call:
        return Call("memory", "put", {"key": key, "new": new, "over": over})

    def delete(self, key: str) -> Call:
        return Call("memory", "delete", {"key": key})

    def list(self, prefix: str, after: str | None) -> Call:
        return Call("memory", "list", {"key": prefix})

    def bytes_of(self, answer: Any) -> bytes:
        body: bytes = answer.body
        return body

    def object_of(self, answer: Any) -> StoredObject:
        assert isinstance(answer, StoredObject)
        return answer

    def page_of(self, answer: Any) -> tuple[Sequence[ListedObject], str | None]:
        return answer, None
