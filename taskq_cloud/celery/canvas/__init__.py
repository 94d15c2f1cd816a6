"""Workflows with Celery's names: signatures are dicts in Celery's format, which are changed in place.

The signatures are written as plain dicts when they are called, and the native planner sends them: see ``native_form``.
"""

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.canvas.building import (
    _maybe_group,
    maybe_signature,
    maybe_subtask,
    maybe_unroll_group,
    signature,
    subtask,
)
from taskq_cloud.celery.canvas.chains import _chain, chain
from taskq_cloud.celery.canvas.chords import _chord
from taskq_cloud.celery.canvas.groups import group
from taskq_cloud.celery.canvas.kinds import task_name_from
from taskq_cloud.celery.canvas.maps import _basemap, chunks, xmap, xstarmap
from taskq_cloud.celery.canvas.signatures import Signature
from taskq_cloud.celery.canvas.stamping import StampingVisitor, _merge_dictionaries
from taskq_cloud.celery.utils.abstract import CallableSignature

chord = _chord

__all__ = (
    "CallableSignature",
    "Signature",
    "StampingVisitor",
    "_basemap",
    "_chain",
    "_chord",
    "_maybe_group",
    "_merge_dictionaries",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "maybe_unroll_group",
    "signature",
    "subtask",
    "task_name_from",
    "xmap",
    "xstarmap",
)
