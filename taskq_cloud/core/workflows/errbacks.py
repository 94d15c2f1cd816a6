"""Which errbacks take ``(request, exc, traceback)`` and are called where the task fails; all others are sent."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Final

from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.task_definition import TaskDefinition

_GIVEN: Final = (None, None, None)
"""The place of request, exception and traceback."""


def called_here(message: Message, tasks: Mapping[str, TaskDefinition]) -> Collection[int]:
    """Which of a task's errbacks are called, by their place; the others are sent.

    Args:
        message: the task's.
        tasks: those that are registered here.
    """
    return [index for index, each in enumerate(message.embed.errbacks or ()) if takes_failure(each, tasks)]


def takes_failure(signature: Signature, tasks: Mapping[str, TaskDefinition]) -> bool:
    """Whether an errback is called with request, exception and traceback where it is registered among these."""
    definition = tasks.get(signature["task"])
    if definition is None or definition.bind is not None or signature.get("immutable"):
        return False
    try:
        args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
        inspect.signature(definition.function).bind(*_GIVEN, *args, **kwargs)
    except (TypeError, ValueError):
        return False
    return True
