"""Makes a message of the request of a task that doesn't run here: Celery's own, or one with its attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskq_cloud.core.model.message import Embed, Message


def message_of(request: Any) -> Message:
    """Make the message that a request came in.

    Args:
        request: an object with the attributes of Celery's ``Context``.
    """
    return Message(
        task=str(request.get("task")),
        id=str(request.id),
        args=request.args or (),
        kwargs=request.kwargs or {},
        embed=Embed(errbacks=_listed(request.errbacks), chain=_listed(request.chain), chord=request.chord),
        retries=request.retries or 0,
        root_id=request.root_id,
        parent_id=request.parent_id,
        group=request.group,
        group_index=request.group_index,
        headers=request.headers or {},
    )


def _listed(value: Any) -> Sequence[Any] | None:
    return list(value) if isinstance(value, list | tuple) else None
