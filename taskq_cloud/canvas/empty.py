"""Workflows without a task in them: what they come to is known at once, and takes no application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.workflows import planner, signatures
from taskq_cloud.core.workflows.stages import GroupStage, Stages, every_task
from taskq_cloud.results.group_result import GroupResult


def is_nothing(signature: Mapping[str, Any]) -> bool:
    """Whether there is no task in a signature."""
    return next(every_task(signatures.parse(signature)), None) is None


class NothingToDo:
    """In place of an application."""

    def apply_workflow(self, signature: Mapping[str, Any]) -> Any:
        """The result of an empty group, or None: there is nothing to send."""
        return _result_of(planner.fix(signatures.parse(signature), new_id()))

    async def aapply_workflow(self, signature: Mapping[str, Any]) -> Any:
        """``apply_workflow`` on an event loop."""
        return self.apply_workflow(signature)

    def eager_workflow(self, signature: Mapping[str, Any]) -> Any:
        """The same: there is nothing to run either."""
        return self.apply_workflow(signature)


def _result_of(stages: Stages) -> Any:
    match stages[-1:]:
        case (GroupStage(members=members, id=group_id),):
            return GroupResult(str(group_id), [_result_of(member) for member in members])
    return None
