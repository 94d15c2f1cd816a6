"""Workflows (Celery's canvas): ``signature``, ``chain``, ``group``, ``chord`` and the classes behind them.

A workflow is an immutable tree: every method that changes something returns a new workflow. ``to_dict`` writes its
plain JSON, which is Celery's, and ``signature`` reads that JSON. The meaning of a workflow is decided in
``core.workflows``, by ``signatures`` and ``planner``.
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
