"""The ids of a new group's members (``MemberIds``): those that the native planner would derive from the group's id.

A record of a workflow names only the ids that can't be derived, so that a large chord takes no more room than a small
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.celery.canvas import kinds
from taskq_cloud.core.workflows.planner import member_id

_COMPOSED: Final = frozenset({"celery.chain", "celery.group", "celery.chord", "celery.chunks"})


class MemberIds:
    """Gives ids to the members of a group, which are asked for in their order.

    A member that isn't one task, or a chain that begins and ends with one, may count as several members or as none. It
    gets a random id, and so do the members after it, whose places the planner may count otherwise.

    Args:
        group_id: the id of the group.
        is_new: whether the id was made for this group. If it was given, an earlier group may have had it.
    """

    def __init__(self, group_id: Any, *, is_new: bool) -> None:
        self._group_id = str(group_id)
        self._derives = is_new
        self._next = 0

    def of(self, task: Any) -> Mapping[str, Any]:
        """The id of the next member, as an argument of ``freeze``; nothing, if ``freeze`` is to make one."""
        self._derives = self._derives and _is_one_member(task)
        if not self._derives:
            return {}
        self._next += 1
        return {"_id": member_id(self._group_id, self._next - 1)}


def _is_one_member(sig: Any) -> bool:
    if kinds.is_chain(sig):
        return bool(sig.tasks) and all(_is_task(sig.tasks[end]) for end in (0, -1))
    return _is_task(sig)


def _is_task(sig: Any) -> bool:
    return isinstance(sig, dict) and sig.get("task") not in _COMPOSED
