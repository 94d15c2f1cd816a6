"""The functions of the tasks that every application has: ``map``, ``starmap`` and nested groups are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.model.task_names import ACCUMULATE, MAP, STARMAP
from taskq_cloud.errors import NotRegistered

if TYPE_CHECKING:
    from taskq_cloud.core.model.message import Signature


def builtin_tasks(tasks: Mapping[str, TaskDefinition]) -> dict[str, TaskDefinition]:
    """Define the tasks that every application has, by Celery's names.

    Args:
        tasks: name -> definition of the tasks that ``map`` and ``starmap`` can call; looked up at each call.
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
    # A process that only calls tasks runs none of these.
    from types import CoroutineType

    from taskq_cloud.core.execution.run_context import current_invocation

    name = signature["task"]
    definition = tasks.get(name)
    if definition is None:
        raise NotRegistered(f"task {name!r}, called for each item, is not registered here: import its module")
    invocation = current_invocation.get()
    bound = [] if definition.bind is None or invocation is None else [definition.bind(invocation)]
    own_args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    value = definition.function(*bound, *args, *own_args, **kwargs)
    if not isinstance(value, CoroutineType):
        return value
    import asyncio  # few of the tasks that are called for each item are coroutine functions

    # map and starmap aren't coroutine functions, so they run in a thread in which no loop runs.
    return asyncio.run(value)
