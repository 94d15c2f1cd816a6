"""Ids that are made from other ids, so that making them twice makes them the same."""

from __future__ import annotations

import uuid
from typing import Final

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "taskq_cloud")


def derived_id(parent_id: str, role: str, index: int = 0) -> str:
    """The id of what follows from a task or an event: a UUIDv5 of its parent's id, its role and its index.

    Args:
        parent_id: the id of the task or event it follows from.
        role: what it is to its parent: ``"callback"``, ``"chain"``, ``"event"``.
        index: its place among the others of the same role.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{parent_id}/{role}/{index}"))


def new_id() -> str:
    """The id of a task that follows from nothing."""
    return str(uuid.uuid4())
