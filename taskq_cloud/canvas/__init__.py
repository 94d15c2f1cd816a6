"""Workflows: ``signature``, ``chain``, ``group``, ``chord`` and what they make, by Celery's names and with its meaning.

A workflow is an immutable tree: every method that changes it returns a new one. ``to_dict`` is its plain JSON form,
which is Celery's; ``signature`` reads it back. What it means is decided in ``core.lines`` and ``core.planner``.
"""

from taskq_cloud.canvas.base import Applier, Workflow
from taskq_cloud.canvas.builders import chunks, mapped, maybe_signature, signature, subtask, xmap, xstarmap
from taskq_cloud.canvas.call import Call
from taskq_cloud.canvas.parallel import Chord, Group
from taskq_cloud.canvas.series import Chain
from taskq_cloud.canvas.stamping import StampingVisitor

# Celery's names, for whoever writes workflows down or asks what one is.
Signature = Workflow
chain = Chain
group = Group
chord = Chord

__all__ = [
    "Applier",
    "Call",
    "Chain",
    "Chord",
    "Group",
    "Signature",
    "StampingVisitor",
    "Workflow",
    "chain",
    "chord",
    "chunks",
    "group",
    "mapped",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
