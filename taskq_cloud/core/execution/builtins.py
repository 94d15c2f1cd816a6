"""The tasks that every application has, by Celery's names: what ``map``, ``starmap`` and nested groups are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskq_cloud.core.execution.runner import current_invocation
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.workflows.signatures import ACCUMULATE, MAP, STARMAP
from taskq_cloud.errors import NotRegistered


def builtin_tasks(tasks: Mapping[str, TaskDefinition]) -> dict[str, TaskDefinition]:
    """Their definitions.

    Args:
        tasks: name -> definition of the tasks that they may call; looked up when they do.
    """

    def map_(task: Signature, it: Sequence[Any]) -> list[Any]:
        return [_call(tasks, task, [item]) for item in it]

    def starmap(task: Signature, it: Sequence[Sequence[Any]]) -> list[Any]:
        return [_call(tasks, task, item) for item in it]

    def accumulate(*args: Any, index: int | None = None) -> Any:
        return args if index is None else args[index]

    functions: dict[str, Callable[..., Any]] = {MAP: map_, STARMAP: starmap, ACCUMULATE: accumulate}
    return {name: TaskDefinition(name, function, TaskOptions()) for name, function in functions.items()}


def _call(tasks: Mapping[str, TaskDefinition], signature: Signature, args: Sequence[Any]) -> Any:
    name = signature["task"]
    definition = tasks.get(name)
    if definition is None:
        raise NotRegistered(f"task {name!r}, which is to be called for each item, is not registered in this process")
    invocation = current_invocation.get()
    first = [] if definition.bind is None or invocation is None else [definition.bind(invocation)]
    own_args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    value = definition.function(*first, *args, *own_args, **kwargs)
    # A thread of its own runs this, as it is no coroutine function: no loop runs here yet.
    return asyncio.run(value) if definition.is_async else value
