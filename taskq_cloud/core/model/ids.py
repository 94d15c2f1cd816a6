"""Ids of tasks: random ones, and ids derived from other ids, which come out equal however often they are derived."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


def derived_id(parent_id: str, role: str, index: int = 0) -> str:
    """Derive the id of a task that follows from another task or an event: a UUIDv5 of parent id, role and index.

    Args:
        parent_id: the id of the task or event that the new task follows from.
        role: the new task's part in that: ``"callback"``, ``"chain"``, ``"event"``.
        index: its place among all tasks with this parent and role.
    """
    import uuid  # a process that only calls tasks derives no ids

    return str(uuid.uuid5(_namespace(), f"{parent_id}/{role}/{index}"))


@cache
def _namespace() -> UUID:
    import uuid

    return uuid.uuid5(uuid.NAMESPACE_URL, "taskq_cloud")


def new_call() -> str:
    """Make a random text for a call whose task was given its id: see ``message.CALL``."""
    return os.urandom(8).hex()


def new_id() -> str:
    """Make a random id for a task that follows from no other: a UUIDv4, without the module that also makes others."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
