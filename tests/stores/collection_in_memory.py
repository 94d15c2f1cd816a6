"""A collection in memory, for tests that choose the order in which the calls of several writers take effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskq_cloud.core.flows import Call, CallError, Gather, Sleep, Step, Trouble
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write

KINDS = {"changed": FailureKind.CONDITION_FAILED, "busy": FailureKind.CONFLICT}


class CollectionInMemory:
    """A collection whose calls ``perform`` carries out, each as a whole.

    Args:
        deletes_versions: whether a document is removed only in a version that is named.

    Attributes:
        calls: all calls up to now.
        objects: the documents.
        refused: keys whose writes are refused.
    """

    errors = StoreErrors("collection in memory", "nothing creates it", KINDS, {"put": "put", "get": "get"})
    reads_together = 3
    writes_together = 2
    created_early = False

    def __init__(self, *, deletes_versions: bool = False) -> None:
        self.deletes_versions = deletes_versions
        self.objects: dict[str, StoredObject] = {}
        self.calls: list[Call] = []
        self.refused = set[str]()

    def perform(self, step: Step) -> Any:
        """Carry out the calls of a step and return its answer; a pause takes no time."""
        if isinstance(step, Sleep):
            return None
        assert isinstance(step, Gather)
        return [self._answer(call) for call in step.calls]

    def _answer(self, call: Call) -> Any:
        self.calls.append(call)
        match call.operation:
            case "get":
                return {key: self.objects[key] for key in call.parameters["keys"] if key in self.objects}
            case "put":
                return [self._write(call, write) for write in call.parameters["writes"]]
        return [self._remove(call, *each) for each in call.parameters["found"].items()]

    def _write(self, call: Call, write: Write) -> CallError | None:
        if write.key in self.refused:
            return CallError(call, "refused", "in the service's own words", Trouble.REFUSED)
        if self._tag(write.key) != (None if write.over is None else write.over.tag):
            return CallError(call, "changed", "", Trouble.REFUSED)
        number = 1 + sum(each.operation == "put" for each in self.calls)
        self.objects[write.key] = StoredObject(write.new.body, write.new.metadata, str(number), write.new.expires_at)
        return None

    def _remove(self, call: Call, key: str, found: StoredObject | None) -> CallError | None:
        if self.deletes_versions and (found is None or self._tag(key) != found.tag):
            return CallError(call, "changed", "", Trouble.REFUSED)
        self.objects.pop(key, None)
        return None

    def _tag(self, key: str) -> str | None:
        return self.objects[key].tag if key in self.objects else None

    def creation(self) -> Sequence[Call]:
        return []

    def get(self, keys: Sequence[str]) -> Call:
        return Call("memory", "get", {"keys": keys})

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        found: Mapping[str, StoredObject] = answer
        return found

    def put(self, writes: Sequence[Write]) -> Call:
        return Call("memory", "put", {"writes": writes})

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        outcomes: Sequence[Any] = answer
        return outcomes

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        return Call("memory", "delete", {"found": found})
