"""Functions that make signatures of names, tasks and dicts: ``signature`` and ``maybe_signature``."""

from __future__ import annotations

from types import GeneratorType
from typing import Any

from taskq_cloud.celery.canvas import kinds
from taskq_cloud.celery.utils.abstract import CallableSignature
from taskq_cloud.celery.utils.functional import regen


def signature(varies: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a signature.

    Args:
        varies: a signature, which is copied; the dict of a signature; or a task or its name.
        args: as for ``Signature``, for a task.
        kwargs: as for ``Signature``, for a task; the dict of a signature takes ``app`` of them.
    """
    if isinstance(varies, dict):
        if isinstance(varies, CallableSignature) and not kinds.is_foreign(varies):
            return varies.clone()
        return kinds.CLASSES["signature"].from_dict(varies, app=kwargs.get("app"))
    return kinds.make("signature", varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """Make a signature of a dict; a signature stays, and so does None.

    Args:
        d: the dict or the signature.
        app: the application that the signature gets.
        clone: whether a signature is copied.
    """
    if d is None:
        return None
    if not isinstance(d, CallableSignature) or kinds.is_foreign(d):
        d = signature(d) if isinstance(d, dict) else d
    elif clone:
        d = d.clone()
    if app is not None:
        kinds.set_own_app(d, app)
    return d


maybe_subtask = maybe_signature


def maybe_unroll_group(group: Any) -> Any:
    """Return the member of a group of one, and every other group as it is."""
    tasks = group.tasks
    try:
        return tasks[0] if len(tasks) == 1 else group
    except TypeError:
        pass
    try:
        size = tasks.__length_hint__()
    except (AttributeError, TypeError):
        return group
    return next(iter(tasks)) if size == 1 else group


def _maybe_group(tasks: Any, app: Any) -> Any:
    """Return the members of a group, given as the group, a chain, a signature, or an iterable of signatures."""
    if isinstance(tasks, dict):
        tasks = signature(tasks, app=app)
    if kinds.is_group(tasks) or kinds.is_chain(tasks):
        return tasks.tasks
    if isinstance(tasks, CallableSignature):
        return [tasks]
    if isinstance(tasks, GeneratorType):
        return regen(signature(each, app=app) for each in tasks)
    return [signature(each, app=app) for each in tasks]


def clone_with_members(sig: Any) -> Any:
    """Copy a signature together with the signatures in it that ``link`` changes.

    The copy of a group shares its members, and that of a chord its body's members.
    """
    copy = maybe_signature(sig, clone=True)
    if kinds.is_group(copy):
        copy.tasks = [clone_with_members(task) for task in copy.tasks]
    elif kinds.is_chord(copy):
        copy.body = clone_with_members(copy.body)
    return copy
