"""A task's state as a store keeps it, and the rules of which state may replace which, and who holds a claim.

The payload is Celery's result document (JSON), so that Celery's readers can read it; a store looks only at the fields
beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

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
"""How long a store remembers a claim that has lapsed, so that the next one's number is higher."""


@dataclass(frozen=True, slots=True)
class Record:
    """One task's state.

    Args:
        id: the task's id.
        state: one of the states above, or a custom one.
        version: see ``version_of``; grows from attempt to attempt, and is ``FINAL_VERSION`` when the state is final.
        payload: Celery's result document, as JSON text.
        expires_at: when the record ceases to exist, in seconds since the epoch; None: never.
        fence: the fencing number of the claim under which it was written, 0 without a claim.
    """

    id: str
    state: str
    version: int
    payload: str
    expires_at: float | None = None
    fence: int = 0

    @property
    def final(self) -> bool:
        """Whether nothing may replace this record."""
        return self.version == FINAL_VERSION


def version_of(state: str, attempt: int) -> int:
    """Order of states: attempt by attempt, RETRY after what else an attempt says, a final state after all.

    Args:
        state: the state.
        attempt: the number of attempts before this one (``Message.attempt``).
    """
    if state in READY_STATES:
        return FINAL_VERSION
    return min(attempt * 2 + (state == RETRY), FINAL_VERSION - 1)


def may_replace(stored: Record | None, new: Record, now: float) -> bool:
    """Whether ``new`` may be written over ``stored``. Every store evaluates this atomically, in its own words.

    A final state stays. Otherwise a later or equal version wins, unless it was written under an older claim.

    Args:
        stored: what the store has, or None.
        new: what is to be written.
        now: the time, in seconds since the epoch.
    """
    if stored is None or (stored.expires_at is not None and stored.expires_at <= now):
        return True
    return not stored.final and stored.version <= new.version and stored.fence <= new.fence


@dataclass(frozen=True, slots=True)
class FencedLock:
    """Who may run a task, or do something else that one alone is to do.

    Args:
        owner: who holds it.
        fence: grows with every new claim of one key.
        lapses_at: when it is free again, in seconds since the epoch.
    """

    owner: str
    fence: int
    lapses_at: float


def claimed(stored: FencedLock | None, owner: str, ttl_seconds: float, now: float) -> FencedLock | None:
    """The claim that ``ResultStore.claim`` makes of the stored one, or None where there is none to have."""
    lapses_at = now + ttl_seconds
    if stored is not None and stored.lapses_at > now:
        return replace(stored, lapses_at=lapses_at) if stored.owner == owner else None
    if ttl_seconds <= 0:
        return None
    return FencedLock(owner, stored.fence + 1 if stored else 1, lapses_at)
