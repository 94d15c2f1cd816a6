"""A workflow's tree as JSON. Unlike the drawings, it holds every task: large groups are not summarised."""

from __future__ import annotations

from typing import Any

from taskq_cloud.core import serializers
from taskq_cloud.core.workflows.progress import NO_RECORD, NOT_STORED, GroupNode, TaskNode, View


def write(workflow_id: str, view: View) -> str:
    """Return a workflow as a JSON object: its id, its progress, and its stages with all their tasks."""
    progress = view.progress
    return serializers.dumps(
        {
            "id": workflow_id,
            "ended": view.ended,
            "progress": {
                "states": dict(progress.states),
                "total": progress.total,
                "completed": progress.completed,
                "failed": progress.failed,
                "fraction": progress.fraction,
                "not_stored": progress.not_stored,
            },
            "stages": [_node(node) for node in view.branch],
        }
    )


def _node(node: TaskNode | GroupNode) -> dict[str, Any]:
    if isinstance(node, GroupNode):
        return {"group_id": node.id, "members": [[_node(each) for each in member] for member in node.members]}
    return {
        "task_id": node.id,
        "name": node.name,
        "state": None if node.state in (NO_RECORD, NOT_STORED) else node.state,
        "note": node.state if node.state in (NO_RECORD, NOT_STORED) else None,
        "date_started": node.started_at.isoformat() if node.started_at else None,
        "date_done": node.ended_at.isoformat() if node.ended_at else None,
        "error": node.error,
        "inside": [_node(each) for each in node.inside],
    }
