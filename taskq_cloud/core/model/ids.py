"""Ids of tasks: random ones, and ids derived from other ids, which come out equal however often they are derived."""

from __future__ import annotations

import uuid
from typing import Final

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "taskq_cloud")


def derived_id(parent_id: str, role: str, index: int = 0) -> str:
    """Derive the id of a task that follows from another task or an event: a UUIDv5 of parent id, role and index.

    Args:
        parent_id: the id of the task or event that the new task follows from.
        role: the new task's part in that: ``"callback"``, ``"chain"``, ``"event"``.
        index: its place among all tasks with this parent and role.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{parent_id}/{role}/{index}"))


def new_call() -> str:
    """Make a random text for a call whose task was given its id: see ``message.CALL``."""
    return uuid.uuid4().hex[:16]


def new_id() -> str:
    """Make a random id for a task that follows from no other."""
    return str(uuid.uuid4())
