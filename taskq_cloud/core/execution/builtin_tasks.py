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
        return _call_each(tasks, task, [[item] for item in it])

    def starmap(task: Signature, it: Sequence[Sequence[Any]]) -> list[Any]:
        return _call_each(tasks, task, it)

    def accumulate(*args: Any, index: int | None = None) -> Any:
        return args if index is None else args[index]

    functions: dict[str, Callable[..., Any]] = {MAP: map_, STARMAP: starmap, ACCUMULATE: accumulate}
    return {name: TaskDefinition(name, function, TaskOptions()) for name, function in functions.items()}


def _call_each(
    tasks: Mapping[str, TaskDefinition], signature: Signature, arguments: Sequence[Sequence[Any]]
) -> list[Any]:
    # A process that only calls tasks runs none of these.
    from taskq_cloud.core.execution.conversion import conversion_of, is_wanted

    name = signature["task"]
    definition = tasks.get(name)
    if definition is None:
        raise NotRegistered(f"task {name!r}, called for each item, is not registered here: import its module")
    own_args, own_kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    if not is_wanted(definition.options):
        return [_call(definition, [*args, *own_args], own_kwargs) for args in arguments]
    conversion, values = conversion_of(definition), []
    for given in arguments:
        args, kwargs = conversion.load([*given, *own_args], own_kwargs)
        values.append(conversion.dump_value(_call(definition, args, kwargs)))
    return values


def _call(definition: TaskDefinition, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    from types import CoroutineType

    from taskq_cloud.core.execution.run_context import current_invocation

    invocation = current_invocation.get()
    bound = [] if definition.bind is None or invocation is None else [definition.bind(invocation)]
    value = definition.function(*bound, *args, **kwargs)
    if not isinstance(value, CoroutineType):
        return value
    import asyncio  # few of the tasks that are called for each item are coroutine functions

    # map and starmap aren't coroutine functions, so they run in a thread in which no loop runs.
    return asyncio.run(value)
