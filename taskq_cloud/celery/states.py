"""The states of a task, their sets, and the order of precedence by which ``state`` compares them: Celery's names."""

from __future__ import annotations

from typing import Final

__all__ = (
    "EXCEPTION_STATES",
    "FAILURE",
    "IGNORED",
    "PENDING",
    "PROPAGATE_STATES",
    "READY_STATES",
    "RECEIVED",
    "RETRY",
    "REVOKED",
    "STARTED",
    "SUCCESS",
    "UNREADY_STATES",
    "precedence",
    "state",
)

PENDING: Final = "PENDING"
"""Nothing is known of the task: it waits, or it was never called."""
RECEIVED: Final = "RECEIVED"
"""A worker has the task's message; only Celery's events use this state."""
STARTED: Final = "STARTED"
"""The task runs; stored with ``task_track_started``."""
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
REVOKED: Final = "REVOKED"
REJECTED: Final = "REJECTED"
"""The task has refused its message."""
RETRY: Final = "RETRY"
"""The task waits for its next attempt."""
IGNORED: Final = "IGNORED"

READY_STATES: Final = frozenset({SUCCESS, FAILURE, REVOKED})
"""States of tasks that have ended."""
UNREADY_STATES: Final = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
"""States of tasks that have not ended."""
EXCEPTION_STATES: Final = frozenset({RETRY, FAILURE, REVOKED})
"""States whose result is an exception."""
PROPAGATE_STATES: Final = frozenset({FAILURE, REVOKED})
"""States whose exception is raised for a caller who waits for the result."""
ALL_STATES: Final = frozenset({PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED})

PRECEDENCE: Final[list[str | None]] = [
    SUCCESS,
    FAILURE,
    None,
    REVOKED,
    STARTED,
    RECEIVED,
    REJECTED,
    RETRY,
    PENDING,
]
"""All states, those of the highest precedence first. None stands for every state that a task has made up."""
PRECEDENCE_LOOKUP: Final[dict[str | None, int]] = {name: place for place, name in enumerate(PRECEDENCE)}
NONE_PRECEDENCE: Final = PRECEDENCE_LOOKUP[None]


def precedence(state: str | None) -> int:
    """Return the place of a state in ``PRECEDENCE``; a lower number has a higher precedence."""
    return PRECEDENCE_LOOKUP.get(state, NONE_PRECEDENCE)


class state(str):
    """The name of a state, which compares by precedence: a state is greater than the states that it may replace.

    A state that a task has made up is less than SUCCESS and FAILURE, and greater than all others.
    """

    __slots__ = ()

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)
