"""The record of a task's state, and the rules for replacing a record and for giving out a lock.

The payload of a record is Celery's result document (JSON), so that Celery's readers can read it; a store looks only at
the other fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass, field, replace

PENDING: Final = "PENDING"
RECEIVED: Final = "RECEIVED"
STARTED: Final = "STARTED"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
REVOKED: Final = "REVOKED"
REJECTED: Final = "REJECTED"
RETRY: Final = "RETRY"
IGNORED: Final = "IGNORED"

READY_STATES: Final = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES: Final = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
EXCEPTION_STATES: Final = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES: Final = frozenset({FAILURE, REVOKED})

FINAL_VERSION: Final = 2**31 - 1

LONGEST_MESSAGE_SECONDS: Final = 15 * 86_400
"""A day longer than SQS keeps a message (Developer Guide, "quotas-messages")."""
FENCE_KEPT_SECONDS: Final = LONGEST_MESSAGE_SECONDS
"""How long a store remembers a lock that has lapsed, so that the next one gets a higher fencing number."""

MOST_CHILDREN: Final = 1000
"""The most ids of children that a record holds: more would not fit into a record of DynamoDB's."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one task's state.

    Args:
        id: the task's id.
        state: one of this module's states, or a custom one.
        version: grows from attempt to attempt, and is ``FINAL_VERSION`` for a final state: see ``version_of``.
        payload: Celery's result document, as JSON text.
        expires_at: when the record ceases to exist, in seconds since the epoch; None: never.
        fence: the fencing number of the lock under which the record was written; 0 without a lock.
        document: the payload, decoded; None: it is decoded where it is used, as small payloads are.
        packed: the payload as it is to be stored, if it is compressed: see ``records.compressed``.
        reply_to: where the task's caller waits for the record, for a store that replies; empty: nowhere, and None: it
            isn't the record of a message's task.
    """

    id: str
    state: str
    version: int
    payload: str
    expires_at: float | None = None
    fence: int = 0
    document: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    packed: bytes | None = field(default=None, compare=False, repr=False)
    reply_to: str | None = field(default=None, compare=False, repr=False)

    @property
    def body(self) -> bytes:
        """The payload as a store keeps it."""
        return self.payload.encode() if self.packed is None else self.packed

    @property
    def final(self) -> bool:
        """Whether the state is final: no other record may replace this one."""
        return self.version == FINAL_VERSION


def version_of(state: str, attempt: int) -> int:
    """Order a task's states: attempt by attempt, in each attempt RETRY last, and a final state after all others.

    Args:
        state: the state.
        attempt: the number of attempts before this one (``Message.attempt``).
    """
    if state in READY_STATES:
        return FINAL_VERSION
    return min(attempt * 2 + (state == RETRY), FINAL_VERSION - 1)


def may_replace(stored: Record | None, new: Record, now: float) -> bool:
    """Whether a new record may replace the stored one. Every store evaluates this rule atomically in its own language.

    A final state stays. Otherwise a later or equal version wins, unless it was written under an older lock.

    Args:
        stored: the stored record, or None.
        new: the record to write.
        now: the time, in seconds since the epoch.
    """
    if stored is None or (stored.expires_at is not None and stored.expires_at <= now):
        return True
    return not stored.final and stored.version <= new.version and stored.fence <= new.fence


@dataclass(frozen=True, slots=True)
class FencedLock:
    """A lock with a fencing number, for work that only one owner may do at a time, such as a run of a ``once`` task.

    Args:
        owner: the holder of the lock.
        fence: the fencing number, which is higher for every new lock on one key.
        lapses_at: when the lock becomes free by itself, in seconds since the epoch.
    """

    owner: str
    fence: int
    lapses_at: float


def claimed(stored: FencedLock | None, owner: str, ttl_seconds: float, now: float) -> FencedLock | None:
    """Compute the lock that ``ResultStore.claim`` gives; None if another owner holds it, or there is none to give up.

    Args:
        stored: the stored lock on the key, or None.
        owner: the owner who asks for the lock.
        ttl_seconds: how long the lock is to last; 0 gives it up.
        now: the time, in seconds since the epoch.
    """
    lapses_at = now + ttl_seconds
    if stored is not None and stored.lapses_at > now:
        return replace(stored, lapses_at=lapses_at) if stored.owner == owner else None
    if ttl_seconds <= 0:
        return None
    return FencedLock(owner, stored.fence + 1 if stored else 1, lapses_at)
