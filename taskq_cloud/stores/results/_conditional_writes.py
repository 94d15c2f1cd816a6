"""Changes objects while others change them, too, wherever they are stored.

Every write names the version that was read, and a writer that loses a race reads the object again and decides again.
``_conditional_objects`` reads and writes the objects of a bucket, ``_conditional_documents`` those of a collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from taskq_cloud.core.backoff import RNG, Backoff
from taskq_cloud.core.flows import CallError, Flow, Sleep
from taskq_cloud.errors import OperationalError
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write

WRITES: Final = Backoff(attempts=10)
"""How often a write is attempted while other writers change the object between the read and the write."""

Decision: TypeAlias = Callable[[StoredObject | None], StoredObject | None]
"""A function of the stored object, None if there is none, that returns the object to write; None: write nothing."""


class ConditionalWrites(Protocol):
    """Objects, each changed only in the version that was read. A subclass reads and writes them."""

    errors: StoreErrors
    backoff: Backoff = WRITES

    def read(self, keys: Collection[str]) -> Flow[dict[str, StoredObject | None]]:
        """Read objects; None for an object that doesn't exist."""
        ...

    def put(self, writes: Sequence[Write]) -> Flow[Sequence[Any]]:
        """Write objects, and return one answer for each write, in order: a ``CallError`` if it failed."""
        ...

    def delete(self, keys: Collection[str]) -> Flow[None]:
        """Remove objects; a key without an object is ignored."""
        ...

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
            return new if tag_of(stored) == tag_of(found) else None

        written = yield from self.change({key: decide}, {key: found})
        return written[key] is not None, last

    def change(
        self,
        decisions: Mapping[str, Decision],
        found: Mapping[str, StoredObject | None] | None = None,
        pause: Callable[[float], float] | None = None,
    ) -> Flow[dict[str, StoredObject | None]]:
        """Write each object as its decision says, and decide again whenever another writer has changed the object.

        Args:
            decisions: key -> decision.
            found: key -> the object as it was read. Without ``found`` the first attempt assumes that no object exists:
                most don't, and this saves the read.
            pause: draws the pause after an attempt that has failed, given how long its write took, in seconds; None: it
                is the one of ``backoff``.

        Returns:
            Key -> the object that was written; None: the decision was to write nothing.

        Raises:
            OperationalError: an object was changed by other writers at every attempt.
        """
        written: dict[str, StoredObject | None] = {}
        for key, outcome in (yield from self.change_each(decisions, found, pause)).items():
            if isinstance(outcome, Exception):
                raise outcome
            written[key] = outcome
        return written

    def change_each(
        self,
        decisions: Mapping[str, Decision],
        found: Mapping[str, StoredObject | None] | None = None,
        pause: Callable[[float], float] | None = None,
    ) -> Flow[dict[str, StoredObject | Exception | None]]:
        """Write objects as ``change`` does. The failure of one object is its answer, and costs no other object."""
        pending: dict[str, StoredObject | None] = dict(found or dict.fromkeys(decisions))
        outcomes: dict[str, StoredObject | Exception | None] = {}
        changed: list[str] = []
        conflicts: dict[str, StoredObject | None] = {}
        for attempt in range(self.backoff.attempts):
            decided = {key: decisions[key](stored) for key, stored in pending.items()}
            outcomes |= decided
            began = time.monotonic()
            writes = [Write(key, new, pending[key]) for key, new in decided.items() if new is not None]
            if not writes:
                return outcomes
            changed, conflicts = [], {}
            for write, answer in zip(writes, (yield from self.put(writes)), strict=True):
                match self.errors.kind(answer):
                    # Not found: the object that was to be replaced has been deleted.
                    case FailureKind.CONDITION_FAILED | FailureKind.NOT_FOUND:
                        changed.append(write.key)
                    case FailureKind.CONFLICT:
                        conflicts[write.key] = write.over
                    case _ if isinstance(answer, CallError):
                        outcomes[write.key] = self.errors.error(answer)
            if not changed and not conflicts:
                return outcomes
            if attempt + 1 < self.backoff.attempts:
                if attempt:  # an object that was only assumed to be absent is read at once
                    took = time.monotonic() - began
                    yield Sleep(self.backoff.seconds(attempt, RNG) if pause is None else pause(took))
                pending = conflicts | (yield from self.read(changed))
        lost = OperationalError(
            f"{self.errors.name}: {next(iter(pending))} could not be written: other writers changed it at each of "
            f"{self.backoff.attempts} attempts; try again"
        )
        return outcomes | dict.fromkeys([*changed, *conflicts], lost)


def tag_of(stored: StoredObject | None) -> str | None:
    """The version of an object as it was read; None if there was none."""
    return None if stored is None else stored.tag
