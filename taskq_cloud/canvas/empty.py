"""Workflows without a task in them, whose result is known at once and needs no application."""

from __future__ import annotations

from taskq_cloud.calling.workflows import WorkflowResult, read
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.workflows import planner
from taskq_cloud.core.workflows.stages import GroupStage, Stages, every_task
from taskq_cloud.results.group_result import GroupResult


def is_empty(signature: Signature) -> bool:
    """Whether a workflow, as plain JSON, has no task in it."""
    return next(every_task(read(signature)), None) is None


def result_of(signature: Signature) -> WorkflowResult:
    """Make the result of a workflow without tasks: a ``GroupResult`` of an empty group, None of an empty chain."""
    return _result_of(planner.with_ids(read(signature), new_id()))


def _result_of(stages: Stages) -> WorkflowResult:
    match stages[-1:]:
        case (GroupStage(members=members, id=group_id),):
            return GroupResult(str(group_id), [_result_of(member) for member in members])
    return None
