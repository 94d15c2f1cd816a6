"""Tells errbacks that take ``(request, exc, traceback)`` from others: the failed task's worker calls them directly.

All other errbacks are sent as messages.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.task_definition import TaskDefinition

_FAILURE_ARGUMENTS: Final = (None, None, None)
"""Stand-ins for request, exception and traceback."""


def called_errbacks(message: Message, tasks: Mapping[str, TaskDefinition]) -> Collection[int]:
    """The positions of a task's errbacks that are called directly; the others are sent.

    Args:
        message: the task's message.
        tasks: name -> definition of the tasks that are registered in this process.
    """
    return [index for index, each in enumerate(message.embed.errbacks or ()) if takes_failure(each, tasks)]


def takes_failure(signature: Signature, tasks: Mapping[str, TaskDefinition]) -> bool:
    """Whether an errback is called directly, with request, exception and traceback.

    Args:
        signature: the errback.
        tasks: name -> definition of the tasks that are registered in this process.
    """
    definition = tasks.get(signature["task"])
    if definition is None or definition.bind is not None or signature.get("immutable"):
        return False
    try:
        args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
        definition.signature.bind(*_FAILURE_ARGUMENTS, *args, **kwargs)
    except TypeError:
        return False
    return True
