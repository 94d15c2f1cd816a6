"""Workflows: ``signature``, ``chain``, ``group``, ``chord`` and what they make, by Celery's names and with its meaning.

A workflow is an immutable tree: every method that changes it returns a new one. ``to_dict`` is its plain JSON form,
which is Celery's; ``signature`` reads it back. What it means is decided in ``core.lines`` and ``core.planner``.
"""

from taskq_cloud.canvas.builders import chunks, mapped, maybe_signature, signature, subtask, xmap, xstarmap
from taskq_cloud.canvas.chain import Chain
from taskq_cloud.canvas.group import Chord, Group
from taskq_cloud.canvas.stamping import StampingVisitor
from taskq_cloud.canvas.task_call import Call
from taskq_cloud.canvas.workflow import Workflow

Signature = Workflow
chord = Chord
"""Celery's names; ``chain`` and ``group`` are modules here, and names of these classes in ``taskq_cloud`` alone."""

__all__ = [
    "Call",
    "Chain",
    "Chord",
    "Group",
    "Signature",
    "StampingVisitor",
    "Workflow",
    "chord",
    "chunks",
    "mapped",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
